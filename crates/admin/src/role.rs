//! Who asks, and what they may.

use std::collections::BTreeSet;

/// What a caller is allowed, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Anybody with an account: what concerns that account alone.
    User,
    /// Runs one or several hosts.
    HostAdmin,
    /// Runs the node.
    Admin,
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Role; 3] = [Role::User, Role::HostAdmin, Role::Admin];

    /// The word for this role: `user`, `host admin`, `admin`.
    pub const fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::HostAdmin => "host admin",
            Role::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The hosts a caller may act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// Every host, and the node itself.
    All,
    /// These alone.
    Only(BTreeSet<String>),
}

impl Hosts {
    /// Says whether `host` is among them.
    pub fn contain(&self, host: &str) -> bool {
        match self {
            Hosts::All => true,
            Hosts::Only(hosts) => hosts.contains(host),
        }
    }
}

/// The way a command came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The control socket: `natterctl`.
    Ctl,
    /// The HTTP API.
    Api,
    /// An ad-hoc command in an XMPP session (XEP-0050).
    AdHoc,
    /// The node itself.
    Internal,
}

impl Door {
    /// The word for this door, as it stands in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Door::Ctl => "ctl",
            Door::Api => "api",
            Door::AdHoc => "ad-hoc",
            Door::Internal => "internal",
        }
    }
}

/// Who asks for a command: the name that stands in the log, what they may, where, and by which door they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name for the log, such as a bare JID or `uid 1000`.
    pub name: String,
    /// What they are allowed.
    pub role: Role,
    /// Where they are allowed it.
    pub hosts: Hosts,
    /// The way they came in.
    pub door: Door,
}

impl Caller {
    /// Gives a caller who may do everything, as the owner of the control socket may.
    pub fn admin(name: impl Into<String>, door: Door) -> Caller {
        Caller {
            name: name.into(),
            role: Role::Admin,
            hosts: Hosts::All,
            door,
        }
    }

    /// Gives a caller who may do what `role` may, on one host.
    pub fn on_host(
        name: impl Into<String>,
        role: Role,
        host: impl Into<String>,
        door: Door,
    ) -> Caller {
        Caller {
            name: name.into(),
            role,
            hosts: Hosts::Only(BTreeSet::from([host.into()])),
            door,
        }
    }
}
