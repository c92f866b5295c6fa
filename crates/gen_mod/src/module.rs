//! What a module is: a process on a host, whose registrations live exactly as long as it does.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use config::Options;
use futures_util::future::BoxFuture;
use otp::{AnyPid, ChildSpec, Down, ExitReason};
use parking_lot::Mutex;
use router::{InstallError, Parcel, Post};

use crate::{Host, Registrations, Source};

/// A message between processes whose types do not know one another.
pub type Message = Box<dyn Any + Send>;

/// A service of a host. Joins gen_mod and gen_server: the implementing type is the process's state.
///
/// Only [`Module::start`] is required.
pub trait Module: Sized + Send + 'static {
    /// Its name, as in configuration and commands: `mod_x`.
    const NAME: &'static str;
    /// What it implements.
    const SOURCES: &'static [Source];
    /// Modules that it needs, or works better with.
    const DEPENDS: &'static [Depends] = &[];
    /// Its options, declared as data.
    type Opts: Options;

    /// How many processes serve, each a state of its own. The first registers all that `start` returns, the
    /// others only what [`Registrations::route_balanced`] shares.
    fn instances(_opts: &Self::Opts) -> usize {
        1
    }

    /// What stands beside its processes, under the same supervisor, and starts before them: asked once when the
    /// module is loaded, so that what these children share outlives a fall of the module's own process.
    fn beside(_host: &Host) -> Vec<ChildSpec> {
        Vec::new()
    }

    /// Begins: runs as the process's `init` and says what to register.
    ///
    /// # Errors
    ///
    /// Why it cannot serve; nothing is registered then.
    fn start(
        ctx: &ModuleCtx,
        opts: Self::Opts,
    ) -> impl Future<Output = Result<(Self, Registrations), StartError>> + Send;

    /// Hears a packet for one of its routes, the end of a process it monitors, or a message.
    fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) -> impl Future<Output = ()> + Send {
        async move {
            match info {
                Info::Route(parcel) => {
                    let refused = xmpp::Condition::ServiceUnavailable.into();
                    ctx.host.router.bounce(parcel.take(), refused).await;
                }
                Info::Down(_) | Info::Message(_) => {
                    tracing::debug!(target: "natter::module", module = Self::NAME, "a message nobody reads");
                }
            }
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    ///
    /// The request, when the module does not know it.
    fn handle_call(
        &mut self,
        request: Message,
        _ctx: &ModuleCtx,
    ) -> impl Future<Output = Result<Message, Message>> + Send {
        async move { Err(request) }
    }

    /// Takes new options without a restart, when it can.
    fn reload(
        &mut self,
        _new: &Self::Opts,
        _old: &Self::Opts,
        _ctx: &ModuleCtx,
    ) -> impl Future<Output = Reload> + Send {
        async move { Reload::Restart }
    }

    /// Ends in order. Nobody is sent here any more: routes, hooks and IQ handlers were taken back
    /// before it. Not called after a crash.
    fn stop(self, _reason: &ExitReason, _ctx: &ModuleCtx) -> impl Future<Output = ()> + Send {
        async move {}
    }
}

/// What a module's process hears.
#[derive(Debug)]
pub enum Info {
    /// A packet for one of its routes. Dropped untaken it is routed again, so take it when you answer.
    Route(Parcel),
    /// A process that it monitors ended.
    Down(Down),
    /// What another process or a timer of its own says.
    Message(Message),
}

/// Whether new options were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// They hold now.
    Done,
    /// Only a restart brings them in.
    Restart,
}

/// A module that another one needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depends {
    /// The module's name.
    pub module: &'static str,
    /// Whether it must run (`true`), or only starts earlier when it is configured.
    pub hard: bool,
}

/// A module cannot do without `module`.
#[must_use]
pub const fn needs(module: &'static str) -> Depends {
    Depends { module, hard: true }
}

/// A module starts after `module` where both are configured.
#[must_use]
pub const fn after(module: &'static str) -> Depends {
    Depends {
        module,
        hard: false,
    }
}

/// Why a module does not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// Something it registers belongs to another already.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// An option's value cannot be used on this host.
    #[error("option `{key}`: {why}")]
    Option {
        /// The option.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A resource that it needs is not there.
    #[error("{0}")]
    Resource(String),
}

/// What a module's process is given: its host, and the means to talk to itself.
pub struct ModuleCtx {
    /// The host that it serves.
    pub host: Host,
    /// Its process.
    pub pid: AnyPid,
    /// Which of the module's processes this is: the first is 0.
    pub instance: usize,
    /// How many the module has.
    pub instances: usize,
    pub(crate) post: Post,
    pub(crate) tell: Arc<dyn Fn(Message) -> bool + Send + Sync>,
    pub(crate) effects: Mutex<Vec<Effect>>,
}

/// What a callback asked its process to do.
pub(crate) enum Effect {
    After(Duration, Message),
    Monitor(AnyPid),
    Spawn(BoxFuture<'static, ()>),
}

impl ModuleCtx {
    /// Sends this process a message after `delay` of the server's clock.
    pub fn send_after(&self, delay: Duration, message: impl Any + Send) {
        self.effects
            .lock()
            .push(Effect::After(delay, Box::new(message)));
    }

    /// Hears of the end of a process as [`Info::Down`].
    pub fn monitor(&self, pid: &AnyPid) {
        self.effects.lock().push(Effect::Monitor(pid.clone()));
    }

    /// Runs a task that ends with this process, however that ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.effects.lock().push(Effect::Spawn(Box::pin(task)));
    }

    /// A sender of messages to this process, for tasks and hook handlers. False when it has ended.
    #[must_use]
    pub fn teller(&self) -> Arc<dyn Fn(Message) -> bool + Send + Sync> {
        Arc::clone(&self.tell)
    }

    /// The domain that an option means on this host: `@HOST@` is its name.
    ///
    /// # Errors
    ///
    /// When the result is no domain.
    pub fn domain(&self, key: &'static str, template: &str) -> Result<String, StartError> {
        let domain = template.replace("@HOST@", &self.host.name);
        match xmpp::parse_jid(&domain) {
            Ok(jid) if jid.node().is_none() && jid.resource().is_none() => {
                Ok(jid.domain().as_str().to_owned())
            }
            _ => Err(StartError::Option {
                key,
                why: format!("`{domain}` is not a domain"),
            }),
        }
    }
}

impl fmt::Debug for ModuleCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleCtx({})", self.host.name)
    }
}
