//! `mod_announce`: what do those who run this host have to say to all who live there?
//!
//! Source: XEP-0133 v1.3 §4.23 to §4.26, and messages to `HOST/announce/…` as administrators of other servers send
//! them. Hooks: `user_send_packet`, `c2s_self_presence`, `adhoc_local_items`, `adhoc_local_commands`. Stores: `hosts`,
//! accounts. State: the message of the day, as stored; its process sends what goes to many.

use std::sync::Arc;

use admin::{Arg, Command, CommandError, Given, Role, Scope, Value};
use futures_util::future::BoxFuture;
use gen_mod::prelude::*;
use parking_lot::RwLock;
use session::Sessions;
use session::hooks::{SelfPresence, UserSendPacket};
use storage::Motd;
use xmpp::{Kind, MessageType};

use crate::adhoc::{Field, FieldKind, Filled, Form, Step, administers, caller};
use crate::hooks::{AdhocCommands, AdhocStep};

/// How many accounts one reading of the store brings.
const PAGE: usize = 500;

/// What the nodes of XEP-0133 begin with, and the type of its forms.
const ADMIN: &str = "http://jabber.org/protocol/admin";

/// Announcements. Its process sends them.
pub struct ModAnnounce;

/// Something for the process to do.
struct Work(BoxFuture<'static, ()>);

/// What every handler is given.
#[derive(Clone)]
struct Board {
    /// The message of the day, written after it is stored.
    motd: Arc<RwLock<Option<Motd>>>,
    begin: Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>,
}

impl Module for ModAnnounce {
    const NAME: &'static str = "mod_announce";
    const SOURCES: &'static [Source] = &[xep(
        133,
        "1.3.1",
        Partial("announcements and the message of the day"),
    )];
    type Opts = NoOpts;

    async fn start(ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let motd = ctx.host.storage.hosts.motd(&ctx.host.name).await;
        let motd = motd.map_err(|error| StartError::Resource(error.to_string()))?;
        let tell = ctx.teller();
        let board = Board {
            motd: Arc::new(RwLock::new(motd)),
            begin: Arc::new(move |work| {
                let _ = tell(Box::new(Work(work)));
            }),
        };
        let shown = board.clone();
        let commands = [announce, motd_set, motd_delete, motd_show];
        let registrations = Registrations::new()
            .hook_wait_if::<UserSendPacket, _, _, _>(
                Priority::NORMAL,
                |host, sent| addressed(host, &sent.stanza).is_some(),
                written,
            )
            .hook_wait::<SelfPresence, _, _>(Priority::LAST, move |host, here| {
                show_motd(host, here, shown.clone())
            })
            .hook::<AdhocCommands>(Priority::NORMAL, offer)
            .hook_wait::<AdhocStep, _, _>(Priority::NORMAL, step);
        let registrations = commands.iter().fold(registrations, |all, command| {
            all.command(command(&ctx.host, &board))
        });
        Ok((ModAnnounce, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        match info {
            Info::Message(message) => {
                if let Ok(work) = message.downcast::<Work>() {
                    ctx.spawn(work.0);
                }
            }
            Info::Route(parcel) => drop(parcel),
            Info::Down(_) => {}
        }
    }
}

// To whom.

/// A message of the host's own.
fn message(host: &Host, type_: MessageType, subject: Option<&str>, text: &str) -> Stanza {
    let from = xmpp::parse_jid(&host.name).expect("a host's name is a domain");
    let message = Stanza::message(type_).from(from);
    let message = match subject {
        Some(subject) => message.subject(subject),
        None => message,
    };
    message.body(text).finish()
}

/// Sends to every available resource of the host; says to how many.
async fn to_online(host: &Host, message: &Stanza) -> usize {
    let all = host.service::<Sessions>().table.all();
    let here = all
        .iter()
        .filter(|entry| entry.jid.domain().as_str() == &*host.name && entry.priority().is_some());
    let mut sent = 0;
    for entry in here {
        let to = Jid::from((*entry.jid).clone());
        send(host, message.edit().to(to).finish()).await;
        sent += 1;
    }
    sent
}

/// Sends to every account of the host, online or not.
async fn to_all(host: &Host, message: &Stanza) {
    let mut after: Option<String> = None;
    loop {
        let page = host
            .storage
            .accounts
            .list(&host.name, after.as_deref(), PAGE)
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(target: "natter::announce", host = %host.name, ?after, %error, "accounts not read, the rest is not told");
                return;
            }
        };
        for account in &page {
            send(host, message.edit().to(Jid::from(account.clone())).finish()).await;
        }
        let last = page.last().and_then(|jid| jid.node());
        after = last.map(|node| node.as_str().to_owned());
        if page.len() < PAGE {
            return;
        }
    }
}

async fn send(host: &Host, stanza: Stanza) {
    host.router.route(host.router.packet(stanza)).await;
}

/// Shows an account the message of the day, once, on the first of its resources that comes.
async fn show_motd(host: Host, here: SelfPresence, board: Board) -> Flow<SelfPresence> {
    let motd = board.motd.read().clone();
    if let (true, Some(motd)) = (here.first, motd) {
        let account = here.user.to_bare();
        match host.storage.hosts.see_motd(&account, motd.number).await {
            Ok(true) => {
                let subject = motd.subject.as_deref();
                let message = message(&host, MessageType::Headline, subject, &motd.text);
                let to = Jid::from(here.user.clone());
                send(&host, message.edit().to(to).finish()).await;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(target: "natter::announce", %account, %error, "message of the day not shown");
            }
        }
    }
    Flow::Next(here)
}

// Commands.

const TEXT: Arg = Arg::text("text", "what it says");
const SUBJECT: Arg = Arg::text("subject", "what it is about").optional();

fn announce(host: &Host, board: &Board) -> Command {
    let (host, board) = (host.clone(), board.clone());
    Command::new(
        "announce",
        "Sends a message to everybody who is online, or to all accounts.",
        move |_, args| {
            let (host, board) = (host.clone(), board.clone());
            async move {
                let (text, subject) = (args.text("text"), args.maybe_text("subject"));
                if args.flag("all") {
                    let message = message(&host, MessageType::Normal, subject, text);
                    (board.begin)(Box::pin(async move { to_all(&host, &message).await }));
                    return Ok(Value::Text("being sent to all accounts".into()));
                }
                let message = message(&host, MessageType::Headline, subject, text);
                let count = to_online(&host, &message).await;
                Ok(Value::Text(format!("sent to {count} sessions")))
            }
        },
    )
    .arg(Arg::host("host", "whose accounts are told"))
    .args(&[TEXT, SUBJECT])
    .flag(
        "all",
        "to all accounts; those who are away find it when they come",
    )
    .allow(Role::HostAdmin, Scope::Host)
    .returns("to how many it was sent")
}

fn motd_set(host: &Host, board: &Board) -> Command {
    let (host, board) = (host.clone(), board.clone());
    Command::new(
        "motd_set",
        "Sets the message of the day, which each account is shown once.",
        move |_, args| {
            let (host, board) = (host.clone(), board.clone());
            async move {
                let subject = args.maybe_text("subject").map(str::to_owned);
                let (text, anew) = (args.text("text").to_owned(), !args.flag("update"));
                let motd = host.storage.hosts.set_motd(&host.name, subject, text, anew);
                let motd = motd.await.map_err(failed)?;
                *board.motd.write() = Some(motd.clone());
                if anew {
                    let subject = motd.subject.as_deref();
                    let message = message(&host, MessageType::Headline, subject, &motd.text);
                    to_online_once(&host, &motd, &message)
                        .await
                        .map_err(failed)?;
                }
                Ok(Value::Nothing)
            }
        },
    )
    .arg(Arg::host("host", "whose accounts are told"))
    .args(&[TEXT, SUBJECT])
    .flag(
        "update",
        "a correction: who has seen the one before is not shown it",
    )
    .allow(Role::HostAdmin, Scope::Host)
}

/// Sends to everybody who is online and notes that they have seen it.
async fn to_online_once(
    host: &Host,
    motd: &Motd,
    message: &Stanza,
) -> Result<(), storage::StorageError> {
    let all = host.service::<Sessions>().table.all();
    for entry in all {
        let is_here = entry.jid.domain().as_str() == &*host.name && entry.priority().is_some();
        let account = entry.jid.to_bare();
        if is_here && host.storage.hosts.see_motd(&account, motd.number).await? {
            let to = Jid::from((*entry.jid).clone());
            send(host, message.edit().to(to).finish()).await;
        }
    }
    Ok(())
}

fn motd_delete(host: &Host, board: &Board) -> Command {
    let (host, board) = (host.clone(), board.clone());
    Command::new(
        "motd_delete",
        "Removes the message of the day.",
        move |_, _| {
            let (host, board) = (host.clone(), board.clone());
            async move {
                let deleted = host
                    .storage
                    .hosts
                    .delete_motd(&host.name)
                    .await
                    .map_err(failed)?;
                *board.motd.write() = None;
                if deleted {
                    Ok(Value::Nothing)
                } else {
                    Err(CommandError::failed("there is no message of the day"))
                }
            }
        },
    )
    .arg(Arg::host("host", "whose message it is"))
    .allow(Role::HostAdmin, Scope::Host)
}

fn motd_show(_host: &Host, board: &Board) -> Command {
    let board = board.clone();
    Command::new("motd", "Shows the message of the day.", move |_, _| {
        let text = board.motd.read().as_ref().map(|motd| motd.text.clone());
        async { Ok(text.into()) }
    })
    .arg(Arg::host("host", "whose message it is"))
    .allow(Role::HostAdmin, Scope::Host)
    .reads()
    .returns("its text")
}

fn failed(error: storage::StorageError) -> CommandError {
    CommandError::failed(format!("the store failed: {error}"))
}

// Messages to addresses of the host.

/// The command, with its switches, that a message to this resource of the host gives.
fn of_resource(resource: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match resource {
        "announce/online" => ("announce", &[]),
        "announce/all" => ("announce", &["--all"]),
        "announce/motd" => ("motd_set", &[]),
        "announce/motd/update" => ("motd_set", &["--update"]),
        "announce/motd/delete" => ("motd_delete", &[]),
        _ => return None,
    })
}

/// The command and its switches that a message to a resource of the host stands for.
fn addressed(host: &Host, stanza: &Stanza) -> Option<(&'static str, &'static [&'static str])> {
    let to = stanza.to()?;
    if stanza.kind() != Kind::Message
        || stanza.is_error()
        || to.node().is_some()
        || to.domain().as_str() != &*host.name
    {
        return None;
    }
    of_resource(to.resource()?.as_str())
}

/// Takes a message to `HOST/announce/…` as the command that it stands for; who may not give it is told `forbidden`.
async fn written(host: Host, sent: UserSendPacket) -> Flow<UserSendPacket> {
    let Some((name, switches)) = addressed(&host, &sent.stanza) else {
        return Flow::Next(sent);
    };
    let part = |name| {
        sent.stanza
            .child_text(name, ns::CLIENT)
            .filter(|text| !text.is_empty())
    };
    let mut words: Vec<String> = switches.iter().map(|word| (*word).to_owned()).collect();
    words.extend(["--".to_owned(), host.name.to_string()]);
    if name != "motd_delete" {
        words.extend(part("body"));
        words.extend(part("subject").filter(|_| part("body").is_some()));
    }
    let refused = match caller(&host, &Jid::from((*sent.user).clone())).await {
        Ok(caller) => match host
            .commands
            .execute(&caller, name, &Given::words(words))
            .await
        {
            Ok(_) => None,
            Err(CommandError::Denied(_)) => Some(Condition::Forbidden.into()),
            Err(error) => Some(Condition::NotAcceptable.text(error.to_string())),
        },
        Err(error) => Some(error),
    };
    if let Some(reply) = refused.and_then(|error| sent.stanza.error_reply(&error)) {
        host.router
            .route(host.router.answer(reply, &sent.meta))
            .await;
    }
    Flow::Drop
}

// Ad-hoc commands (XEP-0133 §4.23 to §4.26), and one more to all accounts.

const NODES: &[(&str, &str)] = &[
    ("announce", "Send Announcement to Online Users"),
    ("announce-all", "Send Announcement to All Users"),
    ("set-motd", "Set Message of the Day"),
    ("edit-motd", "Edit Message of the Day"),
    ("delete-motd", "Delete Message of the Day"),
];

fn offer(host: &Host, mut asked: AdhocCommands) -> Flow<AdhocCommands> {
    if administers(&asked.caller, host) {
        let node = |(name, title): &(&str, &str)| (format!("{ADMIN}#{name}"), (*title).to_owned());
        asked.commands.extend(NODES.iter().map(node));
    }
    Flow::Next(asked)
}

async fn step(host: Host, mut asked: AdhocStep) -> Flow<AdhocStep> {
    let name = asked
        .node
        .strip_prefix(ADMIN)
        .and_then(|rest| rest.strip_prefix('#'));
    if let Some((name, title)) = NODES.iter().find(|(known, _)| Some(*known) == name) {
        asked.step = Some(if administers(&asked.caller, &host) {
            carry_out(&host, &asked, name, title).await
        } else {
            Err(Condition::Forbidden.into())
        });
    }
    Flow::Next(asked)
}

async fn carry_out(
    host: &Host,
    asked: &AdhocStep,
    name: &str,
    title: &str,
) -> Result<Step, StanzaError> {
    let field = if name.starts_with("announce") {
        "announcement"
    } else {
        "motd"
    };
    let filled: Option<&Filled> = asked.filled.first();
    let (command, switch) = match name {
        "announce" => ("announce", None),
        "announce-all" => ("announce", Some("--all")),
        "set-motd" => ("motd_set", None),
        "edit-motd" => ("motd_set", Some("--update")),
        _ => ("motd_delete", None),
    };
    let mut words: Vec<String> = switch.map(str::to_owned).into_iter().collect();
    words.extend(["--".to_owned(), host.name.to_string()]);
    if command != "motd_delete" {
        let Some(filled) = filled else {
            let mut text = Field::new(FieldKind::TextMulti, field, "Message").required();
            let mut subject = Field::new(FieldKind::TextSingle, "subject", "Subject");
            if name == "edit-motd" {
                let motd = host.storage.hosts.motd(&host.name).await?;
                let motd = motd.ok_or(Condition::ItemNotFound)?;
                text = text.with(motd.text.lines());
                subject = subject.with(motd.subject);
            }
            let form = Form::new(title, "Fill out this form.").of_type(ADMIN);
            return Ok(Step::ask(form.field(subject).field(text)));
        };
        filled.need(field)?;
        words.push(filled.text(field));
        words.extend(filled.one("subject").map(str::to_owned));
    }
    let given = Given::words(words);
    match host.commands.execute(&asked.caller, command, &given).await {
        Ok(value) => Ok(Step::said(match &value {
            Value::Text(text) => text.as_str(),
            _ => "Done.",
        })),
        Err(CommandError::Denied(why)) => Err(Condition::Forbidden.text(why)),
        Err(error) => Err(Condition::ItemNotFound.text(error.to_string())),
    }
}
