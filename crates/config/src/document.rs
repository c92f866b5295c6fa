//! One TOML text, parsed, with the position of everything in it.

use crate::error::{Error, Errors};
use crate::origin::{Layer, Origin};
use crate::raw::{Entry, Node, Raw, Table};
use std::ops::Range;
use std::sync::Arc;
use toml_edit::{Item, TableLike};
use zeroize::Zeroizing;

/// One parsed text: the configuration file, the overrides, or what a command said.
#[derive(Clone)]
pub struct Document {
    pub(crate) layer: Layer,
    pub(crate) root: Table,
    pub(crate) origin: Origin,
}

impl Document {
    /// Parses the configuration file's text. `file_name` is what errors and origins call it; relative paths in the
    /// text are relative to its folder.
    ///
    /// # Errors
    ///
    /// The first fault of syntax, a key said twice among them.
    pub fn parse(file_name: &str, text: &str) -> Result<Document, Errors> {
        Document::parse_layer(Layer::File, file_name, text)
    }

    /// Parses the text of the overrides, the hot changes a node keeps.
    ///
    /// # Errors
    ///
    /// As [`Document::parse`].
    pub fn parse_overrides(file_name: &str, text: &str) -> Result<Document, Errors> {
        Document::parse_layer(Layer::Overrides, file_name, text)
    }

    /// Makes a document of `key=value` words given to a command. Keys may be dotted. The type of each value is
    /// decided by the option it is read for, so that `host=10` is a text where a text is wanted.
    ///
    /// # Errors
    ///
    /// Every word that is no `key=value`, every key that is no TOML key, every key given twice.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Document, Errors> {
        let mut errors = Errors::new();
        let mut root = Table::default();
        let fault = |path: &str, message: &str| Error::at(&Origin::command(), path, message);
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                errors.push(fault(word, "expected key=value"));
                continue;
            };
            let Ok(keys) = toml_edit::Key::parse(key.trim()) else {
                errors.push(fault(key, "not a key"));
                continue;
            };
            let keys: Vec<String> = keys.iter().map(|k| k.get().to_owned()).collect();
            let value = Raw::made(Node::Word(Zeroizing::new(value.trim().to_owned())));
            if !put_at(&mut root, &keys, value) {
                errors.push(fault(key, "given twice"));
            }
        }
        errors.or(Document {
            layer: Layer::Command,
            root,
            origin: Origin::command(),
        })
    }

    /// Gives a document that says nothing.
    pub fn empty() -> Document {
        Document {
            layer: Layer::Default,
            root: Table::default(),
            origin: Origin::default_value(),
        }
    }

    /// Gives the entries of the outermost table.
    pub fn root(&self) -> &Table {
        &self.root
    }

    fn parse_layer(layer: Layer, file_name: &str, text: &str) -> Result<Document, Errors> {
        let places = Places::new(layer, file_name, text);
        let parsed = match toml_edit::Document::parse(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let origin = places.origin(error.span().unwrap_or(text.len()..text.len()));
                return Err(Error::at(&origin, "", error.message()).into());
            }
        };
        let origin = places.origin(0..0);
        let root = places.table(parsed.as_table(), &origin);
        Ok(Document {
            layer,
            root,
            origin,
        })
    }
}

/// Puts `value` at the end of the path; false where something stands in the way.
fn put_at(table: &mut Table, path: &[String], value: Raw) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    let known = table.entries.iter().position(|entry| &entry.key == first);
    if rest.is_empty() {
        if known.is_some() {
            return false;
        }
        let origin = value.origin.clone();
        let key = first.clone();
        table.entries.push(Entry { key, origin, value });
        return true;
    }
    let index = known.unwrap_or_else(|| {
        table.entries.push(Entry {
            key: first.clone(),
            origin: Origin::command(),
            value: Raw::made(Node::Table(Table::default())),
        });
        table.entries.len() - 1
    });
    match &mut table.entries[index].value.node {
        Node::Table(below) => put_at(below, rest, value),
        _ => false,
    }
}

/// Turns byte offsets into lines and columns.
struct Places<'a> {
    layer: Layer,
    file: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(layer: Layer, file_name: &str, text: &'a str) -> Places<'a> {
        let after_newlines = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(i, _)| i + 1);
        Places {
            layer,
            file: Arc::from(file_name),
            text,
            line_starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        let mut offset = span.start.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let before = &self.text[self.line_starts[line - 1]..offset];
        Origin {
            layer: self.layer,
            file: self.file.clone(),
            line,
            column: before.chars().count() + 1,
        }
    }

    fn table(&self, table: &dyn TableLike, around: &Origin) -> Table {
        let mut read = Table::default();
        for (key, item) in table.iter() {
            let key_span = table.key(key).and_then(toml_edit::Key::span);
            let key_origin = match key_span.or_else(|| item.span()) {
                Some(span) => self.origin(span),
                None => around.clone(),
            };
            let Some(value) = self.item(item, &key_origin) else {
                continue;
            };
            read.entries.push(Entry {
                key: key.to_owned(),
                origin: key_origin,
                value,
            });
        }
        read
    }

    /// `around` is the position of an item that has none of its own, such as the `a` in `[a.b]`.
    fn item(&self, item: &Item, around: &Origin) -> Option<Raw> {
        let origin = match item.span() {
            Some(span) => self.origin(span),
            None => around.clone(),
        };
        let node = match item {
            Item::None => return None,
            Item::Value(value) => return Some(self.value(value, around)),
            Item::Table(table) => Node::Table(self.table(table, &origin)),
            Item::ArrayOfTables(tables) => Node::List(
                tables
                    .iter()
                    .map(|table| {
                        let origin = match table.span() {
                            Some(span) => self.origin(span),
                            None => origin.clone(),
                        };
                        let node = Node::Table(self.table(table, &origin));
                        Raw { node, origin }
                    })
                    .collect(),
            ),
        };
        Some(Raw { node, origin })
    }

    fn value(&self, value: &toml_edit::Value, around: &Origin) -> Raw {
        use toml_edit::Value;
        let origin = match value.span() {
            Some(span) => self.origin(span),
            None => around.clone(),
        };
        let node = match value {
            Value::String(text) => Node::Text(Zeroizing::new(text.value().clone())),
            Value::Integer(number) => Node::Integer(*number.value()),
            Value::Float(number) => Node::Float(*number.value()),
            Value::Boolean(truth) => Node::Bool(*truth.value()),
            Value::Datetime(when) => Node::Datetime(when.value().to_string()),
            Value::Array(elements) => {
                Node::List(elements.iter().map(|e| self.value(e, &origin)).collect())
            }
            Value::InlineTable(table) => Node::Table(self.table(table, &origin)),
        };
        Raw { node, origin }
    }
}

/// Reads `text` as one TOML value, as what follows `key =`.
pub(crate) fn parse_value(text: &str) -> Option<Raw> {
    let value: toml_edit::Value = text.trim().parse().ok()?;
    let places = Places::new(Layer::Command, "", "");
    Some(places.value(&value, &Origin::command()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layers;
    use crate::value::Value;
    use proptest::prelude::*;

    fn place(document: &Document, path: &[&str]) -> (usize, usize) {
        let mut table = document.root();
        let (last, way) = path.split_last().expect("a path");
        for step in way {
            table = table
                .get(step)
                .and_then(|e| e.value.as_table())
                .expect("a table");
        }
        let origin = &table.get(last).expect("an entry").value.origin;
        (origin.line, origin.column)
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "'é' = 1\na.b = 'x'\n\n[limits]\n  depth = 3\n[host.\"x.y\".m]\nk = [1, 2]\n";
        let Ok(document) = Document::parse("n.toml", text) else {
            panic!("well-formed")
        };
        assert_eq!(place(&document, &["é"]), (1, 7));
        assert_eq!(place(&document, &["a", "b"]), (2, 7));
        assert_eq!(place(&document, &["limits"]), (4, 1));
        assert_eq!(place(&document, &["limits", "depth"]), (5, 11));
        assert_eq!(place(&document, &["host", "x.y", "m"]), (6, 1));
        assert_eq!(place(&document, &["host", "x.y", "m", "k"]), (7, 5));
        assert_eq!(
            document.root().get("limits").map(|e| e.origin.column),
            Some(2)
        );
    }

    #[test]
    fn faults_of_syntax_have_a_place() {
        let told = |text| {
            Document::parse("n.toml", text)
                .err()
                .map(|e| e.to_string())
                .expect("refused")
        };
        let pairs = [
            ("a = 1\na = 2\n", "n.toml:2:1: duplicate key"),
            (
                "a = \n",
                "n.toml:1:5: string values must be quoted, expected literal string",
            ),
            ("[a\nb = 1\n", "n.toml:1:3: unclosed table, expected `]`"),
            (
                "\n\na = 'x",
                "n.toml:3:7: invalid literal string, expected `'`",
            ),
        ];
        for (text, message) in pairs {
            assert_eq!(told(text), message);
        }
    }

    #[test]
    fn words_of_a_command_make_tables() {
        let Ok(document) =
            Document::from_words(["host=echo.x", "limits.depth=3", "limits.name=a=b"])
        else {
            panic!("well-formed")
        };
        let section = Layers::new().command(document).section();
        assert_eq!(section.get::<String>("host"), Ok(Some("echo.x".into())));
        let limits = section.section("limits").expect("a table");
        assert_eq!(limits.get::<u32>("depth"), Ok(Some(3)));
        assert_eq!(limits.get::<String>("name"), Ok(Some("a=b".into())));
        assert_eq!(
            limits.raw("depth").map(|raw| raw.origin.to_string()),
            Some("command".into())
        );
    }

    #[test]
    fn bad_words_are_all_told() {
        let errors = Document::from_words(["x", "a=1", "a=2", "a.b=3", "=4"])
            .err()
            .expect("refused");
        assert_eq!(
            errors.to_string(),
            "command: x: expected key=value\ncommand: a: given twice\ncommand: a.b: given twice\ncommand: not a key"
        );
    }

    crate::options! {
        struct Any {
            a: Option<u8> [1..=9],
            b: Option<std::time::Duration>,
            c: Vec<String> = vec![],
            d: std::collections::BTreeMap<String, crate::Section>,
            e: Option<crate::Bytes>,
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_faulted_inside_it(text in "([a-e]( = |=|\\.)|[\\[\\]\"'{},\n #.=é0-9]|'5 s'|\\[d\\.x\\]\n|true){0,24}") {
            let read = Document::parse("n.toml", &text)
                .and_then(|document| Layers::new().file(document).section().read::<Any>());
            if let Err(errors) = read {
                prop_assert!(!errors.is_empty());
                let lines: Vec<&str> = text.split('\n').collect();
                for error in &errors {
                    prop_assert!((1..=lines.len()).contains(&error.line), "{error}");
                    prop_assert!((1..=lines[error.line - 1].chars().count() + 1).contains(&error.column), "{error}");
                }
            }
        }

        #[test]
        fn wild_text_never_panics(text in any::<String>()) {
            let _ = Document::parse("n.toml", &text).map(|document| Layers::new().file(document).section().read::<Any>());
            let _ = Document::from_words([text.as_str()]);
            let _ = std::time::Duration::from_text(&text);
            let _ = crate::Bytes::from_text(&text);
            let _ = Vec::<String>::from_text(&text);
        }
    }
}
