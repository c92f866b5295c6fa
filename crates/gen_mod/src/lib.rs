//! `gen_mod`.
