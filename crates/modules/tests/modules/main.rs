//! Modules on a running host, without sockets: how they come, go and fall, and what each answers.

mod hot_add;
mod privacy;
mod rig;
mod services;
mod shutdown;
