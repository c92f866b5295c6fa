//! Commands about modules: hot-add, stop, restart, and what runs.

use admin::{Arg, Args, Command, CommandError, Role, Scope, Value};
use config::{Document, Layers, Section, effective};
use gen_mod::{Host, ModuleKind, Modules, State};

use crate::parts::{Keep, Node};

const HOST: Arg = Arg::host("host", "domain of the host");
const MODULE: Arg = Arg::text("module", "name of the module, such as mod_echo");

pub(crate) fn commands(node: &Node) -> Vec<Command> {
    let made = |f: fn(&Node) -> Command| f(node);
    [
        module_list,
        module_start,
        module_stop,
        module_reset,
        restart_module,
        module_options,
    ]
    .map(made)
    .into()
}

fn kind(node: &Node, name: &str) -> Result<&'static ModuleKind, CommandError> {
    node.catalog.find(name).ok_or_else(|| {
        let hint = node
            .catalog
            .nearest(name)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        CommandError::failed(format!("unknown module `{name}`{hint}"))
    })
}

/// The options of a command line, typed as the module declares them.
fn given(args: &Args, kind: &ModuleKind) -> Result<Section, CommandError> {
    let words: Vec<String> = args
        .pairs("options")
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let document =
        Document::from_words(words.iter().map(String::as_str)).map_err(CommandError::usage)?;
    Ok(Layers::new()
        .command(document)
        .section()
        .resolve((kind.options)()))
}

fn module_start(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "module_start",
        "Starts a module on a running host, and keeps that over a restart.",
        move |_, args| {
            let node = node.clone();
            async move {
                let host = node.host(args.text("host"))?;
                let kind = kind(&node, args.text("module"))?;
                let words = given(&args, kind)?;
                let section = node
                    .steering
                    .module(&host.name, kind.name)
                    .section
                    .under(&words);
                Modules::of(&host)
                    .start(kind.name, section)
                    .await
                    .map_err(CommandError::failed)?;
                keep(&node, &args, &host, kind, Keep::Started(&words))?;
                Ok(Value::Text(format!(
                    "{} started on {}",
                    kind.name, host.name
                )))
            }
        },
    )
    .args(&[HOST, MODULE])
    .arg(Arg::pairs("options", "options of the module"))
    .flag(
        "transient",
        "keeps nothing: a restart of the node forgets it",
    )
    .allow(Role::Admin, Scope::Host)
}

fn module_stop(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "module_stop",
        "Stops a module on a running host, and keeps that over a restart.",
        move |_, args| {
            let node = node.clone();
            async move {
                let host = node.host(args.text("host"))?;
                let kind = kind(&node, args.text("module"))?;
                Modules::of(&host)
                    .stop(kind.name)
                    .await
                    .map_err(CommandError::failed)?;
                keep(&node, &args, &host, kind, Keep::Stopped)?;
                Ok(Value::Text(format!(
                    "{} stopped on {}",
                    kind.name, host.name
                )))
            }
        },
    )
    .args(&[HOST, MODULE])
    .flag(
        "transient",
        "keeps nothing: a restart of the node starts it again",
    )
    .allow(Role::Admin, Scope::Host)
}

fn keep(
    node: &Node,
    args: &Args,
    host: &Host,
    kind: &ModuleKind,
    change: Keep<'_>,
) -> Result<(), CommandError> {
    if args.flag("transient") {
        return Ok(());
    }
    node.steering
        .keep(&host.name, kind.name, change)
        .map_err(|why| CommandError::failed(format!("done, but not kept over a restart: {why}")))
}

fn module_reset(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "module_reset",
        "Undoes hot changes: the module is again as the file says.",
        move |_, args| {
            let node = node.clone();
            async move {
                let host = node.host(args.text("host"))?;
                let kind = kind(&node, args.text("module"))?;
                node.steering
                    .keep(&host.name, kind.name, Keep::Nothing)
                    .map_err(CommandError::failed)?;
                let configured = node.steering.module(&host.name, kind.name);
                let runs = host.modules.list().iter().any(|row| row.name == kind.name);
                let modules = Modules::of(&host);
                let done = match (configured.enabled, runs) {
                    (true, true) => modules
                        .reload(kind.name, configured.section)
                        .await
                        .map(|()| "runs as configured"),
                    (true, false) => modules
                        .start(kind.name, configured.section)
                        .await
                        .map(|()| "started as configured"),
                    (false, true) => modules
                        .stop(kind.name)
                        .await
                        .map(|()| "stopped as configured"),
                    (false, false) => Ok("does not run, as configured"),
                };
                let done = done.map_err(CommandError::failed)?;
                Ok(Value::Text(format!(
                    "{} {done} on {}",
                    kind.name, host.name
                )))
            }
        },
    )
    .args(&[HOST, MODULE])
    .allow(Role::Admin, Scope::Host)
}

fn restart_module(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "restart_module",
        "Stops a module and starts it anew; brings back one that was given up.",
        move |_, args| {
            let node = node.clone();
            async move {
                let host = node.host(args.text("host"))?;
                let kind = kind(&node, args.text("module"))?;
                Modules::of(&host)
                    .restart(kind.name)
                    .await
                    .map_err(CommandError::failed)?;
                Ok(Value::Text(format!(
                    "{} restarted on {}",
                    kind.name, host.name
                )))
            }
        },
    )
    .args(&[HOST, MODULE])
    .allow(Role::Admin, Scope::Host)
}

fn module_list(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "module_list",
        "Lists the modules that run, and how.",
        move |_, args| {
            let node = node.clone();
            async move {
                let hosts: Vec<Host> = match args.maybe_text("host") {
                    Some(host) => vec![node.host(host)?],
                    None => node.hosts.all().values().cloned().collect(),
                };
                let columns = [
                    "host",
                    "module",
                    "state",
                    "restarts",
                    "uptime",
                    "options",
                    "registrations",
                ];
                let mut table = Value::table(columns);
                for host in hosts {
                    for row in host.modules.list() {
                        table = table.row(describe(&node, &host, row));
                    }
                }
                Ok(table)
            }
        },
    )
    .arg(Arg::host("host", "only the modules of this host").optional())
    .allow(Role::HostAdmin, Scope::Host)
    .reads()
    .returns("host, module, state, restarts, uptime, options with their origin, registrations")
}

fn describe(node: &Node, host: &Host, row: gen_mod::ModuleRow) -> [Value; 7] {
    let declared = node
        .catalog
        .find(row.name)
        .map(|kind| (kind.options)())
        .unwrap_or_default();
    let options = effective(&row.section.for_host(&host.name), declared);
    let options = options
        .iter()
        .map(|o| format!("{}={} ({})", o.path, o.value, o.origin))
        .collect::<Vec<_>>();
    let restarts = row.process.as_ref().map_or(0, |process| {
        restarts(&node.system.observe().tree(), process.id())
    });
    let registrations = row
        .process
        .map(|p| node.router.registrations_of(p.id()))
        .unwrap_or_default();
    let state = match row.state {
        State::Running => "running".to_owned(),
        State::Failed(why) => format!("failed: {why}"),
    };
    let uptime = node.system.clock().now() - row.since;
    [
        (*host.name).into(),
        row.name.into(),
        state.into(),
        Value::Integer(restarts.into()),
        format!("{} s", uptime.as_secs()).into(),
        options.join(", ").into(),
        registrations.join(", ").into(),
    ]
}

fn restarts(tree: &[otp::TreeNode], process: otp::ProcessId) -> u32 {
    tree.iter()
        .find_map(|node| {
            if node.id == process {
                return Some(node.restarts);
            }
            Some(restarts(&node.children, process)).filter(|number| *number > 0)
        })
        .unwrap_or(0)
}

fn module_options(node: &Node) -> Command {
    let node = node.clone();
    Command::new(
        "module_options",
        "Describes the options of a module.",
        move |_, args| {
            let node = node.clone();
            async move {
                let kind = kind(&node, args.text("module"))?;
                let empty = Value::table(["option", "type", "range", "default", "what it is"]);
                Ok((kind.options)().iter().fold(empty, |table, option| {
                    table.row([
                        option.key.into(),
                        option.type_name.clone().into(),
                        option.range.clone().unwrap_or_default().into(),
                        option.default.clone().unwrap_or_default().into(),
                        option.doc.into(),
                    ])
                }))
            }
        },
    )
    .arg(MODULE)
    .allow(Role::HostAdmin, Scope::Anywhere)
    .reads()
    .returns("option, type, range, default, what it is")
}
