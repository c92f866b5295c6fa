//! `mod_muc`: rooms, in which many talk with many.
//!
//! Source: XEP-0045 v1.35 and what clients expect beside it; docs/ROOMS.md tells what holds. Route: option `host`,
//! taken where it is routed: to a room's process, opened when it is not there. State: none; what the rooms share
//! lives beside this process and outlives it. Hook: `account_gone`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gen_mod::prelude::*;
use otp::ChildSpec;
use router::AccountGone;
use storage::{Batch, StorageError};

use crate::config::{Bounds, RoomConfig};
use crate::limits::Rate;
use crate::manage;
use crate::rooms::{self, Keeper, keeper_name};
use crate::service::{Service, Settings};

/// How often what was archived too long ago is removed.
const CLEAN_EVERY: Duration = Duration::from_secs(3600);

/// It is time to remove what was archived too long ago.
struct Clean;

/// How long the keeper of the rooms may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

config::choice! {
    /// Who may make rooms.
    #[derive(Default)]
    pub enum Creators {
        /// Anybody, also from other servers.
        Everyone = "everyone",
        /// Who has an account on this server.
        #[default]
        Local = "local",
        /// Administrators of the server or of this host.
        Admins = "admins",
    }
}

options! {
    /// The rooms of a host.
    pub struct MucOpts {
        /// Domain the rooms are at; `@HOST@` is the host's name.
        pub host: String = "conference.@HOST@".into() => Restart,
        /// What the service is called, shown to people.
        pub name: String = "Chatrooms".into(),
        /// Who may make rooms.
        pub create: Creators = Creators::Local,
        /// How many rooms somebody may own; 0: any number.
        pub max_rooms_owned: u32 = 100,
        /// How many may be in one room; a room may allow fewer.
        pub max_users: u32 [1..=100_000] = 5000,
        /// How many accounts and domains a room may know as members, admins, owners and outcasts.
        pub max_affiliations: u32 [1..=1_000_000] = 10_000,
        /// How many messages of the past a room may tell those who come.
        pub max_history: u32 [0..=1000] = 100,
        /// The longest nickname, in bytes.
        pub max_nick_bytes: u32 [1..=1023] = 256,
        /// How many messages an occupant may send at once, before `message_interval` counts.
        pub message_burst: u32 [1..=10_000] = 100,
        /// How long it takes until an occupant may send one more; 0: no limit.
        pub message_interval: Duration = Duration::from_millis(100),
        /// How many changes of presence and nickname an occupant may make at once.
        pub presence_burst: u32 [1..=10_000] = 30,
        /// How long it takes until an occupant may make one more; 0: no limit.
        pub presence_interval: Duration = Duration::from_millis(500),
        /// How long a new room waits for its owner to configure it; then it is as new rooms are.
        pub configure_within: Duration [Duration::from_secs(1)..=Duration::from_secs(86_400)] = Duration::from_secs(3600),
        /// How long a room that outlives its occupants stays in memory without them.
        pub hibernate_after: Duration [Duration::from_secs(1)..=Duration::from_secs(604_800)] = Duration::from_secs(600),
        /// How long archived messages are kept; 0: for ever.
        pub archive_for: Duration = Duration::ZERO,
        /// What new rooms are like, by the options that `room_options` shows.
        pub defaults: BTreeMap<String, String> = BTreeMap::new(),
    }
}

impl MucOpts {
    pub(crate) fn message_rate(&self) -> Rate {
        Rate {
            burst: self.message_burst,
            every: self.message_interval,
        }
    }

    pub(crate) fn presence_rate(&self) -> Rate {
        Rate {
            burst: self.presence_burst,
            every: self.presence_interval,
        }
    }
}

/// Multi-user chat.
pub struct ModMuc {
    service: Arc<Service>,
}

impl Module for ModMuc {
    const NAME: &'static str = "mod_muc";
    const SOURCES: &'static [Source] = &[
        xep(45, "1.35.5", Complete),
        xep(59, "1.0", Partial("service items, searches and archives")),
        xep(203, "2.0", Partial("what rooms tell of the past")),
        xep(249, "1.2", Partial("beside invitations that rooms pass on")),
        xep(313, "1.1.3", Partial("archives of rooms")),
        xep(317, "0.3.1", Complete),
        xep(359, "0.7.0", Partial("ids that rooms give")),
        xep(410, "1.1.0", Complete),
        xep(421, "1.0.1", Complete),
        xep(424, "0.4.2", Partial("in rooms")),
        xep(425, "0.3.0", Complete),
        xep(433, "0.1.0", Partial("rooms of this service")),
        xep(463, "0.2.0", Complete),
        xep(486, "0.1.0", Complete),
        xep(502, "0.1.0", Complete),
    ];
    type Opts = MucOpts;

    fn beside(host: &Host) -> Vec<ChildSpec> {
        rooms::children(&Service::new(host.clone()))
    }

    async fn start(ctx: &ModuleCtx, opts: MucOpts) -> Result<(Self, Registrations), StartError> {
        let domain = ctx.domain("host", &opts.host)?;
        let defaults = defaults(&opts)?;
        let secret = ctx.host.storage.secrets.get_or_create("muc").await;
        let secret = secret.map_err(|error| StartError::Resource(error.to_string()))?;
        let keeper = keeper_name(&ctx.host.name);
        let keeper = ctx.host.system.registry().named::<Keeper>(keeper);
        let service = keeper.call((), WITHIN).await;
        let service = service.map_err(|error| StartError::Resource(error.to_string()))?;
        service.set(Settings {
            domain: domain.clone(),
            opts,
            defaults,
            secret,
        });
        forget_temporary(&service).await?;
        let (taking, hearing) = (Arc::clone(&service), Arc::clone(&service));
        let registrations = Registrations::new()
            .route_inline(domain, move |_, packet| rooms::take(&taking, packet))
            .node_hook::<AccountGone>(Priority::NORMAL, move |_, gone| {
                hearing.rooms.account_gone(&gone.account);
                Flow::Next(gone)
            });
        let registrations = manage::all(&service)
            .into_iter()
            .fold(registrations, Registrations::command);
        ctx.send_after(CLEAN_EVERY, Clean);
        Ok((ModMuc { service }, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        match info {
            Info::Message(message) if message.is::<Clean>() => {
                ctx.send_after(CLEAN_EVERY, Clean);
                let service = Arc::clone(&self.service);
                ctx.spawn(async move { clean(&service).await });
            }
            Info::Route(_) | Info::Message(_) | Info::Down(_) => {}
        }
    }

    async fn reload(&mut self, new: &MucOpts, old: &MucOpts, _ctx: &ModuleCtx) -> Reload {
        let Ok(defaults) = defaults(new) else {
            return Reload::Restart;
        };
        if new.host != old.host {
            return Reload::Restart;
        }
        let before = self.service.settings();
        self.service.set(Settings {
            domain: before.domain.clone(),
            opts: new.clone(),
            defaults,
            secret: before.secret.clone(),
        });
        Reload::Done
    }
}

/// Rooms that were to end with their last occupant, whose occupants went with an earlier run of the server.
async fn forget_temporary(service: &Service) -> Result<(), StartError> {
    let failed = |error: StorageError| StartError::Resource(error.to_string());
    let storage = &service.host.storage;
    let domain = service.domain();
    let mut batch = Batch::new();
    for name in storage.rooms.temporary(&domain).await.map_err(failed)? {
        if service.rooms.get(&name).is_none()
            && let Some(room) = service.room(&name)
        {
            batch.remove_room(&room);
        }
    }
    storage.commit(batch).await.map_err(failed)?;
    Ok(())
}

/// Removes what was archived too long ago.
async fn clean(service: &Service) {
    let settings = service.settings();
    let kept = settings.opts.archive_for;
    if kept.is_zero() {
        return;
    }
    let Some(before) = service.host.clock.wall().checked_sub(kept) else {
        return;
    };
    let archive = &service.host.storage.archive;
    if let Err(error) = archive.remove_older(&settings.domain, before).await {
        tracing::warn!(target: "natter::muc", %error, "old messages were not removed");
    }
}

/// What new rooms are like.
fn defaults(opts: &MucOpts) -> Result<RoomConfig, StartError> {
    let bounds = Bounds {
        users: opts.max_users,
        history: opts.max_history,
    };
    let mut config = RoomConfig::default();
    config.history = config.history.min(bounds.history);
    for (name, value) in &opts.defaults {
        let set = config.set(name, value, &bounds);
        set.map_err(|why| StartError::Option {
            key: "defaults",
            why,
        })?;
    }
    Ok(config)
}
