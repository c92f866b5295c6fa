//! Changing an account's lists: one change at a time, written before it holds, told to those it concerns.

use std::sync::Arc;

use gen_mod::Host;
use otp::LaneGuard;
use router::{Flags, Iq};
use session::{Entry, Sessions};
use storage::{PrivacyLists, StorageError};
use xmpp::{BareJid, Fragment, IqType, Jid, Stanza, StanzaError, ns, push_attr};

use super::rules::blocked;
use super::settle::Scene;
use super::{Privacy, in_force};

/// Which lists apply to the account's other sessions: their active ones; none where the default does.
pub(crate) struct InUse(Vec<Option<String>>);

impl InUse {
    /// Whether a list of that name applies to another session.
    pub(crate) fn by_others(&self, lists: &PrivacyLists, name: &str) -> bool {
        let default = lists.default.as_deref();
        self.0
            .iter()
            .any(|active| active.as_deref().or(default) == Some(name))
    }

    /// Whether the default list applies to another session.
    pub(crate) fn as_default(&self) -> bool {
        self.0.iter().any(Option::is_none)
    }
}

/// A change that was made. Until it is told or dropped, no other of the account is.
pub(crate) struct Edited {
    host: Host,
    account: BareJid,
    engine: Privacy,
    old: Arc<PrivacyLists>,
    new: Arc<PrivacyLists>,
    lane: LaneGuard<BareJid>,
}

impl Privacy {
    /// Changes the lists of a session's account: `change` is given what there is and which of it others use.
    /// Writes it, makes it hold, and sends the presence that follows from it.
    ///
    /// # Errors
    ///
    /// Those of `change`; `internal-server-error` when the store or the roster did not answer. Nothing holds
    /// then that did not hold before, unless the store cannot tell.
    pub(crate) async fn edit(
        &self,
        host: &Host,
        session: &Arc<Entry>,
        change: impl FnOnce(&mut PrivacyLists, &InUse) -> Result<(), StanzaError>,
    ) -> Result<Edited, StanzaError> {
        let account = session.jid.to_bare();
        let lane = self.0.lanes.enter(account.clone()).await;
        let old = self.lists(host, &account).await?;
        let mut lists = PrivacyLists::clone(&old);
        change(&mut lists, &self.in_use(host, session))?;
        let new = Arc::new(lists);
        if *new != *old {
            let mut scene = Scene::read(host, &account).await?;
            self.write(host, &account, &old, &new, Some(session))
                .await?;
            scene.read_again(host, &account).await;
            for other in host.service::<Sessions>().table.sessions(&account) {
                let active = self.active(host, &other.jid);
                if active
                    .as_deref()
                    .is_some_and(|name| new.list(name).is_none())
                {
                    self.0.sessions.set_active(&other, None);
                }
                let before = in_force(&old, active.as_deref());
                let after = in_force(&new, active.as_deref());
                self.settle(host, &other, &scene, before, after).await;
            }
        }
        Ok(Edited {
            host: host.clone(),
            account,
            engine: self.clone(),
            old,
            new,
            lane,
        })
    }

    /// Makes a list the active one of a session, or none.
    ///
    /// # Errors
    ///
    /// `item-not-found`: there is no such list; `internal-server-error` as [`Privacy::edit`].
    pub(crate) async fn activate(
        &self,
        host: &Host,
        session: &Arc<Entry>,
        name: Option<String>,
    ) -> Result<(), StanzaError> {
        let account = session.jid.to_bare();
        let _lane = self.0.lanes.enter(account.clone()).await;
        let lists = self.lists(host, &account).await?;
        if name.as_ref().is_some_and(|name| lists.list(name).is_none()) {
            return Err(xmpp::Condition::ItemNotFound.into());
        }
        let mut scene = Scene::read(host, &account).await?;
        let before = self.0.sessions.set_active(session, name.clone());
        scene.read_again(host, &account).await;
        let before = in_force(&lists, before.as_deref());
        let after = in_force(&lists, name.as_deref());
        self.settle(host, session, &scene, before, after).await;
        Ok(())
    }

    /// Removes all lists of an account that is about to go.
    ///
    /// # Errors
    ///
    /// The store did not answer.
    pub(crate) async fn remove_all(
        &self,
        host: &Host,
        account: &BareJid,
    ) -> Result<(), StorageError> {
        let _lane = self.0.lanes.enter(account.clone()).await;
        let old = self.lists(host, account).await?;
        let none = Arc::default();
        self.write(host, account, &old, &none, None).await
    }

    /// Marks the session as one that hears of blocks, before its blocklist is read in the account's lane.
    pub(crate) async fn hear_blocks(
        &self,
        host: &Host,
        session: &Arc<Entry>,
    ) -> Result<(Vec<Jid>, LaneGuard<BareJid>), StorageError> {
        let account = session.jid.to_bare();
        let lane = self.0.lanes.enter(account.clone()).await;
        let lists = self.lists(host, &account).await?;
        self.0.sessions.hear_blocks(session);
        Ok((blocked(lists.default_list()), lane))
    }

    /// Notes that a session knows privacy lists.
    pub(crate) fn use_lists(&self, session: &Arc<Entry>) {
        self.0.sessions.use_lists(session);
    }

    async fn write(
        &self,
        host: &Host,
        account: &BareJid,
        old: &Arc<PrivacyLists>,
        new: &Arc<PrivacyLists>,
        anchor: Option<&Arc<Entry>>,
    ) -> Result<(), StorageError> {
        // Whoever is cut off in the middle leaves the doubt behind, and the store is asked from then on.
        self.doubt(account);
        let written = host
            .storage
            .privacy
            .put(account, PrivacyLists::clone(new))
            .await;
        match &written {
            Ok(()) => self.settled(account, new, anchor),
            Err(error) if !error.may_have_been_applied() => self.settled(account, old, anchor),
            Err(_) => {}
        }
        written
    }

    fn in_use(&self, host: &Host, session: &Entry) -> InUse {
        let sessions = host.service::<Sessions>();
        let of = sessions.table.sessions(&session.jid.to_bare());
        let others = of.iter().filter(|other| other.number != session.number);
        InUse(others.map(|other| self.active(host, &other.jid)).collect())
    }
}

/// Who is told that a list changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Every connected resource (XEP-0016 §2.2 rule 10).
    Everyone,
    /// Those that know privacy lists: the change came by blocking, which the others hear of in its own words.
    WhoUsesLists,
}

impl Edited {
    /// Tells the account's sessions behind the answer to `iq`: which lists changed, and what is blocked now
    /// and was not, or the other way round. `blocks` is said of that instead where the change came by blocking.
    pub(crate) fn tell(self, iq: &Iq, told: Told, blocks: Option<Fragment>) {
        let blocks = match blocks {
            Some(blocks) => vec![blocks],
            None => self.blocks(),
        };
        let lists = self.changed();
        iq.after_answer(move || {
            let sessions = &self.engine.0.sessions;
            for session in self
                .host
                .service::<Sessions>()
                .table
                .sessions(&self.account)
            {
                if told == Told::Everyone || sessions.uses_lists(&session) {
                    for list in &lists {
                        hand(&self.host, &session, &self.push(&session, list));
                    }
                }
                if sessions.hears_blocks(&session) {
                    for block in &blocks {
                        hand(&self.host, &session, &self.push(&session, block));
                    }
                }
            }
            drop(self.lane);
        });
    }

    fn push(&self, session: &Entry, payload: &Fragment) -> Stanza {
        Stanza::iq(IqType::Set, payload.clone())
            .from(Jid::from(self.account.clone()))
            .to(Jid::from((*session.jid).clone()))
            .finish()
    }

    /// A push for each list that is new, gone or other than before.
    fn changed(&self) -> Vec<Fragment> {
        let gone = self.old.lists.iter();
        let gone = gone.filter(|list| self.new.list(&list.name).is_none());
        let other = self.new.lists.iter();
        let other = other.filter(|list| self.old.list(&list.name) != Some(list));
        let push = |name: &str| {
            let mut query = format!("<query xmlns='{}'><list", ns::PRIVACY);
            push_attr("name", name, &mut query);
            query.push_str("/></query>");
            Fragment::from(query)
        };
        gone.chain(other).map(|list| push(&list.name)).collect()
    }

    fn blocks(&self) -> Vec<Fragment> {
        let old = blocked(self.old.default_list());
        let new = blocked(self.new.default_list());
        let only = |these: &[Jid], those: &[Jid]| -> Vec<Jid> {
            these
                .iter()
                .filter(|jid| !those.contains(jid))
                .cloned()
                .collect()
        };
        [("block", only(&new, &old)), ("unblock", only(&old, &new))]
            .into_iter()
            .filter(|(_, jids)| !jids.is_empty())
            .map(|(name, jids)| block_items(name, &jids))
            .collect()
    }
}

/// `<block/>`, `<unblock/>` or `<blocklist/>` around items.
pub(crate) fn block_items(name: &str, jids: &[Jid]) -> Fragment {
    let mut element = format!("<{name} xmlns='{}'>", ns::BLOCKING);
    for jid in jids {
        element.push_str("<item");
        push_attr("jid", jid.as_str(), &mut element);
        element.push_str("/>");
    }
    element.push_str(&format!("</{name}>"));
    Fragment::from(element)
}

/// Puts a copy of a stanza straight into a session's mailbox. Never waits; a session that takes nothing any
/// more is passed over.
pub(super) fn hand(host: &Host, session: &Entry, stanza: &Stanza) {
    let mut packet = host.router.packet(stanza.clone());
    packet.meta.flags.insert(Flags::COPY);
    // Dropped when it comes back: a copy is not sent anywhere else.
    let _ = session.pid.offer(
        packet.enclose(host.router.dead_letters()),
        session::Cast::Route,
    );
}
