//! What was said: the last messages, for those who come (XEP-0045 §7.2.13, §7.2.14).

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use minidom::Element;
use xmpp::{Fragment, Jid, Stanza, format_date_time, ns, parse_date_time};

/// A message that was said.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) at: SystemTime,
    /// The id that the room gave it (XEP-0359).
    pub(crate) id: String,
    /// As everybody heard it, without `to`.
    pub(crate) stanza: Stanza,
}

/// The last messages, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    kept: VecDeque<Past>,
}

/// How much of it somebody wants. All by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) max_chars: Option<usize>,
    pub(crate) max_stanzas: Option<usize>,
    pub(crate) since: Option<SystemTime>,
}

impl Wanted {
    /// What an `<x/>` of somebody who comes asks for. What cannot be read asks for nothing special.
    pub(crate) fn read(x: &Element, now: SystemTime) -> Wanted {
        let Some(history) = x.get_child("history", ns::MUC) else {
            return Wanted::default();
        };
        let number = |name: &str| history.attr(name)?.trim().parse::<usize>().ok();
        let seconds = history
            .attr("seconds")
            .and_then(|text| text.trim().parse::<u32>().ok())
            .map(|seconds| {
                now.checked_sub(Duration::from_secs(seconds.into()))
                    .unwrap_or(SystemTime::UNIX_EPOCH)
            });
        let since = history.attr("since").and_then(parse_date_time);
        Wanted {
            max_chars: number("maxchars"),
            max_stanzas: number("maxstanzas"),
            since: seconds.max(since),
        }
    }
}

impl History {
    pub(crate) fn restored(kept: Vec<Past>) -> History {
        History { kept: kept.into() }
    }

    /// Remembers a message; of more than `most` the oldest are forgotten.
    pub(crate) fn remember(&mut self, past: Past, most: usize) {
        self.kept.push_back(past);
        self.limit(most);
    }

    pub(crate) fn limit(&mut self, most: usize) {
        while self.kept.len() > most {
            self.kept.pop_front();
        }
    }

    /// Forgets the message of that id.
    pub(crate) fn forget(&mut self, id: &str) {
        self.kept.retain(|past| past.id != id);
    }

    /// What somebody who comes is told: the most recent whole messages within all limits, each with the time it
    /// was said at.
    pub(crate) fn told(&self, wanted: &Wanted, room: &Jid, to: &Jid) -> Vec<Stanza> {
        let most = wanted.max_stanzas.unwrap_or(usize::MAX);
        let mut chars = wanted.max_chars.unwrap_or(usize::MAX);
        let recent = self
            .kept
            .iter()
            .rev()
            .take(most)
            .take_while(|past| wanted.since.is_none_or(|since| past.at >= since));
        let mut told = Vec::new();
        for past in recent {
            let stanza = delayed(&past.stanza, past.at, room, to);
            let length = stanza.to_xml().chars().count();
            if length > chars {
                break;
            }
            chars -= length;
            told.push(stanza);
        }
        told.reverse();
        told
    }
}

/// A message of the past (XEP-0203). What came with a time of its own keeps it: the history of a talk that became
/// a room (§7.9).
pub(crate) fn delayed(stanza: &Stanza, at: SystemTime, room: &Jid, to: &Jid) -> Stanza {
    let edit = stanza.edit().to(to.clone());
    if stanza.has_child("delay", ns::DELAY) {
        return edit.finish();
    }
    let stamp = format_date_time(at);
    let attrs = [("from", room.as_str()), ("stamp", stamp.as_str())];
    edit.append(Fragment::element("delay", ns::DELAY, &attrs, ""))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn history() -> History {
        let mut history = History::default();
        for number in 1..=5_u64 {
            let text =
                format!("<message type='groupchat' from='r@c/n'><body>{number}</body></message>");
            let past = Past {
                at: at(number * 10),
                id: number.to_string(),
                stanza: Stanza::parse(&text).expect("a message"),
            };
            history.remember(past, 4);
        }
        history
    }

    fn told(wanted: &Wanted) -> String {
        let jid = |text: &str| Jid::new(text).expect("an address");
        let told = history().told(wanted, &jid("r@c"), &jid("a@x/1"));
        let body = |stanza: &Stanza| stanza.child_text("body", ns::CLIENT);
        told.iter().filter_map(body).collect()
    }

    #[test]
    fn the_latest_within_every_limit() {
        let all = Wanted::default();
        assert_eq!(told(&all), "2345");
        let limited = |max_chars, max_stanzas, since: Option<u64>| Wanted {
            max_chars,
            max_stanzas,
            since: since.map(at),
        };
        assert_eq!(told(&limited(Some(0), None, None)), "");
        assert_eq!(told(&limited(None, Some(0), None)), "");
        assert_eq!(told(&limited(None, Some(2), None)), "45");
        assert_eq!(told(&limited(None, None, Some(40))), "45");
        assert_eq!(told(&limited(None, Some(3), Some(50))), "5");
        let jid = |text: &str| Jid::new(text).expect("an address");
        let one = history().told(&limited(None, Some(1), None), &jid("r@c"), &jid("a@x/1"));
        let length = one[0].to_xml().chars().count();
        assert_eq!(told(&limited(Some(length * 2), None, None)), "45");
        assert_eq!(told(&limited(Some(length * 2 - 1), None, None)), "5");
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let read = |text: &str| {
            let x = format!("<x xmlns='{}'>{text}</x>", ns::MUC);
            Wanted::read(&x.parse().expect("well-formed"), at(1000))
        };
        assert_eq!(read(""), Wanted::default());
        assert_eq!(read("<history seconds='100'/>").since, Some(at(900)));
        assert_eq!(
            read("<history seconds='100' since='1970-01-01T00:16:00Z'/>").since,
            Some(at(960))
        );
        assert_eq!(
            read("<history maxchars='-1' since='x'/>"),
            Wanted::default()
        );
        assert_eq!(read("<history maxstanzas='3'/>").max_stanzas, Some(3));
    }
}
