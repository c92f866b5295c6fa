//! From a first-level element to a stanza, or to what its sender is to be told.

use std::fmt;
use std::sync::Arc;

use xml::{Attr, Element, Limits, Namespace, push_attr};

use super::head::{Head, IqType, Kind, MessageType, PresenceType, StanzaType};
use super::{Content, Stanza};
use crate::{Condition, Jid, JidError, StanzaError, StreamCondition, StreamError, ns, parse_jid};

/// Why an element is no stanza that can be routed.
#[derive(Debug)]
pub enum StanzaFault {
    /// The stanza is wrong; its sender is told and the stream goes on.
    Answer(Box<Faulty>),
    /// The `from` is no address. On a client stream that is an `invalid-from` stream error
    /// (RFC 6120 §8.1.2.1).
    InvalidFrom(JidError),
    /// This is no stanza; the stream cannot go on.
    Stream(StreamError),
}

impl fmt::Display for StanzaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StanzaFault::Answer(faulty) => write!(f, "faulty stanza: {}", faulty.error),
            StanzaFault::InvalidFrom(error) => write!(f, "faulty from: {error}"),
            StanzaFault::Stream(error) => write!(f, "no stanza: {error}"),
        }
    }
}

impl std::error::Error for StanzaFault {}

/// What could be read of a faulty stanza: enough to answer it.
#[derive(Debug, Clone)]
pub struct Faulty {
    /// What is wrong.
    pub error: StanzaError,
    /// Which kind of stanza it was.
    pub kind: Kind,
    /// Who it says it is from.
    pub from: Option<Jid>,
    /// Who it was for, if that could be read.
    pub to: Option<Jid>,
    /// Its id.
    pub id: Option<String>,
    /// Its type is `error` or `result`, which is never answered.
    silent: bool,
}

impl Faulty {
    /// Returns the error to send back, from whom the stanza was for; `None` when it was itself an
    /// error or result, which nobody answers (RFC 6120 §8.3.1).
    pub fn reply(&self) -> Option<Stanza> {
        if self.silent {
            return None;
        }
        let type_ = match self.kind {
            Kind::Message => StanzaType::Message(MessageType::Error),
            Kind::Presence => StanzaType::Presence(PresenceType::Error),
            Kind::Iq => StanzaType::Iq(IqType::Error),
        };
        let edit = super::Edit::new(type_)
            .from(self.to.clone())
            .to(self.from.clone());
        Some(
            edit.id(self.id.clone())
                .append(self.error.to_fragment())
                .finish(),
        )
    }
}

impl Stanza {
    /// Reads a first-level element of a stream as a stanza.
    ///
    /// # Errors
    ///
    /// See [`StanzaFault`]: what is no stanza at all, or in a foreign namespace, is
    /// `unsupported-stanza-type`; a malformed `to` is `jid-malformed`; an
    /// IQ without id or type or with the wrong number of children, and a presence of unknown
    /// type, are `bad-request`.
    pub fn from_element(element: &Element) -> Result<Stanza, StanzaFault> {
        let content = [ns::CLIENT, ns::SERVER, ns::COMPONENT];
        let kind =
            Kind::from_name(element.name()).filter(|_| content.contains(&element.namespace()));
        let kind = kind.ok_or(StanzaFault::Stream(
            StreamCondition::UnsupportedStanzaType.into(),
        ))?;
        if element.portable() {
            return read(kind, element, element.stream_lang());
        }
        // Written anew, a stanza grows with the namespaces it borrows from its stream.
        let alone = element.stand_alone(element.bytes().len() * 8 + 16 * 1024);
        let alone = alone.map_err(|error| StanzaFault::Stream(StreamError::from(&error)))?;
        read(kind, &alone, element.stream_lang())
    }

    /// Reads a stanza that stands alone: a stored one, or text in a test. Its namespace is
    /// `jabber:client` unless it says otherwise.
    ///
    /// # Errors
    ///
    /// As [`Stanza::from_element`]; what is not well-formed is a stream error.
    pub fn parse(text: &str) -> Result<Stanza, StanzaFault> {
        let limits = Limits {
            bytes: usize::MAX,
            depth: 1000,
            attributes: 1000,
            children: usize::MAX,
        };
        let element = xml::parse_element(text.as_bytes(), ns::CLIENT, ns::KNOWN, limits);
        let element = element.map_err(|error| StanzaFault::Stream(StreamError::from(&error)))?;
        Stanza::from_element(&element)
    }
}

fn read(kind: Kind, element: &Element, stream_lang: Option<&str>) -> Result<Stanza, StanzaFault> {
    let attr = |name: &str| element.attr(name);
    let given = |name: &str| attr(name).filter(|value| !value.is_empty());
    let from = given("from")
        .map(parse_jid)
        .transpose()
        .map_err(StanzaFault::InvalidFrom)?;
    let to = given("to").map(parse_jid).transpose();
    let type_ = type_of(kind, attr("type"));
    let answer = |error: StanzaError, to: Option<Jid>| {
        let silent = match type_ {
            Some(type_) => !type_.may_be_answered(),
            None => attr("type") == Some("error"),
        };
        StanzaFault::Answer(Box::new(Faulty {
            error,
            kind,
            from: from.clone(),
            to,
            id: attr("id").map(str::to_owned),
            silent,
        }))
    };
    let to = match to {
        Ok(to) => to,
        Err(error) => {
            return Err(answer(
                Condition::JidMalformed.text(error.to_string()),
                None,
            ));
        }
    };
    let bad = |why: &str| Err(answer(Condition::BadRequest.text(why), to.clone()));
    let Some(type_) = type_ else {
        return bad("unknown or missing type");
    };
    if let StanzaType::Iq(iq) = type_ {
        if given("id").is_none() {
            return bad("an IQ needs an id");
        }
        if matches!(iq, IqType::Get | IqType::Set) && element.children().len() != 1 {
            return bad("a request has exactly one child element");
        }
    }
    let type_text = match type_ {
        StanzaType::Message(MessageType::Normal) => attr("type").map(Arc::from),
        _ => None,
    };
    let head = Head {
        type_,
        type_text,
        from: from.map(Arc::new),
        to: to.map(Arc::new),
        id: attr("id").map(Arc::from),
        lang: element
            .lang()
            .or(stream_lang.filter(|lang| !lang.is_empty()))
            .map(Arc::from),
        extra: extra_of(element.attrs()),
    };
    Ok(Stanza::new(head, Arc::new(content_of(element))))
}

fn type_of(kind: Kind, attribute: Option<&str>) -> Option<StanzaType> {
    match (kind, attribute) {
        (Kind::Message, None) => Some(MessageType::Normal.into()),
        (Kind::Message, Some(word)) => Some(
            MessageType::from_name(word)
                .unwrap_or(MessageType::Normal)
                .into(),
        ),
        (Kind::Presence, None) => Some(PresenceType::Available.into()),
        // The word `available` is not on the wire: absence says it.
        (Kind::Presence, Some("available")) => None,
        (Kind::Presence, Some(word)) => PresenceType::from_name(word).map(StanzaType::from),
        (Kind::Iq, None) => None,
        (Kind::Iq, Some(word)) => IqType::from_name(word).map(StanzaType::from),
    }
}

/// Writes the attributes that no rule of ours knows, in their order and standing alone.
fn extra_of<'a>(attrs: impl Iterator<Item = Attr<'a>>) -> Option<Arc<str>> {
    let mut out = String::new();
    let mut number = 0;
    for attr in attrs {
        match (attr.namespace, attr.name) {
            ("", "from" | "to" | "id" | "type") | (ns::XML, "lang") => {}
            ("", name) => push_attr(name, attr.value, &mut out),
            (ns::XML, name) => push_attr(&format!("xml:{name}"), attr.value, &mut out),
            (namespace, name) => {
                push_attr(&format!("xmlns:a{number}"), namespace, &mut out);
                push_attr(&format!("a{number}:{name}"), attr.value, &mut out);
                number += 1;
            }
        }
    }
    (!out.is_empty()).then(|| Arc::from(out))
}

/// The content as it came, under the names that it has on a stream of clients.
fn content_of(element: &Element) -> Content {
    let client = Namespace::from_static(ns::CLIENT);
    let children = element.children().iter();
    let children = children.map(|child| match child.namespace() == element.namespace() {
        true => child.in_namespace(client.clone()),
        false => child.clone(),
    });
    Content {
        text: element.bytes().clone(),
        range: element.content(),
        children: children.collect(),
    }
}
