//! Rooms: what of a room outlives its process (XEP-0045).

use std::time::SystemTime;

use xmpp::BareJid;

use crate::Answer;

/// A lasting association with a room, least first (XEP-0045 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Affiliation {
    /// Banned.
    Outcast,
    /// No association: not stored.
    #[default]
    None,
    /// Belongs to it.
    Member,
    /// Manages who belongs to it.
    Admin,
    /// Manages all of it.
    Owner,
}

impl Affiliation {
    /// All of them, least first.
    pub const ALL: [Affiliation; 5] = [
        Affiliation::Outcast,
        Affiliation::None,
        Affiliation::Member,
        Affiliation::Admin,
        Affiliation::Owner,
    ];

    /// Its word on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Affiliation::Outcast => "outcast",
            Affiliation::None => "none",
            Affiliation::Member => "member",
            Affiliation::Admin => "admin",
            Affiliation::Owner => "owner",
        }
    }

    /// The one with this word.
    pub fn from_word(word: &str) -> Option<Affiliation> {
        Affiliation::ALL
            .into_iter()
            .find(|affiliation| affiliation.as_str() == word)
    }
}

/// What a room knows of somebody, there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affiliated {
    /// Whose association it is: an account, or a whole domain.
    pub jid: BareJid,
    /// The association. [`Affiliation::None`] is kept as a mark that there was another before.
    pub affiliation: Affiliation,
    /// The nickname that is theirs alone in this room.
    pub nick: Option<String>,
    /// Why, in the words of whoever set it.
    pub reason: Option<String>,
    /// The version of the room's affiliations that brought it (XEP-0463).
    pub version: i64,
}

/// What lists and searches show of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomFace {
    /// Its localpart.
    pub name: String,
    /// Its name for people; may be empty.
    pub title: String,
    /// What it is about; may be empty.
    pub description: String,
    /// Its language; may be empty.
    pub language: String,
    /// Everybody is told that it exists.
    pub public: bool,
    /// It outlives its last occupant.
    pub persistent: bool,
    /// Anybody may enter: neither members only nor with a password.
    pub open: bool,
    /// All occupants see who the others are.
    pub nonanonymous: bool,
    /// When something last happened in it.
    pub used: SystemTime,
}

/// A room as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoom {
    /// The domain of its service.
    pub service: String,
    /// What lists show.
    pub face: RoomFace,
    /// Its configuration, in the form that rooms write and read.
    pub config: String,
    /// The message that set its subject, standing alone.
    pub subject: Option<String>,
    /// When it was made.
    pub created: SystemTime,
    /// The version of its affiliations.
    pub version: i64,
    /// Who is associated with it. Only read: written one by one.
    pub affiliations: Vec<Affiliated>,
}

/// The store of rooms. What changes them is in [`crate::Batch`].
pub trait RoomStore: Send + Sync {
    /// A room with its affiliations.
    fn get<'a>(&'a self, room: &'a BareJid) -> Answer<'a, Option<StoredRoom>>;

    /// Up to `limit` rooms of a service behind the one called `after`, by name.
    fn list<'a>(
        &'a self,
        service: &'a str,
        only_public: bool,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<RoomFace>>;

    /// How many rooms a service has, and how many of them stand before `name`.
    fn count<'a>(
        &'a self,
        service: &'a str,
        only_public: bool,
        before: Option<&'a str>,
    ) -> Answer<'a, (u64, u64)>;

    /// The rooms of a service that end with their last occupant.
    fn temporary<'a>(&'a self, service: &'a str) -> Answer<'a, Vec<String>>;

    /// The rooms of a service in which nothing happened since `before`.
    fn unused<'a>(&'a self, service: &'a str, before: SystemTime) -> Answer<'a, Vec<RoomFace>>;

    /// The rooms of a service that somebody is associated with, by name.
    fn of_user<'a>(
        &'a self,
        service: &'a str,
        user: &'a BareJid,
    ) -> Answer<'a, Vec<(String, Affiliation)>>;

    /// Notes that something happened in a room.
    fn touch<'a>(&'a self, room: &'a BareJid, at: SystemTime) -> Answer<'a, ()>;

    /// The room's vCard: an element that stands alone.
    fn vcard<'a>(&'a self, room: &'a BareJid) -> Answer<'a, Option<String>>;
}
