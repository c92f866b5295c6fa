//! `mod_vcard`: an account's visiting card, and the server's own.
//!
//! Source: XEP-0054 v1.3.0 §3. Stores: `vcard`. State: none.

use config::Bytes;
use gen_mod::prelude::*;
use xmpp::{Fragment, escape_text};

use crate::access::is_own;

options! {
    /// How large a card may be, and what the server's says.
    pub struct VcardOpts {
        /// Most bytes of one account's card, picture and all.
        pub max_bytes: Bytes = Bytes(256 * 1024),
        /// Name on the server's own card.
        pub name: String = "Natter".into(),
        /// Address of a web page on the server's own card.
        pub url: Option<String>,
        /// What the server's own card says of it.
        pub description: Option<String>,
    }
}

/// vCards. Its process only holds its registrations.
pub struct ModVcard;

impl Module for ModVcard {
    const NAME: &'static str = "mod_vcard";
    const SOURCES: &'static [Source] = &[xep(54, "1.3.0", Complete)];
    type Opts = VcardOpts;

    async fn start(_ctx: &ModuleCtx, opts: VcardOpts) -> Result<(Self, Registrations), StartError> {
        let max_bytes = opts.max_bytes.0;
        let servers = Fragment::from(servers_card(&opts));
        let registrations = Registrations::new()
            .feature(ns::VCARD)
            .account_feature(ns::VCARD)
            .iq_get(To::Host, ns::VCARD, move |_, _| {
                let card = servers.clone();
                async move { Ok(card) }
            })
            .iq_get(To::Account, ns::VCARD, read)
            .iq_set(To::Account, ns::VCARD, move |host, iq| {
                write(host, iq, max_bytes)
            });
        Ok((ModVcard, registrations))
    }
}

/// The server's own card.
fn servers_card(opts: &VcardOpts) -> String {
    let mut card = format!("<vCard xmlns='{}'>", ns::VCARD);
    let fields = [
        ("FN", Some(&opts.name)),
        ("URL", opts.url.as_ref()),
        ("DESC", opts.description.as_ref()),
    ];
    for (field, text) in fields {
        if let Some(text) = text {
            card.push_str(&format!("<{field}>"));
            escape_text(text, &mut card);
            card.push_str(&format!("</{field}>"));
        }
    }
    card.push_str("</vCard>");
    card
}

/// Answers with an account's card, whoever asks (§3.3).
///
/// # Errors
///
/// Where there is no card: `item-not-found` to the account itself, `service-unavailable` to all others, who
/// hear the same of accounts that do not exist.
async fn read(host: Host, iq: Iq) -> Result<Fragment, StanzaError> {
    match host.storage.vcard.get(&iq.to.to_bare()).await? {
        Some(card) => Ok(Fragment::from(card)),
        None if is_own(&iq) => Err(Condition::ItemNotFound.into()),
        None => Err(Condition::ServiceUnavailable.into()),
    }
}

/// Replaces the account's card (§3.2).
///
/// # Errors
///
/// - `forbidden`: it is another's.
/// - `bad-request`: no vCard.
/// - `policy-violation`: it is too large.
async fn write(host: Host, iq: Iq, max_bytes: u64) -> Result<(), StanzaError> {
    if !is_own(&iq) {
        return Err(Condition::Forbidden.into());
    }
    let card = iq.stanza.dom().children().next();
    let card = card
        .filter(|card| card.is("vCard", ns::VCARD))
        .ok_or(Condition::BadRequest)?;
    let card = String::from(card);
    if card.len() as u64 > max_bytes {
        return Err(
            Condition::PolicyViolation.text(format!("a vCard has at most {max_bytes} bytes"))
        );
    }
    Ok(host.storage.vcard.put(&iq.to.to_bare(), card).await?)
}
