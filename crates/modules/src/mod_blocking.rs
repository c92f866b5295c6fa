//! `mod_blocking`: whom does this account want to hear no more?
//!
//! Source: XEP-0191 v1.3. A face of the engine behind privacy lists: what is blocked are the rules of the default
//! list that deny an address everything (§5). Hooks: none. Stores: `privacy`. State: none.

use gen_mod::prelude::*;
use minidom::Element;
use storage::{PrivacyList, PrivacyLists};
use xmpp::{Fragment, parse_jid};

use crate::access::own_session;
use crate::privacy::{Privacy, Told, block_items, rules};

/// The name of the list that blocking makes where there is no default list.
const LIST: &str = "blocked";

options! {
    /// How many addresses are blocked.
    pub struct BlockingOpts {
        /// Most addresses that one account blocks.
        pub max_blocked: usize [1..] = 1000,
    }
}

/// Blocking Command. Keeps no state: its process only holds its registrations.
pub struct ModBlocking;

impl Module for ModBlocking {
    const NAME: &'static str = "mod_blocking";
    const SOURCES: &'static [Source] = &[xep(191, "1.3", Complete)];
    const DEPENDS: &'static [gen_mod::Depends] = &[needs("mod_privacy")];
    type Opts = BlockingOpts;

    async fn start(
        _ctx: &ModuleCtx,
        opts: BlockingOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let registrations = Registrations::new()
            .feature(ns::BLOCKING)
            .account_feature(ns::BLOCKING)
            .iq_get(To::Account, ns::BLOCKING, list)
            .iq_set(To::Account, ns::BLOCKING, move |host, iq| {
                change(host, iq, opts.max_blocked)
            });
        Ok((ModBlocking, registrations))
    }
}

/// Lists what is blocked; from now on the session hears of changes (§3.2).
///
/// # Errors
///
/// - `bad-request`: not a blocklist.
/// - `forbidden`: it is another's; `service-unavailable` where the asker may not even know that account.
/// - `internal-server-error`: the store did not answer.
async fn list(host: Host, iq: Iq) -> Result<Fragment, StanzaError> {
    let session = own_session(&host, &iq).await?;
    if payload(&iq).name() != "blocklist" {
        return Err(Condition::BadRequest.text("not a blocklist"));
    }
    let (blocked, lane) = Privacy::of(&host).hear_blocks(&host, &session).await?;
    // The lane is left behind the answer, so that no push overtakes it.
    iq.after_answer(move || drop(lane));
    Ok(block_items("blocklist", &blocked))
}

/// Blocks addresses (§3.3), or unblocks some or all (§3.4, §3.5).
///
/// # Errors
///
/// - `bad-request`: nobody is named to be blocked, or an item has no address.
/// - `jid-malformed`: an address cannot be read.
/// - `not-acceptable`: the account itself is named.
/// - `resource-constraint`: more are blocked than are kept (our choice).
/// - and those of [`list`].
async fn change(host: Host, iq: Iq, max_blocked: usize) -> Result<(), StanzaError> {
    let session = own_session(&host, &iq).await?;
    let request = payload(&iq);
    let jids = items(request)?;
    let blocks = match request.name() {
        "block" if jids.is_empty() => {
            return Err(Condition::BadRequest.text("nobody is named"));
        }
        "block" => true,
        "unblock" => false,
        _ => return Err(Condition::BadRequest.text("neither block nor unblock")),
    };
    let own = session.jid.to_bare();
    if blocks && jids.iter().any(|jid| jid.to_bare() == own) {
        return Err(Condition::NotAcceptable.text("nobody can block himself"));
    }
    let edited = Privacy::of(&host)
        .edit(&host, &session, |lists, _| {
            if !blocks {
                unblock(lists, &jids);
                return Ok(());
            }
            let list = default_list(lists);
            rules::block(list, &jids);
            if list.items.len() > max_blocked {
                return Err(Condition::ResourceConstraint
                    .text(format!("no more than {max_blocked} addresses are blocked")));
            }
            Ok(())
        })
        .await?;
    let told = block_items(request.name(), &jids);
    edited.tell(&iq, Told::WhoUsesLists, Some(told));
    Ok(())
}

/// The default list; where there is none it is made, under a name that no other list bears.
fn default_list(lists: &mut PrivacyLists) -> &mut PrivacyList {
    let default = lists.default_list().map(|list| list.name.clone());
    let name = default.unwrap_or_else(|| {
        let mut name = LIST.to_owned();
        while lists.list(&name).is_some() {
            name.push('_');
        }
        let items = Vec::new();
        let at = lists.lists.partition_point(|list| list.name < name);
        let list = PrivacyList { name, items };
        let name = list.name.clone();
        lists.lists.insert(at, list);
        lists.default = Some(name.clone());
        name
    });
    let mut all = lists.lists.iter_mut();
    all.find(|list| list.name == name)
        .expect("the default list is there or was just made")
}

/// Unblocks; a list that is left without rules goes, as none can be set without (XEP-0016 §2.8).
fn unblock(lists: &mut PrivacyLists, jids: &[Jid]) {
    if lists.default_list().is_none() {
        return;
    }
    let list = default_list(lists);
    rules::unblock(list, jids);
    if list.items.is_empty() {
        let name = lists.default.take();
        lists.lists.retain(|list| Some(&list.name) != name.as_ref());
    }
}

fn payload(iq: &Iq) -> &Element {
    let payload = iq.stanza.dom().children().next();
    payload.expect("a get or set in an IQ table has one payload")
}

fn items(request: &Element) -> Result<Vec<Jid>, StanzaError> {
    let items = request
        .children()
        .filter(|child| child.is("item", ns::BLOCKING));
    let address = |item: &Element| {
        let Some(jid) = item.attr("jid") else {
            return Err(Condition::BadRequest.text("an item needs a JID"));
        };
        parse_jid(jid).map_err(|error| Condition::JidMalformed.text(error.to_string()))
    };
    items.map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        parse_jid(text).expect("a JID")
    }

    #[test]
    fn blocking_makes_a_default_list_and_unblocking_removes_it() {
        let other = PrivacyList {
            name: LIST.into(),
            items: Vec::new(),
        };
        let mut lists = PrivacyLists {
            default: None,
            lists: vec![other],
        };
        rules::block(default_list(&mut lists), &[jid("a@x")]);
        assert_eq!(lists.default.as_deref(), Some("blocked_"));
        assert_eq!(lists.lists.len(), 2);
        assert_eq!(rules::blocked(lists.default_list()), [jid("a@x")]);
        unblock(&mut lists, &[jid("b@x")]);
        assert_eq!(rules::blocked(lists.default_list()), [jid("a@x")]);
        unblock(&mut lists, &[]);
        assert_eq!((lists.default.as_deref(), lists.lists.len()), (None, 1));
    }

    #[test]
    fn items_need_addresses() {
        let read = |content: &str| {
            let text = format!("<block xmlns='urn:xmpp:blocking'>{content}</block>");
            items(&text.parse().expect("XML")).map_err(|error| error.condition)
        };
        assert_eq!(read("<item/>"), Err(Condition::BadRequest));
        assert_eq!(read("<item jid='a@@b'/>"), Err(Condition::JidMalformed));
        assert_eq!(
            read("<item jid='A@X'/><item jid='y'/>"),
            Ok(vec![jid("a@x"), jid("y")])
        );
        assert_eq!(read(""), Ok(vec![]));
    }
}
