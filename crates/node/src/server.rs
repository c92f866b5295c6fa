//! Commands of the server as a whole: status, stop, tree, routes, hooks, configuration, backup.

use std::time::Duration;

use admin::{Arg, Args, Branch, Command, CommandError, Value};
use futures_util::future::join_all;
use otp::TreeNode;

use gen_mod::Modules;

use crate::parts::{Node, store};

/// How long a change of the whole server may take: it may start a thousand hosts.
const CHANGE_WITHIN: Duration = Duration::from_secs(600);

/// How long a backup or a restore may take.
const COPY_WITHIN: Duration = Duration::from_secs(3600);

/// How long sessions may take to end before a restore.
const SESSIONS_END: Duration = Duration::from_secs(20);

pub(crate) fn commands(node: &Node) -> Vec<Command> {
    let made = |f: fn(&Node) -> Command| f(node);
    [
        status,
        stop,
        restart,
        tree,
        route_list,
        hook_list,
        config_show,
        config_doc,
        reload_config,
        host_list,
        host_add,
        host_remove,
        backup,
        restore,
    ]
    .map(made)
    .into()
}

fn status(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "status",
        "Tells whether the node runs, since when and how much it holds.",
        move |_, _| {
            let node = node.clone();
            async move {
                let uptime = node.system.clock().now() - node.started;
                Ok(Value::Record(vec![
                    ("status".into(), "running".into()),
                    ("pid".into(), count(std::process::id().into())),
                    ("version".into(), node.version.into()),
                    ("uptime_seconds".into(), count(uptime.as_secs())),
                    (
                        "hosts".into(),
                        Value::List(node.hosts.all().keys().map(|h| h.as_str().into()).collect()),
                    ),
                    ("sessions".into(), count(node.sessions.table.count() as u64)),
                    (
                        "processes".into(),
                        count(node.system.observe().count() as u64),
                    ),
                ]))
            }
        },
    )
    .reads()
    .returns("pid, version, uptime in seconds, hosts, sessions, processes")
}

fn stop(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "stop",
        "Ends the node in order: sessions are closed, nothing accepted is lost.",
        move |_, _| {
            node.steering.stop();
            async { Ok(Value::Nothing) }
        },
    )
}

fn restart(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "restart",
        "Ends the node in order and starts it anew, with the program and the configuration that are there then.",
        move |_, _| {
            node.steering.restart();
            async { Ok(Value::Nothing) }
        },
    )
}

fn tree(node: &Node) -> Command {
    let node = node.clone();
    Command::new("tree", "Prints the live tree of supervisors and processes.", move |_, _| {
        let roots = node.system.observe().tree().iter().map(branch).collect();
        let columns = ["process", "kind", "detail", "restarts", "mailbox", "bytes", "messages", "uptime", "last exit"];
        async move { Ok(Value::Tree { columns: columns.map(str::to_owned).to_vec(), roots }) }
    })
    .reads()
    .returns("a tree: name, kind, detail, restarts, mailbox, its bytes, messages handled, uptime, last exit")
}

fn branch(of: &TreeNode) -> Branch {
    Branch {
        row: vec![
            of.name.clone().into(),
            of.kind.into(),
            of.detail.clone().unwrap_or_default().into(),
            count(of.restarts.into()),
            count(of.mailbox as u64),
            count(of.mailbox_bytes as u64),
            count(of.messages),
            format!("{} s", of.uptime.as_secs()).into(),
            of.last_exit.clone().unwrap_or_default().into(),
        ],
        children: of.children.iter().map(branch).collect(),
    }
}

fn route_list(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "route_list",
        "Lists every routed domain, how its packets are taken and by whom.",
        move |_, _| {
            let rows = node.router.route_list();
            let table = rows.into_iter().fold(
                Value::table(["domain", "host", "mode", "owner"]),
                |table, row| {
                    table.row([
                        row.domain.into(),
                        row.host.into(),
                        row.mode.into(),
                        row.owner.into(),
                    ])
                },
            );
            async { Ok(table) }
        },
    )
    .reads()
    .returns("domain, host, mode (inline, actor, balanced, down), owner")
}

fn hook_list(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "hook_list",
        "Lists every hook that has handlers, in the order in which they run.",
        move |_, _| {
            let empty = Value::table(["hook", "host", "priority", "handler", "failures"]);
            let table = node
                .router
                .hook_list()
                .into_iter()
                .fold(empty, |table, row| {
                    table.row([
                        row.hook.into(),
                        row.host.into(),
                        count(row.priority.into()),
                        row.handler.into(),
                        count(row.failures),
                    ])
                });
            async { Ok(table) }
        },
    )
    .reads()
    .returns("hook, host, priority, handler, failures")
}

fn config_show(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "config_show",
        "Prints the configuration as it holds.",
        move |_, args| {
            let text = node.steering.show(args.flag("origin"));
            async { Ok(Value::Text(text)) }
        },
    )
    .flag("origin", "says of each value where it was written")
    .reads()
    .returns("the configuration, secrets hidden")
}

fn config_doc(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "config_doc",
        "Prints the reference of all configuration keys, in Markdown.",
        move |_, _| {
            let page = config::reference(&node.steering.described());
            async { Ok(Value::Text(page)) }
        },
    )
    .reads()
    .returns("a page of Markdown")
}

fn reload_config(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "reload_config",
        "Reads the configuration anew and applies what changed, as SIGHUP does; all of it or nothing.",
        move |_, args| {
            let reload = node.steering.reload(args.flag("plan"));
            async move {
                match reload.await {
                    Ok(changes) => Ok(Value::List(changes.into_iter().map(Value::from).collect())),
                    Err(why) => Err(CommandError::failed(why)),
                }
            }
        },
    )
    .flag("plan", "changes nothing and says what would be changed")
    .within(CHANGE_WITHIN)
    .returns("what was changed, one line each")
}

fn host_list(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "host_list",
        "Lists the hosts that the node serves.",
        move |_, _| {
            let names = node.hosts.all().keys().map(|h| h.as_str().into()).collect();
            async { Ok(Value::List(names)) }
        },
    )
    .reads()
    .returns("domains, one a line")
}

fn host_add(node: &Node) -> Command {
    let node = node.clone();
    let command = Command::new(
        "host_add",
        "Begins to serve a host on the running node, and keeps that over a restart.",
        move |_, args| serve(&node, &args, true),
    );
    command
        .arg(Arg::text("host", "domain of the host"))
        .flag(
            "transient",
            "keeps nothing: a restart of the node forgets it",
        )
        .within(CHANGE_WITHIN)
        .returns("what was changed, one line each")
}

fn host_remove(node: &Node) -> Command {
    let node = node.clone();
    let command = Command::new(
        "host_remove",
        "Serves a host no more: its sessions end; its accounts stay stored.",
        move |_, args| serve(&node, &args, false),
    );
    command
        .arg(Arg::text("host", "domain of the host"))
        .flag(
            "transient",
            "keeps nothing: a restart of the node serves it again",
        )
        .within(CHANGE_WITHIN)
        .returns("what was changed, one line each")
}

fn serve(
    node: &Node,
    args: &Args,
    served: bool,
) -> impl Future<Output = Result<Value, CommandError>> + use<> {
    let done = node
        .steering
        .serve(args.text("host"), served, !args.flag("transient"));
    async move {
        let lines = done.await.map_err(CommandError::failed)?;
        Ok(Value::List(lines.into_iter().map(Value::from).collect()))
    }
}

fn backup(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "backup",
        "Copies the database, as it is at one moment, and what is kept beside it into a folder.",
        move |_, args| {
            let node = node.clone();
            async move {
                let folder = &args.path("folder");
                let file = node.storage.backup(folder).await.map_err(store)?;
                let mut copied = vec![Value::from(file.display().to_string())];
                let more = node.steering.copy_out(folder);
                copied.extend(
                    more.map_err(CommandError::failed)?
                        .into_iter()
                        .map(Value::from),
                );
                Ok(Value::List(copied))
            }
        },
    )
    .arg(Arg::text(
        "folder",
        "where to; it is made when it is not there",
    ))
    .within(COPY_WITHIN)
    .returns("the files that were written")
}

fn restore(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "restore",
        "Replaces all data by what a backup holds; every session ends first.",
        move |_, args| {
            let node = node.clone();
            async move {
                let folder = &args.path("folder");
                end_sessions(&node).await;
                let saved = node.storage.restore(folder).await.map_err(store)?;
                // What is stored from now on comes behind all that was restored.
                node.router
                    .count_from(node.storage.next_place().unsigned_abs());
                let mut done = vec![format!(
                    "database restored; what was there before is in {}",
                    saved.display()
                )];
                let more = node.steering.copy_in(folder).await;
                done.extend(more.map_err(|why| {
                    CommandError::failed(format!(
                        "the database is restored, the rest is not: {why}"
                    ))
                })?);
                node.auth.forget();
                for (name, host) in node.hosts.all().iter() {
                    node.auth.survey(name).await.map_err(store)?;
                    // What modules read at their start was another host's past.
                    for module in host.modules.list() {
                        if let Err(error) = Modules::of(host).restart(module.name).await {
                            let module = module.name;
                            done.push(format!("{module} of {name} did not start again: {error}"));
                        }
                    }
                }
                Ok(Value::List(done.into_iter().map(Value::from).collect()))
            }
        },
    )
    .arg(Arg::text("folder", "where `backup` wrote to"))
    .within(COPY_WITHIN)
    .returns("what was done, one line each")
}

/// Ends every session and waits until what each had is where it belongs.
async fn end_sessions(node: &Node) {
    let sessions = node.sessions.table.all();
    let ends = sessions.iter().map(|entry| entry.pid.any().watch());
    let ends = join_all(ends.collect::<Vec<_>>());
    let reset = xmpp::StreamCondition::Reset.text("the server's data are restored");
    for entry in &sessions {
        // Gone already: as wanted.
        let _ = node.sessions.kick(&entry.jid, reset.clone());
    }
    if node
        .system
        .clock()
        .timeout(SESSIONS_END, ends)
        .await
        .is_err()
    {
        tracing::warn!(target: "natter::node", "sessions did not end in time for a restore");
    }
}

pub(crate) fn count(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
