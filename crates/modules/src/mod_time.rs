//! `mod_time`: what time is it at the server?
//!
//! Source: XEP-0202 v2.0 §3, XEP-0082. State: none.

use gen_mod::prelude::*;
use xmpp::payload::TimeQuery;
use xmpp::{Fragment, format_date_time};

/// Entity Time of the host. Keeps no state: its process only holds its registrations.
pub struct ModTime;

impl Module for ModTime {
    const NAME: &'static str = "mod_time";
    const SOURCES: &'static [Source] = &[xep(202, "2.0", Complete)];
    type Opts = NoOpts;

    async fn start(_ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let registrations = Registrations::new()
            .feature(ns::TIME)
            .iq_get(To::Host, ns::TIME, time);
        Ok((ModTime, registrations))
    }
}

/// Answers with the time in UTC; a server's own zone helps nobody (our choice).
///
/// # Errors
///
/// `bad-request`: the payload is no such query.
async fn time(host: Host, iq: Iq) -> Result<Fragment, StanzaError> {
    let TimeQuery = iq.payload()?;
    let utc = format_date_time(host.clock.wall());
    Ok(Fragment::from(format!(
        "<time xmlns='{}'><tzo>+00:00</tzo><utc>{utc}</utc></time>",
        ns::TIME
    )))
}
