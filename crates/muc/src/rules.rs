//! Who may do what: the tables of XEP-0045 §5, which the tests read as they stand here.

use storage::Affiliation;
use xmpp::Condition;

use crate::config::RoomConfig;

/// What somebody is in a room while there, least first (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not there.
    None,
    /// Hears.
    Visitor,
    /// Hears and speaks.
    Participant,
    /// Says who may speak and who has to leave.
    Moderator,
}

impl Role {
    /// All of them, least first.
    pub const ALL: [Role; 4] = [
        Role::None,
        Role::Visitor,
        Role::Participant,
        Role::Moderator,
    ];

    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::None => "none",
            Role::Visitor => "visitor",
            Role::Participant => "participant",
            Role::Moderator => "moderator",
        }
    }

    /// The one with this word.
    pub fn from_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// What a role may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Hears what is said and who is there.
    Listen,
    /// Is shown to the others.
    Appear,
    /// Changes the nickname.
    Rename,
    /// Speaks to one.
    Whisper,
    /// Speaks to all.
    Speak,
    /// Changes the subject.
    ChangeSubject,
    /// Sees who the others are where that is not shown to everybody.
    SeeAddresses,
}

/// A cell of the table of roles.
#[derive(Clone, Copy)]
pub enum Grant {
    /// Never.
    No,
    /// Always.
    Yes,
    /// If the room is configured so.
    If(fn(&RoomConfig) -> bool),
}

use Grant::{If, No, Yes};

/// §5.1.1: by deed, for none, visitors, participants, moderators.
///
/// Our choices where the XEP leaves one: visitors never speak to all, in an unmoderated room either (who is one
/// there was made one); nor do they change the subject.
pub const BY_ROLE: &[(Deed, [Grant; 4])] = &[
    (Deed::Listen, [No, Yes, Yes, Yes]),
    (
        Deed::Appear,
        [
            No,
            If(|c| c.shows(Role::Visitor)),
            If(|c| c.shows(Role::Participant)),
            If(|c| c.shows(Role::Moderator)),
        ],
    ),
    (Deed::Rename, [No, Yes, Yes, Yes]),
    (
        Deed::Whisper,
        [
            No,
            If(|c| c.whisperers <= Role::Visitor),
            If(|c| c.whisperers <= Role::Participant),
            If(|c| c.whispering),
        ],
    ),
    (Deed::Speak, [No, No, Yes, Yes]),
    (Deed::ChangeSubject, [No, No, If(|c| c.change_subject), Yes]),
    (
        Deed::SeeAddresses,
        [No, If(|c| c.nonanonymous), If(|c| c.nonanonymous), Yes],
    ),
];

/// Whether a role allows a deed.
pub fn may(role: Role, deed: Deed, config: &RoomConfig) -> bool {
    let row = BY_ROLE.iter().find(|(of, _)| *of == deed);
    let (_, grants) = row.expect("every deed has its row");
    match grants[role as usize] {
        No => false,
        Yes => deed != Deed::Whisper || config.whispering,
        If(configured) => configured(config) && (deed != Deed::Whisper || config.whispering),
    }
}

/// What an affiliation may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Enters a room that is open to all.
    EnterOpen,
    /// Enters a room that is for members.
    EnterMembersOnly,
    /// Enters a room that is full.
    EnterFull,
    /// Asks to become a member.
    Register,
    /// Invites to a room that is for members.
    InviteToMembersOnly,
    /// Reads who is a member of a room whose occupants see who the others are.
    ReadMembers,
    /// Reads and changes who is a member and who is banned.
    EditMembers,
    /// Makes and unmakes moderators.
    MakeModerators,
    /// Changes who manages the room, configures it and destroys it.
    Own,
}

/// §5.2.1: by right, for outcasts, none, members, admins, owners.
pub const BY_AFFILIATION: &[(Right, [bool; 5])] = &[
    (Right::EnterOpen, [false, true, true, true, true]),
    (Right::EnterMembersOnly, [false, false, true, true, true]),
    (Right::EnterFull, [false, false, false, true, true]),
    (Right::Register, [false, true, false, false, false]),
    (
        Right::InviteToMembersOnly,
        [false, false, false, true, true],
    ),
    (Right::ReadMembers, [false, false, true, true, true]),
    (Right::EditMembers, [false, false, false, true, true]),
    (Right::MakeModerators, [false, false, false, true, true]),
    (Right::Own, [false, false, false, false, true]),
];

/// Whether an affiliation allows it.
pub fn has(affiliation: Affiliation, right: Right) -> bool {
    let row = BY_AFFILIATION.iter().find(|(of, _)| *of == right);
    row.expect("every right has its row").1[affiliation as usize]
}

/// §5.1.2: the role of somebody who comes, in a room that is not moderated, and in one that is.
pub const INITIAL_ROLES: [(Affiliation, [Role; 2]); 5] = [
    (Affiliation::Outcast, [Role::None, Role::None]),
    (Affiliation::None, [Role::Participant, Role::Visitor]),
    (Affiliation::Member, [Role::Participant, Role::Participant]),
    (Affiliation::Admin, [Role::Moderator, Role::Moderator]),
    (Affiliation::Owner, [Role::Moderator, Role::Moderator]),
];

/// The role that an affiliation begins with.
pub fn initial_role(affiliation: Affiliation, config: &RoomConfig) -> Role {
    INITIAL_ROLES[affiliation as usize].1[usize::from(config.moderated)]
}

/// A change of role: whom it takes to make it, and whom it spares (§5.1.3, §8.2 to §8.5, §9.6, §9.7).
pub struct RoleChange {
    /// From one of these.
    pub from: &'static [Role],
    /// To one of these.
    pub to: &'static [Role],
    /// The least role of whoever makes it.
    pub role: Role,
    /// The least affiliation of whoever makes it.
    pub affiliation: Affiliation,
    /// Whom it cannot be done to, by their affiliation and that of whoever does it.
    pub spares: fn(of: Affiliation, by: Affiliation) -> bool,
}

const THERE: &[Role] = &[Role::Visitor, Role::Participant];

/// Every change of role there is. A change to what one is already changes nothing and needs what its kind needs.
pub const ROLE_CHANGES: &[RoleChange] = &[
    // Kick (§8.2): not those with a higher affiliation.
    RoleChange {
        from: THERE,
        to: &[Role::None],
        role: Role::Moderator,
        affiliation: Affiliation::None,
        spares: |of, by| of > by,
    },
    // Kick a moderator (§5.1.3): only an admin or owner may, and not those above.
    RoleChange {
        from: &[Role::Moderator],
        to: &[Role::None],
        role: Role::Moderator,
        affiliation: Affiliation::None,
        spares: |of, by| of > by || by < Affiliation::Admin,
    },
    // Grant voice (§8.3).
    RoleChange {
        from: THERE,
        to: &[Role::Participant],
        role: Role::Moderator,
        affiliation: Affiliation::None,
        spares: |_, _| false,
    },
    // Revoke voice (§8.4): never from admins and owners, nor from those of one's own or a higher level. Where
    // neither has an affiliation the role decides (our choice: else a moderator without one could do nothing).
    RoleChange {
        from: THERE,
        to: &[Role::Visitor],
        role: Role::Moderator,
        affiliation: Affiliation::None,
        spares: |of, by| of >= Affiliation::Admin || (of >= by && of != Affiliation::None),
    },
    // Make a moderator (§9.6).
    RoleChange {
        from: &[Role::Visitor, Role::Participant, Role::Moderator],
        to: &[Role::Moderator],
        role: Role::Visitor,
        affiliation: Affiliation::Admin,
        spares: |_, _| false,
    },
    // Unmake one (§9.7): never admins and owners.
    RoleChange {
        from: &[Role::Moderator],
        to: THERE,
        role: Role::Visitor,
        affiliation: Affiliation::Admin,
        spares: |of, _| of >= Affiliation::Admin,
    },
];

/// Somebody who acts, or is acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The role.
    pub role: Role,
    /// The affiliation.
    pub affiliation: Affiliation,
}

/// Whether `by` may change the role of `of` to `to`.
///
/// # Errors
///
/// `forbidden`: not with that role and affiliation; `not-allowed`: not with that person.
pub fn change_role(by: Standing, of: Standing, to: Role) -> Result<(), Condition> {
    let rule = ROLE_CHANGES
        .iter()
        .find(|rule| rule.from.contains(&of.role) && rule.to.contains(&to))
        .ok_or(Condition::NotAllowed)?;
    if by.role < rule.role || by.affiliation < rule.affiliation {
        return Err(Condition::Forbidden);
    }
    if (rule.spares)(of.affiliation, by.affiliation) {
        return Err(Condition::NotAllowed);
    }
    Ok(())
}

/// §5.2.2: the least affiliation of who changes another's, from (down) to (across) outcast, none, member, admin, owner.
pub const AFFILIATION_CHANGES: [[Affiliation; 5]; 5] = {
    use Affiliation::{Admin as A, Owner as O};
    [
        [A, A, A, O, O],
        [A, A, A, O, O],
        [A, A, A, O, O],
        [O, O, O, O, O],
        [O, O, O, O, O],
    ]
};

/// Whether `by` may change another's affiliation.
///
/// # Errors
///
/// `forbidden`: not with that affiliation; `not-allowed`: an admin would ban somebody who is not below (§9.1).
pub fn change_affiliation(
    by: Affiliation,
    from: Affiliation,
    to: Affiliation,
) -> Result<(), Condition> {
    if by >= AFFILIATION_CHANGES[from as usize][to as usize] {
        return Ok(());
    }
    if to == Affiliation::Outcast && has(by, Right::EditMembers) {
        return Err(Condition::NotAllowed);
    }
    Err(Condition::Forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(role: Role, affiliation: Affiliation) -> Standing {
        Standing { role, affiliation }
    }

    #[test]
    fn a_greater_role_or_affiliation_may_all_that_a_lesser_may() {
        for config in [
            RoomConfig::default(),
            RoomConfig {
                moderated: true,
                nonanonymous: true,
                whisperers: Role::Moderator,
                ..RoomConfig::default()
            },
        ] {
            for (deed, _) in BY_ROLE {
                let mut before = false;
                for role in Role::ALL {
                    let now = may(role, *deed, &config);
                    assert!(now || !before, "{deed:?} {role:?}");
                    before = now;
                }
            }
        }
        for (right, row) in BY_AFFILIATION {
            if *right != Right::Register {
                assert!(row.windows(2).all(|pair| pair[0] <= pair[1]), "{right:?}");
            }
        }
    }

    #[test]
    fn initial_roles_stand_in_the_order_of_affiliations() {
        for (place, (affiliation, _)) in INITIAL_ROLES.iter().enumerate() {
            assert_eq!(*affiliation as usize, place);
        }
    }

    #[test]
    fn only_owners_touch_admins_and_owners() {
        use Affiliation::*;
        for from in Affiliation::ALL {
            for to in Affiliation::ALL {
                let high = from >= Admin || to >= Admin;
                assert_eq!(change_affiliation(Admin, from, to).is_ok(), !high);
                assert_eq!(change_affiliation(Owner, from, to), Ok(()));
                for by in [Outcast, None, Member] {
                    assert_eq!(change_affiliation(by, from, to), Err(Condition::Forbidden));
                }
            }
        }
        assert_eq!(
            change_affiliation(Admin, Owner, Outcast),
            Err(Condition::NotAllowed)
        );
        assert_eq!(
            change_affiliation(Admin, Admin, Member),
            Err(Condition::Forbidden)
        );
    }

    #[test]
    fn kicks_and_voice_spare_those_above() {
        use Affiliation::*;
        let moderator = |affiliation| standing(Role::Moderator, affiliation);
        let rows = [
            (
                moderator(None),
                standing(Role::Participant, None),
                Role::None,
                Ok(()),
            ),
            (
                moderator(None),
                standing(Role::Participant, Member),
                Role::None,
                Err(Condition::NotAllowed),
            ),
            (
                moderator(None),
                moderator(None),
                Role::None,
                Err(Condition::NotAllowed),
            ),
            (moderator(Admin), moderator(Admin), Role::None, Ok(())),
            (
                moderator(Admin),
                moderator(Owner),
                Role::None,
                Err(Condition::NotAllowed),
            ),
            (
                standing(Role::Participant, Owner),
                standing(Role::Visitor, None),
                Role::None,
                Err(Condition::Forbidden),
            ),
            (
                moderator(None),
                standing(Role::Visitor, None),
                Role::Participant,
                Ok(()),
            ),
            (
                moderator(None),
                standing(Role::Participant, None),
                Role::Visitor,
                Ok(()),
            ),
            (
                moderator(Member),
                standing(Role::Participant, Member),
                Role::Visitor,
                Err(Condition::NotAllowed),
            ),
            (
                moderator(Admin),
                standing(Role::Participant, Member),
                Role::Visitor,
                Ok(()),
            ),
            (
                moderator(Owner),
                moderator(Admin),
                Role::Visitor,
                Err(Condition::NotAllowed),
            ),
            (
                moderator(Owner),
                moderator(Admin),
                Role::Participant,
                Err(Condition::NotAllowed),
            ),
            (
                moderator(Admin),
                moderator(Member),
                Role::Participant,
                Ok(()),
            ),
            (
                moderator(Member),
                moderator(None),
                Role::Participant,
                Err(Condition::Forbidden),
            ),
            (
                moderator(None),
                standing(Role::Participant, None),
                Role::Moderator,
                Err(Condition::Forbidden),
            ),
            (
                moderator(Admin),
                standing(Role::Visitor, None),
                Role::Moderator,
                Ok(()),
            ),
        ];
        for (by, of, to, expected) in rows {
            assert_eq!(
                change_role(by, of, to),
                expected,
                "{by:?} makes {of:?} {to:?}"
            );
        }
    }

    #[test]
    fn nobody_is_without_a_rule() {
        for of in &Role::ALL[1..] {
            for to in Role::ALL {
                let by = standing(Role::Moderator, Affiliation::Owner);
                let of = standing(*of, Affiliation::None);
                assert_eq!(change_role(by, of, to), Ok(()), "{of:?} to {to:?}");
            }
        }
    }
}
