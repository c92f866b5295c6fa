//! A client's stream, cut into what it says.

use crate::dom::{CLIENT_NS, Element, Frame, Frames, STREAM_NS};

/// One thing a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// A stream begins.
    Open(Element),
    /// An element that stands alone, or what is none.
    Text(String),
    /// The stream ends.
    Close,
}

/// With this a stream begins.
const DECLARATION: &[u8] = b"<?xml";

/// Cuts at the ends of what stands below the root. A text that is not well-formed is left as it is.
pub(super) struct Cutter {
    frames: Frames,
    raw: Vec<u8>,
    /// So much of `raw` was read.
    read: usize,
    is_broken: bool,
}

impl Cutter {
    pub(super) fn new() -> Cutter {
        Cutter {
            frames: Frames::new(),
            raw: Vec::new(),
            read: 0,
            is_broken: false,
        }
    }

    /// Takes what came; what was said by it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        for byte in bytes {
            self.raw.push(*byte);
            if self.read == 0 && DECLARATION.starts_with(&self.raw) {
                if self.raw.len() < DECLARATION.len() {
                    continue;
                }
                self.frames = Frames::new();
            }
            self.go_on(&mut said);
        }
        if self.is_broken && !self.raw.is_empty() {
            said.push(Said::Text(self.take()));
        }
        said
    }

    /// Reads what was not read yet.
    fn go_on(&mut self, said: &mut Vec<Said>) {
        while !self.is_broken
            && let Some(byte) = self.raw.get(self.read)
        {
            self.read += 1;
            match self.frames.push(*byte) {
                Ok(Some(Frame::Header(header))) => {
                    self.take();
                    said.push(Said::Open(header));
                }
                Ok(Some(Frame::Element(_))) => said.push(Said::Text(alone(self.take().trim()))),
                Ok(Some(Frame::Close)) => {
                    self.take();
                    said.push(Said::Close);
                }
                Ok(Some(Frame::Text(_)) | None) => {}
                Err(_) => self.is_broken = true,
            }
        }
        // White space between elements means nothing where there is no stream.
        if !self.is_broken && self.raw.iter().all(u8::is_ascii_whitespace) {
            self.take();
        }
    }

    fn take(&mut self) -> String {
        self.read = 0;
        String::from_utf8_lossy(&std::mem::take(&mut self.raw)).into_owned()
    }
}

/// The element with the namespaces that the stream had declared.
fn alone(element: &str) -> String {
    let tag = element.split('>').next().unwrap_or_default();
    let name_ends = tag[1..].find(|c: char| c.is_whitespace() || c == '/');
    let (name, rest) = element.split_at(name_ends.map_or(tag.len(), |at| at + 1));
    let declares = |what: &str| tag.contains(&format!(" {what}="));
    let mut whole = name.to_owned();
    if !declares("xmlns") {
        whole.push_str(&format!(" xmlns='{CLIENT_NS}'"));
    }
    if element.contains("stream:") && !declares("xmlns:stream") {
        whole.push_str(&format!(" xmlns:stream='{STREAM_NS}'"));
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let mut cutter = Cutter::new();
        let bytes = text.bytes().flat_map(|byte| cutter.push(&[byte]));
        let show = |said: Said| match said {
            Said::Open(header) => format!("open {}", header.attr("to").unwrap_or_default()),
            Said::Text(text) => text,
            Said::Close => "close".to_owned(),
        };
        bytes.map(show).collect()
    }

    const HEADER: &str = "<?xml version='1.0'?><stream:stream to='h' xmlns='jabber:client' \
                          xmlns:stream='http://etherx.jabber.org/streams'>";

    #[test]
    fn a_stream_is_cut_into_elements_that_stand_alone() {
        let text = format!(
            "{HEADER}<a xmlns='x'>1 > 2</a> \n<iq id='>'/>{HEADER}<b><c/></b></stream:stream>"
        );
        assert_eq!(
            cut(&text),
            [
                "open h",
                "<a xmlns='x'>1 > 2</a>",
                "<iq xmlns='jabber:client' id='>'/>",
                "open h",
                "<b xmlns='jabber:client'><c/></b>",
                "close"
            ]
        );
        let whole = format!("{HEADER}<presence/>");
        let said = Cutter::new().push(whole.as_bytes());
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn what_is_not_well_formed_goes_as_it_is() {
        let said = cut(&format!("{HEADER}<a></b>more"));
        assert_eq!(said.concat(), "open h<a></b>more");
        assert!(cut(&format!("{HEADER}<a>never")).len() == 1, "not yet");
    }
}
