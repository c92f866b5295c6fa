//! Our own server.

use crate::binary::Binaries;
use crate::stage::Troupe;

/// Servers of ours, each with its own data.
///
/// # Errors
///
/// A sentence when the programs are not where cargo puts them.
pub fn troupe() -> Result<Box<dyn Troupe>, String> {
    Ok(Box::new(Binaries::beside_this_test()?))
}
