//! What Prosody's stores say of one account.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth::{Password, ScramKeys};
use storage::RosterItem;
use xml::escape_attr;
use xmpp::{parse_date_time, parse_jid};
use zeroize::Zeroizing;

use super::lua::{Table, Value};
use super::tree;
use crate::builder::{Builder, clean, contact, parse};
use crate::lists;

/// What does not come along, in words that are the same for all of its kind.
pub(super) type LeftOut = Vec<String>;

/// Reads the store `accounts`: keys of the password, or the password itself.
///
/// # Errors
///
/// In words: keys that cannot be used.
pub(super) fn account(builder: &mut Builder, data: &Table) -> Result<(), String> {
    let account = builder.account();
    account.disabled = data.get("disabled") == Some(&Value::Bool(true));
    account.created = data.get("created").and_then(Value::number).and_then(time);
    if let Some(password) = data
        .text("password")
        .filter(|password| !password.is_empty())
    {
        builder.password(Password::from(password));
        return Ok(());
    }
    let keys = (
        data.text("stored_key"),
        data.text("server_key"),
        data.get("salt"),
    );
    let (Some(stored), Some(server), Some(Value::Text(salt))) = keys else {
        return Ok(());
    };
    let stored_key = hex(stored).ok_or("the stored key is not hexadecimal")?;
    let server_key = hex(server).ok_or("the server key is not hexadecimal")?;
    let mechanism = ScramKeys::mechanism_of_length(stored_key.len());
    let mechanism = mechanism.ok_or("the stored key is as long as no hash known here")?;
    let count = data.get("iteration_count").and_then(Value::number);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked before"
    )]
    let iterations = count
        .filter(|count| (1.0..1e9).contains(count) && count.fract() == 0.0)
        .map(|count| count as u32)
        .ok_or("the iteration count is not a number")?;
    let keys = ScramKeys {
        iterations,
        salt: salt.clone(),
        stored_key,
        server_key,
    };
    builder.keys(mechanism, &keys)
}

fn hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    let bytes = pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok());
    Some(Zeroizing::new(bytes.collect::<Option<Vec<u8>>>()?))
}

/// The time of so many seconds since 1970.
fn time(seconds: f64) -> Option<SystemTime> {
    let is_time = (0.0..1e11).contains(&seconds);
    is_time.then(|| UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// Reads the store `roster`: contacts by address, and under `false` (before 0.10: `pending`) who has asked.
pub(super) fn roster(builder: &mut Builder, data: &Table) -> LeftOut {
    let mut left_out = Vec::new();
    let mut asking = data
        .of(false)
        .and_then(Value::table)
        .and_then(|about| about.get("pending"));
    for (address, value) in data.named() {
        let Some(item) = value.table() else { continue };
        let subscription = item.text("subscription");
        if address == "pending" && subscription.is_none() {
            asking = asking.or(Some(value));
            continue;
        }
        match contact(Some(address), item.text("name"), subscription) {
            Ok(read) => builder.contact(RosterItem {
                groups: groups(item),
                ask: item.text("ask") == Some("subscribe"),
                approved: matches!(item.get("approved"), Some(Value::Bool(true)))
                    || item.text("approved") == Some("true"),
                ..read
            }),
            Err(what) => left_out.push(what),
        }
    }
    let asking = asking.and_then(Value::table);
    for (address, request) in asking.into_iter().flat_map(Table::named) {
        let mut from = String::new();
        escape_attr(address, &mut from);
        let plain = format!("<presence type='subscribe' from='{from}'/>");
        let kept = request.table().and_then(|request| tree::xml(request).ok());
        let is_asked = kept.is_some_and(|kept| builder.asked(&kept).is_ok());
        if !is_asked && let Err(what) = builder.asked(&plain) {
            left_out.push(what);
        }
    }
    left_out
}

fn groups(item: &Table) -> Vec<String> {
    let groups = item.get("groups").and_then(Value::table);
    let groups = groups.into_iter().flat_map(Table::named);
    let mut groups: Vec<String> = groups.map(|(group, _)| clean(group)).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// Reads the store `vcard`.
pub(super) fn vcard(builder: &mut Builder, data: &Table) -> LeftOut {
    match element(data) {
        Some(card) if card.is("vCard", xmpp::ns::VCARD) => {
            let text = String::from_utf8_lossy(card.bytes()).into_owned();
            builder.account().vcard = Some(text);
            Vec::new()
        }
        _ => vec!["vCards that cannot be read".to_owned()],
    }
}

/// Reads the store `private`.
pub(super) fn private(builder: &mut Builder, data: &Table) -> LeftOut {
    let mut left_out = Vec::new();
    for (_, value) in data.named() {
        let kept = match value.table().and_then(element) {
            Some(kept) => {
                let text = String::from_utf8_lossy(kept.bytes());
                builder.private(kept.name(), kept.namespace(), &text)
            }
            None => Err("private data that cannot be read".to_owned()),
        };
        left_out.extend(kept.err());
    }
    left_out
}

/// The element of a table, in a form that stands alone.
fn element(data: &Table) -> Option<xml::Element> {
    let element = parse(&tree::xml(data).ok()?, "").ok()?;
    match element.portable() {
        true => Some(element),
        false => element.stand_alone(crate::builder::LIMITS.bytes).ok(),
    }
}

/// Reads one item of the list `offline`.
pub(super) fn message(builder: &mut Builder, item: &Value) -> LeftOut {
    let unreadable = || vec!["messages that cannot be read".to_owned()];
    let Some(item) = item.table() else {
        return unreadable();
    };
    let Ok(text) = tree::xml(item) else {
        return unreadable();
    };
    let stamp = item
        .get("attr")
        .and_then(Value::table)
        .and_then(|attr| attr.text("stamp"));
    let when = item.get("when").and_then(Value::number).and_then(time);
    let received = when.or_else(|| parse_date_time(stamp?));
    builder.message(&text, received).err().into_iter().collect()
}

/// Reads the store `blocklist`: addresses that are `true`.
pub(super) fn blocked(builder: &mut Builder, data: &Table) -> LeftOut {
    let mut left_out = Vec::new();
    let mut jids = Vec::new();
    for (address, _) in data.named() {
        match parse_jid(address) {
            Ok(jid) => jids.push(jid),
            Err(_) => left_out.push("blocked addresses that cannot be read".to_owned()),
        }
    }
    jids.sort();
    lists::block(&mut builder.account().privacy, jids);
    left_out
}

/// Reads the store `privacy`, which Prosody had before 0.10.
///
/// # Errors
///
/// In words: a rule that says nothing.
pub(super) fn privacy(builder: &mut Builder, data: &Table) -> Result<(), String> {
    let mut found = storage::PrivacyLists {
        default: data.text("default").map(str::to_owned),
        lists: Vec::new(),
    };
    let lists_of = data.get("lists").and_then(Value::table);
    for (name, list) in lists_of.into_iter().flat_map(Table::named) {
        let items = list
            .table()
            .and_then(|list| list.get("items"))
            .and_then(Value::table);
        let mut rules = Vec::new();
        for item in items.into_iter().flat_map(Table::list) {
            let Some(item) = item.table() else { continue };
            let order = item.get("order").map(|order| match order {
                Value::Number(number) => number.to_string(),
                other => other.text().unwrap_or_default().to_owned(),
            });
            let kinds = ["message", "iq", "presence-in", "presence-out"];
            let meant = |kind: &&str| !matches!(item.get(kind), None | Some(Value::Bool(false)));
            let kinds: Vec<&str> = kinds.into_iter().filter(meant).collect();
            let rule = lists::item(
                item.text("type"),
                item.text("value"),
                item.text("action"),
                order.as_deref(),
                &kinds,
            );
            rules.push(rule.map_err(|why| format!("privacy list `{name}`: {why}"))?);
        }
        if !rules.is_empty() {
            found.lists.push(storage::PrivacyList {
                name: name.to_owned(),
                items: lists::in_order(rules)?,
            });
        }
    }
    lists::finish(&mut found);
    builder.account().privacy = found;
    Ok(())
}
