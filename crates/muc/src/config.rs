//! The configuration of a room: every field of `muc#roomconfig`, as a table (XEP-0045 §10.1.3, §15.5.3).

use storage::RoomFace;
use subtle::ConstantTimeEq;
use xmpp::{Condition, StanzaError};
use zeroize::Zeroize;

use crate::form::{Filled, FormText, Kind, is_true, truth};
use crate::rules::Role;

/// The type of the form.
pub(crate) const FORM: &str = "http://jabber.org/protocol/muc#roomconfig";

/// The longest name, language, password and address of a room, in bytes, and the longest description.
const SHORT: usize = 1024;
const LONG: usize = 4096;

/// The password of a room: compared in constant time, never printed, wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Whether this is what somebody said.
    pub fn is(&self, said: &str) -> bool {
        self.0.as_bytes().ct_eq(said.as_bytes()).into()
    }

    /// The password, for an invitation.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// How a room is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomConfig {
    /// Its name for people.
    pub title: String,
    /// What it is about.
    pub description: String,
    /// The language that is spoken.
    pub language: String,
    /// Participants may change the subject.
    pub change_subject: bool,
    /// How many may be there; 0: as many as the service allows.
    pub max_users: u32,
    /// Whose presence is shown to the others.
    pub shown: Vec<Role>,
    /// Everybody is told that it exists.
    pub public: bool,
    /// It outlives its last occupant.
    pub persistent: bool,
    /// Only those with voice speak.
    pub moderated: bool,
    /// Only members enter.
    pub members_only: bool,
    /// Who enters has to know the password.
    pub protected: bool,
    /// The password.
    pub password: Password,
    /// Everybody sees who the others are.
    pub nonanonymous: bool,
    /// Private messages are passed on at all.
    pub whispering: bool,
    /// The least role that may send them.
    pub whisperers: Role,
    /// Members may invite where only members enter.
    pub members_invite: bool,
    /// What is said is shown to the public by somebody: occupants are warned.
    pub logged: bool,
    /// Who may read the list of members.
    pub member_list: Vec<Role>,
    /// How many messages of the past a newcomer hears at most.
    pub history: u32,
    /// The address of a pubsub node that belongs to it.
    pub pubsub: String,
    /// What is said is archived.
    pub archived: bool,
}

impl Default for RoomConfig {
    fn default() -> RoomConfig {
        RoomConfig {
            title: String::new(),
            description: String::new(),
            language: String::new(),
            change_subject: false,
            max_users: 0,
            shown: Role::ALL[1..].to_vec(),
            public: true,
            persistent: false,
            moderated: false,
            members_only: false,
            protected: false,
            password: Password::default(),
            nonanonymous: false,
            whispering: true,
            whisperers: Role::Visitor,
            members_invite: false,
            logged: false,
            member_list: vec![Role::Moderator],
            history: 20,
            pubsub: String::new(),
            archived: true,
        }
    }
}

/// What a service allows its rooms.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most occupants.
    pub users: u32,
    /// The most messages of the past.
    pub history: u32,
}

/// A field of the form.
pub(crate) struct Field {
    pub(crate) var: &'static str,
    pub(crate) kind: Kind,
    pub(crate) label: &'static str,
    get: fn(&RoomConfig) -> Vec<String>,
    set: fn(&mut RoomConfig, &[String], &Bounds) -> Result<(), &'static str>,
}

const ROLES: &[(&str, &str)] = &[
    ("moderator", "Moderators"),
    ("participant", "Participants"),
    ("visitor", "Visitors"),
];

macro_rules! truth_field {
    ($var:literal, $field:ident, $label:literal) => {
        Field {
            var: $var,
            kind: Kind::Boolean,
            label: $label,
            get: |c| truth(c.$field),
            set: |c, values, _| {
                c.$field = boolean(values)?;
                Ok(())
            },
        }
    };
}

macro_rules! text_field {
    ($var:literal, $field:ident, $kind:expr, $most:expr, $label:literal) => {
        Field {
            var: $var,
            kind: $kind,
            label: $label,
            get: |c| some(&c.$field),
            set: |c, values, _| {
                c.$field = text(values, $most)?;
                Ok(())
            },
        }
    };
}

/// Every field but the lists of admins and owners, which are affiliations.
pub(crate) const FIELDS: &[Field] = &[
    text_field!(
        "muc#roomconfig_roomname",
        title,
        Kind::Text,
        SHORT,
        "Natural-Language Room Name"
    ),
    text_field!(
        "muc#roomconfig_roomdesc",
        description,
        Kind::Text,
        LONG,
        "Short Description of Room"
    ),
    text_field!(
        "muc#roomconfig_lang",
        language,
        Kind::Text,
        SHORT,
        "Natural Language for Room Discussions"
    ),
    truth_field!(
        "muc#roomconfig_persistentroom",
        persistent,
        "Make Room Persistent?"
    ),
    truth_field!(
        "muc#roomconfig_publicroom",
        public,
        "Make Room Publicly Searchable?"
    ),
    truth_field!(
        "muc#roomconfig_membersonly",
        members_only,
        "Make Room Members-Only?"
    ),
    truth_field!(
        "muc#roomconfig_moderatedroom",
        moderated,
        "Make Room Moderated?"
    ),
    truth_field!(
        "muc#roomconfig_passwordprotectedroom",
        protected,
        "Password Required to Enter?"
    ),
    Field {
        var: "muc#roomconfig_roomsecret",
        kind: Kind::Private,
        label: "Password",
        get: |c| some(&c.password.0),
        set: |c, values, _| {
            c.password = Password(text(values, SHORT)?);
            Ok(())
        },
    },
    Field {
        var: "muc#roomconfig_whois",
        kind: Kind::List(&[("moderators", "Moderators Only"), ("anyone", "Anyone")]),
        label: "Who May Discover Real JIDs?",
        get: |c| {
            vec![
                if c.nonanonymous {
                    "anyone"
                } else {
                    "moderators"
                }
                .to_owned(),
            ]
        },
        set: |c, values, _| {
            c.nonanonymous = match one(values)? {
                "anyone" => true,
                "moderators" => false,
                _ => return Err("expected `anyone` or `moderators`"),
            };
            Ok(())
        },
    },
    Field {
        var: "muc#roomconfig_maxusers",
        kind: Kind::List(&[
            ("10", "10"),
            ("20", "20"),
            ("30", "30"),
            ("50", "50"),
            ("100", "100"),
            ("200", "200"),
            ("500", "500"),
            ("1000", "1000"),
            ("none", "As many as the service allows"),
        ]),
        label: "Maximum Number of Occupants",
        get: |c| match c.max_users {
            0 => vec!["none".to_owned()],
            number => vec![number.to_string()],
        },
        set: |c, values, bounds| {
            c.max_users = match one(values)? {
                "none" | "0" => 0,
                number => match number.parse() {
                    Ok(number) if number <= bounds.users => number,
                    Ok(_) => return Err("more than the service allows"),
                    Err(_) => return Err("expected a whole number or `none`"),
                },
            };
            Ok(())
        },
    },
    truth_field!(
        "muc#roomconfig_changesubject",
        change_subject,
        "Allow Occupants to Change Subject?"
    ),
    truth_field!(
        "muc#roomconfig_allowinvites",
        members_invite,
        "Allow Members to Invite Others?"
    ),
    Field {
        var: "muc#roomconfig_allowpm",
        kind: Kind::List(&[
            ("anyone", "Anyone"),
            ("participants", "Anyone with Voice"),
            ("moderators", "Moderators Only"),
            ("none", "Nobody"),
        ]),
        label: "Who Can Send Private Messages?",
        get: |c| {
            let word = match (c.whispering, c.whisperers) {
                (false, _) => "none",
                (true, Role::Moderator) => "moderators",
                (true, Role::Participant) => "participants",
                (true, _) => "anyone",
            };
            vec![word.to_owned()]
        },
        set: |c, values, _| {
            (c.whispering, c.whisperers) = match one(values)? {
                "anyone" => (true, Role::Visitor),
                "participants" => (true, Role::Participant),
                "moderators" => (true, Role::Moderator),
                "none" => (false, Role::Moderator),
                _ => return Err("expected `anyone`, `participants`, `moderators` or `none`"),
            };
            Ok(())
        },
    },
    Field {
        var: "muc#roomconfig_presencebroadcast",
        kind: Kind::ListMulti(ROLES),
        label: "Roles for which Presence is Broadcasted",
        get: |c| words(&c.shown),
        set: |c, values, _| {
            c.shown = roles(values)?;
            Ok(())
        },
    },
    Field {
        var: "muc#roomconfig_getmemberlist",
        kind: Kind::ListMulti(ROLES),
        label: "Roles and Affiliations that May Retrieve Member List",
        get: |c| words(&c.member_list),
        set: |c, values, _| {
            c.member_list = roles(values)?;
            Ok(())
        },
    },
    Field {
        var: "muc#maxhistoryfetch",
        kind: Kind::Text,
        label: "Maximum Number of History Messages Returned by Room",
        get: |c| vec![c.history.to_string()],
        set: |c, values, bounds| {
            c.history = match one(values)?.parse() {
                Ok(number) if number <= bounds.history => number,
                Ok(_) => return Err("more than the service allows"),
                Err(_) => return Err("expected a whole number"),
            };
            Ok(())
        },
    },
    truth_field!(
        "muc#roomconfig_enablearchiving",
        archived,
        "Archive What Is Said?"
    ),
    truth_field!(
        "muc#roomconfig_enablelogging",
        logged,
        "Is What Is Said Logged Publicly?"
    ),
    text_field!(
        "muc#roomconfig_pubsub",
        pubsub,
        Kind::Text,
        SHORT,
        "XMPP URI of Associated Publish-Subscribe Node"
    ),
];

/// The fields that hold whole lists of affiliations.
pub(crate) const ADMINS: &str = "muc#roomconfig_roomadmins";
/// As [`ADMINS`].
pub(crate) const OWNERS: &str = "muc#roomconfig_roomowners";

fn one(values: &[String]) -> Result<&str, &'static str> {
    match values {
        [value] => Ok(value.trim()),
        _ => Err("expected one value"),
    }
}

fn boolean(values: &[String]) -> Result<bool, &'static str> {
    match one(values)? {
        value if is_true(value) => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("expected `1` or `0`"),
    }
}

fn text(values: &[String], most: usize) -> Result<String, &'static str> {
    let text = values.join("\n");
    match text.len() <= most {
        true => Ok(text),
        false => Err("too long"),
    }
}

fn some(text: &str) -> Vec<String> {
    match text {
        "" => Vec::new(),
        text => vec![text.to_owned()],
    }
}

fn words(roles: &[Role]) -> Vec<String> {
    roles.iter().map(|role| role.as_str().to_owned()).collect()
}

fn roles(values: &[String]) -> Result<Vec<Role>, &'static str> {
    let mut roles = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        match Role::from_word(value.trim()) {
            Some(role) if role != Role::None => roles.push(role),
            _ => return Err("expected `moderator`, `participant` or `visitor`"),
        }
    }
    roles.sort();
    roles.dedup();
    Ok(roles)
}

impl RoomConfig {
    /// Whether the presence of that role is shown to the others.
    pub fn shows(&self, role: Role) -> bool {
        self.shown.contains(&role)
    }

    /// The form to fill in.
    pub(crate) fn form(&self, title: &str, admins: Vec<String>, owners: Vec<String>) -> String {
        let form = FormText::new("form", FORM).title(
            title,
            "Complete this form to configure the room. What you leave out stays as it is.",
        );
        FIELDS
            .iter()
            .fold(form, |form, field| {
                form.field(field.var, field.kind, field.label, &(field.get)(self))
            })
            .field(ADMINS, Kind::JidMulti, "Full List of Room Admins", &admins)
            .field(OWNERS, Kind::JidMulti, "Full List of Room Owners", &owners)
            .finish()
    }

    /// This configuration with what was filled in; fields that are not known are left alone.
    ///
    /// # Errors
    ///
    /// `not-acceptable`, with the field and what is wrong with it (§10.1.3): also a password-protected room
    /// without a password.
    pub(crate) fn with(&self, filled: &Filled, bounds: &Bounds) -> Result<RoomConfig, StanzaError> {
        let mut config = self.clone();
        for (var, values) in &filled.fields {
            if let Some(field) = FIELDS.iter().find(|field| field.var == var) {
                (field.set)(&mut config, values, bounds)
                    .map_err(|why| Condition::NotAcceptable.text(format!("{var}: {why}")))?;
            }
        }
        if config.protected && config.password.is_empty() {
            return Err(Condition::NotAcceptable
                .text("muc#roomconfig_roomsecret: a protected room needs a password"));
        }
        Ok(config)
    }

    /// As it is stored: a filled form, with a further field for what is stored with it.
    pub(crate) fn stored(&self, (var, values): (&str, Vec<String>)) -> String {
        let form = FIELDS
            .iter()
            .fold(FormText::new("submit", FORM), |form, field| {
                form.value(field.var, &(field.get)(self))
            });
        form.value(var, &values).finish()
    }

    /// What was stored. A field that this version does not know, or no longer allows, has its default.
    pub(crate) fn restored(text: &str, bounds: &Bounds) -> Option<RoomConfig> {
        let filled = Filled::read(&text.parse().ok()?);
        let mut config = RoomConfig::default();
        for (var, values) in &filled.fields {
            if let Some(field) = FIELDS.iter().find(|field| field.var == var)
                && let Err(why) = (field.set)(&mut config, values, bounds)
            {
                tracing::warn!(target: "natter::muc", var, why, "a stored option of a room is not taken");
            }
        }
        Some(config)
    }

    /// One option by the name of its field, with or without `muc#roomconfig_` before it.
    pub(crate) fn set(&mut self, name: &str, value: &str, bounds: &Bounds) -> Result<(), String> {
        let field = FIELDS
            .iter()
            .find(|field| field.var == name || short(field.var) == name)
            .ok_or_else(|| format!("a room has no option `{name}`"))?;
        let values: Vec<String> = match field.kind {
            Kind::ListMulti(_) => value.split(',').map(|v| v.trim().to_owned()).collect(),
            _ => vec![value.to_owned()],
        };
        (field.set)(self, &values, bounds).map_err(|why| format!("{name}: {why}"))
    }

    /// All options by their short names; the password only as set or not.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        let shown = |field: &Field| match field.kind {
            Kind::Private if (field.get)(self).is_empty() => String::new(),
            Kind::Private => "(set)".to_owned(),
            _ => (field.get)(self).join(","),
        };
        FIELDS
            .iter()
            .map(|field| (short(field.var), shown(field)))
            .collect()
    }

    /// What lists show of it.
    pub(crate) fn face(&self, name: &str, used: std::time::SystemTime) -> RoomFace {
        RoomFace {
            name: name.to_owned(),
            title: self.title.clone(),
            description: self.description.clone(),
            language: self.language.clone(),
            public: self.public,
            persistent: self.persistent,
            open: !self.members_only && !self.protected,
            nonanonymous: self.nonanonymous,
            used,
        }
    }

    /// The features that it shows in service discovery (§15.3).
    pub(crate) fn features(&self) -> [&'static str; 6] {
        let word = |yes, if_so, if_not| if yes { if_so } else { if_not };
        [
            word(self.public, "muc_public", "muc_hidden"),
            word(self.persistent, "muc_persistent", "muc_temporary"),
            word(self.members_only, "muc_membersonly", "muc_open"),
            word(self.moderated, "muc_moderated", "muc_unmoderated"),
            word(self.nonanonymous, "muc_nonanonymous", "muc_semianonymous"),
            word(self.protected, "muc_passwordprotected", "muc_unsecured"),
        ]
    }
}

/// What was stored with a configuration.
pub(crate) fn stored_values(text: &str, var: &str) -> Vec<String> {
    let form = text.parse().map(|form| Filled::read(&form));
    let values = form
        .ok()
        .and_then(|form| form.all(var).map(<[String]>::to_vec));
    values.unwrap_or_default()
}

/// The name of a field without what all have in common.
fn short(var: &'static str) -> &'static str {
    var.strip_prefix("muc#roomconfig_")
        .or_else(|| var.strip_prefix("muc#"))
        .unwrap_or(var)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        users: 1000,
        history: 50,
    };

    fn filled(fields: &[(&str, &[&str])]) -> Filled {
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
        Filled {
            type_: "submit".into(),
            fields: fields
                .iter()
                .map(|(var, values)| ((*var).to_owned(), owned(values)))
                .collect(),
        }
    }

    #[test]
    fn every_option_is_stored_and_restored() {
        let config = RoomConfig {
            title: "A <dark> cave".into(),
            description: "two\nlines".into(),
            language: "en".into(),
            change_subject: true,
            max_users: 50,
            shown: vec![Role::Participant, Role::Moderator],
            public: false,
            persistent: true,
            moderated: true,
            members_only: true,
            protected: true,
            password: Password("cauldronburn & \"x\"".into()),
            nonanonymous: true,
            whispering: false,
            whisperers: Role::Moderator,
            members_invite: true,
            logged: true,
            member_list: vec![Role::Visitor],
            history: 7,
            pubsub: "xmpp:p.example?;node=x".into(),
            archived: false,
        };
        let more = ("{urn:x}more", vec!["a\nb".to_owned(), String::new()]);
        let stored = config.stored(more.clone());
        assert_eq!(stored_values(&stored, more.0), more.1);
        let again = RoomConfig::restored(&stored, &BOUNDS);
        assert_eq!(again, Some(config));
        let plain = RoomConfig::default();
        assert_eq!(
            RoomConfig::restored(&plain.stored(("y", Vec::new())), &BOUNDS),
            Some(plain)
        );
        assert_eq!(RoomConfig::restored("<x", &BOUNDS), None);
    }

    #[test]
    fn every_registered_field_is_there() {
        let registered = [
            "muc#maxhistoryfetch",
            "muc#roomconfig_allowpm",
            "muc#roomconfig_allowinvites",
            "muc#roomconfig_changesubject",
            "muc#roomconfig_enablelogging",
            "muc#roomconfig_getmemberlist",
            "muc#roomconfig_lang",
            "muc#roomconfig_pubsub",
            "muc#roomconfig_maxusers",
            "muc#roomconfig_membersonly",
            "muc#roomconfig_moderatedroom",
            "muc#roomconfig_passwordprotectedroom",
            "muc#roomconfig_persistentroom",
            "muc#roomconfig_presencebroadcast",
            "muc#roomconfig_publicroom",
            "muc#roomconfig_roomadmins",
            "muc#roomconfig_roomdesc",
            "muc#roomconfig_roomname",
            "muc#roomconfig_roomowners",
            "muc#roomconfig_roomsecret",
            "muc#roomconfig_whois",
        ];
        let form = RoomConfig::default().form("t", Vec::new(), Vec::new());
        for var in registered {
            assert!(form.contains(&format!("var=\"{var}\"")), "{var}\n{form}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_field() {
        let config = RoomConfig::default();
        for (var, values) in [
            ("muc#roomconfig_whois", &["everybody"][..]),
            ("muc#roomconfig_maxusers", &["1001"]),
            ("muc#roomconfig_maxusers", &["many"]),
            ("muc#roomconfig_membersonly", &["yes"]),
            ("muc#roomconfig_membersonly", &["1", "1"]),
            ("muc#roomconfig_presencebroadcast", &["none"]),
            ("muc#maxhistoryfetch", &["51"]),
            ("muc#roomconfig_allowpm", &[]),
            ("muc#roomconfig_passwordprotectedroom", &["1"]),
        ] {
            let error = config
                .with(&filled(&[(var, values)]), &BOUNDS)
                .expect_err(var);
            assert_eq!(error.condition, Condition::NotAcceptable, "{var}");
        }
        let protected = filled(&[
            ("muc#roomconfig_passwordprotectedroom", &["1"]),
            ("muc#roomconfig_roomsecret", &["x"]),
            ("urn:example:unknown", &["y"]),
        ]);
        assert!(config.with(&protected, &BOUNDS).is_ok_and(|c| c.protected));
    }
}
