//! Clients by HTTP: a stream as TCP has it at one end, a WebSocket or BOSH at the other.
//!
//! A client of the harness speaks RFC 6120's framing into one end of a pipe; at the other somebody says the same by
//! RFC 7395 or XEP-0124, and back. So every scenario can be played by every transport. What the server says is read as
//! what it is there, elements that stand alone: one that leans on a stream around it does not come through.

pub(crate) mod bosh;
mod cutter;
pub(crate) mod websocket;

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::deadline::within;
use crate::dom::{CLIENT_NS, Element, Frame, Frames, STREAM_NS, escape};

/// Bytes that may lie in the pipe: more than any play says at once.
const PIPE: usize = 1 << 20;

async fn connect(at: SocketAddr) -> Result<TcpStream, String> {
    match within(TcpStream::connect(at)).await {
        Ok(Ok(socket)) => {
            socket.set_nodelay(true).ok();
            Ok(socket)
        }
        Ok(Err(error)) => Err(format!("no connection to {at}: {error}")),
        Err(_) => Err(format!("no connection to {at} in time")),
    }
}

/// The header of the server's stream, as TCP would have it.
fn header(of: &Element, id: Option<&str>) -> String {
    let mut header = format!(
        "<?xml version='1.0'?><stream:stream xmlns='{CLIENT_NS}' xmlns:stream='{STREAM_NS}' version='1.0'"
    );
    let told = ["from", "to"].map(|name| (name, of.attr(name)));
    for (name, value) in [("id", id)].into_iter().chain(told) {
        if let Some(value) = value {
            header.push_str(&format!(" {name}='{}'", escape(value)));
        }
    }
    if let Some(lang) = of.attr_ns(crate::dom::XML_NS, "lang") {
        header.push_str(&format!(" xml:lang='{}'", escape(lang)));
    }
    header + ">"
}

/// The elements in a text that must declare all it uses.
///
/// # Errors
///
/// A sentence when one does not, or there is text between them.
fn standing_alone(text: &str) -> Result<Vec<Element>, String> {
    let mut frames = Frames::new();
    let mut found = Vec::new();
    for byte in format!("<m>{text}</m>").bytes() {
        match frames.push(byte)? {
            Some(Frame::Element(element)) => found.push(element),
            Some(Frame::Text(text)) => return Err(format!("text outside elements: {text:?}")),
            Some(Frame::Header(_) | Frame::Close) | None => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leans_on_a_stream_is_noticed() {
        let read = |text: &str| standing_alone(text).map(|read| read[0].to_string());
        assert_eq!(read("<a xmlns='jabber:client'/>"), Ok("<a/>".to_owned()));
        assert_eq!(read("<a/>"), Ok("<a xmlns=\"\"/>".to_owned()));
        assert!(read("<stream:error/>").is_err());
        let error = "<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>";
        assert_eq!(read(error), Ok("<stream:error/>".to_owned()));
    }
}
