//! `mod_last`: when was this account last seen, with what words did it leave, and how long has the server run?
//!
//! Source: XEP-0012 v2.0 §3 (account), §4 (resource), §5 (server). Hooks: `unset_presence`,
//! `user_receive_packet`. Stores: `last`. State: none.

use gen_mod::prelude::*;
use router::Folded;
use session::Sessions;
use session::hooks::{RosterGetJidInfo, Subscribed, UserReceivePacket, WentOffline};
use storage::LastSeen;
use xmpp::{BareJid, Fragment, IqType, Kind, Stanza};

/// Longest farewell that is kept, in characters.
const MAX_STATUS: usize = 1024;

/// Last Activity. Keeps no state: its process only holds its registrations.
pub struct ModLast;

impl Module for ModLast {
    const NAME: &'static str = "mod_last";
    const SOURCES: &'static [Source] = &[xep(12, "2.0", Complete)];
    type Opts = NoOpts;

    async fn start(_ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let registrations = Registrations::new()
            .feature(ns::LAST)
            .account_feature(ns::LAST)
            .iq_get(To::Host, ns::LAST, uptime)
            .iq_get(To::Account, ns::LAST, last_seen)
            .hook_wait_if::<UserReceivePacket, _, _, _>(
                Priority::EARLY,
                |_, packet| asks(&packet.stanza),
                keep_strangers_out,
            )
            .hook_wait::<WentOffline, _, _>(Priority::NORMAL, remember);
        Ok((ModLast, registrations))
    }
}

/// Answers how many whole seconds the server has run (§5).
async fn uptime(host: Host, _iq: Iq) -> Result<Fragment, StanzaError> {
    let running = host.clock.now() - host.system.started();
    Ok(answer(running.as_secs(), ""))
}

/// Answers how many whole seconds have passed since the account's last presence; 0 while a resource is
/// connected (§3).
///
/// # Errors
///
/// - `forbidden`: the asker may not see the account's presence.
/// - `item-not-found`: the account was never available (our choice; §3 is silent).
async fn last_seen(host: Host, iq: Iq) -> Result<Fragment, StanzaError> {
    let (account, asker) = (iq.to.to_bare(), iq.from.to_bare());
    if !may_see(&host, &account, &asker).await {
        return Err(Condition::Forbidden.into());
    }
    if !host
        .service::<Sessions>()
        .table
        .sessions(&account)
        .is_empty()
    {
        return Ok(answer(0, ""));
    }
    let Some(seen) = host.storage.last.seen(&account).await? else {
        return Err(Condition::ItemNotFound.into());
    };
    let ago = host
        .clock
        .wall()
        .duration_since(seen.at)
        .unwrap_or_default();
    Ok(answer(
        ago.as_secs(),
        seen.status.as_deref().unwrap_or_default(),
    ))
}

fn answer(seconds: u64, status: &str) -> Fragment {
    let seconds = seconds.to_string();
    Fragment::element("query", ns::LAST, &[("seconds", &seconds)], status)
}

async fn may_see(host: &Host, account: &BareJid, asker: &BareJid) -> bool {
    if account == asker {
        return true;
    }
    let fold = RosterGetJidInfo {
        account: account.clone(),
        contact: asker.clone(),
        subscribed: Subscribed::default(),
    };
    match host.router.fold_wait(fold).await {
        Folded::Done(fold) | Folded::Stopped(fold) => fold.subscribed.from,
        Folded::Dropped | Folded::Denied => false,
    }
}

fn asks(stanza: &Stanza) -> bool {
    stanza.kind() == Kind::Iq
        && stanza.iq_type() == IqType::Get
        && stanza.payload_ns() == Some(ns::LAST)
}

/// A query to a resource reaches it only from who may see its presence; others hear `forbidden` (§4).
async fn keep_strangers_out(host: Host, packet: UserReceivePacket) -> Flow<UserReceivePacket> {
    let stanza = &packet.stanza;
    let Some(asker) = stanza.from().map(Jid::to_bare) else {
        return Flow::Next(packet);
    };
    let account = packet.user.to_bare();
    if asker.as_str() == &*host.name || may_see(&host, &account, &asker).await {
        return Flow::Next(packet);
    }
    if let Some(refusal) = stanza.error_reply(&Condition::Forbidden.into()) {
        let refusal = host.router.answer(refusal, &packet.meta);
        host.router.route(refusal).await;
    }
    Flow::Drop
}

/// Keeps the farewell of the last resource to leave. A lost write costs one stale answer, so it is logged and
/// the fold goes on.
async fn remember(host: Host, gone: WentOffline) -> Flow<WentOffline> {
    if !gone.last {
        return Flow::Next(gone);
    }
    let seen = LastSeen {
        at: host.clock.wall(),
        status: gone
            .status
            .as_ref()
            .map(|status| status.chars().take(MAX_STATUS).collect()),
    };
    if let Err(error) = host.storage.last.remember(&gone.account, seen).await {
        tracing::warn!(target: "natter::last", account = %gone.account, %error, "last activity not kept");
    }
    Flow::Next(gone)
}
