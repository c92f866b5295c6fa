//! What a supervisor does, as OTP's `supervisor` documents it.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::future::join_all;

use crate::cell::Birth;
use crate::child::{ChildSpec, ChildType, Remake, Restart, Template, shut_down};
use crate::clock::{Clock, Instant};
use crate::ctx::Ctx;
use crate::exit::{Down, ExitReason, MonitorRef, ProcessId};
use crate::family::{Child, Family, One, State};
use crate::gen_server::{Flow, From, GenServer, Info, Init};
use crate::pid::{AnyPid, UpgradeError};
use crate::run::panic_text;
use crate::supervisor::{
    ChildCount, ChildError, ChildInfo, ChildState, StartChildError, StartError, Strategy,
    Supervisor,
};

/// What a supervisor can be asked.
pub(crate) enum Ask {
    Start(Box<ChildSpec>),
    StartOne(&'static str, Box<dyn Any + Send>),
    StartOneFrom(&'static str, Remake),
    Terminate(String),
    TerminateOne(ProcessId),
    Restart(String),
    Delete(String),
    Upgrade(Box<ChildSpec>, Duration),
    /// The kind, a template of its new version but for restart and shutdown, the deadline.
    UpgradeOnes(Template, Duration),
    Which,
    Count,
}

/// What it answers.
pub(crate) enum Told {
    Started(Result<AnyPid, StartChildError>),
    Restarted(Result<AnyPid, ChildError>),
    Done(Result<(), ChildError>),
    /// Those that were not upgraded, and why.
    Upgraded(Result<Vec<(AnyPid, UpgradeError)>, ChildError>),
    Children(Vec<ChildInfo>),
    Count(ChildCount),
}

/// What it tells itself: a restart failed, try again. Names the child by its place.
pub(crate) struct TryAgain(u64);

/// A supervisor's state. Invariant: every running child is in `family` with a monitor on it.
pub(crate) struct SupServer {
    strategy: Strategy,
    intensity: u32,
    period: Duration,
    template: Option<Template>,
    /// When it restarted, within the last period.
    restarts: VecDeque<Instant>,
    family: Family,
}

impl GenServer for SupServer {
    const KIND: &'static str = "supervisor";
    type Args = Supervisor;
    type Call = Ask;
    type Reply = Told;
    type Cast = TryAgain;
    type Info = ();

    async fn init(declared: Supervisor, ctx: &mut Ctx<Self>) -> Init<Self> {
        let mut server = SupServer {
            strategy: declared.strategy,
            intensity: declared.intensity,
            period: declared.period,
            template: declared.template,
            restarts: VecDeque::new(),
            family: Family::new(ctx, declared.stops_together),
        };
        for spec in declared.children {
            if server.template.is_some() {
                return Init::Stop(ExitReason::error("simple_one_for_one takes no child specs"));
            }
            if server.family.find(&spec.id).is_some() {
                let why = format!("child id {} is there twice", spec.id);
                return Init::Stop(ExitReason::error(why));
            }
            let id = spec.id.clone();
            let at = server.family.add(spec);
            if let Err(error) = server.launch(at, ctx).await {
                server.family.stop_all(ctx.clock()).await;
                let why = format!("child {id} did not start: {error}");
                return Init::Stop(ExitReason::error(why));
            }
        }
        Init::Ok(server)
    }

    async fn handle_call(&mut self, ask: Ask, from: From<Told>, ctx: &mut Ctx<Self>) -> Flow {
        let told = match ask {
            Ask::Start(spec) => Told::Started(self.start_child(*spec, ctx).await),
            Ask::StartOne(kind, args) => Told::Started(self.start_one(kind, args, None, ctx).await),
            Ask::StartOneFrom(kind, remake) => {
                Told::Started(self.start_one_from(kind, remake, ctx).await)
            }
            Ask::Terminate(id) => Told::Done(self.terminate_child(&id, ctx).await),
            Ask::TerminateOne(id) => Told::Done(self.terminate_one(id, ctx).await),
            Ask::Restart(id) => Told::Restarted(self.restart_child(&id, ctx).await),
            Ask::Delete(id) => Told::Done(self.delete_child(&id)),
            Ask::Upgrade(spec, within) => {
                Told::Done(self.upgrade_child(*spec, within, ctx.clock()).await)
            }
            Ask::UpgradeOnes(template, within) => {
                Told::Upgraded(self.upgrade_ones(template, within, ctx.clock()).await)
            }
            Ask::Which => Told::Children(self.which_children()),
            Ask::Count => Told::Count(self.count_children()),
        };
        from.reply(told);
        Flow::Go
    }

    async fn handle_cast(&mut self, TryAgain(order): TryAgain, ctx: &mut Ctx<Self>) -> Flow {
        if let Some(at) = self.family.at(order)
            && matches!(self.family.list[at].state, State::Restarting)
        {
            return self.restart(at, ctx).await;
        }
        if let Some(one) = self.family.take_restarting(order) {
            return self.restart_one(one, ctx).await;
        }
        // Somebody terminated or restarted it meanwhile.
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<()>, ctx: &mut Ctx<Self>) -> Flow {
        match info {
            Info::Down(down) => self.child_ended(down, ctx).await,
            Info::Message(()) | Info::Timeout => Flow::Go,
        }
    }

    async fn terminate(mut self, _reason: &ExitReason, ctx: &mut Ctx<Self>) {
        self.family.stop_all(ctx.clock()).await;
    }
}

/// Children that come and go.
impl SupServer {
    /// Starts the child at `at`; one that ignores the start stays down (and goes, if temporary).
    async fn launch(
        &mut self,
        at: usize,
        ctx: &mut Ctx<Self>,
    ) -> Result<Option<AnyPid>, StartError> {
        let child = &self.family.list[at];
        let birth = Birth {
            system: ctx.system().clone(),
            name: child.spec.id.as_str().into(),
            parent: Some(ctx.pid().id()),
            order: child.order,
            restarts: child.restarts,
            last_exit: child.last_exit.clone(),
        };
        match child.spec.start(birth).await {
            Ok(pid) => {
                let monitor = ctx.adopt(&pid);
                self.family.list[at].state = State::Running(pid.clone(), monitor);
                Ok(Some(pid))
            }
            Err(StartError::Ignored) => {
                self.family.list[at].state = State::Down;
                Ok(None)
            }
            Err(error) => {
                self.family.list[at].state = State::Down;
                Err(error)
            }
        }
    }

    async fn start_child(
        &mut self,
        spec: ChildSpec,
        ctx: &mut Ctx<Self>,
    ) -> Result<AnyPid, StartChildError> {
        if self.template.is_some() {
            return Err(StartChildError::WrongStrategy);
        }
        if let Some(at) = self.family.find(&spec.id) {
            return Err(match &self.family.list[at].state {
                State::Running(pid, _) => StartChildError::AlreadyStarted(pid.clone()),
                State::Restarting | State::Down => StartChildError::AlreadyPresent,
            });
        }
        let temporary = spec.restart == Restart::Temporary;
        let at = self.family.add(spec);
        match self.launch(at, ctx).await {
            Ok(Some(pid)) => Ok(pid),
            Ok(None) => {
                if temporary {
                    self.family.list.remove(at);
                }
                Err(StartChildError::Ignored)
            }
            Err(error) => {
                self.family.list.remove(at);
                Err(StartChildError::Failed(error))
            }
        }
    }

    async fn start_one(
        &mut self,
        kind: &'static str,
        args: Box<dyn Any + Send>,
        remake: Option<Remake>,
        ctx: &mut Ctx<Self>,
    ) -> Result<AnyPid, StartChildError> {
        let Some(template) = self.template.filter(|template| template.kind == kind) else {
            return Err(StartChildError::WrongStrategy);
        };
        if remake.is_none() && template.restart != Restart::Temporary {
            return Err(StartChildError::NotRestartable);
        }
        let one = One {
            order: self.family.next_order(),
            remake,
            restarts: 0,
            last_exit: None,
        };
        match self.launch_one(one, args, template, ctx).await {
            Ok(pid) => Ok(pid),
            Err((_, StartError::Ignored)) => Err(StartChildError::Ignored),
            Err((_, error)) => Err(StartChildError::Failed(error)),
        }
    }

    async fn start_one_from(
        &mut self,
        kind: &'static str,
        remake: Remake,
        ctx: &mut Ctx<Self>,
    ) -> Result<AnyPid, StartChildError> {
        match make(&remake) {
            Ok(args) => self.start_one(kind, args, Some(remake), ctx).await,
            Err(error) => Err(StartChildError::Failed(error)),
        }
    }

    async fn launch_one(
        &mut self,
        one: One,
        args: Box<dyn Any + Send>,
        template: Template,
        ctx: &mut Ctx<Self>,
    ) -> Result<AnyPid, (One, StartError)> {
        let birth = Birth {
            system: ctx.system().clone(),
            name: one.order.to_string().into(),
            parent: Some(ctx.pid().id()),
            order: one.order,
            restarts: one.restarts,
            last_exit: one.last_exit.clone(),
        };
        match (template.start)(birth, args).await {
            Ok(pid) => {
                let monitor = ctx.adopt(&pid);
                self.family
                    .run_one(pid.clone(), monitor, one, template.shutdown);
                Ok(pid)
            }
            Err(error) => Err((one, error)),
        }
    }

    async fn terminate_child(&mut self, id: &str, ctx: &mut Ctx<Self>) -> Result<(), ChildError> {
        let at = self.find(id)?;
        self.stop(at, ctx).await;
        if self.family.list[at].spec.restart == Restart::Temporary {
            self.family.list.remove(at);
        }
        Ok(())
    }

    async fn terminate_one(
        &mut self,
        id: ProcessId,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), ChildError> {
        let template = self.template.ok_or(ChildError::WrongStrategy)?;
        let (pid, monitor) = self.family.running_one(id).ok_or(ChildError::NotFound)?;
        ctx.demonitor(monitor);
        shut_down(&pid, template.shutdown, ctx.clock()).await;
        self.family.forget_one(id);
        Ok(())
    }

    async fn restart_child(&mut self, id: &str, ctx: &mut Ctx<Self>) -> Result<AnyPid, ChildError> {
        let at = self.find_down(id)?;
        match self.launch(at, ctx).await {
            Ok(Some(pid)) => Ok(pid),
            Ok(None) => Err(ChildError::Start(StartError::Ignored)),
            Err(error) => Err(ChildError::Start(error)),
        }
    }

    fn delete_child(&mut self, id: &str) -> Result<(), ChildError> {
        let at = self.find_down(id)?;
        self.family.list.remove(at);
        Ok(())
    }

    async fn upgrade_child(
        &mut self,
        spec: ChildSpec,
        within: Duration,
        clock: &Clock,
    ) -> Result<(), ChildError> {
        let at = self.find(&spec.id)?;
        if let State::Running(pid, _) = &self.family.list[at].state {
            match clock.timeout(within, spec.upgrade(pid)).await {
                Ok(done) => done.map_err(ChildError::Upgrade)?,
                Err(_) => return Err(ChildError::Upgrade(UpgradeError::Timeout)),
            }
        }
        self.family.list[at].spec = spec;
        Ok(())
    }

    /// Upgrades all dynamic children side by side; those that come from now on are of the new version.
    async fn upgrade_ones(
        &mut self,
        new: Template,
        within: Duration,
        clock: &Clock,
    ) -> Result<Vec<(AnyPid, UpgradeError)>, ChildError> {
        let template = self.template.as_mut().ok_or(ChildError::WrongStrategy)?;
        if template.kind != new.kind {
            return Err(ChildError::Upgrade(UpgradeError::NotAVersion {
                found: template.kind,
                wanted: new.kind,
            }));
        }
        *template = Template {
            restart: template.restart,
            shutdown: template.shutdown,
            ..new
        };
        let all = self.family.running_ones().into_iter().map(|pid| async {
            match clock.timeout(within, (new.upgrade)(&pid)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((pid, error)),
                Err(_) => Some((pid, UpgradeError::Timeout)),
            }
        });
        Ok(join_all(all).await.into_iter().flatten().collect())
    }

    fn which_children(&self) -> Vec<ChildInfo> {
        match self.template {
            Some(_) => self.family.ones(),
            None => self.family.list.iter().map(Child::info).collect(),
        }
    }

    fn count_children(&self) -> ChildCount {
        if self.template.is_some() {
            let ones = self.family.ones();
            return ChildCount {
                specs: 1,
                active: ones.iter().filter(|one| runs(&one.state)).count(),
                supervisors: 0,
                workers: ones.len(),
            };
        }
        let children = self.which_children();
        let of = |kind| children.iter().filter(|child| child.kind == kind).count();
        ChildCount {
            specs: children.len(),
            active: children.iter().filter(|child| runs(&child.state)).count(),
            supervisors: of(ChildType::Supervisor),
            workers: of(ChildType::Worker),
        }
    }

    fn find(&self, id: &str) -> Result<usize, ChildError> {
        if self.template.is_some() {
            return Err(ChildError::WrongStrategy);
        }
        self.family.find(id).ok_or(ChildError::NotFound)
    }

    fn find_down(&self, id: &str) -> Result<usize, ChildError> {
        let at = self.find(id)?;
        match self.family.list[at].state {
            State::Running(..) => Err(ChildError::Running),
            State::Restarting => Err(ChildError::Restarting),
            State::Down => Ok(at),
        }
    }

    /// Stops the child at `at`, if it runs; it is down then and not restarted.
    async fn stop(&mut self, at: usize, ctx: &mut Ctx<Self>) {
        let child = &self.family.list[at];
        if let State::Running(pid, monitor) = &child.state {
            let how = child.spec.shutdown;
            ctx.demonitor(*monitor);
            shut_down(pid, how, ctx.clock()).await;
        }
        self.family.list[at].state = State::Down;
    }
}

/// Children that ended by themselves.
impl SupServer {
    async fn child_ended(&mut self, down: Down, ctx: &mut Ctx<Self>) -> Flow {
        if let Some(template) = self.template {
            return self.one_ended(down, template, ctx).await;
        }
        let Some(at) = self.family.monitored(down.monitor) else {
            return Flow::Go;
        };
        let child = &mut self.family.list[at];
        child.last_exit = Some(down.reason.clone());
        child.state = State::Down;
        match child.spec.restart {
            Restart::Temporary => {
                self.family.list.remove(at);
                Flow::Go
            }
            Restart::Transient if down.reason.is_orderly() => Flow::Go,
            Restart::Transient | Restart::Permanent => self.restart(at, ctx).await,
        }
    }

    /// Starts the child at `at` again, and with it those who fall with it, unless that is once too often.
    async fn restart(&mut self, at: usize, ctx: &mut Ctx<Self>) -> Flow {
        if self.too_often(ctx.clock().now()) {
            let child = self.family.list[at].spec.id.clone();
            return self.give_up(&child, ctx);
        }
        let first = match self.strategy {
            Strategy::OneForOne => return self.relaunch(at..at + 1, ctx).await,
            Strategy::OneForAll => 0,
            Strategy::RestForOne => at,
        };
        for at in (first..self.family.list.len()).rev() {
            self.stop(at, ctx).await;
            // Temporary children fall with the others but do not return.
            if self.family.list[at].spec.restart == Restart::Temporary {
                self.family.list.remove(at);
            }
        }
        self.relaunch(first..self.family.list.len(), ctx).await
    }

    /// Starts children in order. At the first that fails it stops; that one is tried again, which counts as a
    /// restart of its own.
    async fn relaunch(&mut self, places: std::ops::Range<usize>, ctx: &mut Ctx<Self>) -> Flow {
        for at in places {
            self.family.list[at].restarts += 1;
            if let Err(error) = self.launch(at, ctx).await {
                let child = &mut self.family.list[at];
                child.state = State::Restarting;
                let id = child.spec.id.as_str();
                tracing::warn!(target: "natter::otp", supervisor = %ctx.pid().id(), child = id, %error, "restart failed");
                // Its own mailbox is open while it handles a message, unless it is being killed.
                let _ = ctx.pid().cast(TryAgain(child.order));
                return Flow::Go;
            }
        }
        Flow::Go
    }

    async fn one_ended(&mut self, down: Down, template: Template, ctx: &mut Ctx<Self>) -> Flow {
        let Some(mut one) = self.family.forget_one(down.process) else {
            return Flow::Go;
        };
        let again = match template.restart {
            Restart::Temporary => false,
            Restart::Transient => !down.reason.is_orderly(),
            Restart::Permanent => true,
        };
        if !again {
            return Flow::Go;
        }
        one.last_exit = Some(down.reason);
        self.restart_one(one, ctx).await
    }

    async fn restart_one(&mut self, mut one: One, ctx: &mut Ctx<Self>) -> Flow {
        let template = self
            .template
            .expect("only simple_one_for_one has such children");
        let remake = one
            .remake
            .clone()
            .expect("children that are restarted have a remake");
        if self.too_often(ctx.clock().now()) {
            return self.give_up(template.kind, ctx);
        }
        one.restarts += 1;
        let launched = match make(&remake) {
            Ok(args) => self.launch_one(one, args, template, ctx).await,
            Err(error) => Err((one, error)),
        };
        match launched {
            Ok(_) | Err((_, StartError::Ignored)) => {}
            Err((one, error)) => {
                tracing::warn!(target: "natter::otp", supervisor = %ctx.pid().id(), child = template.kind, %error, "restart failed");
                // As above.
                let _ = ctx.pid().cast(TryAgain(one.order));
                self.family.restarting.push(one);
            }
        }
        Flow::Go
    }

    /// Counts a restart; tells whether there were more than the intensity within the period.
    fn too_often(&mut self, now: Instant) -> bool {
        let period = self.period;
        self.restarts.retain(|then| now.since(*then) <= period);
        self.restarts.push_back(now);
        self.restarts.len() > self.intensity as usize
    }

    fn give_up(&self, child: &str, ctx: &Ctx<Self>) -> Flow {
        let name = &*ctx.pid().cell().head.born.name;
        tracing::error!(
            target: "natter::otp", supervisor = %ctx.pid().id(), name, child,
            intensity = self.intensity, period = ?self.period, "restart intensity reached"
        );
        Flow::Stop(ExitReason::Shutdown)
    }
}

/// Arguments that cannot be made are the child's failure, not the supervisor's.
fn make(remake: &Remake) -> Result<Box<dyn Any + Send>, StartError> {
    catch_unwind(AssertUnwindSafe(|| remake()))
        .map_err(|panic| StartError::Failed(ExitReason::Panic(panic_text(&*panic))))
}

fn runs(state: &ChildState) -> bool {
    matches!(state, ChildState::Running(_))
}

impl Family {
    /// The place of the running child with that monitor.
    fn monitored(&self, monitor: MonitorRef) -> Option<usize> {
        self.list
            .iter()
            .position(|child| matches!(&child.state, State::Running(_, m) if *m == monitor))
    }
}
