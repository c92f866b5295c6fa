//! `mod_disco`: who are you, and what else is here?
//!
//! Source: XEP-0030 v2.5.0 §3, §4, §8. Reads what the host's processes registered. Hooks: runs `disco_info`,
//! `disco_node`, `disco_items`; answers the first with the host's identity. State: none.

use std::sync::Arc;

use gen_mod::prelude::*;
use session::Sessions;
use xmpp::parse_jid;
use xmpp::payload::{
    DiscoInfoQuery, DiscoInfoResult, DiscoItemsQuery, DiscoItemsResult, Identity, Item,
};

use crate::access::only_friends;
use crate::disco::describe;
use crate::hooks::{DiscoInfo, DiscoItems, DiscoNode};

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
    const SOURCES: &'static [Source] = &[
        xep(30, "2.5.0", Partial("no paging of items")),
        xep(128, "1.0.1", Complete),
    ];
    type Opts = DiscoOpts;

    async fn start(_ctx: &ModuleCtx, opts: DiscoOpts) -> Result<(Self, Registrations), StartError> {
        let name: Arc<str> = opts.name.into();
        let registrations = Registrations::new()
            .feature(ns::DISCO_INFO)
            .feature(ns::DISCO_ITEMS)
            .account_feature(ns::DISCO_INFO)
            .account_feature(ns::DISCO_ITEMS)
            .hook::<DiscoInfo>(Priority::EARLY, move |_, asked| introduce(asked, &name))
            .iq_get(To::Host, ns::DISCO_INFO, host_info)
            .iq_get(To::Host, ns::DISCO_ITEMS, host_items)
            .iq_get(To::Account, ns::DISCO_INFO, account_info)
            .iq_get(To::Account, ns::DISCO_ITEMS, account_items);
        Ok((ModDisco, registrations))
    }
}

/// Says who it is that speaks.
fn introduce(mut asked: DiscoInfo, name: &str) -> Flow<DiscoInfo> {
    asked.info.identities.push(match asked.to {
        To::Host => identity("server", "im", Some(name)),
        To::Account => identity("account", "registered", None),
    });
    Flow::Next(asked)
}

/// Says what the host is and can do: what its processes registered and its modules add.
///
/// # Errors
///
/// `bad-request`: no such query; `item-not-found`: a node that no module knows (§7).
async fn host_info(host: Host, iq: Iq) -> Result<DiscoInfoResult, StanzaError> {
    info(host, iq, To::Host).await
}

/// Lists the services of the host that are up, and what its modules add.
///
/// # Errors
///
/// As [`host_info`].
async fn host_items(host: Host, iq: Iq) -> Result<DiscoItemsResult, StanzaError> {
    let services = host.router.services(&host.name);
    let services = services.iter().filter_map(|domain| parse_jid(domain).ok());
    items(&host, &iq, services.collect()).await
}

/// Says what an account is and can do.
///
/// # Errors
///
/// As [`host_info`], and `service-unavailable` for strangers (§8).
async fn account_info(host: Host, iq: Iq) -> Result<DiscoInfoResult, StanzaError> {
    only_friends(&host, &iq).await?;
    info(host, iq, To::Account).await
}

/// Lists the available resources of an account.
///
/// # Errors
///
/// As [`account_info`]. A stranger is not given an empty list, as §8 has it, since an account that does
/// not exist would have to answer alike, and RFC 6121 §8.5.1 has it answer `service-unavailable` (our choice).
async fn account_items(host: Host, iq: Iq) -> Result<DiscoItemsResult, StanzaError> {
    only_friends(&host, &iq).await?;
    let resources = host.service::<Sessions>().table.available(&iq.to.to_bare());
    let resources = resources
        .iter()
        .map(|entry| Jid::from((*entry.jid).clone()));
    items(&host, &iq, resources.collect()).await
}

async fn info(host: Host, iq: Iq, to: To) -> Result<DiscoInfoResult, StanzaError> {
    let Some(node) = iq.payload::<DiscoInfoQuery>()?.node else {
        return Ok(describe(&host, to));
    };
    let fold = DiscoNode {
        to: iq.to.clone(),
        from: iq.from.clone(),
        node: node.clone(),
        info: None,
    };
    let asked = host.router.fold_wait(fold).await.value();
    match asked.and_then(|asked| asked.info) {
        Some(info) => Ok(DiscoInfoResult {
            node: Some(node),
            ..info
        }),
        None => Err(Condition::ItemNotFound.into()),
    }
}

/// Lists what there is; `own` only where no node is asked for.
async fn items(host: &Host, iq: &Iq, own: Vec<Jid>) -> Result<DiscoItemsResult, StanzaError> {
    let node = iq.payload::<DiscoItemsQuery>()?.node;
    let item = |jid| Item {
        jid,
        node: None,
        name: None,
    };
    let fold = DiscoItems {
        to: iq.to.clone(),
        from: iq.from.clone(),
        items: node.is_none().then(|| own.into_iter().map(item).collect()),
        node: node.clone(),
    };
    let asked = host.router.fold_wait(fold).await.value();
    match asked.and_then(|asked| asked.items) {
        Some(items) => Ok(DiscoItemsResult {
            node,
            items,
            rsm: None,
        }),
        None => Err(Condition::ItemNotFound.into()),
    }
}

fn identity(category: &str, type_: &str, name: Option<&str>) -> Identity {
    Identity {
        category: category.to_owned(),
        type_: type_.to_owned(),
        lang: None,
        name: name.map(str::to_owned),
    }
}
