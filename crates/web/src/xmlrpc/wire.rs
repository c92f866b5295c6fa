//! XML-RPC's calls, responses and faults, to and from the values of JSON.
//!
//! Read strictly: no document types, no processing instructions, no comments, so many levels and no more.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
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
    let typed = match node.children.as_slice() {
        [] => return Ok(Value::String(node.text.clone())),
        [typed] if node.text.trim().is_empty() => typed,
        _ => return Err("a value has more in it than one type".to_owned()),
    };
    let is_simple = !matches!(typed.name.as_str(), "array" | "struct");
    if is_simple && !typed.children.is_empty() {
        return Err(format!("a {} has elements in it", typed.name));
    }
    let text = typed.text.trim();
    let wrong = || format!("`{text}` is no {}", typed.name);
    match typed.name.as_str() {
        "string" => Ok(Value::String(typed.text.clone())),
        "base64" => of_base64(text).map(Value::String).ok_or_else(wrong),
        "dateTime.iso8601" if is_date_time(text) => Ok(Value::String(text.to_owned())),
        "dateTime.iso8601" => Err(wrong()),
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
            let mut all = Map::new();
            for member in typed.all("member") {
                let name = &member.child("name").ok_or("a member has no name")?.text;
                let of = member.child("value").ok_or("a member has no value")?;
                if all.insert(name.clone(), value(of)?).is_some() {
                    return Err(format!("the member `{name}` is there twice"));
                }
            }
            Ok(Value::Object(all))
        }
        other => Err(format!("`{other}` is no type of XML-RPC")),
    }
}

/// The text that the octets of a base64 are; arguments of commands are texts.
fn of_base64(text: &str) -> Option<String> {
    let packed: String = text.split_ascii_whitespace().collect();
    String::from_utf8(BASE64_STANDARD.decode(packed).ok()?).ok()
}

/// Whether it has the form of a date with a time of day, as it is by the book or as it is written elsewhere.
fn is_date_time(text: &str) -> bool {
    let digit = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let form: String = text.chars().map(digit).collect();
    let form = form.strip_suffix('Z').unwrap_or(&form);
    ["00000000T00:00:00", "0000-00-00T00:00:00"].contains(&form)
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
            // A double has no exponent: a number of JSON may.
            None => match number.as_f64().filter(|_| number.is_f64()) {
                Some(number) => push(text, format_args!("<double>{number}</double>")),
                None => push(text, format_args!("<double>{number}</double>")),
            },
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
                "<value><i8>3000000000</i8></value>",
                json!(3_000_000_000_i64),
            ),
            (
                "<value><base64>\n c8Opc2\n FtZQ==\n</base64></value>",
                json!("sésame"),
            ),
            (
                "<value><dateTime.iso8601>19980717T14:08:55</dateTime.iso8601></value>",
                json!("19980717T14:08:55"),
            ),
            (
                "<value><x:nil xmlns:x='http://ws.apache.org/xmlrpc/namespaces/extensions'/></value>",
                json!(null),
            ),
            ("<value/>", json!("")),
            ("<value><string/></value>", json!("")),
            ("<value><array><data/></array></value>", json!([])),
            ("<value><struct/></value>", json!({})),
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
            (
                "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><methodCall><methodName>&b;</methodName></methodCall>",
                "no XML",
            ),
            (
                "<methodCall><methodName>&b;</methodName></methodCall>",
                "no XML",
            ),
            ("<!-- c --><methodCall/>", "no XML"),
            ("<methodCall><?p x?></methodCall>", "no XML"),
            (
                "<?xml version='1.0' encoding='iso-8859-1'?><methodCall/>",
                "no XML",
            ),
            ("<?xml version='1.1'?><methodCall/>", "no XML"),
            ("<methodCall><methodName>a</methodName>", "no XML"),
            ("<methodCall><methodName>a</methodCall>", "no XML"),
            ("<methodCall><a:b/></methodCall>", "no XML"),
            ("<methodCall><a b='1' b='2'/></methodCall>", "no XML"),
            ("text", "no XML"),
            (
                "<methodCall><methodName> </methodName></methodCall>",
                "no methodName",
            ),
            (
                "<methodCall><methodName>a</methodName><params><param/></params></methodCall>",
                "no value",
            ),
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
            ("<value><i4>1.5</i4></value>", "`1.5` is no i4"),
            ("<value><i8>9223372036854775808</i8></value>", "is no i8"),
            ("<value><double>inf</double></value>", "`inf` is no double"),
            ("<value><double>NaN</double></value>", "`NaN` is no double"),
            ("<value><base64>!</base64></value>", "`!` is no base64"),
            (
                "<value><base64>/w==</base64></value>",
                "`/w==` is no base64",
            ),
            (
                "<value><dateTime.iso8601>tomorrow</dateTime.iso8601></value>",
                "`tomorrow` is no dateTime.iso8601",
            ),
            ("<value>1<int>1</int></value>", "more in it than one type"),
            (
                "<value><int>1</int><int>2</int></value>",
                "more in it than one type",
            ),
            (
                "<value><int><x/>1</int></value>",
                "a int has elements in it",
            ),
            (
                "<value><struct><member><value>1</value></member></struct></value>",
                "a member has no name",
            ),
            (
                "<value><struct><member><name>n</name></member></struct></value>",
                "a member has no value",
            ),
            (
                "<value><struct><member><name>n</name><value>1</value></member>\
                 <member><name>n</name><value>2</value></member></struct></value>",
                "`n` is there twice",
            ),
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
        let great = response(&json!([1e300, u64::MAX, 1e-7]));
        assert!(
            great.contains("<double>1000000") && !great.contains("e300"),
            "{great}"
        );
        assert!(
            great.contains("<double>18446744073709551615</double>"),
            "{great}"
        );
        assert!(great.contains("<double>0.0000001</double>"), "{great}");
        assert!(fault(403, "no & no").contains("<string>no &amp; no</string>"));
        assert!(fault(403, "").contains("<name>faultCode</name><value><int>403</int></value>"));
    }
}
