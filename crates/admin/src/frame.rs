//! What goes over the control socket: one JSON object a line.
//!
//! A client says `{"command": NAME, "args": […], "secrets": […], "json": true, "folder": PATH, "progress": true}`, all but
//! `command` optional; `folder` is where relative paths among the arguments begin. The node answers each with two lines:
//! `{"wait_ms": N}`, how long the command may take, and then either `{"text": TEXT, "exposed": BOOL}` (`"json": VALUE` if
//! asked for) or `{"error": {"kind": WORD, "message": TEXT, "secrets": […]}}`. Between the two stand, if `progress` asked
//! for them, any number of `{"progress": {"done": N, "total": N, "unit": WORD}}`; a client that is not there to take
//! them any more ends the command. What is no request is answered by the error line alone, with the kind `protocol`.

use crate::error::CommandError;
use crate::parse::Given;
use crate::progress::Step;
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
    /// Whether the client wants to hear how far the command has come.
    pub progress: bool,
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
        let truth = |value: Option<Value>, wrong: &'static str| match value {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(truth),
            Some(_) => Err(wrong),
        };
        let json = truth(object.remove("json"), "`json` is neither true nor false")?;
        let progress = object.remove("progress");
        let progress = truth(progress, "`progress` is neither true nor false")?;
        let mut given = Given::words(args);
        given.folder = match object.remove("folder") {
            None => None,
            Some(Value::String(folder)) => Some(folder.into()),
            Some(_) => return Err("`folder` is no text"),
        };
        given.secrets.extend(secrets.into_iter().map(Secret::new));
        Ok(Request {
            command,
            given,
            json,
            progress,
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
        let mut line = json!({"command": self.command, "args": self.given.words, "secrets": secrets, "json": self.json});
        secrets.zeroize();
        // A folder whose name is no text cannot be told: paths are then relative to the node's, as in its answer.
        if let Some(folder) = self
            .given
            .folder
            .as_ref()
            .and_then(|folder| folder.to_str())
        {
            line["folder"] = json!(folder);
        }
        if self.progress {
            line["progress"] = json!(true);
        }
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

pub(crate) fn progress_line(step: Step) -> String {
    let Step { done, total, unit } = step;
    let line = json!({"progress": {"done": done, "total": total, "unit": unit}});
    format!("{line}\n")
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
    /// It has come so far.
    Progress { done: u64, total: u64, unit: String },
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
        if let Some(step) = object.get("progress") {
            let number = |name: &str| step.get(name).and_then(Value::as_u64);
            return Some(Answer::Progress {
                done: number("done")?,
                total: number("total")?,
                unit: step.get("unit")?.as_str()?.to_owned(),
            });
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
        let mut given = Given::words(["a", "ü\n"]).secret(Secret::new("s"));
        given.folder = Some("/srv/ä".into());
        let line = Request {
            command: "x".into(),
            given,
            json: true,
            progress: true,
        }
        .line();
        assert_eq!(line.matches('\n').count(), 1);
        let Ok(read) = Request::parse(line.as_bytes()) else {
            panic!("refused")
        };
        assert_eq!((read.command.as_str(), read.json), ("x", true));
        assert!(read.progress);
        assert_eq!(read.given.folder.as_deref(), Some("/srv/ä".as_ref()));
        assert_eq!(read.given.words, ["a", "ü\n"]);
        assert_eq!(read.given.secrets[0].expose(), "s");
    }

    #[test]
    fn garbage_is_named() {
        let pairs: [(&[u8], &str); 9] = [
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
            (
                b"{\"command\":\"x\",\"progress\":null}",
                "`progress` is neither true nor false",
            ),
            (b"{\"command\":\"x\",\"folder\":7}", "`folder` is no text"),
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
        let step = Step {
            done: 1,
            total: 2,
            unit: "bytes",
        };
        let progress = Answer::Progress {
            done: 1,
            total: 2,
            unit: "bytes".to_owned(),
        };
        assert_eq!(read(progress_line(step)), progress);
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
