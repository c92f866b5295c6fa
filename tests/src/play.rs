//! Scenarios, performed.

use std::collections::BTreeMap;

use crate::client::{Client, Heard};
use crate::deadline::until;
use crate::dom::Element;
use crate::pattern::{Bindings, compare, fill, first_bindings, fits_line};
use crate::script::{Act, At, Given, Manner, Role, Script};
use crate::stage::{Asked, Door, Failure, Server, Troupe, Unable};
use crate::wire::Broken;

/// How a play ended, when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything happened as written.
    Played,
    /// The server cannot be asked for something the script needs.
    Skipped(String),
}

/// Why an act could not be played as written.
enum Stop {
    Failed(String),
    Unable(&'static str),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Stop {
        Stop::Failed(broken.to_string())
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Stop {
        Stop::Failed(why)
    }
}

impl From<Unable> for Stop {
    fn from(unable: Unable) -> Stop {
        Stop::Unable(unable.0)
    }
}

/// Performs `script` on a server of its own.
///
/// # Errors
///
/// What went differently, with file, line and transcript.
pub async fn perform(script: &Script, troupe: &dyn Troupe) -> Result<End, String> {
    let server = match troupe
        .start(&script.configuration, script.needs_http())
        .await
    {
        Ok(server) => server,
        Err(Failure::Unable(why)) => return Ok(End::Skipped(why.to_owned())),
        Err(Failure::Failed(why)) => return Err(format!("{}: no server: {why}", script.file)),
    };
    let mut stage = Stage {
        server: server.as_ref(),
        players: BTreeMap::new(),
        bindings: first_bindings(),
        printed: String::new(),
    };
    let outcome = stage.play(script).await;
    stage.leave().await;
    drop(stage);
    server.stop().await;
    match outcome {
        Ok(()) => Ok(End::Played),
        Err((_, Stop::Unable(why))) => Ok(End::Skipped(why.to_owned())),
        Err((line, Stop::Failed(why))) => Err(format!("{}:{line}: {why}", script.file)),
    }
}

/// A player with its connection, if it has one.
struct Player {
    role: Role,
    client: Option<Client>,
    /// Nobody logged in to its stream: it cannot be asked whether it heard everything.
    stranger: bool,
    ignores: Vec<Element>,
}

/// The stage while a play is on.
struct Stage<'a> {
    server: &'a dyn Server,
    players: BTreeMap<String, Player>,
    bindings: Bindings,
    printed: String,
}

impl Stage<'_> {
    async fn play(&mut self, script: &Script) -> Result<(), (usize, Stop)> {
        self.prepare(script).await.map_err(|stop| (1, stop))?;
        for At { line, what } in &script.givens {
            self.given(what).await.map_err(|stop| (*line, stop))?;
        }
        self.enter(script).await.map_err(|stop| (1, stop))?;
        for At { line, what } in &script.acts {
            self.act(what).await.map_err(|stop| (*line, stop))?;
        }
        Ok(())
    }

    /// Those who came by BOSH say that they go: a server would wait for them, and its clock stands.
    async fn leave(&mut self) {
        let players = self.players.values_mut();
        for player in players.filter(|player| player.role.login.door == Door::Bosh) {
            if let Some(client) = player.client.as_mut().filter(|client| !client.is_over()) {
                // Who has gone already has gone.
                let _ = client.close().await;
            }
        }
    }

    /// Creates the accounts and binds the players' names.
    async fn prepare(&mut self, script: &Script) -> Result<(), Stop> {
        for role in &script.roles {
            let login = &role.login;
            let bare = format!("{}@{}", login.user, login.host);
            let known = self.players.values().any(|player| {
                player.role.login.user == login.user && player.role.login.host == login.host
            });
            if !known && !role.manner.stranger {
                self.server.register(&bare, &login.password).await?;
            }
            if let Some(resource) = &login.resource {
                self.bindings
                    .insert(role.name.clone(), format!("{bare}/{resource}"));
            }
            self.bindings.insert(format!("{}.bare", role.name), bare);
            let player = Player {
                role: role.clone(),
                client: None,
                stranger: false,
                ignores: Vec::new(),
            };
            self.players.insert(role.name.clone(), player);
        }
        Ok(())
    }

    /// Logs the players in, and lets them forget what that made them hear.
    async fn enter(&mut self, script: &Script) -> Result<(), Stop> {
        for role in script.roles.iter().filter(|role| role.manner.present) {
            self.log_in(&role.name, role.manner).await?;
        }
        self.quiet().await?;
        for player in self.players.values_mut() {
            if let Some(client) = player.client.as_mut() {
                client.forget();
            }
        }
        if script
            .acts
            .iter()
            .any(|at| matches!(at.what, Act::TraceShows(_)))
        {
            // What the entrance left in the trace is no part of the play.
            self.server.trace().map_err(Stop::from)?;
        }
        Ok(())
    }

    async fn log_in(&mut self, name: &str, manner: Manner) -> Result<(), Stop> {
        let player = self.player(name)?;
        let login = player.role.login.clone();
        self.server.address(login.door)?;
        let mut client = if manner.stranger {
            Client::at_the_door(self.server, &login).await?
        } else {
            Client::connect(self.server, &login).await?
        };
        if manner.hears_itself {
            client.hear_own_presence();
        }
        if manner.interested {
            let roster = client.fetch_roster().await?;
            if roster.attr("type") != Some("result") {
                return Err(Stop::Failed(format!("{name}'s roster: {roster}")));
            }
        }
        if let Some(priority) = manner.priority {
            client.become_available(priority).await?;
        }
        self.bindings
            .insert(name.to_owned(), client.jid().to_owned());
        self.bindings
            .insert(format!("{name}.bare"), client.bare().to_owned());
        let player = self.player(name)?;
        player.client = Some(client);
        player.stranger = manner.stranger;
        Ok(())
    }

    fn player(&mut self, name: &str) -> Result<&mut Player, Stop> {
        self.players
            .get_mut(name)
            .ok_or_else(|| Stop::Failed(format!("nobody called {name} is on stage")))
    }

    fn client(&mut self, name: &str) -> Result<&mut Client, Stop> {
        let client = self.player(name)?.client.as_mut();
        client.ok_or_else(|| Stop::Failed(format!("{name} is not connected")))
    }

    /// Brings about what is given, by sessions of the stage's own that leave before the play begins.
    async fn given(&mut self, given: &Given) -> Result<(), Stop> {
        match given {
            Given::Strangers(..) => Ok(()),
            Given::Knows(one, other) => {
                let contact = self.bare(other)?;
                let mut hand = self.stagehand(one).await?;
                let item =
                    format!("<query xmlns=\"jabber:iq:roster\"><item jid=\"{contact}\"/></query>");
                hand.ask("set", None, &item).await?;
                hand.close().await?;
                Ok(())
            }
            Given::Sees(one, other) => self.subscribe(one, other).await,
            Given::Friends(one, other) => {
                self.subscribe(one, other).await?;
                self.subscribe(other, one).await
            }
        }
    }

    fn bare(&self, name: &str) -> Result<String, Stop> {
        let bare = self.bindings.get(&format!("{name}.bare"));
        bare.cloned()
            .ok_or_else(|| Stop::Failed(format!("nobody called {name} is on stage")))
    }

    /// A session that acts for a player before the play.
    async fn stagehand(&mut self, name: &str) -> Result<Client, Stop> {
        let mut login = self.player(name)?.role.login.clone();
        login.resource = Some("stagehand".into());
        let mut client = Client::connect(self.server, &login).await?;
        let roster = client.fetch_roster().await?;
        match roster.attr("type") {
            Some("result") => Ok(client),
            _ => Err(Stop::Failed(format!("{name}'s roster: {roster}"))),
        }
    }

    /// Lets `one` see the presence of `other`.
    async fn subscribe(&mut self, one: &str, other: &str) -> Result<(), Stop> {
        let (asker, asked) = (self.bare(one)?, self.bare(other)?);
        let mut asking = self.stagehand(one).await?;
        let mut granting = self.stagehand(other).await?;
        asking
            .send(&format!("<presence type=\"subscribe\" to=\"{asked}\"/>"))
            .await?;
        asking.round_trip().await?;
        self.server.settle().await;
        granting
            .send(&format!("<presence type=\"subscribed\" to=\"{asker}\"/>"))
            .await?;
        granting.round_trip().await?;
        self.server.settle().await;
        let seen = until(async || {
            let roster = asking.fetch_roster().await.ok()?;
            let query = roster.child("jabber:iq:roster", "query")?;
            let item = query
                .children()
                .find(|item| item.attr("jid") == Some(asked.as_str()))?;
            matches!(item.attr("subscription"), Some("to" | "both")).then_some(())
        })
        .await;
        if seen.is_err() {
            return Err(asking
                .broken(&format!("{asker} was never subscribed to {asked}"))
                .into());
        }
        asking.close().await?;
        granting.close().await?;
        Ok(())
    }

    async fn act(&mut self, act: &Act) -> Result<(), Stop> {
        match act {
            Act::Says(who, text) | Act::Sends(who, text) => {
                let filled = fill(text, &self.bindings)?;
                Ok(self.client(who)?.send(&filled).await?)
            }
            Act::Hears(who, patterns) => self.hears(who, patterns).await,
            Act::HearsInAnyOrder(who, patterns) => self.hears_in_any_order(who, patterns).await,
            Act::HearsNothing(who) => self.hears_nothing(who.as_deref()).await,
            Act::Ignores(who, pattern) => {
                self.player(who)?.ignores.push(pattern.clone());
                Ok(())
            }
            Act::Closes(who) => {
                self.client(who)?.close().await?;
                self.player(who)?.client = None;
                Ok(())
            }
            Act::Vanishes(who) => {
                let client = self.player(who)?.client.take();
                let client = client.ok_or_else(|| format!("{who} is not connected"))?;
                client.vanish().await;
                Ok(())
            }
            Act::IsClosed(who) => self.is_closed(who).await,
            Act::Reconnects(who, manner) => {
                let player = self.player(who)?;
                if player.client.is_some() {
                    return Err(Stop::Failed(format!("{who} is still connected")));
                }
                let manner = manner.unwrap_or(player.role.manner);
                self.log_in(who, manner).await
            }
            Act::Clock(by) => Ok(self.server.advance(*by).await?),
            Act::AdminRuns(words) => match self.command(words).await? {
                Asked::Output(output) => {
                    self.printed = output;
                    Ok(())
                }
                Asked::Refused(output) => {
                    Err(Stop::Failed(format!("the command failed: {output}")))
                }
            },
            Act::AdminFails(words) => match self.command(words).await? {
                Asked::Refused(output) => {
                    self.printed = output;
                    Ok(())
                }
                Asked::Output(output) => {
                    Err(Stop::Failed(format!("the command did not fail: {output}")))
                }
            },
            Act::AdminSees(lines) => {
                let printed: Vec<String> = self
                    .printed
                    .lines()
                    .map(|line| line.trim().to_owned())
                    .collect();
                in_order(lines, &printed, &self.bindings)
            }
            Act::TraceShows(lines) => {
                self.quiet().await?;
                let printed = self.server.trace()?;
                in_order(lines, &printed, &self.bindings)
            }
        }
    }

    async fn command(&mut self, words: &[String]) -> Result<Asked, Stop> {
        let filled: Result<Vec<String>, String> = words
            .iter()
            .map(|word| fill(word, &self.bindings))
            .collect();
        Ok(self.server.admin(filled?).await?)
    }

    /// What `who` hears next and does not ignore.
    async fn next(&mut self, who: &str) -> Result<Heard, Stop> {
        loop {
            let heard = self.client(who)?.hear().await?;
            if !self.ignored(who, &heard)? {
                return Ok(heard);
            }
        }
    }

    fn ignored(&mut self, who: &str, heard: &Heard) -> Result<bool, Stop> {
        let mut bindings = self.bindings.clone();
        let ignores = &self.player(who)?.ignores;
        Ok(match heard {
            Heard::Element(element) => ignores
                .iter()
                .any(|pattern| compare(pattern, element, &mut bindings).is_ok()),
            Heard::Over { .. } => false,
        })
    }

    async fn hears(&mut self, who: &str, patterns: &[Element]) -> Result<(), Stop> {
        for pattern in patterns {
            let heard = match self.next(who).await? {
                Heard::Element(element) => element,
                Heard::Over { .. } => {
                    return Err(
                        self.differs(who, &format!("the stream is over, expected {pattern}"))
                    );
                }
            };
            if let Err(difference) = compare(pattern, &heard, &mut self.bindings) {
                let why = format!("{difference}\n  expected {pattern}\n  heard    {heard}");
                return Err(self.differs(who, &why));
            }
        }
        Ok(())
    }

    async fn hears_in_any_order(&mut self, who: &str, patterns: &[Element]) -> Result<(), Stop> {
        let mut wanted: Vec<&Element> = patterns.iter().collect();
        while !wanted.is_empty() {
            let heard = match self.next(who).await? {
                Heard::Element(element) => element,
                Heard::Over { .. } => return Err(self.differs(who, "the stream is over")),
            };
            let mut differences = Vec::new();
            let fitting = wanted.iter().position(|pattern| {
                match compare(pattern, &heard, &mut self.bindings) {
                    Ok(()) => true,
                    Err(difference) => {
                        differences.push(format!("  not {pattern}: {difference}"));
                        false
                    }
                }
            });
            match fitting {
                Some(at) => drop(wanted.remove(at)),
                None => {
                    let why = format!("unexpected {heard}\n{}", differences.join("\n"));
                    return Err(self.differs(who, &why));
                }
            }
        }
        Ok(())
    }

    fn differs(&mut self, who: &str, why: &str) -> Stop {
        match self.client(who) {
            Ok(client) => client.broken(&format!("{who}: {why}")).into(),
            Err(stop) => stop,
        }
    }

    /// Goes to the server and back with everyone who is connected, so that what was said before has been
    /// processed and what it caused has arrived. Thrice, because what one process hands to another is behind
    /// the answer to the first round; where the server's mailboxes can be seen, they must be empty too.
    async fn quiet(&mut self) -> Result<(), Stop> {
        for _ in 0..3 {
            for player in self.players.values_mut() {
                match player.client.as_mut() {
                    Some(client) if !client.is_over() && !player.stranger => {
                        match client.round_trip().await {
                            Err(_) if client.is_over() => {}
                            other => other?,
                        }
                    }
                    _ => {}
                }
            }
            self.server.settle().await;
        }
        Ok(())
    }

    async fn hears_nothing(&mut self, who: Option<&str>) -> Result<(), Stop> {
        self.quiet().await?;
        let names: Vec<String> = match who {
            Some(name) => vec![name.to_owned()],
            None => self.players.keys().cloned().collect(),
        };
        for name in names {
            if self.player(&name)?.client.is_none() {
                continue;
            }
            while let Some(heard) = self.client(&name)?.heard_already() {
                if self.ignored(&name, &heard)? {
                    continue;
                }
                let why = match heard {
                    Heard::Element(element) => format!("expected nothing, heard {element}"),
                    Heard::Over { .. } => "expected nothing, but the stream is over".to_owned(),
                };
                return Err(self.differs(&name, &why));
            }
        }
        Ok(())
    }

    async fn is_closed(&mut self, who: &str) -> Result<(), Stop> {
        match self.next(who).await? {
            Heard::Over { closed: true } => {
                self.player(who)?.client = None;
                Ok(())
            }
            Heard::Over { closed: false } => {
                Err(self.differs(who, "the connection ended without </stream:stream>"))
            }
            Heard::Element(element) => {
                Err(self.differs(who, &format!("expected the end, heard {element}")))
            }
        }
    }
}

/// Whether each wanted line is among those printed, one after another; others may stand between.
fn in_order(wanted: &[String], printed: &[String], bindings: &Bindings) -> Result<(), Stop> {
    let mut rest = printed.iter();
    for line in wanted {
        let line = fill(line, bindings)?;
        if !rest.any(|candidate| fits_line(&format!("…{line}…"), candidate)) {
            return Err(Stop::Failed(format!(
                "missing, or not in this order: {line}\n  in:\n    {}",
                printed.join("\n    ")
            )));
        }
    }
    Ok(())
}
