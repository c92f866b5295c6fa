//! Commands that make groups and fill them.

use gen_mod::command::{Arg, Args, Command, CommandError, Role, Scope, Value};
use gen_mod::prelude::*;
use storage::StorageError;
use xmpp::BareJid;

use super::tell::Before;

/// Stands for every account of the host.
const EVERYBODY: &str = "@all@";

/// Longest name and label of a group, in bytes.
const MAX_NAME: usize = 255;

const HOST: Arg = Arg::host("host", "domain of the group");
const GROUP: Arg = Arg::text("group", "name of the group");
const USER: Arg = Arg::text(
    "user",
    "name of the account, without its host; @all@: every account of the host",
);

/// The commands of this host.
pub(super) fn all(host: &Host) -> Vec<Command> {
    vec![
        create(host),
        delete(host),
        list(host),
        add(host),
        remove(host),
    ]
}

fn create(host: &Host) -> Command {
    let host = host.clone();
    Command::new(
        "shared_roster_create",
        "Makes a group whose members see one another, or changes its label and what its members see.",
        move |_, args| {
            let host = host.clone();
            async move {
                let name = word(args.text("group"), "group")?.to_owned();
                let label = word(args.maybe_text("label").unwrap_or(&name), "label")?.to_owned();
                let displays = match args.maybe_text("displays") {
                    Some(list) => known(&host, list, &name).await?,
                    None => vec![name.clone()],
                };
                let before = Before::look(&host).await.map_err(store)?;
                let groups = &host.storage.groups;
                let is_new = groups.put(&host.name, &name, &label, displays).await.map_err(store)?;
                before.tell(&host).await.map_err(store)?;
                let what = if is_new { "made" } else { "changed" };
                Ok(Value::Text(format!("{name} {what}")))
            }
        },
    )
    .args(&[HOST, GROUP])
    .arg(Arg::text("label", "what it is called in rosters; its name unless said").optional())
    .arg(Arg::text("displays", "groups that its members see, divided by commas; itself unless said").optional())
    .allow(Role::HostAdmin, Scope::Host)
}

fn delete(host: &Host) -> Command {
    let host = host.clone();
    Command::new(
        "shared_roster_delete",
        "Removes a group; its accounts stay.",
        move |_, args| {
            let host = host.clone();
            async move {
                let name = args.text("group").to_owned();
                let before = Before::look(&host).await.map_err(store)?;
                if !host
                    .storage
                    .groups
                    .remove(&host.name, &name)
                    .await
                    .map_err(store)?
                {
                    return Err(no_group(&name));
                }
                before.tell(&host).await.map_err(store)?;
                Ok(Value::Text(format!("{name} removed")))
            }
        },
    )
    .args(&[HOST, GROUP])
    .allow(Role::HostAdmin, Scope::Host)
}

fn list(host: &Host) -> Command {
    let host = host.clone();
    Command::new(
        "shared_roster_list",
        "Lists the groups of a host with their members and what these see.",
        move |_, _| {
            let host = host.clone();
            async move {
                let groups = host.storage.groups.all(&host.name).await.map_err(store)?;
                let empty = Value::table(["group", "label", "members", "displays"]);
                Ok(groups.into_iter().fold(empty, |table, group| {
                    let everybody = group.everybody.then(|| EVERYBODY.to_owned());
                    let names = group.members.iter().filter_map(|jid| jid.node());
                    let names = names.map(|name| name.as_str().to_owned());
                    let members: Vec<String> = everybody.into_iter().chain(names).collect();
                    let (members, displays) = (members.join(" "), group.displays.join(" "));
                    table.row([
                        group.name.into(),
                        group.label.into(),
                        members.into(),
                        displays.into(),
                    ])
                }))
            }
        },
    )
    .arg(HOST)
    .allow(Role::HostAdmin, Scope::Host)
    .reads()
    .returns("name, label, members, the groups that these see")
}

fn add(host: &Host) -> Command {
    let host = host.clone();
    Command::new(
        "shared_roster_add",
        "Makes an account, or all of them, a member of a group.",
        move |_, args| {
            let host = host.clone();
            async move {
                let name = args.text("group").to_owned();
                let groups = &host.storage.groups;
                let member = member(&host, &args)?;
                if let Some(member) = &member
                    && !host.storage.accounts.exists(member).await.map_err(store)?
                {
                    return Err(CommandError::failed(format!(
                        "there is no account {member}"
                    )));
                }
                let before = Before::look(&host).await.map_err(store)?;
                let added = match &member {
                    Some(member) => groups.add(&name, member).await,
                    None => groups.set_everybody(&host.name, &name, true).await,
                };
                if !added.map_err(store)? {
                    return Err(no_group(&name));
                }
                before.tell(&host).await.map_err(store)?;
                Ok(Value::Text(format!("{} is in {name}", args.text("user"))))
            }
        },
    )
    .args(&[HOST, GROUP, USER])
    .allow(Role::HostAdmin, Scope::Host)
}

fn remove(host: &Host) -> Command {
    let host = host.clone();
    Command::new(
        "shared_roster_remove",
        "Ends the membership of an account, or of all, in a group.",
        move |_, args| {
            let host = host.clone();
            async move {
                let name = args.text("group").to_owned();
                let groups = &host.storage.groups;
                let member = member(&host, &args)?;
                let before = Before::look(&host).await.map_err(store)?;
                let removed = match &member {
                    Some(member) => groups.take(&name, member).await,
                    None => groups.set_everybody(&host.name, &name, false).await,
                };
                if !removed.map_err(store)? {
                    let user = args.text("user");
                    return Err(CommandError::failed(format!(
                        "{user} is not in a group {name}"
                    )));
                }
                before.tell(&host).await.map_err(store)?;
                Ok(Value::Text(format!(
                    "{} is no longer in {name}",
                    args.text("user")
                )))
            }
        },
    )
    .args(&[HOST, GROUP, USER])
    .allow(Role::HostAdmin, Scope::Host)
}

/// The account that is meant; none: everybody.
fn member(host: &Host, args: &Args) -> Result<Option<BareJid>, CommandError> {
    let user = args.text("user");
    if user == EVERYBODY {
        return Ok(None);
    }
    match xmpp::parse_bare(&format!("{user}@{}", host.name)) {
        Ok(jid) if jid.node().is_some() && jid.domain().as_str() == &*host.name => Ok(Some(jid)),
        _ => Err(CommandError::failed(format!(
            "`{user}` is not the name of an account"
        ))),
    }
}

/// Groups that are there, `own` among them even before it is.
async fn known(host: &Host, list: &str, own: &str) -> Result<Vec<String>, CommandError> {
    let groups = host.storage.groups.all(&host.name).await.map_err(store)?;
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let known = name == own || groups.iter().any(|group| group.name == name);
            known.then(|| name.to_owned()).ok_or_else(|| no_group(name))
        })
        .collect()
}

/// A name or label that can be shown.
fn word<'a>(text: &'a str, what: &str) -> Result<&'a str, CommandError> {
    let stray = |c: char| c.is_control() || c == ',';
    if text.is_empty() || text.len() > MAX_NAME || text.contains(stray) {
        return Err(CommandError::failed(format!(
            "`{text}` cannot be a {what}: at most {MAX_NAME} bytes, no comma"
        )));
    }
    Ok(text)
}

fn no_group(name: &str) -> CommandError {
    CommandError::failed(format!(
        "there is no group {name}; shared_roster_create makes one"
    ))
}

fn store(error: StorageError) -> CommandError {
    CommandError::failed(format!("the store failed: {error}"))
}
