//! `mod_register`: making an account, changing its password, removing it.
//!
//! Source: XEP-0077 v2.4 §3. Hooks: `c2s_pre_auth_features`, `c2s_unauthenticated_packet`.
//! Stores: accounts, through `auth`. State: who registered a moment ago, by address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use auth::Password;
use gen_mod::prelude::*;
use otp::Instant;
use session::Sessions;
use session::hooks::{PreAuthFeatures, UnauthenticatedPacket};
use xmpp::{BareJid, Fragment, IqType, Kind, StreamCondition, escape_text};

use crate::access::is_own;
use crate::registration::{self, Fields, account, form};

/// What the form says.
const WORDS: &str = "Choose a name and a password to register with this server.";

options! {
    /// Who may register, and with what.
    pub struct RegisterOpts {
        /// How long an address waits after one registration before its next; `0 s`: not at all. Addresses of
        /// this machine never wait.
        pub rate: Duration = Duration::from_secs(600),
        /// Fewest characters of a password.
        pub password_min_length: usize = 0,
        /// Whether a changed password ends the account's other sessions.
        pub change_ends_sessions: bool = false,
    }
}

/// In-Band Registration. Its process holds the registrations; the work is done by those who ask.
pub struct ModRegister;

impl Module for ModRegister {
    const NAME: &'static str = "mod_register";
    const SOURCES: &'static [Source] = &[xep(
        77,
        "2.4",
        Partial("fields username and password; no data forms, no redirection"),
    )];
    type Opts = RegisterOpts;

    async fn start(
        _ctx: &ModuleCtx,
        opts: RegisterOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let desk = Desk {
            recent: Arc::default(),
            opts: Arc::new(opts),
        };
        let (before, after, own) = (desk.clone(), desk.clone(), desk);
        let registrations = Registrations::new()
            .feature(ns::REGISTER)
            .account_feature(ns::REGISTER)
            .hook::<PreAuthFeatures>(Priority::NORMAL, |_, stream| offer(stream))
            .hook_wait::<UnauthenticatedPacket, _, _>(Priority::NORMAL, move |host, asked| {
                register(host, asked, before.clone())
            })
            .iq_get(To::Host, ns::REGISTER, registered)
            .iq_set(To::Host, ns::REGISTER, move |host, iq| {
                change(host, iq, after.clone())
            })
            .iq_get(To::Account, ns::REGISTER, registered)
            .iq_set(To::Account, ns::REGISTER, move |host, iq| {
                change(host, iq, own.clone())
            });
        Ok((ModRegister, registrations))
    }
}

/// Announces registration on streams that nobody has logged in to (§8).
fn offer(mut stream: PreAuthFeatures) -> Flow<PreAuthFeatures> {
    stream
        .features
        .push(format!("<register xmlns='{}'/>", ns::REGISTER_FEATURE));
    Flow::Next(stream)
}

/// Where registrations are counted.
#[derive(Clone)]
struct Desk {
    recent: Arc<Mutex<Recent>>,
    opts: Arc<RegisterOpts>,
}

/// When each address last registered; only those that still have to wait are kept.
#[derive(Default)]
struct Recent(HashMap<IpAddr, Instant>);

impl Recent {
    /// Notes a registration; false when the address has to wait.
    fn note(&mut self, address: IpAddr, now: Instant, rate: Duration) -> bool {
        self.0.retain(|_, since| now - *since < rate);
        if rate.is_zero() || self.0.contains_key(&address) {
            return rate.is_zero();
        }
        self.0.insert(address, now);
        true
    }
}

/// What registrations are counted by: an IPv4 address, or the network that one customer is given in IPv6.
/// None for this machine itself.
fn counted(address: Option<SocketAddr>) -> Option<IpAddr> {
    match address?.ip().to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into()),
        ip => Some(ip),
    }
}

// Before login.

/// Answers a stream that nobody has logged in to: the form, or an account (§3.1).
async fn register(
    host: Host,
    mut asked: UnauthenticatedPacket,
    desk: Desk,
) -> Flow<UnauthenticatedPacket> {
    let request = &asked.stanza;
    if request.kind() != Kind::Iq || request.payload_ns() != Some(ns::REGISTER) {
        return Flow::Next(asked);
    }
    let answer = match request.iq_type() {
        IqType::Get => Ok(form(WORDS, None)),
        IqType::Set => create(&host, &asked, &desk).await,
        IqType::Result | IqType::Error => return Flow::Next(asked),
    };
    let answer = match answer {
        Ok(payload) => Some(Stanza::iq_result(request, payload)),
        Err(error) => request.error_reply(&error),
    };
    let from = xmpp::parse_jid(&host.name).expect("a host's name is a domain");
    asked.answer = answer.map(|answer| answer.edit().from(from).to(None).finish());
    Flow::Stop(asked)
}

/// Makes an account.
///
/// # Errors
///
/// - `not-acceptable`: name or password is missing or cannot be used (§3.1.1).
/// - `conflict`: there is such an account.
/// - `registration-required`: nobody has logged in, so there is nothing to remove (§3.2.1).
/// - `resource-constraint`: this address registered a moment ago (our choice).
async fn create(
    host: &Host,
    asked: &UnauthenticatedPacket,
    desk: &Desk,
) -> Result<Fragment, StanzaError> {
    let fields = Fields::read(&asked.stanza)?;
    if fields.remove {
        return Err(Condition::RegistrationRequired.into());
    }
    let (Some(name), Some(password)) = (fields.username, fields.password) else {
        return Err(Condition::NotAcceptable.text("a name and a password are needed"));
    };
    let account = account(&name, &host.name)?;
    desk.check(&password)?;
    let address = counted(asked.address);
    if let Some(address) = address {
        let now = host.clock.now();
        if !desk
            .recent
            .lock()
            .expect("nobody panics here")
            .note(address, now, desk.opts.rate)
        {
            return Err(Condition::ResourceConstraint
                .text("this address registered a moment ago; try again later"));
        }
    }
    let made = host
        .service::<Sessions>()
        .register_account(&account, Password::new(password))
        .await;
    if let Err(error) = made {
        if let Some(address) = address {
            desk.recent
                .lock()
                .expect("nobody panics here")
                .0
                .remove(&address);
        }
        return Err(error.into());
    }
    tracing::info!(target: "natter::register", %account, address = ?asked.address, "account registered");
    Ok(Fragment::empty())
}

impl Desk {
    fn check(&self, password: &str) -> Result<(), StanzaError> {
        let least = self.opts.password_min_length;
        if password.chars().count() < least {
            return Err(Condition::NotAcceptable
                .text(format!("a password has at least {least} characters")));
        }
        Ok(())
    }
}

// After login.

/// Tells an account that it is registered (§3.1.1).
///
/// # Errors
///
/// `service-unavailable`: not an account of this host, or another's.
async fn registered(host: Host, iq: Iq) -> Result<Fragment, StanzaError> {
    let account = own_account(&host, &iq)?;
    let mut query = format!("<query xmlns='{}'><registered/><username>", ns::REGISTER);
    escape_text(account.node().map_or("", |node| node.as_str()), &mut query);
    query.push_str("</username><password/></query>");
    Ok(Fragment::from(query))
}

/// Changes the account's password (§3.3), or removes the account (§3.2).
///
/// # Errors
///
/// - `bad-request`: name or password is missing, or `remove` does not stand alone.
/// - `not-allowed`: another's name.
/// - `not-acceptable`: the password cannot be used.
/// - `service-unavailable`: not an account of this host.
async fn change(host: Host, iq: Iq, desk: Desk) -> Result<(), StanzaError> {
    let account = own_account(&host, &iq)?;
    let fields = Fields::read(&iq.stanza)?;
    if fields.remove {
        return if fields.others == 0 {
            remove(&host, &iq, account).await
        } else {
            Err(Condition::BadRequest.into())
        };
    }
    let (Some(name), Some(password)) = (fields.username, fields.password) else {
        return Err(Condition::BadRequest.text("a name and a password are needed"));
    };
    if registration::account(&name, &host.name)? != account {
        return Err(Condition::NotAllowed.text("only the own password can be changed"));
    }
    desk.check(&password)?;
    let sessions = host.service::<Sessions>();
    sessions
        .auth
        .set_password(&account, Password::new(password))
        .await?;
    if desk.opts.change_ends_sessions {
        let error = StreamCondition::NotAuthorized.text("the password was changed");
        sessions.kick_others(&account, iq.from.try_as_full().ok(), &error);
    }
    tracing::info!(target: "natter::register", %account, "password changed");
    Ok(())
}

/// Removes the account with all it owns. The session that asks ends behind the result.
async fn remove(host: &Host, iq: &Iq, account: BareJid) -> Result<(), StanzaError> {
    let sessions = host.service::<Sessions>().clone();
    let asker = iq.from.try_as_full().ok().cloned();
    sessions.remove_account(&account, asker.as_ref()).await?;
    tracing::info!(target: "natter::register", %account, "account removed by its owner");
    if let Some(asker) = asker {
        iq.after_answer(move || sessions.account_removed(&asker));
    }
    Ok(())
}

/// The account that asks, when it is one of this host and asks about itself.
fn own_account(host: &Host, iq: &Iq) -> Result<BareJid, StanzaError> {
    let asker = iq.from.to_bare();
    let local = asker.node().is_some() && asker.domain().as_str() == &*host.name;
    if local && (iq.to.node().is_none() || is_own(iq)) {
        Ok(asker)
    } else {
        Err(Condition::ServiceUnavailable.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_waits_for_its_next_account() {
        let (clock, hand) = otp::Clock::manual();
        let rate = Duration::from_secs(600);
        let mut recent = Recent::default();
        let [here, there] =
            ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().expect("an address"));
        assert!(recent.note(here, clock.now(), rate));
        assert!(!recent.note(here, clock.now(), rate));
        assert!(recent.note(there, clock.now(), rate));
        hand.advance(rate).await;
        assert!(recent.note(here, clock.now(), rate));
        assert_eq!(recent.0.len(), 1, "who need not wait is forgotten");
        assert!(recent.note(here, clock.now(), Duration::ZERO));
    }

    #[test]
    fn addresses_are_counted_by_customer() {
        let counted =
            |text: &str| counted(Some(text.parse().expect("an address"))).map(|ip| ip.to_string());
        assert_eq!(counted("127.0.0.1:5"), None);
        assert_eq!(counted("[::1]:5"), None);
        assert_eq!(counted("[::ffff:127.0.0.1]:5"), None);
        assert_eq!(counted("192.0.2.7:5").as_deref(), Some("192.0.2.7"));
        assert_eq!(
            counted("[2001:db8:1:2:3:4:5:6]:5").as_deref(),
            Some("2001:db8:1:2::")
        );
        assert_eq!(super::counted(None), None);
    }
}
