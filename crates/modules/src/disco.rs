//! What a host says of itself, for every module that has to say it: disco answers and capabilities.

use std::sync::Arc;

use gen_mod::Host;
use parking_lot::Mutex;
use router::To;
use xmpp::payload::DiscoInfoResult;

use crate::hooks::DiscoInfo;

/// Something made of what a host says of itself; made anew only when the host says something else, for every login
/// and every client asks.
#[derive(Clone)]
pub(crate) struct Kept<T>(Arc<Mutex<Option<Said<T>>>>);

/// What was said last: what processes registered, what modules added, and what was made of both.
struct Said<T> {
    features: Arc<[Arc<str>]>,
    added: DiscoInfoResult,
    made: T,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept(Arc::default())
    }
}

impl<T: Clone> Kept<T> {
    pub(crate) fn of(&self, host: &Host, to: To, make: impl FnOnce(DiscoInfoResult) -> T) -> T {
        let features = host.router.features(&host.name, to);
        let added = added(host, to);
        let mut last = self.0.lock();
        if let Some(said) = &*last
            && Arc::ptr_eq(&said.features, &features)
            && said.added.identities == added.identities
            && said.added.features == added.features
            && said.added.extensions == added.extensions
        {
            return said.made.clone();
        }
        let made = make(together(&features, added.clone()));
        *last = Some(Said {
            features,
            added,
            made: made.clone(),
        });
        made
    }
}

/// All that the host's processes registered and its modules add, of the host itself or of its accounts.
pub(crate) fn describe(host: &Host, to: To) -> DiscoInfoResult {
    together(&host.router.features(&host.name, to), added(host, to))
}

fn together(features: &[Arc<str>], mut info: DiscoInfoResult) -> DiscoInfoResult {
    let registered = features.iter().map(|name| name.to_string());
    info.features.extend(registered);
    info
}

/// What modules say beside the features that were registered.
fn added(host: &Host, to: To) -> DiscoInfoResult {
    let fold = DiscoInfo {
        host: Arc::clone(&host.name),
        to,
        info: nothing(),
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
