//! Certificates the server signs for itself: for a first start, never for the open network.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};

use super::files::{self, Loaded};
use super::{CertificateError, names};

/// How long a certificate of ours lasts.
const LIFETIME: Duration = Duration::from_secs(397 * 24 * 3600);

/// What is left when it is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Allowance for peers whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// The certificate for `domain` and its direct subdomains: the one kept in `directory`, or a new one
/// when there is none, it is about to expire, or it cannot be used.
pub(super) fn obtain(
    directory: &Path,
    domain: &str,
    now: SystemTime,
) -> Result<Loaded, CertificateError> {
    let failed = |why: String| CertificateError::SelfSigning {
        domain: domain.to_owned(),
        why,
    };
    let name = names::canonical(domain).ok_or_else(|| failed("not a domain".into()))?;
    if name.contains(['*', '/', '\\', ':']) {
        return Err(failed("not a domain".into()));
    }
    let path = directory.join(format!("{name}.pem"));
    if path.exists() {
        match files::load_file(&path) {
            Ok(Some(kept)) if kept.covers(domain) && kept.expires > now + RENEW_BEFORE => {
                return Ok(kept);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(target: "natter::net", %error, "own certificate is unusable, making another");
            }
        }
    }
    let pem = sign(&name, now).map_err(|error| failed(error.to_string()))?;
    write_private(directory, &path, pem.as_bytes()).map_err(|error| CertificateError::Io {
        path: path.clone(),
        error,
    })?;
    tracing::info!(target: "natter::net", %domain, path = %path.display(), "signed a certificate of our own");
    let made = files::load_file(&path)?;
    made.ok_or_else(|| failed("the file just written holds no certificate".into()))
}

fn sign(name: &str, now: SystemTime) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned(), format!("*.{name}")])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + LIFETIME).into();
    let certificate = params.self_signed(&key)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

/// Writes a file only the owner can read, whole or not at all.
fn write_private(directory: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let draft = path.with_extension("pem.new");
    // Left by a crash, perhaps with other permissions.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
