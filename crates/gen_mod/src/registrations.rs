//! What a module registers, returned by `start` as data: routes, hooks, IQ handlers, features,
//! commands, and what higher crates add through [`Registration`].

use std::future::Future;
use std::sync::Arc;

use admin::Command;
use futures_util::FutureExt;
use router::{
    BalanceBy, Change, Flow, Hook, HookSpec, Iq, IqHandler, IqKind, IqSpec, Mode, Packet, Priority,
    RouteSpec, Routing, To,
};
use xmpp::{Payload, StanzaError};

use crate::{Host, ModuleCtx, StartError};

/// Something that a module registers and that a higher crate knows how to install.
pub trait Registration: Send + 'static {
    /// Puts it in place. Dropping the answer takes it back.
    ///
    /// # Errors
    ///
    /// What was in the way.
    fn install(self: Box<Self>, host: &Host) -> Result<Installed, StartError>;
}

/// Takes something back when it is dropped: on stop and on crash alike.
pub struct Installed(Option<Box<dyn FnOnce() + Send>>);

impl Installed {
    /// `remove` runs once, when this is dropped.
    pub fn new(remove: impl FnOnce() + Send + 'static) -> Installed {
        Installed(Some(Box::new(remove)))
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(remove) = self.0.take() {
            remove();
        }
    }
}

type Later<T> = Box<dyn FnOnce(&ModuleCtx) -> T + Send>;

/// What a module registers.
#[derive(Default)]
pub struct Registrations {
    pub(crate) domains: Vec<String>,
    parts: Vec<Later<Part>>,
    pub(crate) others: Vec<Box<dyn Registration>>,
}

enum Part {
    Route(RouteSpec),
    Hook(HookSpec),
    Iq(IqSpec),
    Feature(To, &'static str),
}

impl Registrations {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Registrations {
        Registrations::default()
    }

    /// Packets to `domain` come to the module's process as [`crate::Info::Route`].
    #[must_use]
    pub fn route(mut self, domain: impl Into<String>) -> Self {
        let domain = domain.into();
        self.domains.push(domain.clone());
        self.part(move |ctx| {
            Part::Route(RouteSpec::new(
                &domain,
                Some(&ctx.host.name),
                Mode::Actor(Arc::clone(&ctx.post)),
            ))
        })
    }

    /// Packets to `domain` come to one of the module's processes as [`crate::Info::Route`], chosen as `by` says.
    #[must_use]
    pub fn route_balanced(mut self, domain: impl Into<String>, by: BalanceBy) -> Self {
        let domain = domain.into();
        self.domains.push(domain.clone());
        self.part(move |ctx| {
            Part::Route(RouteSpec::slot(
                &domain,
                Some(&ctx.host.name),
                by,
                ctx.instance,
                ctx.instances,
                Arc::clone(&ctx.post),
            ))
        })
    }

    /// Packets to `domain` are taken by `take`, in the process that routes them.
    #[must_use]
    pub fn route_inline(
        mut self,
        domain: impl Into<String>,
        take: impl Fn(&Host, Packet) -> Routing + Send + Sync + 'static,
    ) -> Self {
        let domain = domain.into();
        self.domains.push(domain.clone());
        self.part(move |ctx| {
            let host = ctx.host.clone();
            let mode = Mode::Inline(Arc::new(move |packet| take(&host, packet)));
            Part::Route(RouteSpec::new(&domain, Some(&ctx.host.name), mode))
        })
    }

    /// Gets of `namespace` are answered by `handler`.
    #[must_use]
    pub fn iq_get<P, F, A>(self, to: To, namespace: &'static str, handler: F) -> Self
    where
        P: Payload,
        F: Fn(Host, Iq) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<P, StanzaError>> + Send + 'static,
    {
        self.iq(to, namespace, IqKind::Get, handler)
    }

    /// Sets of `namespace` are answered by `handler`.
    #[must_use]
    pub fn iq_set<P, F, A>(self, to: To, namespace: &'static str, handler: F) -> Self
    where
        P: Payload,
        F: Fn(Host, Iq) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<P, StanzaError>> + Send + 'static,
    {
        self.iq(to, namespace, IqKind::Set, handler)
    }

    fn iq<P, F, A>(self, to: To, namespace: &'static str, kind: IqKind, handler: F) -> Self
    where
        P: Payload,
        F: Fn(Host, Iq) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<P, StanzaError>> + Send + 'static,
    {
        self.part(move |ctx| {
            let host = ctx.host.clone();
            let handler: IqHandler = Arc::new(move |iq| {
                let answer = handler(host.clone(), iq);
                async move { answer.await.map(|payload| payload.to_fragment()) }.boxed()
            });
            Part::Iq(IqSpec::new(&ctx.host.name, to, namespace, kind, handler))
        })
    }

    /// `handler` takes part in the fold `H` of this host.
    #[must_use]
    pub fn hook<H: Hook>(
        self,
        priority: Priority,
        handler: impl Fn(&Host, H) -> Flow<H> + Send + Sync + 'static,
    ) -> Self {
        self.hook_of(|host| host, priority, handler)
    }

    /// `handler` takes part in the fold `H` of the whole node, whatever host it concerns.
    #[must_use]
    pub fn node_hook<H: Hook>(
        self,
        priority: Priority,
        handler: impl Fn(&Host, H) -> Flow<H> + Send + Sync + 'static,
    ) -> Self {
        self.hook_of(|_| "", priority, handler)
    }

    /// `handler` takes part in the folds `H` of whom `whose` names.
    fn hook_of<H: Hook>(
        self,
        whose: fn(&str) -> &str,
        priority: Priority,
        handler: impl Fn(&Host, H) -> Flow<H> + Send + Sync + 'static,
    ) -> Self {
        self.part(move |ctx| {
            let host = ctx.host.clone();
            let spec = HookSpec::now::<H>(whose(&ctx.host.name), priority, move |value| {
                handler(&host, value)
            });
            Part::Hook(spec)
        })
    }

    /// `handler`, which may wait, takes part in the fold `H` of this host.
    #[must_use]
    pub fn hook_wait<H, F, A>(self, priority: Priority, handler: F) -> Self
    where
        H: Hook,
        F: Fn(Host, H) -> A + Send + Sync + 'static,
        A: Future<Output = Flow<H>> + Send + 'static,
    {
        self.part(move |ctx| {
            let host = ctx.host.clone();
            let handler = move |value| handler(host.clone(), value).boxed();
            Part::Hook(HookSpec::wait::<H>(&ctx.host.name, priority, handler))
        })
    }

    /// As [`Registrations::hook`], for those values only of which `wants` is true.
    #[must_use]
    pub fn hook_if<H: Hook>(
        self,
        priority: Priority,
        wants: impl Fn(&Host, &H) -> bool + Send + Sync + 'static,
        handler: impl Fn(&Host, H) -> Flow<H> + Send + Sync + 'static,
    ) -> Self {
        self.hook(priority, handler).only_if(wants)
    }

    /// As [`Registrations::hook_wait`], for those values only of which `wants` is true. `wants` runs for every value
    /// of the fold, so it only looks at what is at hand.
    #[must_use]
    pub fn hook_wait_if<H, W, F, A>(self, priority: Priority, wants: W, handler: F) -> Self
    where
        H: Hook,
        W: Fn(&Host, &H) -> bool + Send + Sync + 'static,
        F: Fn(Host, H) -> A + Send + Sync + 'static,
        A: Future<Output = Flow<H>> + Send + 'static,
    {
        self.hook_wait(priority, handler).only_if(wants)
    }

    /// Narrows the handler that was registered last.
    fn only_if<H: Hook>(
        mut self,
        wants: impl Fn(&Host, &H) -> bool + Send + Sync + 'static,
    ) -> Self {
        let last = self.parts.pop().expect("a handler was registered last");
        self.part(move |ctx| {
            let host = ctx.host.clone();
            match last(ctx) {
                Part::Hook(spec) => Part::Hook(spec.only_if::<H>(move |value| wants(&host, value))),
                _ => unreachable!("a handler was registered last"),
            }
        })
    }

    /// The host has this feature (XEP-0030).
    #[must_use]
    pub fn feature(self, name: &'static str) -> Self {
        self.part(move |_| Part::Feature(To::Host, name))
    }

    /// The host's accounts have this feature (XEP-0030).
    #[must_use]
    pub fn account_feature(self, name: &'static str) -> Self {
        self.part(move |_| Part::Feature(To::Account, name))
    }

    /// A command of this host's administrators.
    #[must_use]
    pub fn command(self, command: Command) -> Self {
        self.with(CommandRegistration(command))
    }

    /// Something that a higher crate installs.
    #[must_use]
    pub fn with(mut self, registration: impl Registration) -> Self {
        self.others.push(Box::new(registration));
        self
    }

    fn part(mut self, part: impl FnOnce(&ModuleCtx) -> Part + Send + 'static) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    /// The parts that the router's tables hold, for the process of `ctx`: of all but the first process of a module
    /// the slots of balanced routes alone.
    pub(crate) fn into_change(self, ctx: &ModuleCtx) -> (Change, Vec<Box<dyn Registration>>) {
        let mut change = Change::new();
        if ctx.instance > 0 {
            for part in self.parts {
                if let Part::Route(route) = part(ctx)
                    && route.is_slot()
                {
                    change.route(route);
                }
            }
            return (change, Vec::new());
        }
        for part in self.parts {
            match part(ctx) {
                Part::Route(route) => change.route(route),
                Part::Hook(hook) => change.hook(hook),
                Part::Iq(iq) => change.iq(iq),
                Part::Feature(to, name) => change.feature(&ctx.host.name, to, name),
            }
        }
        (change, self.others)
    }
}

struct CommandRegistration(Command);

impl Registration for CommandRegistration {
    fn install(self: Box<Self>, host: &Host) -> Result<Installed, StartError> {
        let command = self.0.on_host(&*host.name);
        let (name, owner) = (command.name, format!("modules of {}", host.name));
        host.commands
            .register(command, &owner)
            .map_err(|error| StartError::Resource(error.to_string()))?;
        let commands = host.commands.clone();
        Ok(Installed::new(move || {
            commands.remove(name, &owner);
        }))
    }
}
