//! Options declared as data.

use crate::document::parse_value;
use crate::error::{Error, Errors};
use crate::nearest::nearest;
use crate::origin::Origin;
use crate::print::join;
use crate::range::{Ranged, in_words};
use crate::raw::{Node, Raw};
use crate::section::Section;
use crate::value::Value;
use std::ops::{Bound, RangeBounds};

/// When a change of an option takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// As soon as the configuration is reloaded.
    Live,
    /// For connections that are opened after the reload.
    NewConnections,
    /// When the node is started again.
    Restart,
}

impl Reload {
    /// Says it in the words of the reference page.
    pub fn name(self) -> &'static str {
        match self {
            Reload::Live => "live",
            Reload::NewConnections => "new connections",
            Reload::Restart => "restart",
        }
    }
}

/// How often the options of a nested table can stand under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Once: `[key]`.
    One,
    /// Any number of times: `[[key]]`.
    List,
    /// Once for each name: `[key.NAME]`.
    Map,
}

/// The options a value holds itself.
#[derive(Clone, Copy)]
pub struct Nested {
    /// How often they can stand under the key.
    pub shape: Shape,
    /// What is declared.
    pub declared: fn() -> &'static [Declared],
    /// What the options are for, in one sentence or a few.
    pub doc: fn() -> &'static str,
}

impl Nested {
    /// The same options, in a list or a map.
    pub(crate) fn within(self, shape: Shape) -> Nested {
        Nested { shape, ..self }
    }
}

/// One option, declared: all that can be said of it without reading a file.
pub struct Declared {
    /// The key.
    pub key: &'static str,
    /// What its type is called.
    pub type_name: String,
    /// The range of its values, in words.
    pub range: Option<String>,
    /// Its default as it would be written; `None` for one that is absent or must be written.
    pub default: Option<String>,
    /// Whether it must be written.
    pub required: bool,
    /// Whether its value must not be printed.
    pub secret: bool,
    /// What it is for.
    pub doc: &'static str,
    /// When a change takes effect.
    pub reload: Reload,
    /// The options it holds itself.
    pub nested: Option<Nested>,
    show: fn(&Raw) -> String,
    resolve: fn(&str) -> Raw,
}

impl Declared {
    /// Declares an option of type `T`; the macro [`options!`](crate::options) does this.
    #[doc(hidden)]
    pub fn new<T: Value>(
        key: &'static str,
        doc: &'static str,
        default: Option<T>,
        range: Option<String>,
        reload: Reload,
    ) -> Declared {
        let absent = T::absent(&Origin::default_value(), key);
        Declared {
            key,
            type_name: T::type_name(),
            range,
            required: default.is_none() && absent.is_none(),
            default: default
                .as_ref()
                .map(T::show)
                .filter(|text| !text.is_empty()),
            secret: T::SECRET,
            doc,
            reload,
            nested: T::nested(),
            show: show_raw::<T>,
            resolve: T::resolve,
        }
    }

    /// Prints a written value of this option as TOML; `***` for a secret.
    pub fn show(&self, raw: &Raw) -> String {
        (self.show)(raw)
    }

    /// Gives a word of a command the type this option wants; other values stay as they are.
    pub fn resolve(&self, raw: &Raw) -> Raw {
        match &raw.node {
            Node::Word(word) => Raw {
                node: (self.resolve)(word).node,
                origin: raw.origin.clone(),
            },
            Node::Table(table) => {
                let Some(nested) = self.nested.filter(|nested| nested.shape == Shape::One) else {
                    return raw.clone();
                };
                let mut table = table.clone();
                for entry in &mut table.entries {
                    if let Some(option) = (nested.declared)().iter().find(|d| d.key == entry.key) {
                        entry.value = option.resolve(&entry.value);
                    }
                }
                Raw {
                    node: Node::Table(table),
                    origin: raw.origin.clone(),
                }
            }
            _ => raw.clone(),
        }
    }
}

fn show_raw<T: Value>(raw: &Raw) -> String {
    match T::check(raw, "") {
        Ok(value) => value.show(),
        Err(_) if T::SECRET => "***".to_owned(),
        Err(_) => raw.to_toml(),
    }
}

/// A set of options, declared as data. Written with [`options!`](crate::options).
pub trait Options: Sized + Clone + Send + Sync + 'static {
    /// The options of the set, in the order they are documented.
    fn declared() -> &'static [Declared];

    /// Reads the options from a section: what is not written there has its default.
    ///
    /// # Errors
    ///
    /// Every unknown key, wrong type, value out of range and missing required key.
    fn read(section: &Section) -> Result<Self, Errors>;

    /// What the set is for.
    fn doc() -> &'static str {
        ""
    }

    /// Each key with its value as it would be written, absent ones left out; secrets as `***`.
    fn shown(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Puts the host's name in the place of `@HOST@` in every text.
    #[must_use]
    fn for_host(self, _host: &str) -> Self {
        self
    }

    /// Reads the set where nothing is written.
    ///
    /// # Errors
    ///
    /// A required option has no default.
    fn defaults() -> Result<Self, Errors> {
        Self::read(&Section::empty(""))
    }
}

/// A set of options is itself a value: a nested table.
impl<O: Options> Value for O {
    const TYPE: &'static str = "table";

    fn read(raw: &Raw) -> Result<O, String> {
        Self::check(raw, "").map_err(|errors| errors.to_string())
    }

    fn show(&self) -> String {
        let shown: Vec<String> = self
            .shown()
            .iter()
            .map(|(key, text)| format!("{key} = {text}"))
            .collect();
        if shown.is_empty() {
            return "{}".to_owned();
        }
        format!("{{ {} }}", shown.join(", "))
    }

    fn resolve(text: &str) -> Raw {
        parse_value(text).unwrap_or_else(|| Raw::text(text))
    }

    fn check(raw: &Raw, path: &str) -> Result<O, Errors> {
        let resolved = match &raw.node {
            Node::Word(word) => &Self::resolve(word),
            _ => raw,
        };
        O::read(&Section::of(resolved, path)?)
    }

    fn for_host(self, host: &str) -> O {
        Options::for_host(self, host)
    }

    fn absent(origin: &Origin, path: &str) -> Option<Result<O, Errors>> {
        let nothing = Raw {
            node: Node::Table(crate::raw::Table::default()),
            origin: origin.clone(),
        };
        Some(Self::check(&nothing, path))
    }

    fn nested() -> Option<Nested> {
        Some(Nested {
            shape: Shape::One,
            declared: O::declared,
            doc: O::doc,
        })
    }
}

/// No options: any key is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoOpts;

impl Options for NoOpts {
    fn declared() -> &'static [Declared] {
        &[]
    }

    fn read(section: &Section) -> Result<NoOpts, Errors> {
        section.reader(&[]).finish()?;
        Ok(NoOpts)
    }
}

/// Reads the options of one section, collecting every fault.
pub struct Reader<'a> {
    section: &'a Section,
    declared: &'static [Declared],
    errors: Errors,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(section: &'a Section, declared: &'static [Declared]) -> Reader<'a> {
        Reader {
            section,
            declared,
            errors: Errors::new(),
        }
    }

    /// Reads one option; `None` when a fault was noted.
    pub fn value<T: Value>(&mut self, key: &str, default: Option<impl FnOnce() -> T>) -> Option<T> {
        let path = join(self.section.path(), key);
        let read = match (self.section.raw(key), default) {
            (Some(raw), _) => T::check(raw, &path),
            (None, Some(default)) => Ok(default()),
            (None, None) => T::absent(self.section.origin(), &path).unwrap_or_else(|| {
                let message = "required key is missing";
                Err(Error::at(self.section.origin(), &path, message).into())
            }),
        };
        match read {
            Ok(value) => Some(match self.section.host() {
                Some(host) => value.for_host(host),
                None => value,
            }),
            Err(faults) => {
                self.errors.extend(faults);
                None
            }
        }
    }

    /// Reads one option whose values lie in a range; `None` when a fault was noted. Defaults are not asked.
    pub fn ranged<T: Ranged>(
        &mut self,
        key: &str,
        default: Option<impl FnOnce() -> T>,
        range: impl RangeBounds<T::Bound>,
    ) -> Option<T> {
        let value = self.value(key, default)?;
        let Some(raw) = self.section.raw(key) else {
            return Some(value);
        };
        let Some((place, shown)) = value.outside(Some(raw), &range) else {
            return Some(value);
        };
        let words = in_words(&range);
        let message = match (range.start_bound(), range.end_bound()) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => format!("{shown} is not {words}"),
            _ => format!("{shown} is outside {words}"),
        };
        let origin = &place.unwrap_or(raw).origin;
        self.errors
            .push(Error::at(origin, &join(self.section.path(), key), message));
        None
    }

    /// Ends the reading: keys that are not declared are faults too.
    ///
    /// # Errors
    ///
    /// Every fault noted, in the order of the text.
    pub fn finish(mut self) -> Result<(), Errors> {
        for entry in self.section.entries() {
            if self.declared.iter().any(|option| option.key == entry.key) {
                continue;
            }
            let what = match entry.value.node {
                Node::Table(_) => "unknown table",
                _ => "unknown key",
            };
            let path = join(self.section.path(), &entry.key);
            let meant = nearest(&entry.key, self.declared.iter().map(|option| option.key));
            self.errors
                .push(Error::at(&entry.origin, &path, what).suggest(meant));
        }
        self.errors.or(())
    }
}

/// Joins the lines of a doc comment to one text.
#[doc(hidden)]
pub fn doc_text(lines: &str) -> String {
    let lines: Vec<&str> = lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

/// Says which words were expected.
#[doc(hidden)]
pub fn expected_one_of<'a>(words: impl Iterator<Item = &'a str>, raw: &Raw) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    let list = match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    };
    format!("expected {list}, found {}", raw.found())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, Document, Layers, Secret};
    use std::collections::BTreeMap;
    use std::time::Duration;

    crate::choice! {
        /// Whether a stream is encrypted.
        enum Tls {
            /// Before anything else.
            Required = "required",
            /// If the peer wants.
            Optional = "optional",
            /// Never.
            Off = "off",
        }
    }

    crate::options! {
        /// One listener.
        struct Listener {
            /// Where.
            address: Vec<std::net::SocketAddr>,
            /// Whether encrypted.
            tls: Tls = Tls::Required => NewConnections,
        }
    }

    crate::options! {
        /// Bounds.
        struct Limits {
            /// Bytes of
            /// one stanza.
            stanza_bytes: Bytes [Bytes::kib(1)..=Bytes::mib(16)] = Bytes::kib(256),
            /// Silence.
            idle: Option<Duration> [Duration::from_secs(1)..],
        }
    }

    crate::options! {
        /// All.
        struct Root {
            /// Served.
            hosts: Vec<String>,
            /// Doors.
            listener: Vec<Listener> = vec![] => Restart,
            /// Bounds.
            limits: Limits,
            /// A word of the language.
            r#type: u8 [..=9] = 1,
            /// Opened with.
            key: Option<Secret>,
            /// Services.
            modules: BTreeMap<String, Section>,
            /// By name.
            host: BTreeMap<String, Limits>,
        }
    }

    fn read(text: &str) -> Result<Root, Errors> {
        let file = Document::parse("n.toml", text)?;
        Layers::new().file(file).section().read()
    }

    fn faults(text: &str) -> Vec<String> {
        let errors = read(text).err().expect("refused");
        errors.iter().map(Error::to_string).collect()
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let root = read("hosts = 'a.example'\n").expect("no fault");
        assert_eq!(root.hosts, ["a.example"]);
        assert!(root.listener.is_empty() && root.modules.is_empty() && root.host.is_empty());
        assert_eq!(root.limits.stanza_bytes, Bytes::kib(256));
        assert_eq!(
            (root.limits.idle, root.r#type, root.key.is_none()),
            (None, 1, true)
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let text = "
            hosts = ['a', 'b']
            type = 7
            key = 'k'
            [[listener]]
            address = '127.0.0.1:5222'
            [[listener]]
            address = ['127.0.0.1:5223', '[::1]:5223']
            tls = 'off'
            [limits]
            idle = '5 s'
            [modules.mod_x]
            anything = 1
            [host.'a.b']
            stanza_bytes = '1 MiB'
        ";
        let root = read(text).expect("no fault");
        assert_eq!(root.listener.len(), 2);
        assert_eq!(
            (root.listener[0].tls, root.listener[1].tls),
            (Tls::Required, Tls::Off)
        );
        assert_eq!(root.listener[1].address.len(), 2);
        assert_eq!(
            (root.limits.idle, root.r#type),
            (Some(Duration::from_secs(5)), 7)
        );
        assert_eq!(root.key.as_ref().map(Secret::expose), Some("k"));
        assert_eq!(root.modules["mod_x"].path(), "modules.mod_x");
        assert_eq!(root.host["a.b"].stanza_bytes, Bytes::mib(1));
        let shown: Vec<String> = root
            .shown()
            .iter()
            .map(|(key, text)| format!("{key}={text}"))
            .collect();
        assert_eq!(
            shown[2..5],
            [
                "limits={ stanza_bytes = \"256 KiB\", idle = \"5 s\" }",
                "type=7",
                "key=***"
            ]
        );
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let text = "\
hosts = [1, 'a', true]
tpye = 3
type = 10
key = 5
[[listener]]
tls = 'requird'
address = ['127.0.0.1', '127.0.0.1:1']
[[listener]]
[limits]
stanza_bytes = '1 B'
idle = '5 sec'
[limist]
x = 1
[host.'a.b']
idle = '0 s'
";
        let expected = [
            "n.toml:1:10: hosts[0]: expected text, found the number 1",
            "n.toml:1:18: hosts[2]: expected text, found true",
            "n.toml:2:1: tpye: unknown key (did you mean `type`?)",
            "n.toml:3:8: type: 10 is not at most 9",
            "n.toml:4:7: key: expected text (a secret)",
            "n.toml:6:7: listener[0].tls: expected \"required\", \"optional\" or \"off\", found text \"requird\" \
             (did you mean `required`?)",
            "n.toml:7:12: listener[0].address[0]: expected an address with a port such as \"127.0.0.1:5222\" \
             or \"[::1]:5222\", found text \"127.0.0.1\"",
            "n.toml:8:1: listener[1].address: required key is missing",
            "n.toml:10:16: limits.stanza_bytes: \"1 B\" is outside \"1 KiB\" to \"16 MiB\"",
            "n.toml:11:8: limits.idle: unknown unit \"sec\" (units: ms, s, min, h, d)",
            "n.toml:12:2: limist: unknown table (did you mean `limits`?)",
            "n.toml:15:8: host.\"a.b\".idle: \"0 s\" is not at least \"1 s\"",
        ];
        assert_eq!(faults(text), expected);
    }

    #[test]
    fn tables_and_values_are_not_confused() {
        assert_eq!(
            faults("hosts = []\nlimits = 3\n[listener]\naddress = []\n"),
            [
                "n.toml:2:10: limits: expected a table, found the number 3",
                "n.toml:3:1: listener: expected an array of tables, written [[listener]]",
            ]
        );
        assert_eq!(faults(""), ["n.toml:1:1: hosts: required key is missing"]);
    }

    #[test]
    fn declarations_say_what_there_is() {
        let limits = Limits::declared();
        assert_eq!(limits[0].doc, "Bytes of one stanza.");
        assert_eq!(limits[0].range.as_deref(), Some("\"1 KiB\" to \"16 MiB\""));
        assert_eq!(limits[0].default.as_deref(), Some("\"256 KiB\""));
        assert_eq!(
            (limits[1].default.as_deref(), limits[1].required),
            (None, false)
        );
        assert_eq!(Limits::doc(), "Bounds.");
        let listener = Listener::declared();
        assert_eq!(listener[0].type_name, "list of address:port");
        assert!(listener[0].required);
        assert_eq!(
            listener[1].type_name,
            "\"required\" | \"optional\" | \"off\""
        );
        assert_eq!(
            (listener[0].reload, listener[1].reload),
            (Reload::Live, Reload::NewConnections)
        );
    }

    #[test]
    fn no_options_means_none() {
        let file = Document::parse("n.toml", "x = 1\n").expect("well-formed");
        let told = Layers::new()
            .file(file)
            .section()
            .read::<NoOpts>()
            .expect_err("refused");
        assert_eq!(told.to_string(), "n.toml:1:1: x: unknown key");
        assert_eq!(NoOpts::defaults(), Ok(NoOpts));
    }

    #[test]
    fn a_word_of_a_command_can_be_a_wrong_choice() {
        let words =
            Document::from_words(["address=[::1]:80,127.0.0.1:x", "tls=of"]).expect("well-formed");
        let told = Layers::new()
            .command(words)
            .section()
            .read::<Listener>()
            .err()
            .expect("refused");
        assert_eq!(
            told.to_string(),
            "command: address[1]: expected an address with a port such as \"127.0.0.1:5222\" or \"[::1]:5222\", \
             found text \"127.0.0.1:x\"\n\
             command: tls: expected \"required\", \"optional\" or \"off\", found text \"of\" (did you mean `off`?)"
        );
    }
}
