//! The offline race: one sender, and a recipient who comes and goes at random. Each message arrives exactly once
//! and in order, live or out of the offline queue.
//!
//! The recipient leaves by closing its stream, and reads all that comes until the server has closed too. What is
//! lost in a socket that nobody reads any more is no part of this.

use std::sync::Arc;

use tests::client::{Client, Heard, Login, password_of};
use tests::dom::{CLIENT_NS, Element, STREAM_NS};
use tests::house::House;
use tests::stage::Server;
use tests::wire::Broken;

/// How many messages are sent.
const MESSAGES: u64 = 10_000;

/// How many are sent before the sender asks whether they were taken.
const BATCH: u64 = 20;

/// The most that are heard before the recipient does something else.
const PATIENCE: u64 = 150;

/// The recipient of the messages and of all that is random.
struct Recipient {
    house: Arc<House>,
    dice: u64,
    heard: u64,
    logins: u64,
    hushes: u64,
}

/// Sends, comes and goes until all were heard.
pub async fn offline() -> Result<(), String> {
    let house = Arc::new(House::start("[modules.mod_offline]\nmax_messages = 1000000\n").await?);
    for user in ["alice", "bob"] {
        house
            .register(&format!("{user}@localhost"), &password_of(user))
            .await?;
    }
    let seed = u64::from_str_radix(&tests::client::unguessable()[..15], 16)
        .expect("hexadecimal digits")
        | 1;
    let mut recipient = Recipient {
        house: Arc::clone(&house),
        dice: seed,
        heard: 0,
        logins: 0,
        hushes: 0,
    };
    let sending = tokio::spawn(send(Arc::clone(&house)));
    let outcome = recipient.come_and_go().await;
    if let Err(why) = outcome {
        // What is out of its place may have gone back to its sender.
        let sender = tests::deadline::within(sending).await;
        let logins = recipient.logins;
        return Err(format!(
            "seed {seed}, {logins} logins: {why}; the sender: {sender:?}"
        ));
    }
    sending.await.map_err(|error| error.to_string())??;
    if recipient.logins < 10 || recipient.hushes < 10 {
        return Err("the recipient hardly moved".to_owned());
    }
    match tests::deadline::within(house.server().stop()).await {
        Ok(Ok(())) => Ok(()),
        _ => Err("the server did not stop in order".to_owned()),
    }
}

async fn send(house: Arc<House>) -> Result<(), String> {
    let say = |broken: Broken| broken.to_string();
    let mut alice = Client::connect(&*house, &Login::new("alice", "localhost", "desk"))
        .await
        .map_err(say)?;
    let mut next = 1;
    while next <= MESSAGES {
        let last = MESSAGES.min(next + BATCH - 1);
        let batch: String = (next..=last)
            .map(|number| format!("<message type='chat' to='bob@localhost' id='{number}'><body>{number}</body></message>"))
            .collect();
        alice.send(&batch).await.map_err(say)?;
        alice.round_trip().await.map_err(say)?;
        next = last + 1;
    }
    match alice.heard_already() {
        None => Ok(()),
        Some(heard) => Err(format!("the sender hears {heard:?}")),
    }
}

impl Recipient {
    async fn come_and_go(&mut self) -> Result<(), String> {
        let say = |broken: Broken| broken.to_string();
        while self.heard < MESSAGES {
            self.logins += 1;
            let login = Login::new("bob", "localhost", "phone");
            let mut client = Client::connect(&*self.house, &login).await.map_err(say)?;
            client.become_available(0).await.map_err(say)?;
            while self.heard < MESSAGES {
                self.listen(&mut client).await?;
                if self.throw(3) == 0 {
                    break;
                }
                self.hushes += 1;
                client
                    .send("<presence type='unavailable'/>")
                    .await
                    .map_err(say)?;
                // What was on its way arrives; the rest is stored.
                for _ in 0..self.throw(3) {
                    client.round_trip().await.map_err(say)?;
                }
                self.take_what_is_there(&mut client)?;
                client.become_available(0).await.map_err(say)?;
            }
            client.close().await.map_err(say)?;
            self.take_what_is_there(&mut client)?;
        }
        Ok(())
    }

    /// Hears a random number of messages.
    async fn listen(&mut self, client: &mut Client) -> Result<(), String> {
        let enough = MESSAGES.min(self.heard + self.throw(PATIENCE));
        while self.heard < enough {
            match client.hear().await.map_err(|broken| broken.to_string())? {
                Heard::Element(element) => self.take(&element)?,
                over @ Heard::Over { .. } => return Err(format!("the stream is over: {over:?}")),
            }
        }
        Ok(())
    }

    fn take_what_is_there(&mut self, client: &mut Client) -> Result<(), String> {
        while let Some(Heard::Element(element)) = client.heard_already() {
            self.take(&element)?;
        }
        Ok(())
    }

    fn take(&mut self, element: &Element) -> Result<(), String> {
        if element.is(STREAM_NS, "error") {
            return Err(format!("after {} messages: {element}", self.heard));
        }
        if !element.is(CLIENT_NS, "message") {
            return Ok(());
        }
        let number = element.attr("id").and_then(|id| id.parse::<u64>().ok());
        self.heard += 1;
        if number == Some(self.heard) {
            Ok(())
        } else {
            Err(format!("not number {}: {element}", self.heard))
        }
    }

    /// A random number below `sides` (xorshift; its seed is told when the test fails).
    fn throw(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }
}
