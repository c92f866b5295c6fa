//! The scanner's states: which bytes may come next, wherever the bytes before were cut.
//!
//! A state that runs out of bytes keeps where it stands and goes on there; only what is bounded by
//! a few bytes (a reference, `<![CDATA[`) is looked at again from its beginning. An error is found
//! at the first character that no well-formed stream can have there.

use std::ops::Range;

use crate::chars::{
    self, IN_VALUE, LATER, NAME, SPACE, check_token, class, forbidden, is_noncharacter, is_space,
    not_well_formed, reference,
};
use crate::tags::{QName, Tags, Value};
use crate::{Error, Frame, Limits};

pub(crate) use crate::tags::Stream;

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Text, or the space before the root.
    Text,
    /// The byte behind `<`.
    Opened,
    /// The name of a start tag.
    Head,
    /// Between attributes.
    Tag {
        /// White space stands before.
        spaced: bool,
    },
    /// The byte behind `/` in a start tag.
    Slash,
    /// The name of an attribute.
    Attribute,
    /// Between that name and `=`.
    Equals,
    /// Between `=` and the quote.
    Quote,
    /// The value that this quote ends.
    Value(u8),
    /// The name of an end tag.
    Foot,
    /// Between that name and `>`.
    FootEnd,
    /// Behind `<!`.
    Bang,
    /// Inside `<![CDATA[`.
    Cdata,
    /// Behind `<?`.
    Ask,
    /// The byte behind `?` in the XML declaration.
    AskEnd,
}

/// What of the XML declaration may come next (XML 1.0 §2.8 [23]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Declared {
    /// No declaration was seen.
    Nothing,
    /// `<?xml`, which `version` must follow.
    Begun,
    Version,
    Encoding,
    Standalone,
    /// The declaration is over.
    All,
}

/// Reader of one frame. Positions count from the frame's first byte.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    position: usize,
    /// Where the token in question begins.
    mark: usize,
    /// Where the last `<` stands.
    bracket: usize,
    /// By how many bytes the value is shorter than it is written.
    saved: usize,
    /// The value is not what is written.
    cooked: bool,
    declared: Declared,
    /// The attribute being read.
    name: QName,
    tags: Tags,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            state: State::Text,
            position: 0,
            mark: 0,
            bracket: 0,
            saved: 0,
            cooked: false,
            declared: Declared::Nothing,
            name: QName::default(),
            tags: Tags::default(),
        }
    }
}

impl Machine {
    /// Where the frame ends, once there is one; before, how far everything is known.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes on with a frame of which `text` is known: more than last time, never less.
    pub fn run(
        &mut self,
        stream: &mut Stream,
        limits: &Limits,
        text: &str,
    ) -> Result<Option<Frame>, Error> {
        let bytes = text.as_bytes();
        let mut at = self.position;
        loop {
            // Every state needs a byte more.
            let Some(&byte) = bytes.get(at) else {
                self.position = at;
                return Ok(None);
            };
            match self.state {
                State::Text => match self.text(stream, text, at)? {
                    Some(next) => at = next,
                    None => return Ok(None),
                },
                State::Opened => {
                    at += 1;
                    self.mark = at;
                    self.state = match byte {
                        b'/' if stream.root.is_some() => State::Foot,
                        b'!' => State::Bang,
                        b'?' => State::Ask,
                        _ if class(byte) & (NAME | LATER) == NAME => {
                            self.mark = at - 1;
                            State::Head
                        }
                        _ => return Err(not_well_formed("no name behind <")),
                    };
                }
                State::Head => {
                    at += chars::run(&bytes[at..], NAME);
                    check_token(at - self.mark)?;
                    let Some(&end) = bytes.get(at) else { continue };
                    if !matches!(end, b'>' | b'/' | b'=' | b'"' | b'\'') && !is_space(end) {
                        return Err(not_well_formed("a malformed start tag"));
                    }
                    let name = QName::new(text, self.mark, at)?;
                    self.tags.begin(stream, limits, name, self.bracket)?;
                    self.state = State::Tag { spaced: false };
                }
                State::Tag { spaced } => {
                    if class(byte) & SPACE != 0 {
                        at += chars::run(&bytes[at..], SPACE);
                        self.state = State::Tag { spaced: true };
                        continue;
                    }
                    if spaced && class(byte) & (NAME | LATER) == NAME {
                        self.mark = at;
                        self.state = State::Attribute;
                        continue;
                    }
                    at += 1;
                    match (byte, self.in_declaration()) {
                        (b'>', false) => {
                            self.state = State::Text;
                            self.mark = at;
                            if let Some(frame) = self.tags.open(stream, limits, text, at)? {
                                self.position = at;
                                return Ok(Some(frame));
                            }
                        }
                        (b'/', false) => self.state = State::Slash,
                        (b'?', true) => self.state = State::AskEnd,
                        _ => return Err(not_well_formed("a malformed tag")),
                    }
                }
                State::Slash => {
                    if byte != b'>' {
                        return Err(not_well_formed("a / inside a tag"));
                    }
                    at += 1;
                    self.state = State::Text;
                    self.mark = at;
                    let opened = self.tags.open(stream, limits, text, at)?;
                    stream.empty = opened.is_some();
                    let frame = match opened {
                        Some(root) => Some(root),
                        None => self.tags.close(stream, text, at, at),
                    };
                    if frame.is_some() {
                        self.position = at;
                        return Ok(frame);
                    }
                }
                State::Attribute => {
                    at += chars::run(&bytes[at..], NAME);
                    check_token(at - self.mark)?;
                    let Some(&end) = bytes.get(at) else { continue };
                    if end != b'=' && !is_space(end) {
                        return Err(not_well_formed("an attribute without a value"));
                    }
                    self.name = QName::new(text, self.mark, at)?;
                    self.attribute_named(text)?;
                    self.state = State::Equals;
                }
                State::Equals => match byte {
                    b'=' => {
                        at += 1;
                        self.state = State::Quote;
                    }
                    _ if is_space(byte) => at += 1,
                    _ => return Err(not_well_formed("an attribute without a value")),
                },
                State::Quote => {
                    at += 1;
                    match byte {
                        b'"' | b'\'' => {
                            self.mark = at;
                            self.saved = 0;
                            self.cooked = false;
                            self.state = State::Value(byte);
                        }
                        _ if is_space(byte) => {}
                        _ => return Err(not_well_formed("a value without quotes")),
                    }
                }
                State::Value(quote) => match self.value(bytes, at, quote)? {
                    Some(end) => {
                        self.attribute_valued(limits, text, self.mark..end)?;
                        at = end + 1;
                        self.state = State::Tag { spaced: false };
                    }
                    None => return Ok(None),
                },
                State::Foot => {
                    at += chars::run(&bytes[at..], NAME);
                    check_token(at - self.mark)?;
                    let Some(&end) = bytes.get(at) else { continue };
                    if end != b'>' && !is_space(end) {
                        return Err(not_well_formed("a malformed end tag"));
                    }
                    if !self.tags.is_open(stream, text, self.mark..at) {
                        return Err(not_well_formed("start tag and end tag do not match"));
                    }
                    self.state = State::FootEnd;
                }
                State::FootEnd => {
                    at += 1;
                    match byte {
                        b'>' => {
                            self.state = State::Text;
                            self.mark = at;
                            let foot = self.bracket;
                            if let Some(frame) = self.tags.close(stream, text, foot, at) {
                                self.position = at;
                                return Ok(Some(frame));
                            }
                        }
                        _ if is_space(byte) => {}
                        _ => return Err(not_well_formed("a malformed end tag")),
                    }
                }
                State::Bang => {
                    match &bytes[self.mark..=at] {
                        b"-" => {}
                        b"--" => return Err(Error::Restricted("comments")),
                        seen if b"[CDATA[".starts_with(seen) => {}
                        [_] => return Err(Error::Restricted("document type declarations")),
                        _ => return Err(not_well_formed("a malformed <!")),
                    }
                    at += 1;
                    if at - self.mark == b"[CDATA[".len() {
                        if stream.root.is_none() {
                            return Err(not_well_formed("text where a stream begins"));
                        }
                        self.state = State::Cdata;
                        self.mark = at;
                    }
                }
                State::Cdata => match self.cdata(text, at)? {
                    Some(next) => at = next,
                    None => return Ok(None),
                },
                State::Ask => {
                    let fresh = stream.root.is_none() && self.declared == Declared::Nothing;
                    let seen = &bytes[self.mark..=at];
                    if !b"xml".starts_with(seen) || (seen.len() == 3 && !fresh) {
                        return Err(Error::Restricted("processing instructions"));
                    }
                    at += 1;
                    if seen.len() == 3 {
                        self.declared = Declared::Begun;
                        self.state = State::Tag { spaced: false };
                    }
                }
                State::AskEnd => {
                    if byte != b'>' || self.declared < Declared::Version {
                        return Err(not_well_formed("a malformed XML declaration"));
                    }
                    at += 1;
                    self.declared = Declared::All;
                    self.state = State::Text;
                    self.mark = at;
                }
            }
        }
    }

    /// Reads text up to the next `<` or the end of a reference; `None` when the bytes end.
    fn text(&mut self, stream: &Stream, text: &str, at: usize) -> Result<Option<usize>, Error> {
        let bytes = text.as_bytes();
        let end = memchr::memchr2(b'<', b'&', &bytes[at..]);
        let end = end.map_or(bytes.len(), |length| at + length);
        if at < end {
            if stream.root.is_none() && !bytes[at..end].iter().all(|&byte| is_space(byte)) {
                return Err(not_well_formed("text where a stream begins"));
            }
            self.outside(bytes, at..end)?;
            chars::check_text(bytes, self.mark, at, end, false)?;
            self.tags.text(text, self.mark, at..end);
        }
        self.position = end;
        match bytes.get(end) {
            None => Ok(None),
            Some(b'<') => {
                self.bracket = end;
                self.state = State::Opened;
                Ok(Some(end + 1))
            }
            Some(_) if stream.root.is_none() => Err(not_well_formed("text where a stream begins")),
            Some(_) => {
                let Some((ch, length)) = reference(&bytes[end + 1..])? else {
                    return Ok(None);
                };
                if self.tags.is_outside() && !matches!(ch, ' ' | '\t' | '\n' | '\r') {
                    return Err(Error::TextOutside);
                }
                self.tags.character(ch);
                self.mark = end + 1 + length;
                Ok(Some(self.mark))
            }
        }
    }

    /// Between first-level elements only white space may stand.
    fn outside(&self, bytes: &[u8], run: Range<usize>) -> Result<(), Error> {
        if !self.tags.is_outside() {
            return Ok(());
        }
        let other = bytes[run.clone()].iter().position(|&byte| !is_space(byte));
        let Some(other) = other.map(|length| run.start + length) else {
            return Ok(());
        };
        match bytes[other] {
            ..b' ' => Err(forbidden()),
            0xef if is_noncharacter(bytes, other) => Err(forbidden()),
            _ => Err(Error::TextOutside),
        }
    }

    /// Reads a CDATA section up to its end; `None` when the bytes end.
    fn cdata(&mut self, text: &str, at: usize) -> Result<Option<usize>, Error> {
        let bytes = text.as_bytes();
        let found = memchr::memmem::find(&bytes[at..], b"]]>").map(|length| at + length);
        // Brackets where the bytes end may belong to the section's end: they are looked at again.
        let end = found.unwrap_or_else(|| {
            let last = bytes[at..].iter().rev().take(2);
            bytes.len() - last.take_while(|&&byte| byte == b']').count()
        });
        if at < end {
            self.outside(bytes, at..end)?;
            chars::check_text(bytes, self.mark, at, end, true)?;
            self.tags.text(text, self.mark, at..end);
        }
        if found.is_none() {
            self.position = end;
            return Ok(None);
        }
        self.state = State::Text;
        self.mark = end + 3;
        Ok(Some(self.mark))
    }

    /// Reads a value up to the quote that ends it; `None` when the bytes end.
    fn value(&mut self, bytes: &[u8], from: usize, quote: u8) -> Result<Option<usize>, Error> {
        let mut at = from;
        loop {
            at += chars::run_without(&bytes[at..], IN_VALUE);
            check_token(at - self.mark - self.saved)?;
            let Some(&byte) = bytes.get(at) else {
                self.position = at;
                return Ok(None);
            };
            match byte {
                _ if byte == quote => return Ok(Some(at)),
                b'"' | b'\'' => at += 1,
                b'&' => {
                    let Some((ch, length)) = reference(&bytes[at + 1..])? else {
                        self.position = at;
                        return Ok(None);
                    };
                    self.cooked = true;
                    self.saved += 1 + length - ch.len_utf8();
                    at += 1 + length;
                }
                b'\t' | b'\n' | b'\r' => {
                    self.cooked = true;
                    if byte == b'\n' && bytes[self.mark..at].ends_with(b"\r") {
                        self.saved += 1;
                    }
                    at += 1;
                }
                0xef if !is_noncharacter(bytes, at) => at += 3,
                b'<' => return Err(not_well_formed("< in a value")),
                _ => return Err(forbidden()),
            }
        }
    }

    fn in_declaration(&self) -> bool {
        self.declared > Declared::Nothing && self.declared < Declared::All
    }

    fn attribute_named(&self, text: &str) -> Result<(), Error> {
        let name = self.name.whole(text);
        let fine = match self.declared {
            Declared::Nothing | Declared::All => name != "xmlns:xmlns",
            Declared::Begun => name == "version",
            Declared::Version => name == "encoding" || name == "standalone",
            Declared::Encoding => name == "standalone",
            Declared::Standalone => false,
        };
        match fine {
            true => Ok(()),
            false => Err(not_well_formed("an attribute that must not stand there")),
        }
    }

    fn attribute_valued(
        &mut self,
        limits: &Limits,
        text: &str,
        value: Range<usize>,
    ) -> Result<(), Error> {
        let value = Value::new(value, self.cooked);
        if !self.in_declaration() {
            return self.tags.attribute(limits, text, self.name, value);
        }
        let said = value.read(text);
        self.declared = match self.name.whole(text) {
            "version" if said == "1.0" => Declared::Version,
            "version" => return Err(Error::Restricted("XML versions other than 1.0")),
            "encoding" if said.eq_ignore_ascii_case("utf-8") => Declared::Encoding,
            "encoding" => return Err(Error::Encoding),
            _ if said.eq_ignore_ascii_case("yes") => Declared::Standalone,
            _ => return Err(Error::Restricted("documents that do not stand alone")),
        };
        Ok(())
    }
}
