//! What a login knows of the connection it is made over.

use std::net::SocketAddr;

/// The connection that a login is made over. Has no `Debug`: channel bindings are nobody's business.
#[derive(Clone, Default)]
pub struct Channel {
    /// Where it comes from, as far as that is known.
    pub address: Option<SocketAddr>,
    /// Whether a password may be sent over it: it is encrypted, or its listener permits that without.
    pub protected: bool,
    /// What a login can be tied to it by (RFC 5056): type and data, the best first.
    pub bindings: Vec<(&'static str, Vec<u8>)>,
}

impl Channel {
    /// The data of a binding.
    pub(crate) fn binding(&self, name: &str) -> Option<&[u8]> {
        let found = self.bindings.iter().find(|(known, _)| *known == name);
        found.map(|(_, data)| data.as_slice())
    }
}
