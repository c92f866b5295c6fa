//! `mod_disco`: who are you, and what else is here?
//!
//! Source: XEP-0030 v2.5.0 §3, §4, §8. Reads what the host's processes registered. Hooks: runs `disco_info`,
//! `disco_node`, `disco_items`; answers the first with the host's identity. State: none.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use gen_mod::prelude::*;
use session::Sessions;
use xmpp::payload::{
    DiscoInfoQuery, DiscoInfoResult, DiscoItemsQuery, DiscoItemsResult, Identity, Item,
};
use xmpp::{Fragment, Payload, parse_jid};

use crate::access::only_friends;
use crate::disco::Kept;
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
            .iq_get(To::Host, ns::DISCO_INFO, answering(To::Host))
            .iq_get(To::Host, ns::DISCO_ITEMS, host_items)
            .iq_get(To::Account, ns::DISCO_INFO, answering(To::Account))
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

/// Says what the host or an account is and can do: what processes registered and modules add.
///
/// # Errors
///
/// `bad-request`: no such query; `item-not-found`: a node that no module knows (§7); `service-unavailable`: a stranger
/// asks about an account (§8).
fn answering(to: To) -> impl Fn(Host, Iq) -> Answer + Clone {
    let kept: Kept<Fragment> = Kept::default();
    move |host, iq| {
        let kept = kept.clone();
        Box::pin(async move {
            if to == To::Account {
                only_friends(&host, &iq).await?;
            }
            match iq.payload::<DiscoInfoQuery>()?.node {
                None => Ok(kept.of(&host, to, |info| info.to_fragment())),
                Some(node) => info_of_node(&host, &iq, node).await,
            }
        })
    }
}

type Answer = BoxFuture<'static, Result<Fragment, StanzaError>>;

/// Lists the services of the host that are up, and what its modules add.
///
/// # Errors
///
/// As of [`answering`].
async fn host_items(host: Host, iq: Iq) -> Result<DiscoItemsResult, StanzaError> {
    let services = host.router.services(&host.name);
    let services = services.iter().filter_map(|domain| parse_jid(domain).ok());
    items(&host, &iq, services.collect()).await
}

/// Lists the available resources of an account.
///
/// # Errors
///
/// As of [`answering`]. A stranger is not given an empty list, as §8 has it, since an account that does
/// not exist would have to answer alike, and RFC 6121 §8.5.1 has it answer `service-unavailable` (our choice).
async fn account_items(host: Host, iq: Iq) -> Result<DiscoItemsResult, StanzaError> {
    only_friends(&host, &iq).await?;
    let resources = host.service::<Sessions>().table.available(&iq.to.to_bare());
    let resources = resources
        .iter()
        .map(|entry| Jid::from((*entry.jid).clone()));
    items(&host, &iq, resources.collect()).await
}

async fn info_of_node(host: &Host, iq: &Iq, node: String) -> Result<Fragment, StanzaError> {
    let fold = DiscoNode {
        to: iq.to.clone(),
        from: iq.from.clone(),
        node: node.clone(),
        info: None,
    };
    let asked = host.router.fold_wait(fold).await.value();
    match asked.and_then(|asked| asked.info) {
        Some(info) => {
            let node = Some(node);
            Ok(DiscoInfoResult { node, ..info }.to_fragment())
        }
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
