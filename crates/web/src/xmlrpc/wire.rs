//! XML-RPC's calls, responses and faults, to and from the values of JSON.
//!
//! Read strictly: no document types, no processing instructions, no comments, so many levels and no more.

use std::fmt::Write;

use rxml::error::EndOrError;
use rxml::{Event, Parse, Parser};
use serde_json::{Map, Number, Value};

/// Levels of elements in a call.
const DEEPEST: usize = 64;

/// A call.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) params: Vec<Value>,
}

/// An element.
#[derive(Default)]
struct Node {
    name: String,
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads a call.
///
/// # Errors
///
/// In words: it is no XML, or no call.
pub(super) fn read(bytes: &[u8]) -> Result<Call, String> {
    let root = tree(bytes)?;
    if root.name != "methodCall" {
        return Err("the body is no methodCall".to_owned());
    }
    let method = root.child("methodName").map(|name| name.text.trim());
    let method = method.filter(|name| !name.is_empty());
    let method = method.ok_or("the call has no methodName")?.to_owned();
    let params = root.child("params");
    let params = params.into_iter().flat_map(|params| params.all("param"));
    let params: Result<Vec<Value>, String> = params
        .map(|param| value(param.child("value").ok_or("a param has no value")?))
        .collect();
    Ok(Call {
        method,
        params: params?,
    })
}

fn tree(bytes: &[u8]) -> Result<Node, String> {
    let mut parser = Parser::default();
    let mut input = bytes;
    let mut open: Vec<Node> = Vec::new();
    loop {
        let event = match parser.parse(&mut input, true) {
            Ok(Some(event)) => event,
            Ok(None) | Err(EndOrError::NeedMoreData) => {
                return Err("the body is no whole XML document".to_owned());
            }
            Err(EndOrError::Error(error)) => return Err(format!("the body is no XML: {error}")),
        };
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, (_, name), _) => {
                if open.len() == DEEPEST {
                    return Err(format!("the call has more than {DEEPEST} levels"));
                }
                open.push(Node {
                    name: name.to_string(),
                    ..Node::default()
                });
            }
            Event::Text(_, text) => {
                if let Some(node) = open.last_mut() {
                    node.text.push_str(&text);
                }
            }
            Event::EndElement(_) => {
                let node = open.pop().expect("the parser counts tags");
                match open.last_mut() {
                    Some(parent) => parent.children.push(node),
                    None if input.iter().all(u8::is_ascii_whitespace) => return Ok(node),
                    None => return Err("something stands behind the call".to_owned()),
                }
            }
        }
    }
}

/// What a `<value>` means; without a type it is a string.
fn value(node: &Node) -> Result<Value, String> {
    let Some(typed) = node.children.first() else {
        return Ok(Value::String(node.text.clone()));
    };
    let text = typed.text.trim();
    let wrong = || format!("`{text}` is no {}", typed.name);
    match typed.name.as_str() {
        "string" | "base64" | "dateTime.iso8601" => Ok(Value::String(typed.text.clone())),
        "int" | "i4" | "i8" => {
            let number: i64 = text.parse().map_err(|_| wrong())?;
            Ok(number.into())
        }
        "boolean" => match text {
            "1" => Ok(true.into()),
            "0" => Ok(false.into()),
            _ => Err(wrong()),
        },
        "double" => {
            let number: Option<Number> = text.parse().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(wrong)
        }
        "nil" => Ok(Value::Null),
        "array" => {
            let data = typed.child("data").ok_or("an array has no data")?;
            data.all("value").map(value).collect()
        }
        "struct" => {
            let members = typed.all("member").map(|member| {
                let name = member.child("name").ok_or("a member has no name")?;
                let of = member.child("value").ok_or("a member has no value")?;
                Ok((name.text.clone(), value(of)?))
            });
            let members: Result<Map<String, Value>, String> = members.collect();
            members.map(Value::Object)
        }
        other => Err(format!("`{other}` is no type of XML-RPC")),
    }
}

const BEGIN: &str = "<?xml version='1.0' encoding='utf-8'?>\n<methodResponse>";

/// A response with one value.
pub(super) fn response(value: &Value) -> String {
    let mut text = format!("{BEGIN}<params><param>");
    write(value, &mut text);
    text.push_str("</param></params></methodResponse>\n");
    text
}

/// A fault.
pub(super) fn fault(code: u16, why: &str) -> String {
    let mut text = format!("{BEGIN}<fault>");
    let members = serde_json::json!({ "faultCode": code, "faultString": why });
    write(&members, &mut text);
    text.push_str("</fault></methodResponse>\n");
    text
}

fn write(value: &Value, text: &mut String) {
    text.push_str("<value>");
    match value {
        Value::Null => text.push_str("<nil/>"),
        Value::Bool(truth) => push(
            text,
            format_args!("<boolean>{}</boolean>", u8::from(*truth)),
        ),
        Value::Number(number) => match number.as_i64() {
            Some(number) if i32::try_from(number).is_ok() => {
                push(text, format_args!("<int>{number}</int>"));
            }
            Some(number) => push(text, format_args!("<i8>{number}</i8>")),
            None => push(text, format_args!("<double>{number}</double>")),
        },
        Value::String(string) => {
            text.push_str("<string>");
            xml::escape_text(string, text);
            text.push_str("</string>");
        }
        Value::Array(values) => {
            text.push_str("<array><data>");
            values.iter().for_each(|value| write(value, text));
            text.push_str("</data></array>");
        }
        Value::Object(members) => {
            text.push_str("<struct>");
            for (name, value) in members {
                text.push_str("<member><name>");
                xml::escape_text(name, text);
                text.push_str("</name>");
                write(value, text);
                text.push_str("</member>");
            }
            text.push_str("</struct>");
        }
    }
    text.push_str("</value>");
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(params: &str) -> Result<Call, String> {
        let text = format!(
            "<?xml version='1.0'?><methodCall><methodName> status </methodName>{params}</methodCall>\n"
        );
        read(text.as_bytes())
    }

    fn param(value: &str) -> Result<Value, String> {
        let call = call(&format!("<params><param>{value}</param></params>"))?;
        Ok(call.params.into_iter().next().expect("one"))
    }

    #[test]
    fn every_type_is_read() {
        for (text, wanted) in [
            ("<value>a &amp; b</value>", json!("a & b")),
            ("<value><string> x </string></value>", json!(" x ")),
            ("<value><i4>-7</i4></value>", json!(-7)),
            ("<value>\n<boolean>1</boolean>\n</value>", json!(true)),
            ("<value><double>1.5</double></value>", json!(1.5)),
            (
                "<value><array><data><value>a</value><value><int>1</int></value></data></array></value>",
                json!(["a", 1]),
            ),
            (
                "<value><struct><member><name>n</name><value><nil/></value></member></struct></value>",
                json!({ "n": null }),
            ),
        ] {
            assert_eq!(param(text), Ok(wanted), "{text}");
        }
        let none = Call {
            method: "status".to_owned(),
            params: vec![],
        };
        assert_eq!(call(""), Ok(none));
    }

    #[test]
    fn what_is_no_call_is_told() {
        let deep = "<value><array><data>".repeat(30);
        for (text, why) in [
            ("", "no XML"),
            ("<methodCall>", "no XML"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><methodCall/>", "no XML"),
            ("<x/>", "no methodCall"),
            ("<methodCall/>", "no methodName"),
            ("<methodCall/><x/>", "behind the call"),
        ] {
            let error = read(text.as_bytes()).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        for (value, why) in [
            ("<value><int>x</int></value>", "`x` is no int"),
            ("<value><boolean>2</boolean></value>", "no boolean"),
            ("<value><thing/></value>", "`thing` is no type"),
            ("<value><array/></value>", "no data"),
            (deep.as_str(), "64 levels"),
        ] {
            let error = param(value).expect_err(value);
            assert!(error.contains(why), "{value}: {error}");
        }
    }

    #[test]
    fn answers_are_read_back() {
        let all = json!({ "a": [1, -2.5, true, null, "x < y"], "b": 3_000_000_000_i64 });
        let text = response(&all);
        let root = tree(text.as_bytes()).expect("XML");
        let param = root
            .child("params")
            .and_then(|params| params.child("param"));
        let read = value(
            param
                .and_then(|param| param.child("value"))
                .expect("a value"),
        );
        assert_eq!(read, Ok(all));
        assert!(fault(403, "no & no").contains("<string>no &amp; no</string>"));
        assert!(fault(403, "").contains("<name>faultCode</name><value><int>403</int></value>"));
    }
}
