//! `node`.
