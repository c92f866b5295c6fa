//! Commands that keep an account out for a while: ban, unban, kick.

use admin::{Arg, Command, CommandError, Role, Scope, Value};
use xmpp::StreamCondition;

use crate::parts::{Node, store};
use crate::server::count;

const USER: Arg = Arg::text("user", "name of the account, without its host");
const HOST: Arg = Arg::host("host", "domain of the account");

pub(crate) fn commands(node: &Node) -> Vec<Command> {
    let made = |f: fn(&Node) -> Command| f(node);
    [ban_account, unban_account, kick_user].map(made).into()
}

fn ban_account(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "ban_account",
        "Forbids an account to log in and ends its sessions; nothing it owns is lost.",
        move |_, args| {
            let node = node.clone();
            async move {
                let account = node.account(args.text("user"), args.text("host"))?;
                let reason = args
                    .maybe_text("reason")
                    .unwrap_or("the account is disabled");
                set_disabled(&node, &account, true).await?;
                let gone = StreamCondition::NotAuthorized.text(reason);
                node.sessions.kick_all(&account, &gone);
                Ok(Value::Text(format!("{account} may not log in")))
            }
        },
    )
    .args(&[USER, HOST])
    .arg(Arg::text("reason", "what its clients are told").optional())
    .allow(Role::HostAdmin, Scope::Host)
    .returns("the address of the account")
}

fn unban_account(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "unban_account",
        "Allows an account to log in again.",
        move |_, args| {
            let node = node.clone();
            async move {
                let account = node.account(args.text("user"), args.text("host"))?;
                set_disabled(&node, &account, false).await?;
                Ok(Value::Text(format!("{account} may log in")))
            }
        },
    )
    .args(&[USER, HOST])
    .allow(Role::HostAdmin, Scope::Host)
    .returns("the address of the account")
}

async fn set_disabled(
    node: &Node,
    account: &xmpp::BareJid,
    disabled: bool,
) -> Result<(), CommandError> {
    let accounts = &node.storage.accounts;
    if accounts
        .set_disabled(account, disabled)
        .await
        .map_err(store)?
    {
        return Ok(());
    }
    Err(CommandError::failed(format!(
        "there is no account {account}"
    )))
}

fn kick_user(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "kick_user",
        "Ends every session of an account.",
        move |_, args| {
            let node = node.clone();
            async move {
                let account = node.account(args.text("user"), args.text("host"))?;
                let reason = args
                    .maybe_text("reason")
                    .unwrap_or("ended by an administrator");
                let gone = StreamCondition::PolicyViolation.text(reason);
                Ok(count(node.sessions.kick_all(&account, &gone) as u64))
            }
        },
    )
    .args(&[USER, HOST])
    .arg(Arg::text("reason", "what its clients are told").optional())
    .allow(Role::HostAdmin, Scope::Host)
    .returns("how many sessions there were")
}
