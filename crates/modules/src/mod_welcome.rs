//! `mod_welcome`: a word to those who come for the first time.
//!
//! Hook: `c2s_self_presence`. Stores: `last` (who was welcomed). State: none.

use gen_mod::prelude::*;
use session::hooks::SelfPresence;
use xmpp::MessageType;

options! {
    /// What new accounts are told.
    pub struct WelcomeOpts {
        /// Subject of the message.
        pub subject: Option<String>,
        /// The message; `@HOST@` is the host's name.
        pub message: String = "Welcome to @HOST@!".into(),
    }
}

/// A message to each account when it is available for the first time since the module runs: once, on one
/// device or in the offline queue. Its process only holds its registration.
pub struct ModWelcome;

impl Module for ModWelcome {
    const NAME: &'static str = "mod_welcome";
    const SOURCES: &'static [Source] = &[];
    type Opts = WelcomeOpts;

    async fn start(
        ctx: &ModuleCtx,
        opts: WelcomeOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let from = xmpp::parse_jid(&ctx.host.name)
            .map_err(|error| StartError::Resource(error.to_string()))?;
        let message = Stanza::message(MessageType::Normal).from(from);
        let message = match &opts.subject {
            Some(subject) => message.subject(subject),
            None => message,
        };
        let message = message.body(&opts.message).finish();
        let registrations = Registrations::new()
            .hook_wait::<SelfPresence, _, _>(Priority::LAST, move |host, shown| {
                welcome(host, shown, message.clone())
            });
        Ok((ModWelcome, registrations))
    }
}

async fn welcome(host: Host, shown: SelfPresence, message: Stanza) -> Flow<SelfPresence> {
    if !shown.first {
        return Flow::Next(shown);
    }
    let account = shown.user.to_bare();
    match host.storage.last.welcome(&account).await {
        Ok(true) => {
            let message = message.edit().to(Jid::from(account)).finish();
            host.router.route(host.router.packet(message)).await;
        }
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(target: "natter::welcome", %account, %error, "not welcomed");
        }
    }
    Flow::Next(shown)
}
