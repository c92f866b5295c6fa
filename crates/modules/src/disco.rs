//! What a host says of itself, for every module that has to say it: disco answers and capabilities.

use std::sync::Arc;

use gen_mod::Host;
use router::To;
use xmpp::payload::DiscoInfoResult;

use crate::hooks::DiscoInfo;

/// All that the host's processes registered and its modules add, of the host itself or of its accounts.
pub(crate) fn describe(host: &Host, to: To) -> DiscoInfoResult {
    let features = host.router.features(&host.name, to);
    let fold = DiscoInfo {
        host: Arc::clone(&host.name),
        to,
        info: DiscoInfoResult {
            node: None,
            identities: Vec::new(),
            features: features.iter().map(|name| name.to_string()).collect(),
            extensions: Vec::new(),
        },
    };
    host.router
        .fold(fold)
        .value()
        .map_or_else(nothing, |fold| fold.info)
}

fn nothing() -> DiscoInfoResult {
    DiscoInfoResult {
        node: None,
        identities: Vec::new(),
        features: Default::default(),
        extensions: Vec::new(),
    }
}
