//! The modules on stage.

use std::time::Duration;

use admin::{Command, Value};
use gen_mod::prelude::*;
use gen_mod::{Depends, Installed, ModuleKind, Registration, kind};
use otp::ExitReason;
use router::FilterPacket;

use crate::rig::Script;

options! {
    /// Options of `mod_all`.
    pub struct AllOpts {
        /// Its domain.
        pub domain: String = "all.@HOST@".into() => Restart,
        /// Taken live.
        pub grade: u32 [0..=9] = 1,
    }
}

/// Registers one of everything, and does what the script says.
pub struct ModAll;

impl Module for ModAll {
    const NAME: &'static str = "mod_all";
    const SOURCES: &'static [Source] = &[];
    type Opts = AllOpts;

    async fn start(ctx: &ModuleCtx, opts: AllOpts) -> Result<(Self, Registrations), StartError> {
        let script = ctx.host.service::<Script>();
        script.say(format!("mod_all starts with grade {}", opts.grade));
        assert!(!script.is_ordered("panic at start"), "ordered");
        if script.is_ordered("refuse to start") {
            return Err(StartError::Resource("ordered to refuse".into()));
        }
        if script.is_ordered("use its process") {
            ctx.send_after(Duration::from_secs(3), "tick");
            ctx.monitor(&script.watched().expect("somebody to watch"));
            let tell = ctx.teller();
            ctx.spawn(async move { assert!(tell(Box::new("from a task")), "it lives") });
        }
        let registrations = Registrations::new()
            .route(ctx.domain("domain", &opts.domain)?)
            .hook::<router_hook::Heard>(Priority::NORMAL, |_, heard| Flow::Next(heard))
            .feature("urn:all")
            .command(Command::new("all", "Does all.", |_, _| async {
                Ok(Value::Nothing)
            }))
            .with(Extra("installed"))
            .with(Extra("refuse to install"));
        Ok((ModAll, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        let script = ctx.host.service::<Script>();
        match info {
            Info::Route(parcel) => parcel.take().drop_by_rule(),
            Info::Down(down) => script.say(format!("down: {}", down.reason)),
            Info::Message(message) => {
                let text = message
                    .downcast::<&'static str>()
                    .expect("the script's words");
                script.say(format!("message: {text}"));
            }
        }
    }

    async fn reload(&mut self, new: &AllOpts, old: &AllOpts, ctx: &ModuleCtx) -> Reload {
        if new.domain != old.domain {
            return Reload::Restart;
        }
        ctx.host
            .service::<Script>()
            .say(format!("reloads to grade {}", new.grade));
        Reload::Done
    }

    async fn stop(self, reason: &ExitReason, ctx: &ModuleCtx) {
        let routes = ctx.host.router.registrations_of(ctx.pid.id());
        ctx.host
            .service::<Script>()
            .say(format!("mod_all stops ({reason}) with {routes:?}"));
    }
}

/// The hook that `mod_all` listens to.
pub mod router_hook {
    use router::{Hook, HookInfo, OnPanic};

    use crate::rig::HOST;

    #[derive(Clone)]
    pub struct Heard;

    impl Hook for Heard {
        const INFO: HookInfo = HookInfo {
            name: "heard",
            run_by: "tests",
            process: "the test",
            carries: "nothing",
            stopping: "nothing",
            on_panic: OnPanic::Continue,
            may_wait: false,
        };

        fn host(&self) -> &str {
            HOST
        }
    }
}

/// Something that a higher crate installs: an order that stands while it is installed.
struct Extra(&'static str);

impl Registration for Extra {
    fn install(self: Box<Self>, host: &Host) -> Result<Installed, StartError> {
        let script = host.service::<Script>().clone();
        if self.0 == "refuse to install" {
            return match script.is_ordered(self.0) {
                true => Err(StartError::Resource("the second is taken".into())),
                false => Ok(Installed::new(|| {})),
            };
        }
        script.order(self.0);
        Ok(Installed::new(move || script.revoke(self.0)))
    }
}

/// Declares a module that says when it starts.
macro_rules! starts {
    ($module:ident, $name:literal, $depends:expr) => {
        pub struct $module;

        impl Module for $module {
            const NAME: &'static str = $name;
            const SOURCES: &'static [Source] = &[];
            const DEPENDS: &'static [Depends] = $depends;
            type Opts = NoOpts;

            async fn start(
                ctx: &ModuleCtx,
                _opts: NoOpts,
            ) -> Result<(Self, Registrations), StartError> {
                ctx.host.service::<Script>().say($name);
                Ok(($module, Registrations::new()))
            }
        }
    };
}

starts!(ModBase, "mod_base", &[]);
starts!(ModNeeds, "mod_needs", &[needs("mod_base")]);
starts!(
    ModAfter,
    "mod_after",
    &[after("mod_needs"), after("mod_unwanted")]
);
starts!(ModSoftA, "mod_soft_a", &[after("mod_soft_b")]);
starts!(ModSoftB, "mod_soft_b", &[after("mod_soft_a")]);
starts!(ModHardA, "mod_hard_a", &[needs("mod_hard_b")]);
starts!(ModHardB, "mod_hard_b", &[needs("mod_hard_a")]);

/// Wants the domain of `mod_all`, and a hook that fails closed.
pub struct ModThief;

impl Module for ModThief {
    const NAME: &'static str = "mod_thief";
    const SOURCES: &'static [Source] = &[];
    type Opts = NoOpts;

    async fn start(ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let mine = ctx.domain("domain", "thief.@HOST@")?;
        let theirs = ctx.domain("domain", "all.@HOST@")?;
        let registrations = Registrations::new()
            .route(mine)
            .hook::<FilterPacket>(Priority::NORMAL, |_, packet| Flow::Next(packet))
            .route(theirs);
        Ok((ModThief, registrations))
    }
}

pub const CATALOG: &[ModuleKind] = &[
    kind::<ModAfter>(),
    kind::<ModAll>(),
    kind::<ModBase>(),
    kind::<ModHardA>(),
    kind::<ModHardB>(),
    kind::<ModNeeds>(),
    kind::<ModSoftA>(),
    kind::<ModSoftB>(),
    kind::<ModThief>(),
];
