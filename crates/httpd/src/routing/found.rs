//! What was found: a target, and what its host and path bind.

use std::borrow::Cow;
use std::sync::Arc;

use super::captures::Captures;
use super::constraint::Value;
use super::dispatch::Dispatch;

/// What a request is for, and what its host and path bind.
pub struct Match<'t, 'r, T = crate::Endpoint> {
    pub(super) table: &'t Dispatch<T>,
    pub(super) captures: Captures,
    pub(super) host: Cow<'r, str>,
    pub(super) path: &'r str,
}

impl<'t, T> Match<'t, '_, T> {
    /// What was found.
    pub fn target(&self) -> &'t T {
        self.table.target(&self.captures)
    }

    /// The patterns of the host and the path; none for any.
    pub fn patterns(&self) -> (Option<&'t str>, Option<&'t str>) {
        self.table.patterns(&self.captures)
    }

    /// What is bound to `name`, if that is text.
    pub fn binding(&self, name: &str) -> Option<&str> {
        self.binding_bytes(name)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// What is bound to `name`, unless a constraint made something other than bytes of it.
    pub fn binding_bytes(&self, name: &str) -> Option<&[u8]> {
        self.table
            .binding_bytes(&self.captures, &self.host, self.path, name)
    }

    /// The number that `int` made of what is bound to `name`.
    pub fn binding_int(&self, name: &str) -> Option<i64> {
        self.table.binding_int(&self.captures, name)
    }

    /// All that is bound, the host's first.
    pub fn bindings(&self) -> Vec<(Arc<str>, Value)> {
        self.table.bindings(&self.captures, &self.host, self.path)
    }

    /// The labels that `[...]` took, in reading order; none where the host's pattern has no rest.
    pub fn host_info(&self) -> Option<Vec<&str>> {
        self.captures.host_info(&self.host)
    }

    /// The segments that `[...]` took, decoded; none where the path's pattern has no rest.
    pub fn path_info(&self) -> Option<Vec<&[u8]>> {
        self.captures.path_info(self.path)
    }
}
