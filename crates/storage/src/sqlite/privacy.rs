//! Privacy lists as rows: one a list, one a rule.

use rusqlite::{Connection, params};
use xmpp::{BareJid, Jid};

use super::client::Client;
use super::failure::{Failure, key};
use crate::{
    Answer, PrivacyAction, PrivacyItem, PrivacyKinds, PrivacyList, PrivacyLists, PrivacyStore,
    PrivacyWho, Subscription,
};

/// The step of the schema that brings the tables of this file.
pub(super) const SCHEMA: &str = "
    CREATE TABLE privacy_list (
        host TEXT NOT NULL,
        local TEXT NOT NULL,
        name TEXT NOT NULL,
        is_default INTEGER NOT NULL,
        PRIMARY KEY (host, local, name)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX privacy_default ON privacy_list (host, local) WHERE is_default = 1;
    CREATE TABLE privacy_item (
        host TEXT NOT NULL,
        local TEXT NOT NULL,
        list TEXT NOT NULL,
        place INTEGER NOT NULL,
        who TEXT NOT NULL,                         -- jid, group, subscription; empty: everyone
        value TEXT NOT NULL,
        action TEXT NOT NULL,
        kinds INTEGER NOT NULL,                    -- 1 message, 2 iq, 4 presence-in, 8 presence-out; 0: all
        PRIMARY KEY (host, local, list, place)
    ) STRICT, WITHOUT ROWID;
";

/// The store of privacy lists.
pub(super) struct SqlitePrivacy(pub(super) Client);

impl PrivacyStore for SqlitePrivacy {
    fn get<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, PrivacyLists> {
        Box::pin(async move {
            let known = &self.0.known().no_lists;
            let asked = match known.ask(owner.as_str()) {
                Ok(()) => return Ok(PrivacyLists::default()),
                Err(asked) => asked,
            };
            let whose = owner.clone();
            let lists = self
                .0
                .read("read privacy lists", move |connection| {
                    read(connection, &whose)
                })
                .await?;
            if lists == PrivacyLists::default() {
                known.note(asked, owner.as_str(), (), 1);
            }
            Ok(lists)
        })
    }

    fn put<'a>(&'a self, owner: &'a BareJid, lists: PrivacyLists) -> Answer<'a, ()> {
        Box::pin(async move {
            let owner = owner.clone();
            let rules: usize = lists.lists.iter().map(|list| list.items.len()).sum();
            let bytes = rules * size_of::<PrivacyItem>();
            let doubt = self.0.known().no_lists.doubt(owner.as_str());
            self.0
                .write("write privacy lists", bytes, move |connection| {
                    let _held = &doubt;
                    write(connection, &owner, &lists)
                })
                .await
        })
    }
}

pub(super) fn read(connection: &Connection, owner: &BareJid) -> Result<PrivacyLists, Failure> {
    let (host, local) = key(owner);
    let mut found = PrivacyLists::default();
    let mut statement = connection.prepare_cached(
        "SELECT name, is_default FROM privacy_list WHERE host = ?1 AND local = ?2 ORDER BY name",
    )?;
    let mut rows = statement.query(params![host, local])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if row.get(1)? {
            found.default = Some(name.clone());
        }
        found.lists.push(PrivacyList {
            items: items(connection, owner, &name)?,
            name,
        });
    }
    Ok(found)
}

fn items(
    connection: &Connection,
    owner: &BareJid,
    list: &str,
) -> Result<Vec<PrivacyItem>, Failure> {
    let (host, local) = key(owner);
    let mut statement = connection.prepare_cached(
        "SELECT place, who, value, action, kinds FROM privacy_item
         WHERE host = ?1 AND local = ?2 AND list = ?3 ORDER BY place",
    )?;
    let mut rows = statement.query(params![host, local, list])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let action: String = row.get(3)?;
        items.push(PrivacyItem {
            order: row.get(0)?,
            who: who(&row.get::<_, String>(1)?, row.get(2)?)?,
            action: PrivacyAction::from_word(&action).ok_or_else(|| {
                Failure::Damaged(format!("`{action}` is nothing that a rule can say"))
            })?,
            kinds: kinds(row.get(4)?),
        });
    }
    Ok(items)
}

pub(super) fn write(
    connection: &Connection,
    owner: &BareJid,
    lists: &PrivacyLists,
) -> Result<(), Failure> {
    let (host, local) = key(owner);
    for clear in [
        "DELETE FROM privacy_list WHERE host = ?1 AND local = ?2",
        "DELETE FROM privacy_item WHERE host = ?1 AND local = ?2",
    ] {
        connection
            .prepare_cached(clear)?
            .execute(params![host, local])?;
    }
    let mut add_list = connection.prepare_cached(
        "INSERT INTO privacy_list (host, local, name, is_default) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut add_item = connection.prepare_cached(
        "INSERT INTO privacy_item (host, local, list, place, who, value, action, kinds)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for list in &lists.lists {
        let is_default = lists.default.as_ref() == Some(&list.name);
        add_list.execute(params![host, local, list.name, is_default])?;
        for item in &list.items {
            let (who, value) = columns(&item.who);
            let (action, kinds) = (item.action.as_str(), bits(item.kinds));
            add_item.execute(params![
                host, local, list.name, item.order, who, value, action, kinds
            ])?;
        }
    }
    Ok(())
}

fn who(word: &str, value: String) -> Result<PrivacyWho, Failure> {
    let damaged = || Failure::Damaged(format!("`{word} {value}` is nobody that a rule can name"));
    Ok(match word {
        "" => PrivacyWho::Everyone,
        "jid" => PrivacyWho::Jid(Jid::new(&value).map_err(|_| damaged())?),
        "group" => PrivacyWho::Group(value),
        "subscription" => {
            PrivacyWho::Subscription(Subscription::from_word(&value).ok_or_else(damaged)?)
        }
        _ => return Err(damaged()),
    })
}

fn columns(who: &PrivacyWho) -> (&'static str, &str) {
    match who {
        PrivacyWho::Everyone => ("", ""),
        PrivacyWho::Jid(jid) => ("jid", jid.as_str()),
        PrivacyWho::Group(group) => ("group", group),
        PrivacyWho::Subscription(subscription) => ("subscription", subscription.as_str()),
    }
}

fn bits(kinds: PrivacyKinds) -> u8 {
    u8::from(kinds.message)
        | u8::from(kinds.iq) << 1
        | u8::from(kinds.presence_in) << 2
        | u8::from(kinds.presence_out) << 3
}

fn kinds(bits: u8) -> PrivacyKinds {
    PrivacyKinds {
        message: bits & 1 != 0,
        iq: bits & 2 != 0,
        presence_in: bits & 4 != 0,
        presence_out: bits & 8 != 0,
    }
}
