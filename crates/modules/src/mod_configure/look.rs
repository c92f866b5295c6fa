//! What there is to know of accounts: rosters, last logins, numbers and lists (XEP-0133 §4.8 to §4.10, §4.13 to §4.22).

use std::collections::BTreeMap;
use std::sync::Arc;

use gen_mod::prelude::*;
use session::{Entry, Sessions};
use xmpp::{BareJid, Show, format_date_time};

use super::Ask;
use crate::adhoc::{Field, FieldKind, Filled, Form, Step};

/// How many accounts one reading of the store brings.
const PAGE: usize = 500;

/// How many entries of a list can be asked for.
const MOST: [&str; 6] = ["25", "50", "75", "100", "150", "200"];

impl Ask<'_> {
    /// Roster, last login or statistics of accounts.
    ///
    /// # Errors
    ///
    /// Those of [`Ask::account`]; `internal-server-error`: the store did not answer.
    pub(super) async fn of_user(&self, filled: Option<&Filled>) -> Result<Step, StanzaError> {
        let var = match self.duty.node {
            "get-user-roster" => "accountjids",
            "get-user-lastlogin" => "accountjids",
            _ => "accountjid",
        };
        let Some(filled) = filled else {
            let kind = match var {
                "accountjids" => FieldKind::JidMulti,
                _ => FieldKind::JidSingle,
            };
            let field = Field::new(kind, var, "The account's address").required();
            return Ok(Step::ask(
                self.duty.form("Fill out this form.").field(field),
            ));
        };
        filled.need(var)?;
        let mut accounts = Vec::new();
        for text in filled.all(var) {
            accounts.push(self.account(text).await?);
        }
        let form = self.duty.form("").field(
            Field::new(FieldKind::JidMulti, var, "").with(accounts.iter().map(ToString::to_string)),
        );
        match self.duty.node {
            "get-user-roster" => self.rosters(form, &accounts).await,
            "get-user-lastlogin" => self.last_logins(form, &accounts).await,
            _ => self.statistics(form, &accounts[0]).await,
        }
    }

    /// The contacts of the accounts as a table; the source leaves open how they are shown.
    async fn rosters(&self, form: Form, accounts: &[BareJid]) -> Result<Step, StanzaError> {
        let mut rows = Vec::new();
        for account in accounts {
            for item in self.host().storage.roster.get(account).await?.items {
                rows.push(vec![
                    account.to_string(),
                    item.jid.to_string(),
                    item.name.unwrap_or_default(),
                    item.subscription.as_str().to_owned(),
                    item.groups.join(", "),
                ]);
            }
        }
        let columns = ["account", "jid", "name", "subscription", "groups"];
        Ok(Step::shown(Form {
            table: Some((columns.map(str::to_owned).to_vec(), rows)),
            ..form
        }))
    }

    /// When each account was here last: of those that are here, when they came.
    async fn last_logins(&self, form: Form, accounts: &[BareJid]) -> Result<Step, StanzaError> {
        let table = &self.host().service::<Sessions>().table;
        let mut field = Field::new(FieldKind::TextMulti, "lastlogin", "Last login");
        for account in accounts {
            let sessions = table.sessions(account);
            let last = match sessions.iter().map(|entry| entry.since).max() {
                Some(since) => Some(since),
                None => self
                    .host()
                    .storage
                    .last
                    .seen(account)
                    .await?
                    .map(|seen| seen.at),
            };
            let last = last.map_or_else(|| "never".to_owned(), format_date_time);
            field = match accounts.len() {
                1 => field.with([last]),
                // Of several it must be told whose each is.
                _ => field.with([format!("{account} {last}")]),
            };
        }
        Ok(Step::shown(form.field(field)))
    }

    /// What one account does here. What it sends in a second is the sum of its sessions, each on the average of its
    /// time; what it logs in in a minute is of the last hour (the source leaves both open).
    async fn statistics(&self, form: Form, account: &BareJid) -> Result<Step, StanzaError> {
        let all = self.host().service::<Sessions>();
        let sessions = all.table.sessions(account);
        let now = self.host().clock.wall();
        let per_second = sessions.iter().map(|entry| {
            let age = now.duration_since(entry.since).unwrap_or_default();
            entry.sent() as f64 / age.as_secs_f64().max(1.0)
        });
        // The sum of none is -0.
        let per_second = per_second.fold(0.0, |sum, rate| sum + rate);
        let per_minute = all.logins.per_minute(account);
        let roster = self.host().storage.roster.get(account).await?.items.len();
        let addresses = sessions.iter().filter_map(|entry| entry.address);
        let resources = sessions.iter().filter_map(|entry| {
            let jid = entry.jid.resource().as_str().to_owned();
            Some(jid).filter(|resource| !resource.is_empty())
        });
        let field = |kind, var: &str, label: &str| Field::new(kind, var, label);
        Ok(Step::shown(
            form.field(
                field(FieldKind::TextMulti, "ipaddresses", "IP addresses")
                    .with(addresses.map(|address| address.to_string())),
            )
            .field(
                field(FieldKind::TextSingle, "rostersize", "Roster size")
                    .with([roster.to_string()]),
            )
            .field(
                field(FieldKind::TextMulti, "onlineresources", "Online resources").with(resources),
            )
            .field(
                field(
                    FieldKind::TextSingle,
                    "stanzaspersecond",
                    "Stanzas sent per second",
                )
                .with([rate(per_second)]),
            )
            .field(
                field(
                    FieldKind::TextSingle,
                    "loginsperminute",
                    "Logins per minute",
                )
                .with([rate(per_minute)]),
            ),
        ))
    }

    /// A number of accounts, or a list of them.
    ///
    /// # Errors
    ///
    /// `internal-server-error`: the store did not answer.
    pub(super) async fn of_users(&self, filled: Option<&Filled>) -> Result<Step, StanzaError> {
        let node = self.duty.node;
        let is_number = node.ends_with("-num");
        if filled.is_none() && !is_number {
            let mut field = Field::new(FieldKind::ListSingle, "max_items", "Most entries");
            for most in MOST {
                field = field.option(most, most);
            }
            let form = self.duty.form("Fill out this form.");
            return Ok(Step::ask(
                form.field(field.option("none", "all").with(["25"])),
            ));
        }
        let which = node.trim_start_matches("get-");
        let which = which.split("-users").next().unwrap_or_default();
        if is_number && which == "registered" {
            let count = self
                .host()
                .storage
                .accounts
                .count(&self.host().name)
                .await?;
            return Ok(self.number(which, count));
        }
        let accounts = self.which(which).await?;
        if is_number {
            return Ok(self.number(which, accounts.len() as u64));
        }
        let most = filled.and_then(|filled| filled.one("max_items"));
        let most = most
            .and_then(|most| most.parse().ok())
            .unwrap_or(usize::MAX);
        let var = format!("{which}userjids");
        let field = Field::new(FieldKind::JidMulti, var, self.duty.title);
        let shown = accounts.iter().take(most).map(ToString::to_string);
        Ok(Step::shown(self.duty.form("").field(field.with(shown))))
    }

    fn number(&self, which: &str, count: u64) -> Step {
        let var = format!("{which}usersnum");
        let field = Field::new(FieldKind::TextSingle, var, self.duty.title);
        Step::shown(self.duty.form("").field(field.with([count.to_string()])))
    }

    async fn which(&self, which: &str) -> Result<Vec<BareJid>, StanzaError> {
        let host = self.host();
        match which {
            "registered" => self.registered().await,
            "disabled" => Ok(host.storage.hosts.disabled(&host.name).await?),
            _ => {
                let online = self.online();
                let is_active = |sessions: &[Arc<Entry>]| sessions.iter().any(|e| is_active(e));
                let wanted = |sessions: &[Arc<Entry>]| match which {
                    "active" => is_active(sessions),
                    "idle" => !is_active(sessions),
                    _ => true,
                };
                let of = online.into_iter().filter(|(_, sessions)| wanted(sessions));
                Ok(of.map(|(account, _)| account).collect())
            }
        }
    }

    async fn registered(&self) -> Result<Vec<BareJid>, StanzaError> {
        let host = self.host();
        let mut all: Vec<BareJid> = Vec::new();
        loop {
            let after = all
                .last()
                .and_then(|jid| jid.node())
                .map(|node| node.as_str().to_owned());
            let accounts = &host.storage.accounts;
            let page = accounts.list(&host.name, after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// The accounts that have an available resource, with their available resources.
    fn online(&self) -> BTreeMap<BareJid, Vec<Arc<Entry>>> {
        let mut online: BTreeMap<BareJid, Vec<Arc<Entry>>> = BTreeMap::new();
        for entry in self.host().service::<Sessions>().table.all() {
            let is_here = entry.jid.domain().as_str() == &*self.host().name;
            if is_here && entry.priority().is_some() {
                online.entry(entry.jid.to_bare()).or_default().push(entry);
            }
        }
        online
    }
}

/// A rate to three places, without those that say nothing.
fn rate(rate: f64) -> String {
    let text = format!("{rate:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether somebody sits there: a client that is away says so (the source leaves open who counts as idle).
fn is_active(entry: &Entry) -> bool {
    let presence = entry.presence();
    presence.is_some_and(|presence| !matches!(presence.show(), Some(Show::Away | Show::Xa)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        let rates = [0.0, 0.1, 3.0, 10.0, 1.0 / 3.0].map(rate);
        assert_eq!(rates, ["0", "0.1", "3", "10", "0.333"]);
    }
}
