//! Commands about accounts and their sessions.

use std::time::UNIX_EPOCH;

use admin::{Arg, Args, Command, CommandError, Role, Scope, Value};
use auth::Password;
use storage::Role as Stored;
use xmpp::StreamCondition;

use crate::parts::{Node, store};
use crate::server::count;

const USER: Arg = Arg::text("user", "name of the account, without its host");
const HOST: Arg = Arg::host("host", "domain of the account");
const PASSWORD: Arg = Arg::secret(
    "password",
    "password of the account; asked for when it is left out",
);

/// How many accounts one reading of the store brings.
const PAGE: usize = 500;

pub(crate) fn commands(node: &Node) -> Vec<Command> {
    let made = |f: fn(&Node) -> Command| f(node);
    [
        register,
        unregister,
        release_name,
        change_password,
        registered_users,
        connected_users,
        kick_session,
        set_role,
    ]
    .map(made)
    .into()
}

fn password(args: &Args) -> Password {
    Password::new(args.secret("password").expose().to_owned())
}

fn register(node: &Node) -> Command {
    let node = node.clone();
    Command::new("register", "Makes an account.", move |_, args| {
        let node = node.clone();
        async move {
            let account = node.account(args.text("user"), args.text("host"))?;
            node.sessions
                .register_account(&account, password(&args))
                .await
                .map_err(CommandError::failed)?;
            Ok(Value::Text(format!("{account} registered")))
        }
    })
    .args(&[USER, HOST, PASSWORD])
    .allow(Role::HostAdmin, Scope::Host)
    .returns("the address of the account")
}

fn unregister(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "unregister",
        "Removes an account and all it owns, and ends its sessions; nobody gets its name until release_name.",
        move |_, args| {
            let node = node.clone();
            async move {
                let account = node.account(args.text("user"), args.text("host"))?;
                if !node
                    .sessions
                    .remove_account(&account, None)
                    .await
                    .map_err(store)?
                {
                    return Err(CommandError::failed(format!(
                        "there is no account {account}"
                    )));
                }
                Ok(Value::Text(format!("{account} removed")))
            }
        },
    )
    .args(&[USER, HOST])
    .allow(Role::HostAdmin, Scope::Host)
    .returns("the address of the account")
}

fn release_name(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "release_name",
        "Lets the name of a removed account be registered again.",
        move |_, args| {
            let node = node.clone();
            async move {
                let account = node.account(args.text("user"), args.text("host"))?;
                let accounts = &node.storage.accounts;
                if !accounts.release(&account).await.map_err(store)? {
                    return Err(CommandError::failed(format!(
                        "no account {account} was removed"
                    )));
                }
                Ok(Value::Text(format!("{account} can be registered again")))
            }
        },
    )
    .args(&[USER, HOST])
    .allow(Role::HostAdmin, Scope::Host)
    .returns("the address that is free now")
}

fn change_password(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "change_password",
        "Gives an account another password.",
        move |_, args| {
            let node = node.clone();
            async move {
                let account = node.account(args.text("user"), args.text("host"))?;
                node.auth
                    .set_password(&account, password(&args))
                    .await
                    .map_err(CommandError::failed)?;
                if args.flag("end-sessions") {
                    let error = StreamCondition::NotAuthorized.text("the password was changed");
                    node.sessions.kick_all(&account, &error);
                }
                Ok(Value::Text(format!("password of {account} changed")))
            }
        },
    )
    .args(&[USER, HOST, PASSWORD])
    .flag("end-sessions", "ends the sessions of the account")
    .allow(Role::HostAdmin, Scope::Host)
}

fn registered_users(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "registered_users",
        "Lists the accounts of a host.",
        move |_, args| {
            let node = node.clone();
            async move {
                let host = node.host(args.text("host"))?;
                let mut names: Vec<Value> = Vec::new();
                let mut after: Option<String> = None;
                loop {
                    let page = node
                        .storage
                        .accounts
                        .list(&host.name, after.as_deref(), PAGE)
                        .await
                        .map_err(store)?;
                    after = page
                        .last()
                        .and_then(|jid| jid.node())
                        .map(|node| node.as_str().to_owned());
                    let full = page.len() == PAGE;
                    names.extend(
                        page.iter()
                            .filter_map(|jid| jid.node())
                            .map(|name| Value::from(name.as_str())),
                    );
                    if !full {
                        return Ok(Value::List(names));
                    }
                }
            }
        },
    )
    .arg(Arg::host("host", "domain of the accounts"))
    .allow(Role::HostAdmin, Scope::Host)
    .reads()
    .returns("names, one a line")
}

fn connected_users(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "connected_users",
        "Lists the sessions of a host, or of all.",
        move |_, args| {
            let node = node.clone();
            async move {
                let host = match args.maybe_text("host") {
                    Some(host) => Some(node.host(host)?),
                    None => None,
                };
                let mut sessions = node.sessions.table.all();
                sessions.retain(|e| {
                    host.as_ref()
                        .is_none_or(|host| e.jid.domain().as_str() == &*host.name)
                });
                sessions.sort_by(|a, b| a.jid.cmp(&b.jid));
                let empty = Value::table(["session", "address", "encrypted", "priority", "since"]);
                Ok(sessions.iter().fold(empty, |table, entry| {
                    let since = entry.since.duration_since(UNIX_EPOCH).unwrap_or_default();
                    table.row([
                        entry.jid.to_string().into(),
                        entry
                            .address
                            .map(|a| a.to_string())
                            .unwrap_or_default()
                            .into(),
                        Value::Bool(entry.encrypted),
                        entry
                            .priority()
                            .map_or(Value::Nothing, |p| Value::Integer(p.into())),
                        count(since.as_secs()),
                    ])
                }))
            }
        },
    )
    .arg(Arg::host("host", "only the sessions of this host").optional())
    .allow(Role::HostAdmin, Scope::Host)
    .reads()
    .returns("full JID, address, encrypted, priority (none: not available), since (Unix time)")
}

fn kick_session(node: &Node) -> Command {
    let node = node.clone();
    Command::new("kick_session", "Ends a session.", move |_, args| {
        let node = node.clone();
        async move {
            let account = node.account(args.text("user"), args.text("host"))?;
            let resource = args.text("resource");
            let reason = args
                .maybe_text("reason")
                .unwrap_or("ended by an administrator");
            let jid = account
                .with_resource_str(resource)
                .map_err(|_| CommandError::failed(format!("`{resource}` is not a resource")))?;
            if !node
                .sessions
                .kick(&jid, StreamCondition::PolicyViolation.text(reason))
            {
                return Err(CommandError::failed(format!("there is no session {jid}")));
            }
            Ok(Value::Text(format!("{jid} ended")))
        }
    })
    .args(&[USER, HOST])
    .arg(Arg::text("resource", "resource of the session"))
    .arg(Arg::text("reason", "what its client is told").optional())
    .allow(Role::HostAdmin, Scope::Host)
}

fn set_role(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "set_role",
        "Says what an account may do: user, host-admin or admin.",
        move |_, args| {
            let node = node.clone();
            async move {
                let account = node.account(args.text("user"), args.text("host"))?;
                let word = args.text("role");
                let words = [Stored::User, Stored::HostAdmin, Stored::Admin].map(Stored::as_str);
                let Some(role) = Stored::from_word(word) else {
                    let hint = config::nearest(word, words.into_iter());
                    let hint = hint
                        .map(|near| format!("; did you mean `{near}`?"))
                        .unwrap_or_default();
                    return Err(CommandError::usage(format!(
                        "`{word}` is none of {}{hint}",
                        words.join(", ")
                    )));
                };
                if !node
                    .storage
                    .accounts
                    .set_role(&account, role)
                    .await
                    .map_err(store)?
                {
                    return Err(CommandError::failed(format!(
                        "there is no account {account}"
                    )));
                }
                Ok(Value::Text(format!("{account} is {} now", role.as_str())))
            }
        },
    )
    .args(&[USER, HOST])
    .arg(Arg::text("role", "user, host-admin or admin"))
}
