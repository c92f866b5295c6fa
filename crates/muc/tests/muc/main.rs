//! Rooms of a host without a server around them: what happens to those who are there, whoever falls, however many.

mod crowd;
mod falls;
mod model;
mod rig;
