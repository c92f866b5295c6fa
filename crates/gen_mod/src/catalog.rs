//! The catalogue: which modules there are. Written once, as a list, in `modules`.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{Declared, Described, Errors, Options, Section};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use otp::{ChildSpec, Restart, Strategy, Supervisor};
use parking_lot::Mutex;

use crate::module::{Depends, Module, Reload};
use crate::server::{Args, Call, ModuleServer, Reply, instance_name, module_name};
use crate::{Host, Source};

/// How often a module may fall before it is given up: 5 restarts in 30 s.
const INTENSITY: (u32, Duration) = (5, Duration::from_secs(30));

/// How long a module may take to read new options.
const RELOAD_WITHIN: Duration = Duration::from_secs(5);

/// What is known of a module without running it.
#[derive(Clone, Copy)]
pub struct ModuleKind {
    /// Its name.
    pub name: &'static str,
    /// What it implements.
    pub sources: &'static [Source],
    /// Modules it needs.
    pub depends: &'static [Depends],
    /// Its options.
    pub options: fn() -> &'static [Declared],
    /// Finds fault with options for a host, before anything runs.
    pub check: fn(&Section, &str) -> Result<(), Errors>,
    /// Its options for the reference page.
    pub described: fn() -> Described,
    pub(crate) prepare: fn(&Host, &Section) -> Result<Prepared, Errors>,
}

/// A module of type `M`, for the catalogue.
#[must_use]
pub const fn kind<M: Module>() -> ModuleKind {
    ModuleKind {
        name: M::NAME,
        sources: M::SOURCES,
        depends: M::DEPENDS,
        options: M::Opts::declared,
        check: |section, host| section.for_host(host).read::<M::Opts>().map(drop),
        described: || Described::of::<M::Opts>(&format!("modules.{}", M::NAME)),
        prepare: prepare::<M>,
    }
}

/// A module whose options are read and found good.
pub(crate) struct Prepared {
    /// Its own small supervisor, to be a child of the host's `modules_sup`.
    pub(crate) spec: ChildSpec,
    pub(crate) reserved: Arc<Mutex<Vec<String>>>,
    pub(crate) control: Arc<dyn Control>,
    /// Why it did not start, in its own words.
    pub(crate) why: Arc<Mutex<Option<String>>>,
}

/// What the loader does with a running module, its type erased.
pub(crate) trait Control: Send + Sync {
    /// Reads new options and gives them to the process.
    fn reload(&self, section: &Section) -> Result<BoxFuture<'static, Reload>, Errors>;
    /// The process, when it runs.
    fn process(&self) -> Option<otp::AnyPid>;
}

struct Controlled<M: Module> {
    host: Host,
    opts: Arc<ArcSwap<M::Opts>>,
}

fn prepare<M: Module>(host: &Host, section: &Section) -> Result<Prepared, Errors> {
    let opts = Arc::new(ArcSwap::from_pointee(
        section.for_host(&host.name).read::<M::Opts>()?,
    ));
    let reserved: Arc<Mutex<Vec<String>>> = Arc::default();
    let why: Arc<Mutex<Option<String>>> = Arc::default();
    let control = Arc::new(Controlled::<M> {
        host: host.clone(),
        opts: Arc::clone(&opts),
    });
    let spec = {
        let (host, reserved, why) = (host.clone(), Arc::clone(&reserved), Arc::clone(&why));
        let beside = M::beside(&host);
        ChildSpec::supervisor(M::NAME, move || {
            let of = M::instances(&opts.load()).max(1);
            let supervisor =
                Supervisor::new(Strategy::OneForOne).intensity(INTENSITY.0, INTENSITY.1);
            let supervisor = beside.iter().fold(supervisor, |supervisor, child| {
                supervisor.child(child.clone())
            });
            (0..of).fold(supervisor, |supervisor, number| {
                let name = instance_name(M::NAME, &host.name, number);
                let id = match number {
                    0 => M::NAME.to_owned(),
                    _ => format!("{}#{}", M::NAME, number + 1),
                };
                let (host, opts) = (host.clone(), Arc::clone(&opts));
                let (reserved, why) = (Arc::clone(&reserved), Arc::clone(&why));
                let worker = ChildSpec::worker::<ModuleServer<M>>(id, move || Args {
                    host: host.clone(),
                    opts: Arc::clone(&opts),
                    reserved: Arc::clone(&reserved),
                    why: Arc::clone(&why),
                    instance: (number, of),
                });
                supervisor.child(worker.registered(name))
            })
        })
        .restart(Restart::Temporary)
    };
    Ok(Prepared {
        spec,
        reserved,
        control,
        why,
    })
}

impl<M: Module> Control for Controlled<M> {
    fn reload(&self, section: &Section) -> Result<BoxFuture<'static, Reload>, Errors> {
        let new = Arc::new(section.for_host(&self.host.name).read::<M::Opts>()?);
        let old = self.opts.swap(Arc::clone(&new));
        let of = M::instances(&new).max(1);
        let as_many = of == M::instances(&old).max(1);
        let registry = self.host.system.registry();
        let processes: Vec<_> = (0..of)
            .map(|number| instance_name(M::NAME, &self.host.name, number))
            .map(|name| registry.whereis::<ModuleServer<M>>(&name))
            .collect();
        Ok(async move {
            if !as_many {
                return Reload::Restart;
            }
            for process in processes {
                let Some(process) = process else {
                    return Reload::Restart;
                };
                let call = Call::Reload(Arc::clone(&new));
                match process.call(call, RELOAD_WITHIN).await {
                    Ok(Reply::Reloaded(Reload::Done)) => {}
                    _ => return Reload::Restart,
                }
            }
            Reload::Done
        }
        .boxed())
    }

    fn process(&self) -> Option<otp::AnyPid> {
        let name = module_name(M::NAME, &self.host.name);
        self.host
            .system
            .registry()
            .whereis::<ModuleServer<M>>(&name)
            .map(|pid| pid.any())
    }
}

/// Asks a module's process something that only the two of them understand.
///
/// # Errors
///
/// `None` when the module does not run, does not answer in time, or does not know the request.
pub async fn request<M: Module, A: Any>(
    host: &Host,
    request: impl Any + Send,
    within: Duration,
) -> Option<A> {
    let name = module_name(M::NAME, &host.name);
    let process = host.system.registry().whereis::<ModuleServer<M>>(&name)?;
    match process.call(Call::Request(Box::new(request)), within).await {
        Ok(Reply::Answer(Ok(answer))) => answer.downcast().ok().map(|answer| *answer),
        _ => None,
    }
}

/// All modules of this build, in alphabetical order.
#[derive(Clone, Copy)]
pub struct Catalog(pub &'static [ModuleKind]);

impl Catalog {
    /// The module of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static ModuleKind> {
        self.0.iter().find(|kind| kind.name == name)
    }

    /// The module whose name is nearest to a mistyped one.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        config::nearest(name, self.0.iter().map(|kind| kind.name))
    }
}
