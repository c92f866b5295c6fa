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

    /// Gives every command that is offered on `host`, in the order of names.
    pub fn list_on(&self, host: &str) -> Vec<Arc<Command>> {
        let table = self.0.table.read();
        let on_host = |offer: &&Offer| offer.command.on_host.as_deref().is_none_or(|on| on == host);
        let offered = |offers: &Vec<Offer>| Some(offers.iter().find(on_host)?.command.clone());
        table.values().filter_map(offered).collect()
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

    /// Says whether the caller may give this command with these arguments; nothing is carried out.
    ///
    /// # Errors
    ///
    /// Those of [`Commands::execute`] that come before the command itself.
    pub fn may(&self, caller: &Caller, name: &str, given: &Given) -> Result<(), CommandError> {
        self.admit(caller, name, given, &mut String::new())
            .map(|_| ())
    }

    /// Everything that comes before a command is carried out.
    fn admit(
        &self,
        caller: &Caller,
        name: &str,
        given: &Given,
        logged: &mut String,
    ) -> Result<(Arc<Command>, Args), CommandError> {
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
        Ok((self.offer_for(&declared, &args)?, args))
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
        let (command, args) = self.admit(caller, name, given, logged)?;
        let exposed = args.exposed();
        // Inside the fence: the function may panic before it gives a future.
        let work =
            AssertUnwindSafe(async { (command.run)(caller.clone(), args).await }).catch_unwind();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Arg;
    use crate::role::{Door, Role};
    use config::Secret;
    use std::io::Write;
    use std::sync::Mutex;

    fn commands() -> Commands {
        Commands::new(Clock::manual().0)
    }

    fn admin() -> Caller {
        Caller::admin("root", Door::Ctl)
    }

    fn say(name: &'static str, what: &'static str) -> Command {
        Command::new(name, "Says it.", move |_, _| async move { Ok(what.into()) })
    }

    async fn told(commands: &Commands, caller: &Caller, name: &str, words: &[&str]) -> String {
        match commands
            .execute(caller, name, &Given::words(words.iter().copied()))
            .await
        {
            Ok(Value::Text(text)) => text,
            Ok(value) => panic!("{value:?}"),
            Err(error) => format!("{}: {error}", error.kind()),
        }
    }

    #[tokio::test]
    async fn commands_come_and_go_with_their_owner() {
        let commands = commands();
        commands
            .register(say("status", "up"), "node")
            .expect("free");
        commands.register(say("stop", "bye"), "node").expect("free");
        let taken = commands
            .register(say("status", "mine"), "mod_x")
            .expect_err("taken");
        assert_eq!(
            taken.to_string(),
            "the command `status` is offered by node already"
        );
        let taken = commands
            .register(say("help", "mine"), "mod_x")
            .expect_err("taken");
        assert_eq!(
            taken.to_string(),
            "the command `help` is offered by the node already"
        );

        assert_eq!(told(&commands, &admin(), "status", &[]).await, "up");
        assert!(!commands.remove("status", "mod_x"), "another's");
        assert!(commands.remove("status", "node"));
        assert_eq!(
            told(&commands, &admin(), "status", &[]).await,
            "unknown: unknown command `status`"
        );
        assert_eq!(commands.remove_all("node"), 1);
        assert!(commands.list().is_empty());
        assert_eq!(
            told(&commands, &admin(), "hepl", &[]).await,
            "unknown: unknown command `hepl` (did you mean `help`?)"
        );
    }

    #[tokio::test]
    async fn hosts_offer_commands_of_the_same_name() {
        let commands = commands();
        let on = |host: &'static str| {
            say("ban", host)
                .arg(Arg::host("host", "Where."))
                .on_host(host)
        };
        commands.register(on("a"), "mod_ban@a").expect("free");
        commands
            .register(on("b"), "mod_ban@b")
            .expect("another host");
        assert!(commands.register(on("a"), "mod_other@a").is_err());
        assert_eq!(commands.list().len(), 1);
        assert_eq!(told(&commands, &admin(), "ban", &["b"]).await, "b");
        assert_eq!(
            told(&commands, &admin(), "ban", &["c"]).await,
            "failed: nothing on host c offers `ban`"
        );
        assert_eq!(commands.remove_all("mod_ban@a"), 1);
        assert_eq!(
            told(&commands, &admin(), "ban", &["a"]).await,
            "failed: nothing on host a offers `ban`"
        );
        assert_eq!(told(&commands, &admin(), "ban", &["b"]).await, "b");
    }

    #[tokio::test]
    async fn roles_and_hosts_are_asked() {
        let commands = commands();
        let host = Arg::host("host", "Where.").optional();
        let kick = say("kick", "done")
            .arg(host)
            .allow(Role::HostAdmin, Scope::Host);
        commands.register(kick, "node").expect("free");
        commands
            .register(
                say("stop", "bye").allow(Role::HostAdmin, Scope::Node),
                "node",
            )
            .expect("free");
        commands
            .register(say("me", "you").allow(Role::User, Scope::Anywhere), "node")
            .expect("free");
        commands
            .register(say("backup", "done"), "node")
            .expect("free");
        let user = Caller::on_host("u@a", Role::User, "a", Door::AdHoc);
        let host_admin = Caller::on_host("h@a", Role::HostAdmin, "a", Door::AdHoc);
        let expected: [(&Caller, &str, &[&str], &str); 8] = [
            (&user, "me", &[], "you"),
            (
                &user,
                "kick",
                &["a"],
                "denied: not allowed: `kick` is for role host admin",
            ),
            (&host_admin, "kick", &["A"], "done"),
            (
                &host_admin,
                "kick",
                &["b"],
                "denied: not allowed: host b is not yours",
            ),
            (
                &host_admin,
                "kick",
                &[],
                "denied: not allowed: `kick` without a host concerns every host",
            ),
            (
                &host_admin,
                "stop",
                &[],
                "denied: not allowed: `stop` concerns the whole node",
            ),
            (
                &host_admin,
                "backup",
                &[],
                "denied: not allowed: `backup` is for role admin",
            ),
            (&admin(), "kick", &[], "done"),
        ];
        for (caller, name, words, text) in expected {
            assert_eq!(told(&commands, caller, name, words).await, text);
        }
        let seen = commands
            .execute(&user, HELP, &Given::nothing())
            .await
            .expect("help");
        assert_eq!(
            crate::render(&seen),
            "command         what it does\nhelp [COMMAND]  Lists the commands, or describes one of them.\nme              Says it.\n"
        );
    }

    #[tokio::test]
    async fn a_panic_is_fenced_and_silence_has_a_deadline() {
        let (clock, hand) = Clock::manual();
        let commands = Commands::new(clock.clone());
        let broken = |_, _| async { panic!("no such luck") };
        commands
            .register(Command::new("broken", "Panics.", broken), "node")
            .expect("free");
        let early = |_, _| -> std::future::Ready<Result<Value, CommandError>> { panic!("at once") };
        commands
            .register(Command::new("early", "Panics.", early), "node")
            .expect("free");
        let silent = |_, _| std::future::pending();
        commands
            .register(Command::new("silent", "Waits.", silent), "node")
            .expect("free");
        assert_eq!(
            told(&commands, &admin(), "broken", &[]).await,
            "crashed: the command crashed: no such luck"
        );
        assert_eq!(
            told(&commands, &admin(), "early", &[]).await,
            "crashed: the command crashed: at once"
        );
        let caller = admin();
        let waiting = told(&commands, &caller, "silent", &[]);
        let (text, ()) = futures_util::join!(waiting, hand.advance(Duration::from_secs(30)));
        assert_eq!(text, "timeout: no answer within 30 s");
    }

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0
                .lock()
                .expect("no panic while logging")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_execution_is_logged_once_and_without_secrets() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        tracing::subscriber::with_default(subscriber, || {
            runtime.block_on(async {
                let commands = commands();
                let register = say("register", "ok")
                    .arg(Arg::text("user", "Who."))
                    .arg(Arg::secret("password", "With what."))
                    .arg(Arg::pairs("more", "More."));
                commands.register(register, "node").expect("free");
                told(
                    &commands,
                    &admin(),
                    "register",
                    &["u", "hunter2", "pin=hunter2"],
                )
                .await;
                let beside = Given::words(["u"]).secret(Secret::new("hunter2"));
                commands
                    .execute(&admin(), "register", &beside)
                    .await
                    .expect("done");
                told(
                    &commands,
                    &admin(),
                    "register",
                    &["u", "hunter2", "hunter2"],
                )
                .await;
                told(&commands, &admin(), "nothing", &["hunter2"]).await;
            });
        });
        let text =
            String::from_utf8(log.0.lock().expect("no panic while logging").clone()).expect("text");
        assert!(!text.contains("hunter2"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines.iter().all(|line| line.contains("natter::admin")),
            "{text}"
        );
        assert!(lines[0].contains(r#"args="\"u\" *** pin=***""#), "{text}");
        assert!(
            lines[2].contains("not done") && lines[3].contains("unknown command"),
            "{text}"
        );
    }
}
