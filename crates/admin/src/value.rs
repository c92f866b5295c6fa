//! What a command gives: a small tree of values, printed as text or as JSON.

use serde_json::{Map, json};

/// What a command gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing to tell: printed as nothing, in JSON `null`.
    #[default]
    Nothing,
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A truth value: `yes` or `no`.
    Bool(bool),
    /// Values of one kind, one a line.
    List(Vec<Value>),
    /// Names with their values, one a line.
    Record(Vec<(String, Value)>),
    /// Rows under the names of their columns.
    Table {
        /// Names of the columns.
        columns: Vec<String>,
        /// The rows, each as long as `columns`.
        rows: Vec<Vec<Value>>,
    },
    /// A forest: rows under the names of their columns, each with its children. The first column bears the branches.
    Tree {
        /// Names of the columns.
        columns: Vec<String>,
        /// The roots.
        roots: Vec<Branch>,
    },
}

/// One row of a tree and what hangs below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// The values, as many as the tree has columns.
    pub row: Vec<Value>,
    /// What hangs below.
    pub children: Vec<Branch>,
}

impl Value {
    /// Gives a table without rows.
    pub fn table<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Value {
        Value::Table {
            columns: columns.into_iter().map(C::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row to a table.
    ///
    /// # Panics
    ///
    /// This is no table, or the row is not as long as its columns.
    #[must_use]
    pub fn row(mut self, row: impl IntoIterator<Item = Value>) -> Value {
        let Value::Table { columns, rows } = &mut self else {
            panic!("rows are added to tables")
        };
        let row: Vec<Value> = row.into_iter().collect();
        assert_eq!(
            row.len(),
            columns.len(),
            "a row has a value for every column"
        );
        rows.push(row);
        self
    }

    /// Gives the value as JSON: records and rows as objects, branches as objects with `children`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Nothing => json!(null),
            Value::Text(text) => json!(text),
            Value::Integer(number) => json!(number),
            Value::Float(number) => json!(number),
            Value::Bool(truth) => json!(truth),
            Value::List(values) => values.iter().map(Value::to_json).collect(),
            Value::Record(entries) => {
                let pairs = entries
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_json()));
                serde_json::Value::Object(pairs.collect())
            }
            Value::Table { columns, rows } => rows
                .iter()
                .map(|row| serde_json::Value::Object(object(columns, row)))
                .collect(),
            Value::Tree { columns, roots } => {
                roots.iter().map(|root| branch(columns, root)).collect()
            }
        }
    }
}

fn object(columns: &[String], row: &[Value]) -> Map<String, serde_json::Value> {
    let pairs = columns
        .iter()
        .zip(row)
        .map(|(name, value)| (name.clone(), value.to_json()));
    pairs.collect()
}

fn branch(columns: &[String], from: &Branch) -> serde_json::Value {
    let mut made = object(columns, &from.row);
    let children = from.children.iter().map(|child| branch(columns, child));
    made.insert("children".to_owned(), children.collect());
    serde_json::Value::Object(made)
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Float(number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Nothing, T::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::List(values.into_iter().map(T::into).collect())
    }
}

macro_rules! from_whole_numbers {
    ($($type:ty)*) => {$(
        /// Numbers that do not fit become the largest that does.
        impl From<$type> for Value {
            fn from(number: $type) -> Value {
                Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
    )*};
}

from_whole_numbers!(i32 i64 u16 u32 u64 usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_same_content() {
        let table = Value::table(["name", "up"]).row(["a".into(), true.into()]);
        assert_eq!(table.to_json(), json!([{"name": "a", "up": true}]));
        let leaf = Branch {
            row: vec!["sm".into(), 2u64.into()],
            children: vec![],
        };
        let root = Branch {
            row: vec!["node".into(), None::<i64>.into()],
            children: vec![leaf],
        };
        let tree = Value::Tree {
            columns: vec!["name".into(), "n".into()],
            roots: vec![root],
        };
        assert_eq!(
            tree.to_json(),
            json!([{"name": "node", "n": null, "children": [{"name": "sm", "n": 2, "children": []}]}])
        );
        assert_eq!(
            Value::Record(vec![("a".into(), vec!["x", "y"].into())]).to_json(),
            json!({"a": ["x", "y"]})
        );
    }
}
