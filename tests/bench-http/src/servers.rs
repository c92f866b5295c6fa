//! Three servers that say the same: bare hyper, axum, httpd. Each on one thread of a process of its own.
//!
//! The address is the first line that is printed; for each line that comes in, the CPU time of the process so far is
//! printed, in nanoseconds. It ends with its input.

use std::convert::Infallible;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use httpd::{Dispatch, Error, Handler, Host, Httpd, Limits, Options, Outcome, Path, Request};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper_util::rt::TokioIo;
use net::{Admission, Bound, Gate, ListenerLimits, listener_child};
use otp::{App, Clock, Strategy, Supervisor, System};
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;

/// The servers, in the order in which they take their turn.
pub const KINDS: [&str; 3] = ["hyper", "axum", "httpd"];

/// What is asked of each, and what it says.
pub const REQUEST: &[u8] =
    b"GET /users/joe HTTP/1.1\r\nHost: a.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
pub const BODY: &[u8] = b"Hello, joe!\n";

const TYPE: &str = "text/plain; charset=utf-8";

pub fn serve(kind: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    std::thread::spawn(answer);
    let served = runtime.block_on(async {
        match kind {
            "hyper" => bare().await,
            "axum" => routed_by_axum().await,
            "httpd" => routed_by_httpd().await,
            _ => Err(format!("no server is called {kind}").into()),
        }
    });
    served.map_err(|error| error.to_string())
}

/// Says how much CPU time was used whenever it is asked, and ends the process when nobody can ask any more.
fn answer() {
    for _ in std::io::stdin().lock().lines() {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        say(&format!("{}", used.tv_sec * 1_000_000_000 + used.tv_nsec));
    }
    std::process::exit(0);
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever started it reads, or has gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

type Served = Result<(), Box<dyn std::error::Error>>;

async fn bound() -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    say(&listener.local_addr()?.to_string());
    Ok(listener)
}

/// hyper as its documentation begins: no route, a reply that is always the same.
async fn bare() -> Served {
    let listener = bound().await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let hello = hyper::service::service_fn(|_request| async {
            let mut reply = hyper::Response::new(Full::new(Bytes::from_static(BODY)));
            reply
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
            Ok::<_, Infallible>(reply)
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), hello),
        );
    }
}

async fn routed_by_axum() -> Served {
    use axum::extract::Path;
    let hello = |Path(name): Path<String>| async move { format!("Hello, {name}!\n") };
    let router = axum::Router::new().route("/users/{name}", axum::routing::get(hello));
    Ok(axum::serve(bound().await?, router).await?)
}

#[derive(Clone)]
struct Hello;

impl Handler for Hello {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        let text = format!("Hello, {}!\n", req.binding("name").unwrap_or_default());
        req.reply_text(200, text)?;
        Ok(Outcome::Done)
    }
}

/// As natterd serves: a process a connection, under a supervisor, behind a listener with admission.
async fn routed_by_httpd() -> Served {
    let system = System::new("bench", Clock::real());
    let limits = Limits {
        requests: u64::MAX,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let httpd = Httpd::new(&system, "http", options);
    let table = vec![Host::any().path(Path::to("/users/:name", Hello))];
    httpd.set_routes(Dispatch::compile(table)?);
    let bound = Arc::new(Bound::bind("127.0.0.1:0".parse()?, 128)?);
    say(&bound.local_addr().to_string());
    let gate = Gate {
        admission: Admission::new(1000, 1000),
        proxies: None,
        forwarders: Arc::default(),
    };
    let door = httpd.door(None);
    let listener = listener_child("http", bound, door, gate, ListenerLimits::default());
    let root = Supervisor::new(Strategy::RestForOne)
        .child(httpd.connections("connections", 5, Duration::from_secs(30)))
        .child(listener);
    let _app = App::start(root, &system, "root").await?;
    std::future::pending().await
}
