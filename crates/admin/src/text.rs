//! Values as text for people: aligned columns, lists, trees.

use crate::value::{Branch, Value};

/// Prints a value as text that ends with a newline, or as nothing if there is nothing to tell.
///
/// Control characters in texts of a table or tree are replaced, so that no value can forge a line or drive a terminal.
pub fn render(value: &Value) -> String {
    match value {
        Value::Nothing => String::new(),
        Value::Text(text) if text.is_empty() => String::new(),
        Value::Text(text) => with_newline(clean_lines(text)),
        Value::List(values) => values
            .iter()
            .map(|value| with_newline(cell(value)))
            .collect(),
        Value::Record(entries) => {
            let rows = entries
                .iter()
                .map(|(name, value)| vec![format!("{}:", clean(name)), cell(value)]);
            aligned(&rows.collect::<Vec<_>>())
        }
        Value::Table { rows, .. } if rows.is_empty() => String::new(),
        Value::Table { columns, rows } => {
            let cells = rows.iter().map(|row| row.iter().map(cell).collect());
            aligned(
                &std::iter::once(columns.clone())
                    .chain(cells)
                    .collect::<Vec<_>>(),
            )
        }
        Value::Tree { columns, roots } => {
            let mut lines = vec![columns.clone()];
            for root in roots {
                lines.push(root.row.iter().map(cell).collect());
                branches(&root.children, "", &mut lines);
            }
            aligned(&lines)
        }
        Value::Integer(_) | Value::Float(_) | Value::Bool(_) => with_newline(cell(value)),
    }
}

fn branches(children: &[Branch], indent: &str, lines: &mut Vec<Vec<String>>) {
    for (index, child) in children.iter().enumerate() {
        let last = index + 1 == children.len();
        let (fork, below) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let mut row: Vec<String> = child.row.iter().map(cell).collect();
        if let Some(first) = row.first_mut() {
            *first = format!("{indent}{fork}{first}");
        }
        lines.push(row);
        branches(&child.children, &format!("{indent}{below}"), lines);
    }
}

/// A value on one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Nothing => "-".to_owned(),
        Value::Text(text) => clean(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::List(values) if values.is_empty() => "-".to_owned(),
        Value::List(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Record(entries) => {
            let pairs = entries
                .iter()
                .map(|(name, value)| format!("{}={}", clean(name), cell(value)));
            pairs.collect::<Vec<_>>().join(" ")
        }
        Value::Table { .. } | Value::Tree { .. } => value.to_json().to_string(),
    }
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn clean_lines(text: &str) -> String {
    let keep = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars()
        .map(|c| if keep(c) { c } else { '\u{fffd}' })
        .collect()
}

fn with_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Pads every cell but the last of its row to the width of its column, two blanks between.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let table = Value::table(["module", "state", "restarts"])
            .row(["mod_roster".into(), "running".into(), 0u32.into()])
            .row(["mod_é".into(), Value::Nothing, 12u32.into()]);
        let text =
            "module      state    restarts\nmod_roster  running  0\nmod_é       -        12\n";
        assert_eq!(render(&table), text);
        assert_eq!(render(&Value::table(["module"])), "");
    }

    #[test]
    fn trees_bear_branches() {
        let leaf = |name: &str| Branch {
            row: vec![name.into(), 1u32.into()],
            children: vec![],
        };
        let middle = Branch {
            row: vec!["hosts".into(), 2u32.into()],
            children: vec![leaf("a"), leaf("b")],
        };
        let root = Branch {
            row: vec!["natter".into(), 3u32.into()],
            children: vec![middle, leaf("listeners")],
        };
        let tree = Value::Tree {
            columns: vec!["name".into(), "n".into()],
            roots: vec![root],
        };
        let text = "name          n\nnatter        3\n├─ hosts      2\n│  ├─ a       1\n│  └─ b       1\n└─ listeners  1\n";
        assert_eq!(render(&tree), text);
    }

    #[test]
    fn records_lists_and_scalars() {
        let record = Value::Record(vec![
            ("name".into(), "x".into()),
            ("sessions".into(), 2u32.into()),
        ]);
        assert_eq!(render(&record), "name:      x\nsessions:  2\n");
        assert_eq!(render(&vec!["a", "b"].into()), "a\nb\n");
        assert_eq!(render(&true.into()), "yes\n");
        assert_eq!(render(&Value::Nothing), "");
        assert_eq!(render(&"done".into()), "done\n");
    }

    #[test]
    fn no_value_drives_the_terminal() {
        assert_eq!(
            render(&vec!["a\u{1b}[31m\nb"].into()),
            "a\u{fffd}[31m\u{fffd}b\n"
        );
        assert_eq!(render(&"a\u{1b}c\nb".into()), "a\u{fffd}c\nb\n");
    }
}
