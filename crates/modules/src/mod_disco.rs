//! `mod_disco`: who are you, and what else is here?
//!
//! Source: XEP-0030 v2.5.0 §3, §4, §8. Reads what the host's processes registered. State: none.

use std::collections::BTreeSet;
use std::sync::Arc;

use gen_mod::prelude::*;
use session::Sessions;
use xmpp::parse_jid;
use xmpp::payload::{
    DiscoInfoQuery, DiscoInfoResult, DiscoItemsQuery, DiscoItemsResult, Identity, Item,
};

use crate::access::only_friends;

options! {
    /// How the host introduces itself.
    pub struct DiscoOpts {
        /// Name of the server, shown to people.
        pub name: String = "Natter".into(),
    }
}

/// Service Discovery of the host and its accounts. Keeps no state: its process only holds its registrations.
pub struct ModDisco;

impl Module for ModDisco {
    const NAME: &'static str = "mod_disco";
    const SOURCES: &'static [Source] = &[xep(30, "2.5.0", Partial("no nodes, no paging of items"))];
    type Opts = DiscoOpts;

    async fn start(_ctx: &ModuleCtx, opts: DiscoOpts) -> Result<(Self, Registrations), StartError> {
        let name: Arc<str> = opts.name.into();
        let registrations = Registrations::new()
            .feature(ns::DISCO_INFO)
            .feature(ns::DISCO_ITEMS)
            .account_feature(ns::DISCO_INFO)
            .account_feature(ns::DISCO_ITEMS)
            .iq_get(To::Host, ns::DISCO_INFO, move |host, iq| {
                host_info(host, iq, Arc::clone(&name))
            })
            .iq_get(To::Host, ns::DISCO_ITEMS, host_items)
            .iq_get(To::Account, ns::DISCO_INFO, account_info)
            .iq_get(To::Account, ns::DISCO_ITEMS, account_items);
        Ok((ModDisco, registrations))
    }
}

/// Says what the host is and can do: what its processes registered, no more.
///
/// # Errors
///
/// `bad-request`: no such query; `item-not-found`: a node, of which there are none (§7).
async fn host_info(host: Host, iq: Iq, name: Arc<str>) -> Result<DiscoInfoResult, StanzaError> {
    no_node(iq.payload::<DiscoInfoQuery>()?.node)?;
    Ok(info(&host, To::Host, identity("server", "im", Some(&name))))
}

/// Lists the services of the host that are up.
///
/// # Errors
///
/// As [`host_info`].
async fn host_items(host: Host, iq: Iq) -> Result<DiscoItemsResult, StanzaError> {
    no_node(iq.payload::<DiscoItemsQuery>()?.node)?;
    let services = host.router.services(&host.name);
    Ok(items(
        services.iter().filter_map(|domain| parse_jid(domain).ok()),
    ))
}

/// Says what an account is and can do.
///
/// # Errors
///
/// As [`host_info`], and `service-unavailable` for strangers (§8).
async fn account_info(host: Host, iq: Iq) -> Result<DiscoInfoResult, StanzaError> {
    only_friends(&host, &iq).await?;
    no_node(iq.payload::<DiscoInfoQuery>()?.node)?;
    Ok(info(
        &host,
        To::Account,
        identity("account", "registered", None),
    ))
}

/// Lists the available resources of an account.
///
/// # Errors
///
/// As [`account_info`]. A stranger is not given an empty list, as §8 has it, since an account that does
/// not exist would have to answer alike, and RFC 6121 §8.5.1 has it answer `service-unavailable` (our choice).
async fn account_items(host: Host, iq: Iq) -> Result<DiscoItemsResult, StanzaError> {
    only_friends(&host, &iq).await?;
    no_node(iq.payload::<DiscoItemsQuery>()?.node)?;
    let resources = host.service::<Sessions>().table.available(&iq.to.to_bare());
    Ok(items(
        resources.iter().map(|entry| Jid::from(entry.jid.clone())),
    ))
}

fn no_node(node: Option<String>) -> Result<(), StanzaError> {
    match node {
        Some(_) => Err(Condition::ItemNotFound.into()),
        None => Ok(()),
    }
}

fn identity(category: &str, type_: &str, name: Option<&str>) -> Identity {
    let name = name.map(str::to_owned);
    Identity {
        category: category.to_owned(),
        type_: type_.to_owned(),
        lang: None,
        name,
    }
}

fn info(host: &Host, to: To, identity: Identity) -> DiscoInfoResult {
    let features: BTreeSet<String> = host
        .router
        .features(&host.name, to)
        .iter()
        .map(|name| name.to_string())
        .collect();
    DiscoInfoResult {
        node: None,
        identities: vec![identity],
        features,
        extensions: Vec::new(),
    }
}

fn items(jids: impl Iterator<Item = Jid>) -> DiscoItemsResult {
    let items = jids
        .map(|jid| Item {
            jid,
            node: None,
            name: None,
        })
        .collect();
    DiscoItemsResult {
        node: None,
        items,
        rsm: None,
    }
}
