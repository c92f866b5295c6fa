//! Stanzas of the server's own making.

use super::{Edit, IqType, MessageType, PresenceType, Stanza, StanzaType};
use crate::{Fragment, StanzaError, ns, random_id};

impl Stanza {
    /// Begins a message.
    pub fn message(type_: MessageType) -> Edit {
        Edit::new(type_)
    }

    /// Begins a presence.
    pub fn presence(type_: PresenceType) -> Edit {
        Edit::new(type_)
    }

    /// Begins a request of ours with an id that nobody can guess.
    ///
    /// # Panics
    ///
    /// When `type_` is no request.
    pub fn iq(type_: IqType, payload: impl Into<Fragment>) -> Edit {
        assert!(
            matches!(type_, IqType::Get | IqType::Set),
            "a request is a get or a set"
        );
        Edit::new(type_).id(random_id()).append(payload)
    }

    /// Answers a request: same id, addresses exchanged (RFC 6120 §8.2.3, R-225).
    pub fn iq_result(request: &Stanza, payload: impl Into<Option<Fragment>>) -> Stanza {
        let edit = request.answer(IqType::Result.into());
        match payload.into() {
            Some(payload) => edit.append(payload).finish(),
            None => edit.finish(),
        }
    }

    /// Answers with an error: same kind and id, addresses exchanged (RFC 6120 §8.3.1, R-229).
    /// `None` when this is an error or a result, which nobody answers.
    ///
    /// What the sender wrote is not sent back (our choice; §8.3.1 allows either): it would double
    /// the traffic of whoever floods us.
    pub fn error_reply(&self, error: &StanzaError) -> Option<Stanza> {
        let type_ = self.stanza_type();
        type_.may_be_answered().then(|| {
            self.answer(type_.error())
                .append(error.to_fragment())
                .finish()
        })
    }

    fn answer(&self, type_: StanzaType) -> Edit {
        Edit::answering(type_, &self.0.head)
    }
}

impl Edit {
    /// Adds a body to a message.
    pub fn body(self, text: &str) -> Edit {
        self.append(Fragment::element("body", ns::CLIENT, &[], text))
    }

    /// Adds a subject to a message.
    pub fn subject(self, text: &str) -> Edit {
        self.append(Fragment::element("subject", ns::CLIENT, &[], text))
    }

    /// Adds a status to a presence.
    pub fn status(self, text: &str) -> Edit {
        self.append(Fragment::element("status", ns::CLIENT, &[], text))
    }
}
