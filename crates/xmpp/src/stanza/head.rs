//! What the start tag of a stanza says.

use std::fmt::Write;
use std::sync::Arc;

use xml::push_attr;

use super::put;
use crate::{Jid, ns};

/// Which of the three kinds of stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message (RFC 6121 §5).
    Message,
    /// A presence (RFC 6121 §4).
    Presence,
    /// A request or its answer (RFC 6120 §8.2.3).
    Iq,
}

impl Kind {
    /// Returns the name of the element.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Presence => "presence",
            Kind::Iq => "iq",
        }
    }

    /// Reads the name of an element.
    pub fn from_name(name: &str) -> Option<Kind> {
        [Kind::Message, Kind::Presence, Kind::Iq]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            /// Returns the word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// Reads the word on the wire.
            pub fn from_name(name: &str) -> Option<$type> {
                match name { $($name => Some($type::$variant),)* _ => None }
            }
        }
    };
}

names! {
    /// Type of a message (RFC 6121 §5.2.2).
    MessageType {
        /// A single message; also when no type or an unknown one is given.
        Normal = "normal",
        /// Part of a one-to-one conversation.
        Chat = "chat",
        /// Part of a conversation in a room.
        Groupchat = "groupchat",
        /// News to which no answer is expected.
        Headline = "headline",
        /// A message that could not be delivered comes back.
        Error = "error",
    }
}

names! {
    /// Type of a presence (RFC 6121 §4.7.1).
    PresenceType {
        /// No type: the sender is available.
        Available = "available",
        /// The sender is not available any more.
        Unavailable = "unavailable",
        /// The sender wants to see the recipient's presence.
        Subscribe = "subscribe",
        /// The sender lets the recipient see its presence.
        Subscribed = "subscribed",
        /// The sender wants to see the recipient's presence no longer.
        Unsubscribe = "unsubscribe",
        /// The sender does not, or no longer, let the recipient see its presence.
        Unsubscribed = "unsubscribed",
        /// A server asks for the current presence.
        Probe = "probe",
        /// A presence that could not be delivered comes back.
        Error = "error",
    }
}

names! {
    /// Type of an IQ (RFC 6120 §8.2.3).
    IqType {
        /// Asks for something.
        Get = "get",
        /// Changes something.
        Set = "set",
        /// Answers a get or set.
        Result = "result",
        /// Says why there is no result.
        Error = "error",
    }
}

names! {
    /// How available somebody is (RFC 6121 §4.7.2.1).
    Show {
        /// Away for a short time.
        Away = "away",
        /// Eager to chat.
        Chat = "chat",
        /// Busy.
        Dnd = "dnd",
        /// Away for long.
        Xa = "xa",
    }
}

/// Kind and type in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StanzaType {
    /// A message.
    Message(MessageType),
    /// A presence.
    Presence(PresenceType),
    /// An IQ.
    Iq(IqType),
}

impl StanzaType {
    /// Returns the kind.
    pub fn kind(self) -> Kind {
        match self {
            StanzaType::Message(_) => Kind::Message,
            StanzaType::Presence(_) => Kind::Presence,
            StanzaType::Iq(_) => Kind::Iq,
        }
    }

    /// Tells whether the type is `error`.
    pub fn is_error(self) -> bool {
        matches!(
            self,
            StanzaType::Message(MessageType::Error)
                | StanzaType::Presence(PresenceType::Error)
                | StanzaType::Iq(IqType::Error)
        )
    }

    /// Tells whether an error may be sent in return: never to an error or a result (RFC 6120
    /// §8.3.1, R-226, R-227).
    pub fn may_be_answered(self) -> bool {
        !self.is_error() && self != StanzaType::Iq(IqType::Result)
    }

    /// Returns the type `error` of the same kind.
    pub fn error(self) -> StanzaType {
        match self {
            StanzaType::Message(_) => StanzaType::Message(MessageType::Error),
            StanzaType::Presence(_) => StanzaType::Presence(PresenceType::Error),
            StanzaType::Iq(_) => StanzaType::Iq(IqType::Error),
        }
    }

    /// Returns the attribute `type`, unless it goes without saying.
    fn attribute(self) -> Option<&'static str> {
        match self {
            StanzaType::Message(MessageType::Normal) => None,
            StanzaType::Presence(PresenceType::Available) => None,
            StanzaType::Message(type_) => Some(type_.as_str()),
            StanzaType::Presence(type_) => Some(type_.as_str()),
            StanzaType::Iq(type_) => Some(type_.as_str()),
        }
    }
}

impl From<MessageType> for StanzaType {
    fn from(type_: MessageType) -> Self {
        StanzaType::Message(type_)
    }
}

impl From<PresenceType> for StanzaType {
    fn from(type_: PresenceType) -> Self {
        StanzaType::Presence(type_)
    }
}

impl From<IqType> for StanzaType {
    fn from(type_: IqType) -> Self {
        StanzaType::Iq(type_)
    }
}

/// The start tag, read. A copy shares what it says: it costs counts, no memory.
#[derive(Clone)]
pub(super) struct Head {
    pub type_: StanzaType,
    /// What the sender of a message wrote instead of nothing: `normal`, or a word nobody knows.
    pub type_text: Option<Arc<str>>,
    pub from: Option<Arc<Jid>>,
    pub to: Option<Arc<Jid>>,
    pub id: Option<Arc<str>>,
    pub lang: Option<Arc<str>>,
    /// All other attributes, written out and standing alone, each with a space before it; `None`: there are none.
    pub extra: Option<Arc<str>>,
}

impl Head {
    pub fn new(type_: StanzaType) -> Head {
        Head {
            type_,
            type_text: None,
            from: None,
            to: None,
            id: None,
            lang: None,
            extra: None,
        }
    }

    /// Writes the start tag without its `>`; with the namespace that goes without saying on a stream, if `alone`.
    pub fn write(&self, alone: bool, out: &mut impl Write) {
        put(out, "<");
        put(out, self.type_.kind().as_str());
        if alone {
            put(out, " xmlns=\"");
            put(out, ns::CLIENT);
            put(out, "\"");
        }
        let attributes = [
            ("from", self.from.as_deref().map(Jid::as_str)),
            ("to", self.to.as_deref().map(Jid::as_str)),
            ("id", self.id.as_deref()),
            ("type", self.type_text.as_deref().or(self.type_.attribute())),
            ("xml:lang", self.lang.as_deref()),
        ];
        for (name, value) in attributes {
            if let Some(value) = value {
                push_attr(name, value, out);
            }
        }
        put(out, self.extra.as_deref().unwrap_or_default());
    }
}
