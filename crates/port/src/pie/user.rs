//! What is said of one account, element by element.

use auth::{Password, ScramKeys};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use storage::LastSeen;
use xml::Element;
use xmpp::{Jid, ns, parse_date_time, parse_jid};
use zeroize::Zeroizing;

use super::{NS, NS_ACCOUNT, NS_OLD, NS_SCRAM};
use crate::builder::{Builder, contact, inside};
use crate::lists;

/// What cannot be said of an account.
pub(super) enum Wrong {
    /// The account cannot be taken.
    Unusable(String),
    /// This part does not come along.
    LeftOut(String),
}

impl From<String> for Wrong {
    fn from(why: String) -> Wrong {
        Wrong::Unusable(why)
    }
}

/// Reads the `password` attribute: a password, or the keys of one as ejabberd wrote them before 21.12
/// (`scram:` and, unless it is SHA-1, the hash; then stored key, server key, salt, iterations).
pub(super) fn password(builder: &mut Builder, value: &str) -> Result<(), Wrong> {
    let Some(parts) = value.strip_prefix("scram:") else {
        if !value.is_empty() {
            builder.password(Password::from(value));
        }
        return Ok(());
    };
    let mut parts: Vec<&str> = parts.split(',').collect();
    let mechanism = match parts.len() {
        4 => "SCRAM-SHA-1",
        5 => match parts.remove(0) {
            "sha256" => "SCRAM-SHA-256",
            "sha512" => "SCRAM-SHA-512",
            other => return Err(Wrong::Unusable(format!("`{other}` is no hash known here"))),
        },
        _ => {
            let why = "`scram:` is followed by stored key, server key, salt and iterations";
            return Err(Wrong::Unusable(why.to_owned()));
        }
    };
    let keys = ScramKeys {
        stored_key: bytes("stored key", parts[0])?,
        server_key: bytes("server key", parts[1])?,
        salt: bytes("salt", parts[2])?.to_vec(),
        iterations: count(parts[3])?,
    };
    Ok(builder.keys(mechanism, &encoded_once(mechanism, keys))?)
}

/// The keys, where they are encoded twice: ejabberd keeps them in base64, and encodes what it keeps.
fn encoded_once(mechanism: &str, keys: ScramKeys) -> ScramKeys {
    let fits = |key: &[u8]| ScramKeys::mechanism_of_length(key.len()) == Some(mechanism);
    let decoded = |bytes: &[u8]| STANDARD.decode(bytes).ok().map(Zeroizing::new);
    let again = (
        decoded(&keys.stored_key),
        decoded(&keys.server_key),
        decoded(&keys.salt),
    );
    match again {
        (Some(stored_key), Some(server_key), Some(salt))
            if fits(&stored_key) && fits(&server_key) =>
        {
            ScramKeys {
                salt: salt.to_vec(),
                stored_key,
                server_key,
                ..keys
            }
        }
        _ => keys,
    }
}

fn bytes(what: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    match STANDARD.decode(text.trim()) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(_) => Err(Wrong::Unusable(format!("the {what} is not base64"))),
    }
}

fn count(text: &str) -> Result<u32, Wrong> {
    let number = text.trim().parse();
    number.map_err(|_| Wrong::Unusable("the iteration count is not a number".to_owned()))
}

/// Reads one element of an account.
pub(super) fn child(builder: &mut Builder, element: &Element) -> Result<(), Wrong> {
    builder.weigh(element.bytes().len())?;
    match (element.name(), element.namespace()) {
        ("scram-credentials", NS_SCRAM) => scram(builder, element),
        ("query", ns::ROSTER) => roster(builder, element),
        ("query", ns::PRIVATE) => private(builder, element),
        ("query", ns::PRIVACY) => {
            builder.account().privacy = lists::read(element)?;
            Ok(())
        }
        ("blocklist", ns::BLOCKING) => blocked(builder, element),
        ("vCard", ns::VCARD) => {
            builder.account().vcard = Some(text_of(element));
            Ok(())
        }
        ("presence", ns::CLIENT) => builder.asked(&text_of(element)).map_err(Wrong::LeftOut),
        ("account", NS_ACCOUNT) => state(builder, element),
        (name, namespace) => Err(Wrong::LeftOut(unknown(name, namespace))),
    }
}

/// The words for an element that nobody here knows.
pub(super) fn unknown(name: &str, namespace: &str) -> String {
    let short = |text: &str| text.chars().take(80).collect::<String>();
    format!("<{}/> of `{}`", short(name), short(namespace))
}

/// Reads one of the messages that wait for an account.
pub(super) fn message(builder: &mut Builder, element: &Element) -> Result<(), Wrong> {
    builder.weigh(element.bytes().len())?;
    let text = text_of(element);
    // Messages stand in the namespace of clients; some writers forget to say so.
    let text = match element.namespace() {
        forgotten @ (NS | NS_OLD) => {
            let declared = |namespace: &str| format!("xmlns=\"{namespace}\"");
            text.replacen(&declared(forgotten), &declared(ns::CLIENT), 1)
        }
        _ => text,
    };
    builder.message(&text, None).map_err(Wrong::LeftOut)
}

fn text_of(element: &Element) -> String {
    String::from_utf8_lossy(element.bytes()).into_owned()
}

fn scram(builder: &mut Builder, element: &Element) -> Result<(), Wrong> {
    let mechanism = element.attr("mechanism").unwrap_or_default();
    let mechanism = mechanism.strip_suffix("-PLUS").unwrap_or(mechanism);
    if !ScramKeys::knows(mechanism) {
        let short: String = mechanism.chars().take(40).collect();
        return Err(Wrong::LeftOut(format!("credentials for `{short}`")));
    }
    let part = |name: &str| match element.child(name, NS_SCRAM) {
        Some(child) => Ok(element.child_text(child)),
        None => Err(Wrong::Unusable(format!(
            "<scram-credentials/> lacks <{name}/>"
        ))),
    };
    let keys = ScramKeys {
        iterations: count(&part("iter-count")?)?,
        salt: bytes("salt", &part("salt")?)?.to_vec(),
        stored_key: bytes("stored key", &part("stored-key")?)?,
        server_key: bytes("server key", &part("server-key")?)?,
    };
    Ok(builder.keys(mechanism, &encoded_once(mechanism, keys))?)
}

fn roster(builder: &mut Builder, query: &Element) -> Result<(), Wrong> {
    let mut left_out = None;
    for item in inside(query)? {
        if !item.is("item", ns::ROSTER) {
            left_out = Some(unknown(item.name(), item.namespace()));
            continue;
        }
        let subscription = item.attr("subscription");
        if subscription == Some("remove") {
            continue;
        }
        match contact(item.attr("jid"), item.attr("name"), subscription) {
            Ok(mut read) => {
                let groups = item.children().iter();
                let groups = groups.filter(|child| child.is("group", ns::ROSTER));
                read.groups = groups.map(|group| item.child_text(group)).collect();
                read.ask = item.attr("ask") == Some("subscribe");
                read.approved = matches!(item.attr("approved"), Some("true" | "1"));
                builder.contact(read);
            }
            Err(what) => left_out = Some(what),
        }
    }
    left_out.map_or(Ok(()), |what| Err(Wrong::LeftOut(what)))
}

fn private(builder: &mut Builder, query: &Element) -> Result<(), Wrong> {
    let mut left_out = None;
    for child in query.children() {
        let xml = String::from_utf8_lossy(query.child_bytes(child));
        if let Err(what) = builder.private(child.name(), child.namespace(), &xml) {
            left_out = Some(what);
        }
    }
    left_out.map_or(Ok(()), |what| Err(Wrong::LeftOut(what)))
}

fn blocked(builder: &mut Builder, list: &Element) -> Result<(), Wrong> {
    let items = inside(list)?;
    let jids: Vec<Option<Jid>> = items
        .iter()
        .map(|item| item.attr("jid").and_then(|jid| parse_jid(jid).ok()))
        .collect();
    let is_whole = jids.iter().all(Option::is_some);
    lists::block(
        &mut builder.account().privacy,
        jids.into_iter().flatten().collect(),
    );
    match is_whole {
        true => Ok(()),
        false => Err(Wrong::LeftOut(
            "blocked addresses that cannot be read".to_owned(),
        )),
    }
}

fn state(builder: &mut Builder, element: &Element) -> Result<(), Wrong> {
    let time = |name: &str| match element.attr(name).map(parse_date_time) {
        None => Ok(None),
        Some(Some(time)) => Ok(Some(time)),
        Some(None) => Err(Wrong::Unusable(format!(
            "`{name}` is not a time (XEP-0082)"
        ))),
    };
    let (created, seen) = (time("created")?, time("seen")?);
    let status = element.child("status", NS_ACCOUNT);
    let status = status.map(|status| element.child_text(status));
    let account = builder.account();
    account.created = created;
    account.disabled = element.attr("disabled") == Some("true");
    account.last = seen.map(|at| LastSeen { at, status });
    Ok(())
}
