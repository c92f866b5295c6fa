//! Values made of values: lists, maps, absent ones.

use crate::declare::{Nested, Shape};
use crate::document::parse_value;
use crate::error::{Error, Errors};
use crate::origin::Origin;
use crate::raw::{Node, Raw};
use crate::value::Value;
use std::collections::BTreeMap;

/// A list. One value that is no list is a list of one; on a command line elements are divided by commas.
impl<T: Value> Value for Vec<T> {
    const TYPE: &'static str = "list";
    const SECRET: bool = T::SECRET;

    fn read(raw: &Raw) -> Result<Vec<T>, String> {
        first_message(Self::check(raw, ""))
    }

    fn show(&self) -> String {
        let elements: Vec<String> = self.iter().map(T::show).collect();
        format!("[{}]", elements.join(", "))
    }

    fn resolve(text: &str) -> Raw {
        match parse_value(text) {
            Some(list) if list.as_list().is_some() => list,
            _ if text.is_empty() => Raw::made(Node::List(Vec::new())),
            _ => Raw::made(Node::List(
                text.split(',')
                    .map(|word| T::resolve(word.trim()))
                    .collect(),
            )),
        }
    }

    fn type_name() -> String {
        format!("list of {}", T::type_name())
    }

    fn check(raw: &Raw, path: &str) -> Result<Vec<T>, Errors> {
        let resolved;
        let elements = match &raw.node {
            Node::Word(word) => {
                resolved = Self::resolve(word);
                resolved.as_list().expect("a word resolves to a list")
            }
            Node::List(elements) => elements,
            Node::Table(_) if T::nested().is_some() => {
                let message = format!("expected an array of tables, written [[{path}]]");
                return Err(Error::at(&raw.origin, path, message).into());
            }
            _ => std::slice::from_ref(raw),
        };
        let mut errors = Errors::new();
        let mut read = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            match T::check(element, &format!("{path}[{index}]")) {
                Ok(value) => read.push(value),
                Err(faults) => errors.extend(faults),
            }
        }
        errors.or(read)
    }

    fn for_host(self, host: &str) -> Vec<T> {
        self.into_iter().map(|value| value.for_host(host)).collect()
    }

    fn nested() -> Option<Nested> {
        T::nested().map(|nested| nested.within(Shape::List))
    }
}

/// A value that may be absent.
impl<T: Value> Value for Option<T> {
    const TYPE: &'static str = T::TYPE;
    const SECRET: bool = T::SECRET;

    fn read(raw: &Raw) -> Result<Option<T>, String> {
        T::read(raw).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }

    fn resolve(text: &str) -> Raw {
        T::resolve(text)
    }

    fn type_name() -> String {
        T::type_name()
    }

    fn check(raw: &Raw, path: &str) -> Result<Option<T>, Errors> {
        T::check(raw, path).map(Some)
    }

    fn for_host(self, host: &str) -> Option<T> {
        self.map(|value| value.for_host(host))
    }

    fn absent(_origin: &Origin, _path: &str) -> Option<Result<Option<T>, Errors>> {
        Some(Ok(None))
    }

    fn nested() -> Option<Nested> {
        T::nested()
    }
}

/// A table whose keys are free, such as the names of hosts; absent it is empty.
impl<T: Value> Value for BTreeMap<String, T> {
    const TYPE: &'static str = "table";
    const SECRET: bool = T::SECRET;

    fn read(raw: &Raw) -> Result<BTreeMap<String, T>, String> {
        first_message(Self::check(raw, ""))
    }

    fn show(&self) -> String {
        if self.is_empty() {
            return "{}".to_owned();
        }
        let show =
            |(key, value): (&String, &T)| format!("{} = {}", crate::print::key(key), value.show());
        let entries: Vec<String> = self.iter().map(show).collect();
        format!("{{ {} }}", entries.join(", "))
    }

    fn type_name() -> String {
        format!("table of {}", T::type_name())
    }

    fn check(raw: &Raw, path: &str) -> Result<BTreeMap<String, T>, Errors> {
        let resolved;
        let raw = match &raw.node {
            Node::Word(word) => {
                resolved = parse_value(word).unwrap_or_else(|| raw.clone());
                &resolved
            }
            _ => raw,
        };
        let Some(table) = raw.as_table() else {
            let message = format!("expected a table, found {}", raw.found());
            return Err(Error::at(&raw.origin, path, message).into());
        };
        let mut errors = Errors::new();
        let mut read = BTreeMap::new();
        for entry in &table.entries {
            match T::check(&entry.value, &crate::print::join(path, &entry.key)) {
                Ok(value) => drop(read.insert(entry.key.clone(), value)),
                Err(faults) => errors.extend(faults),
            }
        }
        errors.or(read)
    }

    fn for_host(self, host: &str) -> BTreeMap<String, T> {
        self.into_iter()
            .map(|(key, value)| (key, value.for_host(host)))
            .collect()
    }

    fn absent(_origin: &Origin, _path: &str) -> Option<Result<BTreeMap<String, T>, Errors>> {
        Some(Ok(BTreeMap::new()))
    }

    fn nested() -> Option<Nested> {
        T::nested().map(|nested| nested.within(Shape::Map))
    }
}

fn first_message<T>(checked: Result<T, Errors>) -> Result<T, String> {
    checked.map_err(|errors| match errors.iter().next() {
        Some(error) if error.path.is_empty() => error.message.clone(),
        Some(error) => format!("{}: {}", error.path, error.message),
        None => "cannot be read".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_on_a_command_line() {
        let list = |text| Vec::<String>::from_text(text);
        assert_eq!(list("a, b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(list("['a,b']"), Ok(vec!["a,b".to_owned()]));
        assert_eq!(list(""), Ok(vec![]));
        let numbers = Vec::<u8>::from_text("1,x");
        assert_eq!(
            numbers,
            Err("[1]: expected a whole number, found text \"x\"".to_owned())
        );
        assert_eq!(Vec::<u8>::from_text("7"), Ok(vec![7]));
    }

    #[test]
    fn values_of_values_are_shown_as_toml() {
        assert_eq!(vec![1u8, 2].show(), "[1, 2]");
        assert_eq!(Some("x".to_owned()).show(), "\"x\"");
        assert_eq!(None::<u8>.show(), "");
        let map = BTreeMap::from([("a.b".to_owned(), 1u8), ("c".to_owned(), 2)]);
        assert_eq!(map.show(), "{ \"a.b\" = 1, c = 2 }");
        assert_eq!(
            BTreeMap::<String, u8>::from_text("{ c = 2 }"),
            Ok(BTreeMap::from([("c".to_owned(), 2)]))
        );
    }
}
