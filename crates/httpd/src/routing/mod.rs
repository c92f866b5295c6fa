//! Routes: which handler serves a request.
//!
//! A table is a list of hosts, each with a list of paths, and the order of the lists is the only priority. It is a
//! value until it is compiled into a [`Dispatch`], which looks requests up at a cost that does not grow with the
//! number of routes. The syntax of patterns stands at [`Host::new`] and [`Path::new`].

mod build;
mod captures;
mod compile;
mod constraint;
mod dispatch;
mod found;
mod pattern;
mod registry;
mod target;
#[cfg(test)]
mod tests;
mod trie;

pub use build::BuildError;
pub(crate) use captures::Captures;
pub use compile::{CompileError, CompileErrors};
pub(crate) use constraint::panic_text;
pub use constraint::{Constraint, Field, Refused, Value, check_fn, field};
pub use dispatch::{Dispatch, NoMatch, Shown};
pub use found::Match;
pub use pattern::{MAX_ALTERNATIVES, MAX_PATTERN_BYTES, Problem};
pub use registry::{Routes, RoutesError};
pub(crate) use target::{alphanumeric_or, is_host_byte};

/// A host's rule: its pattern, constraints on what it binds, and its paths in order.
#[derive(Clone, Debug)]
pub struct Host<T = crate::Endpoint> {
    /// None: any host.
    pub(crate) pattern: Option<String>,
    pub(crate) constraints: Vec<Field>,
    pub(crate) paths: Vec<Path<T>>,
}

impl<T> Host<T> {
    /// The hosts that match `pattern`, which is read from its last label to its first, in any case:
    ///
    /// - `literal`: that label.
    /// - `:name`: one label, bound. A name that stands twice, in the host, in the path or in both, matches only what is
    ///   equal each time.
    /// - `:_`: one label.
    /// - `[…]`: optional, `[www.]example.org`; may nest.
    /// - `[...]`: at the front, the rest: any number of labels, kept as `host_info`.
    ///
    /// Dots at its ends, and repeated ones, mean nothing. The port is no part of a host.
    pub fn new(pattern: impl Into<String>) -> Host<T> {
        Host {
            pattern: Some(pattern.into()),
            constraints: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// Any host, also one that cannot be split.
    pub fn any() -> Host<T> {
        Host {
            pattern: None,
            constraints: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// Adds a constraint. They are checked in order, where their name is bound; one that refuses makes this no match.
    pub fn constrain(mut self, field: Field) -> Host<T> {
        self.constraints.push(field);
        self
    }

    /// Adds a path behind the others.
    pub fn path(mut self, path: Path<T>) -> Host<T> {
        self.paths.push(path);
        self
    }

    /// Adds paths behind the others.
    pub fn paths(mut self, paths: impl IntoIterator<Item = Path<T>>) -> Host<T> {
        self.paths.extend(paths);
        self
    }
}

/// A path's rule: its pattern, constraints on what it and the host bind, and what is found there.
#[derive(Clone, Debug)]
pub struct Path<T = crate::Endpoint> {
    /// None: any path.
    pub(crate) pattern: Option<String>,
    pub(crate) constraints: Vec<Field>,
    pub(crate) target: T,
}

impl<T> Path<T> {
    /// The paths that match `pattern`, which begins with a slash and is read segment by segment:
    ///
    /// - `literal`: that segment, once the request's is percent-decoded.
    /// - `:name`, `:_`, `[…]`: as in [`Host::new`]: `/hats/[page/[:number]]`. An empty segment is bound as an empty text.
    /// - `[...]`: at the end, the rest: any number of segments, kept as `path_info`.
    ///
    /// A slash at its end, and repeated ones, mean nothing. `*` alone is the target of `OPTIONS *`.
    pub fn new(pattern: impl Into<String>, target: T) -> Path<T> {
        Path {
            pattern: Some(pattern.into()),
            constraints: Vec::new(),
            target,
        }
    }

    /// Any path, also one that cannot be split, and `*`.
    pub fn any_target(target: T) -> Path<T> {
        Path {
            pattern: None,
            constraints: Vec::new(),
            target,
        }
    }

    /// Adds a constraint on what the host or the path binds; see [`Host::constrain`].
    pub fn constrain(mut self, field: Field) -> Path<T> {
        self.constraints.push(field);
        self
    }
}

impl Path {
    /// [`Path::new`] with a handler.
    pub fn to(pattern: impl Into<String>, handler: impl crate::Handler) -> Path {
        Path::new(pattern, crate::Endpoint::new(handler))
    }

    /// Any path, with a handler.
    pub fn any(handler: impl crate::Handler) -> Path {
        Path::any_target(crate::Endpoint::new(handler))
    }
}
