//! The commands of one node: who offers which, and how one is carried out.

use crate::command::{ArgType, Command, Scope};
use crate::doc;
use crate::error::CommandError;
use crate::parse::{Args, Given, parse};
use crate::role::{Caller, Hosts};
use crate::value::Value;
use config::nearest;
use futures_util::FutureExt;
use otp::Clock;
use parking_lot::RwLock;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// The name of the one command that is always there.
pub const HELP: &str = "help";

/// Another owner offers a command of this name already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the command `{name}` is offered by {owner} already")]
pub struct Taken {
    /// The name.
    pub name: String,
    /// Who offers it.
    pub owner: String,
}

/// The commands of one node; cheap to clone. Reading takes a lock for as long as it takes to clone an `Arc`.
#[derive(Clone)]
pub struct Commands(Arc<Inner>);

struct Inner {
    clock: Clock,
    table: RwLock<BTreeMap<&'static str, Vec<Offer>>>,
}

/// Invariant: of several offers of one name each is for another host.
#[derive(Clone)]
struct Offer {
    owner: Arc<str>,
    command: Arc<Command>,
}

impl Commands {
    /// Gives a registry with no command but `help`. Deadlines are counted by `clock`.
    pub fn new(clock: Clock) -> Commands {
        let table = RwLock::new(BTreeMap::new());
        Commands(Arc::new(Inner { clock, table }))
    }

    /// The clock by which deadlines are counted.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Offers a command until its owner takes it back.
    ///
    /// # Errors
    ///
    /// The name is taken: by a command for every host, by one for the same host, or it is `help`.
    pub fn register(&self, command: Command, owner: impl Display) -> Result<(), Taken> {
        let taken = |owner: &str| Taken {
            name: command.name.to_owned(),
            owner: owner.to_owned(),
        };
        if command.name == HELP {
            return Err(taken("the node"));
        }
        let mut table = self.0.table.write();
        let offers = table.entry(command.name).or_default();
        let same_place = |offer: &&Offer| match (&offer.command.on_host, &command.on_host) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        if let Some(offer) = offers.iter().find(same_place) {
            return Err(taken(&offer.owner));
        }
        offers.push(Offer {
            owner: Arc::from(owner.to_string()),
            command: Arc::new(command),
        });
        Ok(())
    }

    /// Takes one command of `owner` back. Says whether it was there.
    pub fn remove(&self, name: &str, owner: impl Display) -> bool {
        let owner = owner.to_string();
        self.retain(|offer| offer.command.name != name || *offer.owner != *owner) > 0
    }

    /// Takes every command of `owner` back and says how many there were. Executions under way go on.
    pub fn remove_all(&self, owner: impl Display) -> usize {
        let owner = owner.to_string();
        self.retain(|offer| *offer.owner != *owner)
    }

    fn retain(&self, keep: impl Fn(&Offer) -> bool) -> usize {
        let mut table = self.0.table.write();
        let mut removed = 0;
        table.retain(|_, offers| {
            let before = offers.len();
            offers.retain(&keep);
            removed += before - offers.len();
            !offers.is_empty()
        });
        removed
    }

    /// Gives the command of this name; of several hosts' the one offered first.
    pub fn get(&self, name: &str) -> Option<Arc<Command>> {
        let table = self.0.table.read();
        Some(table.get(name)?.first()?.command.clone())
    }

    /// Gives every command in the order of names, each once however many hosts offer it.
    pub fn list(&self) -> Vec<Arc<Command>> {
        let table = self.0.table.read();
        table
            .values()
            .filter_map(|offers| Some(offers.first()?.command.clone()))
            .collect()
    }

    /// Says how long the command may take; `None` if there is none of this name.
    pub fn deadline(&self, name: &str) -> Option<Duration> {
        match name {
            HELP => Some(crate::command::DEADLINE),
            _ => self.get(name).map(|command| command.deadline),
        }
    }

    /// Carries out a command: finds it, reads its arguments, asks whether the caller may, runs it within its deadline
    /// behind a fence for panics, and logs the execution once, without secrets (target `natter::admin`).
    ///
    /// # Errors
    ///
    /// Each step's, in this order: [`CommandError::Unknown`], `Denied` for the role, `Usage` or `MissingSecret`,
    /// `Denied` for the host, `TimedOut`, `Panicked`, and what the command itself says.
    pub async fn execute(
        &self,
        caller: &Caller,
        name: &str,
        given: &Given,
    ) -> Result<Value, CommandError> {
        Ok(self.execute_told(caller, name, given).await?.0)
    }

    /// As [`Commands::execute`]; also says whether a secret stood among the words.
    ///
    /// # Errors
    ///
    /// As [`Commands::execute`].
    pub async fn execute_told(
        &self,
        caller: &Caller,
        name: &str,
        given: &Given,
    ) -> Result<(Value, bool), CommandError> {
        let began = self.0.clock.now();
        let mut logged = String::new();
        let outcome = self.run(caller, name, given, &mut logged).await;
        let took = self.0.clock.now().since(began);
        let (door, role) = (caller.door.name(), caller.role.name());
        let caller = caller.name.as_str();
        match &outcome {
            Ok(_) => {
                tracing::info!(target: "natter::admin", command = name, args = logged, caller, role, door, ?took, "done")
            }
            Err(error @ CommandError::Panicked(_)) => {
                tracing::error!(target: "natter::admin", command = name, args = logged, caller, role, door, ?took, %error, "crashed");
            }
            Err(CommandError::Unknown { .. }) => {
                tracing::info!(target: "natter::admin", command = name, caller, role, door, "unknown command");
            }
            // The text of a usage error repeats what was typed, which may have been a secret in a wrong place.
            Err(error @ (CommandError::Usage(_) | CommandError::MissingSecret(_))) => {
                tracing::info!(target: "natter::admin", command = name, caller, role, door, error = error.kind(), "not done");
            }
            Err(error) => {
                tracing::info!(target: "natter::admin", command = name, args = logged, caller, role, door, ?took, %error, "not done");
            }
        }
        outcome
    }

    async fn run(
        &self,
        caller: &Caller,
        name: &str,
        given: &Given,
        logged: &mut String,
    ) -> Result<(Value, bool), CommandError> {
        if name == HELP {
            return self.help(caller, given).map(|text| (text, false));
        }
        let Some(declared) = self.get(name) else {
            return Err(self.unknown(name));
        };
        if caller.role < declared.role {
            return Err(CommandError::Denied(format!(
                "`{name}` is for role {}",
                declared.role
            )));
        }
        let args = parse(&declared, given)?;
        *logged = args.for_log(&declared);
        allowed_on_hosts(&declared, caller, &args)?;
        let command = self.offer_for(&declared, &args)?;
        let exposed = args.exposed();
        let work = AssertUnwindSafe((command.run)(caller.clone(), args)).catch_unwind();
        match self.0.clock.timeout(command.deadline, work).await {
            Ok(Ok(outcome)) => outcome.map(|value| (value, exposed)),
            Ok(Err(panic)) => Err(CommandError::Panicked(panic_text(&*panic))),
            Err(_) => Err(CommandError::TimedOut(command.deadline)),
        }
    }

    fn unknown(&self, name: &str) -> CommandError {
        let known: Vec<&str> = self.0.table.read().keys().copied().chain([HELP]).collect();
        CommandError::Unknown {
            name: name.to_owned(),
            suggestion: nearest(name, known.into_iter()).map(str::to_owned),
        }
    }

    /// Of a command that several hosts offer, the one of the host that was named.
    fn offer_for(
        &self,
        declared: &Arc<Command>,
        args: &Args,
    ) -> Result<Arc<Command>, CommandError> {
        if declared.on_host.is_none() {
            return Ok(declared.clone());
        }
        let Some(host) = named_hosts(declared, args).into_iter().next() else {
            return Ok(declared.clone());
        };
        let table = self.0.table.read();
        let offers = table
            .get(declared.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let theirs = offers
            .iter()
            .find(|offer| offer.command.on_host.as_deref() == Some(host));
        theirs.map(|offer| offer.command.clone()).ok_or_else(|| {
            CommandError::Failed(format!("nothing on host {host} offers `{}`", declared.name))
        })
    }

    fn help(&self, caller: &Caller, given: &Given) -> Result<Value, CommandError> {
        match given.words.as_slice() {
            [] => Ok(doc::overview(&self.list(), caller)),
            [name] if name == HELP => Ok(Value::Text(doc::HELP_PAGE.to_owned())),
            [name] => match self.get(name) {
                Some(command) => Ok(Value::Text(doc::page(&command))),
                None => Err(self.unknown(name)),
            },
            _ => Err(CommandError::Usage(
                "help: one command at a time\nusage: help [COMMAND]".to_owned(),
            )),
        }
    }
}

fn named_hosts<'a>(command: &Command, args: &'a Args) -> Vec<&'a str> {
    let hosts = command.args.iter().filter(|arg| arg.kind == ArgType::Host);
    hosts.flat_map(|arg| args.texts(arg.name)).collect()
}

fn allowed_on_hosts(command: &Command, caller: &Caller, args: &Args) -> Result<(), CommandError> {
    let everywhere = caller.hosts == Hosts::All;
    match command.scope {
        _ if everywhere => Ok(()),
        Scope::Anywhere => Ok(()),
        Scope::Node => Err(CommandError::Denied(format!(
            "`{}` concerns the whole node",
            command.name
        ))),
        Scope::Host => {
            let named = named_hosts(command, args);
            if named.is_empty() {
                let text = format!("`{}` without a host concerns every host", command.name);
                return Err(CommandError::Denied(text));
            }
            match named.into_iter().find(|host| !caller.hosts.contain(host)) {
                Some(host) => Err(CommandError::Denied(format!("host {host} is not yours"))),
                None => Ok(()),
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".to_owned())
}
