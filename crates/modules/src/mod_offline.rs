//! `mod_offline`: messages for accounts that have no resource to take them.
//!
//! Source: XEP-0160 v1.0.1 §3, XEP-0203 v2.0 §4, XEP-0334 v0.4 §4. Hooks: `offline_message`, `offline_page`,
//! `offline_delivered`. Stores: `offline`. State: none; its process sweeps out what has expired.

use std::time::Duration;

use config::Bytes;
use gen_mod::prelude::*;
use session::hooks::{Kept, OfflineDelivered, OfflineMessage, OfflinePage, Waiting};
use storage::{OfflineEntry, OfflineId, OfflineLimits, Stored};
use xmpp::{Fragment, MessageType, format_date_time};

/// How many messages a session is handed at a time.
const PAGE: usize = 50;

/// How often expired messages are swept out; until then they only take room on the disk.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

options! {
    /// How many messages are kept, and for how long.
    pub struct OfflineOpts {
        /// Most messages kept for one account.
        pub max_messages: u64 = 1000,
        /// Most bytes kept for one account.
        pub max_bytes: Bytes = Bytes(10 * 1024 * 1024),
        /// How long a message is worth keeping; for ever unless said.
        pub expire_after: Option<Duration>,
    }
}

/// Messages for those who are away.
pub struct ModOffline;

/// A timer: sweep out what has expired.
struct Sweep;

impl Module for ModOffline {
    const NAME: &'static str = "mod_offline";
    const SOURCES: &'static [Source] = &[
        xep(160, "1.0.1", Complete),
        xep(203, "2.0", Complete),
        xep(
            334,
            "0.4",
            Partial("no-store and store; no-copy and no-permanent-store concern others"),
        ),
    ];
    type Opts = OfflineOpts;

    async fn start(
        ctx: &ModuleCtx,
        opts: OfflineOpts,
    ) -> Result<(Self, Registrations), StartError> {
        ctx.send_after(SWEEP_EVERY, Sweep);
        let registrations = Registrations::new()
            .feature(ns::MSGOFFLINE)
            .hook_wait::<OfflineMessage, _, _>(Priority::NORMAL, move |host, message| {
                keep(host, message, opts.clone())
            })
            .hook_wait::<OfflinePage, _, _>(Priority::NORMAL, page)
            .hook_wait::<OfflineDelivered, _, _>(Priority::NORMAL, forget);
        Ok((ModOffline, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        match info {
            Info::Message(message) if message.is::<Sweep>() => {
                ctx.send_after(SWEEP_EVERY, Sweep);
                sweep(&ctx.host).await;
            }
            Info::Route(parcel) => drop(parcel),
            Info::Message(_) | Info::Down(_) => {}
        }
    }
}

/// What is to be done with a message that nobody is there to take.
#[derive(Debug, PartialEq, Eq)]
enum Worth {
    /// It is stored.
    Keeping,
    /// It ends silently.
    Nothing,
    /// Its sender is told.
    Telling,
}

/// Decides by type and content (XEP-0160 §3). A message counts as empty when there is nothing in it but
/// chat states and what goes with them; all else a sender may rely on, such as an invitation, a receipt,
/// or something encrypted, is kept.
fn worth(message: &Stanza) -> Worth {
    match message.message_type() {
        MessageType::Normal | MessageType::Chat => {}
        MessageType::Headline | MessageType::Error => return Worth::Nothing,
        MessageType::Groupchat => return Worth::Telling,
    }
    if message.has_child("no-store", ns::HINTS) {
        return Worth::Nothing;
    }
    let is_empty = message.children().iter().all(|child| {
        let fleeting = child.namespace() == ns::CHATSTATES || child.is("thread", ns::CLIENT);
        fleeting || (child.namespace() == ns::HINTS && child.name() != "store")
    });
    if is_empty {
        Worth::Nothing
    } else {
        Worth::Keeping
    }
}

/// Stores a message. A full queue is told with `service-unavailable`, which is also what a sender hears who
/// writes to nobody: it does not tell that the account exists (RFC 6121 §8.5.2.2.1).
async fn keep(host: Host, mut message: OfflineMessage, opts: OfflineOpts) -> Flow<OfflineMessage> {
    if !matches!(message.kept, Kept::No) {
        return Flow::Next(message);
    }
    message.kept = match worth(&message.stanza) {
        Worth::Nothing => Kept::Ignored,
        Worth::Telling => Kept::No,
        Worth::Keeping => store(&host, &message, &opts).await,
    };
    Flow::Next(message)
}

async fn store(host: &Host, message: &OfflineMessage, opts: &OfflineOpts) -> Kept {
    let received = message.meta.received;
    let limits = OfflineLimits {
        messages: opts.max_messages,
        bytes: opts.max_bytes.0,
    };
    let kept = storage::OfflineMessage {
        stanza: message.stanza.to_xml(),
        received,
        expires: opts
            .expire_after
            .and_then(|after| received.checked_add(after)),
        place: i64::try_from(message.meta.trace).ok(),
    };
    match host
        .storage
        .offline
        .store(&message.account, kept, limits)
        .await
    {
        Ok(Stored::Yes(_)) => Kept::Stored,
        Ok(Stored::Full) => {
            let full = Condition::ServiceUnavailable;
            Kept::Refused(full.into())
        }
        Err(error) => Kept::Refused(error.into()),
    }
}

/// Gives the next messages of the queue, each with the time at which it was received (XEP-0203 §4).
async fn page(host: Host, mut asked: OfflinePage) -> Flow<OfflinePage> {
    let mut after = asked.after.map(OfflineId::at_place);
    while asked.page.is_empty() {
        let entries = match host.storage.offline.page(&asked.account, after, PAGE).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(target: "natter::offline", account = %asked.account, %error, "queue not read");
                asked.unreadable = true;
                break;
            }
        };
        let Some(last) = entries.last() else { break };
        after = Some(last.id);
        // A page of which nothing can be read must not look like the end of the queue.
        asked.page = entries
            .iter()
            .filter_map(|entry| waiting(&host, entry))
            .collect();
    }
    Flow::Next(asked)
}

fn waiting(host: &Host, entry: &OfflineEntry) -> Option<Waiting> {
    match Stanza::parse(&entry.message.stanza) {
        Ok(stanza) => Some(Waiting {
            place: entry.id.place(),
            stanza: delayed(&stanza, &host.name, entry),
        }),
        Err(_) => {
            tracing::error!(target: "natter::offline", id = entry.public_id, "stored message is no stanza");
            None
        }
    }
}

/// The message with the host's `<delay/>`. One that somebody else wrote in the host's name goes.
fn delayed(message: &Stanza, host: &str, entry: &OfflineEntry) -> Stanza {
    let stamp = format_date_time(entry.message.received);
    let forged: Vec<usize> = message
        .dom()
        .children()
        .enumerate()
        .filter(|(_, child)| child.is("delay", ns::DELAY) && child.attr("from") == Some(host))
        .map(|(number, _)| number)
        .collect();
    let mut number = 0;
    let is_forged = |_: &xmpp::Child| {
        number += 1;
        forged.contains(&(number - 1))
    };
    let delay = Fragment::element("delay", ns::DELAY, &[("from", host), ("stamp", &stamp)], "");
    message.edit().remove(is_forged).append(delay).finish()
}

/// Forgets messages that were written to a client. One that cannot be forgotten now comes once more.
async fn forget(host: Host, delivered: OfflineDelivered) -> Flow<OfflineDelivered> {
    let ids: Vec<OfflineId> = delivered
        .places
        .iter()
        .copied()
        .map(OfflineId::at_place)
        .collect();
    if let Err(error) = host.storage.offline.remove(&delivered.account, &ids).await {
        tracing::warn!(target: "natter::offline", account = %delivered.account, %error, "delivered messages not forgotten");
    }
    Flow::Next(delivered)
}

async fn sweep(host: &Host) {
    match host.storage.offline.expire(host.clock.wall()).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(target: "natter::offline", count, "expired messages swept out"),
        Err(error) => {
            tracing::warn!(target: "natter::offline", %error, "expired messages not swept out")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn message(type_: &str, content: &str) -> Stanza {
        Stanza::parse(&format!(
            "<message type='{type_}' from='b@x/1' to='a@x'>{content}</message>"
        ))
        .expect("a message")
    }

    #[test]
    fn what_is_kept_and_what_is_not() {
        let hint = |name: &str| format!("<{name} xmlns='urn:xmpp:hints'/>");
        let composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let body = "<body>hi</body>";
        for (type_, content, expected) in [
            ("normal", body.to_owned(), Worth::Keeping),
            ("chat", format!("{body}{composing}"), Worth::Keeping),
            (
                "chat",
                "<received xmlns='urn:xmpp:receipts' id='1'/>".into(),
                Worth::Keeping,
            ),
            (
                "chat",
                format!("<x xmlns='urn:encrypted'/>{}", hint("no-copy")),
                Worth::Keeping,
            ),
            ("chat", hint("store"), Worth::Keeping),
            (
                "chat",
                format!("{body}{}", hint("no-permanent-store")),
                Worth::Keeping,
            ),
            ("chat", composing.to_owned(), Worth::Nothing),
            (
                "chat",
                format!("<thread>t</thread>{composing}{}", hint("no-copy")),
                Worth::Nothing,
            ),
            ("normal", String::new(), Worth::Nothing),
            (
                "chat",
                format!("{body}{}", hint("no-store")),
                Worth::Nothing,
            ),
            ("headline", body.to_owned(), Worth::Nothing),
            ("error", body.to_owned(), Worth::Nothing),
            ("groupchat", body.to_owned(), Worth::Telling),
        ] {
            assert_eq!(
                worth(&message(type_, &content)),
                expected,
                "{type_} {content}"
            );
        }
    }

    #[test]
    fn the_hosts_delay_is_the_hosts_alone() {
        let entry = OfflineEntry {
            id: OfflineId::at_place(1),
            public_id: "p".into(),
            message: storage::OfflineMessage {
                stanza: String::new(),
                received: UNIX_EPOCH,
                expires: None,
                place: None,
            },
        };
        let theirs = "<delay xmlns='urn:xmpp:delay' from='other' stamp='2002-09-10T23:08:25Z'/>";
        let forged = "<delay xmlns='urn:xmpp:delay' from='x' stamp='2002-09-10T23:08:25Z'/>";
        let out = delayed(
            &message("chat", &format!("<body>hi</body>{forged}{theirs}")),
            "x",
            &entry,
        );
        let out = String::from_utf8(out.bytes().to_vec()).expect("UTF-8");
        assert!(out.contains(theirs) && !out.contains(forged), "{out}");
        assert!(
            out.ends_with(
                "<delay xmlns=\"urn:xmpp:delay\" from=\"x\" stamp=\"1970-01-01T00:00:00.000Z\"/></message>"
            ),
            "{out}"
        );
    }
}
