//! Namespaces, by name.

macro_rules! namespaces {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $value;)*

        /// Every namespace of this module: for these the reader allocates nothing.
        pub static KNOWN: &xml::Known = &xml::Known::new(&[$($value),*]);
    };
}

namespaces! {
    /// Content of client streams (RFC 6120 §4.8.2); the implied namespace of every [`crate::Stanza`].
    CLIENT = "jabber:client";
    /// Content of server streams (RFC 6120 §4.8.2).
    SERVER = "jabber:server";
    /// Content of component streams (XEP-0114).
    COMPONENT = "jabber:component:accept";
    /// Streams (RFC 6120 §4.8.1).
    STREAM = "http://etherx.jabber.org/streams";
    /// Conditions of stream errors (RFC 6120 §4.9.2).
    STREAMS = "urn:ietf:params:xml:ns:xmpp-streams";
    /// Conditions of stanza errors (RFC 6120 §8.3.2).
    STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas";
    /// STARTTLS (RFC 6120 §5).
    TLS = "urn:ietf:params:xml:ns:xmpp-tls";
    /// SASL (RFC 6120 §6).
    SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
    /// Resource binding (RFC 6120 §7).
    BIND = "urn:ietf:params:xml:ns:xmpp-bind";
    /// Session establishment (RFC 3921 §3; a no-op since RFC 6121).
    SESSION = "urn:ietf:params:xml:ns:xmpp-session";
    /// Framing over WebSocket (RFC 7395).
    FRAMING = "urn:ietf:params:xml:ns:xmpp-framing";
    /// The wrapper of BOSH (XEP-0124).
    HTTP_BIND = "http://jabber.org/protocol/httpbind";
    /// What XMPP adds to BOSH (XEP-0206).
    XBOSH = "urn:xmpp:xbosh";
    /// Roster (RFC 6121 §2).
    ROSTER = "jabber:iq:roster";
    /// Roster versioning feature (RFC 6121 §2.6).
    ROSTERVER = "urn:xmpp:features:rosterver";
    /// Pre-approval feature (RFC 6121 §3.4).
    PRE_APPROVAL = "urn:xmpp:features:pre-approval";
    /// Data forms (XEP-0004).
    DATA_FORMS = "jabber:x:data";
    /// Privacy lists (XEP-0016).
    PRIVACY = "jabber:iq:privacy";
    /// Last activity (XEP-0012).
    LAST = "jabber:iq:last";
    /// Service discovery: who are you (XEP-0030).
    DISCO_INFO = "http://jabber.org/protocol/disco#info";
    /// Service discovery: what have you (XEP-0030).
    DISCO_ITEMS = "http://jabber.org/protocol/disco#items";
    /// Statistics (XEP-0039).
    STATS = "http://jabber.org/protocol/stats";
    /// Multi-user chat (XEP-0045).
    MUC = "http://jabber.org/protocol/muc";
    /// Multi-user chat, occupants (XEP-0045).
    MUC_USER = "http://jabber.org/protocol/muc#user";
    /// Multi-user chat, lists of roles and affiliations (XEP-0045).
    MUC_ADMIN = "http://jabber.org/protocol/muc#admin";
    /// Multi-user chat, configuration (XEP-0045).
    MUC_OWNER = "http://jabber.org/protocol/muc#owner";
    /// Direct invitations to rooms (XEP-0249).
    CONFERENCE = "jabber:x:conference";
    /// What a room calls an occupant's account (XEP-0421).
    OCCUPANT_ID = "urn:xmpp:occupant-id:0";
    /// Titles of occupants (XEP-0317).
    HATS = "urn:xmpp:hats:0";
    /// Private XML storage (XEP-0049).
    PRIVATE = "jabber:iq:private";
    /// Ad-hoc commands (XEP-0050).
    COMMANDS = "http://jabber.org/protocol/commands";
    /// vCards (XEP-0054).
    VCARD = "vcard-temp";
    /// Result sets (XEP-0059).
    RSM = "http://jabber.org/protocol/rsm";
    /// Publish-subscribe (XEP-0060).
    PUBSUB = "http://jabber.org/protocol/pubsub";
    /// Publish-subscribe, events (XEP-0060).
    PUBSUB_EVENT = "http://jabber.org/protocol/pubsub#event";
    /// In-band registration (XEP-0077).
    REGISTER = "jabber:iq:register";
    /// In-band registration as a stream feature (XEP-0077).
    REGISTER_FEATURE = "http://jabber.org/features/iq-register";
    /// Chat states (XEP-0085).
    CHATSTATES = "http://jabber.org/protocol/chatstates";
    /// Software version (XEP-0092).
    VERSION = "jabber:iq:version";
    /// Entity capabilities (XEP-0115).
    CAPS = "http://jabber.org/protocol/caps";
    /// Avatar hashes in presence (XEP-0153).
    VCARD_UPDATE = "vcard-temp:x:update";
    /// Offline storage as a disco feature (XEP-0160).
    MSGOFFLINE = "msgoffline";
    /// Delivery receipts (XEP-0184).
    RECEIPTS = "urn:xmpp:receipts";
    /// Blocking (XEP-0191).
    BLOCKING = "urn:xmpp:blocking";
    /// The condition of errors about blocking (XEP-0191).
    BLOCKING_ERRORS = "urn:xmpp:blocking:errors";
    /// Stream management (XEP-0198).
    SM = "urn:xmpp:sm:3";
    /// Ping (XEP-0199).
    PING = "urn:xmpp:ping";
    /// Entity time (XEP-0202).
    TIME = "urn:xmpp:time";
    /// Delayed delivery (XEP-0203).
    DELAY = "urn:xmpp:delay";
    /// Carbons (XEP-0280).
    CARBONS = "urn:xmpp:carbons:2";
    /// Forwarded stanzas (XEP-0297).
    FORWARD = "urn:xmpp:forward:0";
    /// Message archive (XEP-0313).
    MAM = "urn:xmpp:mam:2";
    /// Processing hints (XEP-0334).
    HINTS = "urn:xmpp:hints";
    /// Client state indication (XEP-0352).
    CSI = "urn:xmpp:csi:0";
    /// Unique and stable stanza ids (XEP-0359).
    SID = "urn:xmpp:sid:0";
    /// Chat markers (XEP-0333).
    CHAT_MARKERS = "urn:xmpp:chat-markers:0";
    /// Tokens that stand for an approval (XEP-0379).
    PARS = "urn:xmpp:pars:0";
    /// Registration by token as a stream feature (XEP-0445).
    IBR_TOKEN = "urn:xmpp:ibr-token:0";
    /// Channel binding capability (XEP-0440).
    SASL_CB = "urn:xmpp:sasl-cb:0";
    /// Stream limits (XEP-0478).
    STREAM_LIMITS = "urn:xmpp:stream-limits:0";
    /// The prefix `xml`.
    XML = "http://www.w3.org/XML/1998/namespace";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_namespaces_are_different() {
        let mut names = KNOWN.names().to_vec();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(names.contains(&CLIENT));
    }
}
