//! Random people doing random things, against a model of roles and affiliations that was written from the XEP and
//! not from the tables of the crate: every answer, and after it what everybody sees of everybody.

use std::collections::BTreeMap;

use proptest::prelude::*;
use storage::Affiliation;
use xmpp::{Condition, Kind, PresenceType, Stanza};

use crate::rig::{ROOM, Rig};

const USERS: usize = 5;

/// Sees everything and is never touched: the owner.
const ROOT: &str = "root@a.example/eye";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    None,
    Visitor,
    Participant,
    Moderator,
}

impl Role {
    const ALL: [Role; 4] = [
        Role::None,
        Role::Visitor,
        Role::Participant,
        Role::Moderator,
    ];

    fn word(self) -> &'static str {
        ["none", "visitor", "participant", "moderator"][self as usize]
    }

    fn of(word: &str) -> Role {
        Role::ALL
            .into_iter()
            .find(|role| role.word() == word)
            .expect("a role")
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Enter(usize),
    Leave(usize),
    Rename(usize, usize),
    Say(usize),
    Role(usize, usize, Role),
    Affiliation(usize, usize, Affiliation),
    Moderate(bool),
    Close(bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    let user = || 0..USERS;
    let role = prop::sample::select(Role::ALL.to_vec());
    let affiliation = prop::sample::select(Affiliation::ALL.to_vec());
    prop_oneof![
        4 => user().prop_map(Deed::Enter),
        1 => user().prop_map(Deed::Leave),
        1 => (user(), user()).prop_map(|(who, nick)| Deed::Rename(who, nick)),
        2 => user().prop_map(Deed::Say),
        6 => (0..=USERS, user(), role).prop_map(|(by, of, to)| Deed::Role(by, of, to)),
        6 => (0..=USERS, user(), affiliation).prop_map(|(by, of, to)| Deed::Affiliation(by, of, to)),
        1 => any::<bool>().prop_map(Deed::Moderate),
        1 => any::<bool>().prop_map(Deed::Close),
    ]
}

/// The room as it should be.
#[derive(Default)]
struct Model {
    moderated: bool,
    members_only: bool,
    affiliations: [Affiliation; USERS],
    /// Nickname and role of those who are there.
    there: [Option<(usize, Role)>; USERS],
}

type Said = Result<(), Condition>;

impl Model {
    /// Of a user, or of the owner who stands behind them.
    fn affiliation(&self, who: usize) -> Affiliation {
        self.affiliations
            .get(who)
            .copied()
            .unwrap_or(Affiliation::Owner)
    }

    fn role(&self, who: usize) -> Role {
        match self.there.get(who) {
            Some(Some((_, role))) => *role,
            Some(None) => Role::None,
            None => Role::Moderator,
        }
    }

    /// §5.1.2.
    fn first_role(&self, affiliation: Affiliation) -> Role {
        match affiliation {
            Affiliation::Owner | Affiliation::Admin => Role::Moderator,
            Affiliation::None if self.moderated => Role::Visitor,
            _ => Role::Participant,
        }
    }

    fn holder(&self, nick: usize) -> Option<usize> {
        let holds = |there: &Option<(usize, Role)>| there.is_some_and(|(held, _)| held == nick);
        self.there.iter().position(holds)
    }

    fn apply(&mut self, deed: &Deed) -> Said {
        match *deed {
            Deed::Enter(who) => self.enter(who),
            Deed::Leave(who) => {
                self.there[who] = None;
                Ok(())
            }
            Deed::Rename(who, nick) => self.rename(who, nick),
            Deed::Say(who) => match self.role(who) {
                Role::None => Err(Condition::NotAcceptable),
                Role::Visitor => Err(Condition::Forbidden),
                _ => Ok(()),
            },
            Deed::Role(by, of, to) => self.change_role(by, of, to),
            Deed::Affiliation(by, of, to) => self.change_affiliation(by, of, to),
            Deed::Moderate(on) => {
                if self.moderated && !on {
                    for there in self.there.iter_mut().flatten() {
                        there.1 = there.1.max(Role::Participant);
                    }
                }
                self.moderated = on;
                Ok(())
            }
            Deed::Close(on) => {
                if on && !self.members_only {
                    for who in 0..USERS {
                        if self.affiliations[who] < Affiliation::Member {
                            self.there[who] = None;
                        }
                    }
                }
                self.members_only = on;
                Ok(())
            }
        }
    }

    /// §7.2, under the nickname of one's own number.
    fn enter(&mut self, who: usize) -> Said {
        let affiliation = self.affiliations[who];
        if let Some((nick, _)) = self.there[who] {
            return match nick == who {
                true => Ok(()),
                false => self.rename(who, who),
            };
        }
        if affiliation == Affiliation::Outcast {
            return Err(Condition::Forbidden);
        }
        if self.members_only && affiliation < Affiliation::Member {
            return Err(Condition::RegistrationRequired);
        }
        if self.holder(who).is_some() {
            return Err(Condition::Conflict);
        }
        self.there[who] = Some((who, self.first_role(affiliation)));
        Ok(())
    }

    /// §7.6; who is not there is told so, which is no error (§7.2.18).
    fn rename(&mut self, who: usize, nick: usize) -> Said {
        let Some((current, role)) = self.there[who] else {
            return Ok(());
        };
        if current == nick {
            return Ok(());
        }
        if self.holder(nick).is_some() {
            return Err(Condition::Conflict);
        }
        self.there[who] = Some((nick, role));
        Ok(())
    }

    /// §8.2 to §8.5, §9.6, §9.7, by the nickname of the one it is done to.
    fn change_role(&mut self, by: usize, of: usize, to: Role) -> Said {
        let (own_role, own) = (self.role(by), self.affiliation(by));
        let manages = own >= Affiliation::Admin;
        if own_role != Role::Moderator && !manages {
            return Err(Condition::Forbidden);
        }
        let Some((_, from)) = self.there[of] else {
            return Err(Condition::ItemNotFound);
        };
        let theirs = self.affiliations[of];
        match (from, to) {
            (Role::Moderator, Role::Visitor | Role::Participant) => {
                if !manages || own_role == Role::None {
                    return Err(Condition::Forbidden);
                }
                if theirs >= Affiliation::Admin {
                    return Err(Condition::NotAllowed);
                }
            }
            (_, Role::Moderator) => {
                if !manages || own_role == Role::None {
                    return Err(Condition::Forbidden);
                }
            }
            (_, Role::None) => {
                if own_role != Role::Moderator {
                    return Err(Condition::Forbidden);
                }
                if theirs > own || (from == Role::Moderator && !manages) {
                    return Err(Condition::NotAllowed);
                }
            }
            (_, Role::Participant) => {
                if own_role != Role::Moderator {
                    return Err(Condition::Forbidden);
                }
            }
            (_, Role::Visitor) => {
                if own_role != Role::Moderator {
                    return Err(Condition::Forbidden);
                }
                if theirs >= Affiliation::Admin || (theirs == Affiliation::Member && own <= theirs)
                {
                    return Err(Condition::NotAllowed);
                }
            }
        }
        self.there[of] = match to {
            Role::None => None,
            role => self.there[of].map(|(nick, _)| (nick, role)),
        };
        Ok(())
    }

    /// §9.1 to §9.5, §10.3 to §10.8.
    fn change_affiliation(&mut self, by: usize, of: usize, to: Affiliation) -> Said {
        let (own, from) = (self.affiliation(by), self.affiliations[of]);
        let least = match from >= Affiliation::Admin || to >= Affiliation::Admin {
            true => Affiliation::Owner,
            false => Affiliation::Admin,
        };
        // §9.1: nobody who could ban bans himself.
        if by == of && to == Affiliation::Outcast && own >= Affiliation::Admin {
            return Err(Condition::Conflict);
        }
        if own < least {
            let bans = to == Affiliation::Outcast && own >= Affiliation::Admin;
            return Err(if bans {
                Condition::NotAllowed
            } else {
                Condition::Forbidden
            });
        }
        self.affiliations[of] = to;
        if from == to {
            return Ok(());
        }
        if let Some((nick, role)) = self.there[of] {
            let goes =
                to == Affiliation::Outcast || (self.members_only && to < Affiliation::Member);
            let first = self.first_role(to);
            self.there[of] = match (goes, to > from) {
                (true, _) => None,
                (false, true) => Some((nick, role.max(first))),
                (false, false) => Some((nick, first)),
            };
        }
        Ok(())
    }

    /// What the owner should see: role and affiliation by nickname.
    fn seen(&self) -> BTreeMap<String, (Role, String)> {
        let there = self.there.iter().enumerate();
        there
            .filter_map(|(who, there)| {
                let (nick, role) = (*there)?;
                let affiliation = self.affiliations[who].as_str().to_owned();
                Some((format!("n{nick}"), (role, affiliation)))
            })
            .collect()
    }
}

fn jid(who: usize) -> String {
    match who {
        USERS => ROOT.to_owned(),
        who => format!("u{who}@b.example/x"),
    }
}

/// The stanza of a deed.
fn stanza(deed: &Deed, model: &Model) -> String {
    let admin = |by: usize, item: String| {
        format!(
            "<iq type='set' id='d' from='{}' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query></iq>",
            jid(by)
        )
    };
    let nick_of = |who: usize| model.there[who].map_or(99, |(nick, _)| nick);
    let option = |name: &str, on: bool| {
        format!(
            "<iq type='set' id='d' from='{ROOT}' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_{name}'><value>{}</value></field></x></query></iq>",
            u8::from(on)
        )
    };
    match *deed {
        Deed::Enter(who) => format!(
            "<presence id='d' from='{}' to='{ROOM}/n{who}'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
            jid(who)
        ),
        Deed::Leave(who) => format!(
            "<presence type='unavailable' from='{}' to='{ROOM}/n0'/>",
            jid(who)
        ),
        Deed::Rename(who, nick) => {
            format!("<presence id='d' from='{}' to='{ROOM}/n{nick}'/>", jid(who))
        }
        Deed::Say(who) => format!(
            "<message type='groupchat' id='d' from='{}' to='{ROOM}'><body>x</body></message>",
            jid(who)
        ),
        Deed::Role(by, of, to) => admin(
            by,
            format!("<item nick='n{}' role='{}'/>", nick_of(of), to.word()),
        ),
        Deed::Affiliation(by, of, to) => admin(
            by,
            format!("<item jid='{}' affiliation='{}'/>", jid(of), to.as_str()),
        ),
        Deed::Moderate(on) => option("moderatedroom", on),
        Deed::Close(on) => option("membersonly", on),
    }
}

fn actor(deed: &Deed) -> usize {
    match *deed {
        Deed::Enter(who) | Deed::Leave(who) | Deed::Rename(who, _) | Deed::Say(who) => who,
        Deed::Role(by, ..) | Deed::Affiliation(by, ..) => by,
        Deed::Moderate(_) | Deed::Close(_) => USERS,
    }
}

fn condition(stanza: &Stanza) -> Option<Condition> {
    let error = stanza
        .dom()
        .children()
        .find(|child| child.name() == "error")?;
    error
        .children()
        .find_map(|child| Condition::from_name(child.name()))
}

/// Takes what somebody hears into its picture of the room.
fn look(view: &mut BTreeMap<String, (Role, String)>, heard: &[Stanza]) {
    for stanza in heard
        .iter()
        .filter(|stanza| stanza.kind() == Kind::Presence)
    {
        let nick = stanza
            .from()
            .and_then(|from| from.resource())
            .map(|nick| nick.as_str().to_owned());
        let user = stanza
            .dom()
            .get_child("x", "http://jabber.org/protocol/muc#user");
        let item = user.and_then(|x| x.children().find(|child| child.name() == "item"));
        let (Some(nick), Some(item)) = (nick, item) else {
            continue;
        };
        let role = Role::of(item.attr("role").expect("every presence tells a role"));
        let affiliation = item
            .attr("affiliation")
            .expect("and an affiliation")
            .to_owned();
        match stanza.presence_type() {
            PresenceType::Available => {
                view.insert(nick, (role, affiliation));
            }
            PresenceType::Unavailable => {
                view.remove(&nick);
            }
            _ => {}
        }
    }
}

async fn play(deeds: Vec<Deed>) -> Result<(), TestCaseError> {
    let mut rig = Rig::start(&["presence_interval=0 s", "message_interval=0 s"]).await;
    let made = rig
        .command(&["create_room", "coven", "a.example", "owner=root@a.example"])
        .await;
    made.expect("created");
    rig.enter(ROOT, "root").await;
    rig.settle().await;
    let mut model = Model::default();
    let mut view = BTreeMap::new();
    look(&mut view, &rig.crowd.take(ROOT));
    for (number, deed) in deeds.iter().enumerate() {
        let text = stanza(deed, &model);
        let expected = model.apply(deed);
        rig.send(&text).await;
        rig.settle().await;
        let root = rig.crowd.take(ROOT);
        let own = match actor(deed) {
            USERS => root.clone(),
            who => rig.crowd.take(&jid(who)),
        };
        let error = own.iter().find(|s| s.is_error() && s.id() == Some("d"));
        let found = error.map_or(Ok(()), |error| Err(condition(error).expect("a condition")));
        prop_assert_eq!(found, expected, "deed {} of {:?}: {}", number, deeds, text);
        look(&mut view, &root);
        let mut seen = model.seen();
        seen.insert("root".to_owned(), (Role::Moderator, "owner".to_owned()));
        prop_assert_eq!(&view, &seen, "after deed {} of {:?}", number, deeds);
    }
    // Whoever comes now is shown the same.
    rig.send("<presence from='late@b.example/x' to='coven@conference.a.example/late'><x xmlns='http://jabber.org/protocol/muc'/></presence>").await;
    rig.settle().await;
    if !model.members_only {
        let mut shown = BTreeMap::new();
        look(&mut shown, &rig.crowd.take("late@b.example/x"));
        shown.remove("late");
        prop_assert_eq!(&shown, &view);
    }
    rig.stop().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn rooms_are_as_the_model_says(deeds in prop::collection::vec(deed(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(play(deeds))?;
    }
}
