//! Server-sent events, as the HTML standard writes them.

use std::fmt;

/// A server-sent event. A line break in its name or id would end it, and is left out.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// A line that clients do not see; keeps a connection alive.
    pub comment: Option<&'a str>,
    /// Its name.
    pub event: Option<&'a str>,
    /// Its text, of one or more lines.
    pub data: Option<&'a str>,
    /// What a client says when it connects again.
    pub id: Option<&'a str>,
    /// How many milliseconds a client waits before it connects again.
    pub retry: Option<u64>,
}

impl<'a> Event<'a> {
    /// An event with a text and nothing else.
    pub fn data(data: &'a str) -> Event<'a> {
        Event {
            data: Some(data),
            ..Event::default()
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn lines(text: &str) -> impl Iterator<Item = &str> {
            text.split("\r\n").flat_map(|part| part.split(['\r', '\n']))
        }
        let one_line = |text: &str| text.replace(['\r', '\n', '\0'], "");
        for line in self.comment.into_iter().flat_map(lines) {
            writeln!(f, ": {line}")?;
        }
        if let Some(name) = self.event {
            writeln!(f, "event: {}", one_line(name))?;
        }
        for line in self.data.into_iter().flat_map(lines) {
            writeln!(f, "data: {line}")?;
        }
        if let Some(id) = self.id {
            writeln!(f, "id: {}", one_line(id))?;
        }
        if let Some(retry) = self.retry {
            writeln!(f, "retry: {retry}")?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_line_by_line() {
        let event = Event {
            comment: Some("alive"),
            event: Some("new\ns"),
            data: Some("one\r\ntwo\rthree\n"),
            id: Some("7"),
            retry: Some(500),
        };
        let text = ": alive\nevent: news\ndata: one\ndata: two\ndata: three\ndata: \nid: 7\nretry: 500\n\n";
        assert_eq!(event.to_string(), text);
        assert_eq!(Event::data("x").to_string(), "data: x\n\n");
    }
}
