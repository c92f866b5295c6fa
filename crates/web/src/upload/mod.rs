//! `mod_http_upload`: files that accounts send to others by a link.
//!
//! Source: XEP-0363 v1.2.0. Route: option `host`, or the host itself. Hooks: `disco_info` where it is the host itself,
//! `user_removed`. Commands: `upload_list`, `upload_delete`. HTTP: below the path of its URLs. State: its service; the
//! rows are in the store, the files in `uploads` of the data folder.

mod clean;
mod commands;
mod files;
mod name;
mod service;
mod shelf;
mod slot;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use config::Bytes;
use gen_mod::prelude::*;
use session::hooks::{DiscoInfo, UserRemoved};

use crate::Web;
use service::{Service, Settings};
use uploads::Served;

pub(crate) use files::Files;
pub use shelf::Disk;
pub(crate) use uploads::Uploads;

/// How often files whose time has come are looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(600);

/// After how many of these files that nobody knows are looked for.
const STRAYS_EVERY: u32 = 144;

/// It is time to remove what is over.
struct Clean(u32);

options! {
    /// Files that accounts send to others by a link.
    pub struct UploadOpts {
        /// Domain that gives slots; `@HOST@` is the host's name, which alone makes the host itself give them.
        pub host: String = "upload.@HOST@".into() => Restart,
        /// What the service is called, shown to people.
        pub name: String = "File upload".into(),
        /// URL below which files are put, as clients reach it; `@HOST@` is the host's name. Unless said the host's name with the port of an HTTP listener, with TLS where there is one, and the path `/upload`.
        pub put_url: Option<String> => Restart,
        /// URL below which files are got; `put_url` unless said.
        pub get_url: Option<String> => Restart,
        /// The largest file.
        pub max_size: Bytes [Bytes(1)..] = Bytes::mib(100),
        /// Bytes that an account may have on the server at a time.
        pub quota: Bytes [Bytes(1)..] = Bytes::mib(1024),
        /// Bytes that an account may put within 24 hours.
        pub daily_quota: Bytes [Bytes(1)..] = Bytes::mib(512),
        /// Files that an account may have on the server at a time.
        pub max_files: u32 [1..=1_000_000] = 10_000,
        /// Media types that are taken: `image/png`, `image/*`. All if there are none.
        pub types: Vec<String> = Vec::new(),
        /// How long a file is kept; for files that come from now on.
        pub keep_for: Duration [Duration::from_secs(60)..=Duration::from_secs(86_400 * 36_500)] = Duration::from_secs(86_400 * 30),
        /// How long a client has until it begins to put a file.
        pub slot_for: Duration [Duration::from_secs(10)..=Duration::from_secs(86_400)] = Duration::from_secs(300),
    }
}

/// HTTP File Upload.
pub struct ModHttpUpload {
    service: Arc<Service>,
}

impl Module for ModHttpUpload {
    const NAME: &'static str = "mod_http_upload";
    const SOURCES: &'static [Source] = &[xep(
        363,
        "1.2.0",
        Partial("purposes: message and ephemeral"),
    )];
    type Opts = UploadOpts;

    async fn start(ctx: &ModuleCtx, opts: UploadOpts) -> Result<(Self, Registrations), StartError> {
        let domain = ctx.domain("host", &opts.host)?;
        let settings = Settings::read(&ctx.host.name, domain.clone(), opts)?;
        let paths = settings.paths();
        let service = Arc::new(Service::new(ctx.host.clone(), settings));
        let served = Served {
            service: Arc::clone(&service),
            paths,
        };
        let registrations = Registrations::new()
            .with(served)
            .hook_wait::<UserRemoved, _, _>(Priority::NORMAL, forget);
        let registrations = commands::commands(&service)
            .into_iter()
            .fold(registrations, Registrations::command);
        let registrations = match domain == *ctx.host.name {
            true => on_host(registrations, &service),
            false => on_own(registrations, &service, domain),
        };
        clean(ctx, &service, 0);
        Ok((ModHttpUpload { service }, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        if let Info::Message(message) = info
            && let Ok(clean) = message.downcast::<Clean>()
        {
            self::clean(ctx, &self.service, clean.0);
        }
    }

    async fn reload(&mut self, new: &UploadOpts, old: &UploadOpts, ctx: &ModuleCtx) -> Reload {
        let is_elsewhere =
            (&new.host, &new.put_url, &new.get_url) != (&old.host, &old.put_url, &old.get_url);
        let domain = self.service.settings().domain.clone();
        match Settings::read(&ctx.host.name, domain, new.clone()) {
            Ok(settings) if !is_elsewhere => {
                self.service.set(settings);
                Reload::Done
            }
            _ => Reload::Restart,
        }
    }
}

/// Removes what is over, beside all else, and comes back.
fn clean(ctx: &ModuleCtx, service: &Arc<Service>, round: u32) {
    ctx.send_after(CLEAN_EVERY, Clean(round.wrapping_add(1)));
    let service = Arc::clone(service);
    ctx.spawn(async move {
        clean::over(&service).await;
        if round.is_multiple_of(STRAYS_EVERY) {
            clean::strays(&service).await;
        }
    });
}

/// The service has an address of its own.
fn on_own(registrations: Registrations, service: &Arc<Service>, domain: String) -> Registrations {
    let service = Arc::clone(service);
    registrations.route_inline(domain, move |_, packet| {
        Routing::later(slot::answer(Arc::clone(&service), packet))
    })
}

/// The host gives the slots itself.
fn on_host(registrations: Registrations, service: &Arc<Service>) -> Registrations {
    let (asked, told) = (Arc::clone(service), Arc::clone(service));
    let registrations = slot::FEATURES
        .into_iter()
        .fold(registrations, Registrations::feature);
    registrations
        .iq_get(To::Host, slot::NS, move |_, iq: Iq| {
            let service = Arc::clone(&asked);
            async move { slot::slot(&service, &iq.stanza).await }
        })
        .hook::<DiscoInfo>(Priority::NORMAL, move |_, mut asked| {
            if asked.to == To::Host {
                asked.info.extensions.push(slot::form(&told.settings()));
            }
            Flow::Next(asked)
        })
}

/// Removes the files of an account that is no more; its rows went with it.
async fn forget(host: Host, removed: UserRemoved) -> Flow<UserRemoved> {
    let shelf = &host.service::<Web>().uploads().shelf;
    if let Err(error) = shelf.remove_owner(&removed.account).await {
        tracing::warn!(target: "natter::web", account = %removed.account, %error, "files of a removed account were not removed");
    }
    Flow::Next(removed)
}
