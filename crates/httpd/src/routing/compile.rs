//! From a list of rules to a table: what is wrong with it, or the structure in which requests are looked up.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::constraint::{Field, Quick};
use super::dispatch::{BoundField, Dispatch, HostRule, LAST, PathRule};
use super::pattern::{Alternative, Kind, Problem, Segment, Wrong, parse};
use super::trie::{Asks, Draft, Edge, Leaf, Name, Trie};
use super::{Host, Path};

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
        let (mut draft, mut order) = (Draft::new(), 0);
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
            let mut bound = Vec::new();
            match read(Kind::Host, host.pattern.as_deref(), &host.constraints) {
                Ok(None) => {
                    dispatch.any.get_or_insert((order, rule));
                    order += 1;
                }
                Ok(Some(alternatives)) => {
                    bound = bindings(&alternatives, &mut names);
                    let inserted = Inserted {
                        alternatives: &alternatives,
                        rule,
                        fields: &host.constraints,
                        before: &[],
                    };
                    inserted.insert(&mut draft, &mut order, &mut names);
                }
                Err(wrong) => fail(None, wrong),
            }
            let paths = compile_paths(host.paths, &bound, &mut names, &mut |at, pattern, wrong| {
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
        dispatch.trie = draft.build();
        if errors.is_empty() {
            Ok(dispatch)
        } else {
            Err(CompileErrors(errors))
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

/// All that the alternatives of a pattern bind.
fn bindings(alternatives: &[Alternative], names: &mut Names) -> Vec<u32> {
    let segments = alternatives
        .iter()
        .flat_map(|alternative| &alternative.segments);
    let mut bound = Vec::new();
    for segment in segments {
        if let Segment::Name(name) = segment {
            bound.push(names.number(name));
        }
    }
    bound
}

/// A rule on its way into a trie.
struct Inserted<'a> {
    alternatives: &'a [Alternative],
    rule: u32,
    fields: &'a [Field],
    /// What is bound before it, by the host.
    before: &'a [u32],
}

impl Inserted<'_> {
    fn insert(&self, draft: &mut Draft, order: &mut u32, names: &mut Names) {
        for alternative in self.alternatives {
            let mut taken: Vec<Name> = Vec::new();
            // Whether what a name takes must be what it is bound to already.
            let mut clashes = false;
            for (at, segment) in alternative.segments.iter().enumerate() {
                if let Segment::Name(name) = segment {
                    let number = names.number(name);
                    clashes |= self.before.contains(&number)
                        || taken.iter().any(|other| other.number == number);
                    taken.push(Name {
                        number,
                        at: at as u32,
                        quick: Quick::Anything,
                    });
                }
            }
            let asks = if clashes {
                Asks::All
            } else {
                self.asks(&mut taken, names)
            };
            let leaf = Leaf {
                order: *order,
                rule: self.rule,
                names: taken.into(),
                rest_from: alternative
                    .rest
                    .then_some(alternative.segments.len() as u32),
                asks,
            };
            *order += 1;
            let edges = alternative.segments.iter().map(|segment| match segment {
                Segment::Literal(text) => Edge::Literal(text),
                Segment::Name(_) | Segment::Any => Edge::Any,
            });
            draft.insert(edges, leaf);
        }
    }

    /// What the fields ask of these names, each of which is bound once. Each quick check goes to its name.
    fn asks(&self, taken: &mut [Name], names: &Names) -> Asks {
        let mut asks = Asks::Nothing;
        for field in self.fields {
            let Some(number) = names.numbers.get(field.name()) else {
                continue;
            };
            if self.before.contains(number) {
                return Asks::All;
            }
            let Some(name) = taken.iter_mut().find(|name| name.number == *number) else {
                continue;
            };
            let Some(quick) = field.quick() else {
                return Asks::All;
            };
            name.quick = name.quick.max(quick);
            if name.quick != Quick::Anything {
                asks = Asks::Names;
            }
        }
        asks
    }
}

/// Compiles the paths of one host, which binds `before`. Its pattern and fields are the caller's to set.
fn compile_paths<T>(
    paths: Vec<Path<T>>,
    before: &[u32],
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
    let (mut draft, mut order) = (Draft::new(), 0);
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
                let inserted = Inserted {
                    alternatives: &alternatives,
                    rule: place,
                    fields: &path.constraints,
                    before,
                };
                inserted.insert(&mut draft, &mut order, names);
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
    rule.trie = draft.build();
    rule
}
