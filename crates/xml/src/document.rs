//! Documents: files that are read part by part, however long they are.

use std::fmt;
use std::mem;
use std::sync::Arc;

use rxml::error::EndOrError;
use rxml::{Event, Parse, Parser, WithOptions};

use crate::chars::is_space;
use crate::element::Strings;
use crate::events::{Writer, explain, parser_options};
use crate::{Element, Error, Known, Limits, Name, Namespace, StartTag, parse_element};

/// A place in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: u64,
    /// The character of the line, from 1.
    pub column: u64,
}

impl Position {
    /// The first character.
    pub const START: Position = Position { line: 1, column: 1 };

    /// Returns the place behind `bytes`, where they begin here.
    #[must_use]
    pub fn behind(mut self, bytes: &[u8]) -> Position {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.column = 1;
                }
                // The rest of a character of several bytes.
                0x80..=0xBF => {}
                _ => self.column += 1,
            }
        }
        self
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a document cannot be read on, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {error}")]
pub struct DocumentError {
    /// Where reading stopped.
    pub at: Position,
    /// What is wrong there.
    pub error: Error,
}

/// What a document consists of. White space and comments between parts are swallowed.
#[derive(Debug, Clone)]
pub enum Part {
    /// The opening tag of an element whose content comes part by part.
    Open(StartTag),
    /// A whole element, in a form that stands alone.
    Element(Element),
    /// The closing tag that belongs to an [`Part::Open`].
    Close,
}

/// Goes through a document of any length. Which elements are opened and which come whole its user decides.
///
/// Memory: one element that comes whole, at most [`Limits::bytes`] of it as written and as read. Comments inside
/// of the root are allowed, all else that streams may not have (RFC 6120 §11.1) is refused here too.
pub struct DocumentReader {
    parser: Parser,
    limits: Limits,
    known: &'static Known,
    opens: fn(namespace: &str, name: &str) -> bool,
    /// Elements that were opened and not closed.
    open: usize,
    /// The element that is being read to come whole, and where it begins.
    whole: Option<(Writer, Position)>,
    /// Where the last part begins.
    part: Position,
    /// How far the events have come, and what the parser has taken beyond.
    told: Position,
    taken: Vec<u8>,
    /// Something other than white space has come.
    begun: bool,
    ended: bool,
    failed: Option<DocumentError>,
}

impl DocumentReader {
    /// Returns a reader at the beginning of a document. `limits` are those of an element that comes whole; `opens`
    /// says of a namespace and a name whether such elements are opened.
    pub fn new(limits: Limits, opens: fn(namespace: &str, name: &str) -> bool) -> DocumentReader {
        let mut options = parser_options();
        options.comments = rxml::parser::CommentMode::Discard;
        DocumentReader {
            parser: Parser::with_options(options),
            limits,
            known: Known::NONE,
            opens,
            open: 0,
            whole: None,
            part: Position::START,
            told: Position::START,
            taken: Vec::new(),
            begun: false,
            ended: false,
            failed: None,
        }
    }

    /// Sets the namespaces for which nothing is allocated.
    #[must_use]
    pub fn known(mut self, namespaces: &'static Known) -> DocumentReader {
        self.known = namespaces;
        self
    }

    /// Returns where the part that was read last begins.
    pub fn position(&self) -> Position {
        self.part
    }

    /// Takes bytes from the front of `input` and returns the next part, or `None` when `input` is used up without
    /// completing one.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the bytes; the same error is returned ever after.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Part>, DocumentError> {
        self.advance(input, false)
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] unless the root was closed; and as [`DocumentReader::feed`].
    pub fn end(&mut self) -> Result<(), DocumentError> {
        self.advance(&mut &b""[..], true).map(drop)
    }

    fn advance(&mut self, input: &mut &[u8], last: bool) -> Result<Option<Part>, DocumentError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let result = self.read(input, last).map_err(|error| DocumentError {
            at: self.told.behind(&self.taken),
            error,
        });
        if let Err(failed) = &result {
            self.failed = Some(failed.clone());
            self.whole = None;
            self.taken = Vec::new();
        }
        result
    }

    fn read(&mut self, input: &mut &[u8], last: bool) -> Result<Option<Part>, Error> {
        if !self.begun {
            // The parser wants to see a tag first.
            let spaces = input.iter().take_while(|byte| is_space(**byte)).count();
            self.told = self.told.behind(&input[..spaces]);
            *input = &input[spaces..];
            self.begun = !input.is_empty();
            if !self.begun && !last {
                return Ok(None);
            }
        }
        loop {
            if self.ended {
                let rest = mem::take(input);
                let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
                self.taken.extend_from_slice(&rest[..spaces]);
                return match rest.get(spaces) {
                    None => Ok(None),
                    Some(_) => Err(Error::NotWellFormed(
                        "something behind the root element".into(),
                    )),
                };
            }
            let before = *input;
            let result = self.parser.parse(input, last);
            let taken = &before[..before.len() - input.len()];
            self.taken.extend_from_slice(taken);
            match result {
                Ok(Some(event)) => {
                    if let Some(part) = self.take(event)? {
                        return Ok(Some(part));
                    }
                }
                Ok(None) => return Err(Error::Truncated),
                Err(EndOrError::NeedMoreData) if last => return Err(Error::Truncated),
                Err(EndOrError::NeedMoreData) if self.taken.len() > self.limits.bytes => {
                    return Err(self.too_big());
                }
                Err(EndOrError::NeedMoreData) => return Ok(None),
                Err(EndOrError::Error(rxml::Error::InvalidEof(_))) => return Err(Error::Truncated),
                Err(EndOrError::Error(error)) => return Err(explain(&error, &self.taken)),
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<Option<Part>, Error> {
        let begins = self.move_on(&event);
        if let Some((mut writer, start)) = self.whole.take() {
            if let Event::StartElement(_, _, attrs) = &event {
                self.check_attributes(attrs.len())?;
            }
            writer.write(event);
            if writer.out.len() > self.limits.bytes {
                return Err(self.too_big());
            }
            if writer.depth() > self.limits.depth {
                let limit = self.limits.depth;
                return Err(Error::TooDeep { limit });
            }
            if writer.depth() > 0 {
                self.whole = Some((writer, start));
                return Ok(None);
            }
            self.part = start;
            self.ended = self.open == 0;
            let element = parse_element(writer.out.as_bytes(), "", self.known, self.limits)?;
            return Ok(Some(Part::Element(element)));
        }
        match event {
            Event::XmlDeclaration(..) => Ok(None),
            Event::StartElement(metrics, (namespace, name), attrs) => {
                self.check_attributes(attrs.len())?;
                if !(self.opens)(&namespace, &name) {
                    let mut writer = Writer::alone();
                    writer.write(Event::StartElement(metrics, (namespace, name), attrs));
                    self.whole = Some((writer, begins));
                    return Ok(None);
                }
                self.open += 1;
                self.part = begins;
                Ok(Some(Part::Open(self.tag(&namespace, name, attrs))))
            }
            Event::EndElement(_) => {
                self.open -= 1;
                self.part = begins;
                self.ended = self.open == 0;
                Ok(Some(Part::Close))
            }
            Event::Text(_, text) if text.bytes().all(is_space) => Ok(None),
            Event::Text(..) => {
                self.told = begins;
                self.taken.clear();
                Err(Error::TextOutside)
            }
        }
    }

    /// Counts the bytes of an event as told; where it begins.
    fn move_on(&mut self, event: &Event) -> Position {
        let length = match event {
            Event::XmlDeclaration(metrics, _)
            | Event::StartElement(metrics, ..)
            | Event::EndElement(metrics)
            | Event::Text(metrics, _) => metrics.len(),
        };
        let bytes = &self.taken[..length.min(self.taken.len())];
        // White space and comments before a tag count to it.
        let lead = match event {
            Event::StartElement(..) | Event::EndElement(_) => lead(bytes),
            _ => 0,
        };
        let begins = self.told.behind(&bytes[..lead]);
        self.told = begins.behind(&bytes[lead..]);
        self.taken.drain(..length.min(self.taken.len()));
        begins
    }

    fn tag(&self, namespace: &str, name: rxml::NcName, attrs: rxml::AttrMap) -> StartTag {
        let mut strings = Strings::default();
        for ((namespace, name), value) in attrs {
            let namespace = Namespace::interned(namespace.as_str(), self.known);
            strings.push_attr(namespace, &name, |text| text.push_str(&value));
        }
        StartTag {
            name: Name::checked(&name),
            prefix: None,
            namespace: Namespace::interned(namespace, self.known),
            attrs: Box::new(strings),
            context: Arc::default(),
        }
    }

    fn check_attributes(&self, count: usize) -> Result<(), Error> {
        let limit = self.limits.attributes;
        if count > limit {
            return Err(Error::TooManyAttributes { limit });
        }
        Ok(())
    }

    fn too_big(&self) -> Error {
        let limit = self.limits.bytes;
        Error::TooBig { limit }
    }
}

/// How many bytes stand before the last tag of an event's.
fn lead(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        let rest = &rest[spaces..];
        if !rest.starts_with(b"<!--") {
            return if rest.is_empty() { 0 } else { at + spaces };
        }
        match memchr::memmem::find(rest, b"-->") {
            Some(end) => at += spaces + end + 3,
            None => return at + spaces,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes: 200,
        depth: 3,
        attributes: 3,
        children: 10,
    };

    fn opens(namespace: &str, name: &str) -> bool {
        (namespace == "urn:d" && name == "box") || name == "all" || name == "r"
    }

    /// What is told of `text`, each part with where it begins.
    fn story(text: &str, step: usize) -> Vec<String> {
        let mut reader = DocumentReader::new(LIMITS, opens);
        let mut told = Vec::new();
        let mut note = |reader: &DocumentReader, what: String| {
            told.push(format!("{} {what}", reader.position()));
        };
        for mut piece in text.as_bytes().chunks(step) {
            loop {
                match reader.feed(&mut piece) {
                    Ok(None) => break,
                    Ok(Some(Part::Open(tag))) => {
                        let id = tag.attr("id").unwrap_or_default().to_owned();
                        note(&reader, format!("open {} {id}", tag.name()));
                    }
                    Ok(Some(Part::Element(element))) => {
                        let text = String::from_utf8(element.bytes().to_vec()).unwrap();
                        note(&reader, text);
                    }
                    Ok(Some(Part::Close)) => note(&reader, "close".to_owned()),
                    Err(error) => {
                        told.push(format!("error {error}"));
                        return told;
                    }
                }
            }
        }
        told.push(match reader.end() {
            Ok(()) => "end".to_owned(),
            Err(error) => format!("error {error}"),
        });
        told
    }

    #[test]
    fn parts_come_with_their_places() {
        let text = "<?xml version='1.0' encoding='UTF-8'?>\n \n<d:all xmlns:d='urn:d' id='r'>\n  \
            <d:box\n id='1'>é<!-- x\n --></d:box></d:all>\n";
        let whole = ["2:1 <a>x</a>", "end"];
        assert_eq!(story("\n<a>x</a>\n", 3), whole);
        let error = "error 5:9: text outside of an element";
        assert_eq!(story(text, 7).last().map(String::as_str), Some(error));
        let text = text.replace("é<!--", "<!--");
        let expected = [
            "3:1 open all r",
            "4:3 open box 1",
            "6:5 close",
            "6:13 close",
            "end",
        ];
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(story(&text, step), expected, "{step}");
        }
        let text = "<all xmlns='urn:d' xmlns:e='urn:e'><box>\n<a b='&lt;'> x &amp; <e:c e:f='1'/></a>\n\
            <box><box/></box></box></all><!-- end -->";
        let expected = [
            "1:1 open all ",
            "1:36 open box ",
            "2:1 <a xmlns=\"urn:d\" b=\"&lt;\"> x &amp; <c xmlns=\"urn:e\" xmlns:a0=\"urn:e\" a0:f=\"1\"/></a>",
            "3:1 open box ",
            "3:6 open box ",
            "3:12 close",
            "3:12 close",
            "3:18 close",
            "3:24 close",
        ];
        for step in [1, 5, 1000] {
            assert_eq!(story(text, step)[..expected.len()], expected, "{step}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let many = format!("<r>{}</r>", "<a/>".repeat(1000));
        assert_eq!(story(&many, 9).len(), 1003);
        let long = format!("<r>\n<a>{}</a></r>", "x".repeat(300));
        let children = format!("<r><a>{}</a></r>", "<b/>".repeat(11));
        for (text, error) in [
            ("<r><a></r>", "not well-formed"),
            ("<r>", "1:4: the stream ended in the middle"),
            ("<r><a>", "1:7: the stream ended in the middle"),
            ("<r><a/></r", "1:11: the stream ended in the middle"),
            ("", "1:1: the stream ended in the middle"),
            ("no XML", "not well-formed"),
            (
                "<r/>\n<r/>",
                "2:1: not well-formed: something behind the root element",
            ),
            (
                "<!DOCTYPE r><r/>",
                "restricted XML: document type declarations",
            ),
            ("<r>&eacute;</r>", "restricted XML: entities"),
            (
                "<r><?php ?></r>",
                "1:7: restricted XML: processing instructions",
            ),
            ("<r>\u{1}</r>", "not well-formed"),
            ("<r><p:a/></r>", "not well-formed"),
            (
                "<r><a><b><c><d/></c></b></a></r>",
                "elements nested deeper than 3",
            ),
            ("<r><a b='' c='' d='' e=''/></r>", "more than 3 attributes"),
            ("<r b='' c='' d='' e=''/>", "more than 3 attributes"),
            (&long, "more than 200 bytes in one element"),
            (&children, "more than 10 children"),
        ] {
            for step in [1, 1000] {
                let last = story(text, step).pop().unwrap_or_default();
                assert!(
                    last.starts_with("error ") && last.contains(error),
                    "{text}: {last}"
                );
            }
        }
    }

    #[test]
    fn an_endless_tag_is_stopped() {
        let mut reader = DocumentReader::new(LIMITS, opens);
        let mut taken = 0;
        let error = loop {
            taken += 10;
            assert!(taken < 1000, "it is not stopped");
            let mut piece: &[u8] = if taken == 10 {
                b"<r a='1' b"
            } else {
                b"          "
            };
            match reader.feed(&mut piece) {
                Ok(part) => assert!(part.is_none()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.error, Error::TooBig { limit: 200 });
        assert_eq!(reader.feed(&mut &b">"[..]).unwrap_err(), error);
    }
}
