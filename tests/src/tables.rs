//! RFC 6121's two big tables as data: delivery (§8.5.4) and the subscription states (Appendix A).
//!
//! A table is written as in `tests/tables/*.txt`: a heading row, one row per state or situation, cells between
//! bars. One cell is one check, played over sockets on a server of its own.

use crate::client::{Client, Heard, Login};
use crate::deadline::until;
use crate::dom::Element;
use crate::play::End;
use crate::stage::{Failure, Server, Troupe};

/// A cell of a table, with what stands at its row and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// File and line, for messages.
    pub place: String,
    /// First cell of its row.
    pub row: String,
    /// First cell of its column.
    pub column: String,
    /// What stands in it.
    pub text: String,
}

/// Reads the cells of a table; lines that do not begin with a bar are for the reader.
///
/// # Errors
///
/// A sentence with file and line when rows differ in length.
pub fn read(file: &str, text: &str) -> Result<Vec<Cell>, String> {
    let mut heading: Option<Vec<String>> = None;
    let mut cells = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", at + 1);
        let Some(inside) = line
            .trim()
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
        else {
            continue;
        };
        let row: Vec<String> = inside
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let Some(columns) = &heading else {
            heading = Some(row);
            continue;
        };
        if row.len() != columns.len() {
            return Err(format!(
                "{place}: {} cells expected, {} found",
                columns.len(),
                row.len()
            ));
        }
        let Some((first, others)) = row.split_first() else {
            continue;
        };
        cells.extend(others.iter().zip(&columns[1..]).map(|(text, column)| Cell {
            place: place.clone(),
            row: first.clone(),
            column: column.clone(),
            text: text.clone(),
        }));
    }
    match cells.is_empty() {
        true => Err(format!("{file}: no table in it")),
        false => Ok(cells),
    }
}

/// Starts a server for one check and ends it afterwards.
async fn with_server(
    troupe: &dyn Troupe,
    check: impl AsyncFnOnce(&dyn Server) -> Result<(), String>,
) -> Result<End, String> {
    let server = match troupe.start("", false).await {
        Ok(server) => server,
        Err(Failure::Unable(why)) => return Ok(End::Skipped(why.to_owned())),
        Err(Failure::Failed(why)) => return Err(format!("no server: {why}")),
    };
    let outcome = check(server.as_ref()).await;
    server.stop().await;
    outcome.map(|()| End::Played)
}

/// A client that is connected, interested and available with these priorities, as asked.
async fn log_in(
    server: &dyn Server,
    user: &str,
    resource: &str,
    priority: Option<i8>,
) -> Result<Client, String> {
    let login = Login::new(user, "a.example", resource);
    let say = |broken: crate::wire::Broken| broken.to_string();
    let mut client = Client::connect(server, &login).await.map_err(say)?;
    client.fetch_roster().await.map_err(say)?;
    if let Some(priority) = priority {
        client.become_available(priority).await.map_err(say)?;
    }
    client.round_trip().await.map_err(say)?;
    Ok(client)
}

async fn register(server: &dyn Server, user: &str) -> Result<(), String> {
    let password = crate::client::password_of(user);
    server
        .register(&format!("{user}@a.example"), &password)
        .await
}

/// All of these clients, to the server and back, until nothing is under way.
async fn quiet(server: &dyn Server, clients: &mut [&mut Client]) -> Result<(), String> {
    for _ in 0..3 {
        for client in clients.iter_mut() {
            client
                .round_trip()
                .await
                .map_err(|broken| broken.to_string())?;
        }
        server.settle().await;
    }
    Ok(())
}

/// Plays one cell of the delivery table.
///
/// # Errors
///
/// What went differently, with the place of the cell.
pub async fn delivery(cell: &Cell, troupe: &dyn Troupe) -> Result<End, String> {
    let played = with_server(troupe, async |server| deliver(cell, server).await).await;
    played.map_err(|why| format!("{}: {} to {:?}: {why}", cell.place, cell.column, cell.row))
}

/// Resources with their priorities.
type Resources = &'static [(&'static str, i8)];

/// What a situation of the delivery table is: Bob's resources and the address Alice writes to.
fn situation(row: &str) -> Result<(Option<Resources>, &'static str), String> {
    Ok(match row {
        "no such account, bare" => (None, "bob@a.example"),
        "no such account, full" => (None, "bob@a.example/match"),
        "no resource, bare" => (Some(&[]), "bob@a.example"),
        "no resource, full" => (Some(&[]), "bob@a.example/match"),
        "only negative, bare" => (Some(&[("match", -1)]), "bob@a.example"),
        "only negative, full, match" => (Some(&[("match", -1)]), "bob@a.example/match"),
        "only negative, full, no match" => (Some(&[("other", -1)]), "bob@a.example/match"),
        "one non-negative, bare" => (Some(&[("match", 0)]), "bob@a.example"),
        "several non-negative, bare" => (
            Some(&[("match", 0), ("other", 5), ("asleep", -1)]),
            "bob@a.example",
        ),
        "full, match" => (Some(&[("match", 0), ("other", 5)]), "bob@a.example/match"),
        "full, no match" => (
            Some(&[("other", 0), ("more", 5), ("asleep", -1)]),
            "bob@a.example/match",
        ),
        other => return Err(format!("no situation is called {other:?}")),
    })
}

async fn deliver(cell: &Cell, server: &dyn Server) -> Result<(), String> {
    let (resources, to) = situation(&cell.row)?;
    register(server, "alice").await?;
    let mut alice = log_in(server, "alice", "desk", Some(0)).await?;
    let mut bobs = Vec::new();
    if let Some(resources) = resources {
        register(server, "bob").await?;
        for (resource, priority) in resources {
            bobs.push((
                *resource,
                *priority,
                log_in(server, "bob", resource, Some(*priority)).await?,
            ));
        }
    }
    let everyone = |alice: &mut Client, bobs: &mut Vec<(&str, i8, Client)>| {
        alice.forget();
        bobs.iter_mut().for_each(|(_, _, bob)| bob.forget());
    };
    settle_all(server, &mut alice, &mut bobs).await?;
    everyone(&mut alice, &mut bobs);
    let kind = &cell.column;
    let error = match kind.as_str() {
        "error" => {
            "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        }
        _ => "",
    };
    let message = format!(
        "<message to='{to}' type='{kind}' id='the-one'><body>for whom?</body>{error}</message>"
    );
    alice
        .send(&message)
        .await
        .map_err(|broken| broken.to_string())?;
    settle_all(server, &mut alice, &mut bobs).await?;

    let wanted_by = |resource: &str, priority: i8| match cell.text.as_str() {
        "D" if to.contains('/') => resource == "match",
        "D" | "A" => priority >= 0,
        _ => false,
    };
    for (resource, priority, bob) in &mut bobs {
        let heard = messages(bob);
        let wanted = usize::from(wanted_by(resource, *priority));
        if heard.len() != wanted {
            return Err(bob
                .broken(&format!(
                    "bob/{resource} must hear {wanted} messages, heard {heard:?}"
                ))
                .to_string());
        }
        for message in heard {
            let rewritten = message.attr("to").is_some_and(|heard_to| heard_to != to);
            if rewritten || message.attr("type").unwrap_or("normal") != kind {
                return Err(bob
                    .broken(&format!("to and type must stay {to} and {kind}: {message}"))
                    .to_string());
            }
        }
    }
    let returned = messages(&mut alice);
    let bounced = |message: &Element| {
        message.attr("type") == Some("error")
            && message.attr("id") == Some("the-one")
            && message.attr("from") == Some(to)
            && message.children().any(|error| {
                error.name == "error"
                    && error
                        .children()
                        .any(|condition| condition.name == "service-unavailable")
            })
    };
    match (cell.text.as_str(), returned.as_slice()) {
        ("E", [one]) if bounced(one) => {}
        ("E", other) => {
            return Err(alice
                .broken(&format!(
                    "service-unavailable expected, Alice heard {other:?}"
                ))
                .to_string());
        }
        (_, []) => {}
        (_, other) => {
            return Err(alice
                .broken(&format!("Alice must hear nothing, heard {other:?}"))
                .to_string());
        }
    }
    if resources.is_some() {
        kept(cell, server).await?;
    }
    Ok(())
}

/// Logs Bob in with priority 0: what was kept for him comes now, and only that.
async fn kept(cell: &Cell, server: &dyn Server) -> Result<(), String> {
    let mut later = log_in(server, "bob", "later", Some(0)).await?;
    quiet(server, &mut [&mut later]).await?;
    let heard = messages(&mut later);
    let wanted = usize::from(cell.text == "O");
    match heard.len() == wanted {
        true => Ok(()),
        false => Err(later
            .broken(&format!("{wanted} kept messages expected, heard {heard:?}"))
            .to_string()),
    }
}

async fn settle_all(
    server: &dyn Server,
    alice: &mut Client,
    bobs: &mut [(&str, i8, Client)],
) -> Result<(), String> {
    let mut clients: Vec<&mut Client> = vec![alice];
    clients.extend(bobs.iter_mut().map(|(_, _, bob)| bob));
    quiet(server, &mut clients).await
}

/// The messages a client has heard; other stanzas are forgotten.
fn messages(client: &mut Client) -> Vec<Element> {
    let mut found = Vec::new();
    while let Some(Heard::Element(element)) = client.heard_already() {
        if element.name == "message" {
            found.push(element);
        }
    }
    found
}

/// Which way a subscription stanza goes, seen from Alice whose state is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Alice says it.
    Outbound,
    /// Alice's server receives it from Bob.
    Inbound,
}

/// Plays one cell of a subscription table.
///
/// # Errors
///
/// What went differently, with the place of the cell.
pub async fn subscription(
    cell: &Cell,
    direction: Direction,
    troupe: &dyn Troupe,
) -> Result<End, String> {
    let played = with_server(troupe, async |server| {
        subscribe(cell, direction, server).await
    })
    .await;
    played.map_err(|why| {
        format!(
            "{}: {direction:?} {} in state {}: {why}",
            cell.place, cell.column, cell.row
        )
    })
}

/// What leads Alice from `N` to a state: who says what.
fn way_to(state: &str) -> Result<&'static [(&'static str, &'static str)], String> {
    Ok(match state {
        "N" => &[],
        "NO" => &[("alice", "subscribe")],
        "NI" => &[("bob", "subscribe")],
        "NOI" => &[("alice", "subscribe"), ("bob", "subscribe")],
        "T" => &[("alice", "subscribe"), ("bob", "subscribed")],
        "TI" => &[
            ("alice", "subscribe"),
            ("bob", "subscribed"),
            ("bob", "subscribe"),
        ],
        "F" => &[("bob", "subscribe"), ("alice", "subscribed")],
        "FO" => &[
            ("bob", "subscribe"),
            ("alice", "subscribed"),
            ("alice", "subscribe"),
        ],
        "B" => &[
            ("alice", "subscribe"),
            ("bob", "subscribed"),
            ("bob", "subscribe"),
            ("alice", "subscribed"),
        ],
        other => return Err(format!("no state is called {other:?}")),
    })
}

/// Two friends-to-be, and the server they are on.
struct Pair<'a> {
    server: &'a dyn Server,
    alice: Client,
    bob: Client,
}

impl Pair<'_> {
    async fn say(&mut self, who: &str, kind: &str) -> Result<(), String> {
        let (speaker, other) = match who {
            "alice" => (&mut self.alice, "bob@a.example"),
            _ => (&mut self.bob, "alice@a.example"),
        };
        let sent = speaker
            .send(&format!(
                "<presence type='{kind}' to='{other}' id='{kind}'/>"
            ))
            .await;
        sent.map_err(|broken| broken.to_string())?;
        quiet(self.server, &mut [&mut self.alice, &mut self.bob]).await
    }

    /// The state Alice's roster and her open requests show.
    async fn state(&mut self) -> Result<String, String> {
        let item = self.item().await?;
        let subscription = item
            .as_ref()
            .and_then(|item| item.attr("subscription"))
            .unwrap_or("none");
        let letter = match subscription {
            "none" => "N",
            "to" => "T",
            "from" => "F",
            "both" => "B",
            other => return Err(format!("no subscription is called {other:?}")),
        };
        let out = item
            .as_ref()
            .is_some_and(|item| item.attr("ask") == Some("subscribe"));
        let pending_in = self.request_is_open().await?;
        Ok(format!(
            "{letter}{}{}",
            if out { "O" } else { "" },
            if pending_in { "I" } else { "" }
        ))
    }

    async fn item(&mut self) -> Result<Option<Element>, String> {
        let roster = self
            .alice
            .fetch_roster()
            .await
            .map_err(|broken| broken.to_string())?;
        let query = roster
            .child("jabber:iq:roster", "query")
            .ok_or("no roster")?;
        let item = query
            .children()
            .find(|item| item.attr("jid") == Some("bob@a.example"));
        Ok(item.cloned())
    }

    /// Whether Bob's request is told to a session of Alice's that comes now (RFC 6121 §3.1.3).
    async fn request_is_open(&mut self) -> Result<bool, String> {
        let mut look = log_in(self.server, "alice", "look", Some(0)).await?;
        quiet(
            self.server,
            &mut [&mut look, &mut self.alice, &mut self.bob],
        )
        .await?;
        let mut open = false;
        while let Some(Heard::Element(element)) = look.heard_already() {
            open |= element.name == "presence" && element.attr("type") == Some("subscribe");
        }
        look.close().await.map_err(|broken| broken.to_string())?;
        let _ = until(async || look.is_over().then_some(())).await;
        quiet(self.server, &mut [&mut self.alice, &mut self.bob]).await?;
        Ok(open)
    }
}

/// Takes the stanzas of this kind that a client has heard; roster pushes and presence are forgotten.
fn subscription_stanzas(client: &mut Client, kind: &str) -> Vec<Element> {
    let mut found = Vec::new();
    while let Some(Heard::Element(element)) = client.heard_already() {
        if element.name == "presence" && element.attr("type") == Some(kind) {
            found.push(element);
        }
    }
    found
}

/// Whether a client has heard a roster push, and forgets the rest.
fn pushes(heard: &[Element]) -> usize {
    let push = |element: &&Element| {
        element.name == "iq"
            && element.attr("type") == Some("set")
            && element.child("jabber:iq:roster", "query").is_some()
    };
    heard.iter().filter(push).count()
}

async fn subscribe(cell: &Cell, direction: Direction, server: &dyn Server) -> Result<(), String> {
    let (route, next) = cell
        .text
        .split_once(' ')
        .ok_or("a cell is route and next state")?;
    let next = if next == "=" { cell.row.as_str() } else { next };
    register(server, "alice").await?;
    register(server, "bob").await?;
    let mut pair = Pair {
        server,
        alice: log_in(server, "alice", "desk", Some(0)).await?,
        bob: log_in(server, "bob", "phone", Some(0)).await?,
    };
    for (who, kind) in way_to(&cell.row)? {
        pair.say(who, kind).await?;
    }
    let before = pair.state().await?;
    if before != cell.row {
        return Err(pair
            .alice
            .broken(&format!("on the way to {} the state is {before}", cell.row))
            .to_string());
    }
    let item_before = pair.item().await?;
    let kind = cell.column.as_str();
    pair.alice.forget();
    pair.bob.forget();
    match direction {
        Direction::Outbound => pair.say("alice", kind).await?,
        Direction::Inbound => pair.say("bob", kind).await?,
    }
    let mut alice_heard = Vec::new();
    while let Some(Heard::Element(element)) = pair.alice.heard_already() {
        alice_heard.push(element);
    }
    let told: Vec<Element> = match direction {
        Direction::Outbound => subscription_stanzas(&mut pair.bob, kind),
        Direction::Inbound => alice_heard
            .iter()
            .filter(|element| element.name == "presence" && element.attr("type") == Some(kind))
            .cloned()
            .collect(),
    };
    let (from, to) = match direction {
        Direction::Outbound => ("alice@a.example", "bob@a.example"),
        Direction::Inbound => ("bob@a.example", "alice@a.example"),
    };
    let bare = |stanza: &Element| {
        stanza.attr("from") == Some(from) && stanza.attr("to").is_none_or(|heard| heard == to)
    };
    if let Some(stanza) = told.iter().find(|stanza| !bare(stanza)) {
        return Err(format!("from and to must be bare (RFC 6121 §3): {stanza}"));
    }
    let after = pair.state().await?;
    if after != next {
        return Err(pair
            .alice
            .broken(&format!("the state must become {next}, became {after}"))
            .to_string());
    }
    let item_after = pair.item().await?;
    let pushed = pushes(&alice_heard);
    if item_before != item_after && pushed == 0 {
        return Err(pair
            .alice
            .broken("the roster changed without a push")
            .to_string());
    }
    if item_before.is_none() && item_after.is_none() && pushed > 0 {
        return Err(pair
            .alice
            .broken("what is not in the roster was pushed")
            .to_string());
    }
    if direction == Direction::Inbound {
        // What Alice's server lets through to her is this table's own column.
        let wanted = usize::from(route == "+");
        if told.len() != wanted {
            return Err(pair
                .alice
                .broken(&format!(
                    "{wanted} × {kind} must reach Alice, {} did",
                    told.len()
                ))
                .to_string());
        }
    } else {
        let wanted = usize::from(route == "+" && shown(mirrored(&cell.row), kind));
        if told.len() != wanted {
            return Err(pair
                .bob
                .broken(&format!(
                    "{wanted} × {kind} must reach Bob, {} did",
                    told.len()
                ))
                .to_string());
        }
    }
    Ok(())
}

/// Bob's state when Alice's is this one: on one server both rosters agree.
fn mirrored(state: &str) -> &str {
    match state {
        "NO" => "NI",
        "NI" => "NO",
        "T" => "F",
        "F" => "T",
        "TI" => "FO",
        "FO" => "TI",
        same => same,
    }
}

/// Whether a user in this state is shown such a stanza (RFC 6121 Appendix A.3).
fn shown(state: &str, kind: &str) -> bool {
    match kind {
        "subscribe" => matches!(state, "N" | "NO" | "T"),
        "unsubscribe" => matches!(state, "NI" | "NOI" | "TI" | "F" | "FO" | "B"),
        "subscribed" => matches!(state, "NO" | "NOI" | "FO"),
        _ => matches!(state, "NO" | "NOI" | "T" | "TI" | "FO" | "B"),
    }
}
