//! A compiled table, and the lookup in it.

use std::fmt;
use std::sync::Arc;

use super::captures::{Captures, Seek, Slot, Sought, Texts};
use super::constraint::{Field, Panicked, Value};
use super::found::Match;
use super::pattern::Alternative;
use super::target::{self, Ranges};
use super::trie::Trie;

/// Behind every place in a list.
pub(super) const LAST: u32 = u32::MAX;

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMatch {
    /// No host's rule matches: 400.
    #[error("no such host")]
    Host,
    /// The host cannot be split into labels: 400.
    #[error("the host is malformed")]
    MalformedHost,
    /// The host has no path that matches: 404.
    #[error("no such path")]
    Path,
    /// The path cannot be split into segments: 400.
    #[error("the path is malformed")]
    MalformedPath,
    /// A constraint panicked: 500.
    #[error("a constraint panicked: {0}")]
    Panicked(String),
}

impl NoMatch {
    /// The status that answers it.
    pub fn status(&self) -> u16 {
        match self {
            NoMatch::Host | NoMatch::MalformedHost | NoMatch::MalformedPath => 400,
            NoMatch::Path => 404,
            NoMatch::Panicked(_) => 500,
        }
    }
}

/// A field whose name is bound somewhere.
pub(super) type BoundField = (u32, Field);

/// A table that was compiled. Found in it is a `T`: a handler, where a server uses it.
pub struct Dispatch<T = crate::Endpoint> {
    pub(super) names: Vec<Arc<str>>,
    pub(super) hosts: Vec<HostRule<T>>,
    /// The named hosts.
    pub(super) trie: Trie,
    /// The first rule for any host: its order and place.
    pub(super) any: Option<(u32, u32)>,
}

pub(super) struct HostRule<T> {
    pub(super) pattern: Option<String>,
    pub(super) fields: Vec<BoundField>,
    pub(super) paths: Vec<PathRule<T>>,
    pub(super) trie: Trie,
    /// The first rule for any path, and the first for `*`: its order and place.
    pub(super) any: Option<(u32, u32)>,
    pub(super) star: Option<(u32, u32)>,
    /// The first rule for which the path must be split.
    pub(super) first_pattern: u32,
}

pub(crate) struct PathRule<T> {
    pub(crate) pattern: Option<String>,
    pub(crate) fields: Vec<BoundField>,
    pub(crate) constraints: Vec<Field>,
    pub(crate) alternatives: Vec<Alternative>,
    pub(crate) target: T,
}

/// One rule of a table, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a, T> {
    /// The host's pattern; none for any.
    pub host: Option<&'a str>,
    /// The path's pattern; none for any.
    pub path: Option<&'a str>,
    /// What is found there.
    pub target: &'a T,
}

impl<T> Default for Dispatch<T> {
    /// The empty table: every request is answered 400.
    fn default() -> Dispatch<T> {
        Dispatch {
            names: Vec::new(),
            hosts: Vec::new(),
            trie: Trie::default(),
            any: None,
        }
    }
}

impl<T> Dispatch<T> {
    /// Finds what a request for `path` on `host` is for. The host is without its port; the path without its query, as
    /// it was sent.
    ///
    /// # Errors
    ///
    /// [`NoMatch`].
    #[inline]
    pub fn find<'t, 'r>(
        &'t self,
        host: &'r str,
        path: &'r str,
    ) -> Result<Match<'t, 'r, T>, NoMatch> {
        let host = target::lowercase(host);
        let mut captures = Captures::default();
        self.capture(&host, path, &mut captures)?;
        Ok(Match {
            table: self,
            captures,
            host,
            path,
        })
    }

    /// All rules in order.
    pub fn rules(&self) -> impl Iterator<Item = Shown<'_, T>> {
        self.hosts.iter().flat_map(|host| {
            host.paths.iter().map(|path| Shown {
                host: host.pattern.as_deref(),
                path: path.pattern.as_deref(),
                target: &path.target,
            })
        })
    }

    pub(crate) fn path_rules(&self) -> impl Iterator<Item = &PathRule<T>> {
        self.hosts.iter().flat_map(|host| &host.paths)
    }

    /// As [`find`](Self::find) for a host in lower case. What is found comes into `captures`, which are new.
    #[inline(never)]
    pub(crate) fn capture(
        &self,
        host: &str,
        path: &str,
        captures: &mut Captures,
    ) -> Result<(), NoMatch> {
        self.host(host, captures)?.path(host, path, captures)
    }

    fn host(&self, host: &str, captures: &mut Captures) -> Result<&HostRule<T>, NoMatch> {
        let any = self.any;
        // Any host in the first place: nobody asks for labels.
        if let Some((0, rule)) = any {
            captures.host = rule;
            return Ok(&self.hosts[rule as usize]);
        }
        if self.hosts.is_empty() {
            return Err(NoMatch::Host);
        }
        let mut labels = Ranges::new();
        target::split_host(host, &mut labels).map_err(|_| NoMatch::MalformedHost)?;
        let sought = Sought {
            texts: Texts {
                host: host.as_bytes(),
                path: b"",
            },
            segments: &labels,
            of_host: true,
        };
        let fields = |rule: u32| self.hosts[rule as usize].fields.as_slice();
        let first = any.map_or(LAST, |(order, _)| order);
        let mut seek = Seek::new(first, &captures.slots, &sought, fields);
        self.trie.find(host.as_bytes(), &labels, &mut seek);
        match (seek.finish(), any) {
            (Some(found), _) => {
                let (leaf, slots) = found.map_err(|Panicked(text)| NoMatch::Panicked(text))?;
                match slots {
                    Some(slots) => captures.slots = *slots,
                    None => sought.bind(leaf, &mut captures.slots),
                }
                captures.host = leaf.rule;
                if let Some(from) = leaf.rest_from {
                    let rest = labels[from as usize..].iter().rev();
                    captures.more().host_info = Some(rest.copied().collect());
                }
                Ok(&self.hosts[leaf.rule as usize])
            }
            (None, Some((_, rule))) => {
                captures.host = rule;
                Ok(&self.hosts[rule as usize])
            }
            (None, None) => Err(NoMatch::Host),
        }
    }

    pub(crate) fn target(&self, captures: &Captures) -> &T {
        &self.hosts[captures.host as usize].paths[captures.path as usize].target
    }

    pub(crate) fn patterns(&self, captures: &Captures) -> (Option<&str>, Option<&str>) {
        let host = &self.hosts[captures.host as usize];
        let path = &host.paths[captures.path as usize];
        (host.pattern.as_deref(), path.pattern.as_deref())
    }

    /// The slot of a binding.
    fn slot<'c>(&self, captures: &'c Captures, name: &str) -> Option<&'c Slot> {
        let is_it = |slot: &&Slot| &*self.names[slot.name() as usize] == name;
        captures.slots.iter().find(is_it)
    }

    pub(crate) fn binding_bytes<'c>(
        &self,
        captures: &'c Captures,
        host: &'c str,
        path: &'c str,
        name: &str,
    ) -> Option<&'c [u8]> {
        self.slot(captures, name)?.bytes(captures.texts(host, path))
    }

    pub(crate) fn binding_value(
        &self,
        captures: &Captures,
        host: &str,
        path: &str,
        name: &str,
    ) -> Option<Value> {
        Some(self.slot(captures, name)?.value(captures.texts(host, path)))
    }

    pub(crate) fn binding_int(&self, captures: &Captures, name: &str) -> Option<i64> {
        match self.slot(captures, name)? {
            Slot::Int(_, number) => Some(*number),
            Slot::Value(_, value) => value.as_int(),
            Slot::Host(..) | Slot::Path(..) => None,
        }
    }

    pub(crate) fn bindings(
        &self,
        captures: &Captures,
        host: &str,
        path: &str,
    ) -> Vec<(Arc<str>, Value)> {
        let texts = captures.texts(host, path);
        let named = |slot: &Slot| (self.names[slot.name() as usize].clone(), slot.value(texts));
        captures.slots.iter().map(named).collect()
    }
}

impl<T> HostRule<T> {
    fn path(&self, host: &str, path: &str, captures: &mut Captures) -> Result<(), NoMatch> {
        let (any, rule) = self.any.unwrap_or((LAST, LAST));
        if path == "*" {
            let (star, star_rule) = self.star.unwrap_or((LAST, LAST));
            captures.path = if star < any { star_rule } else { rule };
            return if star.min(any) == LAST {
                Err(NoMatch::Path)
            } else {
                Ok(())
            };
        }
        // The path is split when the first rule is reached that asks for its segments.
        if self.first_pattern >= any {
            captures.path = rule;
            return if any == LAST {
                Err(NoMatch::Path)
            } else {
                Ok(())
            };
        }
        let mut segments = Ranges::new();
        let decoded =
            target::split_path(path, &mut segments).map_err(|_| NoMatch::MalformedPath)?;
        let text = decoded.as_deref().unwrap_or(path.as_bytes());
        let sought = Sought {
            texts: Texts {
                host: host.as_bytes(),
                path: text,
            },
            segments: &segments,
            of_host: false,
        };
        let fields = |rule: u32| self.paths[rule as usize].fields.as_slice();
        let mut seek = Seek::new(any, &captures.slots, &sought, fields);
        self.trie.find(text, &segments, &mut seek);
        match seek.finish() {
            Some(found) => {
                let (leaf, slots) = found.map_err(|Panicked(text)| NoMatch::Panicked(text))?;
                match slots {
                    Some(slots) => captures.slots = *slots,
                    None => sought.bind(leaf, &mut captures.slots),
                }
                captures.path = leaf.rule;
                if let Some(from) = leaf.rest_from {
                    captures.more().path_info = Some(segments[from as usize..].into());
                }
                if decoded.is_some() {
                    captures.more().decoded = decoded;
                }
                Ok(())
            }
            None if any == LAST => Err(NoMatch::Path),
            None => {
                captures.path = rule;
                Ok(())
            }
        }
    }
}

impl<T> fmt::Debug for Dispatch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |shown: Shown<'_, T>| (shown.host.map(str::to_owned), shown.path.map(str::to_owned));
        f.debug_list().entries(self.rules().map(shown)).finish()
    }
}
