//! What goes over the control socket: one JSON object a line.
//!
//! A client says `{"command": NAME, "args": […], "secrets": […], "json": true}`, all but `command` optional. The node
//! answers each with two lines: `{"wait_ms": N}`, how long the command may take, and then either
//! `{"text": TEXT, "exposed": BOOL}` (`"json": VALUE` if asked for) or
//! `{"error": {"kind": WORD, "message": TEXT, "secrets": […]}}`. What is no request is answered by the error line
//! alone, with the kind `protocol`.

use crate::error::CommandError;
use crate::parse::Given;
use config::Secret;
use serde_json::{Value, json};
use std::time::Duration;
use zeroize::Zeroize;

/// The largest request in bytes, 1 MiB.
pub(crate) const LARGEST_REQUEST: usize = 1024 * 1024;

/// One request.
pub(crate) struct Request {
    pub command: String,
    pub given: Given,
    pub json: bool,
}

impl Request {
    /// Reads one line.
    pub fn parse(line: &[u8]) -> Result<Request, &'static str> {
        let parsed = serde_json::from_slice(line).map_err(|_| "the request is no JSON")?;
        let Value::Object(mut object) = parsed else {
            return Err("the request is no JSON object");
        };
        let Some(Value::String(command)) = object.remove("command") else {
            return Err("the request has no text `command`");
        };
        let args = texts(object.remove("args")).ok_or("`args` is no list of texts")?;
        let secrets = texts(object.remove("secrets")).ok_or("`secrets` is no list of texts")?;
        let json = match object.remove("json") {
            None => false,
            Some(Value::Bool(json)) => json,
            Some(_) => return Err("`json` is neither true nor false"),
        };
        let mut given = Given::words(args);
        given.secrets.extend(secrets.into_iter().map(Secret::new));
        Ok(Request {
            command,
            given,
            json,
        })
    }

    /// Writes one line.
    pub fn line(&self) -> String {
        let mut secrets: Vec<String> = self
            .given
            .secrets
            .iter()
            .map(|s| s.expose().to_owned())
            .collect();
        let line = json!({"command": self.command, "args": self.given.words, "secrets": secrets, "json": self.json});
        secrets.zeroize();
        format!("{line}\n")
    }
}

fn texts(value: Option<Value>) -> Option<Vec<String>> {
    let elements = match value {
        None => return Some(Vec::new()),
        Some(Value::Array(elements)) => elements,
        Some(_) => return None,
    };
    let text = |element| match element {
        Value::String(text) => Some(text),
        _ => None,
    };
    elements.into_iter().map(text).collect()
}

pub(crate) fn wait_line(deadline: Duration) -> String {
    let wait = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    format!("{}\n", json!({ "wait_ms": wait }))
}

pub(crate) fn done_line(value: &crate::Value, exposed: bool, as_json: bool) -> String {
    let line = match as_json {
        true => json!({"json": value.to_json(), "exposed": exposed}),
        false => json!({"text": crate::render(value), "exposed": exposed}),
    };
    format!("{line}\n")
}

pub(crate) fn error_line(error: &CommandError) -> String {
    let secrets: &[String] = match error {
        CommandError::MissingSecret(names) => names,
        _ => &[],
    };
    let line =
        json!({"error": {"kind": error.kind(), "message": error.to_string(), "secrets": secrets}});
    format!("{line}\n")
}

pub(crate) fn protocol_line(message: &str) -> String {
    format!(
        "{}\n",
        json!({"error": {"kind": "protocol", "message": message, "secrets": []}})
    )
}

/// What a client reads.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// The command is being carried out and may take so long.
    Wait(Duration),
    /// It is done.
    Done { output: String, exposed: bool },
    /// It is not.
    Error {
        kind: String,
        message: String,
        secrets: Vec<String>,
    },
}

impl Answer {
    /// Reads one line; `None` if a node would not have written it.
    pub fn parse(line: &[u8]) -> Option<Answer> {
        let mut object: Value = serde_json::from_slice(line).ok()?;
        if let Some(wait) = object.get("wait_ms").and_then(Value::as_u64) {
            return Some(Answer::Wait(Duration::from_millis(wait)));
        }
        let exposed = object
            .get("exposed")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        if let Some(text) = object.get("text").and_then(Value::as_str) {
            let output = text.to_owned();
            return Some(Answer::Done { output, exposed });
        }
        if let Some(json) = object.get("json") {
            let output = format!("{}\n", serde_json::to_string_pretty(json).ok()?);
            return Some(Answer::Done { output, exposed });
        }
        let error = object.get_mut("error")?;
        let secrets = texts(error.get_mut("secrets").map(Value::take))?;
        let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Answer::Error {
            kind: text("kind")?,
            message: text("message")?,
            secrets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_there_and_back() {
        let given = Given::words(["a", "ü\n"]).secret(Secret::new("s"));
        let line = Request {
            command: "x".into(),
            given,
            json: true,
        }
        .line();
        assert_eq!(line.matches('\n').count(), 1);
        let Ok(read) = Request::parse(line.as_bytes()) else {
            panic!("refused")
        };
        assert_eq!((read.command.as_str(), read.json), ("x", true));
        assert_eq!(read.given.words, ["a", "ü\n"]);
        assert_eq!(read.given.secrets[0].expose(), "s");
    }

    #[test]
    fn garbage_is_named() {
        let pairs: [(&[u8], &str); 7] = [
            (b"\xff", "the request is no JSON"),
            (b"", "the request is no JSON"),
            (b"[]", "the request is no JSON object"),
            (b"{}", "the request has no text `command`"),
            (
                b"{\"command\":\"x\",\"args\":[1]}",
                "`args` is no list of texts",
            ),
            (
                b"{\"command\":\"x\",\"secrets\":\"s\"}",
                "`secrets` is no list of texts",
            ),
            (
                b"{\"command\":\"x\",\"json\":1}",
                "`json` is neither true nor false",
            ),
        ];
        for (line, message) in pairs {
            assert_eq!(Request::parse(line).err(), Some(message));
        }
    }

    #[test]
    fn answers_there_and_back() {
        let read = |line: String| Answer::parse(line.as_bytes()).expect("written by us");
        assert_eq!(
            read(wait_line(Duration::from_secs(30))),
            Answer::Wait(Duration::from_secs(30))
        );
        let value = crate::Value::from(vec!["a"]);
        let done = |output: &str, exposed| Answer::Done {
            output: output.to_owned(),
            exposed,
        };
        assert_eq!(read(done_line(&value, false, false)), done("a\n", false));
        assert_eq!(
            read(done_line(&value, true, true)),
            done("[\n  \"a\"\n]\n", true)
        );
        let error = CommandError::MissingSecret(vec!["PASSWORD".into()]);
        let expected = Answer::Error {
            kind: "secret".into(),
            message: "PASSWORD is missing".into(),
            secrets: vec!["PASSWORD".into()],
        };
        assert_eq!(read(error_line(&error)), expected);
        assert_eq!(Answer::parse(b"{}"), None);
    }
}
