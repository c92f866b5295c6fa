//! The router as the rest of the server sees it: routes, hooks, IQs, dead letters, receipts.

mod dead_letters;
mod hooks;
mod iq;
mod routes;
mod stage;
