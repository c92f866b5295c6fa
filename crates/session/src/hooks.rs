//! The hooks that sessions and the session manager run. Names are ejabberd's where it has the same.

use std::sync::Arc;

use router::{Hook, HookInfo, Meta, OnPanic, To};
use xmpp::payload::DiscoInfoResult;
use xmpp::{BareJid, FullJid, PresenceType, Stanza, StanzaError};

/// Declares a hook: its `HookInfo` in one line and the field that names its host.
macro_rules! hook {
    ($hook:ty, $name:literal, by $by:literal, in $process:literal, carries $carries:literal, $stopping:literal,
     $on_panic:ident, $may_wait:literal, |$value:ident| $host:expr) => {
        impl Hook for $hook {
            const INFO: HookInfo = HookInfo {
                name: $name,
                run_by: $by,
                process: $process,
                carries: $carries,
                stopping: $stopping,
                on_panic: OnPanic::$on_panic,
                may_wait: $may_wait,
            };

            fn host(&self) -> &str {
                let $value = self;
                $host
            }
        }
    };
}

/// Fold `user_send_packet`: a client sent a stanza; `from` and `to` are stamped.
#[derive(Clone, Debug)]
pub struct UserSendPacket {
    /// The session's address.
    pub user: Arc<FullJid>,
    /// The stanza.
    pub stanza: Stanza,
    /// What is known of it.
    pub meta: Meta,
}

hook!(UserSendPacket, "user_send_packet", by "c2s", in "the sender's session", carries "the stanza and its meta",
    "stop: later handlers are skipped; drop: the stanza ends here", Continue, true, |h| h.user.domain().as_str());

/// Fold `user_receive_packet`: a stanza is about to be written to a client.
#[derive(Clone, Debug)]
pub struct UserReceivePacket {
    /// The session's address.
    pub user: Arc<FullJid>,
    /// The stanza.
    pub stanza: Stanza,
    /// What is known of it.
    pub meta: Meta,
}

hook!(UserReceivePacket, "user_receive_packet", by "c2s", in "the recipient's session",
    carries "the stanza and its meta", "stop: later handlers are skipped; drop: the stanza is not written",
    Continue, true, |h| h.user.domain().as_str());

/// Which way a stanza goes, seen from the account whose privacy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The account sends it.
    Out,
    /// It is sent to the account.
    In,
}

/// Fold `privacy_check_packet`: may this stanza pass? Fails closed.
#[derive(Clone, Debug)]
pub struct PrivacyCheckPacket {
    /// The account whose rules are asked.
    pub account: Arc<BareJid>,
    /// The session, where one runs the check.
    pub session: Option<Arc<FullJid>>,
    /// Which way it goes.
    pub direction: Direction,
    /// The stanza.
    pub stanza: Stanza,
}

hook!(PrivacyCheckPacket, "privacy_check_packet", by "c2s; sm where no session will", in "its runner",
    carries "the stanza and its direction", "stop: allowed; drop: refused", Deny, true,
    |h| h.account.domain().as_str());

/// Fold `sm_receive_packet`: a stanza for an account of this host, once however many resources hear it.
#[derive(Clone, Debug)]
pub struct SmReceivePacket {
    /// The account.
    pub account: BareJid,
    /// The stanza.
    pub stanza: Stanza,
    /// What is known of it.
    pub meta: Meta,
}

hook!(SmReceivePacket, "sm_receive_packet", by "sm", in "the router's caller", carries "the stanza and its meta",
    "stop: later handlers are skipped; drop: the stanza ends here", Continue, true,
    |h| h.account.domain().as_str());

/// What was done with a message for which no resource was there.
#[derive(Clone, Debug)]
pub enum Kept {
    /// Nobody took it: its sender is told `service-unavailable`.
    No,
    /// A store holds it.
    Stored,
    /// A rule ended it, silently.
    Ignored,
    /// It was refused, with this answer.
    Refused(StanzaError),
}

/// Fold `offline_message`: a message for an account without a resource to take it.
#[derive(Clone, Debug)]
pub struct OfflineMessage {
    /// The account; it exists.
    pub account: BareJid,
    /// The message.
    pub stanza: Stanza,
    /// What is known of it.
    pub meta: Meta,
    /// What has been done with it.
    pub kept: Kept,
}

hook!(OfflineMessage, "offline_message", by "sm", in "the router's caller",
    carries "the message and what was done with it", "stop: later handlers are skipped; drop: as ignored",
    Continue, true, |h| h.account.domain().as_str());

/// A message that waits in the offline queue, and its place there.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its place: larger is later.
    pub place: i64,
    /// The message as it is to be delivered, with its delay.
    pub stanza: Stanza,
}

/// Fold `offline_page`: the next messages that wait for an account, oldest first.
#[derive(Clone, Debug)]
pub struct OfflinePage {
    /// The account.
    pub account: BareJid,
    /// Only messages behind this place.
    pub after: Option<i64>,
    /// The messages; empty when no more wait.
    pub page: Vec<Waiting>,
    /// Whether more wait cannot be told now: the session asks again in a second, and live messages wait
    /// behind the queue meanwhile.
    pub unreadable: bool,
}

hook!(OfflinePage, "offline_page", by "c2s", in "the session that becomes available", carries "a page of messages",
    "stop: later handlers are skipped; drop: no messages", Deny, true, |h| h.account.domain().as_str());

/// Fold `offline_delivered`: these messages were written to a client and need not be kept.
#[derive(Clone, Debug)]
pub struct OfflineDelivered {
    /// The account.
    pub account: BareJid,
    /// The places of the messages.
    pub places: Vec<i64>,
}

hook!(OfflineDelivered, "offline_delivered", by "c2s", in "the session that wrote them", carries "their places",
    "stop: later handlers are skipped; drop: the same", Continue, true, |h| h.account.domain().as_str());

/// How two accounts see one another's presence, as the first one's roster says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// The contact sees the account's presence (`from` or `both`).
    pub from: bool,
    /// The account sees the contact's presence (`to` or `both`).
    pub to: bool,
}

/// Fold `roster_get`: the contacts of an account and how presence flows between them.
#[derive(Clone, Debug)]
pub struct RosterGet {
    /// The account.
    pub account: BareJid,
    /// Its contacts.
    pub contacts: Vec<(BareJid, Subscribed)>,
}

hook!(RosterGet, "roster_get", by "c2s", in "the session that broadcasts presence", carries "the contacts",
    "stop: later handlers are skipped; drop: no contacts", Continue, true, |h| h.account.domain().as_str());

/// Fold `roster_get_jid_info`: how presence flows between an account and one contact.
#[derive(Clone, Debug)]
pub struct RosterGetJidInfo {
    /// The account.
    pub account: BareJid,
    /// The contact.
    pub contact: BareJid,
    /// How it flows.
    pub subscribed: Subscribed,
}

hook!(RosterGetJidInfo, "roster_get_jid_info", by "sm (probes), c2s (directed presence)", in "its runner",
    carries "the subscription", "stop: later handlers are skipped; drop: cannot be told", Deny, true,
    |h| h.account.domain().as_str());

/// Fold `roster_out_subscription`: a client asks for, grants, ends or refuses a subscription.
#[derive(Clone, Debug)]
pub struct RosterOutSubscription {
    /// The account.
    pub account: BareJid,
    /// The contact.
    pub contact: BareJid,
    /// `subscribe`, `subscribed`, `unsubscribe` or `unsubscribed`.
    pub kind: PresenceType,
    /// The stanza, from the account's bare JID to the contact's.
    pub stanza: Stanza,
    /// Whether it is routed to the contact.
    pub route: bool,
    /// What is routed behind it: presence of the account's resources.
    pub after: Vec<Stanza>,
}

hook!(RosterOutSubscription, "roster_out_subscription", by "c2s", in "the sender's session",
    carries "the request and what follows from it", "stop: later handlers are skipped; drop: not routed",
    Deny, true, |h| h.account.domain().as_str());

/// Which of an account's resources hear a subscription stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearers {
    /// None.
    Nobody,
    /// Those that are available.
    Available,
    /// Those that asked for the roster.
    Interested,
}

/// Fold `roster_in_subscription`: somebody asks an account for a subscription, or grants, ends or refuses one.
#[derive(Clone, Debug)]
pub struct RosterInSubscription {
    /// The account; it exists.
    pub account: BareJid,
    /// The contact.
    pub contact: BareJid,
    /// `subscribe`, `subscribed`, `unsubscribe` or `unsubscribed`.
    pub kind: PresenceType,
    /// The stanza, from the contact's bare JID to the account's.
    pub stanza: Stanza,
    /// Who hears it.
    pub hearers: Hearers,
    /// What is routed behind it: pushes, presence, an automatic answer.
    pub after: Vec<Stanza>,
}

hook!(RosterInSubscription, "roster_in_subscription", by "sm", in "the router's caller",
    carries "the request and what follows from it", "stop: later handlers are skipped; drop: nobody hears it",
    Deny, true, |h| h.account.domain().as_str());

/// Fold `c2s_self_presence`: a resource says how it is; run after the session table shows it.
#[derive(Clone, Debug)]
pub struct SelfPresence {
    /// The resource.
    pub user: FullJid,
    /// The presence.
    pub presence: Stanza,
    /// Whether the resource was not available before.
    pub first: bool,
    /// What its client is sent next: subscription requests that wait.
    pub deliver: Vec<Stanza>,
}

hook!(SelfPresence, "c2s_self_presence", by "c2s", in "the session", carries "the presence and what is sent next",
    "stop: later handlers are skipped; drop: nothing is sent", Continue, true, |h| h.user.domain().as_str());

/// Event `unset_presence`: a resource is no longer available.
#[derive(Clone, Debug)]
pub struct WentOffline {
    /// The account.
    pub account: BareJid,
    /// The resource.
    pub user: FullJid,
    /// Whether no other resource of the account is available.
    pub last: bool,
    /// Its words at leaving.
    pub status: Option<String>,
}

hook!(WentOffline, "unset_presence", by "c2s; sm for a session that fell", in "its runner", carries "who left and how",
    "stop or drop: later handlers are skipped", Continue, true, |h| h.account.domain().as_str());

/// Event `register_user`: an account was made.
#[derive(Clone, Debug)]
pub struct RegisterUser {
    /// The account.
    pub account: BareJid,
}

hook!(RegisterUser, "register_user", by "whoever makes an account", in "its runner", carries "the account",
    "stop or drop: later handlers are skipped", Continue, true, |h| h.account.domain().as_str());

/// Event `remove_user`: an account is about to be removed with all it owns.
#[derive(Clone, Debug)]
pub struct RemoveUser {
    /// The account; it still exists.
    pub account: BareJid,
}

hook!(RemoveUser, "remove_user", by "whoever removes an account", in "its runner", carries "the account",
    "stop or drop: later handlers are skipped", Continue, true, |h| h.account.domain().as_str());

/// Event `user_removed`: an account was removed, and nothing of it is left; its sessions are about to end.
#[derive(Clone, Debug)]
pub struct UserRemoved {
    /// The account there was.
    pub account: BareJid,
}

hook!(UserRemoved, "user_removed", by "whoever removes an account", in "its runner", carries "the account",
    "stop or drop: later handlers are skipped", Continue, true, |h| h.account.domain().as_str());

/// Fold `c2s_post_auth_features`: what a stream offers once its client is authenticated.
#[derive(Clone, Debug)]
pub struct PostAuthFeatures {
    /// The host.
    pub host: String,
    /// The features' elements.
    pub features: Vec<String>,
}

hook!(PostAuthFeatures, "c2s_post_auth_features", by "c2s", in "the session", carries "the features",
    "stop: later handlers are skipped; drop: no features", Continue, false, |h| &h.host);

/// Fold `c2s_pre_auth_features`: what a stream offers before its client is authenticated.
#[derive(Clone, Debug)]
pub struct PreAuthFeatures {
    /// The host.
    pub host: String,
    /// Whether the stream is encrypted.
    pub encrypted: bool,
    /// The features' elements.
    pub features: Vec<String>,
}

hook!(PreAuthFeatures, "c2s_pre_auth_features", by "c2s", in "the session", carries "the features",
    "stop: later handlers are skipped; drop: no features", Continue, false, |h| &h.host);

/// Fold `c2s_unauthenticated_packet`: an IQ before login, such as in-band registration (XEP-0077).
#[derive(Clone, Debug)]
pub struct UnauthenticatedPacket {
    /// The host.
    pub host: String,
    /// The client's address, where the transport has one.
    pub address: Option<std::net::SocketAddr>,
    /// The IQ.
    pub stanza: Stanza,
    /// The answer; none means that the stream ends with `not-authorized`.
    pub answer: Option<Stanza>,
}

hook!(UnauthenticatedPacket, "c2s_unauthenticated_packet", by "c2s", in "the session", carries "the IQ and its answer",
    "stop: later handlers are skipped; drop: not answered", Deny, true, |h| &h.host);

/// Fold `disco_info`: what a host says of itself, or of each of its accounts (XEP-0030 §3, XEP-0128). Modules of
/// several crates take part in it.
#[derive(Clone, Debug)]
pub struct DiscoInfo {
    /// The host.
    pub host: Arc<str>,
    /// Of whom it speaks: itself or an account.
    pub to: To,
    /// What it says; the features that processes registered are in it from the beginning.
    pub info: DiscoInfoResult,
}

hook!(DiscoInfo, "disco_info", by "mod_disco, mod_caps", in "whoever asks", carries "identities, features and forms",
    "stop: later handlers are skipped; drop: as if there were nothing to say", Continue, false, |h| &h.host);

/// Fold `register_invited`: somebody who holds an invitation makes an account elsewhere than on a stream. Has no
/// `Debug`: it holds a password.
#[derive(Clone)]
pub struct RegisterInvited {
    /// The host.
    pub host: String,
    /// The invitation's token.
    pub token: String,
    /// The name that the account is to have.
    pub name: String,
    /// Its password.
    pub password: auth::Password,
    /// The client's address.
    pub address: Option<std::net::SocketAddr>,
    /// The account, or why there is none; `item-not-found`: the invitation is not good for one.
    pub answer: Option<Result<xmpp::BareJid, StanzaError>>,
}

hook!(RegisterInvited, "register_invited", by "who serves the invitation's page", in "its runner",
    carries "token, name, password and the answer", "stop: later handlers are skipped; drop: not answered",
    Deny, true, |h| &h.host);

/// All hooks of this crate.
pub const HOOKS: &[HookInfo] = &[
    UserSendPacket::INFO,
    UserReceivePacket::INFO,
    PrivacyCheckPacket::INFO,
    SmReceivePacket::INFO,
    OfflineMessage::INFO,
    OfflinePage::INFO,
    OfflineDelivered::INFO,
    RosterGet::INFO,
    RosterGetJidInfo::INFO,
    RosterOutSubscription::INFO,
    RosterInSubscription::INFO,
    SelfPresence::INFO,
    WentOffline::INFO,
    RegisterUser::INFO,
    RemoveUser::INFO,
    UserRemoved::INFO,
    PostAuthFeatures::INFO,
    PreAuthFeatures::INFO,
    UnauthenticatedPacket::INFO,
    DiscoInfo::INFO,
    RegisterInvited::INFO,
];
