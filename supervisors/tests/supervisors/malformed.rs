//! What is no request, of every kind, at `natterd` as a program: each is refused, memory stays as it was, and the node
//! serves.
//!
//! `NATTER_TEST_ROUNDS` is how often each is sent, 50 unless said.

mod kinds;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::browser::{Browser, Connection};
use crate::house::{folder, place};
use crate::http::HTTP;
use crate::peer::Peer;
use kinds::{By, Kind, frames, h2, head, http, second, services};

/// Before this many of each, what is kept for use is being made: buffers, threads, tables.
const WARM_UP: usize = 10;

/// By so much the program may grow, whatever the number of requests.
const MOST: u64 = 12 << 20;

/// At once.
const CLIENTS: usize = 8;

const PATIENCE: Duration = Duration::from_secs(30);

/// `natterd`, with a listener each for TCP, HTTP and HTTPS.
struct Program {
    child: Child,
    folder: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    authority: Authority,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already where the test did not fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    async fn start() -> Program {
        let authority = Authority::new();
        let secure = HTTP.replace("off", "direct");
        let folder = folder(&format!(
            "{HTTP}{secure}[modules.mod_http_upload]\nenabled = true\n[tls]\ncertificates = [\"a.pem\"]\n"
        ));
        let issued = authority.issues("a.example");
        let pem = format!("{}{}", issued.chain, issued.key);
        std::fs::write(folder.path().join("a.pem"), pem).expect("the folder is ours");
        let place = place(&folder);
        let (file, data): (PathBuf, PathBuf) =
            (place.file.expect("named"), place.data_dir.expect("named"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_natterd"))
            .arg("--config")
            .arg(file)
            .arg("--data-dir")
            .arg(data)
            .env("NATTER_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        let stdout = tokio::net::unix::pipe::Receiver::from_owned_fd(stdout.into());
        let mut lines = tokio::io::BufReader::new(stdout.expect("a pipe")).lines();
        let ready = async {
            loop {
                let line = lines.next_line().await.expect("text").expect("it lives");
                if line.starts_with("natterd ready") {
                    return line;
                }
            }
        };
        let ready = otp::Clock::real().timeout(2 * PATIENCE, ready).await;
        let ready = ready.expect("it is ready in time");
        let words = ready.split(['=', ' ']);
        Program {
            child,
            folder,
            addresses: words.filter_map(|word| word.parse().ok()).collect(),
            authority,
        }
    }

    fn natterctl(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_natterctl"));
        let data = place(&self.folder).data_dir.expect("named");
        command.arg("--data-dir").arg(data).args(words);
        let done = command.output().expect("it runs");
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).expect("text")
    }

    /// What it keeps of its own, in bytes; none where the system does not tell. Pages of the program are left out: how many are
    /// its own depends on who else runs it.
    fn memory(&self) -> Option<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let told = std::fs::read_to_string(path).ok()?;
        let line = told
            .lines()
            .find_map(|line| line.strip_prefix("Anonymous:"))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// Sends one and judges what comes back.
    async fn tries(&self, kind: &Kind) -> Result<(), String> {
        let tried = otp::Clock::real().timeout(PATIENCE, self.sends(kind)).await;
        let heard = match tried {
            Ok(Ok(heard)) => heard,
            // It was cut while it was still sent.
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err("no refusal in time".to_owned()),
        };
        let text = String::from_utf8_lossy(&heard);
        let status = text
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..1));
        let is_refused = heard.is_empty() || matches!(status, Some("4" | "5"));
        let is_right = match kind.by {
            By::Http => is_refused,
            By::Bosh => is_refused || text.contains("type=\"terminate\""),
            By::XmlRpc => is_refused || text.contains("<fault>"),
            By::WebSocket => heard.contains(&0x88) || text.contains("<stream:error"),
            By::Http2 => is_refused_in_http2(&heard),
        };
        match is_right {
            true => Ok(()),
            false => Err(format!("answered by {text:?}")),
        }
    }

    async fn sends(&self, kind: &Kind) -> std::io::Result<Vec<u8>> {
        let mut socket: Box<dyn Connection> = match kind.by {
            By::Http2 => Box::new(
                self.authority
                    .speaks(self.addresses[2], "a.example", "h2")
                    .await,
            ),
            _ => Box::new(TcpStream::connect(self.addresses[1]).await?),
        };
        if kind.by == By::WebSocket {
            let handshake = head(
                "GET /ws HTTP/1.1",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n",
            );
            socket.write_all(handshake.as_bytes()).await?;
            let mut told = Vec::new();
            while !told.ends_with(b"\r\n\r\n") {
                told.push(socket.read_u8().await?);
            }
            assert!(told.starts_with(b"HTTP/1.1 101 "), "{told:?}");
        }
        if kind.by == By::Http2 {
            socket
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                .await?;
            socket.write_all(&h2(4, 0, 0, &[])).await?;
        }
        socket.write_all(&kind.bytes).await?;
        socket.flush().await?;
        let mut heard = Vec::new();
        loop {
            let mut room = [0; 4096];
            match socket.read(&mut room).await {
                Ok(0) | Err(_) => return Ok(heard),
                Ok(count) => heard.extend_from_slice(&room[..count]),
            }
            // Some are answered and may ask again; that is enough.
            let is_told = match kind.by {
                By::Http | By::Bosh | By::XmlRpc => is_whole(&heard),
                By::WebSocket => heard.contains(&0x88),
                By::Http2 => tells(&heard),
            };
            if is_told {
                return Ok(heard);
            }
        }
    }
}

/// Whether a whole reply of HTTP/1 is there.
fn is_whole(heard: &[u8]) -> bool {
    let text = String::from_utf8_lossy(heard).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length
        .and_then(|length| length.trim().parse().ok())
        .unwrap_or(0);
    body.len() >= length
}

/// Frames of HTTP/2: of which type, and how each begins.
fn read(mut heard: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = heard {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, behind)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push((*kind, payload.to_vec()));
        heard = behind;
    }
    frames
}

/// Whether anything but settings and windows was said.
fn tells(heard: &[u8]) -> bool {
    read(heard).iter().any(|(kind, _)| [1, 3, 7].contains(kind))
}

fn is_refused_in_http2(heard: &[u8]) -> bool {
    // 0x88 is a status of 200 (RFC 7541, appendix A).
    let serves = |(kind, fields): &(u8, Vec<u8>)| *kind == 1 && fields.contains(&0x88);
    !read(heard).iter().any(serves)
}

/// Sends each kind so often, by several clients at once. How many that were.
async fn round(program: &Arc<Program>, kinds: &Arc<Vec<Kind>>, rounds: usize) -> usize {
    let next: Arc<AtomicUsize> = Arc::default();
    let all = kinds.len() * rounds;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (program, kinds, next) = (Arc::clone(program), Arc::clone(kinds), Arc::clone(&next));
        clients.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= all {
                    return;
                }
                let kind = &kinds[number % kinds.len()];
                if let Err(why) = program.tries(kind).await {
                    panic!("{}: {why}", kind.name);
                }
            }
        }));
    }
    for client in clients {
        client.await.expect("each is refused");
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_costs_nothing_that_stays() {
    let rounds = std::env::var("NATTER_TEST_ROUNDS").ok();
    let rounds = rounds.map_or(50, |rounds| rounds.parse().expect("a number"));
    let program = Arc::new(Program::start().await);
    program.natterctl(&["register", "root", "a.example", "secret"]);
    program.natterctl(&["set_role", "root", "a.example", "admin"]);
    let made = program.natterctl(&["--json", "token_create", "root", "a.example"]);
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let token = made["token"].as_str().expect("a token").to_owned();
    let kinds = [http(), services(&token), frames(), second()];
    let kinds: Arc<Vec<Kind>> = Arc::new(kinds.into_iter().flatten().collect());
    assert!(kinds.len() >= 40, "{} kinds", kinds.len());

    round(&program, &kinds, WARM_UP).await;
    let before = program.memory();
    let sent = round(&program, &kinds, rounds).await;
    let after = program.memory();
    if let (Some(before), Some(after)) = (before, after) {
        let (before_kib, after_kib) = (before >> 10, after >> 10);
        assert!(
            after < before + MOST,
            "{before_kib} KiB before, {after_kib} KiB behind {sent}"
        );
    }

    // The node serves as ever: a login, a command, and nobody has fallen.
    let mut root = Peer::dial(program.addresses[0]).await;
    root.logs_in("root", "a.example", "secret").await;
    let mut browser = Browser::dial(program.addresses[1]).await;
    let own = format!("Authorization: Bearer {token}");
    let told = browser
        .asks("GET", "localhost", "/api/connected_users", &[&own], "")
        .await;
    assert_eq!(told.status, 200, "{told:?}");
    assert!(told.body.contains("root@a.example"), "{told:?}");
    let metrics = browser.asks("GET", "localhost", "/metrics", &[], "").await;
    let restarts = metrics
        .body
        .lines()
        .filter(|line| line.starts_with("natter_process_restarts{"));
    for line in restarts {
        assert!(line.ends_with(" 0"), "{line}");
    }
    drop((root, browser));
    let mut program = Arc::into_inner(program).expect("nobody else has it");
    program.natterctl(&["stop"]);
    assert!(program.child.wait().expect("it ends").success());
}
