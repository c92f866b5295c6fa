//! Modules on a host: start, stop, fall, reload; what is registered at each moment.

mod balanced;
mod cast;
mod falls;
mod life;
mod rig;
