//! How many stanzas passed between clients and the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xmpp::Kind;

/// Stanzas of all clients since the server began, by kind and direction. Clones are the same.
#[derive(Clone, Default)]
pub struct StanzaCounts(Arc<[[AtomicU64; 3]; 2]>);

/// The kinds in the order of their counts.
const KINDS: [(Kind, &str); 3] = [
    (Kind::Message, "message"),
    (Kind::Presence, "presence"),
    (Kind::Iq, "iq"),
];

impl StanzaCounts {
    /// A client has sent one.
    pub(crate) fn came(&self, kind: Kind) {
        self.count(0, kind);
    }

    /// One was given to a client's outbox.
    pub(crate) fn went(&self, kind: Kind) {
        self.count(1, kind);
    }

    fn count(&self, direction: usize, kind: Kind) {
        let at = KINDS.iter().position(|(known, _)| *known == kind);
        let at = at.expect("every kind is listed");
        self.0[direction][at].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts with the words for direction (`in` from clients, `out` to them) and kind.
    pub fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
        let direction = |name: &'static str, counts: &[AtomicU64; 3]| {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            let named = KINDS.iter().zip(counts.collect::<Vec<_>>());
            named
                .map(|((_, kind), count)| (name, *kind, count))
                .collect::<Vec<_>>()
        };
        let mut all = direction("in", &self.0[0]);
        all.extend(direction("out", &self.0[1]));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_and_direction_counts_by_itself() {
        let counts = StanzaCounts::default();
        counts.came(Kind::Iq);
        counts.went(Kind::Message);
        counts.clone().went(Kind::Message);
        let seen: Vec<_> = counts
            .read()
            .into_iter()
            .filter(|(_, _, count)| *count > 0)
            .collect();
        assert_eq!(seen, [("in", "iq", 1), ("out", "message", 2)]);
    }
}
