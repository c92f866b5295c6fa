//! Making an account, and removing one with all that hangs on it. Source: XEP-0077 §3.2; RFC 6121 §2.5 for its contacts.

use auth::{Password, RegisterError, StorageError};
use router::AccountGone;
use xmpp::{BareJid, FullJid, StreamCondition};

use crate::hooks::{RegisterUser, RemoveUser, UserRemoved};
use crate::sm::Sessions;

impl Sessions {
    /// Makes an account with this password, and tells the modules of its host.
    ///
    /// # Errors
    ///
    /// As [`auth::Auth::register`].
    pub async fn register_account(
        &self,
        account: &BareJid,
        password: Password,
    ) -> Result<(), RegisterError> {
        self.auth.register(account, password).await?;
        let event = RegisterUser {
            account: account.clone(),
        };
        let _ = self.router.fold_wait(event).await;
        Ok(())
    }

    /// Removes an account and all it owns in every store; `false` if there was none.
    ///
    /// In this order: nobody can log in to it any more; fold `remove_user`, in which its contacts hear that their
    /// subscriptions end; its stores are emptied and its name is kept from being given again; events `user_removed`
    /// and, for all hosts, `account_gone`; its sessions end, save the one named by `spared`, which its caller ends with
    /// [`Sessions::account_removed`].
    ///
    /// # Errors
    ///
    /// The store failed. The account is as it was then, unless the error is [`StorageError::Unknown`]; its contacts
    /// may have been told already.
    pub async fn remove_account(
        &self,
        account: &BareJid,
        spared: Option<&FullJid>,
    ) -> Result<bool, StorageError> {
        let Some(was_disabled) = self.auth.is_disabled(account).await? else {
            return Ok(false);
        };
        self.auth.set_disabled(account, true).await?;
        let fold = RemoveUser {
            account: account.clone(),
        };
        let _ = self.router.fold_wait(fold).await;
        let removed = match self.auth.remove(account).await {
            Ok(removed) => removed,
            Err(error) => {
                if !error.may_have_been_applied() && !was_disabled {
                    // As it was: its owner may try again.
                    self.auth.set_disabled(account, false).await?;
                }
                return Err(error);
            }
        };
        let event = UserRemoved {
            account: account.clone(),
        };
        let _ = self.router.fold_wait(event).await;
        let event = AccountGone {
            account: account.clone(),
        };
        let _ = self.router.fold_wait(event).await;
        for entry in self.table.sessions(account) {
            if spared != Some(&entry.jid) {
                let end = crate::Cast::End(gone());
                // Ended already: as wanted.
                let _ = entry.pid.control(end);
            }
        }
        Ok(removed)
    }

    /// Ends the session that asked for its account's removal, behind what it was sent until now.
    pub fn account_removed(&self, spared: &FullJid) {
        if let Some(entry) = self.table.session(spared) {
            // Ended already: as wanted.
            let _ = entry.pid.cast(crate::Cast::End(gone()));
        }
    }
}

fn gone() -> xmpp::StreamError {
    StreamCondition::NotAuthorized.text("the account was removed")
}
