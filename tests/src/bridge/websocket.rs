//! RFC 7395 by hand.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::cutter::{Cutter, Said};
use super::{PIPE, connect, header, standing_alone};
use crate::dom::escape;

const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";

/// What RFC 6455 §1.3 has keys answered with.
const ANSWERS: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Opens a WebSocket at `/ws`; a stream goes on it.
///
/// # Errors
///
/// A sentence when there is no WebSocket for `xmpp`.
pub(crate) async fn dial(at: SocketAddr, host: &str) -> Result<DuplexStream, String> {
    let mut socket = connect(at).await?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let key = BASE64_STANDARD.encode(random);
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"
    );
    let say = |error: std::io::Error| format!("opening a WebSocket at {at}: {error}");
    socket.write_all(request.as_bytes()).await.map_err(say)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.map_err(say)?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let accepts = BASE64_STANDARD.encode(Sha1::digest(format!("{key}{ANSWERS}")));
    let has = |name: &str, value: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .any(|(named, said)| named.eq_ignore_ascii_case(name) && said.trim() == value)
    };
    if !head.starts_with("HTTP/1.1 101 ")
        || !has("sec-websocket-accept", &accepts)
        || !has("sec-websocket-protocol", "xmpp")
    {
        return Err(format!("no WebSocket: {head}"));
    }
    let (stream, ours) = tokio::io::duplex(PIPE);
    tokio::spawn(bridge(socket, ours));
    Ok(stream)
}

/// Says by one what is said by the other, until either ends; with it the other does.
async fn bridge(socket: TcpStream, stream: DuplexStream) {
    let (heard, said) = tokio::io::split(socket);
    let (client, to_client) = tokio::io::split(stream);
    let said = Mutex::new(said);
    // Neither waits for the other: a server that is not read must still be written to.
    tokio::select! {
        _ = up(client, &said) => {}
        _ = down(heard, to_client, &said) => {}
    }
}

type Socket = WriteHalf<TcpStream>;

async fn up(mut client: ReadHalf<DuplexStream>, socket: &Mutex<Socket>) -> std::io::Result<()> {
    let mut cutter = Cutter::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let count = client.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        for said in cutter.push(&chunk[..count]) {
            let text = match said {
                Said::Open(header) => {
                    let to = header.attr("to").map(escape).unwrap_or_default();
                    let lang = header.attr_ns(crate::dom::XML_NS, "lang");
                    let lang = lang.map(|lang| format!(" xml:lang='{}'", escape(lang)));
                    let lang = lang.unwrap_or_default();
                    format!("<open xmlns='{FRAMING}' to='{to}' version='1.0'{lang}/>")
                }
                Said::Text(text) => text,
                Said::Close => format!("<close xmlns='{FRAMING}'/>"),
            };
            write(socket, TEXT, text.as_bytes()).await?;
        }
    }
}

/// Sends one frame, masked (RFC 6455 §5.3).
async fn write(socket: &Mutex<Socket>, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
    const MASK: [u8; 4] = [0x5a, 0xc3, 0x0f, 0x96];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    let mut socket = socket.lock().await;
    socket.write_all(&frame).await?;
    socket.flush().await
}

async fn down(
    mut heard: ReadHalf<TcpStream>,
    mut client: WriteHalf<DuplexStream>,
    socket: &Mutex<Socket>,
) -> std::io::Result<()> {
    loop {
        let (opcode, payload) = read(&mut heard).await?;
        match opcode {
            TEXT => {
                let text = String::from_utf8(payload).map_err(std::io::Error::other)?;
                let shown = shown(&text).map_err(std::io::Error::other)?;
                client.write_all(shown.as_bytes()).await?;
            }
            PING => write(socket, PONG, &payload).await?,
            CLOSE => {
                write(socket, CLOSE, &payload).await?;
                return client.shutdown().await;
            }
            other => return Err(std::io::Error::other(format!("a frame of type {other}"))),
        }
    }
}

/// Reads one frame: what it is, and what it carries.
async fn read(heard: &mut ReadHalf<TcpStream>) -> std::io::Result<(u8, Vec<u8>)> {
    let first = heard.read_u8().await?;
    let length = match heard.read_u8().await? {
        126 => u64::from(heard.read_u16().await?),
        127 => heard.read_u64().await?,
        length => u64::from(length),
    };
    if first & 0xf0 != 0x80 || length > 1 << 24 {
        let why = format!("a frame that begins with {first:#x} and has {length} bytes");
        return Err(std::io::Error::other(why));
    }
    let mut payload = vec![0; length as usize];
    heard.read_exact(&mut payload).await?;
    Ok((first & 0x0f, payload))
}

/// A message of the server, as it would stand in a stream.
fn shown(text: &str) -> Result<String, String> {
    let mut elements = standing_alone(text)?;
    let (Some(element), None) = (elements.pop(), elements.pop()) else {
        return Err(format!("not one element: {text}"));
    };
    Ok(match element.name.as_str() {
        "open" if element.namespace == FRAMING => header(&element, element.attr("id")),
        "close" if element.namespace == FRAMING => "</stream:stream>".to_owned(),
        _ => element.to_string(),
    })
}
