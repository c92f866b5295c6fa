//! Loops: long polling, server-sent events, time-outs, ends; and a handler type of one's own.

use std::time::Duration;

use crate::stage::{Stage, any, body, status};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use httpd::{
    Error, Event, Handler, HandlerType, Loop, LoopInfo, Mailbox, Next, NotSent, Outcome, Path,
    Reason, Request, Sender,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// What happens in a loop, for the test to see.
#[derive(Debug)]
enum Seen {
    Began(Sender<&'static str>),
    Timeout,
    Draining,
    Ended(Reason),
}

#[derive(Clone)]
struct Poll {
    seen: mpsc::UnboundedSender<Seen>,
    first: Next,
    events: bool,
}

impl Handler for Poll {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(Outcome::looping(self.clone()))
    }

    fn terminate(&mut self, _reason: &Reason, _req: &Request) {
        panic!("it is the loop that is told");
    }
}

impl Loop for Poll {
    type Info = &'static str;

    async fn start(
        &mut self,
        mailbox: &Mailbox<&'static str>,
        req: &mut Request,
    ) -> Result<Next, Error> {
        if self.events {
            req.stream(200, [("content-type", "text/event-stream")])?;
        }
        let _ = self.seen.send(Seen::Began(mailbox.sender()));
        Ok(self.first)
    }

    async fn info(
        &mut self,
        info: LoopInfo<&'static str>,
        req: &mut Request,
    ) -> Result<Next, Error> {
        match info {
            LoopInfo::Message("fall") => panic!("fell"),
            LoopInfo::Message("fail") => Err(Error::bad_request("no")),
            LoopInfo::Message("end") => Ok(Next::Stop),
            LoopInfo::Message("go") => Ok(Next::Go),
            LoopInfo::Message("later") => Ok(Next::Timeout(Duration::from_secs(60))),
            LoopInfo::Message(text) if self.events => {
                req.send_event(&Event::data(text)).await?;
                Ok(Next::Hibernate)
            }
            LoopInfo::Message(text) => {
                req.reply_text(200, text)?;
                Ok(Next::Stop)
            }
            LoopInfo::Timeout => {
                let _ = self.seen.send(Seen::Timeout);
                Ok(Next::Go)
            }
            LoopInfo::Draining => {
                let _ = self.seen.send(Seen::Draining);
                Ok(Next::Go)
            }
        }
    }

    fn terminate(&mut self, reason: &Reason, _req: &Request) {
        let _ = self.seen.send(Seen::Ended(reason.clone()));
    }
}

async fn stage(first: Next, events: bool) -> (Stage, mpsc::UnboundedReceiver<Seen>) {
    let (seen, heard) = mpsc::unbounded_channel();
    let stage = Stage::new(any(vec![Path::to(
        "/",
        Poll {
            seen,
            first,
            events,
        },
    )]))
    .await;
    (stage, heard)
}

async fn began(seen: &mut mpsc::UnboundedReceiver<Seen>) -> Sender<&'static str> {
    match seen.recv().await {
        Some(Seen::Began(sender)) => sender,
        other => panic!("{other:?}"),
    }
}

async fn ended(seen: &mut mpsc::UnboundedReceiver<Seen>) -> Reason {
    match seen.recv().await {
        Some(Seen::Ended(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_long_poll_is_answered_by_a_message() {
    let (stage, mut seen) = stage(Next::Go, false).await;
    let mut client = stage.connect().await;
    for text in ["one", "two"] {
        client.say(GET).await;
        let sender = began(&mut seen).await;
        sender.send(text).expect("taken");
        assert_eq!(body(&client.reply().await), text);
        assert_eq!(ended(&mut seen).await, Reason::Stop);
        sender.ended().await;
        assert_eq!(sender.send("late"), Err(NotSent::Ended("late")));
    }
}

#[tokio::test]
async fn an_unanswered_loop_is_204_and_its_ends_are_told_once() {
    let (stage, mut seen) = stage(Next::Go, false).await;
    let mut client = stage.connect().await;
    for (message, code, reason) in [
        ("end", 204, Reason::Stop),
        ("fail", 400, Reason::Error(Error::bad_request("no"))),
        ("fall", 500, Reason::Panic("fell".into())),
    ] {
        client.say(GET).await;
        began(&mut seen).await.send(message).expect("taken");
        assert_eq!(status(&client.reply().await), code);
        assert_eq!(ended(&mut seen).await, reason);
    }
    client.say(GET).await;
    let sender = began(&mut seen).await;
    client.io.shutdown().await.expect("shut");
    assert_eq!(ended(&mut seen).await, Reason::Disconnected);
    assert!(sender.has_ended() && seen.try_recv().is_err());
}

#[tokio::test]
async fn events_are_sent_as_they_come() {
    let (stage, mut seen) = stage(Next::Hibernate, true).await;
    let mut client = stage.connect().await;
    client.say(GET).await;
    let sender = began(&mut seen).await;
    let head = client.through("\r\n\r\n").await;
    assert!(
        head.contains("content-type: text/event-stream\r\n"),
        "{head}"
    );
    for text in ["one", "two"] {
        sender.send(text).expect("taken");
        client.through(&format!("data: {text}\n\n\r\n")).await;
    }
    sender.send("end").expect("taken");
    client.through("0\r\n\r\n").await;
    assert_eq!(ended(&mut seen).await, Reason::Stop);
    client.say(GET).await;
    began(&mut seen).await;
    client.through("\r\n\r\n").await;
    drop(client);
    assert_eq!(ended(&mut seen).await, Reason::Disconnected);
}

#[tokio::test]
async fn a_time_out_comes_again_and_again_and_a_message_puts_it_off() {
    let (stage, mut seen) = stage(Next::Timeout(Duration::from_secs(10)), true).await;
    let mut client = stage.connect().await;
    client.say(GET).await;
    let sender = began(&mut seen).await;
    for _ in 0..3 {
        let (timeout, after) = stage.until(seen.recv()).await;
        assert!(matches!(timeout, Some(Seen::Timeout)), "{timeout:?}");
        assert!(after >= Duration::from_secs(9), "{after:?}");
    }
    // Hibernating takes the time-out away.
    sender.send("x").expect("taken");
    client.through("data: x\n\n").await;
    stage.hand.advance(Duration::from_secs(100)).await;
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_message_puts_a_time_out_off_and_may_set_another() {
    let (stage, mut seen) = stage(Next::Timeout(Duration::from_secs(10)), true).await;
    let mut client = stage.connect().await;
    client.say(GET).await;
    let sender = began(&mut seen).await;
    client.through("\r\n\r\n").await;
    for (message, after) in [("go", 10), ("later", 60), ("go", 60)] {
        let (timeout, _) = stage.until(seen.recv()).await;
        assert!(matches!(timeout, Some(Seen::Timeout)), "{timeout:?}");
        // Most of the time passes; then the message begins it anew.
        let most = Duration::from_secs(if message == "later" { 9 } else { after - 1 });
        stage.hand.advance(most).await;
        assert!(seen.try_recv().is_err(), "{message}");
        sender.send(message).expect("taken");
        stage
            .hand
            .advance(Duration::from_secs(after) - Duration::from_millis(500))
            .await;
        assert!(seen.try_recv().is_err(), "{message}");
        let (timeout, _) = stage.until(seen.recv()).await;
        assert!(matches!(timeout, Some(Seen::Timeout)), "{timeout:?}");
    }
    sender.send("end").expect("taken");
    client.through("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_loop_need_not_read_the_body() {
    let (stage, mut seen) = stage(Next::Go, false).await;
    let mut client = stage.connect().await;
    for body_of in [
        "Content-Length: 5\r\n\r\nGET /",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n",
    ] {
        client
            .say(format!("POST / HTTP/1.1\r\nHost: a\r\n{body_of}"))
            .await;
        began(&mut seen).await.send("answer").expect("taken");
        let reply = client.reply().await;
        assert_eq!((status(&reply), body(&reply)), (200, "answer"));
        assert_eq!(ended(&mut seen).await, Reason::Stop);
    }
}

#[tokio::test]
async fn a_mailbox_has_an_end() {
    let (stage, mut seen) = stage(Next::Go, true).await;
    let mut client = stage.connect().await;
    client.say(GET).await;
    let sender = began(&mut seen).await;
    let long: &'static str = Box::leak("x".repeat(100_000).into_boxed_str());
    let mut taken = 0;
    // The peer does not read, so the loop stands in its send, and what is said to it waits.
    let refused = loop {
        match sender.send(long) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused, NotSent::Full(long));
    assert!(taken >= httpd::MAILBOX_MESSAGES, "{taken}");
}

#[tokio::test]
async fn a_stop_is_told_to_loops() {
    let (stage, mut seen) = stage(Next::Go, false).await;
    let mut client = stage.connect().await;
    client.say(GET).await;
    let sender = began(&mut seen).await;
    let app = stage.app.clone();
    let stopping = tokio::spawn(async move { app.stop(Duration::from_secs(60)).await });
    assert!(matches!(seen.recv().await, Some(Seen::Draining)));
    sender.send("bye").expect("taken");
    let reply = client.rest().await;
    assert_eq!(body(&reply), "bye", "{reply}");
    stopping.await.expect("no panic").expect("in time");
    assert_eq!(ended(&mut seen).await, Reason::Stop);
}

/// A handler type of somebody else: says what it is given, backwards.
#[derive(Clone)]
struct Backwards(mpsc::UnboundedSender<Reason>);

impl Handler for Backwards {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(Outcome::switch(self.clone()))
    }
}

impl HandlerType for Backwards {
    fn upgrade<'a>(&'a mut self, req: &'a mut Request) -> BoxFuture<'a, Result<Reason, Error>> {
        async move {
            let mut body = req.body(100).await?.to_vec();
            assert!(!body.is_empty(), "nothing to turn");
            body.reverse();
            req.reply(200, (), body)?;
            Ok(Reason::Normal)
        }
        .boxed()
    }

    fn terminate(&mut self, reason: &Reason, _req: &Request) {
        let _ = self.0.send(reason.clone());
    }
}

#[tokio::test]
async fn a_type_of_ones_own_is_switched_to_and_told_of_its_end() {
    let (ends, mut heard) = mpsc::unbounded_channel();
    let stage = Stage::new(any(vec![Path::to("/", Backwards(ends))])).await;
    let reply = stage
        .talk("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
        .await;
    assert_eq!(body(&reply), "cba");
    assert_eq!(heard.recv().await, Some(Reason::Normal));
    assert_eq!(status(&stage.get("/").await), 500);
    let fell = Reason::Panic("nothing to turn".into());
    assert_eq!(heard.recv().await, Some(fell));
    let mut client = stage.connect().await;
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n")
        .await;
    let reply = client.reply().await;
    assert_eq!(status(&reply), 413);
    assert!(matches!(heard.recv().await, Some(Reason::Error(_))));
    // A peer that goes while its body is awaited: the body breaks, or the request with it.
    let mut client = stage.connect().await;
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        .await;
    drop(client);
    assert!(matches!(
        heard.recv().await,
        Some(Reason::Disconnected | Reason::Error(_))
    ));
    assert!(heard.try_recv().is_err(), "each end is told once");
}
