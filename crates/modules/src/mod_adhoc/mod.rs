//! `mod_adhoc`: what can this host be told to do, step by step?
//!
//! Source: XEP-0050 v1.3. Every command of the node is one, for whoever may give it. Hooks: runs `adhoc_local_items`
//! and `adhoc_local_commands`; hears `disco_items` and `disco_node`. Stores: accounts (roles). State: the executions
//! under way; its process runs the work, so that a command may last longer than the answer to its request.

mod commands;
mod desk;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gen_mod::prelude::*;
use tokio::sync::watch;
use xmpp::payload::{DiscoInfoResult, Identity, Item};
use xmpp::{Fragment, escape_text, push_attr};

use crate::adhoc::{Filled, NoteKind, Step, caller};
use crate::hooks::{AdhocCommands, AdhocStep, DiscoItems, DiscoNode};
use admin::Caller;
use desk::{Action, Desk, Request, Sitting};

/// How long an answer waits for the work; what lasts longer is asked for again.
const PATIENCE: Duration = Duration::from_secs(3);

options! {
    /// How executions are kept.
    pub struct AdhocOpts {
        /// How long an execution waits for its next step.
        pub session_timeout: Duration = Duration::from_secs(600),
        /// Most executions that one session has under way.
        pub max_per_user: usize [1..] = 20,
    }
}

/// Ad-Hoc Commands. Its process runs what is executed.
pub struct ModAdhoc;

/// Work for the process.
struct Work(BoxFuture<'static, ()>);

/// What came of a step, once something did.
type Outcome = Option<Result<Step, StanzaError>>;

impl Module for ModAdhoc {
    const NAME: &'static str = "mod_adhoc";
    const SOURCES: &'static [Source] = &[xep(50, "1.3.0", Complete)];
    type Opts = AdhocOpts;

    async fn start(ctx: &ModuleCtx, opts: AdhocOpts) -> Result<(Self, Registrations), StartError> {
        let desk = Arc::new(Desk::new(opts));
        let tell = ctx.teller();
        let begin: Begin = Arc::new(move |work| tell(Box::new(Work(work))));
        let registrations = Registrations::new()
            .feature(ns::COMMANDS)
            .iq_set(To::Host, ns::COMMANDS, move |host, iq| {
                execute(host, iq, Arc::clone(&desk), Arc::clone(&begin))
            })
            .hook_wait::<DiscoItems, _, _>(Priority::NORMAL, list)
            .hook_wait::<DiscoNode, _, _>(Priority::NORMAL, describe);
        Ok((ModAdhoc, registrations))
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

/// Has the process run something; false when it has ended.
type Begin = Arc<dyn Fn(BoxFuture<'static, ()>) -> bool + Send + Sync>;

// What there is (§2.2).

/// The commands that a caller may use on this host, by node.
fn commands(host: &Host, caller: &Caller) -> Vec<(String, String)> {
    let fold = AdhocCommands {
        host: Arc::clone(&host.name),
        caller: caller.clone(),
        commands: Vec::new(),
    };
    let of_modules = host.router.fold(fold).value();
    let mut all = of_modules.map(|fold| fold.commands).unwrap_or_default();
    all.extend(commands::offered(host, caller));
    all
}

async fn list(host: Host, mut asked: DiscoItems) -> Flow<DiscoItems> {
    if asked.to.node().is_some() || asked.node.as_deref() != Some(ns::COMMANDS) {
        return Flow::Next(asked);
    }
    let Ok(caller) = caller(&host, &asked.from).await else {
        return Flow::Drop;
    };
    let item = |(node, name)| Item {
        jid: asked.to.clone(),
        node: Some(node),
        name: Some(name),
    };
    asked.items = Some(commands(&host, &caller).into_iter().map(item).collect());
    Flow::Next(asked)
}

async fn describe(host: Host, mut asked: DiscoNode) -> Flow<DiscoNode> {
    if asked.to.node().is_some() {
        return Flow::Next(asked);
    }
    let info = |type_: &str, name: &str, features: &[&str]| DiscoInfoResult {
        node: None,
        identities: vec![Identity {
            category: "automation".to_owned(),
            type_: type_.to_owned(),
            lang: None,
            name: Some(name.to_owned()),
        }],
        features: features.iter().map(|name| (*name).to_owned()).collect(),
        extensions: Vec::new(),
    };
    if asked.node == ns::COMMANDS {
        asked.info = Some(info("command-list", "Commands", &[ns::COMMANDS]));
        return Flow::Next(asked);
    }
    let Ok(caller) = caller(&host, &asked.from).await else {
        return Flow::Drop;
    };
    let named = commands(&host, &caller).into_iter();
    if let Some((_, name)) = named.into_iter().find(|(node, _)| *node == asked.node) {
        let features = [ns::COMMANDS, ns::DATA_FORMS];
        asked.info = Some(info("command-node", &name, &features));
    }
    Flow::Next(asked)
}

// Execution (§2.4).

/// Takes one step of a command.
///
/// # Errors
///
/// - `bad-request`: no node; an action that is none (`malformed-action`), that this step does not offer
///   (`bad-action`), or an execution that is not the asker's (`bad-sessionid`).
/// - `not-allowed`: the execution waited too long (`session-expired`).
/// - `item-not-found`: there is no such command; `forbidden`: the asker may not give it.
/// - `resource-constraint`: too many executions are under way.
/// - whatever the command itself answers; the execution then stays where it was.
async fn execute(
    host: Host,
    iq: Iq,
    desk: Arc<Desk>,
    begin: Begin,
) -> Result<Fragment, StanzaError> {
    let request = Request::read(&iq)?;
    let caller = caller(&host, &iq.from).await?;
    let now = host.clock.now();
    let mut sitting = match &request.session {
        Some(id) => desk.take(id, &iq.from, &request.node, now)?,
        None if request.action != Action::Execute => return Err(desk::bad("bad-sessionid")),
        None => Sitting::new(&iq.from, &request.node),
    };
    if request.action == Action::Cancel {
        return Ok(answer(&request.node, &sitting.id, "canceled", None));
    }
    let before = sitting.clone();
    let mut outcome = match sitting.running.take() {
        Some(running) => running,
        None => {
            if let Err(error) = sitting.turn(&request) {
                desk.keep(before, now)?;
                return Err(error);
            }
            let (told, outcome) = watch::channel(None);
            let (host, caller, from) = (host.clone(), caller.clone(), iq.from.clone());
            let (node, filled) = (request.node.clone(), sitting.filled.clone());
            let work = async move {
                let step = step(&host, &caller, from, node, filled).await;
                told.send_replace(Some(step));
            };
            if !begin(Box::pin(work)) {
                return Err(Condition::InternalServerError.into());
            }
            outcome
        }
    };
    let known = {
        let wait = outcome.wait_for(Option::is_some);
        match host.clock.timeout(PATIENCE, wait).await {
            Ok(Ok(step)) => step.clone(),
            // The task fell with its panic: logged where it fell.
            Ok(Err(_)) => Some(Err(Condition::InternalServerError.into())),
            Err(_) => None,
        }
    };
    let id = sitting.id.clone();
    match known {
        None => {
            sitting.running = Some(outcome);
            let waiting = running(&request.node, &id);
            desk.keep(sitting, now)?;
            Ok(waiting)
        }
        Some(Ok(step)) => {
            if let Step::Ask { last, .. } = &step {
                sitting.last = *last;
                let goes_back = !sitting.filled.is_empty();
                let asked = answer(&request.node, &id, "executing", Some((&step, goes_back)));
                desk.keep(sitting, now)?;
                return Ok(asked);
            }
            Ok(answer(
                &request.node,
                &id,
                "completed",
                Some((&step, false)),
            ))
        }
        Some(Err(error)) => {
            // A form that was filled in wrongly may be filled in anew.
            if before.is_asked {
                desk.keep(before, now)?;
            }
            Err(error)
        }
    }
}

async fn step(
    host: &Host,
    caller: &Caller,
    from: Jid,
    node: String,
    filled: Vec<Filled>,
) -> Result<Step, StanzaError> {
    if let Some(name) = commands::name_of(&node) {
        return commands::step(host, caller, name, &filled).await;
    }
    let fold = AdhocStep {
        host: Arc::clone(&host.name),
        caller: caller.clone(),
        from,
        node,
        filled,
        step: None,
    };
    match host.router.fold_wait(fold).await {
        router::Folded::Done(fold) | router::Folded::Stopped(fold) => fold
            .step
            .unwrap_or_else(|| Err(Condition::ItemNotFound.text("there is no such command"))),
        router::Folded::Dropped => Err(Condition::ItemNotFound.into()),
        router::Folded::Denied => Err(Condition::InternalServerError.into()),
    }
}

// The answer.

fn begin_command(node: &str, id: &str, status: &str) -> String {
    let mut out = format!("<command xmlns='{}'", ns::COMMANDS);
    push_attr("node", node, &mut out);
    push_attr("sessionid", id, &mut out);
    push_attr("status", status, &mut out);
    out.push('>');
    out
}

fn answer(node: &str, id: &str, status: &str, step: Option<(&Step, bool)>) -> Fragment {
    let mut out = begin_command(node, id, status);
    match step {
        Some((Step::Ask { form, last }, goes_back)) => {
            let forward = if *last { "complete" } else { "next" };
            let back = if goes_back { "<prev/>" } else { "" };
            out.push_str(&format!(
                "<actions execute='{forward}'>{back}<{forward}/></actions>"
            ));
            form.write("form", &mut out);
        }
        Some((Step::Done { result, note }, _)) => {
            if let Some(result) = result {
                result.write("result", &mut out);
            }
            if let Some((kind, text)) = note {
                write_note(*kind, text, &mut out);
            }
        }
        None => {}
    }
    out.push_str("</command>");
    Fragment::from(out)
}

/// The work is not done yet: whoever asks for the next step waits for it.
fn running(node: &str, id: &str) -> Fragment {
    let mut out = begin_command(node, id, "executing");
    out.push_str("<actions execute='next'><next/></actions>");
    write_note(NoteKind::Info, "This takes a while; ask again.", &mut out);
    out.push_str("</command>");
    Fragment::from(out)
}

fn write_note(kind: NoteKind, text: &str, out: &mut String) {
    let kind = match kind {
        NoteKind::Info => "info",
        NoteKind::Error => "error",
    };
    out.push_str(&format!("<note type='{kind}'>"));
    escape_text(text, out);
    out.push_str("</note>");
}
