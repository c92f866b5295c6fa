//! `router`.
