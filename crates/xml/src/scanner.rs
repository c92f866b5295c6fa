//! The reader that the server runs: feeds the machine, keeps what is incomplete.

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use crate::chars::{is_space, not_well_formed};
use crate::element::Context;
use crate::machine::{Machine, Stream};
use crate::{Declaration, Element, Error, Frame, Known, Limits, Namespace, Reader};

/// Bytes looked at in place; a longer element, or one cut by the network, is gathered first.
const WINDOW: usize = 1024;

/// Bytes gathered at once, so that what follows an element is copied for nothing only up to here.
const STEP: usize = 4096;

/// The [`Reader`] of the server: one pass over the bytes, each looked at once however they are cut.
///
/// Idle memory: none beyond the struct and the stream's namespace declarations. While an element
/// arrives: its bytes so far, once, and what is known of its tags.
pub struct Scanner {
    stream: Stream,
    limits: Limits,
    /// The frame being read, when earlier calls took some of its bytes.
    partial: Option<Box<Partial>>,
    closed: bool,
    failed: Option<Box<Error>>,
}

/// A frame of which not all bytes are there.
struct Partial {
    machine: Machine,
    text: String,
    /// First bytes of a character cut by the end of what was fed.
    cut: [u8; 4],
    cut_len: usize,
}

impl Scanner {
    /// Returns a reader at the beginning of a stream.
    pub fn new(limits: Limits) -> Scanner {
        Scanner {
            stream: Stream::default(),
            limits,
            partial: None,
            closed: false,
            failed: None,
        }
    }

    /// Sets the namespaces for which nothing is allocated.
    #[must_use]
    pub fn known(mut self, namespaces: &'static Known) -> Scanner {
        self.stream.known = namespaces;
        self
    }

    fn read(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if self.closed {
            return Ok(None);
        }
        if self.stream.empty {
            self.closed = true;
            return Ok(Some(Frame::Close));
        }
        let frame = match self.partial.is_some() {
            true => self.gather(input)?,
            false => self.look(input)?,
        };
        self.closed |= matches!(frame, Some(Frame::Close));
        Ok(frame)
    }

    /// Begins a frame, in place if it is short and all there.
    fn look(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        let spaces = input.iter().take_while(|&&byte| is_space(byte)).count();
        input.advance(spaces);
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        self.stream.check_first(first)?;
        let window = input.len().min(WINDOW).min(self.limits.bytes);
        let (text, fault) = valid(&input[..window]);
        let mut machine = Machine::default();
        if let Some(frame) = machine.run(&mut self.stream, &self.limits, text)? {
            input.advance(machine.position());
            return Ok(Some(frame));
        }
        fault.map_or(Ok(()), Err)?;
        let taken = text.len();
        self.partial = Some(Box::new(Partial {
            machine,
            text: text.to_owned(),
            cut: [0; 4],
            cut_len: 0,
        }));
        input.advance(taken);
        self.gather(input)
    }

    /// Goes on with a frame.
    fn gather(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        let partial = self.partial.as_mut().expect("a frame was begun");
        loop {
            let before = partial.text.len() + partial.cut_len;
            let room = self.limits.bytes.saturating_sub(before);
            if room == 0 {
                return Err(Error::TooBig {
                    limit: self.limits.bytes,
                });
            }
            if input.is_empty() {
                return Ok(None);
            }
            let step = input.len().min(STEP).min(room);
            let appended = partial.append(&input[..step]);
            let machine = &mut partial.machine;
            if let Some(frame) = machine.run(&mut self.stream, &self.limits, &partial.text)? {
                input.advance(machine.position() - before);
                self.partial = None;
                return Ok(Some(frame));
            }
            appended?;
            input.advance(step);
        }
    }
}

impl Partial {
    /// Takes bytes up to the first that is no UTF-8.
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while let (1.., Some((&byte, rest))) = (self.cut_len, bytes.split_first()) {
            self.cut[self.cut_len] = byte;
            self.cut_len += 1;
            bytes = rest;
            let (text, fault) = valid(&self.cut[..self.cut_len]);
            fault.map_or(Ok(()), Err)?;
            if !text.is_empty() {
                self.text.push_str(text);
                self.cut_len = 0;
            }
        }
        let (text, fault) = valid(bytes);
        self.text.push_str(text);
        fault.map_or(Ok(()), Err)?;
        let cut = &bytes[text.len()..];
        self.cut[self.cut_len..][..cut.len()].copy_from_slice(cut);
        self.cut_len += cut.len();
        Ok(())
    }
}

/// Splits off what is UTF-8; the error is there when the next byte can never be.
fn valid(bytes: &[u8]) -> (&str, Option<Error>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let text = std::str::from_utf8(&bytes[..error.valid_up_to()]);
            let fault = error.error_len().map(|_| not_well_formed("no UTF-8"));
            (text.expect("it is valid up to there"), fault)
        }
    }
}

impl Reader for Scanner {
    fn feed(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if let Some(error) = &self.failed {
            return Err((**error).clone());
        }
        let result = self.read(input);
        if let Err(error) = &result {
            self.reset();
            self.failed = Some(Box::new(error.clone()));
        }
        result
    }

    fn reset(&mut self) {
        *self = Scanner::new(self.limits).known(self.stream.known);
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    fn is_within(&self) -> bool {
        self.partial.is_some()
    }

    fn end(&mut self) -> Result<(), Error> {
        match (&self.failed, self.closed) {
            (Some(error), _) => Err((**error).clone()),
            (None, true) => Ok(()),
            (None, false) => Err(Error::Truncated),
        }
    }
}

/// Reads one element that stands alone, such as a WebSocket frame or a stored stanza. `content`
/// is the default namespace it inherits.
///
/// # Errors
///
/// Whatever is wrong with the bytes; [`Error::Truncated`] when they end too early and
/// [`Error::NotWellFormed`] when something follows the element.
pub fn parse_element(
    bytes: &[u8],
    content: &str,
    known: &'static Known,
    limits: Limits,
) -> Result<Element, Error> {
    let declarations = match content {
        "" => Vec::new(),
        _ => vec![Declaration {
            prefix: None,
            namespace: Namespace::interned(content, known),
        }],
    };
    let mut stream = Stream {
        known,
        root: Some("r".into()),
        context: Arc::new(Context {
            declarations,
            lang: None,
        }),
        empty: false,
    };
    let spaces = bytes.iter().take_while(|&&byte| is_space(byte)).count();
    let bytes = &bytes[spaces..];
    let Some(&first) = bytes.first() else {
        return Err(Error::Truncated);
    };
    stream.check_first(first)?;
    let (text, fault) = valid(&bytes[..bytes.len().min(limits.bytes)]);
    let mut machine = Machine::default();
    match machine.run(&mut stream, &limits, text)? {
        Some(Frame::Element(element)) => {
            let rest = &bytes[machine.position()..];
            match rest.iter().all(|&byte| is_space(byte)) {
                true => Ok(element),
                false => Err(not_well_formed("more than one element")),
            }
        }
        Some(_) => Err(not_well_formed("more than one element")),
        None => Err(fault.unwrap_or(match bytes.len() >= limits.bytes {
            true => Error::TooBig {
                limit: limits.bytes,
            },
            false => Error::Truncated,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_reader_is_small_and_keeps_nothing() {
        assert!(size_of::<Scanner>() <= 128, "{}", size_of::<Scanner>());
        let mut reader = Scanner::new(Limits::default());
        let body = "x".repeat(2 * WINDOW);
        let text = format!("<s><a>{body}</a>");
        for piece in text.as_bytes().chunks(700) {
            let mut input = BytesMut::from(piece);
            while reader
                .feed(&mut input)
                .expect("it is well-formed")
                .is_some()
            {}
            assert!(input.is_empty());
        }
        assert!(reader.partial.is_none());
    }

    #[test]
    fn bare_returns_are_spaces_and_make_a_child_unportable() {
        let read = |text: &str| {
            parse_element(text.as_bytes(), "c", Known::NONE, Limits::default())
                .expect("it is well-formed")
        };
        let element = read("<a x='1\r2\r\n3\r'/>");
        assert_eq!(element.attr("x"), Some("1 2 3 "));
        assert!(element.portable());
        let element = read("<a><b x='1\r2'/></a>");
        assert!(!element.portable());
        let alone = element.stand_alone(100).expect("it is short");
        assert_eq!(alone.bytes(), "<a xmlns=\"c\"><b x=\"1 2\"/></a>");
    }

    #[test]
    fn what_differs_from_rxml_follows_xml() {
        let open = |text: &str| Scanner::new(Limits::default()).feed(&mut text.into());
        let head = "<?xml version='1.0' standalone='yes'?><s>";
        assert!(matches!(open(head), Ok(Some(Frame::Open(_)))));
        for text in ["<![CDATA[]]><s>", "<?xml version='1.0'?><![CDATA[]]><s>"] {
            assert!(matches!(open(text), Err(Error::NotWellFormed(_))), "{text}");
        }
    }
}
