//! What a login knows of the connection it is made over.

use std::net::SocketAddr;

use xmpp::BareJid;

/// The connection that a login is made over. Has no `Debug`: channel bindings are nobody's business.
#[derive(Clone, Default)]
pub struct Channel {
    /// Where it comes from, as far as that is known.
    pub address: Option<SocketAddr>,
    /// Whether a password may be sent over it: it is encrypted, or its listener permits that without.
    pub protected: bool,
    /// What a login can be tied to it by (RFC 5056): type and data, the best first.
    pub bindings: Vec<(&'static str, Vec<u8>)>,
    /// The XMPP addresses in the client's certificate, if it showed one that was verified.
    pub certified: Vec<String>,
}

impl Channel {
    /// The data of a binding.
    pub(crate) fn binding(&self, name: &str) -> Option<&[u8]> {
        let found = self.bindings.iter().find(|(known, _)| *known == name);
        found.map(|(_, data)| data.as_slice())
    }

    /// The accounts of `host` that the client's certificate names.
    pub(crate) fn certified_at(&self, host: &str) -> Vec<BareJid> {
        let accounts = self.certified.iter().filter_map(|address| {
            let account = xmpp::parse_bare(address).ok()?;
            let fits = account.domain().as_str() == host && account.node().is_some();
            (fits && !address.contains('/')).then_some(account)
        });
        let mut accounts: Vec<BareJid> = accounts.collect();
        accounts.sort();
        accounts.dedup();
        accounts
    }
}
