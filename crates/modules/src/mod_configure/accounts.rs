//! Accounts made, removed, disabled, and their passwords changed (XEP-0133 §4.1 to §4.7).

use gen_mod::prelude::*;
use xmpp::BareJid;

use super::{Ask, parts};
use crate::adhoc::{Field, FieldKind, Filled, Step};

impl Ask<'_> {
    /// One of the commands that change accounts.
    ///
    /// # Errors
    ///
    /// `conflict`: an account to be made exists; `not-allowed`: nobody is shown a password; and those of
    /// [`Ask::account`] and [`Ask::run`].
    pub(super) async fn accounts(&self, filled: Option<&Filled>) -> Result<Step, StanzaError> {
        let single = |kind, var, label| Field::new(kind, var, label).required();
        if self.duty.node == "get-user-password" {
            return Err(Condition::NotAllowed
                .text("passwords are not kept, only what proves them; set another instead"));
        }
        let Some(filled) = filled else {
            let form = self.duty.form("Fill out this form.");
            let account = single(FieldKind::JidSingle, "accountjid", "The account's address");
            let password = single(FieldKind::TextPrivate, "password", "The password");
            return Ok(Step::ask(match self.duty.node {
                "add-user" => form.field(account).field(password).field(single(
                    FieldKind::TextPrivate,
                    "password-verify",
                    "The password once more",
                )),
                "change-user-password" => form.field(account).field(password),
                _ => form.field(single(
                    FieldKind::JidMulti,
                    "accountjids",
                    "The accounts' addresses",
                )),
            }));
        };
        match self.duty.node {
            "add-user" => self.add(filled).await,
            "change-user-password" => {
                let account = self.account(filled.need("accountjid")?).await?;
                let password = Some(filled.need("password")?);
                self.run("change_password", &parts(&account), password)
                    .await?;
                Ok(Step::said(format!("The password of {account} is changed.")))
            }
            "end-user-session" => self.end_sessions(filled).await,
            "delete-user" => self.each(filled, "unregister").await,
            "disable-user" => self.each(filled, "ban_account").await,
            _ => self.each(filled, "unban_account").await,
        }
    }

    async fn add(&self, filled: &Filled) -> Result<Step, StanzaError> {
        let account: BareJid = self.address(filled.need("accountjid")?)?.to_bare();
        let password = filled.need("password")?;
        if filled
            .one("password-verify")
            .is_some_and(|again| again != password)
        {
            return Err(Condition::NotAcceptable.text("the two passwords differ"));
        }
        if self.host().storage.accounts.exists(&account).await? {
            return Err(Condition::Conflict.text(format!("{account} exists")));
        }
        self.run("register", &parts(&account), Some(password))
            .await?;
        Ok(Step::said(format!("{account} is made.")))
    }

    /// Does the same with each account that is named, once all are known to be there.
    async fn each(&self, filled: &Filled, command: &str) -> Result<Step, StanzaError> {
        filled.need("accountjids")?;
        let mut accounts = Vec::new();
        for text in filled.all("accountjids") {
            accounts.push(self.account(text).await?);
        }
        for account in &accounts {
            self.run(command, &parts(account), None).await?;
        }
        Ok(Step::said(format!("Done for {} accounts.", accounts.len())))
    }

    /// Ends one session where a full JID is named, all of the account's where a bare one is (§4.5).
    async fn end_sessions(&self, filled: &Filled) -> Result<Step, StanzaError> {
        filled.need("accountjids")?;
        let mut addresses = Vec::new();
        for text in filled.all("accountjids") {
            let jid = self.address(text)?;
            self.account(jid.to_bare().as_str()).await?;
            addresses.push(jid);
        }
        for jid in &addresses {
            let account = jid.to_bare();
            let [node, domain] = parts(&account);
            match jid.resource() {
                Some(resource) => {
                    let words = [node, domain, resource.as_str()];
                    self.run("kick_session", &words, None).await?;
                }
                None => drop(self.run("kick_user", &[node, domain], None).await?),
            }
        }
        Ok(Step::said("The sessions end."))
    }
}
