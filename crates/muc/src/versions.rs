//! Versions of affiliations: what changed since somebody was last here (XEP-0463).

use storage::Affiliated;
use xmpp::{Condition, FullJid, Jid, MessageType, Stanza, StanzaError, ns};

use crate::outbox::Out;
use crate::room::Room;
use crate::stanzas::{Item, x_user};

/// The namespace.
pub(crate) const MAV: &str = "urn:xmpp:muc:affiliations:1";

/// How many items one message holds.
const ITEMS: usize = 100;

/// `<mav/>` from one version to another.
pub(crate) fn mark(since: Option<i64>, until: i64) -> String {
    let mut out = String::from("<mav");
    xmpp::push_attr("xmlns", MAV, &mut out);
    if let Some(since) = since {
        xmpp::push_attr("since", &since.to_string(), &mut out);
    }
    xmpp::push_attr("until", &until.to_string(), &mut out);
    out.push_str("/>");
    out
}

impl Room {
    /// Tells somebody who comes what changed since the version it knows, before anything else (§4.2.1). Whether the
    /// current version is to be told with its presence.
    ///
    /// Who may not read the lists is told `forbidden` in a message and comes in all the same. A version that is not
    /// ours, or is older than the asker's own affiliation, is answered with all there is: that tells nothing of a
    /// past the asker had no part in (our choice; §6 would have an error there, also for one who was promoted).
    pub(crate) async fn tell_versions(
        &mut self,
        stanza: &Stanza,
        from: &FullJid,
    ) -> Result<bool, StanzaError> {
        let x = stanza.dom().get_child("x", ns::MUC);
        let Some(mav) = x.and_then(|x| x.get_child("mav", MAV)) else {
            return Ok(false);
        };
        let to = Jid::from(from.clone());
        let by = self.standing(&to).await?;
        let all = [
            storage::Affiliation::Outcast,
            storage::Affiliation::Member,
            storage::Affiliation::Admin,
            storage::Affiliation::Owner,
        ];
        if !all.into_iter().all(|list| self.may_list(by, list)) {
            let refused = Stanza::message(MessageType::Error)
                .from(self.here())
                .to(to)
                .id(stanza.id().map(str::to_owned))
                .append(StanzaError::from(Condition::Forbidden).to_fragment())
                .finish();
            self.outbox.push(Out::One(refused));
            return Ok(false);
        }
        let own = self.affiliations.row(&from.to_bare());
        let own = own.map_or(0, |row| row.version);
        let since: Option<i64> = mav.attr("since").and_then(|since| since.parse().ok());
        let since = since.filter(|since| *since >= own);
        let changes = since.and_then(|since| Some((since, self.affiliations.since(since)?)));
        let messages = match changes {
            Some((_, changes)) if changes.is_empty() => Vec::new(),
            Some((since, mut changes)) => {
                changes.sort_by_key(|row| row.version);
                self.in_parts(Some(since), &changes, &to)
            }
            None => {
                let all: Vec<&Affiliated> = self.affiliations.all().collect();
                self.in_parts(None, &all, &to)
            }
        };
        for message in messages {
            self.outbox.push(Out::One(message));
        }
        Ok(true)
    }

    /// The answer in messages of so many items. Parts of a difference follow one another by their versions; of a
    /// full answer only the last tells a version, since half of it is none.
    fn in_parts(&self, since: Option<i64>, rows: &[&Affiliated], to: &Jid) -> Vec<Stanza> {
        let mut from = since;
        let mut parts: Vec<&[&Affiliated]> = rows.chunks(ITEMS).collect();
        if parts.is_empty() || since.is_none() {
            // One message, however long: XEP-0463 has no way to say that a full answer goes on.
            parts = vec![rows];
        }
        let count = parts.len();
        let mut messages = Vec::new();
        for (number, part) in parts.into_iter().enumerate() {
            let until = match part.last() {
                Some(last) if number + 1 < count => last.version,
                _ => self.affiliations.version(),
            };
            let jids: Vec<Jid> = part.iter().map(|row| Jid::from(row.jid.clone())).collect();
            let items: Vec<Item<'_>> = part
                .iter()
                .zip(&jids)
                .map(|(row, jid)| Item {
                    affiliation: row.affiliation,
                    role: None,
                    jid: Some(jid),
                    nick: row.nick.as_deref(),
                    actor: None,
                    reason: None,
                })
                .collect();
            messages.push(
                Stanza::message(MessageType::Normal)
                    .from(self.here())
                    .to(to.clone())
                    .id(xmpp::random_id())
                    .append(x_user(&mark(from, until), &items, &[]))
                    .finish(),
            );
            from = since.map(|_| until);
        }
        messages
    }

    /// The mark of the current version, for somebody who asked for it.
    pub(crate) fn current_mark(&self) -> String {
        mark(None, self.affiliations.version())
    }
}
