//! `auth`.
