//! XEP-0227: what we write we read; what others write too; what is wrong is told with its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::stage::{Heard, NOW, Stage, jid, order, seconds};
use storage::{
    Brought, IfThere, LastSeen, OfflineMessage, PrivacyAction, PrivacyItem, PrivacyKinds,
    PrivacyList, PrivacyLists, PrivacyWho, PrivateData, RosterItem, Subscription, WholeAccount,
};

/// An account with something in every store, written as the server itself stores it.
fn rich(address: &str, number: u64) -> WholeAccount {
    let request = format!(
        "<presence xmlns='jabber:client' type='subscribe' from='eve@b.example' to='{address}' id='7'><status>a &lt; b</status></presence>"
    );
    let request = xmpp::Stanza::parse(&request).unwrap().to_xml();
    let asking = RosterItem::asking(jid("eve@b.example"), request);
    let contact = RosterItem {
        name: Some("Bob \"the\" <builder> & \n co".to_owned()),
        groups: vec!["Work & play".to_owned(), "".to_owned()],
        subscription: Subscription::To,
        ask: false,
        approved: true,
        ..RosterItem::new(jid("bob@b.example"))
    };
    let pending = RosterItem {
        ask: true,
        ..RosterItem::new(jid("carol@b.example"))
    };
    let both = RosterItem {
        subscription: Subscription::Both,
        ..RosterItem::new(jid("gateway.example"))
    };
    let message = |text: &str, at| {
        OfflineMessage {
        stanza: xmpp::Stanza::parse(&format!(
            "<message type='chat' from='bob@b.example/phone' to='{address}/desk' id='1'><body>{text}</body>\
             <x xmlns=\"urn:x\"><y xmlns=\"urn:y\" a=\"1\"/></x></message>"
        ))
        .unwrap()
        .to_xml(),
        received: seconds(at),
        expires: None,
        place: None,
    }
    };
    let rule = |order, who| PrivacyItem {
        order,
        who,
        action: PrivacyAction::Deny,
        kinds: PrivacyKinds {
            message: true,
            ..PrivacyKinds::ALL
        },
    };
    WholeAccount {
        created: Some(seconds(1000 + number)),
        disabled: number == 2,
        last: Some(LastSeen {
            at: seconds(5000),
            status: Some("a < b".to_owned()),
        }),
        roster: vec![contact, pending, both, asking],
        offline: vec![message("one", 77), message("two &amp; three", 76)],
        private: vec![PrivateData {
            name: "storage".to_owned(),
            namespace: "storage:bookmarks".to_owned(),
            xml: "<storage xmlns=\"storage:bookmarks\"><conference jid=\"r@c.example\"><nick>A &amp; B</nick></conference></storage>".to_owned(),
        }],
        vcard: Some("<vCard xmlns=\"vcard-temp\"><FN>A &lt; B</FN></vCard>".to_owned()),
        privacy: PrivacyLists {
            default: Some("b".to_owned()),
            lists: vec![
                PrivacyList { name: "a".to_owned(), items: vec![rule(1, PrivacyWho::Everyone)] },
                PrivacyList { name: "b".to_owned(), items: vec![rule(3, PrivacyWho::Group("Work & play".to_owned()))] },
            ],
        },
        ..WholeAccount::new(jid(address))
    }
}

async fn filled() -> (Stage, Vec<&'static str>) {
    let stage = Stage::open().await;
    let addresses = vec!["alice@a.example", "bob@b.example", "zoë.dété@a.example"];
    for (number, address) in (0..).zip(&addresses) {
        let mut account = rich(address, number);
        account.credentials = stage
            .auth
            .credentials_for(&(*address).into())
            .await
            .unwrap();
        account.credentials.sort_by(|a, b| a.kind.cmp(&b.kind));
        stage.storage.bring(account, IfThere::Keep).await.unwrap();
    }
    (stage, addresses)
}

#[tokio::test]
async fn accounts_move_to_another_server_with_all_they_own() {
    let (old, addresses) = filled().await;
    let file = old.folder.path().join("out.xml");
    let folder = old.folder.path().join("out");
    fs::create_dir(&folder).unwrap();
    for path in [&file, &folder] {
        let done = old.exports(path, &["a.example", "b.example"], None).await;
        assert_eq!((done.accounts, done.left_out), (3, 0));
        for written in &done.files {
            let mode = fs::metadata(written).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{written:?}");
        }
        assert_eq!(done.files.len(), if path == &file { 1 } else { 3 });
        let new = Stage::open().await;
        let heard = Heard::default();
        let summary = new.imports_heard(order(path), &heard).await;
        assert_eq!(summary.stopped, None);
        assert_eq!(
            (summary.made, summary.unusable, summary.left_out.len()),
            (3, 0, 0),
            "{summary:?}"
        );
        assert_eq!(
            (summary.contacts, summary.messages, summary.vcards),
            (12, 6, 3)
        );
        assert_eq!(
            (summary.private, summary.lists, summary.without_password),
            (3, 6, 0)
        );
        for address in &addresses {
            let (there, here) = (
                old.whole(address).await.unwrap(),
                new.whole(address).await.unwrap(),
            );
            assert_eq!(there.roster, here.roster);
            assert_eq!(there.offline, here.offline);
            assert_eq!(there.private, here.private);
            assert!(there == here, "{address}");
            assert!(new.opens(address, address).await);
            assert!(!new.opens(address, "wrong").await);
        }
        let last = heard.last.lock().unwrap();
        assert_eq!((last.0, last.2), (last.1, "bytes"));
        let brought = heard.brought.lock().clone();
        assert!(
            brought.iter().all(|(_, brought)| *brought == Brought::Made),
            "{brought:?}"
        );
        assert_eq!(brought.len(), 3);
        assert!(
            fs::read_dir(old.folder.path())
                .unwrap()
                .all(|entry| { !entry.unwrap().path().to_string_lossy().ends_with(".part") })
        );
    }
}

#[tokio::test]
async fn one_host_or_one_name_can_be_exported() {
    let (old, _) = filled().await;
    let file = old.folder.path().join("out.xml");
    let done = old.exports(&file, &["b.example"], None).await;
    assert_eq!(done.accounts, 1);
    let done = old
        .exports(&file, &["a.example", "b.example"], Some("bob"))
        .await;
    assert_eq!(done.accounts, 1);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("<user ").count(), 1);
    assert!(text.contains("<user name=\"bob\">") && !text.contains("password="));
    let done = old.exports(&file, &["a.example"], Some("no@body")).await;
    assert_eq!(done.accounts, 0);
}

#[tokio::test]
async fn an_export_that_fails_leaves_what_was_there() {
    let (old, _) = filled().await;
    let taken = old.file("taken/x", "kept");
    let order = |path| port::Export {
        path,
        folder: false,
        hosts: vec!["a.example".to_owned()],
        user: None,
    };
    let told = port::export(&order(taken.join("out.xml")), &old.storage, |_, _| ()).await;
    let told = told.unwrap_err().to_string();
    assert!(
        told.starts_with("cannot replace ") && told.contains("out.xml.part"),
        "{told}"
    );
    // Where the name cannot be taken in the end, nothing stays behind.
    let blocked = old.folder.path().join("blocked");
    let inside = blocked.join("accounts.xml");
    fs::create_dir_all(inside.join("full")).unwrap();
    let told = port::export(&order(blocked.clone()), &old.storage, |_, _| ()).await;
    assert!(told.is_err());
    assert!(!blocked.join("accounts.xml.part").exists());
}

#[tokio::test]
async fn importing_twice_is_harmless_and_replacing_replaces() {
    let (old, addresses) = filled().await;
    let file = old.folder.path().join("out.xml");
    old.exports(&file, &["a.example", "b.example"], None).await;
    let new = Stage::open().await;
    new.auth
        .register(&jid("bob@b.example"), "another".into())
        .await
        .unwrap();

    let check = |replace| port::Import {
        only_check: true,
        if_there: if replace {
            IfThere::Replace
        } else {
            IfThere::Keep
        },
        ..order(&file)
    };
    let heard = Heard::default();
    let summary = new.imports_heard(check(false), &heard).await;
    assert_eq!(
        (summary.made, summary.exist, summary.without_password),
        (2, 1, 0)
    );
    let summary = new.imports_heard(check(true), &heard).await;
    assert_eq!((summary.made, summary.replaced), (2, 1));
    assert!(
        new.whole(addresses[0]).await.is_none(),
        "nothing was changed"
    );
    assert!(heard.brought.lock().is_empty());

    let summary = new.imports(&file).await;
    assert_eq!((summary.made, summary.exist), (2, 1));
    let expected = format!(
        "{}:84:1: bob@b.example exists and was left alone",
        file.display()
    );
    assert!(
        summary.faults[0].ends_with("bob@b.example exists and was left alone"),
        "{expected}"
    );
    assert!(new.opens("bob@b.example", "another").await);
    let before = new.whole(addresses[0]).await;
    let summary = new.imports(&file).await;
    assert_eq!((summary.made, summary.exist), (0, 3));
    assert!(new.whole(addresses[0]).await == before);

    let replace = || port::Import {
        if_there: IfThere::Replace,
        ..order(&file)
    };
    for _ in 0..2 {
        let heard = Heard::default();
        let summary = new.imports_heard(replace(), &heard).await;
        assert_eq!(
            (summary.made, summary.replaced, summary.messages),
            (0, 3, 6)
        );
        assert!(
            heard
                .brought
                .lock()
                .iter()
                .all(|(_, brought)| *brought == Brought::Replaced)
        );
        assert!(new.whole("bob@b.example").await == old.whole("bob@b.example").await);
    }

    new.auth.remove(&jid("bob@b.example")).await.unwrap();
    let summary = new.imports_as(replace()).await;
    assert_eq!((summary.replaced, summary.removed), (2, 1));
    assert!(
        summary.faults[0].contains("bob@b.example was removed here"),
        "{:?}",
        summary.faults
    );
    assert!(new.whole("bob@b.example").await.is_none());
}

/// What `ejabberdctl export_piefxis` writes: a main file, one file a host, keys by XEP-0227 1.1.
#[tokio::test]
async fn what_ejabberd_writes_is_read() {
    let (old, _) = filled().await;
    let keys = old.whole("alice@a.example").await.unwrap();
    let keys = keys
        .credentials
        .iter()
        .find(|credential| credential.kind == "SCRAM-SHA-1")
        .unwrap();
    let keys = auth::ScramKeys::of(keys).unwrap();
    use base64::Engine;
    // Twice, as ejabberd does.
    let text = |bytes: &[u8]| {
        let base64 = base64::engine::general_purpose::STANDARD;
        base64.encode(base64.encode(bytes))
    };
    let new = Stage::open().await;
    new.file(
        "dump/20260101-000000.xml",
        "<?xml version='1.0' encoding='UTF-8'?><server-data xmlns='urn:xmpp:pie:0' \
         xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='20260101-000000_a_example.xml'/></server-data>",
    );
    let host = format!(
        "<?xml version='1.0' encoding='UTF-8'?><host xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude' \
         jid='old.example'><user name='alice'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>\
         <iter-count>10</iter-count><salt>{salt}</salt><server-key>{server}</server-key><stored-key>{stored}</stored-key>\
         </scram-credentials><offline-messages><message xmlns='jabber:client' to='alice@old.example/desk' \
         from='bob@old.example/r' type='chat'><body>hi</body><delay xmlns='urn:xmpp:delay' from='old.example' \
         stamp='1970-01-01T00:01:00.5Z'>Offline storage</delay></message></offline-messages>\
         <vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>\
         <query xmlns='jabber:iq:privacy'><default name='x'/><list name='x'><item order='1' action='deny' type='jid' \
         value='foe@old.example'/></list></query>\
         <query xmlns='jabber:iq:roster'><item subscription='both' jid='bob@old.example' name='Bob'><group>G</group></item>\
         <item ask='subscribe' subscription='none' jid='carol@old.example'/></query>\
         <presence xmlns='jabber:client' type='subscribe' to='alice@old.example' from='dan@old.example'><status>hey</status>\
         </presence><query xmlns='jabber:iq:private'><storage xmlns='storage:rosternotes'><note/></storage></query></user>\
         <user name='plain' password='secret'/><user name='ancient' password='scram:{stored},{server},{salt},10'/>\
         <user name='nobody'/></host>",
        salt = text(&keys.salt),
        server = text(&keys.server_key),
        stored = text(&keys.stored_key),
    );
    new.file("dump/20260101-000000_a_example.xml", &host);
    let folder = new.folder.path().join("dump");

    let refused = new.imports(&folder).await;
    let place = folder.join("20260101-000000_a_example.xml");
    let told = refused.stopped.unwrap_or_default();
    assert_eq!(refused.made, 4, "{told}");
    assert_eq!(told, "");
    assert!(new.opens("alice@old.example", "alice@a.example").await);

    // The same, to a host of another name.
    let mut mapped = order(&folder);
    mapped.hosts = port::Hosts::new(|host| host == "a.example");
    let summary = new
        .imports_as(port::Import {
            hosts: mapped.hosts.clone(),
            ..order(&folder)
        })
        .await;
    let expected = format!(
        "{}:1:39: host `old.example` is not served here; add it by",
        place.display()
    );
    let told = summary.stopped.unwrap_or_default();
    assert!(told.starts_with(&expected), "{told}");
    mapped.hosts.rename("old.example", "a.example").unwrap();
    let summary = new.imports_as(mapped).await;
    assert_eq!((summary.made, summary.stopped), (4, None));
    assert_eq!(
        (summary.without_password, summary.left_out.len()),
        (1, 0),
        "{:?}",
        summary.left_out
    );
    // Nobody of the host is offered what some have no keys for.
    let mechanisms = new.auth.mechanisms("a.example", &auth::Channel::default());
    assert_eq!(mechanisms, ["SCRAM-SHA-1"]);
    for (account, password) in [
        ("alice", "alice@a.example"),
        ("plain", "secret"),
        ("ancient", "alice@a.example"),
    ] {
        assert!(
            new.opens(&format!("{account}@a.example"), password).await,
            "{account}"
        );
    }
    let alice = new.whole("alice@a.example").await.unwrap();
    assert_eq!(
        alice.offline[0].received,
        std::time::UNIX_EPOCH + std::time::Duration::from_millis(60_500)
    );
    assert!(
        alice.offline[0]
            .stanza
            .contains("to=\"alice@a.example/desk\""),
        "{}",
        alice.offline[0].stanza
    );
    assert!(!alice.offline[0].stanza.contains("delay"));
    let asked: Vec<&str> = alice
        .roster
        .iter()
        .filter(|item| item.pending_in.is_some())
        .map(|item| item.jid.as_str())
        .collect();
    assert_eq!(asked, ["dan@old.example"]);
    assert_eq!(
        alice.privacy.default_list().map(|list| list.items.len()),
        Some(1)
    );
    assert_eq!(
        alice.private[0].xml,
        "<storage xmlns=\"storage:rosternotes\"><note/></storage>"
    );
}

#[tokio::test]
async fn what_is_not_known_is_named() {
    let new = Stage::open().await;
    let file = new.file(
        "odd.xml",
        "<server-data xmlns='urn:xmpp:pie:0'>\n<extra xmlns='urn:e'/><host jid='a.example'><mood xmlns='urn:m'/>\n\
         <user name='alice'><query xmlns='jabber:iq:roster'><item jid='a b'/><item jid='bob@b.example'/></query>\n\
         <pubsub xmlns='http://jabber.org/protocol/pubsub'/><archive xmlns='urn:xmpp:pie:0#mam'/>\n\
         <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA3-512'/>\n\
         <offline-messages><message><body>no namespace of its own</body></message><iq xmlns='jabber:client'/>\n\
         <message xmlns='jabber:client' from='@'/></offline-messages>\
         <query xmlns='jabber:iq:private'><x xmlns=''/></query></user>\n\
         <user name='dan'><pubsub xmlns='http://jabber.org/protocol/pubsub'/>\n\
         <blocklist xmlns='urn:xmpp:blocking'><item jid='x@b.example'/><item/></blocklist></user></host></server-data>",
    );
    let summary = new.imports(&file).await;
    assert_eq!((summary.made, summary.stopped.as_deref()), (2, None));
    let mut named: Vec<String> = summary
        .left_out
        .iter()
        .map(|(what, (times, at))| {
            format!("{what} {times} {}", at.rsplit_once("odd.xml:").unwrap().1)
        })
        .collect();
    named.sort();
    let expected = [
        "<archive/> of `urn:xmpp:pie:0#mam` 1 4:52",
        "<extra/> of `urn:e` 1 2:1",
        "<iq/> of `jabber:client` 1 6:74",
        "<mood/> of `urn:m` 1 2:45",
        "<pubsub/> of `http://jabber.org/protocol/pubsub` 2 4:1",
        "blocked addresses that cannot be read 1 9:1",
        "contacts whose address cannot be read 1 3:20",
        "credentials for `SCRAM-SHA3-512` 1 5:1",
        "messages that cannot be read 1 7:1",
        "private data without a namespace of its own 1 7:61",
    ];
    assert_eq!(named, expected);
    let alice = new.whole("alice@a.example").await.unwrap();
    assert_eq!((alice.roster.len(), alice.offline.len()), (1, 1));
    assert_eq!(alice.offline[0].received, NOW);
    assert_eq!(
        new.whole("dan@a.example")
            .await
            .unwrap()
            .privacy
            .lists
            .len(),
        1
    );
}

#[tokio::test]
async fn a_fault_in_an_account_costs_that_account_alone() {
    let scram = |parts: &str| {
        format!(
            "<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>{parts}</scram-credentials>"
        )
    };
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let keys = |count: &str, salt: &str, stored: &str| {
        scram(&format!(
            "<iter-count>{count}</iter-count><salt>{salt}</salt><server-key>{key}</server-key><stored-key>{stored}</stored-key>"
        ))
    };
    let twice = format!("{0}{0}", keys("1", "c2FsdA==", key));
    for (content, why) in [
        (keys("10", "c2Fs*", key), "the salt is not base64"),
        (
            keys("10", "c2FsdA==", "AAAA"),
            "a stored key of 3 bytes; SCRAM-SHA-1 has 20",
        ),
        (
            keys("many", "c2FsdA==", key),
            "the iteration count is not a number",
        ),
        (
            keys("99999999", "c2FsdA==", key),
            "99999999 iterations are outside of 1 to 1000000",
        ),
        (
            scram("<salt>c2FsdA==</salt>"),
            "<scram-credentials/> lacks <iter-count/>",
        ),
        (twice, "two credentials for SCRAM-SHA-1"),
        (
            "<query xmlns='jabber:iq:privacy'><list name='a'><item order='1'/></list></query>"
                .to_owned(),
            "privacy list `a`: the action of a rule is allow or deny",
        ),
        (
            "<account xmlns='natter:account:0' created='now'/>".to_owned(),
            "`created` is not a time (XEP-0082)",
        ),
    ] {
        let new = Stage::open().await;
        let file = new.file(
            "bad.xml",
            &format!(
                "<server-data xmlns='urn:xmpp:pie:0'><host jid='a.example'>\n<user name='alice'><vCard xmlns='vcard-temp'/>\
                 \n{content}<vCard xmlns='vcard-temp'/></user>\n<user name='bob' password='x'/></host></server-data>"
            ),
        );
        let summary = new.imports(&file).await;
        assert_eq!(
            (summary.made, summary.unusable, summary.stopped),
            (1, 1, None),
            "{why}"
        );
        let fault = &summary.faults[0];
        assert!(
            fault.starts_with(&format!("{}:3:", file.display())),
            "{fault}"
        );
        assert!(
            fault.ends_with(&format!("alice@a.example: {why}")),
            "{fault}"
        );
        assert!(
            new.whole("alice@a.example").await.is_none(),
            "nothing of it is there"
        );
        assert!(new.opens("bob@a.example", "x").await);
    }
    let new = Stage::open().await;
    let file = new.file(
        "names.xml",
        "<server-data xmlns='urn:xmpp:pie:0'><host jid='a.example'><user/><user name='a b'/><user name='x@y'/>\
         <user name='x/y'/><user name='dup' password='1'/><user name='dup' password='2'/><user name='DUP'/>\
         <user name='\u{ad}' password='3'/><user name='bell' password='\u{e000}'/></host></server-data>",
    );
    let summary = new.imports(&file).await;
    assert_eq!(
        (summary.unusable, summary.exist, summary.made),
        (5, 2, 2),
        "{:?}",
        summary.faults
    );
    assert!(
        new.opens("dup@a.example", "1").await,
        "the first of one name"
    );
    assert_eq!(summary.without_password, 1);
    let told = "bell@a.example came without its password: the password holds characters that are not allowed";
    assert!(
        summary.faults.iter().any(|fault| fault.ends_with(told)),
        "{:?}",
        summary.faults
    );
}

#[tokio::test]
async fn a_fault_in_a_file_ends_the_import_with_its_place() {
    let user = "<user name='first' password='x'/>\n";
    let head = format!(
        "<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'>\n<host jid='a.example'>{user}"
    );
    let include = |attrs: &str| format!("{head}<xi:include {attrs}/></host></server-data>");
    let deep = "<a>".repeat(200);
    let not_below = "the `href` of <include/> is not a relative path below the folder of the file";
    for (content, place, why, made) in [
        (String::new(), "1:1", "the stream ended in the middle", 0),
        ("accounts".to_owned(), "1:", "not well-formed", 0),
        (
            "<html/>".to_owned(),
            "1:1",
            "expected <server-data/> of `urn:xmpp:pie:0` (XEP-0227), found <html/> of ``",
            0,
        ),
        (
            "<server-data xmlns='urn:other'/>".to_owned(),
            "1:1",
            "expected <server-data/> of `urn:xmpp:pie:0`",
            0,
        ),
        (
            "<user xmlns='urn:xmpp:pie:0' name='a'/>".to_owned(),
            "1:1",
            "expected <server-data/>",
            0,
        ),
        (
            "<server-data xmlns='urn:xmpp:pie:0'><host/></server-data>".to_owned(),
            "1:37",
            "<host/> lacks its `jid`",
            0,
        ),
        (
            "<server-data xmlns='urn:xmpp:pie:0'><user name='a'/></server-data>".to_owned(),
            "1:37",
            "<user/> cannot stand in <server-data/>",
            0,
        ),
        (
            "<server-data xmlns='urn:xmpp:pie:0'><host jid='a b'/></server-data>".to_owned(),
            "1:37",
            "`a b` is not a domain",
            0,
        ),
        (
            format!("{head}<host jid='b.example'/>"),
            "3:1",
            "<host/> cannot stand in <host/>",
            1,
        ),
        (
            format!("{head}<user name='a'>text"),
            "3:16",
            "text outside of an element",
            1,
        ),
        (
            format!("{head}<user name='a'><vCard xmlns='vcard-temp'>"),
            "3:42",
            "the stream ended in the middle",
            1,
        ),
        (
            format!("{head}<user name='a'/>\n</server-data>"),
            "4:",
            "not well-formed",
            2,
        ),
        (
            format!("{head}<user name='a'>{deep}"),
            "3:",
            "elements nested deeper than 100",
            1,
        ),
        (
            format!("{head}<user name='{}'/>", "y".repeat(20 * 1024)),
            "3:",
            "more than 16384 bytes in one name or attribute value",
            1,
        ),
        (
            format!("<!DOCTYPE x [<!ENTITY a 'b'>]>{head}"),
            "1:",
            "restricted XML: document type declarations",
            0,
        ),
        (include("href='../secret.xml'"), "3:1", not_below, 1),
        (include("href='/etc/passwd'"), "3:1", not_below, 1),
        (include("href='file:///etc/passwd'"), "3:1", not_below, 1),
        (include("href='%2e%2e/x.xml'"), "3:1", not_below, 1),
        (include(""), "3:1", not_below, 1),
        (
            include("href='x.xml' parse='text'"),
            "3:1",
            "<include/> with `parse` or `xpointer` is not read",
            1,
        ),
        (
            include("href='bad.xml'"),
            "3:1",
            "a file includes itself",
            1,
        ),
        (include("href='gone.xml'"), "3:1", "cannot open ", 1),
    ] {
        let new = Stage::open().await;
        let file = new.file("bad.xml", &content);
        let summary = new.imports(&file).await;
        let told = summary.stopped.unwrap_or_default();
        let start = format!("{}:{place}", file.display());
        let short = &content[..content.len().min(200)];
        assert!(
            told.starts_with(&start) && told.contains(why),
            "{told} for {short}"
        );
        assert_eq!(summary.made, made, "{short}");
        assert!(
            new.whole("a@a.example").await.is_none() || made == 2,
            "{short}"
        );
    }
    let new = Stage::open().await;
    let nothing = new.folder.path().join("nothing.xml");
    let told = new.imports(&nothing).await.stopped.unwrap_or_default();
    assert!(
        told.starts_with(&format!("cannot open {}: ", nothing.display())),
        "{told}"
    );
    let empty = new.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let told = new.imports(&empty).await.stopped.unwrap_or_default();
    assert!(
        told.contains("is neither a file of XEP-0227, nor a folder"),
        "{told}"
    );
}

#[tokio::test]
async fn files_include_hosts_users_and_parts_of_users() {
    let new = Stage::open().await;
    let include = |href: &str| {
        format!("<i:include xmlns:i='http://www.w3.org/2001/XInclude' href='{href}'/>")
    };
    let file = new.file(
        "main.xml",
        &format!(
            "<server-data xmlns='urn:xmpp:pie:0'>{}{}</server-data>",
            include("h%20a.xml"),
            include("./b/host.xml")
        ),
    );
    new.file(
        "h a.xml",
        &format!(
            "<host xmlns='urn:xmpp:pie:0' jid='a.example'>{}</host>",
            include("b/alice.xml")
        ),
    );
    new.file(
        "b/alice.xml",
        &format!(
            "<user xmlns='urn:xmpp:pie:0' name='alice'>{}</user>",
            include("card.xml")
        ),
    );
    new.file("b/card.xml", "<vCard xmlns='vcard-temp'/>\n");
    new.file(
        "b/host.xml",
        "<host xmlns='urn:xmpp:pie:0' jid='b.example'><user name='bob'/></host>",
    );
    let summary = new.imports(&file).await;
    assert_eq!(
        (summary.made, summary.vcards, summary.stopped),
        (2, 1, None)
    );
    assert!(new.whole("bob@b.example").await.is_some());
}
