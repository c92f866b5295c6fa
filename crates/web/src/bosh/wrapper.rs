//! The `<body/>` of a request, read, and that of a response, written (XEP-0124 §6).

use bytes::{Bytes, BytesMut};
use stream::{Limits, Version};
use xml::{Element, Frame, Reader, Scanner, StartTag, push_attr};
use xmpp::{StreamError, ns};

/// The highest number of a request (§14.1): beyond it some clients cannot count.
pub(super) const MAX_RID: u64 = 9_007_199_254_740_991;

/// Why there is no request in what was sent: all of these are `bad-request`.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed;

impl From<xml::Error> for Malformed {
    fn from(_: xml::Error) -> Malformed {
        Malformed
    }
}

/// A body of which the first tag is read: whose it is decides what the rest may cost.
pub(super) struct Opening {
    reader: Scanner,
    input: BytesMut,
    tag: StartTag,
}

/// What a request says.
#[derive(Debug, Default)]
pub(super) struct Wrapper {
    pub(super) rid: u64,
    pub(super) to: Option<String>,
    pub(super) from: Option<String>,
    pub(super) lang: Option<String>,
    /// The version of this protocol; none: a client of the time before there was one.
    pub(super) ver: Option<Version>,
    /// The version of XMPP (XEP-0206 §3).
    pub(super) version: Option<Version>,
    /// Seconds.
    pub(super) wait: Option<u64>,
    pub(super) hold: Option<u64>,
    pub(super) ack: Option<u64>,
    /// Seconds.
    pub(super) pause: Option<u64>,
    pub(super) key: Option<String>,
    pub(super) newkey: Option<String>,
    pub(super) content: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) restart: bool,
    pub(super) terminate: bool,
    pub(super) payload: Vec<Element>,
}

/// Reads the first tag of a body.
///
/// # Errors
///
/// It is no `<body/>` of this protocol, or costs more than `limits` allow.
pub(super) fn open(bytes: &Bytes, limits: Limits) -> Result<Opening, Malformed> {
    let mut reader = Scanner::new(limits).known(ns::KNOWN);
    let mut input = BytesMut::from(&bytes[..]);
    let Some(Frame::Open(tag)) = reader.feed(&mut input)? else {
        return Err(Malformed);
    };
    if tag.name() != "body" || tag.namespace() != ns::HTTP_BIND {
        return Err(Malformed);
    }
    Ok(Opening { reader, input, tag })
}

impl Opening {
    /// Whose it is; none: it asks for a session.
    pub(super) fn sid(&self) -> Option<&str> {
        self.tag.attr("sid")
    }

    /// Whether the client knows of conditions (§17.1); else it is told codes of HTTP.
    pub(super) fn has_version(&self) -> bool {
        self.tag.attr("ver").is_some()
    }

    /// Reads the rest, each element of which may cost what `limits` say.
    ///
    /// # Errors
    ///
    /// It is not well-formed, has what XMPP forbids, text between elements or something behind it; or an attribute is
    /// not what it should be.
    pub(super) fn rest(mut self, limits: Limits) -> Result<Wrapper, Malformed> {
        let mut payload = Vec::new();
        self.reader.set_limits(limits);
        loop {
            match self.reader.feed(&mut self.input)? {
                Some(Frame::Element(element)) => payload.push(element),
                Some(Frame::Close) => break,
                Some(Frame::Open(_)) | None => return Err(Malformed),
            }
        }
        if !self.input.iter().all(u8::is_ascii_whitespace) {
            return Err(Malformed);
        }
        let text = |name: &str| self.tag.attr(name).map(str::to_owned);
        let rid = self.number("rid")?.ok_or(Malformed)?;
        if rid == 0 || rid > MAX_RID {
            return Err(Malformed);
        }
        let restart = self.tag.attr_ns(ns::XBOSH, "restart");
        Ok(Wrapper {
            rid,
            to: text("to").filter(|to| !to.is_empty()),
            from: text("from"),
            lang: self.tag.lang().map(str::to_owned),
            ver: text("ver").and_then(|ver| Version::parse(&ver)),
            version: self
                .tag
                .attr_ns(ns::XBOSH, "version")
                .and_then(Version::parse),
            wait: self.number("wait")?,
            hold: self.number("hold")?,
            ack: self.number("ack")?,
            pause: self.number("pause")?,
            key: text("key"),
            newkey: text("newkey"),
            content: text("content"),
            stream: text("stream"),
            restart: matches!(restart, Some("true" | "1")),
            terminate: self.tag.attr("type") == Some("terminate"),
            payload,
        })
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Malformed> {
        let Some(text) = self.tag.attr(name) else {
            return Ok(None);
        };
        // `parse` alone would take a sign.
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.map(Some).ok_or(Malformed)
    }
}

impl Wrapper {
    /// Whether it asks for nothing but to be answered.
    pub(super) fn is_empty(&self) -> bool {
        self.payload.is_empty() && !self.restart && !self.terminate && self.pause.is_none()
    }
}

/// Why a session ends (§17.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    BadRequest,
    HostUnknown,
    ImproperAddressing,
    InternalServerError,
    ItemNotFound,
    PolicyViolation,
    RemoteConnectionFailed,
    RemoteStreamError,
    SystemShutdown,
}

impl Condition {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Condition::BadRequest => "bad-request",
            Condition::HostUnknown => "host-unknown",
            Condition::ImproperAddressing => "improper-addressing",
            Condition::InternalServerError => "internal-server-error",
            Condition::ItemNotFound => "item-not-found",
            Condition::PolicyViolation => "policy-violation",
            Condition::RemoteConnectionFailed => "remote-connection-failed",
            Condition::RemoteStreamError => "remote-stream-error",
            Condition::SystemShutdown => "system-shutdown",
        }
    }

    /// The condition that tells of a stream error.
    pub(super) fn of(error: &StreamError) -> Condition {
        match error.condition {
            xmpp::StreamCondition::HostUnknown => Condition::HostUnknown,
            xmpp::StreamCondition::SystemShutdown => Condition::SystemShutdown,
            _ => Condition::RemoteStreamError,
        }
    }

    /// What a client of the time before conditions is told instead (§17.1).
    pub(super) fn code(self) -> Option<u16> {
        match self {
            Condition::BadRequest => Some(400),
            Condition::PolicyViolation => Some(403),
            Condition::ItemNotFound => Some(404),
            _ => None,
        }
    }
}

/// A `<body/>` that is being written.
pub(super) struct Written(String);

impl Written {
    pub(super) fn new() -> Written {
        let mut text = String::from("<body");
        push_attr("xmlns", ns::HTTP_BIND, &mut text);
        Written(text)
    }

    /// The session's end.
    pub(super) fn end(condition: Option<Condition>) -> Written {
        let written = Written::new().attr("type", "terminate");
        match condition {
            Some(condition) => written.attr("condition", condition.as_str()),
            None => written,
        }
    }

    pub(super) fn attr(mut self, name: &str, value: &str) -> Written {
        push_attr(name, value, &mut self.0);
        self
    }

    pub(super) fn number(self, name: &str, value: u64) -> Written {
        self.attr(name, &value.to_string())
    }

    /// The whole, with these elements.
    pub(super) fn holding(mut self, payload: &str) -> Bytes {
        if payload.is_empty() {
            self.0.push_str("/>");
        } else {
            self.0.reserve(payload.len() + "></body>".len());
            self.0.push('>');
            self.0.push_str(payload);
            self.0.push_str("</body>");
        }
        Bytes::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wrapper, Malformed> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        open(&bytes, Limits::BEFORE_LOGIN)?.rest(Limits::BEFORE_LOGIN)
    }

    fn body(attributes: &str, content: &str) -> String {
        format!("<body xmlns='http://jabber.org/protocol/httpbind' {attributes}>{content}</body>")
    }

    #[test]
    fn a_request_is_read() {
        let text = body(
            "rid='7' sid='s' to='a.example' ver='1.6' wait='60' hold='1' ack='6' pause='9' key='k' newkey='n' \
             type='terminate' xml:lang='de' xmlns:x='urn:xmpp:xbosh' x:restart='true' x:version='1.0'",
            " <iq xmlns='jabber:client' type='get'/>\n<x:y/> ",
        );
        let opening = open(&Bytes::from(text.clone()), Limits::BEFORE_LOGIN).expect("a body");
        assert_eq!(opening.sid(), Some("s"));
        let read = read(&text).expect("a request");
        assert_eq!((read.rid, read.wait, read.hold), (7, Some(60), Some(1)));
        assert_eq!((read.ack, read.pause), (Some(6), Some(9)));
        assert_eq!(read.to.as_deref(), Some("a.example"));
        assert_eq!(read.lang.as_deref(), Some("de"));
        assert_eq!(
            (read.key.as_deref(), read.newkey.as_deref()),
            (Some("k"), Some("n"))
        );
        assert!(read.restart && read.terminate && read.version == Some(Version::ONE));
        let names: Vec<&str> = read.payload.iter().map(Element::name).collect();
        assert_eq!(names, ["iq", "y"]);
        let declared = format!("<?xml version='1.0'?>{}", body("rid='1'", ""));
        assert!(super::tests::read(&declared).expect("a request").is_empty());
        let whole = "<body xmlns='http://jabber.org/protocol/httpbind' rid='1'/>\n";
        assert!(super::tests::read(whole).expect("a request").is_empty());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let big = format!("<a xmlns='x'>{}</a>", "x".repeat(20_000));
        for text in [
            String::new(),
            "text".to_owned(),
            "{}".to_owned(),
            "<body rid='1'/>".to_owned(),
            "<b xmlns='http://jabber.org/protocol/httpbind' rid='1'/>".to_owned(),
            "<body xmlns='http://jabber.org/protocol/httpbind' rid='1'>".to_owned(),
            body("rid='1'", "<a>"),
            body("rid='1'", "text"),
            body("rid='1'", "<!-- c -->"),
            body("rid='1'", "<?pi x?>"),
            body("rid='1'", "<a xmlns='x'>&e;</a>"),
            body("rid='1'", &big),
            format!("<!DOCTYPE body>{}", body("rid='1'", "")),
            format!("{}<a/>", body("rid='1'", "")),
            body("", ""),
            body("rid='0'", ""),
            body("rid='-1'", ""),
            body("rid='+1'", ""),
            body("rid='1.5'", ""),
            body("rid='9007199254740992'", ""),
            body("rid='1' wait='soon'", ""),
            body("rid='1' hold=''", ""),
            body("rid='1' rid='2'", ""),
        ] {
            assert_eq!(read(&text).err(), Some(Malformed), "{text}");
        }
        assert!(read(&body("rid='9007199254740991'", "")).is_ok());
    }

    #[test]
    fn a_response_is_written() {
        assert_eq!(
            Written::new().number("ack", 5).holding(""),
            "<body xmlns=\"http://jabber.org/protocol/httpbind\" ack=\"5\"/>"
        );
        assert_eq!(
            Written::end(Some(Condition::ItemNotFound)).holding("<a/>"),
            "<body xmlns=\"http://jabber.org/protocol/httpbind\" type=\"terminate\" \
             condition=\"item-not-found\"><a/></body>"
        );
    }
}
