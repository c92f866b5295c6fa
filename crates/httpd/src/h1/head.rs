//! What a request's head must be before hyper sees it (RFC 9112).
//!
//! hyper reads heads generously: bare line feeds end lines, equal lengths may be repeated, a length beside chunks is
//! put aside. Each of these is a way to smuggle a request past a server in front that reads it otherwise, so heads are
//! read strictly here first and what is ambiguous is refused.

use crate::Limits;
use crate::routing::{alphanumeric_or, is_host_byte};
use crate::words;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    Nothing,
    Bytes(u64),
    Chunks,
}

/// A head that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vetted {
    pub(crate) follows: Follows,
    /// It asks for another protocol: nothing behind it is HTTP until the answer is known.
    pub(crate) upgrade: bool,
    /// Its bytes.
    pub(crate) length: usize,
}

/// A head that may not, with the status that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: &'static str,
}

fn refuse<T>(status: u16, why: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, why })
}

/// Finds where the head ends that begins at the start of `bytes`, looking from `from` on: behind an empty line, also
/// one that ends with a bare line feed, which is refused later.
pub(crate) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', &bytes[at..]) {
        at += found + 1;
        match &bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Reads the head that `bytes` begin with; its end must be there.
pub(crate) fn vet(bytes: &[u8], limits: &Limits) -> Result<Vetted, Refusal> {
    let (line, mut rest) = line(bytes)?;
    let request = request_line(line, limits)?;
    let mut seen = Seen::default();
    let mut count = 0;
    loop {
        if let [b'\r', b'\n', behind @ ..] = rest {
            return seen.judge(&request, bytes.len() - behind.len());
        }
        count += 1;
        if count > limits.headers {
            return refuse(431, "too many headers");
        }
        let (name, value);
        ((name, value), rest) = header(rest, limits)?;
        seen.take(name, value)?;
    }
}

/// The text up to the first CR LF, with no other control character but tabs in it, and what follows.
fn line(text: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = words::control(text);
    match &text[end..] {
        [b'\r', b'\n', rest @ ..] => Ok((&text[..end], rest)),
        [b'\n', ..] => refuse(400, "a line ends with a bare line feed"),
        [] => refuse(400, "a line does not end"),
        _ => refuse(400, "a control character"),
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    /// Of a target in absolute form.
    authority: Option<&'a [u8]>,
    is_1_0: bool,
}

fn request_line<'a>(line: &'a [u8], limits: &Limits) -> Result<RequestLine<'a>, Refusal> {
    let end = line.iter().position(|b| !is_token(*b));
    let Some(end) = end.filter(|end| *end > 0 && line[*end] == b' ') else {
        return refuse(400, "the method is malformed, or no target follows");
    };
    let (method, rest) = (&line[..end], &line[end + 1..]);
    if method.len() > limits.method_bytes {
        return refuse(501, "the method is too long");
    }
    let space = memchr::memchr(b' ', rest);
    let Some((target, version)) = space.map(|at| (&rest[..at], &rest[at + 1..])) else {
        return refuse(400, "the request line has no version");
    };
    let is_1_0 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return refuse(505, "the version is not served");
        }
        _ => return refuse(400, "the version is malformed"),
    };
    if target.len() > limits.target_bytes {
        return refuse(414, "the target is too long");
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return refuse(501, "the method is not served");
    }
    // All bytes are looked at: many at once are quicker than as few as needed.
    let is_foreign = |b: &u8| !(0x21..0x7f).contains(b) | (*b == b'#');
    if target.iter().fold(false, |found, b| found | is_foreign(b)) {
        return refuse(400, "the target is malformed");
    }
    let authority = match target {
        b"*" if method == b"OPTIONS" => None,
        [b'/', ..] => None,
        _ => Some(absolute(target)?),
    };
    Ok(RequestLine {
        method,
        authority,
        is_1_0,
    })
}

/// The authority of a target in absolute form.
fn absolute(target: &[u8]) -> Result<&[u8], Refusal> {
    let end_of_scheme = target.windows(3).position(|three| three == b"://");
    let Some(at) = end_of_scheme else {
        return refuse(400, "the target is malformed");
    };
    let (scheme, rest) = (&target[..at], &target[at + 3..]);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return refuse(400, "the target has a foreign scheme");
    }
    let end = rest
        .iter()
        .position(|b| matches!(b, b'/' | b'?'))
        .unwrap_or(rest.len());
    Ok(&rest[..end])
}

/// A name and a value.
type Header<'a> = (&'a [u8], &'a [u8]);

/// The header that `text` begins with, and what follows.
fn header<'a>(text: &'a [u8], limits: &Limits) -> Result<(Header<'a>, &'a [u8]), Refusal> {
    if matches!(text.first(), Some(b' ' | b'\t')) {
        return refuse(400, "a header is folded");
    }
    let colon = text.iter().position(|b| !is_token(*b));
    let Some(colon) = colon.filter(|at| text[*at] == b':') else {
        return refuse(400, "a header has no colon");
    };
    let name = &text[..colon];
    if name.is_empty() {
        return refuse(400, "a header has no name");
    }
    let (value, rest) = line(&text[colon + 1..])?;
    if name.len() > limits.header_name_bytes {
        return refuse(431, "a header's name is too long");
    }
    let value = trim(value);
    if value.len() > limits.header_value_bytes {
        return refuse(431, "a header's value is too long");
    }
    Ok(((name, value), rest))
}

/// Without optional white space around it (RFC 9110 §5.6.3): what else looks empty is no space, and is refused.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The headers that say how a request is framed.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    connection_upgrade: bool,
}

impl<'a> Seen<'a> {
    fn take(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let is_second = self.host.replace(value).is_some();
                return if is_second {
                    refuse(400, "there are two hosts")
                } else {
                    Ok(())
                };
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                let is_known = value.eq_ignore_ascii_case(b"100-continue");
                return if is_known {
                    Ok(())
                } else {
                    refuse(417, "an expectation other than 100-continue")
                };
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|b| *b == b',') {
                    let option = option.trim_ascii();
                    if !option.iter().all(|b| is_token(*b)) {
                        return refuse(400, "the connection header is malformed");
                    }
                    self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value);
                if length.is_none() || self.length.is_some() {
                    return refuse(400, "the content length is malformed or repeated");
                }
                self.length = length;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return refuse(400, "a transfer coding other than chunked, alone");
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn judge(self, request: &RequestLine<'_>, length: usize) -> Result<Vetted, Refusal> {
        match self.host {
            None if !request.is_1_0 => return refuse(400, "the host is missing"),
            None => {}
            Some(host) if host.len() > 255 => return refuse(414, "the host is too long"),
            Some(host) if !is_authority(host) => return refuse(400, "the host is malformed"),
            Some(host) if request.authority.is_some_and(|authority| authority != host) => {
                return refuse(400, "the host is not that of the target");
            }
            Some(_) => {}
        }
        if request
            .authority
            .is_some_and(|authority| !is_authority(authority))
        {
            return refuse(400, "the target's host is malformed");
        }
        let follows = match (self.chunked, self.length) {
            (true, Some(_)) => return refuse(400, "both a content length and chunks"),
            (true, None) if request.is_1_0 => return refuse(400, "chunks in HTTP/1.0"),
            (true, None) => Follows::Chunks,
            (false, Some(0) | None) => Follows::Nothing,
            (false, Some(length)) => Follows::Bytes(length),
        };
        Ok(Vetted {
            follows,
            length,
            upgrade: self.upgrade
                && self.connection_upgrade
                && request.method == b"GET"
                && follows == Follows::Nothing,
        })
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// `tchar` of RFC 9110 §5.6.2.
const TOKEN: [bool; 256] = alphanumeric_or(b"!#$%&'*+-.^_`|~");

/// Whether a token may hold `byte`.
pub(crate) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// A host, perhaps with a port; the empty one is one too.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    split_authority(authority).is_some_and(|(host, _)| match host {
        [b'[', inner @ .., b']'] => std::str::from_utf8(inner)
            .is_ok_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()),
        name => name.iter().all(|b| is_host_byte(*b)),
    })
}

/// The host and the port of an authority.
pub(crate) fn split_authority(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let colon = match authority {
        [b'[', ..] => {
            let end = memchr::memchr(b']', authority)?;
            match authority.get(end + 1) {
                None => None,
                Some(b':') => Some(end + 1),
                Some(_) => return None,
            }
        }
        name => memchr::memchr(b':', name),
    };
    let Some(colon) = colon else {
        return Some((authority, None));
    };
    let port = &authority[colon + 1..];
    // An empty port is the default one (RFC 3986 §3.2.3).
    if port.is_empty() {
        return Some((&authority[..colon], None));
    }
    let port = decimal(port).and_then(|port| u16::try_from(port).ok())?;
    Some((&authority[..colon], Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Result<Vetted, u16> {
        let vetted = vet(head.as_bytes(), &Limits::default());
        if let Ok(vetted) = vetted {
            // What stands behind a head does not matter.
            assert_eq!(vetted.length, head.len());
            let more = format!("{head}GET / HTTP/1.0\r\n\r\n");
            assert_eq!(vet(more.as_bytes(), &Limits::default()), Ok(vetted));
        }
        vetted.map_err(|refusal| refusal.status)
    }

    fn get(headers: &str) -> Result<Vetted, u16> {
        judged(&format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
    }

    #[test]
    fn the_end_is_found_wherever_the_head_is_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 0..head.len() {
            let found = end(&head[..cut], 0);
            assert_eq!(found, (cut >= 27).then_some(27), "{cut}");
        }
        assert_eq!(end(head, 24), Some(27));
        assert_eq!(end(b"GET / HTTP/1.1\n\nx", 0), Some(16));
    }

    #[test]
    fn plain_heads_pass() {
        let follows = |follows| Ok((follows, false));
        let judged = |head: &str| judged(head).map(|vetted| (vetted.follows, vetted.upgrade));
        let get = |headers: &str| get(headers).map(|vetted| (vetted.follows, vetted.upgrade));
        assert_eq!(get(""), follows(Follows::Nothing));
        assert_eq!(get("content-length: 0\r\n"), follows(Follows::Nothing));
        assert_eq!(get("Content-Length:7\r\n"), follows(Follows::Bytes(7)));
        assert_eq!(
            get("TRANSFER-encoding: \tChunked \r\n"),
            follows(Follows::Chunks)
        );
        assert_eq!(
            get("Connection: keep-alive, , close\r\nExpect: 100-Continue\r\n"),
            follows(Follows::Nothing)
        );
        assert_eq!(judged("GET / HTTP/1.0\r\n\r\n"), follows(Follows::Nothing));
        assert_eq!(
            judged("OPTIONS * HTTP/1.1\r\nhost: \r\n\r\n"),
            follows(Follows::Nothing)
        );
        assert_eq!(
            judged("GET http://a:80/x HTTP/1.1\r\nhost: a:80\r\n\r\n"),
            follows(Follows::Nothing)
        );
        assert_eq!(
            judged("GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n"),
            follows(Follows::Nothing)
        );
        let upgrade = get("Connection: x, Upgrade\r\nUpgrade: websocket\r\n");
        assert_eq!(upgrade, Ok((Follows::Nothing, true)));
    }

    #[test]
    fn what_is_ambiguous_or_too_much_is_refused() {
        let long = |n: usize| "x".repeat(n);
        for (headers, status) in [
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(),
                400,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".to_owned(),
                400,
            ),
            ("Content-Length: 5\r\nContent-Length: 5\r\n".to_owned(), 400),
            ("Content-Length: 5, 5\r\n".to_owned(), 400),
            ("Content-Length: +5\r\n".to_owned(), 400),
            ("Content-Length: 0x5\r\n".to_owned(), 400),
            ("Content-Length: \r\n".to_owned(), 400),
            ("Content-Length: 99999999999999999999\r\n".to_owned(), 400),
            ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), 400),
            ("Transfer-Encoding: chunked, chunked\r\n".to_owned(), 400),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".to_owned(),
                400,
            ),
            ("Transfer-Encoding: identity\r\n".to_owned(), 400),
            ("Transfer-Encoding: \x0bchunked\r\n".to_owned(), 400),
            ("Transfer-Encoding: \x0cchunked\r\n".to_owned(), 400),
            ("Transfer-Encoding: chunked\x0c\r\n".to_owned(), 400),
            ("X: a\r\r\n".to_owned(), 400),
            ("X:\ra\r\n".to_owned(), 400),
            ("Transfer-Encoding : chunked\r\n".to_owned(), 400),
            ("X: a\r\n b\r\n".to_owned(), 400),
            ("X: a\n".to_owned(), 400),
            ("X: a\rb\r\n".to_owned(), 400),
            ("X: a\0b\r\n".to_owned(), 400),
            ("X\r\n".to_owned(), 400),
            (": a\r\n".to_owned(), 400),
            ("Host: a\r\n".to_owned(), 400),
            ("Connection: a b\r\n".to_owned(), 400),
            ("Expect: wonders\r\n".to_owned(), 417),
            (format!("{}: a\r\n", long(65)), 431),
            (format!("a: {}\r\n", long(8193)), 431),
            ("a: b\r\n".repeat(101), 431),
        ] {
            assert_eq!(get(&headers), Err(status), "{headers:?}");
        }
        for (line, status) in [
            ("GET /", 400),
            ("GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            ("GET / HTTP/1.1\r", 400),
            (" GET / HTTP/1.1", 400),
            ("GE(T / HTTP/1.1", 400),
            ("GET / HTTP/2.0", 505),
            ("GET / HTTP/1.2", 505),
            ("GET / http/1.1", 400),
            ("GET * HTTP/1.1", 400),
            ("GET /#x HTTP/1.1", 400),
            ("GET x HTTP/1.1", 400),
            ("GET ftp://a/ HTTP/1.1", 400),
            ("GET http://b/ HTTP/1.1", 400),
            ("GET /\u{e4} HTTP/1.1", 400),
            ("CONNECT a:80 HTTP/1.1", 501),
            ("TRACE / HTTP/1.1", 501),
            (&format!("{} / HTTP/1.1", long(33)), 501),
            (&format!("GET /{} HTTP/1.1", long(8000)), 414),
        ] {
            assert_eq!(
                judged(&format!("{line}\r\nHost: a\r\n\r\n")),
                Err(status),
                "{line:?}"
            );
        }
        for host in [
            "a b", "a/b", "a@b", "a:x", "a:99999", "[::1", "[x]", "a:80:80", "<", "ä",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(judged(&head), Err(400), "{host:?}");
        }
        assert_eq!(judged("GET / HTTP/1.1\r\n\r\n"), Err(400), "no host");
        assert_eq!(
            judged("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Err(400)
        );
        assert_eq!(judged("GET / HTTP/1.1\nHost: a\n\n"), Err(400));
    }
}
