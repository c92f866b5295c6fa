//! The services of a host, one file each. Modules never name one another: they meet in [`hooks`].

mod access;
mod adhoc;
mod disco;
pub mod hooks;
mod privacy;
mod registration;

mod mod_adhoc;
mod mod_announce;
mod mod_blocking;
mod mod_caps;
mod mod_configure;
mod mod_contact;
mod mod_disco;
mod mod_echo;
mod mod_invites;
mod mod_last;
mod mod_offline;
mod mod_ping;
mod mod_privacy;
mod mod_private;
mod mod_register;
mod mod_roster;
mod mod_service_log;
mod mod_shared_roster;
mod mod_stanza_ack;
mod mod_stats;
mod mod_time;
mod mod_vcard;
mod mod_version;
mod mod_welcome;

use gen_mod::{ModuleKind, kind};

pub use privacy::Privacy;

/// All modules of this build. One line each, alphabetical.
pub static ALL: &[ModuleKind] = &[
    kind::<mod_adhoc::ModAdhoc>(),
    kind::<mod_announce::ModAnnounce>(),
    kind::<mod_blocking::ModBlocking>(),
    kind::<mod_caps::ModCaps>(),
    kind::<mod_configure::ModConfigure>(),
    kind::<mod_contact::ModContact>(),
    kind::<mod_disco::ModDisco>(),
    kind::<mod_echo::ModEcho>(),
    kind::<mod_invites::ModInvites>(),
    kind::<mod_last::ModLast>(),
    kind::<muc::ModMuc>(),
    kind::<mod_offline::ModOffline>(),
    kind::<mod_ping::ModPing>(),
    kind::<mod_privacy::ModPrivacy>(),
    kind::<mod_private::ModPrivate>(),
    kind::<mod_register::ModRegister>(),
    kind::<mod_roster::ModRoster>(),
    kind::<mod_service_log::ModServiceLog>(),
    kind::<mod_shared_roster::ModSharedRoster>(),
    kind::<mod_stanza_ack::ModStanzaAck>(),
    kind::<mod_stats::ModStats>(),
    kind::<mod_time::ModTime>(),
    kind::<mod_vcard::ModVcard>(),
    kind::<mod_version::ModVersion>(),
    kind::<mod_welcome::ModWelcome>(),
];

/// The modules that every host runs unless its configuration says otherwise.
pub static STANDARD: &[&str] = &[
    "mod_adhoc",
    "mod_announce",
    "mod_blocking",
    "mod_caps",
    "mod_configure",
    "mod_contact",
    "mod_disco",
    "mod_invites",
    "mod_last",
    "mod_muc",
    "mod_offline",
    "mod_ping",
    "mod_privacy",
    "mod_private",
    "mod_roster",
    "mod_time",
    "mod_vcard",
    "mod_version",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_listed_once_and_in_order() {
        let names: Vec<&str> = ALL.iter().map(|kind| kind.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    }

    #[test]
    fn the_standard_set_exists_and_needs_nothing_outside_itself() {
        for name in STANDARD {
            let kind = ALL.iter().find(|kind| kind.name == *name).expect(name);
            let hard = kind.depends.iter().filter(|depends| depends.hard);
            assert!(
                hard.into_iter()
                    .all(|depends| STANDARD.contains(&depends.module)),
                "{name}"
            );
        }
    }

    #[test]
    fn every_option_has_a_sentence() {
        for kind in ALL {
            for option in (kind.options)() {
                assert!(!option.doc.is_empty(), "{} {}", kind.name, option.key);
            }
        }
    }
}
