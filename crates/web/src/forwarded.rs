//! Trusted forwarders: whose request is it that a proxy passes on?
//!
//! Source: RFC 7239 (`Forwarded`), and `X-Forwarded-For` as proxies write it. Each proxy adds the address it was asked from
//! at the right, and whatever stands left of what a trusted one added may be anybody's invention: so the list is read from
//! the right, and the first address in it that is not a trusted forwarder's own is the client's. Headers of all others are
//! not read at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use httpd::http::HeaderMap;
use httpd::{Error, Middleware, Request, Verdict};
use parking_lot::RwLock;

use crate::access::{Access, WebSettings, is_passed_on};

const FORWARDED: &str = "forwarded";
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Puts the client's address in the place of a trusted forwarder's, before anything is decided by it.
pub(crate) struct Forwarders(pub(crate) Arc<RwLock<Arc<WebSettings>>>);

impl Middleware for Forwarders {
    fn execute<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Result<Verdict, Error>> {
        let settings = Arc::clone(&self.0.read());
        Box::pin(std::future::ready(believe(&settings.forwarders, req)))
    }
}

fn believe(trusted: &Access, req: &mut Request) -> Result<Verdict, Error> {
    let forwarder = req.peer();
    if !trusted.admits(forwarder.ip()) {
        return Ok(Verdict::Go);
    }
    match told(trusted, req.headers()) {
        Ok(Told::Nothing) => Ok(Verdict::Go),
        Ok(Told::Client(client)) => {
            req.set_peer(client_at(client, forwarder));
            Ok(Verdict::Go)
        }
        Err(why) => {
            tracing::info!(target: "natter::web", address = %forwarder.ip(), why, "request of a forwarder refused");
            req.reply_text(400, format!("{why}\n"))?;
            Ok(Verdict::Stop)
        }
    }
}

/// Where a client is that came through a forwarder: never on this machine, whatever was said; where nothing usable was, at
/// the unspecified address.
fn client_at(said: Option<SocketAddr>, forwarder: SocketAddr) -> SocketAddr {
    match said {
        Some(client) if !client.ip().to_canonical().is_loopback() => {
            SocketAddr::new(client.ip().to_canonical(), client.port())
        }
        _ if forwarder.is_ipv4() => (Ipv4Addr::UNSPECIFIED, forwarder.port()).into(),
        _ => (Ipv6Addr::UNSPECIFIED, forwarder.port()).into(),
    }
}

/// What a forwarder says of a request.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// That it was passed on, not at all: it is the forwarder's own.
    Nothing,
    /// Where its client is, if that is known.
    Client(Option<SocketAddr>),
}

/// # Errors
///
/// In words: a header is malformed as far as it is read, or two name different clients. One of those two is then not the
/// forwarder's but the client's own, and nobody can say which.
fn told(trusted: &Access, headers: &HeaderMap) -> Result<Told, String> {
    let lines = |name: &str| -> Result<Vec<&str>, String> {
        let lines = headers.get_all(name).iter();
        let texts = lines.map(|line| line.to_str());
        let texts: Result<Vec<&str>, _> = texts.collect();
        texts.map_err(|_| format!("the header {name} is not ASCII"))
    };
    let (standard, usual) = (lines(FORWARDED)?, lines(X_FORWARDED_FOR)?);
    let nobody = |name: &str| format!("the header {name} names nobody");
    let standard = if standard.is_empty() {
        None
    } else {
        let nodes = standard.iter().rev().flat_map(|line| of_forwarded(line));
        Some(client(trusted, nodes)?.ok_or_else(|| nobody(FORWARDED))?)
    };
    let usual = if usual.is_empty() {
        None
    } else {
        let parts = usual.iter().rev().flat_map(|line| line.rsplit(','));
        let nodes = parts.map(str::trim).filter(|part| !part.is_empty());
        Some(client(trusted, nodes.map(of_list))?.ok_or_else(|| nobody(X_FORWARDED_FOR))?)
    };
    let address = |node: Option<SocketAddr>| node.map(|at| at.ip().to_canonical());
    match (standard, usual) {
        (Some(one), Some(other)) if address(one) != address(other) => Err(format!(
            "{FORWARDED} and {X_FORWARDED_FOR} name different clients: the proxy must remove the one it does not write"
        )),
        (Some(client), _) | (None, Some(client)) => Ok(Told::Client(client)),
        (None, None) if is_passed_on(headers) => Ok(Told::Client(None)),
        (None, None) => Ok(Told::Nothing),
    }
}

/// Who sent or passed on a request: an address, or nobody that can be known (`unknown`, an obfuscated identifier).
type Node = Option<SocketAddr>;

/// The first from the right that is no trusted forwarder; where all are, the last of them. None: there is none at all.
fn client(
    trusted: &Access,
    from_the_right: impl Iterator<Item = Result<Node, String>>,
) -> Result<Option<Node>, String> {
    let mut last = None;
    for node in from_the_right {
        let node = node?;
        last = Some(node);
        if !node.is_some_and(|at| trusted.admits(at.ip())) {
            break;
        }
    }
    Ok(last)
}

/// An element of `X-Forwarded-For`: an address, with a port or without, IPv6 in brackets or not.
fn of_list(text: &str) -> Result<Node, String> {
    let malformed = || format!("in {X_FORWARDED_FOR} is `{text}`, which is no address");
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let inner = inner.unwrap_or(text);
    if let Ok(address) = inner.parse::<IpAddr>() {
        return Ok(Some(SocketAddr::new(address, 0)));
    }
    node(inner).ok_or_else(malformed)
}

/// RFC 7239 §6: an address, `unknown` or an obfuscated identifier, with a port or without. None: it is none of these.
fn node(text: &str) -> Option<Node> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port_of(port)?,
            None if rest.is_empty() => 0,
            None => return None,
        };
        return Some(Some((address, port).into()));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, port_of(port)?),
        None => (text, 0),
    };
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(None);
    }
    let address: Ipv4Addr = name.parse().ok()?;
    Some(Some((address, port).into()))
}

/// An obfuscated port is none.
fn port_of(text: &str) -> Option<u16> {
    if is_obfuscated(text) {
        return Some(0);
    }
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn is_obfuscated(text: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.strip_prefix('_')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(may_be))
}

/// The elements of one line of `Forwarded`, from the right; of a malformed line nothing but that.
fn of_forwarded(line: &str) -> Vec<Result<Node, String>> {
    let malformed = || format!("the header {FORWARDED} is malformed: `{line}`");
    let Some(elements) = Elements::read(line) else {
        return vec![Err(malformed())];
    };
    let nodes = elements.into_iter().rev();
    nodes
        .map(|said| match said {
            Some(text) => node(&text).ok_or_else(malformed),
            None => Ok(None),
        })
        .collect()
}

/// Reads a line of `Forwarded` (RFC 7239 §4) strictly enough that no quotation mark of a client's can swallow what a
/// forwarder added behind it: a value is followed by `;`, `,` or the end.
struct Elements<'a> {
    rest: &'a str,
}

impl Elements<'_> {
    /// What `for` says in each element that says anything; none: the line is malformed.
    fn read(line: &str) -> Option<Vec<Option<String>>> {
        let mut reader = Elements { rest: line };
        let mut found = Vec::new();
        // Of the element that is being read: whether it says anything, and what `for` says.
        let (mut says, mut by) = (false, None);
        loop {
            reader.skip();
            if let Some((name, value)) = reader.pair()? {
                says = true;
                if name.eq_ignore_ascii_case("for") && by.replace(value).is_some() {
                    return None;
                }
            }
            reader.skip();
            match reader.next() {
                Some(';') => {}
                separator @ (Some(',') | None) => {
                    if std::mem::take(&mut says) {
                        found.push(by.take());
                    }
                    if separator.is_none() {
                        return Some(found);
                    }
                }
                Some(_) => return None,
            }
        }
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    /// `name=value`, the value in quotation marks or not. The inner none: there is no pair here.
    fn pair(&mut self) -> Option<Option<(String, String)>> {
        if self.rest.is_empty() || self.rest.starts_with([';', ',']) {
            return Some(None);
        }
        let (name, rest) = self.rest.split_once('=')?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return None;
        }
        self.rest = rest;
        if !self.rest.starts_with('"') {
            let end = self.rest.find([';', ',', ' ', '\t', '"']);
            let (value, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = rest;
            return (!value.is_empty()).then(|| Some((name.to_owned(), value.to_owned())));
        }
        self.next();
        let mut value = String::new();
        loop {
            match self.next()? {
                '"' => return Some(Some((name.to_owned(), value))),
                '\\' => value.push(self.next()?),
                c => value.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use httpd::http::HeaderValue;

    /// What a request with these header lines is taken for, where 10.0.0.0/8, ::1 and 127.0.0.1 are forwarders.
    fn taken(lines: &[(&'static str, &str)]) -> Result<String, String> {
        let trusted = Access::new(|address| match address {
            IpAddr::V4(address) => address.octets()[0] == 10 || address.is_loopback(),
            IpAddr::V6(address) => address.is_loopback(),
        });
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                *name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
        let forwarder = ([127, 0, 0, 1], 4000).into();
        Ok(match told(&trusted, &headers)? {
            Told::Nothing => "nothing".to_owned(),
            Told::Client(said) => client_at(said, forwarder).to_string(),
        })
    }

    const UNKNOWN: &str = "0.0.0.0:4000";

    #[test]
    fn the_client_is_the_right_most_that_is_no_forwarder() {
        for (list, client) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1:81", "192.0.2.1:81"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("[2001:db8::1]:81", "[2001:db8::1]:81"),
            ("\"[2001:db8::1]:81\"", "[2001:db8::1]:81"),
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
            ("6.6.6.6, 192.0.2.1", "192.0.2.1:0"),
            ("6.6.6.6,192.0.2.1,10.0.0.7 , 10.1.2.3", "192.0.2.1:0"),
            // What the client made up is not looked at.
            ("<script>, 192.0.2.1", "192.0.2.1:0"),
            ("6.6.6.6, unknown, 10.0.0.7", UNKNOWN),
            ("6.6.6.6, _hidden", UNKNOWN),
            (", 192.0.2.1,", "192.0.2.1:0"),
            // Forwarders alone: the first of them asks.
            ("10.0.0.1, 10.0.0.2", "10.0.0.1:0"),
            // Nobody that was passed on is of this machine.
            ("127.0.0.1", UNKNOWN),
            ("::1", UNKNOWN),
            ("127.0.0.9:99, 10.0.0.2", UNKNOWN),
        ] {
            let taken = taken(&[("x-forwarded-for", list)]);
            assert_eq!(taken.as_deref(), Ok(client), "{list}");
        }
        let lines = ["6.6.6.6", "192.0.2.1", "10.0.0.1"].map(|line| ("x-forwarded-for", line));
        assert_eq!(taken(&lines).as_deref(), Ok("192.0.2.1:0"));
    }

    #[test]
    fn the_standard_header_is_read_as_it_is_written() {
        for (line, client) in [
            ("for=192.0.2.1", "192.0.2.1:0"),
            (
                "For=\"192.0.2.1:81\";proto=https;by=10.0.0.1",
                "192.0.2.1:81",
            ),
            ("proto=https; for=\"[2001:db8::1]\"", "[2001:db8::1]:0"),
            ("for=\"[2001:db8::1]:81\"", "[2001:db8::1]:81"),
            ("for=\"[2001:db8::1]:_port\"", "[2001:db8::1]:0"),
            ("for=\"\\1\\92.0.2.1\"", "192.0.2.1:0"),
            ("for=6.6.6.6, for=192.0.2.1, for=10.0.0.1", "192.0.2.1:0"),
            ("for=nonsense, for=192.0.2.1, for=10.0.0.1", "192.0.2.1:0"),
            (
                "for=6.6.6.6;host=\"a, for=1.1.1.1\", for=192.0.2.1",
                "192.0.2.1:0",
            ),
            ("for=unknown", UNKNOWN),
            ("for=6.6.6.6, for=\"Unknown:81\", for=10.0.0.1", UNKNOWN),
            ("for=_a.B-9_", UNKNOWN),
            // It says nothing of its client, and what stands before may be the client's.
            ("for=6.6.6.6, by=10.0.0.1;proto=http", UNKNOWN),
            ("for=\"[::1]\"", UNKNOWN),
            (" ,, for=192.0.2.1 ;; , ", "192.0.2.1:0"),
        ] {
            let taken = taken(&[("forwarded", line)]);
            assert_eq!(taken.as_deref(), Ok(client), "{line}");
        }
        // A line that the client left open is not reached.
        let lines = ["for=\"", "for=192.0.2.1"].map(|line| ("forwarded", line));
        assert_eq!(taken(&lines).as_deref(), Ok("192.0.2.1:0"));
    }

    #[test]
    fn what_is_malformed_is_said() {
        for list in [
            "",
            " , ",
            "localhost",
            "192.0.2.1, 192.0.2.256",
            "192.0.2.1:65536",
            "192.0.2.1:",
            "192.0.2.1:8x",
            "[2001:db8::1",
            "[2001:db8::1]81",
            "[192.0.2.1]",
            "_",
            "\"192.0.2.1",
            "192.0.2.1 10.0.0.1",
        ] {
            let why = taken(&[("x-forwarded-for", list)]).expect_err(list);
            assert!(why.contains("x-forwarded-for"), "{why}");
        }
        for line in [
            "",
            "192.0.2.1",
            "for",
            "for=",
            "=192.0.2.1",
            "for=192.0.2.1;for=192.0.2.1",
            "for =192.0.2.1",
            "for=2001:db8::1",
            "for=[2001:db8::1",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\\",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1\"\"",
            "for=192.0.2.1 for=192.0.2.1",
            // The client opened a quotation; the forwarder's part is within it or behind it.
            "for=6.6.6.6;x=\", for=192.0.2.1",
            "for=6.6.6.6;x=\", for=\"[2001:db8::1]\"",
            "for=6.6.6.6;x=\"\\, for=\"[2001:db8::1]\";host=\"a\"",
        ] {
            let why = taken(&[("forwarded", line)]).expect_err(line);
            assert!(why.contains("forwarded"), "{why}");
        }
        let why = taken(&[("x-forwarded-for", "192.0.2.\u{e9}")]).expect_err("not ASCII");
        assert!(why.contains("not ASCII"), "{why}");
    }

    #[test]
    fn two_headers_must_agree() {
        let both = |one, other| taken(&[("forwarded", one), ("x-forwarded-for", other)]);
        let same = both("for=\"192.0.2.1:81\"", "6.6.6.6, 192.0.2.1");
        assert_eq!(same.as_deref(), Ok("192.0.2.1:81"));
        for (one, other) in [("for=6.6.6.6", "192.0.2.1"), ("for=unknown", "192.0.2.1")] {
            let why = both(one, other).expect_err(one);
            assert!(why.contains("different clients"), "{why}");
        }
        // Somebody passed it on, and does not say for whom.
        assert_eq!(taken(&[("via", "1.1 proxy")]).as_deref(), Ok(UNKNOWN));
        assert_eq!(taken(&[("x-real-ip", "6.6.6.6")]).as_deref(), Ok(UNKNOWN));
        assert_eq!(taken(&[("accept", "*/*")]).as_deref(), Ok("nothing"));
    }
}
