//! `mod_http_offline`: tells a URL of messages that wait for those who are away.
//!
//! Hook: `offline_message`. State: what is to be posted, bounded and in memory: the messages themselves are in the store,
//! whatever becomes of the posts. docs/HTTP.md tells what is posted and how it is checked.

mod notice;
mod queue;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{Bytes, Secret};
use gen_mod::prelude::*;
use httpd::{Client, Target};
use net::{Dialer, Trust};
use otp::ExitReason;
use session::hooks::{Kept, OfflineMessage};

use crate::Web;
use notice::Notice;
use queue::{Limits, Poster, Queue};

pub(crate) use queue::Posts;

options! {
    /// Where and how it is told that messages wait.
    pub struct HttpOfflineOpts {
        /// URL that is posted to: `https://…`, or `http://…` within a network that is trusted.
        pub url: Option<String>,
        /// Key of the signatures, of at least 16 characters.
        pub secret: Option<Secret>,
        /// PEM file of the authorities that the URL's certificate is verified against; those of the system unless said.
        pub ca_file: Option<PathBuf>,
        /// Whether the message itself is posted, not only from whom and to whom it is.
        pub content: bool = true,
        /// How long one try may take.
        pub within: Duration [Duration::from_secs(1)..=Duration::from_secs(300)] = Duration::from_secs(10),
        /// How long is waited after the first failure; twice as long after each further one.
        pub first_wait: Duration [Duration::from_millis(100)..=Duration::from_secs(3600)] = Duration::from_secs(1),
        /// The longest that is waited between tries.
        pub longest_wait: Duration [Duration::from_secs(1)..=Duration::from_secs(86_400)] = Duration::from_secs(300),
        /// For how long a post is tried before it is given up.
        pub give_up_after: Duration [Duration::from_secs(1)..=Duration::from_secs(86_400 * 7)] = Duration::from_secs(3600),
        /// Posts that may wait; of more the new ones are dropped.
        pub queue: usize [1..=1_000_000] = 10_000,
        /// Bytes of posts that may wait.
        pub queue_bytes: Bytes [Bytes(65_536)..] = Bytes::mib(16),
    }
}

/// The shortest key that is taken.
const SHORTEST_SECRET: usize = 16;

/// Posts of waiting messages.
pub struct ModHttpOffline {
    queue: Arc<Queue>,
}

impl Module for ModHttpOffline {
    const NAME: &'static str = "mod_http_offline";
    const SOURCES: &'static [Source] = &[];
    type Opts = HttpOfflineOpts;

    async fn start(
        ctx: &ModuleCtx,
        opts: HttpOfflineOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let (client, secret) = client(ctx, &opts).await?;
        let posts = ctx.host.service::<Web>().posts().clone();
        let limits = Limits {
            posts: opts.queue,
            bytes: opts.queue_bytes.as_usize(),
        };
        let queue = Queue::new(limits, posts);
        let poster = Poster {
            host: ctx.host.name.to_string(),
            clock: ctx.host.clock.clone(),
            queue: Arc::clone(&queue),
            client,
            secret,
            within: opts.within,
            first_wait: opts.first_wait,
            longest_wait: opts.longest_wait.max(opts.first_wait),
            give_up_after: opts.give_up_after,
        };
        ctx.spawn(poster.run());
        let (waiting, content) = (Arc::clone(&queue), opts.content);
        let registrations = Registrations::new().hook_if::<OfflineMessage>(
            Priority::LAST,
            |_, message| matches!(message.kept, Kept::Stored),
            move |host, message| {
                waiting.push(Notice::of(&message, content), host.clock.now());
                Flow::Next(message)
            },
        );
        Ok((ModHttpOffline { queue }, registrations))
    }

    async fn stop(self, _reason: &ExitReason, ctx: &ModuleCtx) {
        let left = self.queue.len();
        if left > 0 {
            tracing::warn!(target: "natter::web", host = &*ctx.host.name, left, "posts of waiting messages end with mod_http_offline");
        }
    }
}

/// # Errors
///
/// A URL or a key is missing or cannot be used; the authorities cannot be read.
async fn client(ctx: &ModuleCtx, opts: &HttpOfflineOpts) -> Result<(Client, Secret), StartError> {
    let wrong = |key, why: &str| StartError::Option {
        key,
        why: why.to_owned(),
    };
    let url = opts.url.as_deref();
    let url = url.ok_or_else(|| wrong("url", "is missing"))?;
    let target = Target::parse(url).ok_or_else(|| {
        let why = "is no URL such as https://example.org/offline, without a password in it";
        wrong("url", why)
    })?;
    let secret = opts.secret.clone();
    let secret = secret.ok_or_else(|| wrong("secret", "is missing"))?;
    if secret.expose().len() < SHORTEST_SECRET {
        return Err(wrong("secret", "is shorter than 16 characters"));
    }
    let trust = match &opts.ca_file {
        Some(file) => Trust::File(file.clone()),
        None => Trust::System,
    };
    let clock = ctx.host.clock.clone();
    let dialer = tokio::task::spawn_blocking(move || Dialer::new(&clock, &trust)).await;
    let dialer = dialer.map_err(|error| StartError::Resource(error.to_string()))?;
    let dialer = dialer.map_err(|error| StartError::Option {
        key: "ca_file",
        why: error.to_string(),
    })?;
    Ok((Client::new(&ctx.host.clock, dialer, target), secret))
}
