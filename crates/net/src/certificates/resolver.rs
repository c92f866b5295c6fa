//! The set of certificates in service, and the choice among them during a handshake.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::files::Loaded;
use super::names;

/// Certificates in service. Invariant: the first is the default one.
pub(super) struct Set(Vec<Loaded>);

impl Set {
    /// A set in which the certificate of the first covered domain is the default. Of several for one
    /// name the one that lasts longest is shown, so that a renewed one in another file takes over.
    pub(super) fn new(mut loaded: Vec<Loaded>, domains: &[String]) -> Set {
        loaded.sort_by_key(|loaded| Reverse(loaded.expires));
        let default = domains
            .iter()
            .find_map(|domain| loaded.iter().position(|loaded| loaded.covers(domain)));
        if let Some(at) = default {
            loaded[..=at].rotate_right(1);
        }
        Set(loaded)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The certificate for a domain that lasts longest.
    pub(super) fn covering(&self, domain: &str) -> Option<&Loaded> {
        let covering = self.0.iter().filter(|loaded| loaded.covers(domain));
        covering.max_by_key(|loaded| loaded.expires)
    }

    /// Those that carry the name `host` literally come before those that do by wildcard.
    fn for_host(&self, host: &str) -> impl Iterator<Item = &Loaded> {
        let exact = move |loaded: &&Loaded| loaded.names.iter().any(|name| name == host);
        let rest = move |loaded: &&Loaded| {
            !exact(loaded) && loaded.names.iter().any(|name| names::matches(name, host))
        };
        self.0
            .iter()
            .filter(exact)
            .chain(self.0.iter().filter(rest))
    }
}

/// Chooses a certificate by server name and by the signatures the peer can check.
pub(super) struct Resolver(pub(super) ArcSwap<Set>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = self.0.load();
        let checkable = |loaded: &&Loaded| {
            let schemes = hello.signature_schemes();
            loaded.certified.key.choose_scheme(schemes).is_some()
        };
        let name = hello.server_name().map(str::to_ascii_lowercase);
        if let Some(name) = &name {
            if let Some(loaded) = set.for_host(name).find(checkable) {
                return Some(loaded.certified.clone());
            }
            tracing::info!(target: "natter::net", sni = %name, "no certificate for this name that the client can check, the default one is shown");
        }
        let default = set.0.iter().find(checkable).or_else(|| set.0.first());
        default.map(|loaded| loaded.certified.clone())
    }
}
