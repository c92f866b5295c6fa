//! The process of a module: a gen_server whose state is the module.
//!
//! One per (host, module), permanent, under a supervisor of its own. Invariant: while the process
//! lives, all that `start` returned is registered; when it ends in any way, nothing of it is.

use std::sync::Arc;

use arc_swap::ArcSwap;
use otp::{Ctx, ExitReason, Flow, From, GenServer, Init, Name};
use parking_lot::Mutex;
use router::{Parcel, Post};

use crate::module::{Effect, Info, Message, Module, ModuleCtx, Reload};
use crate::registrations::Installed;
use crate::{Host, Registrations, StartError};

/// The process of module `M`.
pub struct ModuleServer<M: Module> {
    module: M,
    ctx: ModuleCtx,
    opts: Arc<M::Opts>,
    /// Taken back when the state is dropped.
    _installed: Vec<Installed>,
}

/// What the process starts with. The options are read anew at each start.
pub struct Args<M: Module> {
    pub(crate) host: Host,
    pub(crate) opts: Arc<ArcSwap<M::Opts>>,
    /// Domains that are the module's while it is configured, up or down. Released by the loader.
    pub(crate) reserved: Arc<Mutex<Vec<String>>>,
    /// Why it did not start, for whoever started it.
    pub(crate) why: Arc<Mutex<Option<String>>>,
    /// Which of the module's processes it is, and how many there are.
    pub(crate) instance: (usize, usize),
}

/// What the process can be asked.
pub enum Call<M: Module> {
    /// Take these options.
    Reload(Arc<M::Opts>),
    /// Whatever the module understands.
    Request(Message),
}

/// What it answers.
pub enum Reply {
    /// To [`Call::Reload`].
    Reloaded(Reload),
    /// To [`Call::Request`]; `Err` is the request, not understood.
    Answer(Result<Message, Message>),
}

/// What it can be told.
pub enum Cast {
    /// A packet for one of its routes.
    Route(Parcel),
}

/// The name that the process of a module is registered by on a host; of several the first.
#[must_use]
pub fn module_name(module: &'static str, host: &str) -> Name {
    Name::new(module, host)
}

/// The name of one of a module's processes.
pub(crate) fn instance_name(module: &'static str, host: &str, instance: usize) -> Name {
    match instance {
        0 => module_name(module, host),
        _ => Name::new(module, format!("{host}#{}", instance + 1)),
    }
}

impl<M: Module> GenServer for ModuleServer<M> {
    const KIND: &'static str = "module";
    type Args = Args<M>;
    type Call = Call<M>;
    type Reply = Reply;
    type Cast = Cast;
    type Info = Message;

    async fn init(args: Args<M>, ctx: &mut Ctx<Self>) -> Init<Self> {
        let label = match args.instance {
            (_, 1) => format!("{} {}", M::NAME, args.host.name),
            (number, of) => format!("{} {} {}/{of}", M::NAME, args.host.name, number + 1),
        };
        ctx.set_kind_label(label);
        let context = context::<M>(args.host, args.instance, ctx);
        let opts = args.opts.load_full();
        let started = M::start(&context, M::Opts::clone(&opts)).await;
        let installed = match started {
            Ok((module, registrations)) => {
                install(&context, M::NAME, registrations, &args.reserved)
                    .await
                    .map(|installed| (module, installed))
            }
            Err(error) => Err(error),
        };
        match installed {
            Ok((module, installed)) => {
                let mut server = ModuleServer {
                    module,
                    ctx: context,
                    opts,
                    _installed: installed,
                };
                server.perform(ctx);
                Init::Ok(server)
            }
            Err(error) => {
                *args.why.lock() = Some(error.to_string());
                Init::Stop(ExitReason::Error(error.to_string().into()))
            }
        }
    }

    async fn handle_call(&mut self, call: Call<M>, from: From<Reply>, ctx: &mut Ctx<Self>) -> Flow {
        let reply = match call {
            Call::Reload(new) => Reply::Reloaded(self.reload(new).await),
            Call::Request(request) => {
                Reply::Answer(self.module.handle_call(request, &self.ctx).await)
            }
        };
        from.reply(reply);
        self.perform(ctx);
        Flow::Go
    }

    async fn handle_cast(&mut self, cast: Cast, ctx: &mut Ctx<Self>) -> Flow {
        match cast {
            Cast::Route(parcel) => {
                self.module
                    .handle_info(Info::Route(parcel), &self.ctx)
                    .await
            }
        }
        self.perform(ctx);
        Flow::Go
    }

    async fn handle_info(&mut self, info: otp::Info<Message>, ctx: &mut Ctx<Self>) -> Flow {
        let info = match info {
            otp::Info::Message(message) => Info::Message(message),
            otp::Info::Down(down) => Info::Down(down),
            otp::Info::Timeout => return Flow::Go,
        };
        self.module.handle_info(info, &self.ctx).await;
        self.perform(ctx);
        Flow::Go
    }

    async fn terminate(self, reason: &ExitReason, ctx: &mut Ctx<Self>) {
        // First out of the tables, so that nobody is sent to a process that is ending.
        let _ = self.ctx.host.router.remove(ctx.pid().id()).await;
        self.module.stop(reason, &self.ctx).await;
    }
}

impl<M: Module> ModuleServer<M> {
    async fn reload(&mut self, new: Arc<M::Opts>) -> Reload {
        let reloaded = self.module.reload(&new, &self.opts, &self.ctx).await;
        if reloaded == Reload::Done {
            self.opts = new;
        }
        reloaded
    }

    /// Does what the last callback asked for.
    fn perform(&mut self, ctx: &mut Ctx<Self>) {
        for effect in std::mem::take(&mut *self.ctx.effects.lock()) {
            match effect {
                Effect::After(delay, message) => {
                    ctx.send_after(delay, message);
                }
                Effect::Monitor(pid) => {
                    ctx.monitor(&pid);
                }
                Effect::Spawn(task) => {
                    ctx.spawn(task);
                }
            }
        }
    }
}

fn context<M: Module>(
    host: Host,
    (instance, instances): (usize, usize),
    ctx: &Ctx<ModuleServer<M>>,
) -> ModuleCtx {
    let pid = ctx.pid().clone();
    let post: Post = {
        let pid = pid.clone();
        Arc::new(move |parcel| pid.offer(parcel, Cast::Route))
    };
    let any = pid.any();
    ModuleCtx {
        host,
        pid: any,
        instance,
        instances,
        post,
        tell: Arc::new(move |message| pid.info(message).is_ok()),
        effects: Mutex::default(),
    }
}

async fn install(
    ctx: &ModuleCtx,
    name: &str,
    registrations: Registrations,
    reserved: &Mutex<Vec<String>>,
) -> Result<Vec<Installed>, StartError> {
    let owner = format!("{name} of {}", ctx.host.name);
    for domain in &registrations.domains {
        ctx.host.router.reserve(domain, &owner).await?;
        let mut reserved = reserved.lock();
        if !reserved.contains(domain) {
            reserved.push(domain.clone());
        }
    }
    let (change, others) = registrations.into_change(ctx);
    ctx.host.router.install(&ctx.pid, &owner, change).await?;
    let installed: Result<Vec<Installed>, StartError> = others
        .into_iter()
        .map(|other| other.install(&ctx.host))
        .collect();
    if installed.is_err() {
        // Before anybody hears of the failure: all or nothing.
        let _ = ctx.host.router.remove(ctx.pid.id()).await;
    }
    installed
}
