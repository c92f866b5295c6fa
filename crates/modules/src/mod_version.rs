//! `mod_version`: which software is this?
//!
//! Source: XEP-0092 v1.1 §2. State: none.

use gen_mod::prelude::*;
use xmpp::payload::{VersionQuery, VersionResult};

options! {
    /// What the host says of its software.
    pub struct VersionOpts {
        /// Whether the operating system is named.
        pub show_os: bool = false,
    }
}

/// Software Version of the host. Its state is what it may say.
pub struct ModVersion;

impl Module for ModVersion {
    const NAME: &'static str = "mod_version";
    const SOURCES: &'static [Source] = &[xep(92, "1.1", Complete)];
    type Opts = VersionOpts;

    async fn start(
        _ctx: &ModuleCtx,
        opts: VersionOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let registrations = Registrations::new().feature(ns::VERSION).iq_get(
            To::Host,
            ns::VERSION,
            move |_host, iq| version(iq, opts.show_os),
        );
        Ok((ModVersion, registrations))
    }
}

/// Answers with name and version.
///
/// # Errors
///
/// `bad-request`: the payload is no such query.
async fn version(iq: Iq, show_os: bool) -> Result<VersionResult, StanzaError> {
    let VersionQuery = iq.payload()?;
    Ok(VersionResult {
        name: "Natter".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        os: show_os.then(|| std::env::consts::OS.to_owned()),
    })
}
