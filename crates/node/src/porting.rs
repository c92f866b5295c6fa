//! Commands that write accounts to files and bring them in from files.

use std::path::MAIN_SEPARATOR;
use std::time::Duration;

use admin::{Arg, Args, Command, CommandError, Progress, Step, Value, render};
use port::{Export, Hearer, Hosts, Import, Summary};
use session::hooks::RegisterUser;
use storage::{Brought, IfThere};
use xmpp::{BareJid, StreamCondition};

use crate::parts::Node;
use crate::server::count;

/// How long an export or an import may take: a hundred thousand passwords are hashed in the meantime.
const PORT_WITHIN: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn commands(node: &Node) -> Vec<Command> {
    [export, import]
        .map(|made: fn(&Node) -> Command| made(node))
        .into()
}

fn export(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "export",
        "Writes accounts with all they own to a file, or to one for each host in a folder (XEP-0227); no passwords, \
         but the keys to check them.",
        move |_, args| {
            let node = node.clone();
            async move { write(&node, &args).await }
        },
    )
    .arg(Arg::text(
        "file",
        "the file; a folder where one is, or where the name ends in a slash; what is there is replaced",
    ))
    .arg(Arg::host("host", "only accounts of this host").optional())
    .arg(Arg::text("user", "only accounts of this name").optional())
    .within(PORT_WITHIN)
    .returns("accounts, what was left out because it is no XML, files")
}

async fn write(node: &Node, args: &Args) -> Result<Value, CommandError> {
    let hosts = match args.maybe_text("host") {
        Some(host) => vec![node.host(host)?.name.to_string()],
        None => node.hosts.all().keys().cloned().collect(),
    };
    let order = Export {
        path: args.path("file"),
        folder: args.text("file").ends_with(MAIN_SEPARATOR),
        hosts,
        user: args.maybe_text("user").map(str::to_owned),
    };
    let progress = |done, total| say(args.progress(), done, total, "accounts");
    let done = port::export(&order, &node.storage, progress)
        .await
        .map_err(CommandError::failed)?;
    let files = done
        .files
        .iter()
        .map(|file| Value::from(file.display().to_string()));
    Ok(Value::Record(vec![
        ("accounts".into(), count(done.accounts)),
        ("left_out".into(), count(done.left_out)),
        ("files".into(), Value::List(files.collect())),
    ]))
}

fn import(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "import",
        "Brings accounts in from files of XEP-0227 (Natter's, ejabberd's) or from Prosody's data folder; accounts that \
         exist are left alone.",
        move |_, args| {
            let node = node.clone();
            async move { read(&node, &args).await }
        },
    )
    .arg(Arg::text(
        "file",
        "the file, or a folder with such files, or Prosody's data folder",
    ))
    .arg(Arg::pairs(
        "host-map",
        "accounts of the host on the left come to the host on the right; as --host-map OLD=NEW too",
    ))
    .flag("check", "changes nothing: reads, and counts what would be imported")
    .flag(
        "replace",
        "accounts that exist are emptied first, and their sessions end; their roles stay",
    )
    .within(PORT_WITHIN)
    .returns("what was imported, what was skipped and why, what did not come along")
}

async fn read(node: &Node, args: &Args) -> Result<Value, CommandError> {
    let served = node.hosts.clone();
    let mut hosts = Hosts::new(move |host| served.contains(host));
    for (theirs, ours) in args.pairs("host-map") {
        hosts.rename(theirs, ours).map_err(CommandError::usage)?;
    }
    let if_there = match args.flag("replace") {
        true => IfThere::Replace,
        false => IfThere::Keep,
    };
    let order = Import {
        path: args.path("file"),
        hosts,
        if_there,
        only_check: args.flag("check"),
        now: node.system.clock().wall(),
    };
    let told = Told {
        node,
        progress: args.progress(),
    };
    let summary = port::import(order, &node.auth, &node.storage, &told).await;
    let value = record(&summary, args.flag("check"));
    match &summary.stopped {
        None if summary.unusable == 0 => Ok(value),
        None => Err(CommandError::failed(format!(
            "not every account could be imported\n{}",
            render(&value)
        ))),
        Some(why) => Err(CommandError::failed(format!(
            "{why}\nimported until then (run it again when this is mended: these are left alone then):\n{}",
            render(&value)
        ))),
    }
}

/// What the rest of the server does about accounts that came.
struct Told<'a> {
    node: &'a Node,
    progress: &'a Progress,
}

impl Hearer for Told<'_> {
    async fn brought(&self, account: &BareJid, brought: Brought) {
        let node = self.node;
        // What is stored from now on comes behind the messages that came with the account.
        node.router
            .count_from(node.storage.next_place().unsigned_abs());
        match brought {
            Brought::Made => {
                let account = account.clone();
                let _ = node.router.fold_wait(RegisterUser { account }).await;
            }
            Brought::Replaced => {
                let reset = StreamCondition::Reset.text("the account was imported anew");
                for session in node.sessions.table.sessions(account) {
                    // Gone already: as wanted.
                    let _ = node.sessions.kick(&session.jid, reset.clone());
                }
            }
            Brought::Exists | Brought::Removed => {}
        }
    }

    fn progress(&self, done: u64, total: u64, unit: &'static str) {
        say(self.progress, done, total, unit);
    }
}

fn say(progress: &Progress, done: u64, total: u64, unit: &'static str) {
    progress.say(Step { done, total, unit });
}

fn record(summary: &Summary, only_check: bool) -> Value {
    let mut lines = vec![
        ("format".to_owned(), Value::from(summary.format)),
        ("checked_only".to_owned(), Value::Bool(only_check)),
    ];
    let counts = [
        ("imported", summary.made),
        ("replaced", summary.replaced),
        ("skipped_existing", summary.exist),
        ("skipped_removed", summary.removed),
        ("unusable", summary.unusable),
        ("without_password", summary.without_password),
        ("contacts", summary.contacts),
        ("messages", summary.messages),
        ("vcards", summary.vcards),
        ("private_data", summary.private),
        ("privacy_lists", summary.lists),
    ];
    lines.extend(counts.map(|(name, number)| (name.to_owned(), count(number))));
    let faults = summary.faults.iter().enumerate();
    lines.extend(
        faults
            .map(|(number, fault)| (format!("fault {}", number + 1), Value::from(fault.as_str()))),
    );
    for (what, (times, at)) in &summary.left_out {
        let text = format!("{times} times, first at {at}");
        lines.push((format!("left out: {what}"), Value::from(text)));
    }
    Value::Record(lines)
}
