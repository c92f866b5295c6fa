//! Accounts that move from one whole server to another, and who is told of it.

use tests::client::{Client, Heard, Login, authenticate, enter, password_of};
use tests::house::House;
use tests::run::on_a_runtime;
use tests::sasl::Mechanism;
use tests::stage::{Door, Server};

use super::{HOST, admin, words};

const CARD: &str = "<vCard xmlns=\"vcard-temp\"><FN>Alice &amp; Co</FN></vCard>";

fn alice() -> Login {
    Login::new("alice", HOST, "desk")
}

/// A server where alice has a card, a contact and a message that waits for her.
async fn lived_in() -> Result<House, String> {
    let house = House::start("").await?;
    for account in ["alice@a.example", "bob@b.example"] {
        let user = account.split('@').next().unwrap_or_default();
        house.register(account, &password_of(user)).await?;
    }
    let mut desk = Client::connect(&house, &alice()).await.map_err(words)?;
    let contact = "<query xmlns='jabber:iq:roster'><item jid='bob@b.example' name='Bob'/></query>";
    for payload in [contact, CARD] {
        let answer = desk.ask("set", None, payload).await.map_err(words)?;
        assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    }
    desk.close().await.map_err(words)?;
    let bob = Login::new("bob", "b.example", "phone");
    let mut bob = Client::connect(&house, &bob).await.map_err(words)?;
    bob.send("<message to='alice@a.example' type='chat'><body>Do you move?</body></message>")
        .await
        .map_err(words)?;
    bob.round_trip().await.map_err(words)?;
    Ok(house)
}

/// What a command prints under a name.
fn line<'a>(printed: &'a str, name: &str) -> &'a str {
    let lines = printed.lines();
    let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.next().unwrap_or_default().trim()
}

#[test]
fn an_account_moves_and_its_old_password_opens_it_by_every_mechanism() {
    let test = async {
        let old = lived_in().await?;
        let folder = tempfile::tempdir().map_err(words)?;
        let file = folder.path().join("accounts.xml");
        let file = file.display();
        let printed = admin(&old, &format!("export {file} --host {HOST} --user alice")).await?;
        assert_eq!(line(&printed, "accounts"), "1");

        let new = House::start("").await?;
        let printed = admin(&new, &format!("import {file} --check")).await?;
        assert_eq!(line(&printed, "imported"), "1");
        let none = admin(&new, &format!("registered_users {HOST}")).await?;
        assert_eq!(none, "", "a check makes nobody");
        let printed = admin(&new, &format!("import {file}")).await?;
        let told = ["imported", "contacts", "messages", "vcards"].map(|name| line(&printed, name));
        assert_eq!(told, ["1", "1", "1", "1"], "{printed}");
        for mechanism in Mechanism::ALL {
            let (mut wire, features) = enter(&new, Door::StartTls, HOST).await.map_err(words)?;
            let login = Login {
                mechanism: Some(mechanism),
                ..alice()
            };
            let entered = authenticate(&mut wire, &features, &login).await;
            entered.map_err(|why| format!("{}: {why}", mechanism.name()))?;
        }

        let mut desk = Client::connect(&new, &alice()).await.map_err(words)?;
        let roster = desk.fetch_roster().await.map_err(words)?.to_string();
        assert!(
            roster.contains("bob@b.example") && roster.contains("Bob"),
            "{roster}"
        );
        let card = desk
            .ask("get", None, "<vCard xmlns='vcard-temp'/>")
            .await
            .map_err(words)?;
        assert!(card.to_string().contains("Alice &amp; Co"), "{card}");
        desk.become_available(0).await.map_err(words)?;
        let Heard::Element(message) = desk.hear().await.map_err(words)? else {
            return Err("the stream ended".to_owned());
        };
        let message = message.to_string();
        assert!(
            message.contains("Do you move?") && message.contains("urn:xmpp:delay"),
            "{message}"
        );

        // Whoever is replaced is sent away, and what came is what there is.
        desk.round_trip().await.map_err(words)?;
        let printed = admin(&new, &format!("import {file}")).await?;
        assert_eq!(line(&printed, "skipped_existing"), "1");
        desk.round_trip().await.map_err(words)?;
        let printed = admin(&new, &format!("import {file} --replace")).await?;
        assert_eq!(line(&printed, "replaced"), "1");
        let mut last = String::new();
        while let Heard::Element(element) = desk.hear().await.map_err(words)? {
            last = element.to_string();
        }
        assert!(
            last.contains("<reset ") && last.contains("the account was imported anew"),
            "{last}"
        );
        let mut desk = Client::connect(&new, &alice()).await.map_err(words)?;
        desk.become_available(0).await.map_err(words)?;
        let Heard::Element(message) = desk.hear().await.map_err(words)? else {
            return Err("the stream ended".to_owned());
        };
        assert!(message.to_string().contains("Do you move?"), "{message}");
        Ok(())
    };
    on_a_runtime(test).unwrap_or_else(|why: String| panic!("{why}"));
}

#[test]
fn what_cannot_be_imported_is_told_and_changes_nothing() {
    let test = async {
        let house = House::start("").await?;
        let folder = tempfile::tempdir().map_err(words)?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).map_err(words)?;
            Ok::<String, String>(path.display().to_string())
        };
        let old = write(
            "old.xml",
            "<server-data xmlns='urn:xmpp:pie:0'>\n<host jid='old.example'><user name='alice' password='x'/></host></server-data>",
        )?;
        let told = admin(&house, &format!("import {old}")).await.unwrap_err();
        let expected = format!(
            "{old}:2:1: host `old.example` is not served here; add it by `host_add old.example`, or bring its accounts \
             to another host by `--host-map old.example=HOST`"
        );
        assert!(told.starts_with(&expected), "{told}");
        let told = admin(&house, &format!("import {old} --host-map old.example"))
            .await
            .unwrap_err();
        assert!(told.contains("expected key=value"), "{told}");
        let printed = admin(
            &house,
            &format!("import {old} --host-map old.example={HOST}"),
        )
        .await?;
        assert_eq!(line(&printed, "imported"), "1");
        let login = Login {
            password: "x".to_owned(),
            ..alice()
        };
        Client::connect(&house, &login).await.map_err(words)?;

        let bad = write(
            "bad.xml",
            "<server-data xmlns='urn:xmpp:pie:0'><host jid='a.example'>\n<user name='bob' password='x'/>\
             \n<user name='carol' password='scram:?'/><user name='dan' password='x'/></host></server-data>",
        )?;
        let told = admin(&house, &format!("import {bad}")).await.unwrap_err();
        assert!(
            told.starts_with("not every account could be imported\n"),
            "{told}"
        );
        let fault = format!("{bad}:3:1: carol@a.example: `scram:` is followed by");
        assert!(line(&told, "fault 1").starts_with(&fault), "{told}");
        let users = admin(&house, &format!("registered_users {HOST}")).await?;
        assert_eq!(users, "alice\nbob\ndan");

        admin(&house, &format!("unregister bob {HOST}")).await?;
        let told = admin(&house, &format!("import {bad}")).await.unwrap_err();
        assert_eq!(
            (
                line(&told, "skipped_removed"),
                line(&told, "skipped_existing")
            ),
            ("1", "1"),
            "{told}"
        );

        let told = admin(
            &house,
            &format!("export {}/no/file.xml", folder.path().display()),
        )
        .await;
        assert!(
            told.unwrap_err().starts_with("cannot write "),
            "no folder is made for a file"
        );
        Ok(())
    };
    on_a_runtime(test).unwrap_or_else(|why: String| panic!("{why}"));
}
