//! Values as they were written, before anybody says what type they should have.

use crate::origin::Origin;
use zeroize::Zeroizing;

/// One value as it was written, with its origin.
///
/// Has no `Debug`: it may be a secret.
#[derive(Clone)]
pub struct Raw {
    /// What was written.
    pub node: Node,
    /// Where it was written.
    pub origin: Origin,
}

/// What can be written in TOML. Texts are zeroised when dropped, since any of them may be a secret.
#[derive(Clone)]
pub enum Node {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A date or time, as it was written.
    Datetime(String),
    /// A string.
    Text(Zeroizing<String>),
    /// What follows `key=` in a command: its type is decided by the option it is read for.
    Word(Zeroizing<String>),
    /// An array, or an array of tables.
    List(Vec<Raw>),
    /// A table, in the order it was written.
    Table(Table),
}

/// The entries of one table, in the order they were written.
#[derive(Clone, Default)]
pub struct Table {
    /// The entries; no key occurs twice.
    pub entries: Vec<Entry>,
}

/// One `key = value`.
#[derive(Clone)]
pub struct Entry {
    /// The key, unquoted.
    pub key: String,
    /// Where the key stands.
    pub origin: Origin,
    /// The value.
    pub value: Raw,
}

impl Table {
    /// Gives the entry of `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Puts `entry` in place of the one with the same key, or at the end.
    pub fn put(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|old| old.key == entry.key) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }

    /// Lays `over` over this table: tables are joined key by key, all else is replaced.
    pub(crate) fn lay(&mut self, over: &Table) {
        for upper in &over.entries {
            let lower = self.entries.iter_mut().find(|entry| entry.key == upper.key);
            match lower {
                Some(lower) => match (&mut lower.value.node, &upper.value.node) {
                    (Node::Table(below), Node::Table(above)) => below.lay(above),
                    _ => *lower = upper.clone(),
                },
                None => self.entries.push(upper.clone()),
            }
        }
    }
}

impl Raw {
    /// Makes a value that was given to a command or made by the program.
    pub fn made(node: Node) -> Raw {
        Raw {
            node,
            origin: Origin::command(),
        }
    }

    /// Makes a text that was given to a command or made by the program.
    pub fn text(text: impl Into<String>) -> Raw {
        Raw::made(Node::Text(Zeroizing::new(text.into())))
    }

    /// Gives the text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.node {
            Node::Text(text) | Node::Word(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Gives the whole number, if this is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self.node {
            Node::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// Gives the number, whole or not, if this is one.
    pub fn as_float(&self) -> Option<f64> {
        match self.node {
            Node::Float(number) => Some(number),
            Node::Integer(number) => Some(number as f64),
            _ => None,
        }
    }

    /// Gives the truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.node {
            Node::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// Gives the elements, if this is a list.
    pub fn as_list(&self) -> Option<&[Raw]> {
        match &self.node {
            Node::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Gives the entries, if this is a table.
    pub fn as_table(&self) -> Option<&Table> {
        match &self.node {
            Node::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Says what this is, for the end of "expected …, found": `text "abc"`, `the number 5`, `a list`.
    /// Long texts are cut.
    pub fn found(&self) -> String {
        match &self.node {
            Node::Bool(truth) => format!("{truth}"),
            Node::Integer(number) => format!("the number {number}"),
            Node::Float(number) => format!("the number {number}"),
            Node::Datetime(when) => format!("the date {when}"),
            Node::Text(text) | Node::Word(text) => format!("text {}", quote(&cut(text))),
            Node::List(_) => "a list".to_owned(),
            Node::Table(_) => "a table".to_owned(),
        }
    }

    /// Prints the value as TOML on one line. A word given to a command is printed as a string.
    pub fn to_toml(&self) -> String {
        match &self.node {
            Node::Text(text) | Node::Word(text) => quote(text),
            Node::List(elements) => {
                let elements: Vec<String> = elements.iter().map(Raw::to_toml).collect();
                format!("[{}]", elements.join(", "))
            }
            Node::Table(table) if table.entries.is_empty() => "{}".to_owned(),
            Node::Table(table) => {
                let show = |entry: &Entry| {
                    format!(
                        "{} = {}",
                        crate::print::key(&entry.key),
                        entry.value.to_toml()
                    )
                };
                let entries: Vec<String> = table.entries.iter().map(show).collect();
                format!("{{ {} }}", entries.join(", "))
            }
            Node::Bool(_) | Node::Integer(_) | Node::Float(_) | Node::Datetime(_) => {
                self.to_item().to_string().trim().to_owned()
            }
        }
    }

    pub(crate) fn to_item(&self) -> toml_edit::Value {
        match &self.node {
            Node::Bool(truth) => (*truth).into(),
            Node::Integer(number) => (*number).into(),
            Node::Float(number) => (*number).into(),
            Node::Datetime(when) => match when.parse::<toml_edit::Datetime>() {
                Ok(datetime) => datetime.into(),
                Err(_) => when.as_str().into(),
            },
            Node::Text(text) | Node::Word(text) => text.as_str().into(),
            Node::List(elements) => elements
                .iter()
                .map(Raw::to_item)
                .collect::<toml_edit::Array>()
                .into(),
            Node::Table(table) => table
                .entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_item()))
                .collect::<toml_edit::InlineTable>()
                .into(),
        }
    }

    /// Puts the host's name in the place of every `@HOST@` in every text of this value.
    pub(crate) fn substitute_host(&mut self, host: &str) {
        match &mut self.node {
            Node::Text(text) | Node::Word(text) if text.contains("@HOST@") => {
                *text = Zeroizing::new(text.replace("@HOST@", host));
            }
            Node::List(elements) => elements.iter_mut().for_each(|e| e.substitute_host(host)),
            Node::Table(table) => table
                .entries
                .iter_mut()
                .for_each(|entry| entry.value.substitute_host(host)),
            _ => {}
        }
    }
}

/// Writes `text` as a TOML basic string on one line.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if letter.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(letter)))
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn cut(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_found() {
        assert_eq!(Raw::text("abc").found(), "text \"abc\"");
        assert_eq!(Raw::made(Node::Integer(5)).found(), "the number 5");
        assert_eq!(Raw::made(Node::List(vec![])).found(), "a list");
        assert_eq!(
            Raw::text("x".repeat(100)).found(),
            format!("text \"{}…\"", "x".repeat(40))
        );
    }

    #[test]
    fn prints_toml_on_one_line() {
        let list = Raw::made(Node::List(vec![
            Raw::text("a\"b\n\u{1}"),
            Raw::made(Node::Bool(true)),
        ]));
        assert_eq!(list.to_toml(), "[\"a\\\"b\\n\\u0001\", true]");
        let again =
            crate::document::parse_value(&list.to_toml()).expect("what is printed can be read");
        assert_eq!(again.to_toml(), list.to_toml());
    }
}
