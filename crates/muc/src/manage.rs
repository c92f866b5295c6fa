//! The commands of administrators: rooms made, shown, changed and ended from outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gen_mod::command::{Arg, Args, Command, CommandError, Role, Scope, Value};
use storage::{Affiliation, RoomFace, StorageError};
use xmpp::{BareJid, format_date_time, parse_bare, parse_jid};

use crate::commands::{Call, Reply};
use crate::rooms::open;
use crate::service::Service;

/// How long a room may take to answer.
const WITHIN: Duration = Duration::from_secs(10);

/// How many rooms one reading of the store brings.
const PAGE: usize = 500;

const DAY: u64 = 86_400;

const HOST: Arg = Arg::host("host", "host of the service");
const ROOM: Arg = Arg::text("room", "name of the room, without its service");
const DAYS: Arg = Arg::new(
    "days",
    gen_mod::command::ArgType::Integer(0, 36_500),
    "how many days nothing has happened in it",
);

/// The commands of this service.
pub(crate) fn all(service: &Arc<Service>) -> Vec<Command> {
    vec![
        command(
            service,
            "create_room",
            "Makes a room that outlives its occupants.",
            create,
        )
        .args(&[ROOM, HOST])
        .arg(Arg::pairs(
            "options",
            "what it is like, by the names that get_room_options shows; and owner=JID",
        )),
        command(
            service,
            "destroy_room",
            "Ends a room; its occupants are told why.",
            destroy,
        )
        .args(&[ROOM, HOST])
        .arg(Arg::text("reason", "what they are told").optional())
        .arg(Arg::text("venue", "address of the room to go to").optional()),
        command(
            service,
            "muc_rooms",
            "Lists the rooms of a service, open or not.",
            list,
        )
        .arg(HOST)
        .returns("a table"),
        command(
            service,
            "muc_online_rooms",
            "Lists the rooms that are open.",
            online,
        )
        .arg(HOST)
        .returns("a table"),
        command(
            service,
            "get_room_occupants",
            "Lists who is in a room.",
            occupants,
        )
        .args(&[ROOM, HOST])
        .returns("a table"),
        command(
            service,
            "get_room_affiliations",
            "Lists who belongs to a room, and who is banned.",
            affiliations,
        )
        .args(&[ROOM, HOST])
        .returns("a table"),
        command(
            service,
            "set_room_affiliation",
            "Changes what somebody is to a room.",
            set_affiliation,
        )
        .args(&[ROOM, HOST])
        .arg(Arg::text("user", "address of the account, or a domain"))
        .arg(Arg::new(
            "affiliation",
            gen_mod::command::ArgType::Choice(&["owner", "admin", "member", "none", "outcast"]),
            "what it is from now on",
        ))
        .arg(Arg::text("reason", "why").optional()),
        command(
            service,
            "get_room_options",
            "Shows how a room is configured.",
            options,
        )
        .args(&[ROOM, HOST])
        .returns("a record"),
        command(
            service,
            "change_room_option",
            "Configures a room.",
            change_option,
        )
        .args(&[ROOM, HOST])
        .arg(Arg::pairs(
            "options",
            "what changes, by the names that get_room_options shows",
        )),
        command(
            service,
            "get_user_rooms",
            "Lists the rooms that an account belongs to.",
            user_rooms,
        )
        .arg(Arg::text("user", "address of the account"))
        .arg(HOST)
        .returns("a table"),
        command(
            service,
            "rooms_unused_list",
            "Lists rooms in which nothing has happened for long.",
            unused,
        )
        .args(&[HOST, DAYS])
        .returns("a table"),
        command(
            service,
            "rooms_unused_destroy",
            "Ends rooms in which nothing has happened for long.",
            destroy_unused,
        )
        .args(&[HOST, DAYS])
        .returns("how many they were"),
    ]
}

fn command<F, A>(service: &Arc<Service>, name: &'static str, doc: &'static str, run: F) -> Command
where
    F: Fn(Arc<Service>, Args) -> A + Send + Sync + Copy + 'static,
    A: Future<Output = Result<Value, CommandError>> + Send + 'static,
{
    let service = Arc::clone(service);
    Command::new(name, doc, move |_, args| run(Arc::clone(&service), args))
        .allow(Role::HostAdmin, Scope::Host)
}

/// Asks the process of a room.
async fn ask(service: &Arc<Service>, name: &str, call: Call) -> Result<Reply, CommandError> {
    let address = service.room(name);
    let address =
        address.ok_or_else(|| CommandError::usage(format!("`{name}` is no name of a room")))?;
    let name = address.node().map_or("", |node| node.as_str());
    let entry = open(service, name).await;
    let entry = entry.ok_or_else(|| CommandError::failed("the room could not be opened"))?;
    match entry.pid.call(call, WITHIN).await {
        Ok(Reply::Refused(why)) => Err(CommandError::failed(why)),
        Ok(reply) => Ok(reply),
        Err(error) => Err(CommandError::failed(error)),
    }
}

fn pairs(args: &Args) -> Vec<(String, String)> {
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    args.pairs("options").into_iter().map(own).collect()
}

async fn create(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let mut options = pairs(&args);
    let owner = match options.iter().position(|(key, _)| key == "owner") {
        Some(at) => Some(jid(&options.remove(at).1)?),
        None => None,
    };
    ask(&service, args.text("room"), Call::Create(options, owner)).await?;
    Ok(Value::Nothing)
}

async fn destroy(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let reason = args.maybe_text("reason").map(str::to_owned);
    let venue = args.maybe_text("venue").map(parse_jid).transpose();
    let venue = venue.map_err(CommandError::usage)?;
    ask(&service, args.text("room"), Call::Destroy(reason, venue)).await?;
    Ok(Value::Nothing)
}

/// The rooms in pages, shown as they are.
async fn list(service: Arc<Service>, _args: Args) -> Result<Value, CommandError> {
    let mut table = Value::table(["room", "title", "occupants", "public", "persistent", "used"]);
    let mut after: Option<String> = None;
    loop {
        let store = &service.host.storage.rooms;
        let page = store
            .list(&service.domain(), false, after.as_deref(), PAGE)
            .await;
        let page = page.map_err(failed)?;
        after = page.last().map(|face| face.name.clone());
        let last = page.len() < PAGE;
        for face in page {
            table = table.row(row(&service, face));
        }
        if last {
            return Ok(table);
        }
    }
}

fn row(service: &Service, face: RoomFace) -> Vec<Value> {
    let open = service.rooms.get(&face.name);
    let there = open.map_or(0, |entry| entry.occupants.load(Ordering::Relaxed));
    vec![
        Value::Text(face.name),
        Value::Text(face.title),
        Value::Integer(i64::try_from(there).unwrap_or(i64::MAX)),
        Value::Bool(face.public),
        Value::Bool(face.persistent),
        Value::Text(format_date_time(face.used)),
    ]
}

async fn online(service: Arc<Service>, _args: Args) -> Result<Value, CommandError> {
    let mut open = service.rooms.all();
    open.sort_by(|a, b| a.name.cmp(&b.name));
    let table = Value::table(["room", "occupants", "messages"]);
    Ok(open.into_iter().fold(table, |table, entry| {
        let there = entry.occupants.load(Ordering::Relaxed);
        let said = entry.said.load(Ordering::Relaxed);
        table.row([
            Value::Text(entry.name.clone()),
            Value::Integer(i64::try_from(there).unwrap_or(i64::MAX)),
            Value::Integer(i64::try_from(said).unwrap_or(i64::MAX)),
        ])
    }))
}

async fn occupants(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let reply = ask(&service, args.text("room"), Call::Occupants).await?;
    let table = Value::table(["nick", "jid", "role", "affiliation"]);
    let Reply::Occupants(present) = reply else {
        return Ok(table);
    };
    Ok(present.into_iter().fold(table, |table, who| {
        table.row([
            Value::Text(who.nick),
            Value::Text(who.jid.to_string()),
            Value::from(who.role.as_str()),
            Value::from(who.affiliation.as_str()),
        ])
    }))
}

async fn affiliations(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let reply = ask(&service, args.text("room"), Call::Affiliations).await?;
    let table = Value::table(["jid", "affiliation", "nick", "reason"]);
    let Reply::Affiliations(rows) = reply else {
        return Ok(table);
    };
    Ok(rows.into_iter().fold(table, |table, row| {
        table.row([
            Value::Text(row.jid.to_string()),
            Value::from(row.affiliation.as_str()),
            Value::Text(row.nick.unwrap_or_default()),
            Value::Text(row.reason.unwrap_or_default()),
        ])
    }))
}

async fn set_affiliation(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let user = jid(args.text("user"))?;
    let affiliation = Affiliation::from_word(args.text("affiliation")).unwrap_or_default();
    let reason = args.maybe_text("reason").map(str::to_owned);
    let call = Call::SetAffiliation(user, affiliation, reason);
    ask(&service, args.text("room"), call).await?;
    Ok(Value::Nothing)
}

async fn options(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let reply = ask(&service, args.text("room"), Call::Options).await?;
    let Reply::Options(options) = reply else {
        return Ok(Value::Nothing);
    };
    let record = options
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::Text(value)));
    Ok(Value::Record(record.collect()))
}

async fn change_option(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    ask(&service, args.text("room"), Call::SetOptions(pairs(&args))).await?;
    Ok(Value::Nothing)
}

async fn user_rooms(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let user = jid(args.text("user"))?;
    let rooms = service
        .host
        .storage
        .rooms
        .of_user(&service.domain(), &user)
        .await;
    let table = Value::table(["room", "affiliation"]);
    Ok(rooms
        .map_err(failed)?
        .into_iter()
        .fold(table, |table, (room, affiliation)| {
            table.row([Value::Text(room), Value::from(affiliation.as_str())])
        }))
}

/// Rooms that are not open and were not used for so many days.
async fn idle(service: &Arc<Service>, args: &Args) -> Result<Vec<RoomFace>, CommandError> {
    let days = args.integer("days").unwrap_or(0).unsigned_abs();
    let now = service.host.clock.wall();
    let before = now
        .checked_sub(Duration::from_secs(days * DAY))
        .unwrap_or(std::time::SystemTime::UNIX_EPOCH);
    let unused = service
        .host
        .storage
        .rooms
        .unused(&service.domain(), before)
        .await;
    let mut unused = unused.map_err(failed)?;
    unused.retain(|face| {
        let open = service.rooms.get(&face.name);
        open.is_none_or(|entry| entry.occupants.load(Ordering::Relaxed) == 0)
    });
    Ok(unused)
}

async fn unused(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let table = Value::table(["room", "title", "occupants", "public", "persistent", "used"]);
    let idle = idle(&service, &args).await?;
    Ok(idle
        .into_iter()
        .fold(table, |table, face| table.row(row(&service, face))))
}

async fn destroy_unused(service: Arc<Service>, args: Args) -> Result<Value, CommandError> {
    let idle = idle(&service, &args).await?;
    let mut ended = 0;
    for face in idle {
        let call = Call::Destroy(Some("nothing has happened here for long".into()), None);
        ask(&service, &face.name, call).await?;
        ended += 1;
    }
    Ok(Value::Integer(ended))
}

fn jid(text: &str) -> Result<BareJid, CommandError> {
    parse_bare(text).map_err(|error| CommandError::usage(format!("`{text}`: {error}")))
}

fn failed(error: StorageError) -> CommandError {
    CommandError::failed(format!("the store failed: {error}"))
}
