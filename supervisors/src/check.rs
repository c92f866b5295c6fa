//! What `natterd --check` says beyond the faults of the file: certificates.

use std::fmt::Write;
use std::time::SystemTime;

use net::{Certificates, Sources};
use otp::Clock;

use crate::server::{ServerError, certificate_sources};
use crate::settings::Loaded;

const DAY: u64 = 24 * 3600;

/// Reads the certificates that a good configuration names, and says of each host what it is served with and for
/// how long; one line each. Makes no file.
///
/// # Errors
///
/// Certificates or keys that cannot be read or do not go together.
pub fn check(loaded: &Loaded, clock: &Clock) -> Result<String, ServerError> {
    let configured = certificate_sources(loaded);
    let own = configured.self_signed.map(|own| own.domains);
    let sources = Sources {
        self_signed: None,
        ..configured
    };
    let certificates = Certificates::load(sources, clock)
        .map_err(|errors| ServerError::Certificates(errors.to_string()))?;
    let (report, now) = (certificates.report(), clock.wall());
    let mut notes = String::new();
    for covered in report.covered {
        let _ = writeln!(
            notes,
            "{}: {} {}",
            covered.domain,
            covered.path.display(),
            lasts(covered.expires, now)
        );
    }
    for domain in report.uncovered {
        let is_own = own.as_ref().is_some_and(|own| own.contains(&domain));
        let what = match is_own {
            true => "a self-signed certificate will be made; clients must trust it by hand",
            false => "no certificate covers this domain",
        };
        let _ = writeln!(notes, "{domain}: {what}");
    }
    Ok(notes)
}

/// How long a certificate lasts, in days.
fn lasts(until: SystemTime, now: SystemTime) -> String {
    match until.duration_since(now) {
        Ok(left) => format!("expires in {} days", left.as_secs() / DAY),
        Err(past) => format!("EXPIRED {} days ago", past.duration().as_secs() / DAY),
    }
}
