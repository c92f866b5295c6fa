//! A compiled table, and the lookup in it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::constraint::{Checked, Field, Panicked, Value};
use super::pattern::{Alternative, Kind, Problem, Segment, Wrong, parse};
use super::target::{self, Range, slice};
use super::trie::{Edge, Leaf, Trie, Visit};
use super::{Host, Path};

/// Behind every place in a list.
const LAST: u32 = u32::MAX;

/// What is wrong with one rule of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The place of the host in the table, from 0, and its pattern; none for any host.
    pub host: (usize, Option<String>),
    /// The place of the path in the host, from 0, and its pattern; none at all if it is the host that is wrong.
    pub path: Option<(usize, Option<String>)>,
    /// The byte of the wrong pattern.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |pattern: &Option<String>| {
            pattern
                .as_ref()
                .map_or_else(|| "any".to_owned(), |pattern| format!("{pattern:?}"))
        };
        write!(f, "host {} ({})", self.host.0, shown(&self.host.1))?;
        if let Some((at, pattern)) = &self.path {
            write!(f, ", path {at} ({})", shown(pattern))?;
        }
        write!(f, ", byte {}: {}", self.at, self.problem)
    }
}

impl std::error::Error for CompileError {}

/// All that is wrong with a table, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileErrors(pub Vec<CompileError>);

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let line_break = if at == 0 { "" } else { "\n" };
            write!(f, "{line_break}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileErrors {}

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
type BoundField = (u32, Field);

/// A table that was compiled. Found in it is a `T`: a handler, where a server uses it.
pub struct Dispatch<T = crate::Endpoint> {
    names: Vec<Arc<str>>,
    hosts: Vec<HostRule<T>>,
    /// The named hosts.
    trie: Trie,
    /// The first rule for any host: its order and place.
    any: Option<(u32, u32)>,
}

struct HostRule<T> {
    pattern: Option<String>,
    fields: Vec<BoundField>,
    paths: Vec<PathRule<T>>,
    trie: Trie,
    /// The first rule for any path, and the first for `*`: its order and place.
    any: Option<(u32, u32)>,
    star: Option<(u32, u32)>,
    /// The first rule for which the path must be split.
    first_pattern: u32,
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

/// Names of bindings as numbers.
#[derive(Default)]
struct Names {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    fn number(&mut self, name: &Arc<str>) -> u32 {
        *self.numbers.entry(name.clone()).or_insert_with(|| {
            self.names.push(name.clone());
            self.names.len() as u32 - 1
        })
    }
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
    /// Compiles a table.
    ///
    /// # Errors
    ///
    /// All that is wrong with its patterns, each with the rule and the byte.
    pub fn compile(table: Vec<Host<T>>) -> Result<Dispatch<T>, CompileErrors> {
        let mut names = Names::default();
        let mut errors = Vec::new();
        let mut dispatch = Dispatch::default();
        let mut order = 0;
        for (number, host) in table.into_iter().enumerate() {
            let place = (number, host.pattern.clone());
            let mut fail = |path: Option<(usize, Option<String>)>, wrong: Wrong| {
                errors.push(CompileError {
                    host: place.clone(),
                    path,
                    at: wrong.at,
                    problem: wrong.problem,
                });
            };
            let rule = number as u32;
            match read(Kind::Host, host.pattern.as_deref(), &host.constraints) {
                Ok(None) => {
                    dispatch.any.get_or_insert((order, rule));
                    order += 1;
                }
                Ok(Some(alternatives)) => {
                    insert(
                        &mut dispatch.trie,
                        &alternatives,
                        rule,
                        &mut order,
                        &mut names,
                    );
                }
                Err(wrong) => fail(None, wrong),
            }
            let paths = compile_paths(host.paths, &mut names, &mut |at, pattern, wrong| {
                fail(Some((at, pattern)), wrong);
            });
            let fields = bind_fields(host.constraints, &mut names);
            dispatch.hosts.push(HostRule {
                pattern: host.pattern,
                fields,
                ..paths
            });
        }
        dispatch.names = names.names;
        if errors.is_empty() {
            Ok(dispatch)
        } else {
            Err(CompileErrors(errors))
        }
    }

    /// Finds what a request for `path` on `host` is for. The host is without its port; the path without its query, as
    /// it was sent.
    ///
    /// # Errors
    ///
    /// [`NoMatch`].
    pub fn find<'t, 'r>(
        &'t self,
        host: &'r str,
        path: &'r str,
    ) -> Result<Match<'t, 'r, T>, NoMatch> {
        let host = target::lowercase(host);
        let captures = self.capture(&host, path)?;
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

    /// As [`find`](Self::find) for a host in lower case.
    pub(crate) fn capture(&self, host: &str, path: &str) -> Result<Captures, NoMatch> {
        let mut captures = Captures::default();
        let rule = self.host(host, &mut captures)?;
        rule.path(host, path, &mut captures)?;
        Ok(captures)
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
        let labels = target::split_host(host).map_err(|_| NoMatch::MalformedHost)?;
        let mut seek = Seek {
            best: any.map_or(LAST, |(order, _)| order),
            found: None,
            before: &Slots::new(),
            texts: Texts {
                host: host.as_bytes(),
                path: b"",
            },
            segments: &labels,
            of_host: true,
            fields: |rule: u32| &self.hosts[rule as usize].fields,
        };
        self.trie.find(host.as_bytes(), &labels, &mut seek);
        match (seek.found, any) {
            (Some(found), _) => {
                let (leaf, slots) = found.map_err(|Panicked(text)| NoMatch::Panicked(text))?;
                captures.host = leaf.rule;
                captures.slots = slots;
                captures.host_info = leaf.rest_from.map(|from| {
                    let rest = &labels[from as usize..];
                    rest.iter().rev().copied().collect()
                });
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
        let is_it = |(number, _): &&(u32, Slot)| &*self.names[*number as usize] == name;
        captures.slots.iter().find(is_it).map(|(_, slot)| slot)
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
            Slot::Int(number) => Some(*number),
            Slot::Value(value) => value.as_int(),
            Slot::Host(_) | Slot::Path(_) => None,
        }
    }

    pub(crate) fn bindings(
        &self,
        captures: &Captures,
        host: &str,
        path: &str,
    ) -> Vec<(Arc<str>, Value)> {
        let texts = captures.texts(host, path);
        let named =
            |(name, slot): &(u32, Slot)| (self.names[*name as usize].clone(), slot.value(texts));
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
        let split = target::split_path(path).map_err(|_| NoMatch::MalformedPath)?;
        let text = split.decoded.as_deref().unwrap_or(path.as_bytes());
        let before = std::mem::take(&mut captures.slots);
        let mut seek = Seek {
            best: any,
            found: None,
            before: &before,
            texts: Texts {
                host: host.as_bytes(),
                path: text,
            },
            segments: &split.segments,
            of_host: false,
            fields: |rule: u32| &self.paths[rule as usize].fields,
        };
        self.trie.find(text, &split.segments, &mut seek);
        match seek.found {
            Some(found) => {
                let (leaf, slots) = found.map_err(|Panicked(text)| NoMatch::Panicked(text))?;
                captures.path = leaf.rule;
                captures.slots = slots;
                captures.path_info = leaf
                    .rest_from
                    .map(|from| split.segments[from as usize..].into());
                captures.decoded = split.decoded;
                Ok(())
            }
            None if any == LAST => Err(NoMatch::Path),
            None => {
                captures.path = rule;
                captures.slots = before;
                Ok(())
            }
        }
    }
}

/// Reads a pattern; none for one that matches everything.
fn read(
    kind: Kind,
    pattern: Option<&str>,
    fields: &[Field],
) -> Result<Option<Vec<Alternative>>, Wrong> {
    match pattern {
        Some("*") if kind == Kind::Path => unconstrained(fields),
        None => unconstrained(fields),
        Some(pattern) => parse(kind, pattern).map(Some),
    }
}

fn unconstrained(fields: &[Field]) -> Result<Option<Vec<Alternative>>, Wrong> {
    if fields.is_empty() {
        return Ok(None);
    }
    Err(Wrong {
        at: 0,
        problem: Problem::ConstraintOnAny,
    })
}

/// Fields by the numbers of their names. One whose name nothing binds is never asked.
fn bind_fields(fields: Vec<Field>, names: &mut Names) -> Vec<BoundField> {
    let known = |field: Field| {
        names
            .numbers
            .get(field.name())
            .map(|number| (*number, field))
    };
    fields.into_iter().filter_map(known).collect()
}

fn insert(
    trie: &mut Trie,
    alternatives: &[Alternative],
    rule: u32,
    order: &mut u32,
    names: &mut Names,
) {
    for alternative in alternatives {
        let mut taken: Vec<(u32, u32)> = Vec::new();
        let mut repeats = false;
        for (at, segment) in alternative.segments.iter().enumerate() {
            if let Segment::Name(name) = segment {
                let number = names.number(name);
                repeats |= taken.iter().any(|(other, _)| *other == number);
                taken.push((number, at as u32));
            }
        }
        let leaf = Leaf {
            order: *order,
            rule,
            names: taken.into(),
            rest_from: alternative
                .rest
                .then_some(alternative.segments.len() as u32),
            repeats,
        };
        *order += 1;
        let edges = alternative.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Edge::Literal(text),
            Segment::Name(_) | Segment::Any => Edge::Any,
        });
        trie.insert(edges, leaf);
    }
}

/// Compiles the paths of one host. Its pattern and fields are the caller's to set.
fn compile_paths<T>(
    paths: Vec<Path<T>>,
    names: &mut Names,
    fail: &mut impl FnMut(usize, Option<String>, Wrong),
) -> HostRule<T> {
    let mut rule = HostRule {
        pattern: None,
        fields: Vec::new(),
        paths: Vec::with_capacity(paths.len()),
        trie: Trie::default(),
        any: None,
        star: None,
        first_pattern: LAST,
    };
    let mut order = 0;
    for (number, path) in paths.into_iter().enumerate() {
        let place = number as u32;
        let mut kept = Vec::new();
        match read(Kind::Path, path.pattern.as_deref(), &path.constraints) {
            Ok(None) => {
                let first = if path.pattern.is_some() {
                    &mut rule.star
                } else {
                    &mut rule.any
                };
                first.get_or_insert((order, place));
                order += 1;
            }
            Ok(Some(alternatives)) => {
                rule.first_pattern = rule.first_pattern.min(order);
                insert(&mut rule.trie, &alternatives, place, &mut order, names);
                kept = alternatives;
            }
            Err(wrong) => fail(number, path.pattern.clone(), wrong),
        }
        rule.paths.push(PathRule {
            pattern: path.pattern,
            fields: bind_fields(path.constraints.clone(), names),
            constraints: path.constraints,
            alternatives: kept,
            target: path.target,
        });
    }
    rule
}

/// What is bound: where it stands in the request, or what a constraint made of it.
#[derive(Clone, Debug)]
enum Slot {
    Host(Range),
    Path(Range),
    Int(i64),
    Value(Box<Value>),
}

type Slots = SmallVec<[(u32, Slot); 4]>;

/// What slots point into.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    host: &'a [u8],
    path: &'a [u8],
}

impl Slot {
    fn bytes<'a>(&'a self, texts: Texts<'a>) -> Option<&'a [u8]> {
        match self {
            Slot::Host(range) => Some(slice(texts.host, *range)),
            Slot::Path(range) => Some(slice(texts.path, *range)),
            Slot::Int(_) => None,
            Slot::Value(value) => value.as_bytes(),
        }
    }

    fn value(&self, texts: Texts<'_>) -> Value {
        match self {
            Slot::Int(number) => Value::Int(*number),
            Slot::Value(value) => Value::clone(value),
            Slot::Host(range) => Value::Bytes(slice(texts.host, *range).to_vec()),
            Slot::Path(range) => Value::Bytes(slice(texts.path, *range).to_vec()),
        }
    }
}

/// A lookup under way: the best leaf so far.
struct Seek<'t, 's, F> {
    best: u32,
    found: Option<Result<(&'t Leaf, Slots), Panicked>>,
    /// What the host has bound.
    before: &'s Slots,
    texts: Texts<'s>,
    segments: &'s [Range],
    of_host: bool,
    fields: F,
}

impl<'t, F> Visit<'t> for Seek<'t, '_, F>
where
    F: Fn(u32) -> &'t Vec<BoundField>,
{
    fn best(&self) -> u32 {
        self.best
    }

    fn look(&mut self, leaf: &'t Leaf) {
        let mut slots = self.before.clone();
        if !self.bind(leaf, &mut slots) {
            return;
        }
        let fields = (self.fields)(leaf.rule);
        if !fields.is_empty() {
            match self.check(fields, &mut slots) {
                Ok(true) => {}
                Ok(false) => return,
                // In the order of the list this would have come first: unless one before it is found, it is the answer.
                Err(panicked) => {
                    self.best = leaf.order;
                    self.found = Some(Err(panicked));
                    return;
                }
            }
        }
        self.best = leaf.order;
        self.found = Some(Ok((leaf, slots)));
    }
}

impl<F> Seek<'_, '_, F> {
    /// Binds the names; false if one that is bound already has another value.
    fn bind(&self, leaf: &Leaf, slots: &mut Slots) -> bool {
        let is_alone = !leaf.repeats && slots.is_empty();
        for &(name, at) in &leaf.names {
            let range = self.segments[at as usize];
            let (slot, text) = if self.of_host {
                (Slot::Host(range), self.texts.host)
            } else {
                (Slot::Path(range), self.texts.path)
            };
            let bound = if is_alone {
                None
            } else {
                slots.iter().find(|(other, _)| *other == name)
            };
            match bound {
                None => slots.push((name, slot)),
                Some((_, bound)) if bound.bytes(self.texts) == Some(slice(text, range)) => {}
                Some(_) => return false,
            }
        }
        true
    }

    fn check(&self, fields: &[BoundField], slots: &mut Slots) -> Result<bool, Panicked> {
        for (name, field) in fields {
            let Some((_, slot)) = slots.iter_mut().find(|(bound, _)| bound == name) else {
                continue;
            };
            let checked = match slot {
                Slot::Host(range) => field.check_bytes(slice(self.texts.host, *range))?,
                Slot::Path(range) => field.check_bytes(slice(self.texts.path, *range))?,
                Slot::Int(number) => field.check_value(Value::Int(*number))?,
                Slot::Value(value) => field.check_value(Value::clone(value))?,
            };
            match checked {
                Checked::Same => {}
                Checked::Changed(Value::Int(number)) => *slot = Slot::Int(number),
                Checked::Changed(value) => *slot = Slot::Value(Box::new(value)),
                Checked::Refused => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// What a lookup found, without the texts it points into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures {
    host: u32,
    path: u32,
    slots: Slots,
    host_info: Option<Box<[Range]>>,
    path_info: Option<Box<[Range]>>,
    decoded: Option<Box<[u8]>>,
}

impl Captures {
    fn texts<'a>(&'a self, host: &'a str, path: &'a str) -> Texts<'a> {
        Texts {
            host: host.as_bytes(),
            path: self.decoded.as_deref().unwrap_or(path.as_bytes()),
        }
    }

    pub(crate) fn host_info<'a>(&'a self, host: &'a str) -> Option<Vec<&'a str>> {
        let labels = self.host_info.as_deref()?;
        Some(
            labels
                .iter()
                .map(|&(from, to)| &host[from as usize..to as usize])
                .collect(),
        )
    }

    pub(crate) fn path_info<'a>(&'a self, path: &'a str) -> Option<Vec<&'a [u8]>> {
        let text = self.texts("", path).path;
        let segments = self.path_info.as_deref()?;
        Some(segments.iter().map(|&range| slice(text, range)).collect())
    }
}

/// What a request is for, and what its host and path bind.
pub struct Match<'t, 'r, T = crate::Endpoint> {
    table: &'t Dispatch<T>,
    captures: Captures,
    host: Cow<'r, str>,
    path: &'r str,
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

impl<T> fmt::Debug for Dispatch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |shown: Shown<'_, T>| (shown.host.map(str::to_owned), shown.path.map(str::to_owned));
        f.debug_list().entries(self.rules().map(shown)).finish()
    }
}
