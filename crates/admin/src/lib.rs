//! `admin`.
