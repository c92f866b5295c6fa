//! A server on a port of its own, with its clock in hand, and clients that speak bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use httpd::{
    Dispatch, Error, Handler, Host, Httpd, Limits, Options, Outcome, Path, Reason, Request,
    handler_fn,
};
use net::{Admission, Bound, Gate, ListenerLimits, ServerConfig, listener_child};
use otp::{App, Clock, ClockHand, Strategy, Supervisor, System};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

pub struct Stage {
    pub address: SocketAddr,
    pub httpd: Httpd,
    pub app: App,
    pub clock: Clock,
    pub hand: ClockHand,
}

impl Stage {
    pub async fn new(hosts: Vec<Host>) -> Stage {
        Stage::with(hosts, Options::default(), None).await
    }

    pub async fn limited(hosts: Vec<Host>, limits: Limits) -> Stage {
        let options = Options {
            limits,
            ..Options::default()
        };
        Stage::with(hosts, options, None).await
    }

    pub async fn with(hosts: Vec<Host>, options: Options, tls: Option<Arc<ServerConfig>>) -> Stage {
        let (clock, hand) = Clock::manual();
        let system = System::new("test", clock.clone());
        let httpd = Httpd::new(&system, "http", options);
        httpd.set_routes(Dispatch::compile(hosts).expect("compiles"));
        let bound = Arc::new(Bound::bind(([127, 0, 0, 1], 0).into(), 128).expect("a port"));
        let address = bound.local_addr();
        let gate = Gate {
            admission: Admission::new(100, 100),
            proxies: None,
            forwarders: Arc::default(),
        };
        let door = httpd.door(tls);
        let root = Supervisor::new(Strategy::RestForOne)
            .child(httpd.connections("connections", 5, Duration::from_secs(30)))
            .child(listener_child(
                "http",
                bound,
                door,
                gate,
                ListenerLimits::default(),
            ));
        let app = App::start(root, &system, "root").await.expect("starts");
        Stage {
            address,
            httpd,
            app,
            clock,
            hand,
        }
    }

    pub async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.expect("accepted"))
    }

    /// Says `bytes`, and gives all that is said back until the server closes.
    pub async fn talk(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.say(bytes).await;
        client.rest().await
    }

    /// A request that closes behind its reply.
    pub async fn get(&self, path: &str) -> String {
        self.talk(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
        .await
    }

    /// Lets time pass until `event` comes; gives how much.
    pub async fn until<T>(&self, event: impl Future<Output = T>) -> (T, Duration) {
        let began = self.clock.now();
        let passing = async {
            for _ in 0..100_000 {
                self.hand.advance(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            biased;
            came = event => (came, self.clock.now() - began),
            () = passing => panic!("it never came"),
        }
    }
}

/// A client that speaks bytes.
pub struct Client<S> {
    pub io: S,
    heard: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(io: S) -> Client<S> {
        Client {
            io,
            heard: Vec::new(),
        }
    }

    /// Its stream, if nothing was heard that was not taken.
    pub fn into_io(self) -> S {
        assert!(self.heard.is_empty(), "{:?} was not taken", self.heard);
        self.io
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.expect("written");
    }

    async fn hear(&mut self) -> bool {
        let mut space = [0; 4096];
        match self.io.read(&mut space).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.heard.extend_from_slice(&space[..count]);
                true
            }
        }
    }

    /// What is said up to and with `mark`.
    pub async fn through(&mut self, mark: &str) -> String {
        loop {
            let at = self
                .heard
                .windows(mark.len())
                .position(|w| w == mark.as_bytes());
            if let Some(at) = at {
                let said: Vec<u8> = self.heard.drain(..at + mark.len()).collect();
                return String::from_utf8_lossy(&said).into_owned();
            }
            assert!(
                self.hear().await,
                "closed after {:?}",
                String::from_utf8_lossy(&self.heard)
            );
        }
    }

    pub async fn rest(&mut self) -> String {
        while self.hear().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned()
    }

    /// A request, and the reply with a body of known length.
    pub async fn get(&mut self, path: &str) -> String {
        self.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        self.reply().await
    }

    /// What was heard and not taken yet.
    pub fn taken(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }

    /// A reply with a body of known length.
    pub async fn reply(&mut self) -> String {
        let head = self.through("\r\n\r\n").await;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        while self.heard.len() < length {
            assert!(self.hear().await, "closed in a body");
        }
        let body: Vec<u8> = self.heard.drain(..length).collect();
        head + &String::from_utf8_lossy(&body)
    }
}

/// The status of a reply.
pub fn status(reply: &str) -> u16 {
    let line = reply
        .strip_prefix("HTTP/1.1 ")
        .or(reply.strip_prefix("HTTP/1.0 "));
    let number = line.and_then(|rest| rest.get(..3));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no reply: {reply:?}"))
}

/// The body of a reply.
pub fn body(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Replies with the body of the request.
pub fn echo() -> Path {
    Path::to(
        "/echo",
        handler_fn((), |req: &mut Request, (): &mut ()| {
            Box::pin(async {
                let body = req.body(100_000).await?;
                req.reply(200, (), body)?;
                Ok(Outcome::Done)
            })
        }),
    )
}

pub fn any(paths: Vec<Path>) -> Vec<Host> {
    vec![Host::any().paths(paths)]
}

/// A handler of a function, which tells how it ended.
#[derive(Clone)]
pub struct Told<F> {
    pub function: F,
    pub ends: mpsc::UnboundedSender<Reason>,
}

pub fn told<F>(function: F) -> (Told<F>, mpsc::UnboundedReceiver<Reason>)
where
    F: for<'a> Fn(&'a mut Request) -> Served<'a> + Clone + Send + Sync + 'static,
{
    let (ends, heard) = mpsc::unbounded_channel();
    (Told { function, ends }, heard)
}

/// What [`Told`] runs: boxed, so that its future is known to be sent.
pub type Served<'a> = futures_util::future::BoxFuture<'a, Result<Outcome, Error>>;

impl<F> Handler for Told<F>
where
    F: for<'a> Fn(&'a mut Request) -> Served<'a> + Clone + Send + Sync + 'static,
{
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        (self.function)(req).await
    }

    fn terminate(&mut self, reason: &Reason, _req: &Request) {
        let _ = self.ends.send(reason.clone());
    }
}
