//! `supervisors`.
