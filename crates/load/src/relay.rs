//! The floor: a TCP server that only pretends to speak XMPP, and costs less than any that does.
//!
//! It answers a login as a client expects it and checks nothing. Then it finds the end of each stanza by a byte scan,
//! looks the receiver up in a map and writes the same bytes to its socket: one thread, no queue between two sockets, one
//! write for all that one read brought. What a server costs above this is what the server does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_local};

use crate::failure::Failure;
use crate::peek;
use crate::scan::{Mark, Scanner};

/// One client's socket and what is to be written to it.
struct Peer {
    socket: TcpStream,
    pending: RefCell<Vec<u8>>,
    /// Somebody is about to call [`Peer::flush`].
    marked: Cell<bool>,
    wake: Notify,
}

impl Peer {
    /// Writes what waits, as far as the socket takes it.
    fn flush(&self) {
        self.marked.set(false);
        if !self.write_some() {
            self.wake.notify_one();
        }
    }

    /// Whether nothing is left.
    fn write_some(&self) -> bool {
        let mut pending = self.pending.borrow_mut();
        let mut taken = 0;
        while taken < pending.len() {
            match self.socket.try_write(&pending[taken..]) {
                Ok(more) => taken += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    pending.drain(..taken);
                    return false;
                }
                // Its reader will hear of it.
                Err(_) => break,
            }
        }
        pending.clear();
        true
    }

    async fn write_late(&self) {
        loop {
            self.wake.notified().await;
            while self.socket.writable().await.is_ok() {
                if self.write_some() {
                    break;
                }
            }
        }
    }
}

/// Sockets by full JID.
type Peers = HashMap<Vec<u8>, Rc<Peer>>;

/// Who is here, and who is in which room.
#[derive(Default)]
struct Floor {
    peers: RefCell<Peers>,
    rooms: RefCell<HashMap<Vec<u8>, Peers>>,
}

/// Serves whoever comes until it is dropped; must run within a `LocalSet`.
///
/// # Errors
///
/// A sentence when nothing can be accepted any more.
pub async fn serve(listener: TcpListener) -> Result<(), Failure> {
    let floor = Rc::new(Floor::default());
    let mut clients = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        let (socket, _) =
            accepted.map_err(|error| Failure::new(format!("accepting a connection: {error}")))?;
        // A connection that is gone already will be read as such.
        let _ = socket.set_nodelay(true);
        let peer = Rc::new(Peer {
            socket,
            pending: RefCell::default(),
            marked: Cell::new(false),
            wake: Notify::new(),
        });
        let mut client = Client {
            floor: floor.clone(),
            peer: peer.clone(),
            jid: Vec::new(),
            user: Vec::new(),
            marked: Vec::new(),
        };
        clients.spawn_local(async move {
            let writer = spawn_local({
                let peer = peer.clone();
                async move { peer.write_late().await }
            });
            client.live().await;
            writer.abort();
            client.leave();
        });
        while clients.try_join_next().is_some() {}
    }
}

struct Client {
    floor: Rc<Floor>,
    peer: Rc<Peer>,
    jid: Vec<u8>,
    user: Vec<u8>,
    /// Those for whom something came in one read: each socket is written once.
    marked: Vec<Rc<Peer>>,
}

impl Client {
    async fn live(&mut self) {
        let mut scanner = Scanner::new();
        let mut held: Vec<u8> = Vec::with_capacity(4096);
        let mut scanned = 0;
        loop {
            if self.peer.socket.readable().await.is_err() {
                return;
            }
            match self.peer.socket.try_read_buf(&mut held) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(_) => return,
            }
            let mut begin = 0;
            loop {
                match scanner.next(&held, scanned) {
                    Ok(Some((mark, end))) => {
                        let stanza = held[begin..end].trim_ascii_start();
                        (begin, scanned) = (end, end);
                        match mark {
                            Mark::Header => self.header(stanza),
                            // SASL begins the stream anew.
                            Mark::Stanza if peek::name(stanza) == b"auth" => {
                                self.auth(stanza);
                                scanner = Scanner::new();
                            }
                            Mark::Stanza => self.stanza(stanza),
                            Mark::End => {
                                self.answer(b"</stream:stream>");
                                self.peer.flush();
                                return;
                            }
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            scanned = held.len() - begin;
            held.drain(..begin);
            for peer in self.marked.drain(..) {
                peer.flush();
            }
            if held.is_empty() && held.capacity() > 64 * 1024 {
                held = Vec::with_capacity(4096);
            }
        }
    }

    fn header(&mut self, header: &[u8]) {
        let domain = peek::attribute_text(header, "to").to_owned();
        let features = match self.user.is_empty() {
            true => {
                "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
            }
            false => "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
        };
        if !self.user.is_empty() && !self.user.contains(&b'@') {
            self.user.push(b'@');
            self.user.extend_from_slice(domain.as_bytes());
        }
        let answer = format!(
            "<?xml version='1.0'?><stream:stream from='{domain}' id='floor' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'><stream:features>{features}</stream:features>"
        );
        self.answer(answer.as_bytes());
    }

    fn auth(&mut self, auth: &[u8]) {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let initial = peek::text_after(auth, "<auth").unwrap_or("");
        let said = STANDARD.decode(initial).unwrap_or_default();
        self.user = said
            .split(|byte| *byte == 0)
            .nth(1)
            .unwrap_or(b"nobody")
            .to_vec();
        self.answer(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    }

    fn stanza(&mut self, stanza: &[u8]) {
        match stanza.get(1) {
            Some(b'm') => self.message(stanza),
            Some(b'i') => self.iq(stanza),
            Some(b'p') => self.presence(stanza),
            _ => {}
        }
    }

    /// Puts `bytes` into what `peer` is written after this read.
    fn push(marked: &mut Vec<Rc<Peer>>, peer: &Rc<Peer>, bytes: &[u8]) {
        peer.pending.borrow_mut().extend_from_slice(bytes);
        if !peer.marked.replace(true) {
            marked.push(peer.clone());
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        Client::push(&mut self.marked, &self.peer, bytes);
    }

    fn message(&mut self, stanza: &[u8]) {
        let to = peek::attribute(stanza, "to").unwrap_or_default();
        if let Some(peer) = self.floor.peers.borrow().get(to) {
            return Client::push(&mut self.marked, peer, stanza);
        }
        if let Some(room) = self.floor.rooms.borrow().get(to) {
            for peer in room.values() {
                Client::push(&mut self.marked, peer, stanza);
            }
        }
    }

    fn iq(&mut self, stanza: &[u8]) {
        let id = peek::attribute_text(stanza, "id");
        let kind = peek::attribute_text(stanza, "type");
        if !matches!(kind, "get" | "set") {
            return;
        }
        let jid;
        let payload = match peek::text_after(stanza, "<resource>") {
            Some(resource) => {
                self.jid = [&self.user, &b"/"[..], resource.as_bytes()].concat();
                let entry = (self.jid.clone(), self.peer.clone());
                self.floor.peers.borrow_mut().insert(entry.0, entry.1);
                jid = format!(
                    "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{}</jid></bind>",
                    String::from_utf8_lossy(&self.jid)
                );
                jid.as_str()
            }
            None => "",
        };
        let to = match self.jid.is_empty() {
            true => String::new(),
            false => format!(" to='{}'", String::from_utf8_lossy(&self.jid)),
        };
        let answer = match payload {
            "" => format!("<iq type='result' id='{id}'{to}/>"),
            payload => format!("<iq type='result' id='{id}'{to}>{payload}</iq>"),
        };
        self.answer(answer.as_bytes());
    }

    /// Without `to` it comes back; to an occupant's address it is a way into the room.
    fn presence(&mut self, stanza: &[u8]) {
        let jid = String::from_utf8_lossy(&self.jid).into_owned();
        let Some(to) = peek::attribute(stanza, "to") else {
            let echo = format!("<presence from='{jid}' to='{jid}'/>");
            return self.answer(echo.as_bytes());
        };
        let room = to
            .split(|byte| *byte == b'/')
            .next()
            .unwrap_or_default()
            .to_vec();
        let leaves = peek::attribute(stanza, "type").is_some();
        let mut rooms = self.floor.rooms.borrow_mut();
        let occupants = rooms.entry(room).or_default();
        let kind = match leaves {
            true => {
                occupants.remove(&self.jid);
                " type='unavailable'"
            }
            false => {
                occupants.insert(self.jid.clone(), self.peer.clone());
                ""
            }
        };
        drop(rooms);
        let from = String::from_utf8_lossy(to);
        let own = format!(
            "<presence from='{from}' to='{jid}'{kind}><x xmlns='http://jabber.org/protocol/muc#user'>\
             <status code='110'/></x></presence>"
        );
        self.answer(own.as_bytes());
    }

    fn leave(&self) {
        let mut peers = self.floor.peers.borrow_mut();
        // Its name may be another's by now.
        if peers
            .get(&self.jid)
            .is_some_and(|peer| Rc::ptr_eq(peer, &self.peer))
        {
            peers.remove(&self.jid);
        }
        for room in self.floor.rooms.borrow_mut().values_mut() {
            room.retain(|_, peer| !Rc::ptr_eq(peer, &self.peer));
        }
    }
}
