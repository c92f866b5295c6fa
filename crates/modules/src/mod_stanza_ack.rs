//! `mod_stanza_ack`: a sender who asks for it is told when the server has taken his message, and when the recipient's
//! client has acknowledged it.
//!
//! Source: none but ours, docs/ROUTING.md; XEP-0184 v1.4.0 §5 for what a client says. Hooks: `offline_message`,
//! `user_receive_packet`, `user_send_packet`. State: who asked, bounded. An example of a module that only listens: it
//! answers for messages to the accounts of its host, by whomever they were sent, and changes none.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gen_mod::prelude::*;
use parking_lot::Mutex;
use router::{Flags, Meta};
use session::hooks::{Kept, OfflineMessage, UserReceivePacket, UserSendPacket};
use xmpp::{BareJid, Fragment, Kind, MessageType, push_attr};

/// The namespace of the request and of what is told.
const NS: &str = "urn:x-natter:stanza-ack:0";

/// The namespace of clients' receipts.
const RECEIPTS: &str = "urn:xmpp:receipts";

options! {
    /// How many requests are remembered.
    pub struct StanzaAckOpts {
        /// Messages whose acknowledgement may be waited for at a time; of more the oldest are forgotten.
        pub remembered: usize [1..=1_000_000] = 10_000 => Restart,
    }
}

/// Acknowledgements of messages.
pub struct ModStanzaAck;

impl Module for ModStanzaAck {
    const NAME: &'static str = "mod_stanza_ack";
    const SOURCES: &'static [Source] = &[xep(
        184,
        "1.4.0",
        Partial("receipts of clients are noticed; they send them"),
    )];
    type Opts = StanzaAckOpts;

    async fn start(
        _ctx: &ModuleCtx,
        opts: StanzaAckOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let asked = Arc::new(Mutex::new(Asked::new(opts.remembered)));
        let (stored, handed, acknowledged) = (asked.clone(), asked.clone(), asked);
        let registrations = Registrations::new()
            .feature(NS)
            .hook_wait_if::<OfflineMessage, _, _, _>(
                Priority::LAST,
                |_, message| matches!(message.kept, Kept::Stored) && asks(&message.stanza),
                move |host, message| {
                    let taken = stored.lock().took(&message.account, &message.stanza);
                    async move {
                        tell(&host, taken, &message.meta).await;
                        Flow::Next(message)
                    }
                },
            )
            .hook_wait_if::<UserReceivePacket, _, _, _>(
                Priority::LAST,
                |_, received| is_first(&received.meta) && asks(&received.stanza),
                move |host, received| {
                    let account = received.user.to_bare();
                    let taken = handed.lock().took(&account, &received.stanza);
                    async move {
                        tell(&host, taken, &received.meta).await;
                        Flow::Next(received)
                    }
                },
            )
            .hook_wait_if::<UserSendPacket, _, _, _>(
                Priority::LAST,
                |_, sent| receipt(&sent.stanza).is_some(),
                move |host, sent| {
                    let told = acknowledged.lock().acknowledged(&sent.stanza);
                    async move {
                        tell(&host, told, &sent.meta).await;
                        Flow::Next(sent)
                    }
                },
            );
        Ok((ModStanzaAck, registrations))
    }
}

/// Whether it is the one delivery of a message that counts: no further device's, and nothing that was stored before.
fn is_first(meta: &Meta) -> bool {
    !meta.flags.contains(Flags::COPY) && !meta.flags.contains(Flags::FROM_OFFLINE)
}

/// Whether the sender of a message wants to be told what became of it.
fn asks(stanza: &Stanza) -> bool {
    stanza.kind() == Kind::Message
        && !stanza.is_error()
        && stanza.message_type() != MessageType::Groupchat
        && stanza.id().is_some_and(|id| !id.is_empty())
        && stanza.has_child("request", NS)
}

/// The id of the message that a client acknowledges (XEP-0184 §5.3).
fn receipt(stanza: &Stanza) -> Option<String> {
    if stanza.kind() != Kind::Message
        || stanza.is_error()
        || !stanza.has_child("received", RECEIPTS)
    {
        return None;
    }
    let mut children = stanza.dom().children();
    let received = children.find(|child| child.is("received", RECEIPTS))?;
    received.attr("id").map(str::to_owned)
}

/// A message: from whom, to which account, its id.
type Key = (Jid, BareJid, String);

/// The messages whose senders asked and were told that they were taken, numbered as they came. Invariant: both maps have
/// the same keys and numbers.
struct Asked {
    most: usize,
    next: u64,
    numbers: HashMap<Key, u64>,
    keys: BTreeMap<u64, Key>,
}

impl Asked {
    fn new(most: usize) -> Asked {
        Asked {
            most,
            next: 0,
            numbers: HashMap::new(),
            keys: BTreeMap::new(),
        }
    }

    /// What the sender is told of a message that the server has taken, which is once.
    fn took(&mut self, account: &BareJid, stanza: &Stanza) -> Option<Stanza> {
        let (sender, id) = (stanza.from()?.clone(), stanza.id()?.to_owned());
        let key = (sender.clone(), account.clone(), id.clone());
        if self.numbers.contains_key(&key) {
            return None;
        }
        self.numbers.insert(key.clone(), self.next);
        self.keys.insert(self.next, key);
        self.next += 1;
        if self.keys.len() > self.most
            && let Some((_, oldest)) = self.keys.pop_first()
        {
            self.numbers.remove(&oldest);
        }
        Some(word("taken", &id, &Jid::from(account.clone()), sender))
    }

    /// What the sender of a message is told when this, a receipt, acknowledges it.
    fn acknowledged(&mut self, receipt_of: &Stanza) -> Option<Stanza> {
        let (by, sender) = (receipt_of.from()?.clone(), receipt_of.to()?.clone());
        let id = receipt(receipt_of)?;
        let key = (sender.clone(), by.to_bare(), id.clone());
        let number = self.numbers.remove(&key)?;
        self.keys.remove(&number);
        Some(word("acknowledged", &id, &by, sender))
    }
}

/// One element that says what became of the message of that id. A headline: it is never kept for later.
fn word(what: &str, id: &str, by: &Jid, to: Jid) -> Stanza {
    let mut out = format!("<{what}");
    push_attr("xmlns", NS, &mut out);
    push_attr("id", id, &mut out);
    push_attr("by", &by.to_string(), &mut out);
    out.push_str("/>");
    Stanza::message(MessageType::Headline)
        .to(to)
        .append(Fragment::from(out))
        .finish()
}

async fn tell(host: &Host, word: Option<Stanza>, of: &Meta) {
    let (Some(word), Ok(from)) = (word, xmpp::parse_jid(&host.name)) else {
        return;
    };
    let word = word.edit().from(from).finish();
    host.router.route(host.router.answer(word, of)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> Stanza {
        let text = format!(
            "<message from='a@x/1' to='b@y' id='{id}'><request xmlns='{NS}'/><body>hi</body></message>"
        );
        Stanza::parse(&text).expect("a stanza")
    }

    fn receipt_of(id: &str, to: &str) -> Stanza {
        let text = format!(
            "<message from='b@y/2' to='{to}' id='r'><received xmlns='{RECEIPTS}' id='{id}'/></message>"
        );
        Stanza::parse(&text).expect("a stanza")
    }

    #[test]
    fn each_is_told_once_to_who_asked() {
        let bob = xmpp::parse_bare("b@y").expect("an address");
        let mut asked = Asked::new(2);
        let taken = asked.took(&bob, &message("1")).expect("told");
        assert!(taken.to_xml().contains("<taken "), "{}", taken.to_xml());
        assert!(asked.took(&bob, &message("1")).is_none());
        assert!(
            asked.acknowledged(&receipt_of("1", "a@x/2")).is_none(),
            "another device"
        );
        assert!(
            asked.acknowledged(&receipt_of("2", "a@x/1")).is_none(),
            "another message"
        );
        let told = asked.acknowledged(&receipt_of("1", "a@x/1")).expect("told");
        assert!(told.to_xml().contains("by=\"b@y/2\""), "{}", told.to_xml());
        assert!(
            asked.acknowledged(&receipt_of("1", "a@x/1")).is_none(),
            "once"
        );
        assert!(asked.keys.is_empty() && asked.numbers.is_empty());
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let bob = xmpp::parse_bare("b@y").expect("an address");
        let mut asked = Asked::new(2);
        for id in ["1", "2", "3"] {
            assert!(asked.took(&bob, &message(id)).is_some());
        }
        assert_eq!((asked.numbers.len(), asked.keys.len()), (2, 2));
        assert!(asked.acknowledged(&receipt_of("1", "a@x/1")).is_none());
        assert!(asked.acknowledged(&receipt_of("3", "a@x/1")).is_some());
    }

    #[test]
    fn only_messages_that_can_be_named_ask() {
        assert!(asks(&message("1")));
        for text in [
            format!("<message from='a@x/1' to='b@y'><request xmlns='{NS}'/></message>"),
            format!(
                "<message from='a@x/1' to='b@y' id='1' type='error'><request xmlns='{NS}'/></message>"
            ),
            format!(
                "<message from='a@x/1' to='b@y' id='1' type='groupchat'><request xmlns='{NS}'/></message>"
            ),
            "<message from='a@x/1' to='b@y' id='1'><request xmlns='urn:xmpp:receipts'/></message>"
                .to_owned(),
            format!("<presence from='a@x/1' to='b@y' id='1'><request xmlns='{NS}'/></presence>"),
        ] {
            assert!(!asks(&Stanza::parse(&text).expect("a stanza")), "{text}");
        }
    }
}
