//! A command, declared as data with the function that carries it out.

use crate::error::CommandError;
use crate::parse::Args;
use crate::role::{Caller, Role};
use crate::value::Value;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// How long a command may take unless it says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What an argument is, and so how its word is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgType {
    /// Any text.
    Text,
    /// A host of this node; a caller must be allowed to act on it. Kept in lower case.
    Host,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// A duration with its unit: `5 s`.
    Duration,
    /// A size with its unit: `256 KiB`.
    Bytes,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that is never logged and better not written on a command line.
    Secret,
    /// `key=value`; always the last, always repeated, never required.
    Pairs,
}

/// One argument, declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    /// Its name in lower case, by which the command asks for it.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgType,
    /// What it is for.
    pub doc: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it takes all words that remain; only of the last.
    pub repeated: bool,
}

impl Arg {
    /// Declares an argument that must be given once.
    pub const fn new(name: &'static str, kind: ArgType, doc: &'static str) -> Arg {
        Arg {
            name,
            kind,
            doc,
            optional: false,
            repeated: false,
        }
    }

    /// Declares a text.
    pub const fn text(name: &'static str, doc: &'static str) -> Arg {
        Arg::new(name, ArgType::Text, doc)
    }

    /// Declares a host.
    pub const fn host(name: &'static str, doc: &'static str) -> Arg {
        Arg::new(name, ArgType::Host, doc)
    }

    /// Declares a secret.
    pub const fn secret(name: &'static str, doc: &'static str) -> Arg {
        Arg::new(name, ArgType::Secret, doc)
    }

    /// Declares any number of `key=value`.
    pub const fn pairs(name: &'static str, doc: &'static str) -> Arg {
        Arg {
            optional: true,
            repeated: true,
            ..Arg::new(name, ArgType::Pairs, doc)
        }
    }

    /// The same argument, which may be left out.
    #[must_use]
    pub const fn optional(self) -> Arg {
        Arg {
            optional: true,
            ..self
        }
    }

    /// The same argument, which takes every word that remains, at least one unless it is optional.
    #[must_use]
    pub const fn repeated(self) -> Arg {
        Arg {
            repeated: true,
            ..self
        }
    }

    /// How the argument stands in a usage line: `HOST`, `[HOST]`, `USER…`, `[KEY=VALUE…]`.
    pub fn usage(&self) -> String {
        let mut text = match self.kind {
            ArgType::Pairs => "KEY=VALUE".to_owned(),
            _ => self.upper_name(),
        };
        if self.repeated {
            text.push('…');
        }
        if self.optional {
            format!("[{text}]")
        } else {
            text
        }
    }

    /// The name in capitals, as errors and usage lines have it.
    pub fn upper_name(&self) -> String {
        self.name.to_uppercase()
    }
}

/// A switch such as `--transient`, declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Its name without the dashes.
    pub name: &'static str,
    /// What it changes.
    pub doc: &'static str,
}

/// Where a command acts, and so which callers it can be allowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On the node: only callers with every host.
    Node,
    /// On the hosts named by its arguments: callers with those. Where the host is left out, callers with every host.
    Host,
    /// On nothing a host owns.
    Anywhere,
}

/// The function of a command.
pub type Run =
    Arc<dyn Fn(Caller, Args) -> BoxFuture<'static, Result<Value, CommandError>> + Send + Sync>;

/// One command: what it is called, what it takes and gives, who may, and the function.
#[derive(Clone)]
pub struct Command {
    /// Its name: lower case, words joined by `_`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// Its arguments in their order.
    pub args: Vec<Arg>,
    /// Its switches.
    pub flags: Vec<Flag>,
    /// What it gives, in a few words.
    pub result: &'static str,
    /// The least role that may.
    pub role: Role,
    /// Where it acts.
    pub scope: Scope,
    /// How long it may take.
    pub deadline: Duration,
    /// Whether it only tells, and changes nothing.
    pub reads: bool,
    /// The one host it is offered on; `None` for all. Several hosts may offer a command of the same name.
    pub on_host: Option<String>,
    /// The function.
    pub run: Run,
}

impl Command {
    /// Declares a command for admins, acting on the node, without arguments, that may take 30 s.
    pub fn new<F, R>(name: &'static str, doc: &'static str, run: F) -> Command
    where
        F: Fn(Caller, Args) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, CommandError>> + Send + 'static,
    {
        Command {
            name,
            doc,
            args: Vec::new(),
            flags: Vec::new(),
            result: "nothing",
            role: Role::Admin,
            scope: Scope::Node,
            deadline: DEADLINE,
            reads: false,
            on_host: None,
            run: Arc::new(move |caller, args| Box::pin(run(caller, args))),
        }
    }

    /// Adds an argument.
    ///
    /// # Panics
    ///
    /// The arguments could not be told apart: one follows a repeated one, or a required one an optional one.
    #[must_use]
    pub fn arg(mut self, arg: Arg) -> Command {
        if let Some(last) = self.args.last() {
            assert!(
                !last.repeated,
                "{}: nothing follows {}",
                self.name, last.name
            );
            assert!(
                !last.optional || arg.optional,
                "{}: {} follows an optional argument",
                self.name,
                arg.name
            );
        }
        self.args.push(arg);
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args(self, args: &[Arg]) -> Command {
        args.iter().fold(self, |command, arg| command.arg(*arg))
    }

    /// Adds a switch.
    #[must_use]
    pub fn flag(mut self, name: &'static str, doc: &'static str) -> Command {
        self.flags.push(Flag { name, doc });
        self
    }

    /// Says what the command gives.
    #[must_use]
    pub fn returns(self, result: &'static str) -> Command {
        Command { result, ..self }
    }

    /// Says the least role that may, and where the command acts.
    #[must_use]
    pub fn allow(self, role: Role, scope: Scope) -> Command {
        Command {
            role,
            scope,
            ..self
        }
    }

    /// Says how long the command may take.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Command {
        Command { deadline, ..self }
    }

    /// Says that the command only tells, and changes nothing: doors that keep the two apart let it pass more easily.
    #[must_use]
    pub fn reads(self) -> Command {
        Command {
            reads: true,
            ..self
        }
    }

    /// Offers the command on one host alone: it is chosen by its first argument of type host.
    #[must_use]
    pub fn on_host(self, host: impl Into<String>) -> Command {
        Command {
            on_host: Some(host.into()),
            ..self
        }
    }

    /// The usage line: `module_start HOST MODULE [KEY=VALUE…] [--transient]`.
    pub fn usage(&self) -> String {
        let args = self.args.iter().map(Arg::usage);
        let flags = self.flags.iter().map(|flag| format!("[--{}]", flag.name));
        let words: Vec<String> = std::iter::once(self.name.to_owned())
            .chain(args)
            .chain(flags)
            .collect();
        words.join(" ")
    }
}
