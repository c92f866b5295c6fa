//! `mod_roster`: who are this account's contacts, and who sees whose presence?
//!
//! Source: RFC 6121 §2 (roster), §3 and Appendix A (subscriptions). Hooks: runs `roster_process_item`;
//! hears the session's roster and subscription hooks. Stores: `roster`. State: one lane per account, in which
//! a roster is read, folded, committed and pushed, so that all resources see one order of changes.

mod item;
mod query;
mod states;
mod subscription;

use std::sync::Arc;

use gen_mod::prelude::*;
use otp::Lanes;
use router::Flags;
use session::hooks::{
    PostAuthFeatures, RemoveUser, RosterGet, RosterGetJidInfo, RosterInSubscription,
    RosterOutSubscription, SelfPresence, Subscribed,
};
use session::{Entry, Sessions};
use storage::{Committed, RosterItem, StorageError};
use xmpp::{BareJid, IqType, PresenceType};

options! {
    /// How rosters are kept.
    pub struct RosterOpts {
        /// Most contacts of one roster.
        pub max_items: usize [1..] = 1000,
        /// Most unanswered requests of strangers to one account; later ones are ignored.
        pub max_requests: usize [1..] = 200,
        /// Whether clients may ask for changes since a version instead of the whole roster (RFC 6121 §2.6).
        pub versioning: bool = true,
    }
}

/// Rosters and subscriptions. Its process holds the registrations; the work is done by those who ask.
pub struct ModRoster;

/// What every handler is given.
#[derive(Clone)]
struct Rosters {
    host: Host,
    lanes: Lanes<BareJid>,
    opts: Arc<RosterOpts>,
}

impl Module for ModRoster {
    const NAME: &'static str = "mod_roster";
    const SOURCES: &'static [Source] = &[
        rfc(6121, "§2, §3, Appendix A", Complete),
        xep(237, "1.3", Complete),
    ];
    type Opts = RosterOpts;

    async fn start(ctx: &ModuleCtx, opts: RosterOpts) -> Result<(Self, Registrations), StartError> {
        let rosters = Rosters {
            host: ctx.host.clone(),
            lanes: Lanes::new(),
            opts: Arc::new(opts),
        };
        let offered = Arc::clone(&rosters.opts);
        let with = |rosters: &Rosters| rosters.clone();
        let (get, set) = (with(&rosters), with(&rosters));
        let (sends, hears, leaves) = (with(&rosters), with(&rosters), with(&rosters));
        let registrations = Registrations::new()
            .account_feature(ns::ROSTER)
            .iq_get(To::Account, ns::ROSTER, move |_, iq| {
                query::get(get.clone(), iq)
            })
            .iq_set(To::Account, ns::ROSTER, move |_, iq| {
                query::set(set.clone(), iq)
            })
            .hook::<PostAuthFeatures>(Priority::NORMAL, move |_, stream| offer(stream, &offered))
            .hook_wait::<RosterGet, _, _>(Priority::NORMAL, contacts)
            .hook_wait::<RosterGetJidInfo, _, _>(Priority::NORMAL, how_subscribed)
            .hook_wait::<SelfPresence, _, _>(Priority::NORMAL, show_requests)
            .hook_wait::<RosterOutSubscription, _, _>(Priority::NORMAL, move |_, asked| {
                subscription::sent(sends.clone(), asked)
            })
            .hook_wait::<RosterInSubscription, _, _>(Priority::NORMAL, move |_, asked| {
                subscription::heard(hears.clone(), asked)
            })
            .hook_wait::<RemoveUser, _, _>(Priority::NORMAL, move |_, gone| {
                subscription::end_all(leaves.clone(), gone)
            });
        Ok((ModRoster, registrations))
    }
}

/// Announces roster versioning (§2.6.1) and pre-approval (§3.4) to those who logged in.
fn offer(mut stream: PostAuthFeatures, opts: &RosterOpts) -> Flow<PostAuthFeatures> {
    if opts.versioning {
        stream
            .features
            .push(format!("<ver xmlns='{}'/>", ns::ROSTERVER));
    }
    stream
        .features
        .push(format!("<sub xmlns='{}'/>", ns::PRE_APPROVAL));
    Flow::Next(stream)
}

/// Lists an account's contacts for presence.
async fn contacts(host: Host, mut asked: RosterGet) -> Flow<RosterGet> {
    match host.storage.roster.get(&asked.account).await {
        Ok(roster) => {
            asked.contacts.extend(
                roster
                    .items
                    .into_iter()
                    .map(|item| (item.jid.clone(), seen(&item))),
            );
            Flow::Next(asked)
        }
        Err(error) => cannot_tell(&asked.account, &error),
    }
}

/// Says how presence flows between an account and one contact.
async fn how_subscribed(host: Host, mut asked: RosterGetJidInfo) -> Flow<RosterGetJidInfo> {
    match host
        .storage
        .roster
        .item(&asked.account, &asked.contact)
        .await
    {
        Ok(item) => {
            asked.subscribed = item.as_ref().map(seen).unwrap_or_default();
            Flow::Next(asked)
        }
        Err(error) => cannot_tell(&asked.account, &error),
    }
}

fn seen(item: &RosterItem) -> Subscribed {
    Subscribed {
        from: item.subscription.has_from(),
        to: item.subscription.has_to(),
    }
}

/// Shows a resource that comes the requests that wait for an answer, each as it was received (§3.1.3).
async fn show_requests(host: Host, mut shown: SelfPresence) -> Flow<SelfPresence> {
    if !shown.first {
        return Flow::Next(shown);
    }
    let account = shown.user.to_bare();
    match host.storage.roster.pending(&account).await {
        Ok(pending) => {
            for (contact, stanza) in pending {
                match Stanza::parse(&stanza) {
                    Ok(request) => shown.deliver.push(request),
                    Err(_) => {
                        tracing::error!(target: "natter::roster", %account, %contact, "stored request is no stanza")
                    }
                }
            }
        }
        Err(error) => {
            tracing::warn!(target: "natter::roster", %account, %error, "waiting requests not shown")
        }
    }
    Flow::Next(shown)
}

/// The store failed: whoever ran the hook must not take silence for an answer.
fn cannot_tell<H>(account: &BareJid, error: &StorageError) -> Flow<H> {
    tracing::error!(target: "natter::roster", %account, %error, "roster not read or written");
    Flow::Drop
}

impl Rosters {
    fn sessions(&self) -> &Sessions {
        self.host.service()
    }

    /// Tells every interested resource of a change that was committed (§2.1.6). To be called in the account's lane.
    async fn push(&self, owner: &BareJid, change: &str, committed: &Committed) {
        let version = self.told(committed.version(owner));
        for entry in self.sessions().table.interested(owner) {
            self.route(push_to(owner, &entry, change, version)).await;
        }
    }

    /// The version as clients are told it.
    fn told(&self, version: Option<u64>) -> Option<u64> {
        version.filter(|_| self.opts.versioning)
    }

    fn route(&self, stanza: Stanza) -> Routing {
        self.host.router.route(self.host.router.packet(stanza))
    }

    /// Puts a copy of a stanza straight into the mailboxes of these resources. Never waits; one that
    /// takes nothing any more is passed over.
    fn hand_to(&self, entries: &[Arc<Entry>], stanza: &Stanza) {
        for entry in entries {
            let mut packet = self.host.router.packet(stanza.clone());
            packet.meta.flags.insert(Flags::COPY);
            // Dropped when it comes back: a copy is not sent anywhere else.
            let _ = entry.pid.offer(
                packet.enclose(self.host.router.dead_letters()),
                session::Cast::Route,
            );
        }
    }

    /// The presence of every available resource of an account, for one contact.
    fn presences(&self, account: &BareJid, contact: &BareJid) -> Vec<Stanza> {
        let to = Jid::from(contact.clone());
        let of = self.sessions().table.available(account);
        of.iter()
            .filter_map(|entry| Some(entry.presence()?.edit().to(to.clone()).finish()))
            .collect()
    }

    /// The end of that presence, for one contact.
    fn farewells(&self, account: &BareJid, contact: &BareJid) -> Vec<Stanza> {
        let of = self.sessions().table.available(account);
        let farewell = |entry: &Arc<Entry>| {
            let gone =
                Stanza::presence(PresenceType::Unavailable).from(Jid::from(entry.jid.clone()));
            gone.to(Jid::from(contact.clone())).finish()
        };
        of.iter().map(farewell).collect()
    }
}

/// A roster push from the account to one of its resources, with an id of its own (§2.1.6).
fn push_to(owner: &BareJid, entry: &Entry, change: &str, version: Option<u64>) -> Stanza {
    Stanza::iq(IqType::Set, item::query(version, [change.to_owned()]))
        .from(Jid::from(owner.clone()))
        .to(Jid::from(entry.jid.clone()))
        .finish()
}
