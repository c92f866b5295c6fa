//! The commands by which tokens of the HTTP API are made, listed and taken back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use admin::{Arg, ArgType, Command, CommandError, Role, Scope, Value};
use storage::ApiToken;

use crate::Web;
use crate::gate::{hash, new_token, role_of};

/// How long a token is good unless said: 90 days.
const LIFETIME: Duration = Duration::from_secs(90 * 86_400);

const HOST: Arg = Arg::host("host", "host of the account");

pub(crate) fn commands(web: &Web) -> [Command; 3] {
    [create(web), list(web), revoke(web)]
}

fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::failed(format!("the store failed: {error}"))
}

fn create(web: &Web) -> Command {
    let web = web.clone();
    Command::new(
        "token_create",
        "Makes a token by which a program gives commands over HTTP in an account's name; it is shown this once.",
        move |caller, args| {
            let web = web.clone();
            async move {
                let (user, host) = (args.text("user"), args.text("host"));
                let parts = web.parts();
                let account = xmpp::parse_bare(&format!("{user}@{host}"))
                    .map_err(|error| CommandError::usage(format!("`{user}@{host}`: {error}")))?;
                let role = parts.storage.accounts.role(&account).await.map_err(failed)?;
                let Some(role) = role else {
                    return Err(CommandError::failed(format!("there is no account {account}")));
                };
                // Else a host's administrator could speak in the name of the node's.
                if role_of(role) > caller.role {
                    let why = format!("{account} may do more than you");
                    return Err(CommandError::Denied(why));
                }
                let names = args.texts("commands");
                for name in &names {
                    if parts.commands.get(name).is_none() {
                        let why = format!("commands: there is no command `{name}`");
                        return Err(CommandError::failed(why));
                    }
                }
                let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
                let (secret, id) = new_token().map_err(CommandError::failed)?;
                let created = parts.system.clock().wall();
                let lifetime = args.duration("lifetime").unwrap_or(LIFETIME);
                let expires = created.checked_add(lifetime).ok_or_else(|| {
                    CommandError::failed("lifetime: that is longer than time itself")
                })?;
                let token = ApiToken {
                    id: id.clone(),
                    hash: hash(&secret),
                    account: account.clone(),
                    commands: (!names.is_empty()).then_some(names),
                    created,
                    expires,
                };
                parts.storage.tokens.create(token).await.map_err(failed)?;
                Ok(Value::Record(vec![
                    ("id".into(), id.into()),
                    ("account".into(), account.to_string().into()),
                    ("expires".into(), shown(expires)),
                    ("token".into(), Value::Text(String::clone(&secret))),
                ]))
            }
        },
    )
    .arg(Arg::text("user", "name of the account"))
    .arg(HOST)
    .arg(Arg::new("lifetime", ArgType::Duration, "how long it is good; 90 days unless said").optional())
    .arg(Arg::text("commands", "the only commands it is for; all that the account may give unless said").optional().repeated())
    .allow(Role::HostAdmin, Scope::Host)
    .returns("id, account, when it expires, and the token")
}

fn list(web: &Web) -> Command {
    let web = web.clone();
    Command::new(
        "token_list",
        "Lists the tokens of a host's accounts; not what they are, which nobody knows.",
        move |_, args| {
            let web = web.clone();
            async move {
                let host = args.text("host");
                let parts = web.parts();
                let now = parts.system.clock().wall();
                let found = parts.storage.tokens.list(host).await.map_err(failed)?;
                let all = Value::table(["id", "account", "commands", "created", "expires"]);
                let good = found.into_iter().filter(|token| now < token.expires);
                Ok(good.fold(all, |rows, token| {
                    let commands = token.commands.map_or("all".into(), |names| names.join(" "));
                    rows.row([
                        token.id.into(),
                        token.account.to_string().into(),
                        commands.into(),
                        shown(token.created),
                        shown(token.expires),
                    ])
                }))
            }
        },
    )
    .arg(HOST)
    .allow(Role::HostAdmin, Scope::Host)
    .reads()
    .returns("a table: id, account, commands, created, expires")
}

fn revoke(web: &Web) -> Command {
    let web = web.clone();
    Command::new(
        "token_revoke",
        "Takes a token back; nobody gives commands by it any more.",
        move |_, args| {
            let web = web.clone();
            async move {
                let (host, id) = (args.text("host"), args.text("id"));
                let removed = web.parts().storage.tokens.remove(host, id).await;
                if removed.map_err(failed)? {
                    return Ok(Value::Nothing);
                }
                Err(CommandError::failed(format!("{host} has no token `{id}`")))
            }
        },
    )
    .arg(HOST)
    .arg(Arg::text("id", "what token_list calls it"))
    .allow(Role::HostAdmin, Scope::Host)
}

/// A time as XEP-0082 has it.
fn shown(time: SystemTime) -> Value {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    xmpp::format_date_time(UNIX_EPOCH + Duration::from_secs(since.as_secs())).into()
}
