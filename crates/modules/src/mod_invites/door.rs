//! Registration for those who show a token before they log in (XEP-0445 §4).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::Password;
use gen_mod::prelude::*;
use otp::Instant;
use parking_lot::Mutex;
use session::Sessions;
use session::hooks::{PreAuthFeatures, RegisterInvited, UnauthenticatedPacket};
use storage::{Invite, InviteKind};
use xmpp::{BareJid, Fragment, IqType, Kind};

use super::{Desk, friends};
use crate::registration::{Fields, account, form};

/// How long a stream may take from its token to its account. As long as it may take to log in, and more.
const HELD_FOR: Duration = Duration::from_secs(600);

/// Most streams that hold a token; the next is told to come later.
const MAX_HELD: usize = 10_000;

/// Which streams have shown a good token, by the address of their client: while the stream is there no other has
/// that address and port.
pub(super) struct Door {
    desk: Desk,
    held: Mutex<HashMap<SocketAddr, (Invite, Instant)>>,
}

impl Door {
    pub(super) fn new(desk: Desk) -> Door {
        Door {
            desk,
            held: Mutex::default(),
        }
    }

    fn hold(&self, address: SocketAddr, invite: Invite) -> Result<(), StanzaError> {
        let now = self.desk.host.clock.now();
        let mut held = self.held.lock();
        held.retain(|_, (_, since)| now - *since < HELD_FOR);
        if held.len() >= MAX_HELD {
            return Err(Condition::ResourceConstraint.text("too many register now; try again"));
        }
        held.insert(address, (invite, now));
        Ok(())
    }

    /// The invitation that a stream has shown. Whether it expired meanwhile is not asked (§4).
    fn shown(&self, address: Option<SocketAddr>) -> Option<Invite> {
        let now = self.desk.host.clock.now();
        let held = self.held.lock();
        let (invite, since) = held.get(&address?)?;
        (now - *since < HELD_FOR).then(|| invite.clone())
    }

    fn release(&self, address: Option<SocketAddr>) {
        if let Some(address) = address {
            self.held.lock().remove(&address);
        }
    }
}

/// Announces registration by token (§3), and registration itself where nobody else does.
pub(super) fn offer(mut stream: PreAuthFeatures) -> Flow<PreAuthFeatures> {
    let feature = |namespace: &str| format!("<register xmlns='{namespace}'/>");
    let plain = feature(ns::REGISTER_FEATURE);
    stream.features.push(feature(ns::IBR_TOKEN));
    if !stream.features.contains(&plain) {
        stream.features.push(plain);
    }
    Flow::Next(stream)
}

/// Takes a token, and registers whoever has shown one. A name that an invitation keeps is nobody else's.
pub(super) async fn invited(
    door: Arc<Door>,
    asked: UnauthenticatedPacket,
) -> Flow<UnauthenticatedPacket> {
    let request = &asked.stanza;
    if request.kind() != Kind::Iq {
        return Flow::Next(asked);
    }
    let shown = door.shown(asked.address);
    let answer = match (request.payload_ns(), request.iq_type(), shown) {
        (Some(ns::PARS), IqType::Set, _) => preauth(&door, &asked).await,
        (Some(ns::REGISTER), IqType::Get, Some(invite)) => Ok(invited_form(&invite)),
        (Some(ns::REGISTER), IqType::Set, Some(invite)) => register(&door, &asked, invite).await,
        (Some(ns::REGISTER), IqType::Set, None) => match is_kept(&door, &asked).await {
            Ok(false) => return Flow::Next(asked),
            Ok(true) => Err(Condition::Conflict.into()),
            Err(error) => Err(error),
        },
        _ => return Flow::Next(asked),
    };
    answered(&door, asked, answer)
}

/// Tells those without a token that they need one, where nobody else lets them register.
pub(super) async fn uninvited(
    door: Arc<Door>,
    asked: UnauthenticatedPacket,
) -> Flow<UnauthenticatedPacket> {
    let request = &asked.stanza;
    let asks = request.kind() == Kind::Iq
        && request.payload_ns() == Some(ns::REGISTER)
        && matches!(request.iq_type(), IqType::Get | IqType::Set);
    if !asks || asked.answer.is_some() {
        return Flow::Next(asked);
    }
    let refused = Condition::NotAllowed.text("an invitation is needed to register here");
    answered(&door, asked, Err(refused))
}

fn answered(
    door: &Door,
    mut asked: UnauthenticatedPacket,
    answer: Result<Fragment, StanzaError>,
) -> Flow<UnauthenticatedPacket> {
    let answer = match answer {
        Ok(payload) => Some(Stanza::iq_result(&asked.stanza, payload)),
        Err(error) => asked.stanza.error_reply(&error),
    };
    let from = xmpp::parse_jid(&door.desk.host.name).expect("a host's name is a domain");
    asked.answer = answer.map(|answer| answer.edit().from(from).to(None).finish());
    Flow::Stop(asked)
}

/// Holds a good token for the stream. It is used only when an account is made.
///
/// # Errors
///
/// - `bad-request`: there is no token in it.
/// - `item-not-found`: the token is unknown, used up, expired, or not good for an account.
/// - `service-unavailable`: the transport does not tell its client's address (our choice).
async fn preauth(door: &Door, asked: &UnauthenticatedPacket) -> Result<Fragment, StanzaError> {
    let payload = asked.stanza.dom().children().next();
    let token = payload
        .filter(|payload| payload.is("preauth", ns::PARS))
        .and_then(|payload| payload.attr("token"))
        .ok_or_else(|| Condition::BadRequest.text("no token"))?;
    let address = asked.address.ok_or(Condition::ServiceUnavailable)?;
    let found = door.desk.good(token).await?.filter(Invite::registers);
    let Some(invite) = found else {
        return Err(Condition::ItemNotFound.text("The provided token is invalid or expired"));
    };
    door.hold(address, invite)?;
    Ok(Fragment::empty())
}

fn invited_form(invite: &Invite) -> Fragment {
    let words = "You are invited. Choose a name and a password.";
    form(words, name_of(invite))
}

fn name_of(invite: &Invite) -> Option<&str> {
    match &invite.kind {
        InviteKind::Account { name, .. } => name.as_deref(),
        InviteKind::Contact { .. } => None,
    }
}

/// Whether the name that is asked for is kept for somebody else.
async fn is_kept(door: &Door, asked: &UnauthenticatedPacket) -> Result<bool, StanzaError> {
    let fields = Fields::read(&asked.stanza)?;
    let Some(name) = fields.username else {
        return Ok(false);
    };
    let Ok(account) = account(&name, &door.desk.host.name) else {
        return Ok(false);
    };
    reserved(&door.desk, &account).await
}

async fn reserved(desk: &Desk, account: &BareJid) -> Result<bool, StanzaError> {
    let host = &desk.host;
    let name = account.node().map_or("", |node| node.as_str());
    let now = host.clock.wall();
    Ok(host.storage.invites.reserves(&host.name, name, now).await?)
}

/// Makes the account of whoever has shown an invitation on its stream.
///
/// # Errors
///
/// Those of [`make`].
async fn register(
    door: &Door,
    asked: &UnauthenticatedPacket,
    invite: Invite,
) -> Result<Fragment, StanzaError> {
    let fields = Fields::read(&asked.stanza)?;
    let (Some(name), Some(password), false) = (fields.username, fields.password, fields.remove)
    else {
        return Err(Condition::NotAcceptable.text("a name and a password are needed"));
    };
    let password = Password::new(password);
    let made = make(&door.desk, invite, &name, password, asked.address).await;
    let is_over = |error: &StanzaError| error.condition == Condition::NotAllowed;
    if made.as_ref().err().is_none_or(is_over) {
        door.release(asked.address);
    }
    made.map(|_| Fragment::empty())
}

/// Makes the account of whoever is invited and says so elsewhere than on a stream.
pub(super) async fn elsewhere(desk: Desk, mut asked: RegisterInvited) -> Flow<RegisterInvited> {
    let made = async {
        let invite = desk.good(&asked.token).await?.filter(Invite::registers);
        let invite = invite.ok_or(Condition::ItemNotFound)?;
        let password = asked.password.clone();
        make(&desk, invite, &asked.name, password, asked.address).await
    };
    asked.answer = Some(made.await);
    Flow::Stop(asked)
}

/// Makes the account of whoever is invited; it and the inviter become contacts where that was meant.
///
/// # Errors
///
/// - `not-acceptable`: name or password cannot be used, or the name is not the one invited.
/// - `conflict`: there is such an account, or its name is kept for somebody else.
/// - `not-allowed`: the invitation was used up meanwhile.
async fn make(
    desk: &Desk,
    invite: Invite,
    name: &str,
    password: Password,
    address: Option<SocketAddr>,
) -> Result<BareJid, StanzaError> {
    let host = &desk.host;
    let new = account(name, &host.name)?;
    match name_of(&invite) {
        Some(invited) if account(invited, &host.name)? != new => {
            return Err(Condition::NotAcceptable.text(format!("the invitation is for {invited}")));
        }
        None if reserved(desk, &new).await? => return Err(Condition::Conflict.into()),
        _ => {}
    }
    let least = desk.opts.password_min_length;
    if password.chars() < least {
        return Err(
            Condition::NotAcceptable.text(format!("a password has at least {least} characters"))
        );
    }
    let store = &host.storage.invites;
    if !store.take(&host.name, &invite.token).await? {
        return Err(Condition::NotAllowed.text("the invitation is used up"));
    }
    let sessions = host.service::<Sessions>();
    if let Err(error) = sessions.register_account(&new, password).await {
        if let Err(error) = store.give_back(&host.name, &invite.token).await {
            tracing::warn!(target: "natter::invites", %error, "a use that came to nothing stays counted");
        }
        return Err(error.into());
    }
    tracing::info!(target: "natter::invites", account = %new, inviter = ?invite.inviter.as_ref().map(ToString::to_string), ?address, "account registered by invitation");
    let befriends = match invite.kind {
        InviteKind::Contact { .. } => true,
        InviteKind::Account { befriend, .. } => befriend,
    };
    if let Some(inviter) = invite.inviter.filter(|_| befriends) {
        friends::befriend(host, &inviter, &new).await;
    }
    Ok(new)
}
