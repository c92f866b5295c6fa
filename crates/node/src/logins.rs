//! Commands about failed logins.

use std::time::Duration;

use admin::{Arg, Command, CommandError, Value};

use crate::parts::Node;
use crate::server::count;

pub(crate) fn commands(node: &Node) -> Vec<Command> {
    vec![failed_login_list(node), failed_login_clear(node)]
}

/// Whole seconds; a part of one counts as one, so that a wait that is not over is not shown as none.
fn seconds(time: Duration) -> Value {
    count(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

fn failed_login_list(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "failed_login_list",
        "Lists accounts and addresses whose logins failed, and how long the next has to wait.",
        move |_, _| {
            let node = node.clone();
            async move {
                let empty = Value::table(["who", "failures", "waits", "last"]);
                let spent = node.auth.budgets().list();
                Ok(spent.into_iter().fold(empty, |table, row| {
                    table.row([
                        row.who.into(),
                        count(row.failures.into()),
                        seconds(row.wait),
                        count(row.quiet.as_secs()),
                    ])
                }))
            }
        },
    )
    .reads()
    .returns("account or address, failed logins, seconds until the next is judged, seconds since the last failed")
}

fn failed_login_clear(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "failed_login_clear",
        "Forgets the failed logins of an account or an address, or all.",
        move |_, args| {
            let node = node.clone();
            async move {
                let who = args.maybe_text("who");
                let cleared = node.auth.budgets().clear(who);
                match who {
                    Some(who) if cleared == 0 => Err(CommandError::failed(format!(
                        "no failed logins of {who} are known"
                    ))),
                    _ => Ok(Value::Text(format!("{cleared} cleared"))),
                }
            }
        },
    )
    .arg(
        Arg::text(
            "who",
            "address of the account, or network address; all unless said",
        )
        .optional(),
    )
    .returns("how many accounts and addresses were cleared")
}
