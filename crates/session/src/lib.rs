//! Sessions: the clients of this server, from connection to goodbye.
//!
//! The c2s process, the session table and its manager, presence, and delivery to accounts by the
//! rules of RFC 6121 §8.5. Knows no module and no SQL: what modules contribute comes in by [`hooks`].

mod accounts;
mod c2s;
mod counts;
mod deliver;
mod flush;
pub mod hooks;
mod local;
mod logins;
mod negotiate;
mod presence;
mod sm;
mod table;

pub use c2s::{C2s, C2sArgs, C2sOptions, Cast};
pub use counts::StanzaCounts;
pub use hooks::HOOKS;
pub use local::{Local, LocalArgs, local_child_spec};
pub use logins::Logins;
pub use negotiate::{AccountLogin, ByHooks};
pub use sm::{Conflict, SessionPolicy, Sessions, Sm, Watch, sm_name};
pub use table::{Entry, Opened, SessionTable};
