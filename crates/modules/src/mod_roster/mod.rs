//! `mod_roster`: who are this account's contacts, and who sees whose presence?
//!
//! Source: RFC 6121 §2 (roster), §3 and Appendix A (subscriptions). Hooks: runs `roster_process_item`
//! and `roster_items`; hears `roster_push` and the session's roster and subscription hooks. Stores: `roster`. State: one lane per account, in which
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

use crate::hooks::{RosterItems, RosterPush};

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
        let again = with(&rosters);
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
            .hook_wait::<RosterPush, _, _>(Priority::NORMAL, move |_, asked| {
                push_again(again.clone(), asked)
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

    /// Tells every interested resource of a change to a contact that was committed (§2.1.6); `own`: what the
    /// owner's roster says of it now. To be called in the account's lane.
    async fn push(
        &self,
        owner: &BareJid,
        contact: &BareJid,
        own: Option<&RosterItem>,
        committed: &Committed,
    ) {
        let interested = self.sessions().table.interested(owner);
        if !interested.is_empty() {
            let own = own.filter(|item| item.listed).cloned();
            let shown = self.shown(owner, own.into_iter().collect()).await;
            let version = committed.version(owner);
            self.push_shown(&interested, owner, contact, &shown, version)
                .await;
        }
    }

    async fn push_shown(
        &self,
        interested: &[Arc<Entry>],
        owner: &BareJid,
        contact: &BareJid,
        shown: &Shown,
        version: Option<u64>,
    ) {
        let version = version.and_then(|version| self.told(version, &shown.mark));
        let change = shown.change(contact);
        for entry in interested {
            self.route(push_to(owner, entry, &change, version.as_deref()))
                .await;
        }
    }

    /// What clients are shown: the owner's own items, these, and what others add.
    async fn shown(&self, owner: &BareJid, own: Vec<RosterItem>) -> Shown {
        if !self
            .host
            .router
            .has_handlers::<RosterItems>(&self.host.name)
        {
            return Shown {
                items: own,
                mark: String::new(),
            };
        }
        let fold = RosterItems {
            owner: owner.clone(),
            items: own.clone(),
            mark: String::new(),
        };
        match self.host.router.fold_wait(fold).await.value() {
            Some(fold) => Shown {
                items: fold.items,
                mark: fold.mark,
            },
            None => {
                tracing::warn!(target: "natter::roster", account = %owner, "shown without what others add");
                // No version of a whole roster looks like this one: the next reading is of the whole.
                Shown {
                    items: own,
                    mark: "?".to_owned(),
                }
            }
        }
    }

    /// The version as clients are told it: of the owner's own items, and the mark of what others add.
    fn told(&self, version: u64, mark: &str) -> Option<String> {
        let told = match mark {
            "" => version.to_string(),
            mark => format!("{version}.{mark}"),
        };
        self.opts.versioning.then_some(told)
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
                Stanza::presence(PresenceType::Unavailable).from(Jid::from((*entry.jid).clone()));
            gone.to(Jid::from(contact.clone())).finish()
        };
        of.iter().map(farewell).collect()
    }
}

/// What clients are shown of a roster.
struct Shown {
    items: Vec<RosterItem>,
    mark: String,
}

impl Shown {
    /// A contact as it is shown: an element for the inside of a query.
    fn change(&self, contact: &BareJid) -> String {
        match self.items.iter().find(|item| item.jid == *contact) {
            Some(item) => item::element(item),
            None => item::removed(contact),
        }
    }
}

/// What others add to a roster has changed: its owner's clients are told.
async fn push_again(rosters: Rosters, asked: RosterPush) -> Flow<RosterPush> {
    let _lane = rosters.lanes.enter(asked.owner.clone()).await;
    let interested = rosters.sessions().table.interested(&asked.owner);
    if interested.is_empty() {
        return Flow::Next(asked);
    }
    let roster = match rosters.host.storage.roster.get(&asked.owner).await {
        Ok(roster) => roster,
        Err(error) => return cannot_tell(&asked.owner, &error),
    };
    let version = Some(roster.version);
    let shown = rosters.shown(&asked.owner, roster.items).await;
    for (contact, was_shown) in &asked.contacts {
        if *was_shown || shown.items.iter().any(|item| item.jid == *contact) {
            rosters
                .push_shown(&interested, &asked.owner, contact, &shown, version)
                .await;
        }
    }
    Flow::Next(asked)
}

/// A roster push from the account to one of its resources, with an id of its own (§2.1.6).
fn push_to(owner: &BareJid, entry: &Entry, change: &str, version: Option<&str>) -> Stanza {
    Stanza::iq(IqType::Set, item::query(version, [change.to_owned()]))
        .from(Jid::from(owner.clone()))
        .to(Jid::from((*entry.jid).clone()))
        .finish()
}
