//! Certificates: which one answers which name.
//!
//! Loaded as a whole and exchanged as a whole: a reload that finds anything wrong keeps what was
//! served before and says what is wrong. A peer's server name chooses by the names in the
//! certificates (RFC 9525 §6.3); who asks for an unknown name gets the default one.

mod clients;
mod files;
mod names;
mod resolver;
mod self_signed;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use otp::Clock;
use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use tokio::sync::Semaphore;

use crate::{HANDSHAKES, ServerConfig};
use clients::{Asking, Verifier};
use files::Loaded;
use resolver::{Resolver, Set};

pub(crate) use clients::Authorities;
pub use clients::ClientCertificate;

/// A certificate is reported as about to expire this long before.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Where certificates come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Globs of PEM files: chain and key in one file, `NAME.crt` beside `NAME.key`, or
    /// `fullchain.pem` beside `privkey.pem`.
    pub patterns: Vec<String>,
    /// The domains that need one, the first of which gives the default certificate.
    pub domains: Vec<String>,
    /// Certificates to sign ourselves.
    pub self_signed: Option<SelfSigned>,
    /// Globs of PEM files with the authorities that vouch for clients; none: clients are not asked for a
    /// certificate.
    pub client_authorities: Vec<String>,
}

/// Certificates this server makes for itself.
#[derive(Clone, Debug)]
pub struct SelfSigned {
    /// Where they are kept, one file a domain, readable by the owner alone.
    pub directory: PathBuf,
    /// For which domains, where no other certificate covers them.
    pub domains: Vec<String>,
}

/// What is wrong with one source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The glob cannot be read.
    #[error("{pattern}: not a pattern: {why}")]
    Pattern {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// No file matches the glob.
    #[error("{pattern}: no file matches")]
    NothingMatches {
        /// The glob.
        pattern: String,
    },
    /// A file or directory cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file holds neither certificates nor keys, or broken ones.
    #[error("{}: {why}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate has no key.
    #[error("{}: no private key inside it or beside it", path.display())]
    NoKey {
        /// The certificate's file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("{domain}: cannot sign a certificate: {why}")]
    SelfSigning {
        /// For which domain.
        domain: String,
        /// Why not.
        why: String,
    },
}

/// Everything that is wrong, at least one thing.
#[derive(Debug)]
pub struct CertificateErrors(pub Vec<CertificateError>);

impl fmt::Display for CertificateErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let line_break = if at == 0 { "" } else { "\n" };
            write!(f, "{line_break}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CertificateErrors {}

/// How well the domains are covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateReport {
    /// Domains with a certificate.
    pub covered: Vec<Covered>,
    /// Domains without one.
    pub uncovered: Vec<String>,
}

/// A domain and the certificate that answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The domain.
    pub domain: String,
    /// The certificate's file.
    pub path: PathBuf,
    /// When it ends.
    pub expires: SystemTime,
    /// Whether it has ended.
    pub expired: bool,
    /// Whether it ends within two weeks.
    pub expires_soon: bool,
}

/// Certificates that were read and found good, and are not served yet.
pub struct PreparedCertificates {
    sources: Sources,
    set: Set,
    authorities: Option<Verifier>,
}

/// The certificates of one server. Clones are the same.
#[derive(Clone)]
pub struct Certificates(Arc<Inner>);

struct Inner {
    clock: Clock,
    sources: Mutex<Sources>,
    resolver: Arc<Resolver>,
    authorities: Arc<Authorities>,
    /// The turns for TLS handshakes.
    turns: Arc<Semaphore>,
}

impl Certificates {
    /// Loads `sources`. Domains without a certificate are no error; see [`report`](Self::report).
    ///
    /// # Errors
    ///
    /// Everything wrong with any source.
    pub fn load(sources: Sources, clock: &Clock) -> Result<Certificates, CertificateErrors> {
        Certificates::load_for(sources, clock, HANDSHAKES)
    }

    /// As [`load`](Self::load), for at most so many handshakes at once; [`HANDSHAKES`] unless said.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_for(
        sources: Sources,
        clock: &Clock,
        handshakes: usize,
    ) -> Result<Certificates, CertificateErrors> {
        let (set, authorities) = gather(&sources, clock.wall())?;
        Ok(Certificates(Arc::new(Inner {
            clock: clock.clone(),
            sources: Mutex::new(sources),
            resolver: Arc::new(Resolver(ArcSwap::from_pointee(set))),
            authorities: Arc::new(Authorities::new(authorities)),
            turns: Arc::new(Semaphore::new(handshakes.clamp(1, Semaphore::MAX_PERMITS))),
        })))
    }

    /// Loads the same sources again. Connections that stand are not touched.
    ///
    /// # Errors
    ///
    /// Everything wrong with any source; the certificates served so far stay.
    pub fn reload(&self) -> Result<(), CertificateErrors> {
        let sources = self.0.sources.lock().clone();
        self.replace(sources)
    }

    /// Loads other sources in place of those so far.
    ///
    /// # Errors
    ///
    /// Everything wrong with any source; the certificates and sources so far stay.
    pub fn replace(&self, sources: Sources) -> Result<(), CertificateErrors> {
        let prepared = self.prepare(sources)?;
        self.install(prepared);
        Ok(())
    }

    /// Loads other sources without serving them yet, for those who have more to look at first.
    ///
    /// # Errors
    ///
    /// Everything wrong with any source.
    pub fn prepare(&self, sources: Sources) -> Result<PreparedCertificates, CertificateErrors> {
        let (set, authorities) = gather(&sources, self.0.clock.wall())?;
        Ok(PreparedCertificates {
            sources,
            set,
            authorities,
        })
    }

    /// Serves what was prepared in place of the certificates and sources so far.
    pub fn install(&self, prepared: PreparedCertificates) {
        self.0.resolver.0.store(Arc::new(prepared.set));
        self.0.authorities.replace(prepared.authorities);
        *self.0.sources.lock() = prepared.sources;
    }

    /// Says which domains are covered, by what, and for how long.
    pub fn report(&self) -> CertificateReport {
        let now = self.0.clock.wall();
        let set = self.0.resolver.0.load();
        let mut report = CertificateReport::default();
        for domain in self.0.sources.lock().domains.iter().cloned() {
            match set.covering(&domain) {
                Some(loaded) => report.covered.push(Covered {
                    domain,
                    path: loaded.path.clone(),
                    expires: loaded.expires,
                    expired: loaded.expires <= now,
                    expires_soon: loaded.expires <= now + SOON,
                }),
                None => report.uncovered.push(domain),
            }
        }
        report
    }

    /// Whether there is any certificate at all.
    pub fn is_empty(&self) -> bool {
        self.0.resolver.0.load().is_empty()
    }

    /// A server's TLS configuration over these certificates: TLS 1.3 and 1.2, session tickets, no
    /// early data. With `alpn` names, a peer that offers others only is refused by
    /// `no_application_protocol`; one that offers none is accepted. Make one per listener: resumption
    /// is the configuration's. Reloads reach it.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider speaks TLS 1.2 and 1.3");
        let asking = Asking::new(self.0.authorities.clone());
        let mut config = builder
            .with_client_cert_verifier(Arc::new(asking))
            .with_cert_resolver(self.0.resolver.clone());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        match ring::Ticketer::new() {
            Ok(ticketer) => config.ticketer = ticketer,
            // Without random numbers for tickets, resumption falls back to rustls' memory.
            Err(error) => tracing::warn!(target: "natter::net", %error, "no session tickets"),
        }
        let (turns, authorities) = (self.0.turns.clone(), self.0.authorities.clone());
        Arc::new(ServerConfig::new(config, turns, authorities))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("sources", &*self.0.sources.lock())
            .finish_non_exhaustive()
    }
}

/// Reads all sources into one set.
fn gather(
    sources: &Sources,
    now: SystemTime,
) -> Result<(Set, Option<Verifier>), CertificateErrors> {
    let mut errors = Vec::new();
    let mut loaded: Vec<Loaded> = files::load(&sources.patterns, &mut errors);
    if let Some(own) = &sources.self_signed {
        for domain in &own.domains {
            if loaded.iter().any(|loaded| loaded.covers(domain)) {
                continue;
            }
            match self_signed::obtain(&own.directory, domain, now) {
                Ok(made) => loaded.push(made),
                Err(error) => errors.push(error),
            }
        }
    }
    let authorities = clients::load(&sources.client_authorities, &mut errors);
    if errors.is_empty() {
        Ok((Set::new(loaded, &sources.domains), authorities))
    } else {
        Err(CertificateErrors(errors))
    }
}
