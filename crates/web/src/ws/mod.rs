//! `/ws`: XMPP over WebSocket (RFC 7395).
//!
//! The WebSocket runs in its HTTP connection's process, the session in its own: a [`Wire`] joins them. What the peer says
//! lies there until the session's IO task takes it, and while as much as it may lies there the WebSocket is not read; what
//! is said to the peer lies there until the WebSocket has written it, and only then counts as sent.

mod transport;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use httpd::{
    Commands, Error, Flow, Frame, Handler, Mailbox, Outcome, Reason, Request, WebSocket, WsOptions,
};
use net::Ticket;
use session::{C2s, C2sArgs};

use crate::Web;
use crate::access::{Clients, admit};
use transport::WsTransport;
use wire::{Said, Tick, Wire};

/// The close code where there is no session any more, or none could begin (RFC 6455 §7.4.1).
const FELL: u16 = 1011;

/// Opens a session for each WebSocket.
#[derive(Clone)]
pub(crate) struct Door(pub(crate) Web);

impl Handler for Door {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        let Some(clients) = self.0.clients() else {
            let unready = httpd::http::StatusCode::SERVICE_UNAVAILABLE;
            return Err(Error::new(unready, "clients are not let in yet"));
        };
        admit(&self.0.settings().websocket, req)?;
        // The connection's own place was given back when it made its request.
        let Some(ticket) = self.0.admission().ticket_now(req.peer().ip()) else {
            let full = httpd::http::StatusCode::SERVICE_UNAVAILABLE;
            return Err(Error::new(full, "too many clients have not logged in"));
        };
        Ok(Outcome::websocket(Socket {
            web: self.0.clone(),
            clients,
            peer: req.peer(),
            ticket: Some(ticket),
            wire: Wire::new(),
        }))
    }
}

/// One WebSocket.
struct Socket {
    web: Web,
    clients: Clients,
    peer: SocketAddr,
    /// Taken when the session starts, which gives it back when its client has a resource.
    ticket: Option<Ticket>,
    wire: Arc<Wire>,
}

impl WebSocket for Socket {
    type Info = Tick;

    fn options(&self) -> WsOptions {
        let clients = &self.clients;
        // Whoever has logged in may say the more; the transport knows who has.
        let most = clients.options.limits.bytes.saturating_add(1024);
        let beat = clients.options.io.keep_alive.unwrap_or_default();
        WsOptions {
            protocols: vec!["xmpp".to_owned()],
            protocol_required: true,
            max_frame: most,
            max_message: most,
            // Pings go out as often as spaces would; two that nobody answers are one too many.
            idle_timeout: beat * 2 + clients.options.io.write_stall,
            ..WsOptions::default()
        }
    }

    async fn start(
        &mut self,
        mailbox: &Mailbox<Tick>,
        _protocol: Option<&str>,
        out: &mut Commands,
    ) -> Flow {
        self.wire.attach(mailbox.sender());
        let ticket = self.ticket.take();
        let before_login = self.clients.before_login;
        let transport = WsTransport::new(Arc::clone(&self.wire), before_login, ticket);
        let sessions = self.web.parts().sessions.clone();
        let args = C2sArgs::new(
            sessions,
            Arc::clone(&self.clients.options),
            transport,
            Some(self.peer),
        );
        match self.web.parts().c2s.start_one::<C2s>(args).await {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(target: "natter::session", peer = %self.peer, %error, "connection refused");
                out.close(FELL, "");
            }
        }
        Flow::Go
    }

    async fn handle(&mut self, frame: Frame, out: &mut Commands) -> Flow {
        match frame {
            Frame::Text(text) => out.pause(self.wire.heard(text)),
            // §3.2: text alone.
            Frame::Binary(_) => out.close(1003, "text is spoken here"),
            Frame::Ping(_) | Frame::Pong(_) => {}
        }
        Flow::Go
    }

    async fn info(&mut self, Tick: Tick, out: &mut Commands) -> Flow {
        let turn = self.wire.turn();
        for said in turn.say {
            match said {
                Said::Text(text) => out.text(text),
                Said::Ping => out.send(Frame::Ping(Default::default())),
            }
        }
        out.pause(turn.is_full);
        if turn.is_over {
            out.close(if turn.has_fallen { FELL } else { 1000 }, "");
        }
        Flow::Go
    }

    fn terminate(&mut self, _reason: &Reason, _req: &Request) {
        self.wire.end();
    }
}
