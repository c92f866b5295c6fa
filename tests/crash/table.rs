//! What falls with whom: the table that the crash tests check, the same as in docs/SUPERVISION.md.

/// Whose sessions end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Nobody's.
    Nobody,
    /// Alice's, whose session it is or whose shard.
    Alice,
    /// Everybody's.
    All,
}

/// Who cannot talk while it hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    /// Nobody.
    Nobody,
    /// Alice, whose session hangs.
    Alice,
}

/// A kind of process.
pub struct Kind {
    /// As docs/SUPERVISION.md calls it.
    pub name: &'static str,
    /// Its place in the tree. A name stands for the first child whose name begins so.
    pub place: &'static [&'static str],
    /// Places that fall with it, each with all below it. What is below itself falls in any case.
    pub with: &'static [&'static [&'static str]],
    /// Whether it comes back, and what falls with it.
    pub returns: bool,
    /// Whose sessions end when it falls.
    pub ends: Ends,
    /// Who is stuck while it hangs.
    pub mute: Mute,
    /// What a hanging one keeps from happening, until somebody kills it.
    pub hanging: &'static str,
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "a session",
        place: SESSION,
        with: &[],
        returns: false,
        ends: Ends::Alice,
        mute: Mute::Alice,
        hanging: "its client is not heard; what is sent to it waits, and goes elsewhere once its mailbox is full",
    },
    Kind {
        name: "a shard of sessions",
        place: &["c2s_sup", "c2s/0"],
        with: &[],
        returns: true,
        ends: Ends::Alice,
        mute: Mute::Nobody,
        hanging: "every sixteenth connection waits 5 s and is refused, and those behind it wait",
    },
    Kind {
        name: "c2s_sup",
        place: &["c2s_sup"],
        with: &[],
        returns: true,
        ends: Ends::All,
        mute: Mute::Nobody,
        hanging: "a shard that falls stays away",
    },
    Kind {
        name: "http_sup",
        place: &["http_sup"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "a shard that falls stays away",
    },
    Kind {
        name: "bosh_sup",
        place: &["bosh_sup"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "a shard that falls stays away",
    },
    Kind {
        name: "sm",
        place: &["sm"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "a session that falls is still shown as available",
    },
    Kind {
        name: "router",
        place: &["router"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "starting and stopping a module waits 5 s and fails; a fallen one keeps its registrations",
    },
    Kind {
        name: "dead_letters",
        place: &["dead_letters"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "dead letters wait",
    },
    Kind {
        name: "a module with a route",
        place: &[
            "hosts_sup",
            "localhost",
            "modules_sup",
            "mod_echo",
            "mod_echo",
        ],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "what is sent to it waits, and bounces once its mailbox is full; restart_module replaces it",
    },
    Kind {
        name: "a module with hooks",
        place: &[
            "hosts_sup",
            "localhost",
            "modules_sup",
            "mod_offline",
            "mod_offline",
        ],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "nothing but its timers: its handlers run in those who call them",
    },
    Kind {
        name: "a module's supervisor",
        place: &["hosts_sup", "localhost", "modules_sup", "mod_echo"],
        with: &[],
        returns: false,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "its module is not restarted; module_stop waits",
    },
    Kind {
        name: "the service of rooms",
        place: &[
            "hosts_sup",
            "localhost",
            "modules_sup",
            "mod_muc",
            "mod_muc",
        ],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "old messages of rooms are not removed: all else is done by those who send, and by the rooms",
    },
    Kind {
        name: "room_keeper",
        place: &[
            "hosts_sup",
            "localhost",
            "modules_sup",
            "mod_muc",
            "room_keeper",
        ],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "who is in a room that falls is told only when it opens again",
    },
    Kind {
        name: "a shard of rooms",
        place: &[
            "hosts_sup",
            "localhost",
            "modules_sup",
            "mod_muc",
            "room_sup/0",
        ],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "a fourth of the rooms is not opened; those that are open go on",
    },
    Kind {
        name: "loader",
        place: &["hosts_sup", "localhost", "loader"],
        with: &[&["hosts_sup", "localhost", "local"]],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "commands about modules of the host wait 30 s and fail",
    },
    Kind {
        name: "modules_sup",
        place: &["hosts_sup", "localhost", "modules_sup"],
        with: &[
            &["hosts_sup", "localhost", "loader"],
            &["hosts_sup", "localhost", "local"],
        ],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "modules are neither started nor stopped",
    },
    Kind {
        name: "local",
        place: &["hosts_sup", "localhost", "local"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "nothing: the host's route is followed in those who send",
    },
    Kind {
        name: "a host's supervisor",
        place: &["hosts_sup", "localhost"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "local, modules_sup and loader of the host are not restarted",
    },
    Kind {
        name: "hosts_sup",
        place: &["hosts_sup"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "a host's supervisor is not restarted",
    },
    Kind {
        name: "storage_writer",
        place: &["storage_sup", "storage_writer"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "a thread that falls is not replaced; as long as it lives it writes",
    },
    Kind {
        name: "storage_readers",
        place: &["storage_sup", "storage_readers"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "threads that fall are not replaced; as long as they live they read",
    },
    Kind {
        name: "storage_sup",
        place: &["storage_sup"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "storage_writer and storage_readers are not restarted",
    },
    Kind {
        name: "a listener",
        place: &["listener_sup", "c2s:0"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "nothing while its accepting task lives",
    },
    Kind {
        name: "listener_sup",
        place: &["listener_sup"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "a listener that falls stays away",
    },
    Kind {
        name: "control",
        place: &["control"],
        with: &[],
        returns: true,
        ends: Ends::Nobody,
        mute: Mute::Nobody,
        hanging: "nothing while its tasks live",
    },
];

/// Stands for the session of alice, which has no fixed place.
pub const SESSION: &[&str] = &["alice@localhost/desk"];

/// The table, for whoever runs the tests.
pub fn printed() -> Vec<String> {
    let mut lines = vec![format!(
        "{:<22} {:<30} {:<9} {:<9} {}",
        "what falls",
        "what falls with it",
        "comes back",
        "sessions",
        "what a hanging one keeps from happening"
    )];
    for kind in KINDS {
        let with: Vec<&str> = kind
            .with
            .iter()
            .filter_map(|place| place.last().copied())
            .collect();
        let with = match with.is_empty() {
            true => "what is below it".to_owned(),
            false => with.join(", "),
        };
        let returns = if kind.returns { "at once" } else { "no" };
        let ends = match kind.ends {
            Ends::Nobody => "live",
            Ends::Alice => "one ends",
            Ends::All => "all end",
        };
        lines.push(format!(
            "{:<22} {with:<30} {returns:<9}  {ends:<9} {}",
            kind.name, kind.hanging
        ));
    }
    lines
}
