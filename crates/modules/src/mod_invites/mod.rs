//! `mod_invites`: who may come in because somebody who lives here asked for it?
//!
//! Source: XEP-0401 v0.6.0, XEP-0445 v0.2.0, XEP-0379 v0.3.3 §3.4, §3.5. Hooks: `c2s_pre_auth_features`,
//! `c2s_unauthenticated_packet`, `register_invited`, `roster_in_subscription`, `adhoc_local_items`, `adhoc_local_commands`; runs
//! `roster_out_subscription`. Stores: `invites`, accounts through `auth`. State: which streams have shown a token; its
//! process sweeps out what has expired.

mod door;
mod friends;
mod offer;

use std::sync::Arc;
use std::time::Duration;

use gen_mod::prelude::*;
use session::hooks::{
    PreAuthFeatures, RegisterInvited, RosterInSubscription, UnauthenticatedPacket,
};
use storage::{Invite, InviteKind, StorageError};
use xmpp::{BareJid, random_id};

use crate::hooks::{AdhocCommands, AdhocStep};
use door::Door;

/// How often expired invitations are swept out; until then they only take room on the disk.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

options! {
    /// Who may invite, and how long invitations are good.
    pub struct InvitesOpts {
        /// How long an invitation is good unless it says otherwise.
        pub expire_after: Duration = Duration::from_secs(7 * 24 * 3600),
        /// Whether users, not only admins, make invitations to become their contact.
        pub users_invite: bool = true,
        /// Whether those who are invited by users may make an account here.
        pub users_bring_accounts: bool = false,
        /// Most invitations of one user that are open.
        pub max_per_user: usize [1..] = 50,
        /// Fewest characters of a password.
        pub password_min_length: usize = 0,
        /// Where a browser shows an invitation: an `https://` URL; `{token}` stands for the invitation's token, `@HOST@` for the host's name. Told with each invitation.
        pub landing_page: Option<String>,
    }
}

/// Why a `landing_page` cannot be one.
fn unfit(page: &str) -> Option<&'static str> {
    let is_url = page.starts_with("https://") || page.starts_with("http://");
    if !is_url || page.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("is no URL that begins with https://");
    }
    if page.matches("{token}").count() != 1 {
        return Some("must have `{token}` in it, once");
    }
    None
}

/// Invitations. Its process sweeps; the work is done by those who ask.
pub struct ModInvites;

/// A timer: sweep out what has expired.
struct Sweep;

/// What every handler is given.
#[derive(Clone)]
struct Desk {
    host: Host,
    opts: Arc<InvitesOpts>,
}

impl Module for ModInvites {
    const NAME: &'static str = "mod_invites";
    const SOURCES: &'static [Source] = &[
        xep(401, "0.6.0", Complete),
        xep(445, "0.2.0", Complete),
        xep(379, "0.3.3", Complete),
    ];
    type Opts = InvitesOpts;

    async fn start(
        ctx: &ModuleCtx,
        opts: InvitesOpts,
    ) -> Result<(Self, Registrations), StartError> {
        if let Some(page) = &opts.landing_page
            && let Some(why) = unfit(page)
        {
            return Err(StartError::Option {
                key: "landing_page",
                why: format!("`{page}` {why}"),
            });
        }
        ctx.send_after(SWEEP_EVERY, Sweep);
        let desk = Desk {
            host: ctx.host.clone(),
            opts: Arc::new(opts),
        };
        let door = Arc::new(Door::new(desk.clone()));
        let (first, last) = (Arc::clone(&door), door);
        let (hears, offers, steps) = (desk.clone(), desk.clone(), desk.clone());
        let elsewhere = desk.clone();
        let registrations = Registrations::new()
            .hook::<PreAuthFeatures>(Priority::LAST, |_, stream| door::offer(stream))
            .hook_wait::<UnauthenticatedPacket, _, _>(Priority::EARLY, move |_, asked| {
                door::invited(Arc::clone(&first), asked)
            })
            .hook_wait::<UnauthenticatedPacket, _, _>(Priority::LAST, move |_, asked| {
                door::uninvited(Arc::clone(&last), asked)
            })
            .hook_wait::<RegisterInvited, _, _>(Priority::NORMAL, move |_, asked| {
                door::elsewhere(elsewhere.clone(), asked)
            })
            .hook_wait::<RosterInSubscription, _, _>(Priority::EARLY, move |_, asked| {
                friends::asked(hears.clone(), asked)
            })
            .hook::<AdhocCommands>(Priority::NORMAL, move |_, asked| {
                offer::list(&offers, asked)
            })
            .hook_wait::<AdhocStep, _, _>(Priority::NORMAL, move |_, asked| {
                offer::step(steps.clone(), asked)
            })
            .command(offer::invite(&desk))
            .command(offer::invite_list(&desk))
            .command(offer::invite_remove(&desk));
        Ok((ModInvites, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        match info {
            Info::Message(message) if message.is::<Sweep>() => {
                ctx.send_after(SWEEP_EVERY, Sweep);
                let now = ctx.host.clock.wall();
                if let Err(error) = ctx.host.storage.invites.expire(now).await {
                    tracing::warn!(target: "natter::invites", %error, "expired invitations not swept out");
                }
            }
            Info::Route(parcel) => drop(parcel),
            Info::Message(_) | Info::Down(_) => {}
        }
    }
}

impl Desk {
    /// Makes an invitation.
    async fn create(
        &self,
        inviter: Option<BareJid>,
        kind: InviteKind,
        expire_after: Option<Duration>,
        max_uses: u32,
    ) -> Result<Invite, StorageError> {
        let now = self.host.clock.wall();
        let after = expire_after.unwrap_or(self.opts.expire_after);
        let invite = Invite {
            token: random_id(),
            host: self.host.name.to_string(),
            inviter,
            kind,
            created: now,
            expires: now.checked_add(after).unwrap_or(now),
            max_uses,
            uses: 0,
        };
        self.host.storage.invites.create(invite.clone()).await?;
        tracing::info!(target: "natter::invites", host = %self.host.name, inviter = ?invite.inviter.as_ref().map(ToString::to_string), "invitation made");
        Ok(invite)
    }

    /// Where a browser shows an invitation.
    fn landing(&self, invite: &Invite) -> Option<String> {
        let page = self.opts.landing_page.as_ref()?;
        let host = &invite.host;
        Some(
            page.replace("@HOST@", host)
                .replace("{token}", &invite.token),
        )
    }

    /// The invitation of that token, while it is good.
    async fn good(&self, token: &str) -> Result<Option<Invite>, StorageError> {
        let found = self
            .host
            .storage
            .invites
            .get(&self.host.name, token)
            .await?;
        let now = self.host.clock.wall();
        Ok(found.filter(|invite| invite.is_good(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_landing_page_is_a_url_with_a_place_for_the_token() {
        for page in ["https://@HOST@:5443/invite/{token}", "http://x/?i={token}"] {
            assert_eq!(unfit(page), None, "{page}");
        }
        for page in [
            "x.example/{token}",
            "javascript:{token}",
            "https://x.example/invite/",
            "https://x.example/{token}/{token}",
            "https://x.example/ {token}",
        ] {
            assert!(unfit(page).is_some(), "{page}");
        }
    }
}
