//! `mod_ping`: is anybody there?
//!
//! Source: XEP-0199 v2.0.1 §4.2 (client to server), §4.4 (server to server). State: none.

use gen_mod::prelude::*;
use xmpp::payload::Ping;

use crate::access::only_friends;

/// Ping. Keeps no state: its process only holds its registrations.
pub struct ModPing;

impl Module for ModPing {
    const NAME: &'static str = "mod_ping";
    const SOURCES: &'static [Source] = &[xep(
        199,
        "2.0.1",
        Partial("answers pings for the host and its accounts; does not ping idle clients"),
    )];
    type Opts = NoOpts;

    async fn start(_ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let registrations = Registrations::new()
            .feature(ns::PING)
            .account_feature(ns::PING)
            .iq_get(To::Host, ns::PING, host_lives)
            .iq_get(To::Account, ns::PING, account_lives);
        Ok((ModPing, registrations))
    }
}

/// Answers for the host with an empty result.
///
/// # Errors
///
/// `bad-request`: the payload is no ping.
async fn host_lives(_host: Host, iq: Iq) -> Result<(), StanzaError> {
    iq.payload::<Ping>().map(|_| ())
}

/// Answers for an account: a client that leaves `to` out pings its own server this way.
///
/// # Errors
///
/// - `bad-request`: the payload is no ping.
/// - `service-unavailable`: a stranger asks, who would learn that the account exists.
async fn account_lives(host: Host, iq: Iq) -> Result<(), StanzaError> {
    only_friends(&host, &iq).await?;
    host_lives(host, iq).await
}
