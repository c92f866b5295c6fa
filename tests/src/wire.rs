//! One connection, byte by byte: what scenarios, wire checks and clients all stand on.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::tls_client;
use crate::deadline::within;
use crate::dom::{Frame, Frames, STREAM_NS};
use crate::sasl::Binding;

/// Anything a stream can run over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What comes next on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A frame of the stream.
    Frame(Frame),
    /// The connection ended, orderly or not.
    End,
}

/// A connection failed in a way the test did not ask for. Shows what was said until then.
#[derive(Debug, Clone)]
pub struct Broken {
    /// What went wrong.
    pub what: String,
    /// The last things said, newest last.
    pub transcript: String,
}

impl Broken {
    /// Nothing was said yet.
    pub fn before(what: &str) -> Broken {
        Broken {
            what: what.to_owned(),
            transcript: String::new(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.what, self.transcript)
    }
}

impl std::error::Error for Broken {}

/// How many remembered things a failure shows.
const REMEMBERED: usize = 30;
/// How many bytes of each.
const SHOWN: usize = 700;

/// A transcript: the last things said on a connection.
#[derive(Debug, Clone, Default)]
pub struct Transcript(VecDeque<String>);

impl Transcript {
    /// Forgets what was said until now.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Remembers one thing said: `>` by us, `<` by the server.
    pub fn note(&mut self, direction: char, text: &str) {
        let mut shown: String = text.chars().take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push_str(&format!("… ({} bytes)", text.len()));
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(format!("    {direction} {shown}"));
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A connection to a server, read one frame (or one byte) at a time.
pub struct Wire {
    io: Option<Box<dyn Io>>,
    received: VecDeque<u8>,
    frames: Frames,
    heard: String,
    transcript: Transcript,
    bindings: Vec<Binding>,
}

impl Wire {
    /// Connects to `address` over TCP.
    ///
    /// # Errors
    ///
    /// [`Broken`] when nobody listens there.
    pub async fn connect(address: SocketAddr) -> Result<Wire, Broken> {
        let mut wire = Wire::unconnected();
        let stream = match within(TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(wire.broken(&format!("no connection to {address}: {error}")));
            }
            Err(_) => return Err(wire.broken(&format!("no connection to {address} in time"))),
        };
        stream.set_nodelay(true).ok();
        wire.io = Some(Box::new(stream));
        Ok(wire)
    }

    /// A connection over what was made of one.
    ///
    /// # Errors
    ///
    /// [`Broken`] with the sentence that says why there is none.
    pub fn over(io: Result<impl Io + 'static, String>) -> Result<Wire, Broken> {
        let io = io.map_err(|why| Broken::before(&why))?;
        let mut wire = Wire::unconnected();
        wire.io = Some(Box::new(io));
        Ok(wire)
    }

    fn unconnected() -> Wire {
        Wire {
            io: None,
            received: VecDeque::new(),
            frames: Frames::new(),
            heard: String::new(),
            transcript: Transcript::default(),
            bindings: Vec::new(),
        }
    }

    /// Begins TLS now, insisting on a certificate for `domain` signed by `roots`. What was received and not
    /// yet read is forgotten.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the handshake fails.
    pub async fn start_tls(
        &mut self,
        domain: &str,
        roots: RootCertStore,
        alpn: &[&[u8]],
    ) -> Result<(), Broken> {
        self.start_tls_by(domain, tls_client(roots, alpn)).await
    }

    /// As [`Wire::start_tls`], by a client's configuration.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the handshake fails.
    pub async fn start_tls_by(
        &mut self,
        domain: &str,
        config: Arc<ClientConfig>,
    ) -> Result<(), Broken> {
        let name = ServerName::try_from(domain.to_owned())
            .map_err(|error| self.broken(&format!("{domain}: {error}")))?;
        let Some(io) = self.io.take() else {
            return Err(self.broken("no connection to begin TLS on"));
        };
        let connector = TlsConnector::from(config);
        match within(connector.connect(name, io)).await {
            Ok(Ok(stream)) => {
                self.bindings = bindings_of(stream.get_ref().1);
                self.io = Some(Box::new(stream));
            }
            Ok(Err(error)) => return Err(self.broken(&format!("TLS handshake: {error}"))),
            Err(_) => return Err(self.broken("TLS handshake did not end in time")),
        }
        self.received.clear();
        self.transcript.note('>', "[TLS begun]");
        self.restart();
        Ok(())
    }

    /// The channel binding of this type, as this end of the connection sees it.
    pub fn binding(&self, name: &str) -> Option<Binding> {
        self.bindings.iter().find(|by| by.name == name).cloned()
    }

    /// Expects a new stream from the next byte on.
    pub fn restart(&mut self) {
        self.frames = Frames::new();
    }

    /// Sends `bytes` as they are.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the connection is gone or the server does not read.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.transcript.note('>', &String::from_utf8_lossy(bytes));
        let Some(io) = self.io.as_mut() else {
            return Err(self.broken("sending: the connection has ended"));
        };
        let sent = within(async {
            io.write_all(bytes).await?;
            io.flush().await
        })
        .await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&format!("sending: {error}"))),
            Err(_) => Err(self.broken("sending: the server did not read in time")),
        }
    }

    /// The next byte; `None` at the end of the connection. Cancel-safe.
    async fn byte(&mut self) -> Option<u8> {
        if let Some(byte) = self.received.pop_front() {
            return Some(byte);
        }
        let io = self.io.as_mut()?;
        let mut chunk = [0u8; 8192];
        match io.read(&mut chunk).await {
            Ok(0) | Err(_) => {
                self.io = None;
                None
            }
            Ok(count) => {
                self.received.extend(&chunk[1..count]);
                Some(chunk[0])
            }
        }
    }

    /// The next byte of the stream, for exact comparison; `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Broken`] when nothing comes in time.
    pub async fn raw_byte(&mut self) -> Result<Option<u8>, Broken> {
        let byte = match within(self.byte()).await {
            Ok(byte) => byte,
            Err(_) => return Err(self.broken("waiting for bytes: nothing came in time")),
        };
        if let Some(byte) = byte {
            self.hear(byte);
            // Frames completed here are compared as bytes; only the reader's place matters.
            let _ = self.frames.push(byte);
        }
        Ok(byte)
    }

    fn hear(&mut self, byte: u8) {
        // Bytes of one character may come apart; the transcript may show them so.
        self.heard.push(byte as char);
        if byte == b'>' {
            let heard = std::mem::take(&mut self.heard);
            let bytes: Vec<u8> = heard.chars().map(|character| character as u8).collect();
            self.transcript.note('<', &String::from_utf8_lossy(&bytes));
        }
    }

    /// What comes next. Waits as long as it takes and is cancel-safe: for [`crate::client`]'s reader.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the server's stream is not well-formed.
    pub async fn next_unbounded(&mut self) -> Result<Next, Broken> {
        loop {
            let Some(byte) = self.byte().await else {
                return Ok(Next::End);
            };
            match self.frames.push(byte) {
                Ok(Some(frame)) => {
                    self.transcript.note('<', &show(&frame));
                    return Ok(Next::Frame(frame));
                }
                Ok(None) => {}
                Err(error) => return Err(self.broken(&format!("the server's stream: {error}"))),
            }
        }
    }

    /// What comes next.
    ///
    /// # Errors
    ///
    /// [`Broken`] when nothing comes in time or the server's stream is not well-formed.
    pub async fn next(&mut self) -> Result<Next, Broken> {
        match within(self.next_unbounded()).await {
            Ok(next) => next,
            Err(_) => Err(self.broken("waiting for the server: nothing came in time")),
        }
    }

    /// The next frame, which must be an element.
    ///
    /// # Errors
    ///
    /// [`Broken`] when anything else comes.
    pub async fn element(&mut self, waiting_for: &str) -> Result<crate::dom::Element, Broken> {
        match self.next().await? {
            Next::Frame(Frame::Element(element)) => Ok(element),
            other => Err(self.broken(&format!("waiting for {waiting_for}: {other:?}"))),
        }
    }

    /// The next frame, which must be a stream header.
    ///
    /// # Errors
    ///
    /// [`Broken`] when anything else comes.
    pub async fn header(&mut self) -> Result<crate::dom::Element, Broken> {
        match self.next().await? {
            Next::Frame(Frame::Header(header)) if header.is(STREAM_NS, "stream") => Ok(header),
            other => Err(self.broken(&format!("waiting for a stream header: {other:?}"))),
        }
    }

    /// Says that nothing more will be said, and goes on listening.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the connection is gone.
    pub async fn shut(&mut self) -> Result<(), Broken> {
        self.transcript.note('>', "[no more is said]");
        let Some(io) = self.io.as_mut() else {
            return Err(self.broken("the connection has ended"));
        };
        match within(io.shutdown()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&format!("saying no more: {error}"))),
            Err(_) => Err(self.broken("saying no more: it took too long")),
        }
    }

    /// Ends the connection without a goodbye.
    pub fn drop_connection(&mut self) {
        self.transcript.note('>', "[connection dropped]");
        self.io = None;
    }

    /// Takes the connection apart for a reader and a writer of their own.
    pub(crate) fn into_parts(self) -> (Option<Box<dyn Io>>, VecDeque<u8>, Frames, Transcript) {
        (self.io, self.received, self.frames, self.transcript)
    }

    /// Shows `what` went wrong with what was said until now.
    pub fn broken(&self, what: &str) -> Broken {
        let mut transcript = self.transcript.clone();
        if !self.heard.is_empty() {
            transcript.note('<', &self.heard);
        }
        Broken {
            what: what.to_owned(),
            transcript: transcript.to_string(),
        }
    }
}

/// The channel bindings of a connection (RFC 9266; RFC 5929 §4, for certificates signed with SHA-256, as all of
/// the harness are).
fn bindings_of(connection: &rustls::ClientConnection) -> Vec<Binding> {
    let exporter =
        connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b""));
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let named = |name: &str, data| Binding {
        name: name.to_owned(),
        data,
    };
    let exporter = exporter.ok().map(|data| named("tls-exporter", data));
    let end_point = certificate
        .map(|certificate| named("tls-server-end-point", Sha256::digest(certificate).to_vec()));
    exporter.into_iter().chain(end_point).collect()
}

/// A frame as text.
pub fn show(frame: &Frame) -> String {
    match frame {
        Frame::Header(header) => {
            let attrs: Vec<String> = header
                .attrs
                .iter()
                .map(|attr| format!(" {}=\"{}\"", attr.name, attr.value))
                .collect();
            format!("<stream:{}{}>", header.name, attrs.concat())
        }
        Frame::Element(element) => element.to_string(),
        Frame::Text(text) => format!("[text] {text:?}"),
        Frame::Close => "</stream:stream>".to_owned(),
    }
}
