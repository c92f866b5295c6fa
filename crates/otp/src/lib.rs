//! OTP's behaviours for Rust: processes with state, supervisors, names, monitors, timers, and a live view of it all.
//!
//! A [`System`] is one server's world: its [`Clock`], its [`Registry`] of names and its view ([`Observe`]). Two of
//! them share nothing. In a system live *processes*. Each fills the behaviour [`GenServer`] and has a typed handle,
//! [`Pid`]. A [`Supervisor`] starts them in order from [`ChildSpec`]s, starts those again that fall, and stops them in
//! reverse order, each waited for. An [`App`] is a whole tree.
//!
//! ```
//! use std::time::Duration;
//! use otp::{App, ChildSpec, Clock, Ctx, Flow, From, GenServer, Init, Name, Strategy, Supervisor, System};
//!
//! /// Counts what it is told to.
//! struct Counter {
//!     count: u32,
//! }
//!
//! impl GenServer for Counter {
//!     const KIND: &'static str = "counter";
//!     type Args = u32;
//!     type Call = ();
//!     type Reply = u32;
//!     type Cast = u32;
//!     type Info = ();
//!
//!     async fn init(count: u32, _ctx: &mut Ctx<Self>) -> Init<Self> {
//!         Init::Ok(Counter { count })
//!     }
//!
//!     async fn handle_call(&mut self, (): (), from: From<u32>, _ctx: &mut Ctx<Self>) -> Flow {
//!         from.reply(self.count);
//!         Flow::Go
//!     }
//!
//!     async fn handle_cast(&mut self, more: u32, _ctx: &mut Ctx<Self>) -> Flow {
//!         self.count = self.count.checked_add(more).expect("nobody counts that far");
//!         Flow::Go
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let system = System::new("example", Clock::real());
//! let name = Name::new("counter", "");
//! let root = Supervisor::new(Strategy::OneForOne)
//!     .intensity(5, Duration::from_secs(30))
//!     .child(ChildSpec::worker::<Counter>("counter", || 40).registered(name.clone()));
//! let app = App::start(root, &system, "root").await?;
//!
//! let counter = system.registry().named::<Counter>(name);
//! counter.cast(2)?;
//! assert_eq!(counter.call((), Duration::from_secs(5)).await?, 42);
//!
//! app.stop(Duration::from_secs(60)).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # How a process ends
//!
//! | | current handler | queued mail | `terminate` | reason |
//! | --- | --- | --- | --- | --- |
//! | [`Flow::Stop`] | it said so | dropped | runs | as said |
//! | [`Pid::stop`] | runs to its end | dropped | runs | as given |
//! | [`Pid::kill`] | dropped where it waits | dropped | – | [`ExitReason::Killed`] |
//! | a panic | unwound | dropped | – | [`ExitReason::Panic`] |
//!
//! However it ends, what it owns ends with it: monitors, timers, tasks. Mail that is dropped is not lost where it
//! matters: a caller gets a [`CallError`], an [`Envelope`] falls into its [`DeadLetterBox`]. Then its names are free,
//! and only then monitors and waiters are told. A supervisor's end is told when its children have ended too, also
//! when it was killed or fell, so none is orphaned and its successor finds all names free.
//!
//! A kill acts where a handler waits. One that computes without end cannot be interrupted.
//!
//! # Time
//!
//! Every deadline, time-out, period and timer follows the system's clock. With [`Clock::manual`] it stands still until
//! its [`ClockHand`] advances it, firing what is due in the order of its time. Nobody but this crate asks for the time.
//!
//! # Where this leaves OTP
//!
//! - An `init` says no more than its result; [`Init::Continue`] takes the place of `proc_lib:init_ack`.
//! - Processes do not trap exits: a link exists only from a supervisor to its children, and from a process to the
//!   work it spawned ([`Ctx::spawn`], [`Ctx::accompany`]).
//! - Mailboxes have a budget for what is offered ([`Pid::offer`]), and `control` overtakes.
//! - `auto_shutdown` and significant children are not there.
//! - [`GenServer::code_change`] upgrades between types with the same messages; there is no downgrade.

mod application;
mod cell;
mod child;
mod clock;
mod companion;
mod ctx;
mod envelope;
mod exit;
mod family;
mod gen_server;
mod histogram;
mod lanes;
mod observe;
mod pid;
mod registry;
mod run;
mod shards;
mod sup_server;
mod supervisor;
mod system;

pub use application::App;
pub use child::{ChildSpec, ChildType, Restart, Shutdown};
pub use clock::{Clock, ClockHand, Elapsed, Instant, Sleep, TimerRef};
pub use ctx::{Ctx, TaskRef};
pub use envelope::{DeadLetterBox, Envelope};
pub use exit::{CallError, Down, ExitReason, MonitorRef, NoProc, ProcessId};
pub use gen_server::{Flow, From, GenServer, Info, Init, OldState, Refusal};
pub use histogram::{BOUNDS as HISTOGRAM_BOUNDS, Counted, Histogram};
pub use lanes::{LaneGuard, Lanes};
pub use observe::{Observe, TreeNode};
#[doc(hidden)]
pub use pid::Fault;
pub use pid::{AnyPid, Pid, UpgradeError};
pub use registry::{Name, NameTaken, Named, Registry};
pub use shards::Shards;
pub use supervisor::{
    ChildCount, ChildError, ChildInfo, ChildState, StartChildError, StartError, Strategy, SupPid,
    Supervisor,
};
pub use system::System;
