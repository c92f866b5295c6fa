//! `modules`.
