//! The way back: a path from a pattern and what it shall bind.

use super::constraint::{Field, Refused, Value};
use super::dispatch::{Dispatch, PathRule};
use super::pattern::{Alternative, Segment};
use super::target;

/// Why no path was built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The table has no path with that pattern.
    #[error("no path has the pattern {0:?}")]
    NoSuchPattern(String),
    /// No alternative of the pattern can be filled; the name that the shortest lacks.
    #[error("nothing is given for `:{0}`")]
    Missing(String),
    /// Segments for a rest, where the pattern has none.
    #[error("the pattern has no `[...]` for the rest")]
    NoRest,
    /// A value that does not go back to text.
    #[error("{name}: {why}")]
    NotReversible {
        /// The binding.
        name: String,
        /// Why not.
        why: String,
    },
    /// A value that the route's own constraints would refuse.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A segment that is removed from every request.
    #[error("a segment cannot be `.` or `..`")]
    DotSegment,
}

impl<T> Dispatch<T> {
    /// Builds the path that the first rule with `pattern` matches and that binds `values`: the alternative with the
    /// most names for which there is a value, and of those the shortest. `rest` becomes the rest. Values go backwards
    /// through the rule's constraints, and each segment is percent-encoded.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn build_path(
        &self,
        pattern: &str,
        values: &[(&str, Value)],
        rest: &[&str],
    ) -> Result<String, BuildError> {
        let mut rules = self.path_rules();
        let rule = rules
            .find(|rule| rule.pattern.as_deref() == Some(pattern))
            .ok_or_else(|| BuildError::NoSuchPattern(pattern.to_owned()))?;
        if pattern == "*" {
            return Ok("*".to_owned());
        }
        let given = |name: &str| values.iter().find(|(other, _)| *other == name);
        let missing = |alternative: &Alternative| {
            let mut names = names(alternative);
            names.find(|name| given(name).is_none()).map(str::to_owned)
        };
        let fits = |alternative: &&Alternative| rest.is_empty() || alternative.rest;
        let mut fitting = rule.alternatives.iter().filter(fits).peekable();
        let shortest = fitting.peek().ok_or(BuildError::NoRest)?;
        let lacks = missing(shortest);
        let best = fitting
            .filter(|alternative| missing(alternative).is_none())
            .reduce(|best, other| {
                if names(other).count() > names(best).count() {
                    other
                } else {
                    best
                }
            })
            .ok_or_else(|| BuildError::Missing(lacks.unwrap_or_default()))?;
        let mut path = String::new();
        let mut last_is_empty = false;
        let mut push = |bytes: &[u8]| {
            if bytes == b"." || bytes == b".." {
                return Err(BuildError::DotSegment);
            }
            path.push('/');
            encode(bytes, &mut path);
            last_is_empty = bytes.is_empty();
            Ok(())
        };
        for segment in &best.segments {
            match segment {
                Segment::Literal(text) => push(text.as_bytes())?,
                // Any segment will do.
                Segment::Any => push(b"_")?,
                Segment::Name(name) => {
                    let (_, value) = given(name).expect("none is missing");
                    push(&reversed(rule, name, value.clone())?)?;
                }
            }
        }
        rest.iter()
            .try_for_each(|segment| push(segment.as_bytes()))?;
        // One trailing slash adds nothing, so an empty segment at the end needs another.
        if path.is_empty() || last_is_empty {
            path.push('/');
        }
        Ok(path)
    }
}

fn names(alternative: &Alternative) -> impl Iterator<Item = &str> {
    alternative
        .segments
        .iter()
        .filter_map(|segment| match segment {
            Segment::Name(name) => Some(&**name),
            _ => None,
        })
}

/// The text of a value, which the rule's constraints take.
fn reversed<T>(rule: &PathRule<T>, name: &str, value: Value) -> Result<Vec<u8>, BuildError> {
    let not = |why: String| BuildError::NotReversible {
        name: name.to_owned(),
        why,
    };
    let fields: Vec<&Field> = rule
        .constraints
        .iter()
        .filter(|field| field.name() == name)
        .collect();
    let mut fields_back = fields.iter().rev();
    let text = fields_back.try_fold(value, |value, field| field.reverse(value).map_err(not))?;
    let bytes = match &text {
        Value::Bytes(bytes) => bytes.clone(),
        Value::Int(number) => number.to_string().into_bytes(),
        Value::Other(_) => return Err(not("no constraint turns it into text".to_owned())),
    };
    let sent = Value::Bytes(bytes.clone());
    fields
        .iter()
        .try_fold(sent, |value, field| field.forward(value))?;
    Ok(bytes)
}

fn encode(bytes: &[u8], path: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if target::is_host_byte(byte) || byte == b':' || byte == b'@' {
            path.push(char::from(byte));
        } else {
            path.push('%');
            path.push(char::from(HEX[usize::from(byte >> 4)]));
            path.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::{Host, Path, field};

    fn table() -> Dispatch<u32> {
        let host = Host::any()
            .path(Path::new("/hats/[page/[:number]]", 1).constrain(field("number").int()))
            .path(Path::new("/book/[:chapter]/[:page]", 2).constrain(field("page").nonempty()))
            .path(Path::new("/files/:user/[...]", 3))
            .path(Path::new("/", 4))
            .path(Path::new("*", 5));
        Dispatch::compile(vec![host]).expect("compiles")
    }

    #[test]
    fn what_is_built_is_matched() {
        let table = table();
        type Case<'a> = (&'a str, &'a [(&'a str, Value)], &'a [&'a str], &'a str);
        let cases: &[Case<'_>] = &[
            ("/hats/[page/[:number]]", &[], &[], "/hats"),
            (
                "/hats/[page/[:number]]",
                &[("number", Value::Int(-7))],
                &[],
                "/hats/page/-7",
            ),
            (
                "/book/[:chapter]/[:page]",
                &[("page", "é/?".into())],
                &[],
                "/book/%C3%A9%2F%3F",
            ),
            (
                "/files/:user/[...]",
                &[("user", "".into())],
                &[],
                "/files//",
            ),
            (
                "/files/:user/[...]",
                &[("user", "a b".into())],
                &["x", "", ""],
                "/files/a%20b/x///",
            ),
            ("/", &[], &[], "/"),
            ("*", &[], &[], "*"),
        ];
        for (pattern, values, rest, path) in cases {
            let built = table.build_path(pattern, values, rest);
            assert_eq!(built.as_deref(), Ok(*path));
            let found = table.find("", path).expect("matched");
            assert_eq!(found.patterns().1, Some(*pattern));
            for (name, value) in *values {
                let bound = found
                    .bindings()
                    .into_iter()
                    .find(|(bound, _)| &**bound == *name);
                assert_eq!(
                    bound.map(|(_, value)| value).as_ref(),
                    Some(value),
                    "{path}"
                );
            }
            if let Some(info) = found.path_info() {
                let rest: Vec<_> = rest.iter().map(|segment| segment.as_bytes()).collect();
                assert_eq!(info, rest, "{path}");
            }
        }
    }

    #[test]
    fn what_would_not_match_is_not_built() {
        let table = table();
        let build = |pattern: &str, values: &[(&str, Value)], rest: &[&str]| {
            table
                .build_path(pattern, values, rest)
                .expect_err("not built")
                .to_string()
        };
        let files = "/files/:user/[...]";
        assert_eq!(build("/x", &[], &[]), "no path has the pattern \"/x\"");
        assert_eq!(build(files, &[], &[]), "nothing is given for `:user`");
        assert_eq!(
            build("/", &[], &["x"]),
            "the pattern has no `[...]` for the rest"
        );
        assert_eq!(
            build(files, &[("user", "..".into())], &[]),
            "a segment cannot be `.` or `..`"
        );
        assert_eq!(
            build("/hats/[page/[:number]]", &[("number", "x".into())], &[]),
            "number: not_an_integer"
        );
        assert_eq!(
            build("/book/[:chapter]/[:page]", &[("page", "".into())], &[]),
            "page: empty"
        );
    }
}
