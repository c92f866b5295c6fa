//! What a privacy list says of one stanza: pure, so that it can be checked against a model (XEP-0016 §2.1, §2.2).

use session::hooks::Direction;
use storage::{PrivacyAction, PrivacyItem, PrivacyKinds, PrivacyList, PrivacyWho, Subscription};
use xmpp::{Jid, Kind, PresenceType, Stanza};

/// What rules tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A message to the account.
    Message,
    /// An IQ to the account.
    Iq,
    /// A presence notification to the account: available or unavailable.
    PresenceIn,
    /// A presence notification of the account.
    PresenceOut,
    /// All else: only rules about all stanzas match it.
    Other,
}

impl Sort {
    /// The sort of a stanza that goes this way.
    pub(crate) fn of(direction: Direction, stanza: &Stanza) -> Sort {
        let notifies = |stanza: &Stanza| {
            matches!(
                stanza.presence_type(),
                PresenceType::Available | PresenceType::Unavailable
            )
        };
        match (stanza.kind(), direction) {
            (Kind::Message, Direction::In) => Sort::Message,
            (Kind::Iq, Direction::In) => Sort::Iq,
            (Kind::Presence, Direction::In) if notifies(stanza) => Sort::PresenceIn,
            (Kind::Presence, Direction::Out) if notifies(stanza) => Sort::PresenceOut,
            _ => Sort::Other,
        }
    }

    fn is_in(self, kinds: PrivacyKinds) -> bool {
        kinds.is_all()
            || match self {
                Sort::Message => kinds.message,
                Sort::Iq => kinds.iq,
                Sort::PresenceIn => kinds.presence_in,
                Sort::PresenceOut => kinds.presence_out,
                Sort::Other => false,
            }
    }
}

/// What the account's roster says of whoever is at the other end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) groups: Vec<String>,
    pub(crate) subscription: Subscription,
}

/// What a list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// It passes.
    Pass,
    /// It does not.
    Refuse,
    /// It depends on the roster, which was not given.
    AskRoster,
}

/// Asks the rules in their order; the first that matches decides, and without one all passes (§2.2 rules 5 to 7).
pub(crate) fn decide(
    items: &[PrivacyItem],
    sort: Sort,
    other: &Jid,
    known: Option<&Known>,
) -> Says {
    for item in items.iter().filter(|item| sort.is_in(item.kinds)) {
        let matches = match (&item.who, known) {
            (PrivacyWho::Everyone, _) => true,
            (PrivacyWho::Jid(jid), _) => covers(jid, other),
            (PrivacyWho::Group(group), Some(known)) => known.groups.contains(group),
            (PrivacyWho::Subscription(wanted), Some(known)) => known.subscription == *wanted,
            (PrivacyWho::Group(_) | PrivacyWho::Subscription(_), None) => return Says::AskRoster,
        };
        if matches {
            return match item.action {
                PrivacyAction::Allow => Says::Pass,
                PrivacyAction::Deny => Says::Refuse,
            };
        }
    }
    Says::Pass
}

/// Whether the address of a rule covers another: a full JID itself, an account its resources, a resource of
/// a domain itself, a domain all that is in it (§2.1).
pub(crate) fn covers(rule: &Jid, other: &Jid) -> bool {
    if rule.domain() != other.domain() {
        return false;
    }
    match (rule.node(), rule.resource()) {
        (None, None) => true,
        (Some(node), None) => other.node() == Some(node),
        (node, resource) => other.node() == node && other.resource() == resource,
    }
}

/// The addresses that a list blocks altogether: its blocklist (XEP-0191 §5), in the list's order.
pub(crate) fn blocked(list: Option<&PrivacyList>) -> Vec<Jid> {
    let items = list.map(|list| list.items.as_slice()).unwrap_or_default();
    let mut blocked: Vec<Jid> = Vec::new();
    for jid in items.iter().filter_map(blocks) {
        if !blocked.contains(jid) {
            blocked.push(jid.clone());
        }
    }
    blocked
}

/// The address that a rule blocks altogether.
pub(crate) fn blocks(item: &PrivacyItem) -> Option<&Jid> {
    match (&item.who, item.action) {
        (PrivacyWho::Jid(jid), PrivacyAction::Deny) if item.kinds.is_all() => Some(jid),
        _ => None,
    }
}

/// Puts rules that block these addresses before all others of the list (XEP-0191 §5), each once.
pub(crate) fn block(list: &mut PrivacyList, jids: &[Jid]) {
    let named = |item: &PrivacyItem| blocks(item).is_some_and(|jid| jids.contains(jid));
    list.items.retain(|item| !named(item));
    let already = list.items.iter().take_while(|item| blocks(item).is_some());
    let at = already.count();
    let fresh = jids.iter().enumerate();
    let fresh = fresh.filter(|(number, jid)| !jids[..*number].contains(jid));
    let fresh = fresh.map(|(_, jid)| PrivacyItem {
        order: 0,
        who: PrivacyWho::Jid(jid.clone()),
        action: PrivacyAction::Deny,
        kinds: PrivacyKinds::ALL,
    });
    list.items.splice(at..at, fresh.collect::<Vec<_>>());
    number(list);
}

/// Takes the rules out that block these addresses; without any named, all that block an address.
pub(crate) fn unblock(list: &mut PrivacyList, jids: &[Jid]) {
    let named = |jid: &Jid| jids.is_empty() || jids.contains(jid);
    list.items.retain(|item| !blocks(item).is_some_and(named));
}

/// Numbers the rules anew where their order is not ascending.
fn number(list: &mut PrivacyList) {
    for (place, item) in (1..).zip(&mut list.items) {
        item.order = place;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JIDS: [&str; 8] = ["a@x", "a@x/1", "a@x/2", "b@x/1", "x", "x/1", "a@y/1", "y"];
    const GROUPS: [&str; 2] = ["friends", "foes"];
    const SUBSCRIPTIONS: [Subscription; 4] = [
        Subscription::None,
        Subscription::To,
        Subscription::From,
        Subscription::Both,
    ];
    const SORTS: [Sort; 5] = [
        Sort::Message,
        Sort::Iq,
        Sort::PresenceIn,
        Sort::PresenceOut,
        Sort::Other,
    ];

    fn jid(text: &str) -> Jid {
        xmpp::parse_jid(text).expect("a JID")
    }

    fn who() -> impl Strategy<Value = PrivacyWho> {
        prop_oneof![
            Just(PrivacyWho::Everyone),
            (0..JIDS.len()).prop_map(|n| PrivacyWho::Jid(jid(JIDS[n]))),
            (0..GROUPS.len()).prop_map(|n| PrivacyWho::Group(GROUPS[n].into())),
            (0..4usize).prop_map(|n| PrivacyWho::Subscription(SUBSCRIPTIONS[n])),
        ]
    }

    fn item() -> impl Strategy<Value = PrivacyItem> {
        (who(), any::<bool>(), any::<[bool; 4]>()).prop_map(|(who, deny, kinds)| PrivacyItem {
            order: 0,
            who,
            action: if deny {
                PrivacyAction::Deny
            } else {
                PrivacyAction::Allow
            },
            kinds: PrivacyKinds {
                message: kinds[0],
                iq: kinds[1],
                presence_in: kinds[2],
                presence_out: kinds[3],
            },
        })
    }

    fn items() -> impl Strategy<Value = Vec<PrivacyItem>> {
        proptest::collection::vec(item(), 0..8).prop_map(|mut items| {
            for (order, item) in (1..).zip(&mut items) {
                item.order = order;
            }
            items
        })
    }

    fn known() -> impl Strategy<Value = Known> {
        (any::<[bool; 2]>(), 0..4usize).prop_map(|(groups, subscription)| Known {
            groups: GROUPS
                .iter()
                .zip(groups)
                .filter(|(_, is_in)| *is_in)
                .map(|(group, _)| (*group).to_owned())
                .collect(),
            subscription: SUBSCRIPTIONS[subscription],
        })
    }

    /// The model: words of the specification, on texts, from the last rule to the first.
    fn model(items: &[PrivacyItem], sort: Sort, other: &str, known: &Known) -> Says {
        let about = |item: &PrivacyItem| {
            let k = item.kinds;
            let named: Vec<Sort> = [
                (k.message, Sort::Message),
                (k.iq, Sort::Iq),
                (k.presence_in, Sort::PresenceIn),
                (k.presence_out, Sort::PresenceOut),
            ]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, sort)| sort)
            .collect();
            named.is_empty() || named.contains(&sort)
        };
        let bare = other.split('/').next().expect("a part");
        let domain = bare.split('@').next_back().expect("a part");
        let mut says = Says::Pass;
        for item in items.iter().rev() {
            let matches = match &item.who {
                PrivacyWho::Everyone => true,
                PrivacyWho::Jid(rule) => {
                    let rule = rule.to_string();
                    rule == other
                        || (!rule.contains('/') && rule == bare)
                        || (!rule.contains(['/', '@']) && rule == domain)
                }
                PrivacyWho::Group(group) => known.groups.iter().any(|g| g == group),
                PrivacyWho::Subscription(wanted) => *wanted == known.subscription,
            };
            if matches && about(item) {
                says = match item.action {
                    PrivacyAction::Allow => Says::Pass,
                    PrivacyAction::Deny => Says::Refuse,
                };
            }
        }
        says
    }

    proptest! {
        #[test]
        fn rules_say_what_the_model_says(items in items(), sort in 0..SORTS.len(), other in 0..JIDS.len(), known in known()) {
            let (sort, other) = (SORTS[sort], JIDS[other]);
            let says = decide(&items, sort, &jid(other), Some(&known));
            prop_assert_eq!(says, model(&items, sort, other, &known));
            // Without the roster nothing is said that the roster could change.
            let unasked = decide(&items, sort, &jid(other), None);
            prop_assert!(unasked == Says::AskRoster || unasked == says);
        }

        #[test]
        fn who_is_blocked_is_refused_and_who_is_unblocked_is_as_before(
            items in items(), chosen in proptest::collection::vec(0..JIDS.len(), 1..4), known in known(),
        ) {
            let chosen: Vec<Jid> = chosen.into_iter().map(|n| jid(JIDS[n])).collect();
            let mut list = PrivacyList { name: "l".into(), items };
            unblock(&mut list, &[]);
            prop_assert!(blocked(Some(&list)).is_empty());
            let before = list.clone();
            block(&mut list, &chosen);
            block(&mut list, &chosen);
            prop_assert!(list.items.windows(2).all(|pair| pair[0].order < pair[1].order));
            for jid in &chosen {
                prop_assert_eq!(blocked(Some(&list)).iter().filter(|b| *b == jid).count(), 1);
                for sort in SORTS {
                    prop_assert_eq!(decide(&list.items, sort, jid, Some(&known)), Says::Refuse);
                }
            }
            unblock(&mut list, &chosen);
            let without = |list: &PrivacyList| list.items.iter().map(|i| (i.who.clone(), i.action, i.kinds)).collect::<Vec<_>>();
            prop_assert_eq!(without(&list), without(&before));
        }
    }

    #[test]
    fn stanzas_are_sorted_by_kind_type_and_way() {
        let sort =
            |text: &str, direction| Sort::of(direction, &Stanza::parse(text).expect("a stanza"));
        for (text, incoming, outgoing) in [
            ("<message/>", Sort::Message, Sort::Other),
            (
                "<iq type='get' id='1'><a xmlns='b'/></iq>",
                Sort::Iq,
                Sort::Other,
            ),
            ("<presence/>", Sort::PresenceIn, Sort::PresenceOut),
            (
                "<presence type='unavailable'/>",
                Sort::PresenceIn,
                Sort::PresenceOut,
            ),
            ("<presence type='subscribe'/>", Sort::Other, Sort::Other),
            ("<presence type='probe'/>", Sort::Other, Sort::Other),
        ] {
            assert_eq!(sort(text, Direction::In), incoming, "{text}");
            assert_eq!(sort(text, Direction::Out), outgoing, "{text}");
        }
    }
}
