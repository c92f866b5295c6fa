//! `mod_stats`: how many are here, and for how long has the server run?
//!
//! Source: XEP-0039 v0.6.0. State: none.

use gen_mod::prelude::*;
use session::Sessions;
use storage::StorageError;
use xmpp::{Fragment, push_attr};

/// Statistics of the host, for its own accounts. Keeps no state: its process only holds its registrations.
pub struct ModStats;

/// What can be asked: name and unit.
const KNOWN: [(&str, &str); 3] = [
    ("time/uptime", "seconds"),
    ("users/online", "users"),
    ("users/total", "users"),
];

impl Module for ModStats {
    const NAME: &'static str = "mod_stats";
    const SOURCES: &'static [Source] = &[xep(
        39,
        "0.6.0",
        Partial("time/uptime, users/online and users/total of a host"),
    )];
    type Opts = NoOpts;

    async fn start(_ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let registrations =
            Registrations::new()
                .feature(ns::STATS)
                .iq_get(To::Host, ns::STATS, stats);
        Ok((ModStats, registrations))
    }
}

/// Answers with the names of what can be asked, or with the values of what is asked.
///
/// # Errors
///
/// `forbidden`: not an account of this host (our choice); `bad-request`: no such query.
async fn stats(host: Host, iq: Iq) -> Result<Fragment, StanzaError> {
    if iq.from.node().is_none() || iq.from.domain().as_str() != &*host.name {
        return Err(Condition::Forbidden.into());
    }
    let query = iq.stanza.dom().children().next();
    let query = query
        .filter(|query| query.is("query", ns::STATS))
        .ok_or(Condition::BadRequest)?;
    let asked: Vec<&str> = query
        .children()
        .filter(|child| child.is("stat", ns::STATS))
        .filter_map(|stat| stat.attr("name"))
        .take(KNOWN.len() * 2)
        .collect();
    let mut answer = format!("<query xmlns='{}'>", ns::STATS);
    if asked.is_empty() {
        for (name, _) in KNOWN {
            answer.push_str(&format!("<stat name='{name}'/>"));
        }
    }
    for name in asked {
        answer.push_str("<stat");
        push_attr("name", name, &mut answer);
        match KNOWN.iter().find(|(known, _)| *known == name) {
            Some((name, unit)) => {
                let value = value(&host, name).await?;
                answer.push_str(&format!(" units='{unit}' value='{value}'/>"));
            }
            None => answer.push_str("><error code='404'>Not Found</error></stat>"),
        }
    }
    answer.push_str("</query>");
    Ok(Fragment::from(answer))
}

async fn value(host: &Host, name: &str) -> Result<u64, StorageError> {
    match name {
        "time/uptime" => Ok((host.clock.now() - host.system.started()).as_secs()),
        "users/online" => {
            let sessions = host.service::<Sessions>().table.all();
            let here = sessions
                .iter()
                .filter(|entry| entry.jid.domain().as_str() == &*host.name);
            Ok(here.count() as u64)
        }
        _ => host.storage.accounts.count(&host.name).await,
    }
}
