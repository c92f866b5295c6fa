//! Sessions over memory: clients that speak XML, a router, a host, and an offline queue made of hooks.

mod client;
mod deliver;
mod life;
mod offline;
mod rig;
