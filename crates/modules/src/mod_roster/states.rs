//! The subscription states of RFC 6121 Appendix A and how stanzas move them.
//!
//! Two tables, laid out as the RFC has them: a row for each state, a column for each stanza. Pure.

use storage::{RosterItem, Subscription};
use xmpp::PresenceType;

/// How two accounts stand to one another, seen by one of them (§A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Neither sees the other.
    None,
    /// And the account has asked.
    NoneOut,
    /// And the contact has asked.
    NoneIn,
    /// And both have asked.
    NoneOutIn,
    /// The account sees the contact.
    To,
    /// And the contact has asked.
    ToIn,
    /// The contact sees the account.
    From,
    /// And the account has asked.
    FromOut,
    /// Both see each other.
    Both,
}

/// The four stanzas of subscriptions (§3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Subscribe,
    Unsubscribe,
    Subscribed,
    Unsubscribed,
}

/// What follows from a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Outbound: it is routed to the contact. Inbound: the account's clients hear it.
    pub(super) passes: bool,
    /// The state from now on.
    pub(super) next: State,
    /// What else it means.
    pub(super) also: Also,
}

/// What a stanza means besides a change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Also {
    /// Nothing.
    Nothing,
    /// The contact is approved before it asks (§3.4).
    Approve,
    /// That approval is taken back.
    Disapprove,
    /// The server answers `subscribed` for the account: the contact sees it already (§3.1.3).
    Confirm,
}

/// A stanza that passes and leads to this state.
const fn pass(next: State) -> Cell {
    Cell {
        passes: true,
        next,
        also: Also::Nothing,
    }
}

/// A stanza that ends here and changes nothing.
const fn stop(state: State) -> Cell {
    Cell {
        passes: false,
        next: state,
        also: Also::Nothing,
    }
}

const fn and(cell: Cell, also: Also) -> Cell {
    Cell { also, ..cell }
}

use State::{
    Both as B, From as F, FromOut as FO, None as N, NoneIn as NI, NoneOut as NO, NoneOutIn as NOI,
    To as T, ToIn as TI,
};

/// The account's client sends it (§A.2).
#[rustfmt::skip]
const OUTBOUND: [[Cell; 4]; 9] = [
    //       subscribe   unsubscribe  subscribed                       unsubscribed
    /* N   */ [pass(NO),  pass(N),    and(stop(N), Also::Approve),     and(stop(N), Also::Disapprove)],
    /* NO  */ [pass(NO),  pass(N),    and(stop(NO), Also::Approve),    and(stop(NO), Also::Disapprove)],
    /* NI  */ [pass(NOI), pass(NI),   pass(F),                         and(pass(N), Also::Disapprove)],
    /* NOI */ [pass(NOI), pass(NI),   pass(FO),                        and(pass(NO), Also::Disapprove)],
    /* T   */ [pass(T),   pass(N),    and(stop(T), Also::Approve),     and(stop(T), Also::Disapprove)],
    /* TI  */ [pass(TI),  pass(NI),   pass(B),                         and(pass(T), Also::Disapprove)],
    /* F   */ [pass(FO),  pass(F),    stop(F),                         and(pass(N), Also::Disapprove)],
    /* FO  */ [pass(FO),  pass(F),    stop(FO),                        and(pass(NO), Also::Disapprove)],
    /* B   */ [pass(B),   pass(F),    stop(B),                         and(pass(T), Also::Disapprove)],
];

/// The contact sends it (§A.3).
#[rustfmt::skip]
const INBOUND: [[Cell; 4]; 9] = [
    //       subscribe                       unsubscribe  subscribed  unsubscribed
    /* N   */ [pass(NI),                      stop(N),     stop(N),    stop(N)],
    /* NO  */ [pass(NOI),                     stop(NO),    pass(T),    pass(N)],
    /* NI  */ [stop(NI),                      pass(N),     stop(NI),   stop(NI)],
    /* NOI */ [stop(NOI),                     pass(NO),    pass(TI),   pass(NI)],
    /* T   */ [pass(TI),                      stop(T),     stop(T),    pass(N)],
    /* TI  */ [stop(TI),                      pass(T),     stop(TI),   pass(NI)],
    /* F   */ [and(stop(F), Also::Confirm),   pass(N),     stop(F),    stop(F)],
    /* FO  */ [and(stop(FO), Also::Confirm),  pass(NO),    pass(B),    pass(F)],
    /* B   */ [and(stop(B), Also::Confirm),   pass(T),     stop(B),    pass(F)],
];

impl State {
    /// All states, in the order of the tables' rows.
    #[cfg(test)]
    pub(super) const ALL: [State; 9] = [N, NO, NI, NOI, T, TI, F, FO, B];

    /// The state that an item shows; unknown contacts are at `None`.
    pub(super) fn of(item: Option<&RosterItem>) -> State {
        let Some(item) = item else { return State::None };
        match (item.subscription, item.ask, item.pending_in.is_some()) {
            (Subscription::None, false, false) => N,
            (Subscription::None, true, false) => NO,
            (Subscription::None, false, true) => NI,
            (Subscription::None, true, true) => NOI,
            (Subscription::To, _, false) => T,
            (Subscription::To, _, true) => TI,
            (Subscription::From, false, _) => F,
            (Subscription::From, true, _) => FO,
            (Subscription::Both, ..) => B,
        }
    }

    /// Whose presence is shown to whom.
    pub(super) fn subscription(self) -> Subscription {
        match self {
            N | NO | NI | NOI => Subscription::None,
            T | TI => Subscription::To,
            F | FO => Subscription::From,
            B => Subscription::Both,
        }
    }

    /// Whether the account has asked and was not answered.
    pub(super) fn asks(self) -> bool {
        matches!(self, NO | NOI | FO)
    }

    /// Whether the contact has asked and was not answered.
    pub(super) fn is_asked(self) -> bool {
        matches!(self, NI | NOI | TI)
    }

    /// What follows when the account's client sends `ask`.
    pub(super) fn outbound(self, ask: Ask) -> Cell {
        OUTBOUND[self as usize][ask as usize]
    }

    /// What follows when the contact sends `ask`. One that the account approved before is accepted
    /// at once (§3.4.2): the server answers, and nobody is asked.
    pub(super) fn inbound(self, ask: Ask, approved: bool) -> Cell {
        let cell = INBOUND[self as usize][ask as usize];
        if !(approved && ask == Ask::Subscribe && cell.next.is_asked()) {
            return cell;
        }
        let accepted = cell.next.outbound(Ask::Subscribed).next;
        Cell {
            passes: false,
            next: accepted,
            also: Also::Confirm,
        }
    }
}

impl Ask {
    /// The four, in the order of the tables' columns.
    #[cfg(test)]
    pub(super) const ALL: [Ask; 4] = [
        Ask::Subscribe,
        Ask::Unsubscribe,
        Ask::Subscribed,
        Ask::Unsubscribed,
    ];

    /// Which of the four a presence is.
    pub(super) fn of(kind: PresenceType) -> Option<Ask> {
        match kind {
            PresenceType::Subscribe => Some(Ask::Subscribe),
            PresenceType::Unsubscribe => Some(Ask::Unsubscribe),
            PresenceType::Subscribed => Some(Ask::Subscribed),
            PresenceType::Unsubscribed => Some(Ask::Unsubscribed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The states as three independent facts, and the rules of RFC 6121 §3 in prose order: a second
    /// derivation, against which every cell is held.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Facts {
        to: bool,
        from: bool,
        out: bool,
        asked: bool,
    }

    fn facts(state: State) -> Facts {
        let subscription = state.subscription();
        Facts {
            to: subscription.has_to(),
            from: subscription.has_from(),
            out: state.asks(),
            asked: state.is_asked(),
        }
    }

    fn outbound(mut f: Facts, ask: Ask) -> (bool, Facts, Also) {
        let passes = match ask {
            // §3.1.2, §3.3.2: always routed.
            Ask::Subscribe => {
                f.out |= !f.to;
                true
            }
            Ask::Unsubscribe => {
                (f.to, f.out) = (false, false);
                true
            }
            // §3.1.5: only an answer is routed; else it approves in advance (§3.4).
            Ask::Subscribed => {
                let answers = f.asked;
                f.from |= answers;
                f.asked = false;
                let also = if answers || f.from {
                    Also::Nothing
                } else {
                    Also::Approve
                };
                return (answers, f, also);
            }
            // §3.2.2: routed when it refuses or ends something.
            Ask::Unsubscribed => {
                let ends = f.asked || f.from;
                (f.asked, f.from) = (false, false);
                return (ends, f, Also::Disapprove);
            }
        };
        (passes, f, Also::Nothing)
    }

    fn inbound(mut f: Facts, ask: Ask) -> (bool, Facts, Also) {
        match ask {
            Ask::Subscribe if f.from => (false, f, Also::Confirm),
            Ask::Subscribe => {
                let new = !f.asked;
                f.asked = true;
                (new, f, Also::Nothing)
            }
            Ask::Unsubscribe => {
                let had = f.from || f.asked;
                (f.from, f.asked) = (false, false);
                (had, f, Also::Nothing)
            }
            Ask::Subscribed => {
                let wanted = f.out;
                f.to |= wanted;
                f.out = false;
                (wanted, f, Also::Nothing)
            }
            Ask::Unsubscribed => {
                let had = f.to || f.out;
                (f.to, f.out) = (false, false);
                (had, f, Also::Nothing)
            }
        }
    }

    //
    #[test]
    fn all_72_cells_follow_from_the_rules() {
        let mut cells = 0;
        for state in State::ALL {
            for ask in Ask::ALL {
                let told = |cell: Cell| (cell.passes, facts(cell.next), cell.also);
                assert_eq!(
                    told(state.outbound(ask)),
                    outbound(facts(state), ask),
                    "{state:?} sends {ask:?}"
                );
                assert_eq!(
                    told(state.inbound(ask, false)),
                    inbound(facts(state), ask),
                    "{state:?} hears {ask:?}"
                );
                cells += 2;
            }
        }
        assert_eq!(cells, 72);
    }

    //
    #[test]
    fn the_approved_are_accepted_without_asking() {
        let accepted = |from: State, to: State| {
            assert_eq!(
                from.inbound(Ask::Subscribe, true),
                Cell {
                    passes: false,
                    next: to,
                    also: Also::Confirm
                },
                "{from:?}"
            );
        };
        accepted(N, F);
        accepted(NO, FO);
        accepted(T, B);
        accepted(F, F);
        for ask in [Ask::Unsubscribe, Ask::Subscribed, Ask::Unsubscribed] {
            for state in State::ALL {
                assert_eq!(state.inbound(ask, true), state.inbound(ask, false));
            }
        }
    }

    #[test]
    fn a_state_is_read_back_from_its_item() {
        let jid = xmpp::parse_bare("b@x").expect("a JID");
        for state in State::ALL {
            let item = RosterItem {
                subscription: state.subscription(),
                ask: state.asks(),
                pending_in: state.is_asked().then(String::new),
                ..RosterItem::new(jid.clone())
            };
            assert_eq!(State::of(Some(&item)), state);
        }
        assert_eq!(State::of(None), N);
    }

    /// One account's view of the other.
    #[derive(Clone, Copy, Debug)]
    struct Side {
        state: State,
        approved: bool,
    }

    /// One side's client says something; the other's server hears what passes, and answers where it must.
    fn say(from: &mut Side, to: &mut Side, ask: Ask) {
        let cell = from.state.outbound(ask);
        from.state = cell.next;
        match cell.also {
            Also::Approve => from.approved = true,
            Also::Disapprove => from.approved = false,
            Also::Nothing | Also::Confirm => {}
        }
        if !cell.passes {
            return;
        }
        let heard = to.state.inbound(ask, to.approved);
        to.state = heard.next;
        if heard.also == Also::Confirm {
            from.state = from.state.inbound(Ask::Subscribed, from.approved).next;
        }
    }

    proptest::proptest! {
        /// Whatever two people say in whatever order, both rosters tell the same story: who sees whom, and
        /// who waits for whose answer.
        #[test]
        fn two_rosters_tell_one_story(said in proptest::collection::vec((0..2usize, 0..4usize), 0..40)) {
            let mut sides = [Side { state: State::None, approved: false }; 2];
            for (who, what) in said {
                let [mut mine, mut theirs] = [sides[who], sides[1 - who]];
                say(&mut mine, &mut theirs, Ask::ALL[what]);
                sides[who] = mine;
                sides[1 - who] = theirs;
                for (one, other) in [(sides[0], sides[1]), (sides[1], sides[0])] {
                    let (one, other) = (facts(one.state), facts(other.state));
                    proptest::prop_assert_eq!(one.to, other.from);
                    proptest::prop_assert_eq!(one.out, other.asked);
                    proptest::prop_assert!(!(one.to && one.out), "it has what it asks for");
                }
            }
        }
    }
}
