//! Sections: tables of values laid over one another, ready to be read.

use crate::declare::{Declared, Options, Reader};
use crate::document::Document;
use crate::error::{Error, Errors};
use crate::origin::{Layer, Origin};
use crate::print::join;
use crate::raw::{Entry, Node, Raw, Table};
use crate::value::Value;
use std::sync::Arc;

/// Documents in the order in which they win: what is added later covers what was said before.
#[derive(Clone, Default)]
pub struct Layers(Vec<Document>);

impl Layers {
    /// Gives no layer at all: every value is its default.
    pub fn new() -> Layers {
        Layers::default()
    }

    /// Adds the configuration file.
    #[must_use]
    pub fn file(self, file: Document) -> Layers {
        self.with(file)
    }

    /// Adds the hot changes a node keeps.
    #[must_use]
    pub fn overrides(self, overrides: Document) -> Layers {
        self.with(overrides)
    }

    /// Adds what a command said.
    #[must_use]
    pub fn command(self, words: Document) -> Layers {
        self.with(words)
    }

    /// Lays the documents over one another: tables are joined key by key, all else is covered whole. The order is
    /// that of [`Layer`], whatever the order of adding; within one layer the later wins.
    pub fn section(mut self) -> Section {
        self.0.sort_by_key(|document| document.layer);
        let origin = match self.0.iter().find(|document| document.layer == Layer::File) {
            Some(file) => file.origin.clone(),
            None => Origin::default_value(),
        };
        let mut table = Table::default();
        for document in &self.0 {
            table.lay(&document.root);
        }
        Section {
            path: String::new(),
            table,
            origin,
            host: None,
        }
    }

    fn with(mut self, document: Document) -> Layers {
        self.0.push(document);
        self
    }
}

/// One table of values, each with its origin; where it stands in the whole; and the host it is read for.
///
/// Has no `Debug`: it may hold secrets. As the type of an option it is a table whose keys are declared elsewhere.
#[derive(Clone)]
pub struct Section {
    path: String,
    table: Table,
    origin: Origin,
    host: Option<Arc<str>>,
}

impl Section {
    /// Gives a section in which nothing is said.
    pub fn empty(path: &str) -> Section {
        Section {
            path: path.to_owned(),
            table: Table::default(),
            origin: Origin::default_value(),
            host: None,
        }
    }

    /// Gives the table that stands at `path` as a section.
    ///
    /// # Errors
    ///
    /// It is no table.
    pub fn of(raw: &Raw, path: &str) -> Result<Section, Errors> {
        let Some(table) = raw.as_table() else {
            let message = format!("expected a table, found {}", raw.found());
            return Err(Error::at(&raw.origin, path, message).into());
        };
        Ok(Section {
            path: path.to_owned(),
            table: table.clone(),
            origin: raw.origin.clone(),
            host: None,
        })
    }

    /// The dotted path of this section; empty for the outermost.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where this section begins.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The host this section is read for.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The entries, in the order they were written.
    pub fn entries(&self) -> &[Entry] {
        &self.table.entries
    }

    /// Says whether nothing is said here.
    pub fn is_empty(&self) -> bool {
        self.table.entries.is_empty()
    }

    /// Gives the raw value of `key`, if it is said.
    pub fn raw(&self, key: &str) -> Option<&Raw> {
        self.table.get(key).map(|entry| &entry.value)
    }

    /// Reads the value of `key`, if it is said.
    ///
    /// # Errors
    ///
    /// The value is not of this type.
    pub fn get<T: Value>(&self, key: &str) -> Result<Option<T>, Errors> {
        let Some(raw) = self.raw(key) else {
            return Ok(None);
        };
        let value = T::check(raw, &join(&self.path, key))?;
        Ok(Some(match self.host() {
            Some(host) => value.for_host(host),
            None => value,
        }))
    }

    /// Gives the table under `key`; an empty section if it is not said.
    ///
    /// # Errors
    ///
    /// It is no table.
    pub fn section(&self, key: &str) -> Result<Section, Errors> {
        let path = join(&self.path, key);
        let mut section = match self.raw(key) {
            Some(raw) => Section::of(raw, &path)?,
            None => Section::empty(&path),
        };
        section.host = self.host.clone();
        Ok(section)
    }

    /// Gives this section without the named keys, for owners of a table who keep some keys for themselves.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Section {
        let mut rest = self.clone();
        rest.table
            .entries
            .retain(|entry| !keys.contains(&entry.key.as_str()));
        rest
    }

    /// Lays `over` over this section, key by key; the joined section keeps the place of `over` if that says anything.
    #[must_use]
    pub fn under(&self, over: &Section) -> Section {
        let mut joined = if over.is_empty() {
            self.clone()
        } else {
            over.clone()
        };
        joined.table = self.table.clone();
        joined.table.lay(&over.table);
        joined
    }

    /// Lays one value over what is said for `key`.
    pub fn put(&mut self, key: &str, value: Raw) {
        let (key, origin) = (key.to_owned(), value.origin.clone());
        self.table.put(Entry { key, origin, value });
    }

    /// Reads this section for one host: its name stands in the place of every `@HOST@`, in what was written and in
    /// defaults.
    #[must_use]
    pub fn for_host(&self, host: &str) -> Section {
        let mut section = self.clone();
        for entry in &mut section.table.entries {
            entry.value.substitute_host(host);
        }
        section.host = Some(Arc::from(host));
        section
    }

    /// Gives every word of a command the type the declared option wants, so that it can be kept in a file.
    #[must_use]
    pub fn resolve(&self, declared: &[Declared]) -> Section {
        let mut section = self.clone();
        for entry in &mut section.table.entries {
            if let Some(option) = declared.iter().find(|option| option.key == entry.key) {
                entry.value = option.resolve(&entry.value);
            }
        }
        section
    }

    /// Describes a fault of `key`, positioned where its value is written or else where the section begins.
    pub fn error(&self, key: &str, message: impl Into<String>) -> Error {
        let origin = self.raw(key).map_or(&self.origin, |raw| &raw.origin);
        Error::at(origin, &join(&self.path, key), message)
    }

    /// Begins to read the declared options of this section.
    pub fn reader(&self, declared: &'static [Declared]) -> Reader<'_> {
        Reader::new(self, declared)
    }

    /// Reads this section as `T`.
    ///
    /// # Errors
    ///
    /// All faults in it.
    pub fn read<T: Options>(&self) -> Result<T, Errors> {
        T::read(self)
    }
}

impl Value for Section {
    const TYPE: &'static str = "table";

    fn read(raw: &Raw) -> Result<Section, String> {
        Section::of(raw, "").map_err(|_| format!("expected a table, found {}", raw.found()))
    }

    fn show(&self) -> String {
        Raw::made(Node::Table(self.table.clone())).to_toml()
    }

    fn check(raw: &Raw, path: &str) -> Result<Section, Errors> {
        Section::of(raw, path)
    }

    fn for_host(self, host: &str) -> Section {
        Section::for_host(&self, host)
    }

    fn absent(_origin: &Origin, path: &str) -> Option<Result<Section, Errors>> {
        Some(Ok(Section::empty(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::options! {
        /// A service.
        #[derive(Debug, PartialEq)]
        struct Service {
            /// Where it answers.
            host: String = "echo.@HOST@".into(),
            /// Who may.
            friends: Vec<String> = vec!["admin@@HOST@".into()],
            /// How often.
            max: u32 [1..=1000] = 10,
        }
    }

    fn file(text: &str) -> Document {
        Document::parse("natter.toml", text).expect("well-formed")
    }

    fn overrides(text: &str) -> Document {
        Document::parse_overrides("data/overrides.toml", text).expect("well-formed")
    }

    fn origin(section: &Section, key: &str) -> String {
        section
            .raw(key)
            .map(|raw| raw.origin.to_string())
            .expect("said")
    }

    #[test]
    fn later_layers_win_and_values_know_theirs() {
        let words = Document::from_words(["c=3"]).expect("well-formed");
        let section = Layers::new()
            .command(words)
            .overrides(overrides("b = 2\nc = 2\n[t]\ny = 2\n"))
            .file(file(
                "a = 1\nb = 1\nc = 1\nlist = [1, 2]\n[t]\nx = 1\ny = 1\n",
            ))
            .section();
        assert_eq!(section.get::<u32>("a"), Ok(Some(1)));
        assert_eq!(section.get::<u32>("b"), Ok(Some(2)));
        assert_eq!(section.get::<u32>("c"), Ok(Some(3)));
        assert_eq!(section.get::<u32>("d"), Ok(None));
        assert_eq!(origin(&section, "a"), "natter.toml:1:5");
        assert_eq!(origin(&section, "b"), "overrides.toml");
        assert_eq!(origin(&section, "c"), "command");
        let table = section.section("t").expect("a table");
        assert_eq!(
            (table.get::<u32>("x"), table.get::<u32>("y")),
            (Ok(Some(1)), Ok(Some(2)))
        );
        assert_eq!(origin(&table, "y"), "overrides.toml");
    }

    #[test]
    fn a_list_is_covered_whole() {
        let section = Layers::new()
            .file(file("l = [1, 2]\n"))
            .overrides(overrides("l = [3]\n"))
            .section();
        assert_eq!(section.get::<Vec<u32>>("l"), Ok(Some(vec![3])));
    }

    #[test]
    fn hosts_are_filled_in_written_and_default_texts() {
        let section = Layers::new()
            .file(file("friends = ['x@@HOST@', 'y']\n"))
            .section();
        let read: Service = section.for_host("a.example").read().expect("no fault");
        assert_eq!(read.host, "echo.a.example");
        assert_eq!(read.friends, ["x@a.example", "y"]);
        let read = Section::empty("")
            .for_host("b.example")
            .read::<Service>()
            .expect("no fault");
        assert_eq!(read.friends, ["admin@b.example"]);
    }

    #[test]
    fn one_table_lies_over_another() {
        let root = Layers::new()
            .file(file(
                "[m]\nmax = 5\nhost = 'x'\n[h.m]\nmax = 6\nenabled = true\n",
            ))
            .section();
        let general = root.section("m").expect("a table");
        let special = root
            .section("h")
            .and_then(|h| h.section("m"))
            .expect("a table");
        let joined = general.under(&special);
        assert_eq!(joined.path(), "h.m");
        assert_eq!(joined.get::<bool>("enabled"), Ok(Some(true)));
        let read: Service = joined.without(&["enabled"]).read().expect("no fault");
        assert_eq!((read.max, read.host.as_str()), (6, "x"));
        assert_eq!(origin(&joined, "host"), "natter.toml:3:8");
        assert_eq!(general.under(&Section::empty("h.m")).path(), "m");
    }

    #[test]
    fn owners_of_a_section_can_place_their_own_faults() {
        let root = Layers::new().file(file("[m]\nhost = 'x'\n")).section();
        let section = root.section("m").expect("a table");
        assert_eq!(
            section.error("host", "is taken").to_string(),
            "natter.toml:2:8: m.host: is taken"
        );
        assert_eq!(
            section.error("max", "is missing").to_string(),
            "natter.toml:1:1: m.max: is missing"
        );
        let fault = root
            .section("m")
            .and_then(|m| m.section("host"))
            .err()
            .expect("no table");
        assert_eq!(
            fault.to_string(),
            "natter.toml:2:8: m.host: expected a table, found text \"x\""
        );
    }

    #[test]
    fn words_are_given_their_type_before_they_are_kept() {
        let words = Document::from_words(["max=5", "host=10", "friends=a,b"]).expect("well-formed");
        let section = Layers::new()
            .command(words)
            .section()
            .resolve(Service::declared());
        let kept: Vec<String> = section
            .entries()
            .iter()
            .map(|e| e.value.to_toml())
            .collect();
        assert_eq!(kept, ["5", "\"10\"", "[\"a\", \"b\"]"]);
    }
}
