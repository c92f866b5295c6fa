//! The framing of RFC 7395: each message is one element that stands alone; streams open and close by `<open/>` and
//! `<close/>`.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use net::Ticket;
use otp::Clock;
use stream::{
    Fault, Inbound, Limits, Outbound, ResponseHeader, ServerConfig, StreamHeader, TlsError,
    TlsInfo, Transport, Version,
};
use xml::{Element, Frame, Reader, Scanner, push_attr};
use xmpp::ns;

use super::wire::{Said, Wire};
use crate::framed::{alone, features};

/// What messages are read inside of: it declares nothing, so each must declare all that it uses (§3.3.3).
const ROOT: &[u8] = b"<m>";

/// The session's end of a WebSocket.
pub(super) struct WsTransport {
    wire: Arc<Wire>,
    limits: Limits,
    /// The peer is to open a stream next.
    opens: bool,
    /// Written items that the session knows of.
    told: u64,
    /// Held until the client has a resource.
    ticket: Option<Ticket>,
}

impl WsTransport {
    pub(super) fn new(wire: Arc<Wire>, limits: Limits, ticket: Option<Ticket>) -> WsTransport {
        WsTransport {
            wire,
            limits,
            opens: true,
            told: 0,
            ticket,
        }
    }

    fn read(&mut self, text: &str) -> Result<Inbound, Fault> {
        if text.starts_with("<?xml") || text.starts_with("<stream:stream") {
            // §3.3: RFC 6120's framing.
            return Err(Fault::InvalidNamespace);
        }
        let element = element(text, self.limits)?;
        let is_framing = element.namespace() == ns::FRAMING;
        match element.name() {
            "open" if is_framing && self.opens => {
                self.opens = false;
                Ok(Inbound::Open(header(&element)))
            }
            "close" if is_framing => Ok(Inbound::Close),
            _ if is_framing => Err(Fault::BadFormat),
            _ if self.opens => Err(Fault::InvalidNamespace),
            _ => Ok(Inbound::Element(element)),
        }
    }
}

/// The one element that a message is.
fn element(text: &str, limits: Limits) -> Result<Element, Fault> {
    let mut reader = Scanner::new(limits).known(ns::KNOWN);
    let mut input = BytesMut::with_capacity(ROOT.len() + text.len());
    input.extend_from_slice(ROOT);
    input.extend_from_slice(text.as_bytes());
    if !matches!(reader.feed(&mut input)?, Some(Frame::Open(_))) {
        return Err(Fault::BadFormat);
    }
    match reader.feed(&mut input)? {
        Some(Frame::Element(element)) if input.is_empty() => Ok(element),
        // Something behind it (§3.3: one), or an end without a beginning.
        Some(_) => Err(Fault::BadFormat),
        None => Err(Fault::Xml(xml::Error::Truncated)),
    }
}

fn header(open: &Element) -> StreamHeader {
    StreamHeader {
        to: open.attr("to").map(str::to_owned),
        from: open.attr("from").map(str::to_owned),
        version: open.attr("version").and_then(Version::parse),
        lang: open.lang().map(str::to_owned),
    }
}

/// What is said as a text that stands alone.
fn framed(item: &Outbound) -> Said {
    Said::Text(match item {
        Outbound::Element(bytes) => alone(&String::from_utf8_lossy(bytes)),
        Outbound::Open(header) => opening(header),
        Outbound::Features(inside) => features(inside),
        Outbound::Error(error) => error.to_framed_xml(),
        Outbound::Close => {
            let mut text = String::from("<close");
            push_attr("xmlns", ns::FRAMING, &mut text);
            text.push_str("/>");
            text
        }
        // §3.8: no white space, but a ping of the WebSocket.
        Outbound::KeepAlive => return Said::Ping,
    })
}

fn opening(header: &ResponseHeader) -> String {
    let mut text = String::from("<open");
    push_attr("xmlns", ns::FRAMING, &mut text);
    push_attr("id", &header.id, &mut text);
    push_attr("from", &header.from, &mut text);
    if let Some(to) = &header.to {
        push_attr("to", to, &mut text);
    }
    push_attr("version", "1.0", &mut text);
    push_attr("xml:lang", &header.lang, &mut text);
    text.push_str("/>");
    text
}

impl Transport for WsTransport {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Fault>> {
        match ready!(self.wire.poll_heard(cx)) {
            Some(text) => Poll::Ready(self.read(&text)),
            None => Poll::Ready(Ok(Inbound::Eof)),
        }
    }

    fn queue(&mut self, item: &Outbound) {
        self.wire.say(framed(item));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match ready!(self.wire.poll_written(self.told, cx)) {
            Some(written) => {
                self.told = written;
                Poll::Ready(Ok(written))
            }
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn sent(&self) -> u64 {
        self.wire.sent()
    }

    fn pending(&self) -> usize {
        self.wire.waiting()
    }

    fn retract(&mut self) -> u64 {
        self.wire.take_back()
    }

    fn restart(&mut self) {
        self.opens = true;
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    fn start_tls<'a>(
        &'a mut self,
        _config: Arc<ServerConfig>,
        _clock: &'a Clock,
        _within: Duration,
    ) -> BoxFuture<'a, Result<TlsInfo, TlsError>> {
        // §3.9: TLS lies below; nobody is offered it here.
        let refused = io::ErrorKind::Unsupported.into();
        Box::pin(std::future::ready(Err(TlsError::Io(refused))))
    }

    fn negotiated(&mut self) {
        self.ticket = None;
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.over();
        Poll::Ready(Ok(()))
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while ready!(self.wire.poll_heard(cx)).is_some() {}
        Poll::Ready(())
    }

    fn target(&self) -> xmpp::Target {
        xmpp::Target::Client
    }
}

impl Drop for WsTransport {
    fn drop(&mut self) {
        self.wire.gone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport() -> WsTransport {
        WsTransport::new(Wire::new(), Limits::BEFORE_LOGIN, None)
    }

    fn read(transport: &mut WsTransport, text: &str) -> String {
        match transport.read(text) {
            Ok(Inbound::Open(header)) => format!("open {}", header.to.unwrap_or_default()),
            Ok(Inbound::Element(element)) => element.name().to_owned(),
            Ok(Inbound::Close) => "close".to_owned(),
            Ok(Inbound::End { .. } | Inbound::Eof) => "eof".to_owned(),
            Err(fault) => fault.error().condition.to_string(),
        }
    }

    const OPEN: &str =
        "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a.example' version='1.0'/>";

    #[test]
    fn a_message_is_one_element_that_stands_alone() {
        let mut ws = transport();
        assert_eq!(read(&mut ws, OPEN), "open a.example");
        for (text, heard) in [
            (
                "<iq xmlns='jabber:client' type='get'><q xmlns='urn:q'/></iq>",
                "iq",
            ),
            (OPEN, "bad-format"),
            ("<a xmlns='x'/><b xmlns='x'/>", "bad-format"),
            ("<a xmlns='x'/> ", "bad-format"),
            (" ", "not-well-formed"),
            ("<a xmlns='x'>", "not-well-formed"),
            ("</m>", "bad-format"),
            ("text", "bad-format"),
            ("<stream:features/>", "not-well-formed"),
            ("<a xmlns='x'><!-- c --></a>", "restricted-xml"),
            ("<stream:stream to='a.example'>", "invalid-namespace"),
            (
                "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
                "close",
            ),
        ] {
            assert_eq!(read(&mut ws, text), heard, "{text}");
        }
        ws.restart();
        assert_eq!(
            read(&mut ws, "<iq xmlns='jabber:client'/>"),
            "invalid-namespace"
        );
        assert_eq!(read(&mut ws, OPEN), "open a.example");
    }

    #[test]
    fn what_is_said_stands_alone() {
        let said = |item: Outbound| match framed(&item) {
            Said::Text(text) => text,
            Said::Ping => "ping".to_owned(),
        };
        assert_eq!(
            said(Outbound::element("<message/>")),
            "<message xmlns=\"jabber:client\"/>"
        );
        assert_eq!(said(Outbound::KeepAlive), "ping");
        assert_eq!(
            said(Outbound::Close),
            "<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\"/>"
        );
        assert!(
            said(Outbound::Features("<f xmlns='x'/>".to_owned())).starts_with(
                "<stream:features xmlns:stream=\"http://etherx.jabber.org/streams\"><f"
            )
        );
    }
}
