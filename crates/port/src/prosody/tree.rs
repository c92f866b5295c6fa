//! Elements as Prosody keeps them, as XML: `{ name = …, attr = {…}, CHILDREN }`.

use xml::Name;
use xmpp::{escape_text, push_attr};

use super::lua::{Table, Value};

/// Attributes that say how a message was stored, not what it is.
const STORED: [&str; 2] = ["stamp", "stamp_legacy"];

/// Writes an element. It stands alone where its root has a namespace.
///
/// # Errors
///
/// In words: a table that is no element.
pub(super) fn xml(element: &Table) -> Result<String, String> {
    let mut out = String::new();
    write(element, true, &mut out)?;
    Ok(out)
}

fn write(element: &Table, is_root: bool, out: &mut String) -> Result<(), String> {
    let name = element.text("name").unwrap_or_default();
    if Name::new(name).is_none() {
        return Err("an element without a name".to_owned());
    }
    out.push('<');
    out.push_str(name);
    let attrs = element.get("attr").and_then(Value::table);
    let attrs = attrs.into_iter().flat_map(Table::named);
    for (number, (name, value)) in attrs.enumerate() {
        if !(is_root && STORED.contains(&name)) {
            attribute(name, value, number, out)?;
        }
    }
    out.push('>');
    for child in element.list() {
        match (child, child.text()) {
            (Value::Table(child), _) => write(child, false, out)?,
            (_, Some(text)) => escape_text(text, out),
            _ => return Err("the content of an element is neither text nor element".to_owned()),
        }
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
    Ok(())
}

/// Writes an attribute. One in a namespace is kept as `NAMESPACE\1NAME`, before Prosody 0.10 as `NAMESPACE|NAME`.
fn attribute(name: &str, value: &Value, number: usize, out: &mut String) -> Result<(), String> {
    let Some(value) = value.text() else {
        return Err(format!("the attribute `{name}` is no text"));
    };
    match name.split_once(['\u{1}', '|']) {
        Some((namespace, name)) if Name::new(name).is_some() => {
            push_attr(&format!("xmlns:p{number}"), namespace, out);
            push_attr(&format!("p{number}:{name}"), value, out);
        }
        None if Name::new(name).is_some() || name == "xml:lang" => push_attr(name, value, out),
        // A declaration of a prefix that no name uses.
        None if name.starts_with("xmlns:") => {}
        _ => return Err(format!("`{name}` is not the name of an attribute")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::lua::read;
    use super::*;

    fn told(source: &str) -> Result<String, String> {
        match read(format!("return {source}").as_bytes()) {
            Ok(Value::Table(table)) => xml(&table),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn elements_become_xml() {
        let source = r#"{ name = "message"; attr = { type = "chat"; stamp = "x"; ["xml:lang"] = "de"; ["urn:a\001b"] = "c" };
            { name = "body"; attr = { stamp = "y" }; "1 < 2"; { name = "i"; attr = { xmlns = "urn:i" } }; " & 3" } }"#;
        let expected = "<message type=\"chat\" xml:lang=\"de\" xmlns:p3=\"urn:a\" p3:b=\"c\"><body stamp=\"y\">1 &lt; 2\
            <i xmlns=\"urn:i\"></i> &amp; 3</body></message>";
        assert_eq!(told(source).as_deref(), Ok(expected));
        assert_eq!(told("{ name = 'a' }").as_deref(), Ok("<a></a>"));
    }

    #[test]
    fn what_is_no_element_is_told() {
        for source in [
            "{}",
            "{ name = 'a b' }",
            "{ name = 1 }",
            "{ name = 'a'; 7 }",
            "{ name = 'a'; '\\255' }",
            "{ name = 'a'; attr = { b = 1 } }",
            "{ name = 'a'; attr = { ['b c'] = 'x' } }",
            "{ name = 'a'; { name = '<' } }",
        ] {
            assert!(told(source).is_err(), "{source}");
        }
    }
}
