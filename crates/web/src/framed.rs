//! What a session says, as elements that stand alone: for transports that have no stream around them.

use xmpp::{ns, push_attr};

/// A stanza comes as it would inside of a stream, its namespace mostly implied; all else declares its own.
pub(crate) fn alone(text: &str) -> String {
    for name in ["<message", "<presence", "<iq"] {
        if let Some(rest) = text.strip_prefix(name)
            && rest.starts_with([' ', '/', '>'])
            && !rest.starts_with(" xmlns=")
        {
            let mut whole = String::with_capacity(text.len() + 24);
            whole.push_str(name);
            push_attr("xmlns", ns::CLIENT, &mut whole);
            whole.push_str(rest);
            return whole;
        }
    }
    text.to_owned()
}

/// Stream features that declare the prefix they are written with.
pub(crate) fn features(features: &str) -> String {
    let mut text = String::from("<stream:features");
    push_attr("xmlns:stream", ns::STREAM, &mut text);
    text.push('>');
    text.push_str(features);
    text.push_str("</stream:features>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_stands_alone() {
        for (text, framed) in [
            ("<message/>", "<message xmlns=\"jabber:client\"/>"),
            (
                "<iq type='get'>x</iq>",
                "<iq xmlns=\"jabber:client\" type='get'>x</iq>",
            ),
            // An answer of the negotiation.
            (
                "<iq xmlns='jabber:client' type='result'/>",
                "<iq xmlns='jabber:client' type='result'/>",
            ),
            ("<iqs xmlns='x'/>", "<iqs xmlns='x'/>"),
            ("<success xmlns='s'/>", "<success xmlns='s'/>"),
        ] {
            assert_eq!(alone(text), framed);
        }
        assert!(
            features("<f xmlns='x'/>").starts_with(
                "<stream:features xmlns:stream=\"http://etherx.jabber.org/streams\"><f"
            )
        );
    }
}
