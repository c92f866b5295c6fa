//! The service: what all rooms of a host share, and what its own address answers (XEP-0045 §6.1 to §6.3).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gen_mod::Host;
use hmac::{Hmac, KeyInit as _, Mac as _};
use router::{Outcome, Packet};
use sha2::Sha256;
use storage::{Role, Secret};
use xmpp::{BareJid, Condition, Fragment, IqType, Jid, Kind, Stanza, StanzaError, ns};

use crate::config::{Bounds, RoomConfig};
use crate::disco;
use crate::mod_muc::{Creators, MucOpts};
use crate::rooms::Rooms;
use crate::search;

/// What all rooms of a host share. Lives as long as the module is configured, through restarts of its process.
pub(crate) struct Service {
    pub(crate) host: Host,
    pub(crate) rooms: Rooms,
    settings: ArcSwapOption<Settings>,
    /// How many searches go on.
    pub(crate) searching: AtomicUsize,
}

/// What the module's process was started with, or told since.
pub(crate) struct Settings {
    pub(crate) domain: String,
    pub(crate) opts: MucOpts,
    /// What new rooms are like.
    pub(crate) defaults: RoomConfig,
    /// Makes occupants' ids.
    pub(crate) secret: Secret,
}

impl Service {
    pub(crate) fn new(host: Host) -> Arc<Service> {
        Arc::new(Service {
            host,
            rooms: Rooms::default(),
            settings: ArcSwapOption::empty(),
            searching: AtomicUsize::new(0),
        })
    }

    pub(crate) fn set(&self, settings: Settings) {
        self.settings.store(Some(Arc::new(settings)));
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings
            .load_full()
            .expect("the service has no route before it is set")
    }

    pub(crate) fn domain(&self) -> String {
        self.settings().domain.clone()
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let settings = self.settings();
        Bounds {
            users: settings.opts.max_users,
            history: settings.opts.max_history,
        }
    }

    pub(crate) async fn send(&self, stanza: Stanza) {
        self.host
            .router
            .route(self.host.router.packet(stanza))
            .await;
    }

    /// The address of the room of that name.
    pub(crate) fn room(&self, name: &str) -> Option<BareJid> {
        BareJid::new(&format!("{name}@{}", self.domain())).ok()
    }

    /// Whether somebody manages this service: an administrator of the server, or of its host.
    pub(crate) async fn is_admin(&self, who: &BareJid) -> Result<bool, StanzaError> {
        // A name in the store whose domain was taken from this server says nothing of whoever bears it now.
        if !self.host.router.is_local(who.domain().as_str()) {
            return Ok(false);
        }
        Ok(match self.host.storage.accounts.role(who).await? {
            Some(Role::Admin) => true,
            Some(Role::HostAdmin) => who.domain().as_str() == &*self.host.name,
            _ => false,
        })
    }

    /// Whether somebody may make a room (§10.1.1).
    ///
    /// # Errors
    ///
    /// `not-allowed`: creation is restricted; `resource-constraint`: as many as one may own.
    pub(crate) async fn may_create(&self, who: &BareJid) -> Result<(), StanzaError> {
        let settings = self.settings();
        let allowed = match settings.opts.create {
            Creators::Everyone => true,
            Creators::Local => self.host.router.is_local(who.domain().as_str()),
            Creators::Admins => false,
        };
        if self.is_admin(who).await? {
            return Ok(());
        }
        if !allowed {
            return Err(Condition::NotAllowed.text("you may not create rooms here"));
        }
        let most = settings.opts.max_rooms_owned as usize;
        if most > 0 {
            let rooms = self
                .host
                .storage
                .rooms
                .of_user(&settings.domain, who)
                .await?;
            let owner =
                |(_, affiliation): &&(String, _)| *affiliation == storage::Affiliation::Owner;
            if rooms.iter().filter(owner).count() >= most {
                let text = format!("nobody may own more than {most} rooms here");
                return Err(Condition::ResourceConstraint.text(text));
            }
        }
        Ok(())
    }

    /// What a room calls an account: the same each time, in no other room, and nobody can tell whose it is.
    pub(crate) fn occupant_id(&self, room: &BareJid, who: &BareJid) -> Arc<str> {
        let settings = self.settings();
        let mut mac = Hmac::<Sha256>::new_from_slice(settings.secret.expose())
            .expect("a key of any length will do");
        mac.update(room.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(who.as_str().as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()).into()
    }
}

/// Answers what is sent to the service itself.
pub(crate) async fn answer(service: &Arc<Service>, packet: Packet) {
    let stanza = packet.stanza.clone();
    let answer = match stanza.kind() {
        Kind::Iq if stanza.iq_type() == IqType::Get => Some(get(service, &stanza).await),
        Kind::Iq if stanza.iq_type() == IqType::Set => {
            Some(Err(Condition::ServiceUnavailable.into()))
        }
        // Nobody reads the service's mail (our choice).
        Kind::Message if !stanza.is_error() => Some(Err(Condition::ServiceUnavailable.into())),
        Kind::Message | Kind::Presence | Kind::Iq => None,
    };
    let reply = match answer {
        Some(Ok(payload)) => Some(Stanza::iq_result(&stanza, payload)),
        Some(Err(error)) => stanza.error_reply(&error),
        None => None,
    };
    if let Some(reply) = reply {
        let router = &service.host.router;
        router.route(router.answer(reply, &packet.meta)).await;
    }
    packet.receipt.resolve(Outcome::Delivered);
}

/// Answers a question to the service.
///
/// # Errors
///
/// - `item-not-found`: a node of service discovery, or a resource, that is not there.
/// - `service-unavailable`: a namespace that nobody here knows.
async fn get(service: &Arc<Service>, stanza: &Stanza) -> Result<Fragment, StanzaError> {
    if stanza.to().is_some_and(|to| to.resource().is_some()) {
        return Err(Condition::ItemNotFound.into());
    }
    let payload = payload(stanza)?;
    match payload.ns().as_str() {
        ns::PING => Ok(Fragment::empty()),
        ns::DISCO_INFO => disco::service_info(service, payload),
        ns::DISCO_ITEMS => disco::service_items(service, payload).await,
        search::SEARCH => search::answer(service, payload).await,
        _ => Err(Condition::ServiceUnavailable.into()),
    }
}

/// The payload of a request.
pub(crate) fn payload(stanza: &Stanza) -> Result<&minidom::Element, StanzaError> {
    let payload = stanza.dom().children().next();
    payload.ok_or_else(|| Condition::BadRequest.into())
}

/// The sender of a stanza, who is always known here.
pub(crate) fn sender(stanza: &Stanza) -> &Jid {
    stanza.from().expect("routed stanzas bear a `from`")
}
