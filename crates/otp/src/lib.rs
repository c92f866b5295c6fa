//! `otp`.

mod application;
mod cell;
mod child;
mod clock;
mod ctx;
mod envelope;
mod exit;
mod family;
mod gen_server;
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
