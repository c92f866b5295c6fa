//! Two whole servers in one process: the same hosts, but names, clocks, certificates and data of their own.

use std::time::Duration;

use tests::client::{Client, Heard, Login, password_of};
use tests::deadline::within;
use tests::dom::CLIENT_NS;
use tests::house::House;
use tests::stage::{Asked, Server, Unable};
use tests::wire::Broken;

/// What happens in one is not noticed in the other.
pub async fn apart() -> Result<(), String> {
    let (one, other) = (House::start("").await?, House::start("").await?);
    for user in ["alice", "bob"] {
        one.register(&format!("{user}@localhost"), &password_of(user))
            .await?;
        other
            .register(&format!("{user}@localhost"), &password_of(user))
            .await?;
    }
    one.register("carol@localhost", &password_of("carol"))
        .await?;

    // Data: an account of one is none of the other's.
    if Client::connect(&other, &Login::new("carol", "localhost", "x"))
        .await
        .is_ok()
    {
        return Err("an account of one server logs in at the other".to_owned());
    }
    // Names: the same address at both, and each hears its own server's.
    let mut people = Vec::new();
    for house in [&one, &other] {
        people.push((pair(house).await?, house));
    }
    for (word, ((alice, bob), _)) in ["first", "second"].into_iter().zip(&mut people) {
        talk(alice, bob, word).await?;
    }
    for ((_, bob), _) in &mut people {
        bob.round_trip().await.map_err(say)?;
        if let Some(heard) = bob.heard_already() {
            return Err(format!("bob also hears {heard:?}"));
        }
    }
    drop(people);

    clocks(&one, &other).await?;
    commands(&one, &other).await?;

    // A fall here is none there, and neither is the end.
    let before: Vec<_> = other.server().node().system.observe().processes();
    for process in one.server().node().system.observe().processes() {
        if ["router", "sm", "dead_letters"].contains(&process.kind()) {
            process.kill();
            within(process.watch())
                .await
                .map_err(|_| "a process did not fall")?;
        }
    }
    match within(one.server().stop()).await {
        Ok(Ok(())) => {}
        _ => return Err("the first server did not stop in order".to_owned()),
    }
    if let Some(gone) = before
        .iter()
        .find(|process| process.kind() != "c2s" && !process.is_alive())
    {
        return Err(format!(
            "{gone:?} of the second server ended with the first"
        ));
    }
    let (mut alice, mut bob) = pair(&other).await?;
    talk(&mut alice, &mut bob, "still here").await?;
    drop((alice, bob));
    match within(other.server().stop()).await {
        Ok(Ok(())) => Ok(()),
        _ => Err("the second server did not stop in order".to_owned()),
    }
}

fn say(broken: Broken) -> String {
    broken.to_string()
}

async fn pair(house: &House) -> Result<(Client, Client), String> {
    let mut both = Vec::new();
    for user in ["alice", "bob"] {
        let mut client = Client::connect(house, &Login::new(user, "localhost", "desk"))
            .await
            .map_err(say)?;
        client.become_available(0).await.map_err(say)?;
        client.round_trip().await.map_err(say)?;
        both.push(client);
    }
    let bob = both.pop().ok_or("two people expected")?;
    let alice = both.pop().ok_or("two people expected")?;
    Ok((alice, bob))
}

async fn talk(alice: &mut Client, bob: &mut Client, word: &str) -> Result<(), String> {
    let to = bob.jid().to_owned();
    alice
        .send(&format!(
            "<message type='chat' to='{to}'><body>{word}</body></message>"
        ))
        .await
        .map_err(say)?;
    loop {
        match bob.hear().await.map_err(say)? {
            Heard::Element(heard) if heard.is(CLIENT_NS, "message") => {
                let body = heard
                    .child(CLIENT_NS, "body")
                    .map(tests::dom::Element::text);
                return match body.as_deref() == Some(word) {
                    true => Ok(()),
                    false => Err(format!("not `{word}`: {heard}")),
                };
            }
            Heard::Element(_) => {}
            Heard::Over { .. } => return Err("bob's stream is over".to_owned()),
        }
    }
}

/// An hour passes in one of them.
async fn clocks(one: &House, other: &House) -> Result<(), String> {
    let now = |house: &House| house.server().node().system.clock().now();
    let (here, there) = (now(one), now(other));
    let hour = Duration::from_secs(3600);
    one.advance(hour).await.map_err(|unable| unable.0)?;
    match (now(one) - here, now(other) - there) {
        (passed, Duration::ZERO) if passed == hour => Ok(()),
        passed => Err(format!("the hour passed as {passed:?}")),
    }
}

/// A service that is added to one is no service of the other.
async fn commands(one: &House, other: &House) -> Result<(), String> {
    let routes = async |house: &House| match command(house, "route_list").await {
        Ok(Asked::Output(text)) => Ok(text.contains("echo.localhost")),
        answer => Err(format!("route_list: {answer:?}")),
    };
    match command(one, "module_start localhost mod_echo").await {
        Ok(Asked::Output(_)) => {}
        answer => return Err(format!("module_start: {answer:?}")),
    }
    match (routes(one).await?, routes(other).await?) {
        (true, false) => Ok(()),
        seen => Err(format!("echo.localhost is routed: {seen:?}")),
    }
}

async fn command(house: &House, line: &str) -> Result<Asked, Unable> {
    house
        .admin(line.split(' ').map(str::to_owned).collect())
        .await
}
