//! Printing: the reference page, and the configuration in effect.

use crate::declare::{Declared, Nested, Options, Reload, Shape};
use crate::origin::Origin;
use crate::raw::{Node, Raw};
use crate::section::Section;

/// A set of options and where it stands, for the reference page.
pub struct Described {
    /// Dotted path of the table, empty for the outermost: `limits`, `modules.mod_echo`.
    pub path: String,
    /// What the set is for.
    pub doc: String,
    /// The options.
    pub options: &'static [Declared],
}

impl Described {
    /// Describes `O` at `path`.
    pub fn of<O: Options>(path: &str) -> Described {
        Described {
            path: path.to_owned(),
            doc: O::doc().to_owned(),
            options: O::declared(),
        }
    }
}

/// Joins a path and a key with a dot, quoting the key where TOML needs it.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        return key(name);
    }
    format!("{path}.{}", key(name))
}

/// Prints a key, quoted where TOML needs it.
pub(crate) fn key(name: &str) -> String {
    toml_edit::Key::new(name).display_repr().into_owned()
}

/// Prints the reference of all `sections` in Markdown: one table each, with a row for every option. Tables that stand
/// under an option of another follow it.
pub fn reference(sections: &[Described]) -> String {
    let mut page = String::new();
    for section in sections {
        let heading = match section.path.as_str() {
            "" => "Top level".to_owned(),
            path => format!("`[{path}]`"),
        };
        describe(
            &heading,
            &section.path,
            &section.doc,
            section.options,
            &mut page,
        );
    }
    page
}

fn describe(heading: &str, path: &str, doc: &str, options: &[Declared], page: &mut String) {
    if !page.is_empty() {
        page.push('\n');
    }
    page.push_str(&format!("## {heading}\n"));
    if !doc.is_empty() {
        page.push_str(&format!("\n{doc}\n"));
    }
    let (tables, values): (Vec<&Declared>, Vec<&Declared>) =
        options.iter().partition(|o| o.nested.is_some());
    if options.is_empty() {
        page.push_str("\nNo options.\n");
    }
    if !values.is_empty() {
        page.push_str("\n| Key | Type | Range | Default | Change takes effect | Meaning |\n");
        page.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for option in values {
            page.push_str(&row(option));
        }
    }
    for option in tables {
        let Some(nested) = option.nested else {
            continue;
        };
        let (heading, below) = place(path, option.key, nested);
        let doc = [option.doc, (nested.doc)()].join(" ");
        describe(&heading, &below, doc.trim(), (nested.declared)(), page);
    }
}

fn row(option: &Declared) -> String {
    let default = match (&option.default, option.required) {
        (_, true) => "required".to_owned(),
        (Some(text), _) => format!("`{text}`"),
        (None, _) => "–".to_owned(),
    };
    let cells = [
        format!("`{}`", option.key),
        option.type_name.clone(),
        option.range.clone().unwrap_or_else(|| "–".to_owned()),
        default,
        option.reload.name().to_owned(),
        option.doc.to_owned(),
    ];
    let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
    format!("| {} |\n", cells.join(" | "))
}

fn place(path: &str, name: &str, nested: Nested) -> (String, String) {
    let here = join(path, name);
    match nested.shape {
        Shape::One => (format!("`[{here}]`"), here),
        Shape::List => (format!("`[[{here}]]`"), here),
        Shape::Map => (format!("`[{here}.NAME]`"), format!("{here}.NAME")),
    }
}

/// One value in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Dotted path; elements of an array of tables are numbered from 0: `listener[0].kind`.
    pub path: String,
    /// The value as TOML; `***` for a secret.
    pub value: String,
    /// Where it was said.
    pub origin: Origin,
    /// When a change of it takes effect.
    pub reload: Reload,
}

/// Lists every value in effect in a section whose options are `declared`, defaults among them, absent ones left out.
/// Keys that are not declared are listed as they were written, since a section may belong to several owners.
pub fn effective(section: &Section, declared: &[Declared]) -> Vec<Shown> {
    let mut shown = Vec::new();
    for option in declared {
        let path = join(section.path(), option.key);
        match (section.raw(option.key), &option.default) {
            (Some(raw), _) => written(raw, &path, option, section.host(), &mut shown),
            (None, Some(default)) => shown.push(Shown {
                path,
                value: match section.host() {
                    Some(host) => crate::value::for_host(default, host),
                    None => default.clone(),
                },
                origin: Origin::default_value(),
                reload: option.reload,
            }),
            (None, None) => {
                let nested = option
                    .nested
                    .filter(|nested| nested.shape == Shape::One && !option.required);
                if let Some(nested) = nested {
                    shown.extend(effective(&Section::empty(&path), (nested.declared)()));
                }
            }
        }
    }
    for entry in section.entries() {
        if declared.iter().all(|option| option.key != entry.key) {
            undeclared(&entry.value, &join(section.path(), &entry.key), &mut shown);
        }
    }
    shown
}

fn written(raw: &Raw, path: &str, option: &Declared, host: Option<&str>, shown: &mut Vec<Shown>) {
    let inner = |raw: &Raw, path: &str, nested: Nested| {
        let section = Section::of(raw, path).ok()?;
        let section = match host {
            Some(host) => section.for_host(host),
            None => section,
        };
        Some(effective(&section, (nested.declared)()))
    };
    let found = match (option.nested, &raw.node) {
        (Some(nested), Node::Table(_)) if nested.shape == Shape::One => inner(raw, path, nested),
        (Some(nested), Node::Table(table)) if nested.shape == Shape::Map => table
            .entries
            .iter()
            .map(|entry| inner(&entry.value, &join(path, &entry.key), nested))
            .collect::<Option<Vec<_>>>()
            .map(|lists| lists.concat()),
        (Some(nested), Node::List(elements)) => elements
            .iter()
            .enumerate()
            .map(|(index, element)| inner(element, &format!("{path}[{index}]"), nested))
            .collect::<Option<Vec<_>>>()
            .map(|lists| lists.concat()),
        (None, Node::Table(_)) if !option.secret => {
            undeclared(raw, path, shown);
            return;
        }
        _ => None,
    };
    match found {
        Some(rows) => shown.extend(rows),
        None => shown.push(Shown {
            path: path.to_owned(),
            value: option.show(raw),
            origin: raw.origin.clone(),
            reload: option.reload,
        }),
    }
}

/// Values nobody declared here; of those whose owner is not at hand the content is not printed, they may be secret.
fn undeclared(raw: &Raw, path: &str, shown: &mut Vec<Shown>) {
    match &raw.node {
        Node::Table(table) => {
            for entry in &table.entries {
                undeclared(&entry.value, &join(path, &entry.key), shown);
            }
        }
        _ => shown.push(Shown {
            path: path.to_owned(),
            value: "***".to_owned(),
            origin: raw.origin.clone(),
            reload: Reload::Live,
        }),
    }
}

/// Prints values in effect one a line, as TOML; with `origins`, each with where it was said as a comment.
pub fn effective_table(shown: &[Shown], origins: bool) -> String {
    let lines: Vec<String> = shown
        .iter()
        .map(|row| format!("{} = {}", row.path, row.value))
        .collect();
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (line, row) in lines.iter().zip(shown) {
        if origins {
            text.push_str(&format!("{line:width$}  # {}\n", row.origin));
        } else {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Layers, Secret};
    use std::collections::BTreeMap;

    crate::choice! {
        /// Kind.
        enum Kind {
            /// Clients.
            C2s = "c2s",
            /// Servers.
            S2s = "s2s",
        }
    }

    crate::options! {
        /// A door of the server.
        struct Listener {
            /// Who comes.
            kind: Kind = Kind::C2s,
        }
    }

    crate::options! {
        /// What there is.
        struct Root {
            /// Names served.
            hosts: Vec<String> = vec!["localhost".into()] => Restart,
            /// Stanzas a second.
            rate: u32 [1..=1000] = 10,
            /// The key of the store.
            key: Option<Secret>,
            /// Doors.
            listener: Vec<Listener> = vec![],
            /// Doors by name.
            named: BTreeMap<String, Listener>,
            /// The first door.
            first: Listener,
        }
    }

    #[test]
    fn the_reference_has_a_row_for_every_option() {
        let page = reference(&[
            Described::of::<Root>(""),
            Described::of::<crate::NoOpts>("modules.mod_ping"),
        ]);
        let expected = "\
## Top level

What there is.

| Key | Type | Range | Default | Change takes effect | Meaning |
| --- | --- | --- | --- | --- | --- |
| `hosts` | list of text | – | `[\"localhost\"]` | restart | Names served. |
| `rate` | whole number | 1 to 1000 | `10` | live | Stanzas a second. |
| `key` | secret text | – | – | live | The key of the store. |

## `[[listener]]`

Doors. A door of the server.

| Key | Type | Range | Default | Change takes effect | Meaning |
| --- | --- | --- | --- | --- | --- |
| `kind` | \"c2s\" \\| \"s2s\" | – | `\"c2s\"` | live | Who comes. |

## `[named.NAME]`

Doors by name. A door of the server.

| Key | Type | Range | Default | Change takes effect | Meaning |
| --- | --- | --- | --- | --- | --- |
| `kind` | \"c2s\" \\| \"s2s\" | – | `\"c2s\"` | live | Who comes. |

## `[first]`

The first door. A door of the server.

| Key | Type | Range | Default | Change takes effect | Meaning |
| --- | --- | --- | --- | --- | --- |
| `kind` | \"c2s\" \\| \"s2s\" | – | `\"c2s\"` | live | Who comes. |

## `[modules.mod_ping]`

No options.
";
        assert_eq!(page, expected);
    }

    #[test]
    fn values_in_effect_have_their_origin() {
        let file = "key = 'hunter2'\nother = 'hunter3'\n[[listener]]\nkind = 's2s'\n[[listener]]\n[named.'a.b']\n";
        let file = Document::parse("n.toml", file).expect("well-formed");
        let overrides =
            Document::parse_overrides("d/overrides.toml", "rate = 20").expect("well-formed");
        let section = Layers::new().file(file).overrides(overrides).section();
        let shown = effective(&section, Root::declared());
        let expected = "\
hosts = [\"localhost\"]     # default
rate = 20                 # overrides.toml
key = ***                 # n.toml:1:7
listener[0].kind = \"s2s\"  # n.toml:4:8
listener[1].kind = \"c2s\"  # default
named.\"a.b\".kind = \"c2s\"  # default
first.kind = \"c2s\"        # default
other = ***               # n.toml:2:9
";
        assert_eq!(effective_table(&shown, true), expected);
        assert!(effective_table(&shown, false).starts_with("hosts = [\"localhost\"]\nrate = 20\n"));
    }
}
