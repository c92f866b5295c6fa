//! Privacy lists asked for and changed (XEP-0016 §2.3 to §2.8).

use gen_mod::prelude::*;
use session::Entry;
use storage::{PrivacyList, PrivacyLists, PrivacyWho};
use xmpp::Fragment;

use super::PrivacyOpts;
use super::wire::{Wish, list_element, names_element};
use crate::access::own_session;
use crate::privacy::{InUse, Privacy, Told};

/// Names the lists, or gives the rules of one.
///
/// # Errors
///
/// - `bad-request`: more than one list is asked for, or something else (§2.3).
/// - `item-not-found`: there is no such list.
/// - `forbidden`: they are another's; `service-unavailable` where the asker may not even know that account.
/// - `internal-server-error`: the store did not answer.
pub(super) async fn get(host: Host, iq: Iq) -> Result<Fragment, StanzaError> {
    let session = own_session(&host, &iq).await?;
    let wish = Wish::read(query(&iq)?)?;
    let engine = Privacy::of(&host);
    engine.use_lists(&session);
    let lists = engine.lists(&host, &session.jid.to_bare()).await?;
    match wish {
        None => {
            let active = engine.active(&host, &session.jid);
            Ok(names_element(&lists, active.as_deref()))
        }
        Some(Wish::List(name, items)) if items.is_empty() => match lists.list(&name) {
            Some(list) => Ok(list_element(list)),
            None => Err(Condition::ItemNotFound.into()),
        },
        Some(_) => Err(Condition::BadRequest.text("a get asks for one list by its name")),
    }
}

/// Writes or removes a list, chooses the active or the default one, or declines it.
///
/// # Errors
///
/// - `bad-request`: not exactly one wish, or a rule that says nothing (§2.1).
/// - `item-not-found`: there is no such list, or no such group in the roster.
/// - `conflict`: the list applies to another session (§2.2 rule 11).
/// - `resource-constraint`: more lists or rules than are kept (our choice).
/// - and those of [`get`].
pub(super) async fn set(host: Host, iq: Iq, opts: PrivacyOpts) -> Result<(), StanzaError> {
    let session = own_session(&host, &iq).await?;
    let engine = Privacy::of(&host);
    engine.use_lists(&session);
    let Some(wish) = Wish::read(query(&iq)?)? else {
        return Err(Condition::BadRequest.text("nothing is asked for"));
    };
    if let Wish::Active(name) = wish {
        return engine.activate(&host, &session, name).await;
    }
    if let Wish::List(_, items) = &wish {
        for item in items {
            if let PrivacyWho::Group(group) = &item.who {
                has_group(&host, &session, group).await?;
            }
        }
    }
    let edited = engine
        .edit(&host, &session, |lists, in_use| {
            apply(wish, lists, in_use, &opts)
        })
        .await?;
    edited.tell(&iq, Told::Everyone, None);
    Ok(())
}

fn apply(
    wish: Wish,
    lists: &mut PrivacyLists,
    in_use: &InUse,
    opts: &PrivacyOpts,
) -> Result<(), StanzaError> {
    let conflict = || Condition::Conflict.text("the list applies to another session");
    match wish {
        Wish::Active(_) => Ok(()),
        Wish::Default(name) => {
            if name.as_ref().is_some_and(|name| lists.list(name).is_none()) {
                return Err(Condition::ItemNotFound.into());
            }
            let before = lists.default.as_deref();
            let changes = before != name.as_deref();
            if changes && before.is_some() && in_use.as_default() {
                return Err(conflict());
            }
            lists.default = name;
            Ok(())
        }
        Wish::List(name, items) if items.is_empty() => {
            if lists.list(&name).is_none() {
                return Err(Condition::ItemNotFound.into());
            }
            if in_use.by_others(lists, &name) {
                return Err(conflict());
            }
            lists.lists.retain(|list| list.name != name);
            lists.default.take_if(|default| *default == name);
            Ok(())
        }
        Wish::List(name, items) => {
            let full = |what: &str, most: usize| {
                Condition::ResourceConstraint.text(format!("no more than {most} {what} are kept"))
            };
            if items.len() > opts.max_items {
                return Err(full("rules of a list", opts.max_items));
            }
            let many = lists.lists.len();
            match lists.lists.iter_mut().find(|list| list.name == name) {
                Some(list) => list.items = items,
                None if many >= opts.max_lists => return Err(full("lists", opts.max_lists)),
                None => {
                    let at = lists.lists.partition_point(|list| list.name < name);
                    lists.lists.insert(at, PrivacyList { name, items });
                }
            }
            Ok(())
        }
    }
}

/// §2.1: a group of a rule is one of the roster.
async fn has_group(host: &Host, session: &Entry, group: &String) -> Result<(), StanzaError> {
    let roster = host.storage.roster.get(&session.jid.to_bare()).await?;
    let known = roster.items.iter().any(|item| item.groups.contains(group));
    known
        .then_some(())
        .ok_or_else(|| Condition::ItemNotFound.text(format!("no contact is in group {group}")))
}

fn query(iq: &Iq) -> Result<&minidom::Element, StanzaError> {
    let payload = iq.stanza.dom().children().next();
    payload
        .filter(|query| query.is("query", ns::PRIVACY))
        .ok_or_else(|| Condition::BadRequest.text("not a privacy query"))
}
