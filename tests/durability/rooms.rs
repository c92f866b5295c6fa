//! `kill -9` under rooms that are open: whatever was answered of configuration, affiliations, subject and what was said is
//! there afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use tests::client::{Client, Heard, Login, password_of, unguessable};
use tests::deadline::within;
use tests::dom::Element;
use tests::program::{Place, Program, Signal};
use tests::stage::Server;
use tokio::sync::watch;

/// How often it is killed.
const ROUNDS: u64 = 5;

/// The most answered changes, and the most messages, before it is killed; the least is one.
const MOST: u64 = 30;

const CLIENT: &str = "jabber:client";
const OWNER: &str = "http://jabber.org/protocol/muc#owner";
const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
const MAM: &str = "urn:xmpp:mam:2";

/// What was answered in one room. What was under way when the server fell may be there or not.
#[derive(Default)]
struct Answered {
    title: u64,
    subject: u64,
    members: BTreeSet<String>,
    bodies: Vec<String>,
}

/// How far the two are.
type Progress = watch::Sender<(u64, u64)>;

/// In several rounds everything is killed at a random moment and looked at after a restart.
pub async fn under_load() -> Result<(), String> {
    let place = Place::new("[modules.mod_muc]\nenabled = true\nmessage_burst = 10000\n").await?;
    let mut program = Arc::new(place.start().await?);
    for user in ["alice", "bob"] {
        program
            .register(&format!("{user}@localhost"), &password_of(user))
            .await?;
    }
    for round in 0..ROUNDS {
        let room = format!("room{round}@conference.localhost");
        let mut answered = Answered::default();
        let mut alice = enter(&program, "alice", &room).await?;
        configure(&mut alice, &room, 0).await.map_err(said)??;
        let bob = enter(&program, "bob", &room).await?;
        let (changes, messages) = (1 + random() % MOST, 1 + random() % MOST);
        let progress: Progress = watch::Sender::new((0, 0));
        let enough = async {
            let mut seen = progress.subscribe();
            let there = seen.wait_for(|(made, spoken)| *made >= changes && *spoken >= messages);
            there.await.map_err(|_| "nobody goes on".to_owned())?;
            program.signal(Signal::Kill).await
        };
        // Both go on until the server is gone.
        let mut bodies = Vec::new();
        let (made, spoken, killed) = tokio::join!(
            change(alice, &room, &mut answered, &progress),
            speak(bob, &room, &mut bodies, &progress),
            within(enough),
        );
        killed.map_err(|_| format!("round {round}: too slow to reach {changes}, {messages}"))??;
        made?;
        spoken?;
        answered.bodies = bodies;
        program.ended().await?;
        program = Arc::new(place.start().await?);
        look(&program, &room, &answered)
            .await
            .map_err(|why| format!("round {round}: {why}"))?;
    }
    Ok(())
}

fn random() -> u64 {
    u64::from_str_radix(&unguessable()[..15], 16).expect("hexadecimal digits")
}

fn said(broken: tests::wire::Broken) -> String {
    broken.to_string()
}

/// The next message that `is` it; everything before is forgotten. `None`: the stream is over.
async fn hear_until(client: &mut Client, is: impl Fn(&Element) -> bool) -> Option<Element> {
    loop {
        match client.hear().await {
            Ok(Heard::Element(element)) if is(&element) => return Some(element),
            Ok(Heard::Element(_)) => {}
            Ok(Heard::Over { .. }) | Err(_) => return None,
        }
    }
}

/// Logs in and joins; everything that is told before the subject is thrown away.
async fn enter(program: &Arc<Program>, user: &str, room: &str) -> Result<Client, String> {
    let login = Login::new(user, "localhost", "desk");
    let mut client = Client::connect(&**program, &login).await.map_err(said)?;
    join(&mut client, user, room).await?;
    Ok(client)
}

/// Joins, and gives the bodies of the past and the subject.
async fn join(
    client: &mut Client,
    nick: &str,
    room: &str,
) -> Result<(Vec<String>, String), String> {
    let join = format!(
        "<presence to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    );
    client.send(&join).await.map_err(said)?;
    let mut past = Vec::new();
    loop {
        let is_message = |element: &Element| element.is(CLIENT, "message");
        let message = hear_until(client, is_message).await;
        let message = message.ok_or("the room does not answer a join")?;
        match message.child(CLIENT, "body") {
            Some(body) => past.push(body.text()),
            None => {
                let subject = message.child(CLIENT, "subject").ok_or("no subject")?;
                return Ok((past, subject.text()));
            }
        }
    }
}

/// Sets the room's name; the room is lasting. The inner result is the room's answer.
async fn configure(
    alice: &mut Client,
    room: &str,
    number: u64,
) -> Result<Result<(), String>, tests::wire::Broken> {
    let field =
        |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
    let form = [
        field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig"),
        field("muc#roomconfig_persistentroom", "1"),
        field("muc#roomconfig_roomname", &format!("title {number}")),
    ]
    .concat();
    let form =
        format!("<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'>{form}</x></query>");
    let answer = alice.ask("set", Some(room), &form).await?;
    Ok(result(&answer))
}

fn result(answer: &Element) -> Result<(), String> {
    match answer.attr("type") {
        Some("result") => Ok(()),
        _ => Err(format!("a change was refused: {answer}")),
    }
}

/// Alice changes configuration, affiliations and subject in turn, until the connection is gone.
async fn change(
    mut alice: Client,
    room: &str,
    answered: &mut Answered,
    progress: &Progress,
) -> Result<(), String> {
    for number in 1.. {
        let Ok(answer) = configure(&mut alice, room, number).await else {
            return Ok(());
        };
        answer?;
        answered.title = number;
        let member = format!("member{number}@elsewhere.example");
        let item =
            format!("<query xmlns='{ADMIN}'><item jid='{member}' affiliation='member'/></query>");
        let Ok(answer) = alice.ask("set", Some(room), &item).await else {
            return Ok(());
        };
        result(&answer)?;
        answered.members.insert(member);
        let subject = format!("subject {number}");
        let words =
            format!("<message type='groupchat' to='{room}'><subject>{subject}</subject></message>");
        let is_it = |element: &Element| {
            element
                .child(CLIENT, "subject")
                .is_some_and(|child| child.text() == subject)
        };
        if alice.send(&words).await.is_err() || hear_until(&mut alice, is_it).await.is_none() {
            return Ok(());
        }
        answered.subject = number;
        progress.send_modify(|(made, _)| *made += 1);
    }
    Ok(())
}

/// Bob speaks, and goes on when he hears himself, until the connection is gone.
async fn speak(
    mut bob: Client,
    room: &str,
    bodies: &mut Vec<String>,
    progress: &Progress,
) -> Result<(), String> {
    for number in 1.. {
        let body = format!("word {number}");
        let words = format!("<message type='groupchat' to='{room}'><body>{body}</body></message>");
        let is_it = |element: &Element| {
            let own = element.child(CLIENT, "body");
            own.is_some_and(|own| own.text() == body)
        };
        if bob.send(&words).await.is_err() {
            return Ok(());
        }
        let Some(heard) = hear_until(&mut bob, is_it).await else {
            return Ok(());
        };
        if heard.attr("type") != Some("groupchat") {
            return Err(format!("a message was refused: {heard}"));
        }
        bodies.push(body);
        progress.send_modify(|(_, spoken)| *spoken += 1);
    }
    Ok(())
}

/// What was answered last is there, or what was under way then.
fn at_least(what: &str, found: &str, answered: u64) -> Result<(), String> {
    let may_be = [answered, answered + 1].map(|number| format!("{what} {number}"));
    match may_be.iter().any(|text| text == found) {
        true => Ok(()),
        false => Err(format!("`{found}` is there, `{}` was answered", may_be[0])),
    }
}

/// Everything that was answered is there.
async fn look(program: &Arc<Program>, room: &str, answered: &Answered) -> Result<(), String> {
    let login = Login::new("alice", "localhost", "desk");
    let mut alice = Client::connect(&**program, &login).await.map_err(said)?;
    let (past, subject) = join(&mut alice, "alice", room).await?;
    if answered.subject > 0 {
        at_least("subject", &subject, answered.subject)?;
    }
    // The past ends with what was answered last, or with one word more.
    let last = past.last().map(String::as_str).unwrap_or_default();
    at_least("word", last, answered.bodies.len() as u64)?;

    let query = format!("<query xmlns='{OWNER}'/>");
    let form = alice.ask("get", Some(room), &query).await.map_err(said)?;
    result(&form).map_err(|why| format!("alice does not own it any more: {why}"))?;
    let title = form
        .child(OWNER, "query")
        .and_then(|query| query.child("jabber:x:data", "x"))
        .and_then(|form| {
            form.children()
                .find(|field| field.attr("var") == Some("muc#roomconfig_roomname"))
                .and_then(|field| field.child("jabber:x:data", "value"))
                .map(Element::text)
        });
    at_least("title", &title.unwrap_or_default(), answered.title)?;

    let query = format!("<query xmlns='{ADMIN}'><item affiliation='member'/></query>");
    let list = alice.ask("get", Some(room), &query).await.map_err(said)?;
    let list = list.child(ADMIN, "query").ok_or("no list of members")?;
    let members: BTreeSet<String> = list
        .children()
        .filter_map(|item| item.attr("jid").map(str::to_owned))
        .collect();
    nothing_lost("members", &answered.members, &members)?;

    let archived = archive(&mut alice, room).await?;
    let bodies: BTreeSet<String> = answered.bodies.iter().cloned().collect();
    nothing_lost("messages", &bodies, &archived.iter().cloned().collect())?;
    let number = |body: &String| body.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok());
    let numbers: Vec<u64> = archived.iter().filter_map(number).collect();
    if !numbers.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err(format!(
            "the archive is not in the order it was said: {numbers:?}"
        ));
    }
    alice.close().await.map_err(said)
}

fn nothing_lost(
    what: &str,
    answered: &BTreeSet<String>,
    there: &BTreeSet<String>,
) -> Result<(), String> {
    let lost: Vec<&String> = answered.difference(there).collect();
    match lost.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} {what} are lost, such as {first:?}", lost.len())),
    }
}

/// All bodies of the room's archive, page after page.
async fn archive(client: &mut Client, room: &str) -> Result<Vec<String>, String> {
    let mut bodies = Vec::new();
    let mut after = String::new();
    loop {
        client.round_trip().await.map_err(said)?;
        while client.heard_already().is_some() {}
        let query = format!(
            "<query xmlns='{MAM}'><set xmlns='http://jabber.org/protocol/rsm'><max>100</max>{after}</set></query>"
        );
        let fin = client.ask("set", Some(room), &query).await.map_err(said)?;
        result(&fin)?;
        while let Some(Heard::Element(message)) = client.heard_already() {
            let body = message
                .child(MAM, "result")
                .and_then(|result| result.child("urn:xmpp:forward:0", "forwarded"))
                .and_then(|forwarded| forwarded.child(CLIENT, "message"))
                .and_then(|message| message.child(CLIENT, "body"));
            bodies.extend(body.map(Element::text));
        }
        let fin = fin.child(MAM, "fin").ok_or("no end of a page")?;
        let last = fin
            .child("http://jabber.org/protocol/rsm", "set")
            .and_then(|set| set.child("http://jabber.org/protocol/rsm", "last"));
        match last {
            Some(last) if fin.attr("complete") != Some("true") => {
                after = format!("<after>{}</after>", last.text());
            }
            _ => return Ok(bodies),
        }
    }
}
