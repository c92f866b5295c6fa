//! Typed payloads: from the slice of one child to a value, and from a value to a fragment.

use minidom::tree_builder::TreeBuilder;
use rxml::{Event, Parse, RawParser, WithOptions};
use xso::{AsXml, FromEventsBuilder, FromXml};

use crate::{Fragment, ns};

pub use xmpp_parsers::bind::{BindQuery, BindResponse};
pub use xmpp_parsers::data_forms::{DataForm, DataFormType, Field, FieldType};
pub use xmpp_parsers::delay::Delay;
pub use xmpp_parsers::disco::{
    DiscoInfoQuery, DiscoInfoResult, DiscoItemsQuery, DiscoItemsResult, Identity, Item,
};
pub use xmpp_parsers::ping::Ping;
pub use xmpp_parsers::time::{TimeQuery, TimeResult};
pub use xmpp_parsers::version::{VersionQuery, VersionResult};

/// Something that can be put into a stanza. `()` is nothing, as in an empty IQ result.
pub trait Payload {
    /// Writes the payload; see [`Fragment`].
    fn to_fragment(&self) -> Fragment;
}

impl Payload for () {
    fn to_fragment(&self) -> Fragment {
        Fragment::empty()
    }
}

impl Payload for Fragment {
    fn to_fragment(&self) -> Fragment {
        self.clone()
    }
}

impl Payload for minidom::Element {
    fn to_fragment(&self) -> Fragment {
        Fragment::from(self)
    }
}

impl<T: Payload> Payload for Option<T> {
    fn to_fragment(&self) -> Fragment {
        self.as_ref().map_or_else(Fragment::empty, T::to_fragment)
    }
}

/// Makes types that `xso` can write into payloads.
#[macro_export]
macro_rules! impl_payload {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::Payload for $type {
            fn to_fragment(&self) -> $crate::Fragment {
                $crate::payload::fragment_of(self)
            }
        })*
    };
}

impl_payload!(
    BindQuery,
    BindResponse,
    DataForm,
    Delay,
    DiscoInfoQuery,
    DiscoInfoResult,
    DiscoItemsQuery,
    DiscoItemsResult,
    Ping,
    TimeQuery,
    TimeResult,
    VersionQuery,
    VersionResult,
);

/// Writes a value that `xso` can write.
///
/// # Panics
///
/// When the value holds text that XML cannot carry, such as control characters: values are
/// made of text that was read from XML or written by us.
pub fn fragment_of<T: AsXml>(value: &T) -> Fragment {
    let bytes = xso::to_vec(value).expect("payloads hold text that XML can carry");
    let text = String::from_utf8(bytes).expect("the writer writes UTF-8");
    Fragment::from(text)
}

/// Why a payload is not what its type wants. The answer to a peer is `bad-request`.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The element is no such payload, or attributes, children or text of it are wrong.
    #[error("payload not understood: {0}")]
    Mismatch(String),
    /// The bytes are not well-formed.
    #[error("payload not well-formed: {0}")]
    Xml(rxml::Error),
}

/// Reads a value from one element that was read before or is our own, whose default namespace is
/// `jabber:client` unless it says otherwise. Attributes and children that the type does not know are
/// ignored.
///
/// # Errors
///
/// See [`PayloadError`].
pub fn parse_slice<T: FromXml>(bytes: &[u8], lang: Option<&str>) -> Result<T, PayloadError> {
    let broken = || PayloadError::Xml(rxml::Error::InvalidEof(None));
    let text = std::str::from_utf8(bytes).map_err(|_| broken())?;
    let context = xso::Context::empty().with_language(lang);
    let mut events = xml::Events::new(text, ns::CLIENT);
    let Some(Event::StartElement(_, name, attrs)) = events.next() else {
        return Err(broken());
    };
    let mut builder = T::from_events(name, attrs, &context).map_err(mismatch)?;
    for event in events {
        if let Some(value) = builder.feed(event, &context).map_err(mismatch)? {
            return Ok(value);
        }
    }
    Err(broken())
}

/// What our reader lets in, this parser must take: their own limit is half as long.
fn parser_options() -> rxml::Options {
    rxml::Options {
        max_token_length: xml::MAX_TOKEN,
        ..rxml::Options::default()
    }
}

/// Builds the tree of a stanza's canonical bytes.
///
/// # Panics
///
/// When they are not well-formed, which they are.
pub(crate) fn tree(mut bytes: &[u8]) -> minidom::Element {
    let mut parser = RawParser::with_options(parser_options());
    let mut builder = TreeBuilder::new().with_prefixes_stack(vec![ns::CLIENT.to_owned().into()]);
    loop {
        let event = parser.parse(&mut bytes, true);
        let event = event.ok().flatten();
        builder
            .process_event(event.expect("canonical bytes are well-formed"))
            .expect("canonical bytes declare their prefixes");
        if let Some(root) = builder.root.take() {
            return root;
        }
    }
}

/// Reads a value from a first-level element, such as one of stream negotiation.
///
/// # Errors
///
/// See [`PayloadError`].
pub fn parse_whole<T: FromXml>(element: &xml::Element) -> Result<T, PayloadError> {
    let alone = element
        .stand_alone(element.bytes().len() * 8 + 16 * 1024)
        .map_err(|error| PayloadError::Mismatch(error.to_string()))?;
    parse_slice(alone.bytes(), None)
}

fn mismatch(error: impl std::fmt::Debug) -> PayloadError {
    PayloadError::Mismatch(format!("{error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_fragments_and_come_back() {
        let version = VersionResult {
            name: "Natter <1>".into(),
            version: "0.1.0".into(),
            os: None,
        };
        let fragment = version.to_fragment();
        assert!(fragment.children()[0].is("query", ns::VERSION));
        let again: VersionResult =
            parse_slice(fragment.as_str().as_bytes(), None).expect("a version");
        assert_eq!(
            (again.name.as_str(), again.version.as_str()),
            ("Natter <1>", "0.1.0")
        );
        assert!(().to_fragment().is_empty());
    }

    #[test]
    fn what_is_another_payload_is_a_mismatch() {
        let read = |text: &str| parse_slice::<VersionQuery>(text.as_bytes(), None);
        assert!(read("<query xmlns='jabber:iq:version'/>").is_ok());
        assert!(matches!(
            read("<query xmlns='jabber:iq:last'/>"),
            Err(PayloadError::Mismatch(_))
        ));
        assert!(matches!(
            read("<query xmlns='jabber:iq:version'>"),
            Err(PayloadError::Xml(_))
        ));
    }
}
