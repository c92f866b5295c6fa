//! The service as a whole: whom it refuses, who runs it, how it greets, when it ends (XEP-0133 §4.11, §4.12, §4.27 to
//! §4.31).

use std::collections::BTreeSet;
use std::time::Duration;

use gen_mod::prelude::*;
use storage::{HostList, Role};
use xmpp::{BareJid, parse_jid};

use super::{Ask, Order, parts};
use crate::adhoc::{Field, FieldKind, Filled, Step};

/// After how many seconds the service may be ended.
const DELAYS: [(&str, &str); 7] = [
    ("30", "30 seconds"),
    ("60", "60 seconds"),
    ("90", "90 seconds"),
    ("120", "2 minutes"),
    ("180", "3 minutes"),
    ("240", "4 minutes"),
    ("300", "5 minutes"),
];

/// The longest delay, in seconds: a day.
const MAX_DELAY: u64 = 86_400;

impl Ask<'_> {
    /// Edits the black or the white list.
    ///
    /// # Errors
    ///
    /// `jid-malformed`: an address cannot be read; `internal-server-error`: the store did not answer.
    pub(super) async fn edit_list(
        &self,
        list: HostList,
        filled: Option<&Filled>,
    ) -> Result<Step, StanzaError> {
        let var = format!("{}listjids", list.as_str());
        let host = self.host();
        let Some(filled) = filled else {
            let now = self.office.list(list).read().clone();
            let field = Field::new(FieldKind::JidMulti, var, "Addresses and domains");
            let field = field.with(now.iter().map(ToString::to_string));
            let form = self.duty.form("Edit the list; it replaces the one before.");
            return Ok(Step::ask(form.field(field)));
        };
        let jids = filled.all(&var).into_iter().map(parse_jid);
        let jids: Vec<Jid> = jids
            .collect::<Result<_, _>>()
            .map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
        let stored = jids.clone();
        host.storage
            .hosts
            .set_addresses(&host.name, list, stored)
            .await?;
        tracing::info!(target: "natter::admin", caller = self.caller.name, host = %host.name, list = list.as_str(), addresses = jids.len(), "a host's list was edited");
        *self.office.list(list).write() = jids.into();
        Ok(Step::said("The list is kept."))
    }

    /// Sets the words that greet new accounts, or greets them no more: starts or stops the module that does, as an
    /// operator would.
    ///
    /// # Errors
    ///
    /// Those of [`Ask::run`].
    pub(super) async fn welcome(&self, filled: Option<&Filled>) -> Result<Step, StanzaError> {
        const GREETER: &str = "mod_welcome";
        let host = &*self.host().name;
        if self.duty.node == "delete-welcome" {
            self.run("module_stop", &[host, GREETER], None).await?;
            return Ok(Step::said("New accounts are not greeted any more."));
        }
        let Some(filled) = filled else {
            let field = Field::new(FieldKind::TextMulti, "welcome", "The message").required();
            return Ok(Step::ask(
                self.duty.form("Fill out this form.").field(field),
            ));
        };
        filled.need("welcome")?;
        let message = format!("message={}", filled.text("welcome"));
        let running = self.host().modules.list();
        if running.iter().any(|row| row.name == GREETER) {
            self.run("module_stop", &[host, GREETER], None).await?;
        }
        self.run("module_start", &[host, GREETER, &message], None)
            .await?;
        Ok(Step::said("New accounts are greeted with it."))
    }

    /// Edits who administers the node. One is left, whoever that is.
    ///
    /// # Errors
    ///
    /// `not-acceptable`: nobody would be left; and those of [`Ask::account`] and [`Ask::run`].
    pub(super) async fn edit_admins(&self, filled: Option<&Filled>) -> Result<Step, StanzaError> {
        let privileged = self.host().storage.hosts.privileged().await?;
        let now: BTreeSet<BareJid> = privileged
            .into_iter()
            .filter(|(_, role)| *role == Role::Admin)
            .map(|(account, _)| account)
            .collect();
        let Some(filled) = filled else {
            let field = Field::new(FieldKind::JidMulti, "adminjids", "Administrators").required();
            let field = field.with(now.iter().map(ToString::to_string));
            let form = self.duty.form("Edit the list; it replaces the one before.");
            return Ok(Step::ask(form.field(field)));
        };
        let mut wanted = BTreeSet::new();
        for text in filled.all("adminjids") {
            wanted.insert(self.account(text).await?);
        }
        if wanted.is_empty() {
            return Err(Condition::NotAcceptable.text("somebody has to administer the server"));
        }
        // The new first: there is never nobody.
        for account in wanted.difference(&now) {
            let [node, domain] = parts(account);
            self.run("set_role", &[node, domain, Role::Admin.as_str()], None)
                .await?;
        }
        for account in now.difference(&wanted) {
            let [node, domain] = parts(account);
            self.run("set_role", &[node, domain, Role::User.as_str()], None)
                .await?;
        }
        Ok(Step::said("The list is kept."))
    }

    /// Ends the service after a while, and says so to those who are online.
    ///
    /// # Errors
    ///
    /// `not-acceptable`: the delay is none; and those of [`Ask::run`].
    pub(super) async fn end(
        &self,
        command: &'static str,
        filled: Option<&Filled>,
    ) -> Result<Step, StanzaError> {
        let Some(filled) = filled else {
            let mut delay = Field::new(FieldKind::ListSingle, "delay", "Time before the end");
            for (value, label) in DELAYS {
                delay = delay.option(value, label);
            }
            let announcement = Field::new(FieldKind::TextMulti, "announcement", "Announcement");
            let form = self
                .duty
                .form("Say when, and what the users are told before.");
            return Ok(Step::ask(
                form.field(delay.with(["30"])).field(announcement),
            ));
        };
        let delay: Option<u64> = match filled.one("delay") {
            None => Some(0),
            Some(delay) => delay.parse().ok().filter(|delay| *delay <= MAX_DELAY),
        };
        let delay = delay.ok_or_else(|| Condition::NotAcceptable.text("delay is in seconds"))?;
        if filled.one("announcement").is_some() {
            let text = filled.text("announcement");
            self.run("announce", &[&self.host().name, &text], None)
                .await?;
        }
        let order = Order(Duration::from_secs(delay), command, self.caller.clone());
        let then = if command == "restart" {
            " and starts anew"
        } else {
            ""
        };
        if !(self.office.end)(order) {
            return Err(Condition::InternalServerError.into());
        }
        Ok(Step::said(format!(
            "The service ends in {delay} seconds{then}."
        )))
    }
}
