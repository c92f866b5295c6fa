//! Stanza errors (RFC 6120 §8.3).

use std::fmt;

use crate::{Fragment, ns};

/// What to do about an error (RFC 6120 §8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Try again with credentials.
    Auth,
    /// Do not try again.
    Cancel,
    /// Go on: it was a warning.
    Continue,
    /// Try again with other data.
    Modify,
    /// Try again later.
    Wait,
}

impl ErrorType {
    /// Returns the value of the attribute `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        }
    }

    /// Reads the value of the attribute `type`.
    pub fn from_name(name: &str) -> Option<ErrorType> {
        use ErrorType::*;
        [Auth, Cancel, Continue, Modify, Wait]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $element:literal, $kind:ident;)*) => {
        /// Defined condition of a stanza error (RFC 6120 §8.3.3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Condition { $($(#[$doc])* $name,)* }

        impl Condition {
            /// All conditions, in the order of the RFC.
            pub const ALL: &'static [Condition] = &[$(Condition::$name),*];

            /// Returns the name of the condition's element.
            pub fn as_str(self) -> &'static str {
                match self { $(Condition::$name => $element,)* }
            }

            /// Returns the error type that goes with the condition unless said otherwise.
            pub fn default_type(self) -> ErrorType {
                match self { $(Condition::$name => ErrorType::$kind,)* }
            }
        }
    };
}

conditions! {
    /// The stanza is not what the schema says (§8.3.3.1).
    BadRequest = "bad-request", Modify;
    /// A resource or session of that name exists (§8.3.3.2).
    Conflict = "conflict", Cancel;
    /// Nobody has written that here (§8.3.3.3).
    FeatureNotImplemented = "feature-not-implemented", Cancel;
    /// The asker lacks the permission (§8.3.3.4).
    Forbidden = "forbidden", Auth;
    /// The recipient cannot be reached at this address any more (§8.3.3.5).
    Gone = "gone", Cancel;
    /// The server failed (§8.3.3.6).
    InternalServerError = "internal-server-error", Cancel;
    /// There is no such JID or item (§8.3.3.7).
    ItemNotFound = "item-not-found", Cancel;
    /// An address cannot be read (§8.3.3.8).
    JidMalformed = "jid-malformed", Modify;
    /// Understood, but not acceptable by its criteria (§8.3.3.9).
    NotAcceptable = "not-acceptable", Modify;
    /// Nobody may do that (§8.3.3.10).
    NotAllowed = "not-allowed", Cancel;
    /// The asker has to authenticate first (§8.3.3.11).
    NotAuthorized = "not-authorized", Auth;
    /// A local rule forbids it (§8.3.3.12).
    PolicyViolation = "policy-violation", Modify;
    /// The recipient is away for now (§8.3.3.13).
    RecipientUnavailable = "recipient-unavailable", Wait;
    /// Ask elsewhere (§8.3.3.14).
    Redirect = "redirect", Modify;
    /// The asker has to register first (§8.3.3.15).
    RegistrationRequired = "registration-required", Auth;
    /// The domain does not exist or resolve (§8.3.3.16).
    RemoteServerNotFound = "remote-server-not-found", Cancel;
    /// The domain exists and could not be reached (§8.3.3.17).
    RemoteServerTimeout = "remote-server-timeout", Wait;
    /// The server is too busy or lacks the room (§8.3.3.18).
    ResourceConstraint = "resource-constraint", Wait;
    /// Nobody offers that here, or nobody who would say so (§8.3.3.19).
    ServiceUnavailable = "service-unavailable", Cancel;
    /// The asker has to subscribe first (§8.3.3.20).
    SubscriptionRequired = "subscription-required", Auth;
    /// None of the above: the application's own condition says what (§8.3.3.21).
    UndefinedCondition = "undefined-condition", Modify;
    /// Understood, but not now (§8.3.3.22).
    UnexpectedRequest = "unexpected-request", Modify;
}

impl Condition {
    /// Reads the name of a condition's element.
    pub fn from_name(name: &str) -> Option<Condition> {
        Condition::ALL
            .iter()
            .copied()
            .find(|condition| condition.as_str() == name)
    }

    /// Makes an error of this condition that explains itself in English.
    pub fn text(self, text: impl Into<String>) -> StanzaError {
        StanzaError::from(self).with_text(text)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a peer asked wrongly, or what could not be done for it. The conversation goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct StanzaError {
    /// What is wrong.
    pub condition: Condition,
    /// What to do about it.
    pub kind: ErrorType,
    /// Words for a person.
    pub text: Option<String>,
    /// Language of the words; `en` by default.
    pub lang: String,
    /// Address that `gone` or `redirect` points to (§8.3.3.5, §8.3.3.14).
    pub address: Option<String>,
    /// An application's own condition.
    pub extra: Option<Box<Fragment>>,
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> Self {
        StanzaError {
            condition,
            kind: condition.default_type(),
            text: None,
            lang: "en".to_owned(),
            address: None,
            extra: None,
        }
    }
}

impl StanzaError {
    /// Adds words for a person, in English.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> StanzaError {
        self.text = Some(text.into());
        self
    }

    /// Sets what to do about it, against the condition's default.
    #[must_use]
    pub fn with_type(mut self, kind: ErrorType) -> StanzaError {
        self.kind = kind;
        self
    }

    /// Adds an application's own condition.
    #[must_use]
    pub fn with_extra(mut self, extra: Fragment) -> StanzaError {
        self.extra = Some(Box::new(extra));
        self
    }

    /// Writes the element `<error/>` as content of a stanza (RFC 6120 §8.3.2).
    pub fn to_fragment(&self) -> Fragment {
        let mut out = String::with_capacity(128);
        out.push_str("<error");
        xml::push_attr("type", self.kind.as_str(), &mut out);
        out.push_str("><");
        out.push_str(self.condition.as_str());
        xml::push_attr("xmlns", ns::STANZAS, &mut out);
        match &self.address {
            Some(address) => {
                out.push('>');
                xml::escape_text(address, &mut out);
                out.push_str("</");
                out.push_str(self.condition.as_str());
                out.push('>');
            }
            None => out.push_str("/>"),
        }
        if let Some(text) = &self.text {
            out.push_str("<text");
            xml::push_attr("xmlns", ns::STANZAS, &mut out);
            xml::push_attr("xml:lang", &self.lang, &mut out);
            out.push('>');
            xml::escape_text(text, &mut out);
            out.push_str("</text>");
        }
        if let Some(extra) = &self.extra {
            out.push_str(extra.as_str());
        }
        out.push_str("</error>");
        Fragment::one("error", ns::CLIENT, out)
    }
}

impl fmt::Display for StanzaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.condition, self.kind.as_str())?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StanzaError {}

#[cfg(test)]
mod tests {
    use super::*;

    //
    #[test]
    fn every_condition_has_its_name_and_type() {
        assert_eq!(Condition::ALL.len(), 22);
        for &condition in Condition::ALL {
            assert_eq!(Condition::from_name(condition.as_str()), Some(condition));
            let written = StanzaError::from(condition).to_fragment();
            let expected = format!(
                "<error type=\"{}\"><{condition} xmlns=\"{}\"/></error>",
                condition.default_type().as_str(),
                ns::STANZAS
            );
            assert_eq!(written.as_str(), expected);
        }
        assert_eq!(Condition::from_name("no-such-thing"), None);
        assert_eq!(ErrorType::from_name("wait"), Some(ErrorType::Wait));
    }

    #[test]
    fn text_address_and_extra_are_written_in_order() {
        let mut error = Condition::Gone.text("moved <away>");
        error.address = Some("xmpp:new@example.org".into());
        error.extra = Some(Box::new(Fragment::from("<why xmlns='urn:x'/>")));
        assert_eq!(
            error.to_fragment().as_str(),
            "<error type=\"cancel\">\
             <gone xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\">xmpp:new@example.org</gone>\
             <text xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\" xml:lang=\"en\">moved &lt;away&gt;</text>\
             <why xmlns='urn:x'/></error>"
        );
    }
}
