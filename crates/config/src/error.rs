//! Faults in a configuration, each with its position.

use crate::origin::{Layer, Origin};

/// One fault in a configuration: where it stands, what was expected, what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.line_of_text())]
pub struct Error {
    /// The file as it was named when it was parsed; `command` for values given to a command.
    pub file: String,
    /// Line, counted from 1; 0 where there is no text to point into.
    pub line: usize,
    /// Column in characters, counted from 1; 0 where there is no text to point into.
    pub column: usize,
    /// Dotted path of the key; empty when the fault is one of syntax.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// The word that was probably meant.
    pub suggestion: Option<String>,
}

impl Error {
    /// Describes a fault of the value at `path` that came from `origin`.
    pub fn at(origin: &Origin, path: &str, message: impl Into<String>) -> Error {
        let file = match origin.layer {
            Layer::Default => "default".to_owned(),
            Layer::Command => "command".to_owned(),
            Layer::File | Layer::Overrides => origin.file.to_string(),
        };
        Error {
            file,
            line: origin.line,
            column: origin.column,
            path: path.to_owned(),
            message: message.into(),
            suggestion: None,
        }
    }

    /// Adds the word that was probably meant.
    #[must_use]
    pub fn suggest(mut self, word: Option<&str>) -> Error {
        self.suggestion = word.map(str::to_owned);
        self
    }

    fn line_of_text(&self) -> String {
        let mut text = self.file.clone();
        if self.line > 0 {
            text.push_str(&format!(":{}:{}", self.line, self.column));
        }
        text.push_str(": ");
        if !self.path.is_empty() {
            text.push_str(&self.path);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        if let Some(word) = &self.suggestion {
            text.push_str(&format!(" (did you mean `{word}`?)"));
        }
        text
    }
}

/// Every fault that was found, in the order of the text; printed one a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// Gives an empty collection, to be filled while reading.
    pub fn new() -> Errors {
        Errors::default()
    }

    /// Adds one fault.
    pub fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    /// Adds all faults of `others`.
    pub fn extend(&mut self, others: Errors) {
        self.0.extend(others.0);
    }

    /// Says whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts the faults.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives the faults one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }

    /// Turns the collection into a result: `value` when nothing is wrong.
    ///
    /// # Errors
    ///
    /// All faults, sorted by file, line and column.
    pub fn or<T>(mut self, value: T) -> Result<T, Errors> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.sort();
        Err(self)
    }

    pub(crate) fn sort(&mut self) {
        self.0
            .sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Errors {
        Errors(vec![error])
    }
}

impl IntoIterator for Errors {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl std::fmt::Display for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: usize) -> Error {
        Error {
            file: "natter.toml".into(),
            line,
            column: 3,
            path: "limits.depth".into(),
            message: "expected a whole number, found text \"x\"".into(),
            suggestion: None,
        }
    }

    #[test]
    fn one_fault_is_one_line() {
        assert_eq!(
            error(12).to_string(),
            "natter.toml:12:3: limits.depth: expected a whole number, found text \"x\""
        );
        assert_eq!(
            error(12).suggest(Some("dept")).to_string(),
            "natter.toml:12:3: limits.depth: expected a whole number, found text \"x\" (did you mean `dept`?)"
        );
        let without_position = Error::at(&Origin::command(), "max", "too many");
        assert_eq!(without_position.to_string(), "command: max: too many");
    }

    #[test]
    fn faults_are_told_in_the_order_of_the_text() {
        let mut errors = Errors::new();
        errors.push(error(9));
        errors.extend(Errors::from(error(2)));
        let told = errors.or(()).expect_err("two faults");
        assert_eq!(told.iter().map(|e| e.line).collect::<Vec<_>>(), [2, 9]);
        assert_eq!(Errors::new().or(7), Ok(7));
    }
}
