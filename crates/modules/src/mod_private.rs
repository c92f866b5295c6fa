//! `mod_private`: what a client keeps at its server for itself, such as bookmarks.
//!
//! Source: XEP-0049 v1.2 §2, §3. Stores: `private`. State: none.

use config::Bytes;
use gen_mod::prelude::*;
use minidom::Element;
use storage::PrivateData;
use xmpp::{BareJid, Fragment};

use crate::access::{is_own, only_friends};

options! {
    /// How much is kept.
    pub struct PrivateOpts {
        /// Most bytes kept for one account.
        pub max_bytes: Bytes = Bytes(1024 * 1024),
    }
}

/// Private XML storage. Its process only holds its registrations.
pub struct ModPrivate;

impl Module for ModPrivate {
    const NAME: &'static str = "mod_private";
    const SOURCES: &'static [Source] = &[xep(49, "1.2", Complete)];
    type Opts = PrivateOpts;

    async fn start(
        _ctx: &ModuleCtx,
        opts: PrivateOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let max_bytes = opts.max_bytes.0;
        let registrations = Registrations::new()
            .feature(ns::PRIVATE)
            .account_feature(ns::PRIVATE)
            .iq_get(To::Account, ns::PRIVATE, read)
            .iq_set(To::Account, ns::PRIVATE, move |host, iq| {
                write(host, iq, max_bytes)
            });
        Ok((ModPrivate, registrations))
    }
}

/// Answers with what is kept under the name and namespace asked for, or with that element, empty.
///
/// # Errors
///
/// - `forbidden`: it is another's; `service-unavailable` where the asker may not even know that there
///   is such an account.
/// - `not-acceptable`: not exactly one element is asked for, or it has no namespace of its own (§2).
async fn read(host: Host, iq: Iq) -> Result<Fragment, StanzaError> {
    let owner = only_own(&host, &iq).await?;
    let asked = elements(&iq)?;
    let [asked] = asked.as_slice() else {
        return Err(Condition::NotAcceptable.text("one element is asked for at a time"));
    };
    let (name, namespace) = (asked.name(), asked.ns());
    let kept = host.storage.private.get(&owner, name, &namespace).await?;
    let empty = || {
        let empty = Fragment::element(name, &namespace, &[], "");
        empty.as_str().to_owned()
    };
    let content = kept.unwrap_or_else(empty);
    Ok(Fragment::from(format!(
        "<query xmlns='{}'>{content}</query>",
        ns::PRIVATE
    )))
}

/// Replaces what is kept under the names and namespaces of the elements.
///
/// # Errors
///
/// As [`read`], and `policy-violation`: the account would keep more than it may.
async fn write(host: Host, iq: Iq, max_bytes: u64) -> Result<(), StanzaError> {
    let owner = only_own(&host, &iq).await?;
    let mut data: Vec<PrivateData> = Vec::new();
    for element in elements(&iq)? {
        let (name, namespace, xml) = (element.name(), element.ns(), String::from(element));
        match data
            .iter_mut()
            .find(|data| data.name == name && data.namespace == namespace)
        {
            Some(same) => same.xml.push_str(&xml),
            None => data.push(PrivateData {
                name: name.to_owned(),
                namespace,
                xml,
            }),
        }
    }
    if host.storage.private.put(&owner, data, max_bytes).await? {
        Ok(())
    } else {
        Err(Condition::PolicyViolation
            .text(format!("at most {max_bytes} bytes are kept for an account")))
    }
}

/// The account, when it is the account itself that asks.
async fn only_own(host: &Host, iq: &Iq) -> Result<BareJid, StanzaError> {
    if is_own(iq) {
        return Ok(iq.to.to_bare());
    }
    only_friends(host, iq).await?;
    Err(Condition::Forbidden.into())
}

/// The elements of a query; at least one, each in a namespace of its own.
fn elements(iq: &Iq) -> Result<Vec<&Element>, StanzaError> {
    let query = iq.stanza.dom().children().next();
    let query = query
        .filter(|query| query.is("query", ns::PRIVATE))
        .ok_or(Condition::BadRequest)?;
    let elements: Vec<&Element> = query.children().collect();
    let stray = |element: &&Element| element.ns() == ns::PRIVATE || element.ns() == ns::CLIENT;
    if elements.is_empty() || elements.iter().any(stray) {
        return Err(
            Condition::NotAcceptable.text("an element with a namespace of its own is needed")
        );
    }
    Ok(elements)
}
