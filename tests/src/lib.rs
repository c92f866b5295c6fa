//! `tests`.
