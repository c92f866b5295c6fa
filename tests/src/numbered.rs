//! Numbered messages: people who talk while something breaks, and the account of what became of each message.
//!
//! A message is *accepted* once a later request of the same session was answered. Every accepted message arrives
//! exactly once, comes back as an error exactly once, or lies in the offline queue until its recipient logs in;
//! of one that was not accepted there may be nothing, but never two.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{Client, Heard, Login, unguessable};
use crate::deadline::{until_seen, within};
use crate::dom::{CLIENT_NS, Element, STREAM_NS};
use crate::stage::Server;

/// How many messages a talker says to each partner before it asks whether they were taken.
const BATCH: u64 = 3;

/// How many culprits a complaint names.
const NAMED: usize = 12;

/// What became of one message.
#[derive(Debug, Default, Clone)]
struct Fate {
    accepted: bool,
    heard: u32,
    bounced: u32,
}

/// What became of every message. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<String, Fate>>>);

impl Tally {
    /// Enters a message that is about to be said.
    pub fn said(&self, key: &str) {
        self.0.lock().entry(key.to_owned()).or_default();
    }

    /// Notes that these were accepted.
    pub fn accepted(&self, keys: &[String]) {
        let mut fates = self.0.lock();
        for key in keys {
            fates.entry(key.clone()).or_default().accepted = true;
        }
    }

    /// Notes a stanza that somebody heard, if it is one of ours.
    pub fn heard(&self, stanza: &Element) {
        if !stanza.is(CLIENT_NS, "message") {
            return;
        }
        let Some(id) = stanza.attr("id") else { return };
        if let Some(fate) = self.0.lock().get_mut(id) {
            match stanza.attr("type") {
                Some("error") => fate.bounced += 1,
                _ => fate.heard += 1,
            }
        }
    }

    /// Accepted messages of which nothing was heard.
    pub fn missing(&self) -> Vec<String> {
        self.such(|fate| fate.accepted && fate.heard + fate.bounced == 0)
    }

    /// Messages that came more than once, or came and were bounced as well.
    pub fn doubled(&self) -> Vec<String> {
        self.such(|fate| fate.heard + fate.bounced > 1)
    }

    fn such(&self, is_such: impl Fn(&Fate) -> bool) -> Vec<String> {
        let fates = self.0.lock();
        let those = fates.iter().filter(|(_, fate)| is_such(fate));
        those
            .map(|(key, fate)| format!("{key} ({} heard, {} bounced)", fate.heard, fate.bounced))
            .collect()
    }

    /// How many were said, accepted, heard, bounced.
    pub fn counts(&self) -> Counts {
        let fates = self.0.lock();
        let mut counts = Counts {
            said: fates.len(),
            ..Counts::default()
        };
        for fate in fates.values() {
            counts.accepted += usize::from(fate.accepted);
            counts.heard += fate.heard as usize;
            counts.bounced += fate.bounced as usize;
        }
        counts
    }
}

/// Sums over a [`Tally`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Messages sent.
    pub said: usize,
    /// Of those, accepted.
    pub accepted: usize,
    /// Arrivals.
    pub heard: usize,
    /// Errors that came back.
    pub bounced: usize,
}

/// What a talker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Talks, asks whether it was taken, talks on.
    Talk,
    /// Asks once whether all was taken, then only listens.
    Listen,
    /// Drops its connection without a goodbye, then talks on.
    Vanish,
    /// Closes its stream and is gone.
    Leave,
}

/// How far a talker is.
#[derive(Debug, Default, Clone, Copy)]
pub struct Progress {
    /// Rounds of messages that were accepted.
    pub rounds: u64,
    /// How often it logged in.
    pub logins: u64,
    /// How often a server said goodbye with `system-shutdown`.
    pub shutdowns: u64,
    /// Its session is lost, and it does not log in again.
    pub over: bool,
    /// The last order it has carried out.
    done: u64,
}

/// Somebody who talks to others, logs in again whenever the connection is lost, and notes what it hears.
pub struct Talker {
    name: String,
    orders: watch::Sender<(u64, Doing)>,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Talker {
    /// Logs in and listens. `to` are the addresses it will talk to.
    ///
    /// # Errors
    ///
    /// A sentence when it cannot log in.
    pub async fn enter(
        server: Arc<dyn Server>,
        login: Login,
        to: &[&str],
        tally: &Tally,
    ) -> Result<Talker, String> {
        Talker::begin(server, login, to, tally, false).await
    }

    /// As [`Talker::enter`], but once its session is lost it hears what had arrived and is done.
    ///
    /// # Errors
    ///
    /// A sentence when it cannot log in.
    pub async fn enter_once(
        server: Arc<dyn Server>,
        login: Login,
        to: &[&str],
        tally: &Tally,
    ) -> Result<Talker, String> {
        Talker::begin(server, login, to, tally, true).await
    }

    /// As [`Talker::enter_once`]; the messages bear `name` instead of the user's, which tells apart those that one
    /// user says on several servers after one another.
    ///
    /// # Errors
    ///
    /// A sentence when it cannot log in.
    pub async fn enter_once_as(
        server: Arc<dyn Server>,
        login: Login,
        name: &str,
        to: &[&str],
        tally: &Tally,
    ) -> Result<Talker, String> {
        Talker::begin_as(server, login, name, to, tally, true).await
    }

    async fn begin(
        server: Arc<dyn Server>,
        login: Login,
        to: &[&str],
        tally: &Tally,
        once: bool,
    ) -> Result<Talker, String> {
        let name = login.user.clone();
        Talker::begin_as(server, login, &name, to, tally, once).await
    }

    async fn begin_as(
        server: Arc<dyn Server>,
        login: Login,
        name: &str,
        to: &[&str],
        tally: &Tally,
        once: bool,
    ) -> Result<Talker, String> {
        let (orders, ordered) = watch::channel((0, Doing::Listen));
        let (progress, seen) = watch::channel(Progress::default());
        let mut life = Life {
            server,
            login,
            name: name.to_owned(),
            to: to.iter().map(|address| (*address).to_owned()).collect(),
            tally: tally.clone(),
            said: 0,
            client: None,
            progress,
            once,
        };
        life.log_in().await?;
        let failure: Arc<Mutex<Option<String>>> = Arc::default();
        let task = tokio::spawn({
            let failure = Arc::clone(&failure);
            async move {
                if let Err(why) = life.live(ordered).await {
                    *failure.lock() = Some(why);
                }
            }
        });
        Ok(Talker {
            name: name.to_owned(),
            orders,
            progress: seen,
            task,
            failure,
        })
    }

    /// Begins to talk.
    pub fn talk(&self) {
        self.order(Doing::Talk);
    }

    /// Drops the connection without a goodbye; the talk goes on.
    ///
    /// # Errors
    ///
    /// As [`Talker::rounds_more`].
    pub async fn vanish(&self) -> Result<(), String> {
        let order = self.order(Doing::Vanish);
        self.until(|progress| progress.done >= order).await
    }

    /// Stops talking, and waits until all it said was accepted or its session was lost. It listens on.
    ///
    /// # Errors
    ///
    /// As [`Talker::rounds_more`].
    pub async fn hush(&self) -> Result<(), String> {
        let order = self.order(Doing::Listen);
        self.until(|progress| progress.done >= order).await
    }

    /// Closes the stream.
    ///
    /// # Errors
    ///
    /// As [`Talker::rounds_more`].
    pub async fn leave(&self) -> Result<(), String> {
        let order = self.order(Doing::Leave);
        self.until(|progress| progress.done >= order).await
    }

    /// Waits for `more` rounds that were accepted.
    ///
    /// # Errors
    ///
    /// A sentence when it fails or takes too long.
    pub async fn rounds_more(&self, more: u64) -> Result<(), String> {
        let goal = self.progress().rounds + more;
        self.until(|progress| progress.rounds >= goal).await
    }

    /// Waits until it has logged in so often.
    ///
    /// # Errors
    ///
    /// As [`Talker::rounds_more`].
    pub async fn logged_in(&self, times: u64) -> Result<(), String> {
        self.until(|progress| progress.logins >= times).await
    }

    /// Waits until its session is lost, for one that does not log in again.
    ///
    /// # Errors
    ///
    /// As [`Talker::rounds_more`].
    pub async fn over(&self) -> Result<(), String> {
        self.until(|progress| progress.over).await
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    fn order(&self, doing: Doing) -> u64 {
        let mut number = 0;
        self.orders.send_modify(|order| {
            *order = (order.0 + 1, doing);
            number = order.0;
        });
        number
    }

    async fn until(&self, mut reached: impl FnMut(&Progress) -> bool) -> Result<(), String> {
        let mut progress = self.progress.clone();
        let complaint = |why: &str| {
            let now = self.progress();
            let own = self.failure.lock().clone().unwrap_or_default();
            format!(
                "{}: {why} at round {} ({} logins) {own}",
                self.name, now.rounds, now.logins
            )
        };
        match within(progress.wait_for(|now| reached(now))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(complaint("gave up")),
            Err(_) => Err(complaint("made no progress in time")),
        }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The talker's own side.
struct Life {
    server: Arc<dyn Server>,
    login: Login,
    name: String,
    to: Vec<String>,
    tally: Tally,
    said: u64,
    client: Option<Client>,
    progress: watch::Sender<Progress>,
    once: bool,
}

impl Life {
    async fn live(&mut self, mut orders: watch::Receiver<(u64, Doing)>) -> Result<(), String> {
        loop {
            if self.client.is_none() {
                if self.once {
                    self.progress.send_modify(|progress| progress.over = true);
                    return Ok(());
                }
                self.log_in().await?;
            }
            let (number, doing) = *orders.borrow_and_update();
            let is_new = self.progress.borrow().done < number;
            match doing {
                Doing::Talk => self.round(true).await?,
                Doing::Vanish if is_new => {
                    if let Some(client) = self.client.take() {
                        client.vanish().await;
                    }
                }
                Doing::Vanish => self.round(true).await?,
                Doing::Listen if is_new => self.round(false).await?,
                Doing::Listen => self.listen(&mut orders).await,
                Doing::Leave => {
                    if let Some(client) = &mut self.client {
                        client.close().await.map_err(|broken| broken.to_string())?;
                    }
                    self.progress.send_modify(|progress| progress.done = number);
                    return Ok(());
                }
            }
            self.progress.send_modify(|progress| progress.done = number);
        }
    }

    /// A login may be refused while the server mends itself; it is tried until it succeeds.
    async fn log_in(&mut self) -> Result<(), String> {
        let mut last = String::new();
        let connected = within(async {
            loop {
                match Client::connect(self.server.as_ref(), &self.login).await {
                    Ok(client) => return client,
                    Err(broken) => last = broken.to_string(),
                }
                tokio::task::yield_now().await;
            }
        });
        let connected = connected.await;
        let mut client =
            connected.map_err(|_| format!("{} cannot log in: {last}", self.login.user))?;
        if client.become_available(0).await.is_ok() {
            self.client = Some(client);
            self.progress.send_modify(|progress| progress.logins += 1);
        }
        Ok(())
    }

    /// Says a few messages, if it is to, and asks whether they were taken. A session that is lost takes nothing.
    async fn round(&mut self, talk: bool) -> Result<(), String> {
        let mut text = String::new();
        let mut keys = Vec::new();
        if talk {
            for to in &self.to {
                for _ in 0..BATCH {
                    self.said += 1;
                    let key = format!("{}>{to}#{}", self.name, self.said).replace('>', "-to-");
                    write!(
                        text,
                        "<message type='chat' to='{to}' id='{key}'><body>{key}</body></message>"
                    )
                    .expect("a String takes everything");
                    self.tally.said(&key);
                    keys.push(key);
                }
            }
        }
        let id = format!("taken-{}", unguessable());
        let host = &self.login.host;
        write!(
            text,
            "<iq type='get' id='{id}' to='{host}'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        .expect("a String takes everything");
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        // A connection that takes no more may still hold what had arrived: it is heard below.
        let _ = client.send(&text).await;
        loop {
            match client.hear().await.map_err(|broken| broken.to_string())? {
                Heard::Element(element) if element.attr("id") == Some(&id) => break,
                Heard::Element(element) => note(&self.tally, &self.progress, &element),
                Heard::Over { .. } => {
                    self.client = None;
                    return Ok(());
                }
            }
        }
        self.tally.accepted(&keys);
        if talk {
            self.progress.send_modify(|progress| progress.rounds += 1);
        }
        Ok(())
    }

    async fn listen(&mut self, orders: &mut watch::Receiver<(u64, Doing)>) {
        let Some(client) = &mut self.client else {
            return;
        };
        tokio::select! {
            heard = client.hear() => match heard {
                Ok(Heard::Element(element)) => note(&self.tally, &self.progress, &element),
                Ok(Heard::Over { .. }) => self.client = None,
                // Silence is no fault in somebody who only listens.
                Err(_) => {}
            },
            _ = orders.changed() => {}
        }
    }
}

fn note(tally: &Tally, progress: &watch::Sender<Progress>, element: &Element) {
    let goodbye = element.is(STREAM_NS, "error")
        && element
            .child("urn:ietf:params:xml:ns:xmpp-streams", "system-shutdown")
            .is_some();
    if goodbye {
        progress.send_modify(|progress| progress.shutdowns += 1);
    }
    tally.heard(element);
}

/// Waits until everything accepted has met its end, then makes sure that nothing came twice.
///
/// # Errors
///
/// Names what is missing or doubled.
pub async fn settle_accounts(
    server: &dyn Server,
    talkers: &[&Talker],
    tally: &Tally,
) -> Result<(), String> {
    if until_seen(|| tally.missing().is_empty().then_some(()))
        .await
        .is_err()
    {
        return Err(complaint("accepted and lost", &tally.missing(), tally));
    }
    // What is still on its way could only be a double: let it arrive.
    server.settle().await;
    for talker in talkers {
        talker.hush().await?;
    }
    let doubled = tally.doubled();
    match doubled.is_empty() {
        true => Ok(()),
        false => Err(complaint("came twice", &doubled, tally)),
    }
}

fn complaint(what: &str, keys: &[String], tally: &Tally) -> String {
    let some: BTreeSet<&String> = keys.iter().take(NAMED).collect();
    format!(
        "{} messages {what}, such as {some:?}; in all {:?}",
        keys.len(),
        tally.counts()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(tally: &Tally, text: &str) {
        tally.heard(&Element::parse(text).expect("XML"));
    }

    #[test]
    fn a_tally_tells_lost_from_bounced_and_doubled() {
        let tally = Tally::default();
        for key in ["a", "b", "c", "d", "e"] {
            tally.said(key);
        }
        tally.accepted(&["a", "b", "c", "d"].map(str::to_owned));
        hear(&tally, "<message xmlns='jabber:client' id='a'/>");
        hear(
            &tally,
            "<message xmlns='jabber:client' id='b' type='error'/>",
        );
        hear(&tally, "<message xmlns='jabber:client' id='c'/>");
        hear(
            &tally,
            "<message xmlns='jabber:client' id='c' type='error'/>",
        );
        assert_eq!(tally.missing(), ["d (0 heard, 0 bounced)"]);
        assert_eq!(tally.doubled(), ["c (1 heard, 1 bounced)"]);
        assert_eq!(
            tally.counts(),
            Counts {
                said: 5,
                accepted: 4,
                heard: 2,
                bounced: 2
            }
        );
    }
}
