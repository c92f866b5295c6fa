//! Where a stanza ends: a byte scan that knows quotes, nesting and CDATA, and nothing else of XML.
//!
//! A server under test is trusted to write well-formed XML, so nothing is validated: the client's own cost must stay
//! small beside the server's. State is kept between pieces, which may be cut anywhere, inside a tag too.

use memchr::{memchr, memchr3};

/// What ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The start tag of the stream.
    Header,
    /// A child of the stream: a stanza or another element of the first level.
    Stanza,
    /// The stream's end tag.
    End,
}

/// Why a piece cannot be XMPP at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotXmpp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between tags.
    Text,
    /// After `<`.
    Less,
    /// In a start tag; whether the last byte was `/`.
    Start { slash: bool },
    /// In an attribute's value, up to this quote.
    Quoted(u8),
    /// In an end tag.
    Finish,
    /// In a processing instruction, such as the XML declaration; whether the last byte was `?`.
    Instruction { question: bool },
    /// After `<!`, with so many bytes of `[CDATA[` read.
    Bang(usize),
    /// In a CDATA section, with so many `]` read last, two at most.
    Cdata(u8),
}

/// Finds the ends of stanzas in a stream that comes in pieces.
#[derive(Debug)]
pub struct Scanner {
    place: Place,
    depth: u32,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new()
    }
}

impl Scanner {
    /// A scanner at the beginning of a stream.
    pub fn new() -> Scanner {
        Scanner {
            place: Place::Text,
            depth: 0,
        }
    }

    /// Reads on in `piece` from `at` until something ends, and gives what ended and where: the index behind its last
    /// byte. `None` when the whole piece was read and nothing ended in the rest of it.
    ///
    /// # Errors
    ///
    /// [`NotXmpp`] where an end tag ends nothing, or `<!` begins anything but CDATA.
    pub fn next(&mut self, piece: &[u8], at: usize) -> Result<Option<(Mark, usize)>, NotXmpp> {
        let mut at = at;
        while at < piece.len() {
            let rest = &piece[at..];
            match self.place {
                Place::Text => match memchr(b'<', rest) {
                    Some(found) => {
                        at += found + 1;
                        self.place = Place::Less;
                    }
                    None => return Ok(None),
                },
                Place::Less => {
                    self.place = match rest[0] {
                        b'/' => Place::Finish,
                        b'?' => Place::Instruction { question: false },
                        b'!' => Place::Bang(0),
                        _ => Place::Start { slash: false },
                    };
                    at += 1;
                }
                Place::Start { slash } => match memchr3(b'>', b'"', b'\'', rest) {
                    None => {
                        self.place = Place::Start {
                            slash: rest[rest.len() - 1] == b'/',
                        };
                        return Ok(None);
                    }
                    Some(found) if rest[found] == b'>' => {
                        let empty = match found {
                            0 => slash,
                            _ => rest[found - 1] == b'/',
                        };
                        at += found + 1;
                        self.place = Place::Text;
                        if let Some(mark) = self.started(empty) {
                            return Ok(Some((mark, at)));
                        }
                    }
                    Some(found) => {
                        self.place = Place::Quoted(rest[found]);
                        at += found + 1;
                    }
                },
                Place::Quoted(quote) => match memchr(quote, rest) {
                    Some(found) => {
                        at += found + 1;
                        self.place = Place::Start { slash: false };
                    }
                    None => return Ok(None),
                },
                Place::Finish => match memchr(b'>', rest) {
                    Some(found) => {
                        at += found + 1;
                        self.place = Place::Text;
                        if let Some(mark) = self.ended()? {
                            return Ok(Some((mark, at)));
                        }
                    }
                    None => return Ok(None),
                },
                Place::Instruction { question } => {
                    self.place = match rest[0] {
                        b'>' if question => Place::Text,
                        byte => Place::Instruction {
                            question: byte == b'?',
                        },
                    };
                    at += 1;
                }
                Place::Bang(read) => {
                    const CDATA: &[u8] = b"[CDATA[";
                    if rest[0] != CDATA[read] {
                        return Err(NotXmpp);
                    }
                    self.place = match read + 1 {
                        all if all == CDATA.len() => Place::Cdata(0),
                        read => Place::Bang(read),
                    };
                    at += 1;
                }
                Place::Cdata(brackets) => {
                    self.place = match rest[0] {
                        b']' => Place::Cdata((brackets + 1).min(2)),
                        b'>' if brackets == 2 => Place::Text,
                        _ => Place::Cdata(0),
                    };
                    at += 1;
                }
            }
        }
        Ok(None)
    }

    fn started(&mut self, empty: bool) -> Option<Mark> {
        match (self.depth, empty) {
            (0, true) => Some(Mark::End),
            (0, false) => {
                self.depth = 1;
                Some(Mark::Header)
            }
            (1, true) => Some(Mark::Stanza),
            (_, true) => None,
            (_, false) => {
                self.depth += 1;
                None
            }
        }
    }

    fn ended(&mut self) -> Result<Option<Mark>, NotXmpp> {
        self.depth = self.depth.checked_sub(1).ok_or(NotXmpp)?;
        Ok(match self.depth {
            0 => Some(Mark::End),
            1 => Some(Mark::Stanza),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "<?xml version='1.0'?><stream:stream from='a > b' id=\"it's\">\n\
        <a/><b x='/'/><c x=\"</c>\">text<d><e y='\"/>'/></d></c> <f><![CDATA[</f>]]]]>]]]></f><g ></g></stream:stream>";

    fn marks(pieces: &[&[u8]]) -> Result<Vec<(Mark, usize)>, NotXmpp> {
        let mut scanner = Scanner::new();
        let (mut found, mut before) = (Vec::new(), 0);
        for piece in pieces {
            let mut at = 0;
            while let Some((mark, end)) = scanner.next(piece, at)? {
                found.push((mark, before + end));
                at = end;
            }
            before += piece.len();
        }
        Ok(found)
    }

    fn whole() -> Vec<(Mark, usize)> {
        marks(&[STREAM.as_bytes()]).expect("it is XMPP")
    }

    #[test]
    fn every_element_of_the_first_level_ends_where_it_ends() {
        let mut from = 0;
        let texts: Vec<(Mark, &str)> = whole()
            .into_iter()
            .map(|(mark, end)| {
                let text = &STREAM[from..end];
                from = end;
                (mark, text.trim())
            })
            .collect();
        let stanza = |text| (Mark::Stanza, text);
        assert_eq!(
            texts,
            [
                (
                    Mark::Header,
                    "<?xml version='1.0'?><stream:stream from='a > b' id=\"it's\">"
                ),
                stanza("<a/>"),
                stanza("<b x='/'/>"),
                stanza("<c x=\"</c>\">text<d><e y='\"/>'/></d></c>"),
                stanza("<f><![CDATA[</f>]]]]>]]]></f>"),
                stanza("<g ></g>"),
                (Mark::End, "</stream:stream>"),
            ]
        );
    }

    #[test]
    fn any_cut_in_two_gives_the_same() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(marks(&[left, right]), Ok(whole()), "cut at {cut}");
        }
    }

    #[test]
    fn any_cut_in_three_gives_the_same() {
        let bytes = STREAM.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(marks(&pieces), Ok(whole()), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn single_bytes_give_the_same() {
        let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(marks(&bytes), Ok(whole()));
    }

    #[test]
    fn what_is_not_xmpp_is_refused() {
        assert_eq!(marks(&[b"</a>"]), Err(NotXmpp));
        assert_eq!(marks(&[b"<a><!-- no --></a>"]), Err(NotXmpp));
        assert_eq!(marks(&[b"<!DOCTYPE a>"]), Err(NotXmpp));
    }
}
