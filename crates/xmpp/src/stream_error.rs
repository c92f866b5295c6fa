//! Stream errors (RFC 6120 §4.9).

use std::fmt;

use crate::ns;

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $element:literal;)*) => {
        /// Defined condition of a stream error (RFC 6120 §4.9.3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum StreamCondition { $($(#[$doc])* $name,)* }

        impl StreamCondition {
            /// All conditions, in the order of the RFC.
            pub const ALL: &'static [StreamCondition] = &[$(StreamCondition::$name),*];

            /// Returns the name of the condition's element.
            pub fn as_str(self) -> &'static str {
                match self { $(StreamCondition::$name => $element,)* }
            }
        }
    };
}

conditions! {
    /// XML that cannot be processed (§4.9.3.1).
    BadFormat = "bad-format";
    /// A namespace prefix missing or not supported (§4.9.3.2).
    BadNamespacePrefix = "bad-namespace-prefix";
    /// A new stream took this one's place (§4.9.3.3).
    Conflict = "conflict";
    /// The peer was silent too long (§4.9.3.4).
    ConnectionTimeout = "connection-timeout";
    /// The host is not served here any more (§4.9.3.5).
    HostGone = "host-gone";
    /// The host is not served here (§4.9.3.6).
    HostUnknown = "host-unknown";
    /// A stanza between servers lacks an address (§4.9.3.7).
    ImproperAddressing = "improper-addressing";
    /// The server failed (§4.9.3.8).
    InternalServerError = "internal-server-error";
    /// A `from` that is not the peer's (§4.9.3.9).
    InvalidFrom = "invalid-from";
    /// A stream or content namespace that is not ours (§4.9.3.10).
    InvalidNamespace = "invalid-namespace";
    /// XML that violates a schema (§4.9.3.11).
    InvalidXml = "invalid-xml";
    /// Data before authentication (§4.9.3.12).
    NotAuthorized = "not-authorized";
    /// Not XML (§4.9.3.13).
    NotWellFormed = "not-well-formed";
    /// A local rule forbids it (§4.9.3.14).
    PolicyViolation = "policy-violation";
    /// Another server could not be reached (§4.9.3.15).
    RemoteConnectionFailed = "remote-connection-failed";
    /// The server closes for want of credentials or keys (§4.9.3.16).
    Reset = "reset";
    /// The server lacks the room (§4.9.3.17).
    ResourceConstraint = "resource-constraint";
    /// XML features that streams may not use (§4.9.3.18).
    RestrictedXml = "restricted-xml";
    /// Connect elsewhere (§4.9.3.19).
    SeeOtherHost = "see-other-host";
    /// The server stops (§4.9.3.20).
    SystemShutdown = "system-shutdown";
    /// None of the others (§4.9.3.21).
    UndefinedCondition = "undefined-condition";
    /// Not UTF-8 (§4.9.3.22).
    UnsupportedEncoding = "unsupported-encoding";
    /// A mandatory feature the peer cannot do (§4.9.3.23).
    UnsupportedFeature = "unsupported-feature";
    /// A first-level element nobody knows (§4.9.3.24).
    UnsupportedStanzaType = "unsupported-stanza-type";
    /// Not our version of XMPP (§4.9.3.25).
    UnsupportedVersion = "unsupported-version";
}

impl StreamCondition {
    /// Reads the name of a condition's element.
    pub fn from_name(name: &str) -> Option<StreamCondition> {
        StreamCondition::ALL
            .iter()
            .copied()
            .find(|condition| condition.as_str() == name)
    }

    /// Makes an error of this condition that explains itself in English.
    pub fn text(self, text: impl Into<String>) -> StreamError {
        StreamError {
            text: Some(text.into()),
            ..StreamError::from(self)
        }
    }
}

impl fmt::Display for StreamCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a conversation cannot go on. The peer is told, then the stream is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamError {
    /// What is wrong.
    pub condition: StreamCondition,
    /// Words for a person, in English.
    pub text: Option<String>,
    /// Host that `see-other-host` points to (§4.9.3.19).
    pub host: Option<String>,
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> Self {
        StreamError {
            condition,
            text: None,
            host: None,
        }
    }
}

/// What a reader's error is called on the wire.
impl From<&xml::Error> for StreamError {
    fn from(error: &xml::Error) -> Self {
        use xml::Error;
        let condition = match error {
            Error::Restricted(_) => StreamCondition::RestrictedXml,
            Error::Encoding => StreamCondition::UnsupportedEncoding,
            Error::TextOutside => StreamCondition::BadFormat,
            Error::TooBig { .. }
            | Error::TokenTooLong { .. }
            | Error::TooDeep { .. }
            | Error::TooManyAttributes { .. }
            | Error::TooManyChildren { .. } => StreamCondition::PolicyViolation,
            _ => StreamCondition::NotWellFormed,
        };
        match condition {
            StreamCondition::PolicyViolation => condition.text(error.to_string()),
            other => other.into(),
        }
    }
}

impl StreamError {
    /// Writes `<stream:error>`. The prefix `stream` must be declared where it is put, as in
    /// every stream header of ours; [`StreamError::to_framed_xml`] declares it.
    pub fn to_xml(&self) -> String {
        self.write("<stream:error>")
    }

    /// Writes `<stream:error>` with its own declaration, for transports without a root (RFC 7395 §3.5).
    pub fn to_framed_xml(&self) -> String {
        self.write(&format!("<stream:error xmlns:stream=\"{}\">", ns::STREAM))
    }

    fn write(&self, head: &str) -> String {
        let name = self.condition.as_str();
        let mut out = String::from(head);
        out.push('<');
        out.push_str(name);
        xml::push_attr("xmlns", ns::STREAMS, &mut out);
        match &self.host {
            Some(host) => {
                out.push('>');
                xml::escape_text(host, &mut out);
                out.push_str(&format!("</{name}>"));
            }
            None => out.push_str("/>"),
        }
        if let Some(text) = &self.text {
            out.push_str("<text");
            xml::push_attr("xmlns", ns::STREAMS, &mut out);
            out.push_str(" xml:lang=\"en\">");
            xml::escape_text(text, &mut out);
            out.push_str("</text>");
        }
        out.push_str("</stream:error>");
        out
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.condition),
            None => write!(f, "{}", self.condition),
        }
    }
}

impl std::error::Error for StreamError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_is_written_and_read() {
        assert_eq!(StreamCondition::ALL.len(), 25);
        for &condition in StreamCondition::ALL {
            assert_eq!(
                StreamCondition::from_name(condition.as_str()),
                Some(condition)
            );
            let expected = format!(
                "<stream:error><{condition} xmlns=\"{}\"/></stream:error>",
                ns::STREAMS
            );
            assert_eq!(StreamError::from(condition).to_xml(), expected);
        }
    }

    #[test]
    fn text_and_host_are_escaped() {
        let mut error = StreamCondition::SeeOtherHost.text("a < b");
        error.host = Some("[2001:db8::1]:5222".into());
        assert_eq!(
            error.to_framed_xml(),
            "<stream:error xmlns:stream=\"http://etherx.jabber.org/streams\">\
             <see-other-host xmlns=\"urn:ietf:params:xml:ns:xmpp-streams\">[2001:db8::1]:5222</see-other-host>\
             <text xmlns=\"urn:ietf:params:xml:ns:xmpp-streams\" xml:lang=\"en\">a &lt; b</text>\
             </stream:error>"
        );
    }

    #[test]
    fn reader_errors_have_their_conditions() {
        for (error, condition) in [
            (
                xml::Error::Restricted("comments"),
                StreamCondition::RestrictedXml,
            ),
            (xml::Error::Encoding, StreamCondition::UnsupportedEncoding),
            (xml::Error::TextOutside, StreamCondition::BadFormat),
            (
                xml::Error::TooBig { limit: 1 },
                StreamCondition::PolicyViolation,
            ),
            (
                xml::Error::TooDeep { limit: 1 },
                StreamCondition::PolicyViolation,
            ),
            (
                xml::Error::NotWellFormed("x".into()),
                StreamCondition::NotWellFormed,
            ),
            (xml::Error::Truncated, StreamCondition::NotWellFormed),
        ] {
            assert_eq!(StreamError::from(&error).condition, condition);
        }
    }
}
