//! Certificates and keys from PEM files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertificateError, names};

/// A certificate with its key, ready for use.
pub(super) struct Loaded {
    /// Where it came from.
    pub(super) path: PathBuf,
    /// Its DNS names, canonical; wildcards start with `*.`.
    pub(super) names: Vec<String>,
    pub(super) expires: SystemTime,
    pub(super) certified: Arc<CertifiedKey>,
}

impl Loaded {
    /// Whether one of its names covers the domain.
    pub(super) fn covers(&self, domain: &str) -> bool {
        let Some(host) = names::canonical(domain) else {
            return false;
        };
        self.names.iter().any(|name| names::matches(name, &host))
    }
}

/// Loads what the globs match, in order of globs and names; what is wrong is added to `errors`.
pub(super) fn load(patterns: &[String], errors: &mut Vec<CertificateError>) -> Vec<Loaded> {
    let mut loaded: Vec<Loaded> = Vec::new();
    for path in matching(patterns, errors) {
        match load_file(&path) {
            Ok(Some(new)) => add(&mut loaded, new),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    loaded
}

/// The same certificate may be found in several files (`cert.pem`, `fullchain.pem`): the one with the
/// longest chain serves.
fn add(loaded: &mut Vec<Loaded>, new: Loaded) {
    let same = loaded
        .iter_mut()
        .find(|old| old.certified.cert[0] == new.certified.cert[0]);
    match same {
        Some(old) if old.certified.cert.len() < new.certified.cert.len() => *old = new,
        Some(_) => {}
        None => loaded.push(new),
    }
}

pub(super) fn matching(patterns: &[String], errors: &mut Vec<CertificateError>) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let found = match glob::glob(pattern) {
            Ok(found) => found,
            Err(error) => {
                errors.push(CertificateError::Pattern {
                    pattern: pattern.clone(),
                    why: error.to_string(),
                });
                continue;
            }
        };
        let before = paths.len();
        let mut any = false;
        for path in found {
            any = true;
            match path {
                Ok(path) if path.is_dir() || paths[..before].contains(&path) => {}
                Ok(path) => paths.push(path),
                Err(error) => errors.push(CertificateError::Io {
                    path: error.path().to_owned(),
                    error: error.into(),
                }),
            }
        }
        if !any {
            errors.push(CertificateError::NothingMatches {
                pattern: pattern.clone(),
            });
        }
    }
    paths
}

/// Loads one file; `None` when it is only a part of another's: a key, or certificates of an authority.
pub(super) fn load_file(path: &Path) -> Result<Option<Loaded>, CertificateError> {
    let text = read(path)?;
    let broken = |why: String| CertificateError::Broken {
        path: path.to_owned(),
        why,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(format!("not PEM: {error}")))?;
    let inside = PrivateKeyDer::from_pem_slice(&text);
    let Some(leaf) = chain.first() else {
        return match inside {
            Ok(_) => Ok(None),
            Err(_) => Err(broken("neither certificates nor a private key".into())),
        };
    };
    let described = describe(leaf).map_err(broken)?;
    let key = match inside {
        Ok(key) => key,
        Err(rustls_pki_types::pem::Error::NoItemsFound) => match key_beside(path)? {
            Some(key) => key,
            None if described.authority => return Ok(None),
            None => {
                return Err(CertificateError::NoKey {
                    path: path.to_owned(),
                });
            }
        },
        Err(error) => return Err(broken(format!("private key: {error}"))),
    };
    let provider = ring::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| broken(format!("certificate and key do not go together: {error}")))?;
    Ok(Some(Loaded {
        path: path.to_owned(),
        names: described.names,
        expires: described.expires,
        certified: Arc::new(certified),
    }))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|error| CertificateError::Io {
        path: path.to_owned(),
        error,
    })
}

/// The key of a certificate in a file without one: `NAME.key`, or `privkey.pem` beside
/// `fullchain.pem` and `cert.pem` (also numbered, as in `fullchain2.pem`), or `key.pem`.
fn key_beside(path: &Path) -> Result<Option<PrivateKeyDer<'static>>, CertificateError> {
    let mut candidates = vec![path.with_extension("key")];
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("");
    for (whole, names) in [
        ("fullchain", ["privkey", "key"]),
        ("cert", ["privkey", "key"]),
    ] {
        if let Some(number) = stem.strip_prefix(whole) {
            candidates.extend(names.map(|name| path.with_file_name(format!("{name}{number}.pem"))));
        }
    }
    let Some(found) = candidates.into_iter().find(|candidate| candidate.is_file()) else {
        return Ok(None);
    };
    let text = read(&found)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(Some(key)),
        Err(error) => Err(CertificateError::Broken {
            path: found,
            why: format!("private key: {error}"),
        }),
    }
}

struct Described {
    names: Vec<String>,
    expires: SystemTime,
    authority: bool,
}

fn describe(certificate: &CertificateDer<'_>) -> Result<Described, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("not a certificate: {error}"))?;
    let alternative = parsed
        .subject_alternative_name()
        .map_err(|error| format!("subjectAltName: {error}"))?;
    let mut names = Vec::new();
    for name in alternative
        .iter()
        .flat_map(|names| &names.value.general_names)
    {
        // A name that is none cannot match; the certificate may still serve by its others.
        if let GeneralName::DNSName(name) = name
            && let Some(name) = names::canonical(name)
        {
            names.push(name);
        }
    }
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(Described {
        names,
        expires: UNIX_EPOCH + Duration::from_secs(seconds),
        authority: parsed.is_ca(),
    })
}
