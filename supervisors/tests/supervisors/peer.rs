//! A client by hand: says bytes, hears bytes.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a peer listens for what must come; a test that waits so long fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Peer {
    socket: TcpStream,
    heard: String,
}

impl Peer {
    pub async fn dial(at: SocketAddr) -> Peer {
        let connected = TcpStream::connect(at);
        let connected = otp::Clock::real().timeout(PATIENCE, connected).await;
        let socket = connected.expect("in time").expect("somebody listens");
        let heard = String::new();
        Peer { socket, heard }
    }

    pub async fn says(&mut self, text: &str) {
        // One that has hung up is noticed by what is not heard.
        let _ = self.socket.write_all(text.as_bytes()).await;
    }

    /// Everything up to and with `text`.
    pub async fn hears(&mut self, text: &str) -> String {
        let told = otp::Clock::real().timeout(PATIENCE, self.until(text)).await;
        match told {
            Ok(true) => {
                let end = self.heard.find(text).expect("just found") + text.len();
                self.heard.drain(..end).collect()
            }
            _ => panic!("no {text} in what was heard: {}", self.heard),
        }
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> String {
        let mut heard = std::mem::take(&mut self.heard).into_bytes();
        let read = self.socket.read_to_end(&mut heard);
        let read = otp::Clock::real().timeout(PATIENCE, read).await;
        read.expect("in time").expect("an end in order");
        String::from_utf8(heard).expect("UTF-8")
    }

    async fn until(&mut self, text: &str) -> bool {
        while !self.heard.contains(text) {
            let mut room = [0; 4096];
            match self.socket.read(&mut room).await {
                Ok(0) | Err(_) => return false,
                Ok(read) => self.heard.push_str(&String::from_utf8_lossy(&room[..read])),
            }
        }
        true
    }

    /// Opens a stream to a host, in clear; what it hears up to the features or the error.
    pub async fn opens(&mut self, host: &str) -> String {
        self.says(&format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='{host}'>"
        ))
        .await;
        let mut heard = self.hears("<stream:").await;
        heard += &self.hears("<stream:").await;
        heard += &self.hears(">").await;
        if heard.ends_with("error>") {
            heard += &self.hears("</stream:error>").await;
        }
        heard
    }

    /// Logs in with PLAIN and binds the resource `desk`.
    pub async fn logs_in(&mut self, user: &str, host: &str, password: &str) {
        self.opens(host).await;
        let plain = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        self.says(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
        ))
        .await;
        self.hears("<success").await;
        self.opens(host).await;
        self.says(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>desk</resource></bind></iq>",
        )
        .await;
        self.hears("/desk</jid>").await;
    }
}

/// What a host answers who opens a stream to it.
pub async fn greeting(at: SocketAddr, host: &str) -> String {
    Peer::dial(at).await.opens(host).await
}

/// Whether anybody listens there.
pub async fn is_open(at: SocketAddr) -> bool {
    TcpStream::connect(at).await.is_ok()
}
