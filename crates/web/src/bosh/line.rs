//! The requests of a session, in their order: which are acted upon, which are held, what each is answered, and what the
//! client has of it (XEP-0124 §10 to §15).
//!
//! Knows no clock and no connection: whoever holds the line tells the time and takes the answers away.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use otp::Instant;

use super::keys::Keys;
use super::wrapper::{Condition, Wrapper, Written};

/// Requests of one number that may come while it is held.
const REPEATS: u32 = 10;

/// Responses behind which a client's acknowledgements may lag.
const LAG: usize = 64;

/// The least time for the features of a session to come, before it is said to be there without them.
const FEATURES: Duration = Duration::from_secs(10);

/// What was agreed at the session's creation (§7).
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// How long a request may be held.
    pub(super) wait: Duration,
    /// How many requests may be held.
    pub(super) hold: usize,
    /// How many the client may make at once.
    pub(super) requests: u64,
    /// How long the client may be silent while none is held.
    pub(super) inactivity: Duration,
    /// How long it may ask for.
    pub(super) max_pause: Duration,
    /// The shortest time between requests that ask for nothing.
    pub(super) polling: Duration,
    /// The client says which responses it has (§9.2).
    pub(super) acks: bool,
}

/// A request that waits for its answer.
struct Held<R> {
    rid: u64,
    reply: R,
    since: Instant,
    key: Option<String>,
    repeats: u32,
    /// It asked for a pause: it is answered at once, with nothing (§10).
    pauses: bool,
}

/// A response.
struct Answered {
    rid: u64,
    key: Option<String>,
    body: Bytes,
    at: Instant,
    /// Items that it carried and that the client is not known to have.
    items: u64,
}

/// What became of a request that came.
pub(super) enum Arrived<R> {
    /// These are to be acted upon now, in this order. So many items more have reached the client.
    InOrder(Vec<Wrapper>, u64),
    /// An earlier one is missing.
    Early,
    /// It was answered before, with this.
    Again(R, Bytes),
    /// It takes the place of one that is held, which is to be sent again.
    Instead(R),
    /// The session is over.
    Broken(Condition, R),
}

/// The requests of one session.
///
/// Invariant: all below `next` were acted upon; of these, `held` have no answer yet, and `answered` are kept.
pub(super) struct Line<R> {
    terms: Terms,
    keys: Keys,
    next: u64,
    early: BTreeMap<u64, (Wrapper, R)>,
    held: VecDeque<Held<R>>,
    answered: VecDeque<Answered>,
    is_created: bool,
    /// The client has ended the session: the oldest request is to be told so, once the stream is closed (§13).
    is_ending: bool,
    /// When the last request that was acted upon came, and whether it asked for nothing.
    last: (Instant, bool),
    /// Since when no request is held, and for how long that may be so.
    idle: (Instant, Duration),
    /// The last response carried nothing.
    was_bare: bool,
    /// The response that the client lacks (§9.2).
    report: Option<u64>,
}

impl<R> Line<R> {
    /// A line that begins with the request for the session.
    pub(super) fn new(terms: Terms, creation: &Wrapper, reply: R, now: Instant) -> Line<R> {
        let first = Held {
            rid: creation.rid,
            reply,
            since: now,
            key: None,
            repeats: 0,
            pauses: false,
        };
        Line {
            keys: Keys::new(creation.newkey.as_deref()),
            next: creation.rid + 1,
            early: BTreeMap::new(),
            held: VecDeque::from([first]),
            answered: VecDeque::new(),
            is_created: false,
            is_ending: false,
            last: (now, false),
            idle: (now, terms.inactivity),
            was_bare: false,
            report: None,
            terms,
        }
    }

    fn is_polling(&self) -> bool {
        self.terms.requests == 1
    }

    /// A request comes.
    pub(super) fn arrives(&mut self, wrapper: Wrapper, reply: R, now: Instant) -> Arrived<R> {
        let rid = wrapper.rid;
        if rid < self.next {
            return self.repeated(&wrapper, reply);
        }
        // §14.2: the window lies behind what was acted upon.
        if rid - self.next >= self.terms.requests && !self.is_one_more(&wrapper) {
            return Arrived::Broken(Condition::ItemNotFound, reply);
        }
        if rid > self.next {
            return match self.early.insert(rid, (wrapper, reply)) {
                Some((_, first)) => Arrived::Instead(first),
                None => Arrived::Early,
            };
        }
        let mut reached = 0;
        let mut acted = Vec::new();
        let mut coming = Some((wrapper, reply));
        while let Some((wrapper, reply)) = coming {
            match self.takes(&wrapper, now) {
                Ok(items) => reached += items,
                Err(condition) => return Arrived::Broken(condition, reply),
            }
            self.held.push_back(Held {
                rid: wrapper.rid,
                reply,
                since: now,
                key: wrapper.key.clone(),
                repeats: 0,
                pauses: wrapper.pause.is_some(),
            });
            acted.push(wrapper);
            coming = self.early.remove(&self.next);
        }
        Arrived::InOrder(acted, reached)
    }

    /// §11: one more than it may, to pause or to end.
    fn is_one_more(&self, wrapper: &Wrapper) -> bool {
        let ends = wrapper.terminate || wrapper.pause.is_some();
        ends && wrapper.rid - self.next == self.terms.requests
    }

    fn repeated(&mut self, wrapper: &Wrapper, reply: R) -> Arrived<R> {
        let (rid, key) = (wrapper.rid, wrapper.key.as_deref());
        let is_same = |other: &Option<String>| match (key, other.as_deref()) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (None, None) => true,
            _ => false,
        };
        if let Some(held) = self.held.iter_mut().find(|held| held.rid == rid) {
            if !is_same(&held.key) {
                return Arrived::Broken(Condition::ItemNotFound, reply);
            }
            held.repeats += 1;
            if held.repeats > REPEATS {
                return Arrived::Broken(Condition::PolicyViolation, reply);
            }
            return Arrived::Instead(std::mem::replace(&mut held.reply, reply));
        }
        match self.answered.iter().find(|answered| answered.rid == rid) {
            Some(answered) if is_same(&answered.key) => {
                Arrived::Again(reply, answered.body.clone())
            }
            _ => Arrived::Broken(Condition::ItemNotFound, reply),
        }
    }

    /// Takes the next request in order; how many items more the client has.
    fn takes(&mut self, wrapper: &Wrapper, now: Instant) -> Result<u64, Condition> {
        if !self
            .keys
            .take(wrapper.key.as_deref(), wrapper.newkey.as_deref())
        {
            return Err(Condition::ItemNotFound);
        }
        // There is one stream: no other can be meant (§16).
        if wrapper.stream.is_some() && !wrapper.is_empty() {
            return Err(Condition::ItemNotFound);
        }
        let is_empty = wrapper.is_empty();
        let ends = wrapper.terminate || wrapper.pause.is_some();
        let unanswered = self.held.len() as u64 + 1;
        if unanswered > self.terms.requests && !ends {
            return Err(Condition::PolicyViolation);
        }
        let is_soon = now.since(self.last.0) < self.terms.polling;
        let is_pressing = if self.is_polling() {
            // §12.
            is_empty && self.last.1 && self.was_bare
        } else {
            // §11.
            is_empty && unanswered == self.terms.requests && unanswered > 1
        };
        if is_pressing && is_soon {
            return Err(Condition::PolicyViolation);
        }
        let longest = self.terms.max_pause.as_secs();
        if wrapper.pause.is_some_and(|pause| pause > longest) {
            return Err(Condition::PolicyViolation);
        }
        let reached = self.reached(wrapper, is_empty, now)?;
        self.last = (now, is_empty);
        self.idle.1 = match wrapper.pause {
            Some(pause) => Duration::from_secs(pause),
            None => self.terms.inactivity,
        };
        self.is_ending |= wrapper.terminate;
        self.next += 1;
        Ok(reached)
    }

    /// What the client shows to have by making this request: how many items more.
    ///
    /// Without acknowledgements: one that can make several requests at once may not have the answers to the last few;
    /// but it asks for nothing only when fewer than are to be held are under way (§9).
    fn reached(
        &mut self,
        wrapper: &Wrapper,
        is_empty: bool,
        now: Instant,
    ) -> Result<u64, Condition> {
        let before = wrapper.rid - 1;
        let upto = if self.terms.acks {
            wrapper.ack.map_or(before, |ack| ack.min(before))
        } else if self.is_polling() {
            before
        } else if is_empty {
            wrapper.rid.saturating_sub(self.terms.hold.max(1) as u64)
        } else {
            wrapper.rid.saturating_sub(self.terms.requests)
        };
        let mut items = 0;
        for answered in self.answered.iter_mut().take_while(|one| one.rid <= upto) {
            items += std::mem::take(&mut answered.items);
        }
        if self.terms.acks {
            // What is not acknowledged is kept for as long (§14.3).
            let lag = self.answered.iter().filter(|one| one.rid > upto).count();
            if lag > LAG {
                return Err(Condition::PolicyViolation);
            }
            let is_lacking = |one: &&Answered| one.rid == upto + 1 && one.at < now;
            self.report = self.answered.iter().find(is_lacking).map(|one| one.rid);
        }
        let kept = self.terms.requests.max(1) as usize;
        while self.answered.len() > kept && self.answered[0].rid <= upto {
            self.answered.pop_front();
        }
        Ok(items)
    }

    /// Whether the oldest request that is held is to be answered, if need be with nothing.
    pub(super) fn is_due(&self, is_full: bool, now: Instant) -> bool {
        let Some(oldest) = self.held.front() else {
            return false;
        };
        let is_held_back = is_full || self.is_ending || !self.is_created;
        let is_crowded = self.held.len() > self.terms.hold && !is_held_back;
        is_crowded || self.is_paused() || self.waited_at(oldest) <= now
    }

    /// Whether what waits may be given to the oldest request that is held.
    pub(super) fn can_carry(&self) -> bool {
        !self.held.is_empty() && !self.is_paused()
    }

    /// A pause is asked for: all are answered, with nothing.
    fn is_paused(&self) -> bool {
        self.held.iter().any(|held| held.pauses)
    }

    fn waited_at(&self, held: &Held<R>) -> Instant {
        let wait = match self.is_created {
            true => self.terms.wait,
            false => self.terms.wait.max(FEATURES),
        };
        held.since + wait
    }

    /// Whether the next answer is the one that tells of the session.
    pub(super) fn is_creating(&self) -> bool {
        !self.is_created
    }

    /// How many are held.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Answers the oldest request that is held with these elements, which are so many items. `body` has what else is
    /// told.
    pub(super) fn answer(
        &mut self,
        mut body: Written,
        payload: &str,
        items: u64,
        now: Instant,
    ) -> Option<(R, Bytes)> {
        let oldest = self.held.pop_front()?;
        let received = self.next - 1;
        if self.terms.acks && self.is_created && received != oldest.rid {
            body = body.number("ack", received);
        }
        if let Some(rid) = self.report.take()
            && let Some(lacking) = self.answered.iter().find(|one| one.rid == rid)
        {
            let ago = now.since(lacking.at).as_millis();
            body = body
                .number("report", rid)
                .number("time", u64::try_from(ago).unwrap_or(u64::MAX));
        }
        let body = body.holding(payload);
        self.is_created = true;
        self.was_bare = payload.is_empty();
        self.answered.push_back(Answered {
            rid: oldest.rid,
            key: oldest.key,
            body: body.clone(),
            at: now,
            items,
        });
        if self.held.is_empty() {
            self.idle.0 = now;
        }
        Some((oldest.reply, body))
    }

    /// Whether a response has carried something that the client is not known to have.
    pub(super) fn is_uncertain(&self) -> bool {
        self.answered.iter().any(|answered| answered.items > 0)
    }

    /// When something is to be done if nothing comes.
    pub(super) fn deadline(&self) -> Instant {
        match self.held.front() {
            Some(oldest) => self.waited_at(oldest),
            None => self.idle.0 + self.idle.1,
        }
    }

    /// Since when no request is held; none while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.held.is_empty().then_some(self.idle.0)
    }

    /// The client has been silent for too long (§10).
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.held.is_empty() && self.deadline() <= now
    }

    /// Those that wait for an answer, the oldest first, and those that came early.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = R> {
        let held = self.held.into_iter().map(|held| held.reply);
        held.chain(self.early.into_values().map(|(_, reply)| reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bosh::keys::tests::sequence;
    use crate::bosh::wrapper::open;
    use otp::Clock;
    use stream::Limits;

    const SECOND: Duration = Duration::from_secs(1);

    fn terms() -> Terms {
        Terms {
            wait: 60 * SECOND,
            hold: 1,
            requests: 2,
            inactivity: 90 * SECOND,
            max_pause: 120 * SECOND,
            polling: 5 * SECOND,
            acks: false,
        }
    }

    /// A request; `p` among its words gives it a payload, the others are attributes.
    fn request(rid: u64, words: &str) -> Wrapper {
        let mut attributes = String::new();
        let mut payload = "";
        for word in words.split_whitespace() {
            match word {
                "p" => payload = "<message xmlns='jabber:client'/>",
                word => attributes += &format!(" {word}"),
            }
        }
        let text = format!(
            "<body xmlns='http://jabber.org/protocol/httpbind' rid='{rid}'{attributes}>{payload}</body>"
        );
        let opening = open(&text.into(), Limits::default());
        let wrapper = opening.and_then(|opening| opening.rest(Limits::default()));
        wrapper.expect("a request")
    }

    /// A line in a test: each request's reply is its name.
    struct Stage {
        line: Line<String>,
        now: Instant,
    }

    impl Stage {
        /// A session that began with 10, which is answered.
        fn new(terms: Terms, words: &str) -> Stage {
            let now = Clock::manual().0.now();
            let line = Line::new(terms, &request(10, words), "10".to_owned(), now);
            let mut stage = Stage { line, now };
            assert!(!stage.line.is_due(false, now), "features are awaited");
            assert_eq!(stage.answers("<f/>", 2), "10 <f/>");
            stage
        }

        /// Has a request come: what became of it.
        fn comes(&mut self, rid: u64, words: &str) -> String {
            self.comes_as(&rid.to_string(), rid, words)
        }

        fn comes_as(&mut self, name: &str, rid: u64, words: &str) -> String {
            let wrapper = request(rid, words);
            match self.line.arrives(wrapper, name.to_owned(), self.now) {
                Arrived::InOrder(acted, items) => {
                    let acted: Vec<String> = acted.iter().map(|w| w.rid.to_string()).collect();
                    format!("{} +{items}", acted.join(","))
                }
                Arrived::Early => "early".to_owned(),
                Arrived::Again(reply, body) => {
                    assert_eq!(reply, name);
                    format!("again {}", content(&body))
                }
                Arrived::Instead(first) => format!("instead of {first}"),
                Arrived::Broken(condition, reply) => {
                    assert_eq!(reply, name);
                    condition.as_str().to_owned()
                }
            }
        }

        /// Answers the oldest: who was it, and what.
        fn answers(&mut self, payload: &str, items: u64) -> String {
            let answer = self.line.answer(Written::new(), payload, items, self.now);
            let (reply, body) = answer.expect("a request is held");
            format!("{reply} {}", content(&body))
        }

        fn is_due(&self) -> bool {
            self.line.is_due(false, self.now)
        }
    }

    /// What a body says besides its name and namespace.
    fn content(body: &Bytes) -> String {
        let text = std::str::from_utf8(body).expect("UTF-8");
        let text = text.trim_start_matches("<body xmlns=\"http://jabber.org/protocol/httpbind\"");
        let text = text.trim_end_matches("</body>").trim_end_matches("/>");
        let text = text.trim_start_matches('>').trim();
        match text.strip_suffix('/') {
            None if text.ends_with("<f") || text.ends_with("<m") => format!("{text}/>"),
            _ => text.to_owned(),
        }
    }

    #[test]
    fn one_request_is_held_and_the_next_lets_it_go() {
        let mut stage = Stage::new(terms(), "");
        // Nothing shows yet that the first answer has come: this could have been sent before it.
        assert_eq!(stage.comes(11, "p"), "11 +0");
        assert!(!stage.is_due());
        assert_eq!(stage.comes(12, "p"), "12 +2");
        assert!(stage.is_due());
        assert_eq!(stage.answers("", 0), "11 ");
        assert!(!stage.is_due());
        stage.now += 59 * SECOND;
        assert!(!stage.is_due());
        stage.now += SECOND;
        assert!(stage.is_due());
        assert_eq!(stage.answers("", 0), "12 ");
        assert!(!stage.is_due() && !stage.line.is_lost(stage.now));
        stage.now += 89 * SECOND;
        assert!(!stage.line.is_lost(stage.now));
        stage.now += SECOND;
        assert!(stage.line.is_lost(stage.now));
    }

    #[test]
    fn requests_are_acted_upon_in_their_order_within_the_window() {
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(12, "p"), "early");
        assert_eq!(stage.comes_as("late", 12, "p"), "instead of 12");
        assert_eq!(stage.comes(11, "p"), "11,12 +2");
        assert_eq!(stage.answers("<m/>", 1), "11 <m/>");
        assert_eq!(stage.comes(15, "p"), "item-not-found", "behind the window");
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(13, "type='terminate'"), "early");
    }

    #[test]
    fn the_same_request_gets_the_same_bytes() {
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(11, "p"), "11 +0");
        assert_eq!(stage.answers("<m/>", 1), "11 <m/>");
        assert_eq!(stage.comes(11, "p"), "again <m/>");
        assert_eq!(stage.comes(10, ""), "again <f/>");
        assert_eq!(stage.comes(12, ""), "12 +3");
        assert_eq!(stage.comes_as("again", 12, ""), "instead of 12");
        assert_eq!(stage.answers("", 0), "again ");
        assert_eq!(stage.comes(13, ""), "13 +0");
        assert_eq!(stage.comes(11, "p"), "again <m/>", "two are kept");
        assert_eq!(stage.comes(10, ""), "item-not-found");
        for repeat in 0..REPEATS {
            let heard = stage.comes(13, "");
            assert!(heard.starts_with("instead"), "{repeat}: {heard}");
        }
        assert_eq!(stage.comes(13, ""), "policy-violation");
    }

    #[test]
    fn too_many_at_once_and_too_soon_are_refused() {
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(11, ""), "11 +2");
        assert_eq!(stage.comes(12, ""), "policy-violation", "11 is held");
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(11, ""), "11 +2");
        stage.now += 5 * SECOND;
        assert_eq!(stage.comes(12, ""), "12 +0");
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(11, "p"), "11 +0");
        assert_eq!(stage.comes(12, "p"), "12 +2");
        assert_eq!(stage.comes(13, "p"), "policy-violation", "two wait");
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(11, "p"), "11 +0");
        assert_eq!(stage.comes(12, "p"), "12 +2");
        assert_eq!(stage.comes(13, "type='terminate'"), "13 +0");
        assert!(!stage.is_due(), "until the stream is closed");
        let mut stage = Stage::new(terms(), "");
        assert_eq!(
            stage.comes(11, "stream='other'"),
            "11 +2",
            "as any empty one"
        );
        stage.answers("", 0);
        assert_eq!(stage.comes(12, "p stream='other'"), "item-not-found");
    }

    #[test]
    fn nothing_is_taken_from_a_client_that_is_not_kept_up_with() {
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(11, "p"), "11 +0");
        assert_eq!(stage.comes(12, "p"), "12 +2");
        assert!(!stage.line.is_due(true, stage.now));
        assert!(stage.line.is_due(false, stage.now));
    }

    #[test]
    fn a_pause_empties_the_line_and_changes_the_silence() {
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(11, "p"), "11 +0");
        assert_eq!(stage.comes(12, "pause='120'"), "12 +2");
        for answered in ["11 ", "12 "] {
            assert!(stage.is_due() && !stage.line.can_carry());
            assert_eq!(stage.answers("", 0), answered);
        }
        stage.now += 119 * SECOND;
        assert!(!stage.line.is_lost(stage.now));
        assert_eq!(stage.comes(13, "p"), "13 +0");
        stage.answers("", 0);
        stage.now += 90 * SECOND;
        assert!(stage.line.is_lost(stage.now), "as it was before the pause");
        let mut stage = Stage::new(terms(), "");
        assert_eq!(stage.comes(11, "pause='121'"), "policy-violation");
    }

    #[test]
    fn a_client_that_polls_is_answered_at_once_and_comes_not_too_often() {
        let polling = Terms {
            hold: 0,
            requests: 1,
            wait: Duration::ZERO,
            ..terms()
        };
        let mut stage = Stage::new(polling.clone(), "");
        assert_eq!(stage.comes(11, ""), "11 +2");
        assert!(stage.is_due());
        assert_eq!(stage.answers("<m/>", 1), "11 <m/>");
        assert_eq!(
            stage.comes(12, ""),
            "12 +1",
            "the answer before had something"
        );
        assert_eq!(stage.answers("", 0), "12 ");
        assert_eq!(stage.comes(13, "p"), "13 +0");
        assert_eq!(stage.answers("", 0), "13 ");
        assert_eq!(stage.comes(14, ""), "14 +0");
        assert_eq!(stage.answers("", 0), "14 ");
        assert_eq!(stage.comes(15, ""), "policy-violation");
        let mut stage = Stage::new(polling, "");
        assert_eq!(stage.comes(12, ""), "item-not-found");
    }

    #[test]
    fn acknowledgements_say_what_the_client_has() {
        let acking = Terms {
            acks: true,
            ..terms()
        };
        let mut stage = Stage::new(acking.clone(), "ack='1'");
        assert_eq!(stage.comes(11, "p"), "11 +2", "no `ack`: all before");
        assert_eq!(stage.answers("<m/>", 1), "11 <m/>");
        stage.now += SECOND;
        assert_eq!(stage.comes(12, "p ack='10'"), "12 +0");
        assert_eq!(stage.comes(13, "p ack='10'"), "13 +0");
        assert_eq!(
            stage.answers("<m/>", 1),
            "12  ack=\"13\" report=\"11\" time=\"1000\"><m/>".replacen("12  ", "12 ", 1)
        );
        assert_eq!(stage.comes(11, "p"), "again <m/>");
        assert_eq!(stage.answers("", 0), "13 ");
        assert_eq!(
            stage.comes(14, "p ack='99'"),
            "14 +2",
            "no more than there is"
        );
        assert!(!stage.line.is_uncertain());
        let mut stage = Stage::new(acking, "ack='1'");
        let lagging = (11..200).find(|rid| {
            let heard = stage.comes(*rid, "p ack='9'");
            if heard == "policy-violation" {
                return true;
            }
            stage.answers("", 0);
            false
        });
        assert_eq!(lagging, Some(11 + LAG as u64));
    }

    #[test]
    fn requests_without_the_right_key_end_the_session() {
        let keys = sequence("seed", 4);
        let with = |key: &str| format!("p key='{key}'");
        let first = format!("newkey='{}'", keys[3]);
        let mut stage = Stage::new(terms(), &first);
        assert_eq!(stage.comes(11, &with(&keys[2])), "11 +0");
        assert_eq!(stage.answers("<m/>", 1), "11 <m/>");
        assert_eq!(stage.comes(11, &with(&keys[2])), "again <m/>");
        assert_eq!(stage.comes(12, &with(&keys[1])), "12 +2");
        assert_eq!(stage.comes(13, &with("wrong")), "item-not-found");
        assert_eq!(stage.comes(11, "p"), "item-not-found", "no key");
        let mut stage = Stage::new(terms(), &first);
        assert_eq!(stage.comes(11, "p"), "item-not-found");
    }
}
