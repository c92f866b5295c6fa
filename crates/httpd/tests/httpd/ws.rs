//! WebSockets, frame by frame (RFC 6455).

use std::time::Duration;

use crate::frames::{BINARY, CLOSE, FIN, HANDSHAKE, PING, PONG, TEXT, frame, hear};
use crate::stage::{Client, Stage, any, status};
use httpd::{
    Commands, Error, Flow, Frame, Handler, Mailbox, Outcome, Path, Reason, Request, Sender,
    WebSocket, WsOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[derive(Debug)]
enum Seen {
    Began(Sender<&'static str>, Option<String>),
    Ended(Reason),
}

#[derive(Clone)]
struct Echo(mpsc::UnboundedSender<Seen>);

impl Handler for Echo {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        req.set_header("x-set", "in init")?;
        Ok(Outcome::websocket(self.clone()))
    }
}

impl WebSocket for Echo {
    type Info = &'static str;

    fn options(&self) -> WsOptions {
        WsOptions {
            protocols: vec!["xmpp".to_owned(), "chat".to_owned()],
            max_frame: 1000,
            max_message: 2000,
            ..WsOptions::default()
        }
    }

    async fn start(
        &mut self,
        mailbox: &Mailbox<&'static str>,
        protocol: Option<&str>,
        out: &mut Commands,
    ) -> Flow {
        let _ = self
            .0
            .send(Seen::Began(mailbox.sender(), protocol.map(str::to_owned)));
        out.text("hello");
        Flow::Go
    }

    async fn handle(&mut self, frame: Frame, out: &mut Commands) -> Flow {
        match frame {
            Frame::Text(text) if text == "stop" => return Flow::Stop,
            Frame::Text(text) if text == "close" => out.close(4001, "as asked"),
            Frame::Text(text) if text == "fall" => panic!("fell"),
            Frame::Text(text) if text == "short" => out.idle_timeout(Duration::from_secs(5)),
            Frame::Ping(_) | Frame::Pong(_) => {}
            other => out.send(other),
        }
        Flow::Hibernate
    }

    async fn info(&mut self, info: &'static str, out: &mut Commands) -> Flow {
        match info {
            "pause" => out.pause(true),
            "go on" => out.pause(false),
            text => out.text(text),
        }
        Flow::Go
    }

    fn terminate(&mut self, reason: &Reason, _req: &Request) {
        let _ = self.0.send(Seen::Ended(reason.clone()));
    }
}

struct Open {
    stage: Stage,
    socket: TcpStream,
    seen: mpsc::UnboundedReceiver<Seen>,
    sender: Sender<&'static str>,
}

async fn server() -> (Stage, mpsc::UnboundedReceiver<Seen>) {
    let (seen, heard) = mpsc::unbounded_channel();
    (
        Stage::new(any(vec![Path::to("/", Echo(seen))])).await,
        heard,
    )
}

async fn open() -> Open {
    let (stage, mut seen) = server().await;
    let mut client = stage.connect().await;
    client.say(format!("{HANDSHAKE}\r\n")).await;
    let head = client.through("\r\n\r\n").await;
    assert_eq!(status(&head), 101);
    client.through("\u{5}hello").await;
    let Some(Seen::Began(sender, None)) = seen.recv().await else {
        panic!("it began")
    };
    Open {
        stage,
        socket: client.into_io(),
        seen,
        sender,
    }
}

impl Open {
    async fn say(&mut self, first: u8, payload: &[u8]) {
        self.socket
            .write_all(&frame(first, payload))
            .await
            .expect("written");
    }

    /// The close that comes, and that nothing comes behind it once it is answered.
    async fn closed(mut self) -> (Option<u16>, String, Reason) {
        let (first, payload) = hear(&mut self.socket).await;
        assert_eq!(first, FIN | CLOSE);
        let _ = self.socket.write_all(&frame(FIN | CLOSE, &payload)).await;
        let mut rest = Vec::new();
        let _ = self.socket.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
        let Some(Seen::Ended(reason)) = self.seen.recv().await else {
            panic!("it ended")
        };
        assert!(self.seen.try_recv().is_err(), "told once");
        assert!(self.sender.has_ended());
        let code = payload
            .first_chunk::<2>()
            .map(|code| u16::from_be_bytes(*code));
        let text = payload.get(2..).unwrap_or_default();
        (
            code,
            String::from_utf8(text.to_vec()).expect("text"),
            reason,
        )
    }
}

#[tokio::test]
async fn the_handshake() {
    let (stage, mut seen) = server().await;
    let mut client = stage.connect().await;
    client
        .say(format!(
            "{HANDSHAKE}Sec-WebSocket-Protocol: other, chat\r\n\r\n"
        ))
        .await;
    let head = client.through("\r\n\r\n").await;
    // The key and its answer are those of RFC 6455 §1.3.
    for line in [
        "HTTP/1.1 101 Switching Protocols\r\n",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "sec-websocket-protocol: chat\r\n",
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "x-set: in init\r\n",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert!(!head.contains("sec-websocket-extensions"));
    assert!(
        matches!(seen.recv().await, Some(Seen::Began(_, Some(protocol))) if protocol == "chat")
    );
    for (request, code) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 426),
        (HANDSHAKE.replace("GET", "POST") + "\r\n", 426),
        (HANDSHAKE.replace(": 13", ": 8") + "\r\n", 426),
        (HANDSHAKE.replace("dGhl", "") + "\r\n", 400),
        (HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0") + "\r\n", 501),
        (HANDSHAKE.replace("WebSocket\r\n", "h2c\r\n") + "\r\n", 426),
    ] {
        let mut client = stage.connect().await;
        client.say(&request).await;
        let reply = client.reply().await;
        assert_eq!(status(&reply), code, "{request}{reply}");
        if request.contains("HTTP/1.1") {
            assert_eq!(
                status(&client.get("/").await),
                426,
                "the connection goes on"
            );
        }
    }
}

#[tokio::test]
async fn messages_fragments_pings_and_pongs() {
    let mut open = open().await;
    open.say(FIN | TEXT, "grüße".as_bytes()).await;
    assert_eq!(
        hear(&mut open.socket).await,
        (FIN | TEXT, "grüße".as_bytes().to_vec())
    );
    open.say(FIN | BINARY, &[0, 255]).await;
    assert_eq!(hear(&mut open.socket).await, (FIN | BINARY, vec![0, 255]));
    // In fragments cut within a character, a ping between them.
    let text = "über".as_bytes();
    open.say(TEXT, &text[..1]).await;
    open.say(FIN | PING, b"are you there").await;
    open.say(0, &text[1..3]).await;
    open.say(FIN, &text[3..]).await;
    assert_eq!(
        hear(&mut open.socket).await,
        (FIN | PONG, b"are you there".to_vec())
    );
    assert_eq!(hear(&mut open.socket).await, (FIN | TEXT, text.to_vec()));
    open.say(FIN | PONG, b"unasked").await;
    open.say(FIN | TEXT, b"").await;
    assert_eq!(hear(&mut open.socket).await, (FIN | TEXT, vec![]));
    // Byte by byte.
    for byte in frame(FIN | TEXT, b"slow") {
        open.socket.write_all(&[byte]).await.expect("written");
        tokio::task::yield_now().await;
    }
    assert_eq!(hear(&mut open.socket).await, (FIN | TEXT, b"slow".to_vec()));
    open.sender.send("from a process").expect("taken");
    assert_eq!(
        hear(&mut open.socket).await,
        (FIN | TEXT, b"from a process".to_vec())
    );
}

#[tokio::test]
async fn who_breaks_the_protocol_is_closed_with_its_code() {
    let unmasked = [FIN | TEXT, 1, b'x'].to_vec();
    let mut many = frame(TEXT, &[b'x'; 900]);
    many.extend(frame(0, &[b'x'; 900]));
    many.extend(frame(0, &[b'x'; 900]));
    for (what, bytes, code) in [
        ("no mask", unmasked, 1002),
        ("a reserved bit", frame(FIN | 0x40 | TEXT, b"x"), 1002),
        ("a reserved opcode", frame(FIN | 3, b"x"), 1002),
        ("a reserved control opcode", frame(FIN | 11, b""), 1002),
        ("a fragmented ping", frame(PING, b"x"), 1002),
        ("a long ping", frame(FIN | PING, &[0; 126]), 1002),
        ("a continuation of nothing", frame(FIN, b"x"), 1002),
        (
            "a text within a text",
            [frame(TEXT, b"x"), frame(FIN | TEXT, b"x")].concat(),
            1002,
        ),
        ("no UTF-8", frame(FIN | TEXT, b"\xff"), 1007),
        ("a character cut off", frame(FIN | TEXT, b"\xc3"), 1007),
        ("a surrogate", frame(FIN | TEXT, b"\xed\xa0\x80"), 1007),
        ("a long frame", frame(FIN | BINARY, &[0; 1001]), 1009),
        ("a long message", many, 1009),
        ("a close of one byte", frame(FIN | CLOSE, b"x"), 1002),
        (
            "a close with no text in it",
            frame(FIN | CLOSE, b"\x03\xe8\xff"),
            1007,
        ),
    ] {
        let mut open = open().await;
        open.socket.write_all(&bytes).await.expect("written");
        let (said, _, reason) = open.closed().await;
        assert_eq!(
            (said, reason),
            (Some(code), Reason::BadFrame(code)),
            "{what}"
        );
    }
}

#[tokio::test]
async fn closes_of_both_sides() {
    let mut one = open().await;
    one.say(FIN | CLOSE, b"\x0f\xa0bye").await;
    let (code, _, reason) = one.closed().await;
    assert_eq!(
        (code, reason),
        (Some(4000), Reason::Remote(Some((4000, "bye".to_owned()))))
    );
    let mut one = open().await;
    one.say(FIN | CLOSE, b"").await;
    let (_, _, reason) = one.closed().await;
    assert_eq!(reason, Reason::Remote(None));
    for (text, code, said, wanted) in [
        ("stop", 1000, "", Reason::Stop),
        ("close", 4001, "as asked", Reason::Stop),
        ("fall", 1011, "", Reason::Panic("fell".into())),
    ] {
        let mut one = open().await;
        one.say(FIN | TEXT, text.as_bytes()).await;
        assert_eq!(one.closed().await, (Some(code), said.to_owned(), wanted));
    }
    let mut one = open().await;
    one.socket.shutdown().await.expect("shut");
    assert!(matches!(
        one.seen.recv().await,
        Some(Seen::Ended(Reason::Disconnected))
    ));
}

#[tokio::test]
async fn silence_is_closed_and_what_is_sent_does_not_break_it() {
    let mut one = open().await;
    let mut silent = one.stage.clock.now();
    one.say(FIN | PING, b"").await;
    assert_eq!(hear(&mut one.socket).await, (FIN | PONG, vec![]));
    for _ in 0..5 {
        one.stage.hand.advance(Duration::from_secs(10)).await;
        one.sender.send("tick").expect("taken");
        assert_eq!(hear(&mut one.socket).await.1, b"tick");
    }
    let Open {
        stage,
        socket,
        seen,
        sender,
    } = &mut one;
    let ((first, payload), _) = stage.until(hear(socket)).await;
    assert_eq!((first, &payload[..]), (FIN | CLOSE, &b"\x03\xe8"[..]));
    let after = stage.clock.now() - silent;
    assert!(
        after >= Duration::from_secs(60) && after < Duration::from_secs(70),
        "{after:?}"
    );
    let (ended, _) = stage.until(seen.recv()).await;
    assert!(
        matches!(ended, Some(Seen::Ended(Reason::IdleTimeout))),
        "{ended:?}"
    );
    assert!(sender.has_ended());

    let mut one = open().await;
    one.say(FIN | TEXT, b"short").await;
    one.say(FIN | TEXT, b"x").await;
    assert_eq!(hear(&mut one.socket).await.1, b"x");
    silent = one.stage.clock.now();
    let (_, _) = one.stage.until(hear(&mut one.socket)).await;
    let after = one.stage.clock.now() - silent;
    assert!(
        after >= Duration::from_secs(5) && after < Duration::from_secs(15),
        "{after:?}"
    );
}

#[tokio::test]
async fn who_is_not_read_is_held_back() {
    let mut one = open().await;
    one.sender.send("pause").expect("taken");
    one.sender.send("paused").expect("taken");
    assert_eq!(hear(&mut one.socket).await.1, b"paused");
    one.say(FIN | TEXT, b"unheard").await;
    one.stage.hand.advance(Duration::from_secs(100)).await;
    one.sender.send("still").expect("taken");
    assert_eq!(hear(&mut one.socket).await.1, b"still");
    one.sender.send("go on").expect("taken");
    assert_eq!(hear(&mut one.socket).await.1, b"unheard");
}

#[tokio::test]
async fn a_stop_closes_with_1001() {
    let one = open().await;
    let app = one.stage.app.clone();
    let stopping = tokio::spawn(async move { app.stop(Duration::from_secs(60)).await });
    let (code, _, reason) = one.closed().await;
    assert_eq!((code, reason), (Some(1001), Reason::Shutdown));
    stopping.await.expect("no panic").expect("in time");
}

#[tokio::test]
async fn frames_behind_the_handshake_are_not_lost() {
    let (stage, _seen) = server().await;
    let mut client = stage.connect().await;
    let all = [
        format!("{HANDSHAKE}\r\n").into_bytes(),
        frame(FIN | TEXT, b"early"),
    ]
    .concat();
    client.say(all).await;
    client.through("hello").await;
    client.through("early").await;
}

#[tokio::test]
async fn a_client_of_another_maker() {
    let (stage, _seen) = server().await;
    let client: Client<TcpStream> = stage.connect().await;
    let url = format!("ws://{}/", stage.address);
    let (mut socket, _) = tokio_tungstenite::client_async(url, client.into_io())
        .await
        .expect("a handshake");
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    assert_eq!(
        socket.next().await.expect("more").expect("good"),
        Message::text("hello")
    );
    socket
        .send(Message::text("x".repeat(900)))
        .await
        .expect("sent");
    assert_eq!(socket.next().await.expect("more").expect("good").len(), 900);
    socket.close(None).await.expect("closed");
    while let Some(Ok(_)) = socket.next().await {}
}
