//! The c2s' end of a BOSH session: XMPP's own framing lies in the attributes of wrappers (XEP-0206).

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use net::Ticket;
use otp::Clock;
use stream::{Fault, Inbound, Limits, Outbound, ServerConfig, TlsError, TlsInfo, Transport};

use super::wire::{Heard, Said, Wire};
use crate::framed::{alone, features};

/// A session's transport.
pub(super) struct BoshTransport {
    wire: Arc<Wire>,
    /// The client is to open a stream next.
    opens: bool,
    /// Items that responses have carried, as far as the IO task knows.
    told: u64,
    /// Held until the client has a resource.
    ticket: Option<Ticket>,
}

impl BoshTransport {
    pub(super) fn new(wire: Arc<Wire>, ticket: Ticket) -> BoshTransport {
        BoshTransport {
            wire,
            opens: true,
            told: 0,
            ticket: Some(ticket),
        }
    }

    fn read(&mut self, heard: Heard) -> Result<Inbound, Fault> {
        match heard {
            Heard::Open(header) if self.opens => {
                self.opens = false;
                Ok(Inbound::Open(header))
            }
            // A restart that nothing calls for (XEP-0206 §5).
            Heard::Open(_) => Err(Fault::BadFormat),
            Heard::Element(_) if self.opens => Err(Fault::InvalidNamespace),
            Heard::Element(element) => Ok(Inbound::Element(element)),
            Heard::Close => Ok(Inbound::Close),
        }
    }
}

fn said(item: &Outbound) -> Said {
    match item {
        Outbound::Open(header) => Said::Open(header.clone()),
        Outbound::Features(inside) => Said::Text(features(inside)),
        Outbound::Element(bytes) => Said::Text(alone(&String::from_utf8_lossy(bytes))),
        Outbound::Error(error) => Said::Error(error.clone()),
        Outbound::Close => Said::Close,
        // The responses themselves are signs of life.
        Outbound::KeepAlive => Said::Nothing,
    }
}

impl Transport for BoshTransport {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Fault>> {
        match ready!(self.wire.poll_heard(cx)) {
            Some(heard) => Poll::Ready(self.read(heard)),
            None => Poll::Ready(Ok(Inbound::Eof)),
        }
    }

    fn queue(&mut self, item: &Outbound) {
        self.wire.say(said(item));
    }

    /// Ready when a response has carried something: the client's slowness is the session's to judge.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match ready!(self.wire.poll_given(self.told, cx)) {
            Some(given) => {
                self.told = given;
                Poll::Ready(Ok(self.wire.sent()))
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
        self.wire.set_limits(limits);
    }

    fn start_tls<'a>(
        &'a mut self,
        _config: Arc<ServerConfig>,
        _clock: &'a Clock,
        _within: Duration,
    ) -> BoxFuture<'a, Result<TlsInfo, TlsError>> {
        // TLS lies below HTTP; nobody is offered it here.
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

impl Drop for BoshTransport {
    fn drop(&mut self) {
        self.wire.over();
    }
}
