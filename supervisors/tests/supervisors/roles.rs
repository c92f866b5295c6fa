//! Who may give which command, by which door: role × command × door.

use std::collections::BTreeSet;

use admin::{Caller, CommandError, Door, Given, Hosts, Role};

use crate::house::House;

use Role::{Admin, HostAdmin};
use Where::{Anywhere, Host, Node};

/// Where a command acts.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    Node,
    Host,
    Anywhere,
}

/// Every command of a server, its least role, and where it acts. A new command is entered here by whoever decides that.
const TABLE: &[(&str, Role, Where)] = &[
    ("announce a.example x", HostAdmin, Host),
    ("backup backup", Admin, Node),
    ("ban_account alice a.example", HostAdmin, Host),
    ("change_password alice a.example secret", HostAdmin, Host),
    ("change_room_option tea a.example", HostAdmin, Host),
    ("config_doc", Admin, Node),
    ("config_show", Admin, Node),
    ("connected_users a.example", HostAdmin, Host),
    ("create_room tea a.example", HostAdmin, Host),
    ("destroy_room tea a.example", HostAdmin, Host),
    ("export accounts.xml", Admin, Node),
    ("failed_login_clear", Admin, Node),
    ("failed_login_list", Admin, Node),
    ("get_room_affiliations tea a.example", HostAdmin, Host),
    ("get_room_occupants tea a.example", HostAdmin, Host),
    ("get_room_options tea a.example", HostAdmin, Host),
    ("get_user_rooms alice a.example", HostAdmin, Host),
    ("hook_list", Admin, Node),
    ("host_add a.example", Admin, Node),
    ("host_list", Admin, Node),
    ("host_remove a.example", Admin, Node),
    ("http_routes", Admin, Node),
    ("import accounts.xml", Admin, Node),
    ("invite a.example", HostAdmin, Host),
    ("invite_list a.example", HostAdmin, Host),
    ("invite_remove a.example token", HostAdmin, Host),
    ("kick_session alice a.example desk", HostAdmin, Host),
    ("kick_user alice a.example", HostAdmin, Host),
    ("module_list a.example", HostAdmin, Host),
    ("module_options mod_echo", HostAdmin, Anywhere),
    ("module_reset a.example mod_echo", Admin, Host),
    ("module_start a.example mod_echo", Admin, Host),
    ("module_stop a.example mod_echo", Admin, Host),
    ("motd a.example", HostAdmin, Host),
    ("motd_delete a.example", HostAdmin, Host),
    ("motd_set a.example x", HostAdmin, Host),
    ("muc_online_rooms a.example", HostAdmin, Host),
    ("muc_rooms a.example", HostAdmin, Host),
    ("register alice a.example secret", HostAdmin, Host),
    ("registered_users a.example", HostAdmin, Host),
    ("release_name alice a.example", HostAdmin, Host),
    ("reload_config", Admin, Node),
    ("restart", Admin, Node),
    ("restart_module a.example mod_echo", Admin, Host),
    ("restore backup", Admin, Node),
    ("rooms_unused_destroy a.example 30", HostAdmin, Host),
    ("rooms_unused_list a.example 30", HostAdmin, Host),
    ("route_list", Admin, Node),
    ("set_role alice a.example user", Admin, Node),
    (
        "set_room_affiliation tea a.example alice@a.example member",
        HostAdmin,
        Host,
    ),
    ("status", Admin, Node),
    ("stop", Admin, Node),
    ("token_create alice a.example", HostAdmin, Host),
    ("token_list a.example", HostAdmin, Host),
    ("token_revoke a.example id", HostAdmin, Host),
    ("tree", Admin, Node),
    ("unban_account alice a.example", HostAdmin, Host),
    ("unregister alice a.example", HostAdmin, Host),
    ("upload_delete a.example id", HostAdmin, Host),
    ("upload_list a.example", HostAdmin, Host),
    ("user_capabilities alice a.example", HostAdmin, Host),
];

const DOORS: [Door; 4] = [Door::Ctl, Door::Api, Door::AdHoc, Door::Internal];

/// What is expected of a caller with `role` on `hosts`.
fn is_allowed(role: Role, hosts: &Hosts, least: Role, at: Where) -> bool {
    let on_a = hosts.contain("a.example");
    role >= least
        && match at {
            Anywhere => true,
            Host => on_a,
            Node => *hosts == Hosts::All,
        }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_is_for_its_role_at_every_door() {
    let house = House::start("[modules.mod_http_upload]\nenabled = true\n").await;
    let commands = &house.server.node().commands;
    let offered: BTreeSet<&str> = commands.list().iter().map(|command| command.name).collect();
    let known = TABLE
        .iter()
        .map(|(words, ..)| words.split(' ').next().unwrap_or_default());
    assert_eq!(
        offered,
        known.collect(),
        "the table and the commands differ"
    );
    let only = |host: &str| Hosts::Only(BTreeSet::from([host.to_owned()]));
    let places = [
        Hosts::All,
        only("a.example"),
        only("b.example"),
        Hosts::Only(BTreeSet::new()),
    ];
    let mut seen = 0;
    for (words, least, at) in TABLE {
        let (name, words) = words.split_once(' ').unwrap_or((words, ""));
        let given = Given::words(words.split(' ').filter(|word| !word.is_empty()));
        for role in Role::ALL {
            for hosts in &places {
                for door in DOORS {
                    let name_of_caller = "somebody".to_owned();
                    let caller = Caller {
                        name: name_of_caller,
                        role,
                        hosts: hosts.clone(),
                        door,
                    };
                    let may = commands.may(&caller, name, &given);
                    let allowed = is_allowed(role, hosts, *least, *at);
                    match may {
                        Ok(()) => assert!(allowed, "{name} is open to {caller:?}"),
                        Err(CommandError::Denied(_)) => {
                            assert!(!allowed, "{name} is closed to {caller:?}");
                            // And not only asked: it is not carried out either.
                            let done = commands.execute(&caller, name, &given).await;
                            assert!(matches!(done, Err(CommandError::Denied(_))), "{name}");
                        }
                        Err(other) => panic!("{name} {words}: {other}"),
                    }
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(
        seen,
        TABLE.len() * Role::ALL.len() * places.len() * DOORS.len()
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_says_how_to_make_an_administrator() {
    let house = House::start("").await;
    let words = house.server.first_words().await.expect("the store answers");
    let words = words.expect("there are no accounts");
    assert!(words.contains("register NAME a.example"), "{words}");
    assert!(words.contains("set_role NAME a.example admin"), "{words}");
    house.done("register alice b.example secret").await;
    let words = house.server.first_words().await.expect("the store answers");
    assert_eq!(words, None);
    house.stop().await;
}
