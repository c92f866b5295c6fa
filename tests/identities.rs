//! Who may come in, over real sockets: failure budgets, caps, proxies, channel binding.

mod moving;

use std::net::SocketAddr;

use tests::authority::{Authority, tls_client_as};
use tests::client::{Login, SASL_NS, authenticate, bind, enter, open, password_of};
use tests::dom::Element;
use tests::house::House;
use tests::run::on_a_runtime;
use tests::sasl::{Hash, Mechanism, encode, plain};
use tests::stage::{Asked, Door, Server};
use tests::wire::{Next, Wire};

const HOST: &str = "a.example";

/// A fourth listener, for a proxy on this machine.
const PROXIED: &str = "
[[listener]]
address = \"127.0.0.1:0\"
tls = \"off\"
proxy_protocol = true
";

fn words(error: impl ToString) -> String {
    error.to_string()
}

async fn house(limits: &str) -> Result<House, String> {
    let house = House::start(&format!("{PROXIED}\n[limits]\n{limits}\n")).await?;
    for user in ["alice", "bob"] {
        let account = format!("{user}@{HOST}");
        house.register(&account, &password_of(user)).await?;
    }
    Ok(house)
}

fn proxied(house: &House) -> SocketAddr {
    house.server().addresses()[3].at
}

/// An open stream whose client a proxy says is at `address`.
async fn through_proxy(house: &House, address: &str) -> Result<(Wire, Element), String> {
    let mut wire = Wire::connect(proxied(house)).await.map_err(words)?;
    let header = format!("PROXY TCP4 {address} 198.51.100.1 40000 5222\r\n");
    wire.send(header.as_bytes()).await.map_err(words)?;
    let features = open(&mut wire, HOST).await.map_err(words)?;
    Ok((wire, features))
}

/// Tries a password on a stream of its own: `success`, or the condition of the failure and its text.
async fn attempt(house: &House, from: &str, user: &str, password: &str) -> Result<String, String> {
    let (mut wire, _) = through_proxy(house, from).await?;
    let data = encode(&plain("", user, password));
    let auth = format!("<auth xmlns='{SASL_NS}' mechanism='PLAIN'>{data}</auth>");
    wire.send(auth.as_bytes()).await.map_err(words)?;
    let answer = wire.element("an answer of SASL").await.map_err(words)?;
    let parts = answer.children().map(|child| match child.name.as_str() {
        "text" => child.text(),
        name => name.to_owned(),
    });
    let parts: Vec<String> = parts.collect();
    Ok(match answer.name.as_str() {
        "success" => "success".to_owned(),
        _ => parts.join(": "),
    })
}

async fn admin(house: &House, command: &str) -> Result<String, String> {
    let asked = house.admin(command.split(' ').map(str::to_owned).collect());
    match asked.await.map_err(|_| "not asked")? {
        Asked::Output(text) => Ok(text.trim_end().to_owned()),
        Asked::Refused(why) => Err(why),
    }
}

#[test]
fn failed_logins_make_the_next_wait_and_an_operator_sees_and_clears_them() {
    let test = async {
        let house = house("failed_logins_per_address = 3\nfailed_login_delay = \"10 s\"").await?;
        for _ in 0..4 {
            let answer = attempt(&house, "192.0.2.1", "nobody", "x").await?;
            assert_eq!(answer, "not-authorized");
        }
        let waits = "temporary-auth-failure: too many failed logins; try again in 11 s";
        let right = password_of("alice");
        assert_eq!(attempt(&house, "192.0.2.1", "alice", &right).await?, waits);
        assert_eq!(
            attempt(&house, "192.0.2.2", "alice", &right).await?,
            "success"
        );

        let listed = admin(&house, "failed_login_list").await?;
        let rows: Vec<Vec<&str>> = listed
            .lines()
            .map(|row| row.split_whitespace().collect())
            .collect();
        assert!(
            rows.contains(&vec!["192.0.2.1", "4", "10", "0"]),
            "{listed}"
        );
        assert!(
            rows.contains(&vec!["nobody@a.example", "4", "0", "0"]),
            "{listed}"
        );
        assert_eq!(
            admin(&house, "failed_login_clear 192.0.2.1").await?,
            "1 cleared"
        );
        assert_eq!(
            attempt(&house, "192.0.2.1", "alice", &right).await?,
            "success"
        );
        let none = admin(&house, "failed_login_clear 192.0.2.1").await;
        assert_eq!(
            none,
            Err("no failed logins of 192.0.2.1 are known".to_owned())
        );

        // The wait passes by itself, and is doubled by the next failure.
        for _ in 0..4 {
            attempt(&house, "192.0.2.3", "nobody", "y").await?;
        }
        house
            .advance(std::time::Duration::from_secs(10))
            .await
            .map_err(|_| "no clock")?;
        assert_eq!(
            attempt(&house, "192.0.2.3", "bob", "wrong").await?,
            "not-authorized"
        );
        let waits = "temporary-auth-failure: too many failed logins; try again in 21 s";
        assert_eq!(
            attempt(&house, "192.0.2.3", "bob", &password_of("bob")).await?,
            waits
        );
        // Who comes to this machine's own address without a proxy is never made to wait.
        let (mut wire, features) = enter(&house, Door::Plain, HOST).await.map_err(words)?;
        let login = Login::new("bob", HOST, "x");
        authenticate(&mut wire, &features, &login)
            .await
            .map_err(words)?;
        Ok(())
    };
    on_a_runtime(test).unwrap_or_else(|why: String| panic!("{why}"));
}

#[test]
fn a_proxied_client_is_who_the_proxy_says_and_never_this_machine() {
    let test = async {
        let house = house("failed_logins_per_address = 1").await?;
        for (told, shown) in [("192.0.2.7", "192.0.2.7:40000"), ("127.0.0.1", "0.0.0.0:")] {
            let (mut wire, features) = through_proxy(&house, told).await?;
            let login = Login::new("alice", HOST, "desk");
            authenticate(&mut wire, &features, &login)
                .await
                .map_err(words)?;
            bind(&mut wire, Some("desk")).await.map_err(words)?;
            let users = admin(&house, "connected_users").await?;
            assert!(users.contains(shown), "{users}");
        }
        for _ in 0..2 {
            attempt(&house, "127.0.0.1", "nobody", "x").await?;
        }
        let answer = attempt(&house, "127.0.0.1", "bob", &password_of("bob")).await?;
        assert!(answer.starts_with("temporary-auth-failure"), "{answer}");

        // Without a header there is no stream at all.
        let mut wire = Wire::connect(proxied(&house)).await.map_err(words)?;
        wire.send(tests::client::stream_header(HOST).as_bytes())
            .await
            .map_err(words)?;
        assert_eq!(wire.next().await.map_err(words)?, Next::End);
        Ok(())
    };
    on_a_runtime(test).unwrap_or_else(|why: String| panic!("{why}"));
}

#[test]
fn a_login_gives_the_strangers_place_back() {
    let test = async {
        let house =
            house("connections_before_login = 1\nconnections_before_login_per_address = 1").await?;
        let mut sessions = Vec::new();
        for number in 0..3 {
            let (mut wire, features) = through_proxy(&house, "192.0.2.1").await?;
            let login = Login::new("alice", HOST, "x");
            authenticate(&mut wire, &features, &login)
                .await
                .map_err(words)?;
            bind(&mut wire, Some(&format!("r{number}")))
                .await
                .map_err(words)?;
            sessions.push(wire);
        }
        // One that goes without having logged in does too.
        for _ in 0..3 {
            let (mut wire, _) = through_proxy(&house, "192.0.2.1").await?;
            wire.drop_connection();
        }
        Ok(())
    };
    on_a_runtime(test).unwrap_or_else(|why: String| panic!("{why}"));
}

//
#[test]
fn a_login_is_bound_to_the_certificate_its_handshake_showed() {
    let test = async {
        let house = house("").await?;
        let (mut before, features) = enter(&house, Door::DirectTls, HOST).await.map_err(words)?;
        let renewed: Authority = house.renew_certificates()?;
        house.server().reload().await?;
        let login = Login {
            mechanism: Some(Mechanism::ScramPlus(Hash::Sha256)),
            binding: Some("tls-server-end-point".to_owned()),
            ..Login::new("alice", HOST, "x")
        };
        authenticate(&mut before, &features, &login)
            .await
            .map_err(words)?;

        let mut after = Wire::connect(house.address(Door::DirectTls).expect("it has it"))
            .await
            .map_err(words)?;
        after
            .start_tls(HOST, renewed.roots(), &[b"xmpp-client"])
            .await
            .map_err(words)?;
        let features = open(&mut after, HOST).await.map_err(words)?;
        assert_ne!(
            before.binding("tls-server-end-point"),
            after.binding("tls-server-end-point")
        );
        authenticate(&mut after, &features, &login)
            .await
            .map_err(words)?;
        Ok(())
    };
    on_a_runtime(test).unwrap_or_else(|why: String| panic!("{why}"));
}

/// Logs in by EXTERNAL over direct TLS with a certificate by `authority` that names these addresses: the mechanisms
/// that were offered, and what came of it.
async fn external(
    house: &House,
    authority: &Authority,
    addresses: &[&str],
    authzid: &str,
) -> Result<(Vec<String>, Element), String> {
    let identity = authority.sign_client(addresses)?;
    let config = tls_client_as(house.roots(), &identity)?;
    let mut wire = Wire::connect(house.address(Door::DirectTls).expect("it has it"))
        .await
        .map_err(words)?;
    wire.start_tls_by(HOST, config).await.map_err(words)?;
    let features = open(&mut wire, HOST).await.map_err(words)?;
    let offered = features.child(SASL_NS, "mechanisms");
    let offered = offered.map(|list| list.children().map(Element::text).collect());
    let data = match authzid {
        "" => "=".to_owned(),
        _ => encode(authzid.as_bytes()),
    };
    let auth = format!("<auth xmlns='{SASL_NS}' mechanism='EXTERNAL'>{data}</auth>");
    wire.send(auth.as_bytes()).await.map_err(words)?;
    let answer = wire.element("an answer of SASL").await.map_err(words)?;
    if answer.name == "success" {
        wire.restart();
        open(&mut wire, HOST).await.map_err(words)?;
        let jid = bind(&mut wire, Some("card")).await.map_err(words)?;
        assert_eq!(jid, "alice@a.example/card");
    }
    Ok((offered.unwrap_or_default(), answer))
}

//
#[test]
fn a_verified_certificate_logs_in_by_external_and_no_other() {
    let test = async {
        let (clients, stranger) = (Authority::new()?, Authority::new()?);
        let folder = tempfile::tempdir().map_err(words)?;
        let path = folder.path().join("clients.pem");
        std::fs::write(&path, clients.pem()).map_err(words)?;
        let configured = format!("client_authorities = [\"{}\"]", path.display());
        let house = House::start(&configured).await?;
        let password = password_of("alice");
        house.register("alice@a.example", &password).await?;

        let (offered, answer) = external(&house, &clients, &["alice@a.example"], "").await?;
        assert_eq!(offered[0], "EXTERNAL");
        assert!(answer.is(SASL_NS, "success"), "{answer}");
        let several = ["bob@a.example", "alice@a.example"];
        let (_, answer) = external(&house, &clients, &several, "alice@a.example").await?;
        assert!(answer.is(SASL_NS, "success"), "{answer}");
        let (_, answer) = external(&house, &clients, &["bob@a.example"], "alice@a.example").await?;
        assert!(
            answer.child(SASL_NS, "invalid-authzid").is_some(),
            "{answer}"
        );
        for (authority, addresses) in [
            (&stranger, &["alice@a.example"][..]),
            (&clients, &["alice@b.example"]),
            (&clients, &[]),
        ] {
            let (offered, answer) =
                external(&house, authority, addresses, "alice@a.example").await?;
            assert!(
                !offered.is_empty() && !offered.contains(&"EXTERNAL".to_owned()),
                "{offered:?}"
            );
            assert!(
                answer.child(SASL_NS, "invalid-mechanism").is_some(),
                "{answer}"
            );
        }
        // Who shows none is as before.
        let (mut wire, features) = enter(&house, Door::DirectTls, HOST).await.map_err(words)?;
        let login = Login::new("alice", HOST, "x");
        authenticate(&mut wire, &features, &login)
            .await
            .map_err(words)?;
        Ok(())
    };
    on_a_runtime(test).unwrap_or_else(|why: String| panic!("{why}"));
}
