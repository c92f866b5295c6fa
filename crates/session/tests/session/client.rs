//! A client that says and hears text.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub struct Client {
    peer: DuplexStream,
    heard: String,
}

impl Client {
    pub fn new(peer: DuplexStream) -> Client {
        Client {
            peer,
            heard: String::new(),
        }
    }

    /// Logs in as `alice` or `bob` and asks for a resource; gives the answer.
    pub async fn login(&mut self, name: &str, resource: &str) -> String {
        self.open().await;
        self.login_here(name, resource).await
    }

    /// As [`Client::login`], on a stream that is open.
    pub async fn login_here(&mut self, name: &str, resource: &str) -> String {
        let secret = match name {
            "alice" => "AGFsaWNlAHNlY3JldA==",
            "bob" => "AGJvYgBzZWNyZXQ=",
            other => panic!("nobody knows {other}"),
        };
        self.says(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
        ))
        .await;
        self.hears("<success").await;
        self.open().await;
        self.says(&format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        ))
        .await;
        self.hears("</iq>").await
    }

    pub async fn open(&mut self) {
        self.says(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xml:lang='de' \
             xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>",
        )
        .await;
        self.hears("</stream:features>").await;
    }

    pub async fn says(&mut self, text: &str) {
        self.peer
            .write_all(text.as_bytes())
            .await
            .expect("the server reads");
    }

    /// Reads until `end` was heard; gives everything up to there, and keeps the rest.
    pub async fn hears(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.heard.find(end) {
                let rest = self.heard.split_off(at + end.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            let so_far = self.heard.len();
            self.read().await;
            assert!(self.heard.len() > so_far, "no `{end}` in `{}`", self.heard);
        }
    }

    async fn read(&mut self) {
        let mut bytes = [0; 4096];
        let count = self.peer.read(&mut bytes).await.expect("the server writes");
        self.heard
            .push_str(std::str::from_utf8(&bytes[..count]).expect("the tests speak ASCII"));
    }

    /// Everything to the end of the connection.
    pub async fn hears_all(mut self) -> String {
        loop {
            let so_far = self.heard.len();
            self.read().await;
            if self.heard.len() == so_far {
                return self.heard;
            }
        }
    }

    /// Asks for something that is answered with an error, behind all that was sent before: what was
    /// heard meanwhile.
    pub async fn sync(&mut self) -> String {
        self.says("<iq type='get' id='sync'><nobody xmlns='urn:answers'/></iq>")
            .await;
        let mut heard = self.hears("id=\"sync\"").await;
        self.hears("</iq>").await;
        heard.truncate(heard.rfind("<iq").expect("the answer"));
        heard
    }
}
