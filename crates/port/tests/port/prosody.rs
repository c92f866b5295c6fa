//! Prosody's data folder: what 0.12 writes, what older ones wrote, and what is wrong with it.

use storage::{PrivacyAction, PrivacyWho, Subscription};

use crate::stage::{Heard, Stage, jid, order, seconds};

/// The keys that Prosody keeps for the password `pencil`, with the salt and count of RFC 5802 §5 and RFC 7677 §3.
const SHA_1: &str = r#"return {
	["salt"] = "A\125\194B?\020\1474\244\155 \212!";
	["iteration_count"] = 4096;
};
"#;

/// The data of alice, who has something in every store.
fn lay_out(stage: &Stage) -> std::path::PathBuf {
    let file = |name: &str, content: &str| {
        drop(stage.file(&format!("prosody/a%2eexample/{name}"), content))
    };
    file(
        "roster/alice%2eb.dat",
        r#"return {
	[false] = {
		["version"] = 3;
		["pending"] = {
			["dan@b.example"] = { ["name"] = "presence"; ["attr"] = { ["type"] = "subscribe"; ["from"] = "dan@b.example"; };
				{ ["name"] = "status"; ["attr"] = {}; "let me"; }; };
			["eve@b.example"] = true;
		};
	};
	["bob@b.example"] = {
		["subscription"] = "both"; ["name"] = "B\195\182b";
		["groups"] = { ["Work"] = true; ["Fr\031iends"] = true; };
	};
	["carol@b.example"] = { ["subscription"] = "none"; ["ask"] = "subscribe"; ["approved"] = "true"; ["groups"] = {}; };
	["a b"] = { ["subscription"] = "none"; ["groups"] = {}; };
};
"#,
    );
    file(
        "vcard/alice%2eb.dat",
        r#"return {
	["attr"] = { ["xmlns"] = "vcard-temp"; };
	["name"] = "vCard";
	{ ["attr"] = {}; ["name"] = "FN"; "Alice & Co"; };
};
"#,
    );
    file(
        "private/alice%2eb.dat",
        r#"return {
	["storage:storage:bookmarks"] = {
		["attr"] = { ["xmlns"] = "storage:bookmarks"; };
		["name"] = "storage";
		{ ["attr"] = { ["jid"] = "r@c.example"; }; ["name"] = "conference"; { ["attr"] = {}; ["name"] = "nick"; "A"; }; };
	};
	["broken"] = true;
};
"#,
    );
    file(
        "offline/alice%2eb.list",
        r#"item({
	["when"] = 1700000000.5;
	["with"] = "";
	["key"] = "x";
	["name"] = "message";
	["attr"] = { ["type"] = "chat"; ["to"] = "alice.b@a.example"; ["from"] = "bob@b.example/r"; ["stamp"] = "2023-11-14T22:13:20Z"; };
	{ ["attr"] = {}; ["name"] = "body"; "one"; };
	{ ["attr"] = { ["xmlns"] = "urn:xmpp:hints"; }; ["name"] = "store"; };
});
item({
	["name"] = "message";
	["attr"] = { ["from"] = "bob@b.example/r"; ["stamp"] = "2001-09-09T01:46:40Z"; ["stamp_legacy"] = "20010909T01:46:40"; };
	{ ["attr"] = {}; ["name"] = "body"; "two"; };
});
item({ ["name"] = "iq"; ["attr"] = {}; });
"#,
    );
    file(
        "blocklist/alice%2eb.dat",
        "return { [false] = { created = 1 }; ['spam.example'] = true; ['foe@b.example'] = true; };",
    );
    file(
        "accounts/alice%2eb.dat",
        "return { ['password'] = 'pencil'; ['created'] = 1000; };",
    );
    file("accounts/off.dat", "return { ['disabled'] = true; };");
    file("roster/gone.dat", "return {};");
    file("pep/alice%2eb.dat", "return {};");
    file(
        "pep_urn%3axmpp%3aavatar%3adata/off.list",
        "item({ name = 'item'; { name = 'data'; 'QUJD' } });",
    );
    file(
        "pep_urn%3axmpp%3avcard4/off.list",
        "item({ name = 'item' });\nitem({ name = 'item'; attr = { id = 'current' }; { name = 'vcard'; { name = 'fn'; \
         { name = 'text'; 'Off' } } } });",
    );
    file(
        "pep_urn%3axmpp%3avcard4/alice%2eb.list",
        "never read: there is a vCard",
    );
    file("pep_x/alice%2eb.list", "");
    stage.file(
        "prosody/conference%2ea%2eexample/persistent.dat",
        "return {};",
    );
    stage.folder.path().join("prosody")
}

#[tokio::test]
async fn accounts_of_prosody_come_with_all_they_own() {
    let new = Stage::open().await;
    let folder = lay_out(&new);
    let heard = Heard::default();
    let summary = new.imports_heard(order(&folder), &heard).await;
    assert_eq!(
        (summary.stopped.as_deref(), summary.format),
        (None, "Prosody"),
        "{:?}",
        summary.faults
    );
    assert_eq!(
        (summary.made, summary.unusable, summary.without_password),
        (2, 0, 1)
    );
    assert_eq!(*heard.last.lock(), Some((2, 2, "accounts")));
    let kinds: Vec<(&str, u64)> = summary
        .left_out
        .iter()
        .map(|(what, (times, _))| (what.as_str(), *times))
        .collect();
    assert_eq!(
        kinds,
        [
            ("contacts whose address cannot be read", 1),
            (
                "data in the store `roster` of names that have no account",
                1
            ),
            ("messages that cannot be read", 1),
            ("private data that cannot be read", 1),
            ("the store `pep_x` of Prosody", 1),
            ("the store `pep` of Prosody", 1),
        ]
    );
    assert!(new.opens("alice.b@a.example", "pencil").await);
    let alice = new.whole("alice.b@a.example").await.unwrap();
    assert_eq!(alice.created, Some(seconds(1000)));
    assert_eq!(
        alice.vcard.as_deref(),
        Some("<vCard xmlns=\"vcard-temp\"><FN>Alice &amp; Co</FN></vCard>")
    );
    assert_eq!(
        alice.private[0].xml,
        "<storage xmlns=\"storage:bookmarks\"><conference jid=\"r@c.example\"><nick>A</nick></conference></storage>"
    );
    let received: Vec<u128> = alice
        .offline
        .iter()
        .map(|message| {
            message
                .received
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_millis()
        })
        .collect();
    assert_eq!(received, [1_700_000_000_500, 1_000_000_000_000]);
    let first = &alice.offline[0].stanza;
    assert!(
        first.contains("<body>one</body><store xmlns=\"urn:xmpp:hints\"></store></message>"),
        "{first}"
    );
    assert!(!first.contains("stamp"), "{first}");
    let item = |address: &str| {
        alice
            .roster
            .iter()
            .find(|item| item.jid == jid(address))
            .unwrap()
            .clone()
    };
    let bob = item("bob@b.example");
    assert_eq!(
        (bob.name.as_deref(), bob.subscription),
        (Some("Böb"), Subscription::Both)
    );
    assert_eq!(bob.groups, ["Friends", "Work"]);
    let carol = item("carol@b.example");
    assert!(carol.ask && carol.approved && carol.listed);
    for (address, words) in [
        ("dan@b.example", "<status>let me</status>"),
        ("eve@b.example", "type=\"subscribe\""),
    ] {
        let asking = item(address);
        assert!(!asking.listed);
        let request = asking.pending_in.unwrap();
        assert!(request.contains(words), "{request}");
    }
    let blocked = &alice.privacy.default_list().unwrap().items;
    let who: Vec<String> = blocked
        .iter()
        .map(|item| match &item.who {
            PrivacyWho::Jid(jid) if item.action == PrivacyAction::Deny => jid.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(who, ["foe@b.example", "spam.example"]);
    let off = new.whole("off@a.example").await.unwrap();
    assert!(off.disabled);
    let card = "<vCard xmlns=\"vcard-temp\"><FN>Off</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>QUJD</BINVAL></PHOTO></vCard>";
    assert_eq!(off.vcard.as_deref(), Some(card));

    // One host alone, and once more.
    let summary = new.imports(&folder.join("a%2eexample")).await;
    assert_eq!((summary.exist, summary.stopped), (2, None));
    let mut elsewhere = order(&folder);
    elsewhere.hosts = port::Hosts::new(|host| host == "b.example");
    let told = new.imports_as(elsewhere).await.stopped.unwrap();
    assert!(
        told.starts_with(&format!(
            "{}/a%2eexample: host `a.example` is not served here",
            folder.display()
        )),
        "{told}"
    );
}

#[tokio::test]
async fn keys_of_prosody_open_their_accounts() {
    let old = Stage::open().await;
    let credentials = old.auth.credentials_for(&"pencil".into()).await.unwrap();
    let new = Stage::open().await;
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let escaped = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("\\{byte:03}"))
            .collect::<String>()
    };
    for credential in &credentials {
        let keys = auth::ScramKeys::of(credential).unwrap();
        let name = credential.kind.to_lowercase().replace('-', "%2d");
        new.file(
            &format!("p/a%2eexample/accounts/{name}.dat"),
            &format!(
                "return {{ salt = \"{}\"; iteration_count = {}; stored_key = \"{}\"; server_key = \"{}\" }}",
                escaped(&keys.salt),
                keys.iterations,
                hex(&keys.stored_key),
                hex(&keys.server_key)
            ),
        );
    }
    let summary = new.imports(&new.folder.path().join("p")).await;
    assert_eq!(
        (summary.made, summary.without_password),
        (3, 0),
        "{:?}",
        summary.faults
    );
    for credential in &credentials {
        let address = format!("{}@a.example", credential.kind.to_lowercase());
        let whole = new.whole(&address).await.unwrap();
        assert!(whole.credentials == [credential.clone()], "{address}");
        assert!(new.opens(&address, "pencil").await && !new.opens(&address, "pencils").await);
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_account_of_prosody_is_told() {
    let key = "00".repeat(20);
    let keys = |stored: &str, server: &str, count: &str| {
        format!(
            "return {{ salt = 's'; iteration_count = {count}; stored_key = '{stored}'; server_key = '{server}' }}"
        )
    };
    for (store, content, place, why) in [
        (
            "accounts",
            "return {".to_owned(),
            ":1:9",
            "expected a value",
        ),
        ("accounts", "return 7".to_owned(), "", "expected a table"),
        (
            "accounts",
            keys("0g", &key, "1"),
            "",
            "the stored key is not hexadecimal",
        ),
        (
            "accounts",
            keys(&key, "000", "1"),
            "",
            "the server key is not hexadecimal",
        ),
        (
            "accounts",
            keys("00", &key, "1"),
            "",
            "the stored key is as long as no hash known here",
        ),
        (
            "accounts",
            keys(&key, "00", "1"),
            "",
            "a server key of 1 bytes; SCRAM-SHA-1 has 20",
        ),
        (
            "accounts",
            keys(&key, &key, "'x'"),
            "",
            "the iteration count is not a number",
        ),
        (
            "accounts",
            keys(&key, &key, "1.5"),
            "",
            "the iteration count is not a number",
        ),
        (
            "accounts",
            keys(&key, &key, "2000000"),
            "",
            "2000000 iterations are outside of 1 to 1000000",
        ),
        (
            "roster",
            "return os.exit()".to_owned(),
            ":1:8",
            "expected a value",
        ),
        (
            "pep_urn%3axmpp%3avcard4",
            "item{}".to_owned(),
            ":1:5",
            "expected `(`",
        ),
        (
            "offline",
            "item({});\nitem(".to_owned(),
            ":2:6",
            "expected a value",
        ),
        (
            "privacy",
            "return { lists = { l = { items = { { order = 1, action = 'block' } } } } }".to_owned(),
            "",
            "privacy list `l`: the action of a rule is allow or deny",
        ),
    ] {
        let new = Stage::open().await;
        let data = new.folder.path().join("p");
        new.file("p/a%2eexample/accounts/alice.dat", "return {}");
        new.file(
            "p/a%2eexample/accounts/bob.dat",
            "return { password = 'x' }",
        );
        let is_list = store == "offline" || store.starts_with("pep_");
        let ending = if is_list { "list" } else { "dat" };
        let file = new.file(&format!("p/a%2eexample/{store}/alice.{ending}"), &content);
        let summary = new.imports(&data).await;
        assert_eq!(
            (summary.made, summary.unusable, summary.stopped),
            (1, 1, None),
            "{why}"
        );
        let told = format!("{}{place}: alice@a.example: {why}", file.display());
        assert_eq!(summary.faults, [told]);
        assert!(new.whole("alice@a.example").await.is_none());
        assert!(new.opens("bob@a.example", "x").await);
    }
    let new = Stage::open().await;
    new.file("p/a%2eexample/accounts/a%20b.dat", SHA_1);
    new.file("p/a%2eexample/accounts/half.dat", SHA_1);
    new.file("p/a%2eexample/privacy/half.dat", "return { default = 'l', lists = { l = { name = 'l', items = {\
        { type = 'jid', value = 'x@b.example', action = 'deny', order = 2, ['presence-in'] = true, iq = false },\
        { action = 'allow', order = '9' } } } } }");
    let summary = new.imports(&new.folder.path().join("p")).await;
    assert_eq!(
        (summary.made, summary.unusable, summary.without_password),
        (1, 1, 1)
    );
    assert!(
        summary.faults[0].contains("a b@a.example: `a b` is not the name of an account"),
        "{:?}",
        summary.faults
    );
    let half = new.whole("half@a.example").await.unwrap();
    let items = &half.privacy.default_list().unwrap().items;
    let kinds = items[0].kinds;
    assert_eq!((items.len(), items[1].order), (2, 9));
    assert!(kinds.presence_in && !kinds.iq && !kinds.message);
}
