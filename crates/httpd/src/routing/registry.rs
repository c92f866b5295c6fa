//! A table that grows and shrinks while it is served: groups of hosts, each under its owner's name.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::pattern::{Alternative, Kind, Segment, parse};
use super::{CompileErrors, Dispatch, Host, Path};

/// The groups of a table, and the compiled table that is served. Clones are the same.
///
/// Groups stand in the order of their place, low first, then of their addition. Hosts of one pattern are joined into
/// one rule where neither has constraints. Named hosts stand before any host, and paths under
/// [`Host::any`] are reached on every named host too, behind its own: the host decision is final, and one module's
/// host must not hide another's path.
pub struct Routes<T = crate::Endpoint>(Arc<Inner<T>>);

struct Inner<T> {
    groups: Mutex<Vec<Group<T>>>,
    served: Arc<ArcSwap<Dispatch<T>>>,
}

#[derive(Clone)]
struct Group<T> {
    owner: String,
    place: i32,
    hosts: Vec<Host<T>>,
}

/// Why a change of the routes was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutesError {
    /// The owner has a group already.
    #[error("{0} has routes already")]
    Present(String),
    /// A path that another owner's path hides, so that it could never be reached.
    #[error("the path {path} of {owner} is taken by {by} on the host {host}")]
    Conflict {
        /// Whose path could not be reached.
        owner: String,
        /// The path's pattern.
        path: String,
        /// The host's pattern.
        host: String,
        /// Who has it.
        by: String,
    },
    /// The table does not compile.
    #[error(transparent)]
    Compile(#[from] CompileErrors),
}

/// A host's rule with the owners of its paths.
struct Joined<T> {
    pattern: Option<String>,
    constraints: Vec<super::Field>,
    paths: Vec<(String, Path<T>)>,
}

impl<T: Clone> Routes<T> {
    /// Routes that are served by nobody but [`current`](Self::current).
    pub fn detached() -> Routes<T> {
        Routes::over(Arc::new(ArcSwap::from_pointee(Dispatch::default())))
    }

    /// Routes that are served from `cell`.
    pub(crate) fn over(served: Arc<ArcSwap<Dispatch<T>>>) -> Routes<T> {
        Routes(Arc::new(Inner {
            groups: Mutex::default(),
            served,
        }))
    }

    /// Adds a group of hosts under `owner`, at `place`; requests after it find them.
    ///
    /// # Errors
    ///
    /// [`RoutesError`]; then nothing has changed.
    pub fn add(
        &self,
        owner: impl Into<String>,
        place: i32,
        hosts: Vec<Host<T>>,
    ) -> Result<(), RoutesError> {
        let owner = owner.into();
        let mut groups = self.0.groups.lock();
        if groups.iter().any(|group| group.owner == owner) {
            return Err(RoutesError::Present(owner));
        }
        self.install(
            &mut groups,
            Group {
                owner,
                place,
                hosts,
            },
        )
    }

    /// Puts a group in the place of the one that `owner` has, if any.
    ///
    /// # Errors
    ///
    /// [`RoutesError`]; then nothing has changed.
    pub fn replace(
        &self,
        owner: impl Into<String>,
        place: i32,
        hosts: Vec<Host<T>>,
    ) -> Result<(), RoutesError> {
        let owner = owner.into();
        let mut groups = self.0.groups.lock();
        self.install(
            &mut groups,
            Group {
                owner,
                place,
                hosts,
            },
        )
    }

    fn install(&self, groups: &mut Vec<Group<T>>, group: Group<T>) -> Result<(), RoutesError> {
        let mut changed = groups.clone();
        changed.retain(|other| other.owner != group.owner);
        let at = changed.partition_point(|other| other.place <= group.place);
        changed.insert(at, group);
        self.serve(&changed)?;
        *groups = changed;
        Ok(())
    }

    /// Removes the group of `owner`; tells whether there was one. Requests under way finish on it.
    pub fn remove(&self, owner: &str) -> bool {
        let mut groups = self.0.groups.lock();
        let mut changed = groups.clone();
        changed.retain(|group| group.owner != owner);
        if changed.len() == groups.len() {
            return false;
        }
        // What compiled together compiles without one of its parts.
        self.serve(&changed)
            .expect("a part of what was served can be served");
        *groups = changed;
        true
    }

    /// The owners, in the order of their groups.
    pub fn owners(&self) -> Vec<String> {
        self.0
            .groups
            .lock()
            .iter()
            .map(|group| group.owner.clone())
            .collect()
    }

    /// The table as it is served now.
    pub fn current(&self) -> Arc<Dispatch<T>> {
        self.0.served.load_full()
    }

    fn serve(&self, groups: &[Group<T>]) -> Result<(), RoutesError> {
        let (mut named, any) = join(groups);
        // What does not compile is told before what is in its way.
        let everywhere: Vec<_> = any.iter().flat_map(|host| host.paths.clone()).collect();
        let conflict = named.iter().chain(&any).try_for_each(conflict);
        for host in &mut named {
            host.paths.extend(everywhere.iter().cloned());
        }
        let hosts = named.into_iter().chain(any).map(|host| Host {
            pattern: host.pattern,
            constraints: host.constraints,
            paths: host.paths.into_iter().map(|(_, path)| path).collect(),
        });
        let dispatch = Dispatch::compile(hosts.collect())?;
        conflict?;
        self.0.served.store(Arc::new(dispatch));
        Ok(())
    }
}

/// The groups as one table: the named hosts, and any host.
fn join<T: Clone>(groups: &[Group<T>]) -> (Vec<Joined<T>>, Vec<Joined<T>>) {
    let (mut named, mut any): (Vec<Joined<T>>, Vec<Joined<T>>) = Default::default();
    for group in groups {
        for host in &group.hosts {
            let list = if host.pattern.is_some() {
                &mut named
            } else {
                &mut any
            };
            let paths = host
                .paths
                .iter()
                .map(|path| (group.owner.clone(), path.clone()));
            let is_plain = host.constraints.is_empty();
            let same = |other: &&mut Joined<T>| {
                is_plain && other.constraints.is_empty() && is_same(&other.pattern, &host.pattern)
            };
            match list.iter_mut().find(same) {
                Some(joined) => joined.paths.extend(paths),
                None => list.push(Joined {
                    pattern: host.pattern.clone(),
                    constraints: host.constraints.clone(),
                    paths: paths.collect(),
                }),
            }
        }
    }
    (named, any)
}

fn is_same(one: &Option<String>, other: &Option<String>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => match (parse(Kind::Host, one), parse(Kind::Host, other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => one == other,
        },
        (None, None) => true,
        _ => false,
    }
}

/// What a path takes where nothing restricts it: the shapes of its alternatives, names put aside.
#[derive(PartialEq)]
enum Shape {
    All,
    Star,
    Segments(Alternative),
}

fn shapes<T>(path: &Path<T>) -> Vec<Shape> {
    let bare = |segment| match segment {
        Segment::Name(_) => Segment::Any,
        other => other,
    };
    match path.pattern.as_deref() {
        None => vec![Shape::All],
        Some("*") => vec![Shape::Star],
        Some(pattern) => parse(Kind::Path, pattern)
            .unwrap_or_default()
            .into_iter()
            .map(|alternative| {
                Shape::Segments(Alternative {
                    segments: alternative.segments.into_iter().map(bare).collect(),
                    rest: alternative.rest,
                })
            })
            .collect(),
    }
}

/// Whether a path takes all that has its shapes: no constraint and no name that must be equal to another.
fn takes_all<T>(host: &Joined<T>, path: &Path<T>) -> bool {
    let read = |kind, pattern: &Option<String>| {
        let parsed = pattern
            .as_deref()
            .map(|pattern| parse(kind, pattern).unwrap_or_default());
        parsed.unwrap_or_default()
    };
    let of_host = read(Kind::Host, &host.pattern);
    let is_free = |alternative: &Alternative| {
        let named = |segment: &&Segment| matches!(segment, Segment::Name(_));
        let names: Vec<_> = alternative.segments.iter().filter(named).collect();
        let mut of_host = of_host.iter().flat_map(|host| &host.segments);
        let repeats = |(at, name): (usize, &&Segment)| names[..at].contains(name);
        !names.iter().enumerate().any(repeats) && !of_host.any(|segment| names.contains(&segment))
    };
    path.constraints.is_empty() && read(Kind::Path, &path.pattern).iter().all(is_free)
}

/// Whether a path of one owner is hidden by a path of another that stands before it on the same host.
fn conflict<T>(host: &Joined<T>) -> Result<(), RoutesError> {
    let mut before: Vec<(&str, Vec<Shape>)> = Vec::new();
    for (owner, path) in &host.paths {
        let shapes = shapes(path);
        let hides = |(by, taken): &&(&str, Vec<Shape>)| {
            let all = taken.contains(&Shape::All);
            *by != owner && (all || shapes.iter().any(|shape| taken.contains(shape)))
        };
        if let Some((by, _)) = before.iter().find(hides) {
            let shown =
                |pattern: &Option<String>| pattern.clone().unwrap_or_else(|| "any".to_owned());
            return Err(RoutesError::Conflict {
                owner: owner.clone(),
                path: shown(&path.pattern),
                host: shown(&host.pattern),
                by: (*by).to_owned(),
            });
        }
        if takes_all(host, path) {
            before.push((owner, shapes));
        }
    }
    Ok(())
}

impl<T> Clone for Routes<T> {
    fn clone(&self) -> Routes<T> {
        Routes(self.0.clone())
    }
}

impl<T> fmt::Debug for Routes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.0.groups.lock();
        f.debug_list()
            .entries(groups.iter().map(|group| &group.owner))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::field;

    fn any(paths: &[(&str, u32)]) -> Vec<Host<u32>> {
        vec![on(None, paths)]
    }

    fn on(host: Option<&str>, paths: &[(&str, u32)]) -> Host<u32> {
        let host = host.map_or_else(Host::any, Host::new);
        host.paths(paths.iter().map(|(path, target)| Path::new(*path, *target)))
    }

    fn found(routes: &Routes<u32>, host: &str, path: &str) -> Option<u32> {
        routes
            .current()
            .find(host, path)
            .ok()
            .map(|found| *found.target())
    }

    #[test]
    fn groups_come_and_go() {
        let routes = Routes::detached();
        routes
            .add("b", 0, any(&[("/b", 2), ("/:x", 20)]))
            .expect("added");
        routes.add("a", -1, any(&[("/a", 1)])).expect("added");
        assert_eq!(routes.owners(), ["a", "b"]);
        assert_eq!(found(&routes, "h", "/a"), Some(1));
        let held = routes.current();
        assert!(routes.remove("a") && !routes.remove("a"));
        assert_eq!(found(&routes, "h", "/a"), Some(20));
        assert!(
            held.find("h", "/a").is_ok_and(|found| *found.target() == 1),
            "the old table lives on"
        );
        routes.replace("b", 0, any(&[("/c", 3)])).expect("replaced");
        assert_eq!(found(&routes, "h", "/b"), None);
        assert_eq!(found(&routes, "h", "/c"), Some(3));
    }

    #[test]
    fn hosts_are_joined_and_paths_of_any_host_are_everywhere() {
        let routes = Routes::detached();
        routes
            .add("pages", 10, any(&[("/ws", 1), ("/own", 2)]))
            .expect("added");
        routes
            .add("x", 20, vec![on(Some("A.example"), &[("/x", 3)])])
            .expect("added");
        routes
            .add(
                "y",
                30,
                vec![on(Some("a.example."), &[("/y", 4), ("/own", 5)])],
            )
            .expect("added");
        for (host, path, target) in [
            ("a.example", "/x", Some(3)),
            ("a.example", "/y", Some(4)),
            ("a.example", "/ws", Some(1)),
            ("a.example", "/own", Some(5)),
            ("b.example", "/own", Some(2)),
            ("b.example", "/x", None),
        ] {
            assert_eq!(found(&routes, host, path), target, "{host}{path}");
        }
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let routes = Routes::detached();
        let limited = Host::any().path(Path::new("/n/:n", 9).constrain(field("n").int()));
        routes
            .add("a", 0, any(&[("/a/[:b]", 1), ("/same/:x/:x", 2)]))
            .expect("added");
        routes.add("limited", 1, vec![limited]).expect("added");
        let text = |error: RoutesError| error.to_string();
        let hidden = routes
            .add("b", 5, any(&[("/c", 2), ("/a/:other", 2)]))
            .map_err(text);
        let said = "the path /a/:other of b is taken by a on the host any";
        assert_eq!(hidden, Err(said.to_owned()));
        let before = routes.add("b", -5, any(&[("/a", 2)])).map_err(text);
        let said = "the path /a/[:b] of a is taken by b on the host any";
        assert_eq!(before, Err(said.to_owned()));
        let again = routes.add("a", 5, any(&[("/c", 2)])).map_err(text);
        assert_eq!(again, Err("a has routes already".to_owned()));
        let broken = routes.add("b", 5, any(&[("/c", 2), ("/[d", 2)]));
        assert!(matches!(broken, Err(RoutesError::Compile(_))), "{broken:?}");
        let all = vec![Host::any().path(Path::any_target(7))];
        assert!(matches!(
            routes.add("all", -9, all.clone()),
            Err(RoutesError::Conflict { .. })
        ));
        assert_eq!(found(&routes, "h", "/c"), None);
        assert_eq!(routes.owners(), ["a", "limited"]);
        // Restricted paths hide nothing.
        routes
            .add("c", 5, any(&[("/same/:x/:y", 4), ("/n/:name", 5)]))
            .expect("added");
        routes.add("all", 9, all).expect("added");
        assert_eq!(found(&routes, "h", "/same/1/2"), Some(4));
        assert_eq!(found(&routes, "h", "/n/x"), Some(5));
        assert_eq!(found(&routes, "h", "/else"), Some(7));
    }
}
