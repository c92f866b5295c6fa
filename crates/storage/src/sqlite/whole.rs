//! Accounts as a whole: the rows of one owner out of all tables, and back into them.

use std::collections::HashSet;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};
use xmpp::BareJid;

use super::failure::{Failure, from_millis, key, to_millis};
use super::{accounts, offline, personal, privacy, roster, schema};
use crate::{Brought, IfThere, OfflineLimits, OfflineMessage, RosterItem, WholeAccount};

/// All that an account owns; none if there is no such account.
pub(super) fn get(
    connection: &Connection,
    address: &BareJid,
    now: SystemTime,
) -> Result<Option<WholeAccount>, Failure> {
    let Some(account) = accounts::read(connection, address)? else {
        return Ok(None);
    };
    Ok(Some(WholeAccount {
        address: address.clone(),
        credentials: account.credentials,
        created: Some(account.created),
        disabled: account.disabled,
        last: personal::last_seen(connection, address)?,
        roster: contacts(connection, address)?,
        offline: messages(connection, address, now)?,
        private: personal::all_private(connection, address)?,
        vcard: personal::vcard(connection, address)?,
        privacy: privacy::read(connection, address)?,
    }))
}

/// The contacts of the roster, and behind them those that have only asked.
fn contacts(connection: &Connection, owner: &BareJid) -> Result<Vec<RosterItem>, Failure> {
    let mut items = roster::items(connection, owner)?;
    let listed: HashSet<BareJid> = items.iter().map(|item| item.jid.clone()).collect();
    let mut asking = roster::pending(connection, owner)?;
    asking.retain(|(contact, _)| !listed.contains(contact));
    let asking = asking.into_iter();
    items.extend(asking.map(|(contact, stanza)| RosterItem::asking(contact, stanza)));
    Ok(items)
}

fn messages(
    connection: &Connection,
    owner: &BareJid,
    now: SystemTime,
) -> Result<Vec<OfflineMessage>, Failure> {
    let (host, local) = key(owner);
    let mut statement = connection.prepare_cached(
        "SELECT m.stanza, m.received, o.expires
         FROM offline o JOIN message m ON m.id = o.message
         WHERE o.host = ?1 AND o.local = ?2 AND (o.expires IS NULL OR o.expires > ?3)
         ORDER BY o.message",
    )?;
    let messages = statement
        .query_map(params![host, local, to_millis(now)], |row| {
            Ok(OfflineMessage {
                stanza: row.get(0)?,
                received: from_millis(row.get(1)?),
                expires: row.get::<_, Option<i64>>(2)?.map(from_millis),
                place: None,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(messages)
}

/// Puts an account and all it owns; what became of it, and the first place in the order of messages that none has.
pub(super) fn put(
    connection: &Connection,
    account: &WholeAccount,
    if_there: IfThere,
    now: SystemTime,
) -> Result<(Brought, i64), Failure> {
    let brought = make(connection, account, if_there, now)?;
    if matches!(brought, Brought::Made | Brought::Replaced) {
        fill(connection, account, now)?;
    }
    Ok((brought, schema::first_free_place(connection)?))
}

/// Makes the account, or empties it, as far as that is allowed.
fn make(
    connection: &Connection,
    account: &WholeAccount,
    if_there: IfThere,
    now: SystemTime,
) -> Result<Brought, Failure> {
    let address = &account.address;
    let (host, local) = key(address);
    let there: Option<bool> = connection
        .prepare_cached("SELECT removed IS NOT NULL FROM account WHERE host = ?1 AND local = ?2 AND released = 0")?
        .query_row(params![host, local], |row| row.get(0))
        .optional()?;
    let made = match (there, if_there) {
        (None, _) => {
            if !accounts::create(connection, address, &account.credentials, now)? {
                return Err(Failure::Damaged(format!("`{address}` is there and is not")));
            }
            Brought::Made
        }
        (Some(true), _) => return Ok(Brought::Removed),
        (Some(false), IfThere::Keep) => return Ok(Brought::Exists),
        (Some(false), IfThere::Replace) => {
            accounts::start_over(connection, address)?;
            accounts::put_credentials(connection, address, &account.credentials)?;
            Brought::Replaced
        }
    };
    connection
        .prepare_cached(
            "UPDATE account SET disabled = ?3, created = coalesce(?4, created) WHERE host = ?1 AND local = ?2",
        )?
        .execute(params![host, local, account.disabled, account.created.map(to_millis)])?;
    Ok(made)
}

/// Writes what the account owns into tables that hold nothing of it yet.
fn fill(connection: &Connection, account: &WholeAccount, now: SystemTime) -> Result<(), Failure> {
    let owner = &account.address;
    for item in &account.roster {
        roster::put(connection, owner, item, 0)?;
    }
    for message in &account.offline {
        let message = OfflineMessage {
            place: None,
            ..message.clone()
        };
        offline::store(connection, owner, &message, OfflineLimits::NONE, now)?;
    }
    personal::put_private(connection, owner, &account.private, u64::MAX)?;
    if let Some(vcard) = &account.vcard {
        personal::put_vcard(connection, owner, vcard)?;
    }
    if let Some(last) = &account.last {
        personal::remember(connection, owner, last)?;
    }
    privacy::write(connection, owner, &account.privacy)
}
