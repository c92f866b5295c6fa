//! The IO task: credit, queue, ends, and parcels that are written or come back, exactly once.

use std::time::Duration;

use crate::common::*;
use bytes::Bytes;
use otp::{Clock, DeadLetterBox, Envelope};
use stream::{Detached, Framing, IoEvent, IoOptions, Outbound, Proceed, TlsPolicy, memory};
use tokio::io::AsyncWriteExt;
use xml::Limits;

fn parcel(number: u64, dead: &DeadLetterBox<u64>) -> (Envelope<u64>, Bytes) {
    let text = format!("<m n='{number}'/>");
    (Envelope::new(number, text.len(), dead), Bytes::from(text))
}

fn numbers_in(text: &str) -> Vec<u64> {
    let parts = text.split("<m n='").skip(1);
    let number = |part: &str| part.split_once("'/>").map(|(number, _)| number.parse());
    parts
        .filter_map(number)
        .map(|number| number.expect("a number"))
        .collect()
}

async fn element(server: &mut Server) -> (xml::Element, stream::Credit) {
    loop {
        match server.events.recv().await.expect("an element comes") {
            IoEvent::Element(element, credit) => return (element, credit),
            IoEvent::Open(_) => {}
            other => panic!("not an element: {other:?}"),
        }
    }
}

#[tokio::test]
async fn without_credit_nothing_is_read() {
    let (clock, hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 64 * 1024);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    say(&mut peer, &header("a.example")).await;
    say(&mut peer, &"<a/>".repeat(20)).await;
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(element(&mut server).await.1);
    }
    hand.advance(Duration::from_secs(1)).await;
    assert!(server.events.try_recv().is_err(), "a seventeenth was read");
    held.pop();
    held.push(element(&mut server).await.1);
    hand.advance(Duration::from_secs(1)).await;
    assert!(server.events.try_recv().is_err(), "credit was given twice");
    held.clear();
    for _ in 0..3 {
        element(&mut server).await;
    }
}

#[tokio::test]
async fn credit_counts_bytes_too() {
    let (clock, hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 1 << 20);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    say(&mut peer, &header("a.example")).await;
    let big = format!("<a>{}</a>", "x".repeat(40 * 1024));
    say(&mut peer, &big.repeat(3)).await;
    let first = element(&mut server).await;
    let _second = element(&mut server).await;
    hand.advance(Duration::from_secs(1)).await;
    assert!(server.events.try_recv().is_err(), "80 KiB are out");
    drop(first);
    element(&mut server).await;
}

#[tokio::test]
async fn one_frame_a_turn_before_the_flow() {
    let (clock, hand) = Clock::manual();
    let (mut server, mut peer) = in_memory(profile(TlsPolicy::Off, None), &clock);
    say(&mut peer, &(header("a.example") + "<a/><b/>")).await;
    let first = server.events.recv().await;
    assert!(matches!(first, Some(IoEvent::Open(_))));
    for expected in ["a", "b"] {
        hand.advance(Duration::from_secs(1)).await;
        assert!(server.events.try_recv().is_err(), "read without an order");
        server.io.proceed(Proceed::Next);
        assert_eq!(element(&mut server).await.0.name(), expected);
    }
}

#[tokio::test]
async fn a_close_writes_everything_first_and_lingers_two_seconds() {
    let (clock, hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 16);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    let dead = DeadLetterBox::new();
    for number in 0..100 {
        let (envelope, bytes) = parcel(number, &dead);
        assert!(server.io.offer(envelope, bytes).is_ok());
    }
    server
        .io
        .close(Some(xmpp::StreamCondition::SystemShutdown.into()));
    let (late, bytes) = parcel(100, &dead);
    let late = server.io.offer(late, bytes).expect_err("it is closing");
    assert_eq!(late.take(), 100);
    let read = read_all(&mut peer).await;
    assert_eq!(numbers_in(&read), (0..100).collect::<Vec<_>>());
    assert!(read.ends_with("</stream:error></stream:stream>"), "{read}");
    assert!(read.contains("<system-shutdown "), "{read}");
    // The peer keeps its half open and goes on talking: it is heard out for two seconds.
    say(&mut peer, "<never/>").await;
    assert!(matches!(server.events.recv().await, Some(IoEvent::Said)));
    hand.advance(Duration::from_millis(1999)).await;
    assert!(server.events.try_recv().is_err());
    hand.advance(Duration::from_millis(2)).await;
    let last = server.events.recv().await;
    assert!(matches!(last, Some(IoEvent::Detached(Detached::Closed))));
    assert!(server.io.drain().is_empty());
    assert!(dead.is_empty());
    for number in 0..100 {
        assert_eq!(server.written.recv().await, Some(number));
    }
}

#[tokio::test]
async fn who_sends_too_fast_is_read_later() {
    let (clock, hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 4096);
    let options = IoOptions {
        rate: Some(stream::Rate {
            bytes_per_second: 100,
            burst: 10,
        }),
        ..IoOptions::default()
    };
    let mut server = Server::flowing(transport, &clock, options);
    say(&mut peer, &header("a.example")).await;
    // Ten bytes each: the first is the burst, the second is owed.
    say(&mut peer, "<a>345</a><a>345</a><a>345</a>").await;
    drop(element(&mut server).await);
    drop(element(&mut server).await);
    hand.advance(Duration::from_millis(99)).await;
    assert!(server.events.try_recv().is_err());
    hand.advance(Duration::from_millis(21)).await;
    drop(element(&mut server).await);
    // What is written does not wait.
    server.io.close(None);
    assert!(read_all(&mut peer).await.ends_with("</stream:stream>"));
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_left_after_thirty_seconds() {
    let (clock, hand) = Clock::manual();
    let (transport, _peer) = memory(Framing::Client, Limits::default(), 25);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    let dead = DeadLetterBox::new();
    for number in 0..10 {
        let (envelope, bytes) = parcel(number, &dead);
        assert!(server.io.offer(envelope, bytes).is_ok());
    }
    hand.advance(Duration::from_millis(29_999)).await;
    assert!(server.events.try_recv().is_err());
    hand.advance(Duration::from_millis(2)).await;
    let last = server.events.recv().await;
    assert!(matches!(last, Some(IoEvent::Detached(Detached::Stalled))));
    // 25 bytes hold two elements of ten and a half of the third, which the peer cannot use.
    let back: Vec<u64> = server.io.drain().into_iter().map(Envelope::take).collect();
    assert_eq!(back, (2..10).collect::<Vec<_>>());
    assert!(dead.is_empty());
}

#[tokio::test]
async fn slow_reading_is_not_stalling() {
    let (clock, hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 8);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    server.io.push(Outbound::element(
        "<long>".to_owned() + &"x".repeat(90) + "</long>",
    ));
    for _ in 0..90 {
        hand.advance(Duration::from_secs(20)).await;
        read_until(&mut peer, "").await;
        let mut byte = [0];
        tokio::io::AsyncReadExt::read_exact(&mut peer, &mut byte)
            .await
            .expect("a byte");
        assert!(server.events.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_full_outbox_hands_the_parcel_back() {
    let (clock, _hand) = Clock::manual();
    let (transport, _peer) = memory(Framing::Client, Limits::default(), 1);
    let options = IoOptions {
        outbox_bytes: 50,
        ..IoOptions::default()
    };
    let server = Server::flowing(transport, &clock, options);
    let dead = DeadLetterBox::new();
    let mut taken = 0;
    let back = loop {
        let (envelope, bytes) = parcel(taken, &dead);
        match server.io.offer(envelope, bytes) {
            Ok(()) => taken += 1,
            Err(back) => break back.take(),
        }
    };
    assert_eq!((taken, back), (5, 5));
    assert_eq!(server.io.queued_bytes(), 50);
}

#[tokio::test]
async fn a_cut_leaves_the_rest_for_the_session() {
    let (clock, _hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 25);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    let dead = DeadLetterBox::new();
    for number in 0..9 {
        let (envelope, bytes) = parcel(number, &dead);
        assert!(server.io.offer(envelope, bytes).is_ok());
    }
    let first = server.written.recv().await;
    assert_eq!((first, server.written.recv().await), (Some(0), Some(1)));
    server
        .io
        .cut(Some(xmpp::StreamCondition::ResourceConstraint.into()));
    let read = read_until(&mut peer, "</stream:stream>").await;
    assert_eq!(numbers_in(&read), [0, 1, 2], "what had begun is finished");
    assert!(matches!(server.events.recv().await, Some(IoEvent::Said)));
    let back = server.io.held_back().into_iter().map(Envelope::take);
    assert_eq!(back.collect::<Vec<u64>>(), [3, 4, 5, 6, 7, 8]);
    drop(peer);
    let last = server.events.recv().await;
    assert!(matches!(last, Some(IoEvent::Detached(Detached::Closed))));
    assert!(server.io.drain().is_empty());
    assert!(dead.is_empty());
}

#[tokio::test]
async fn a_quiet_stream_shows_life() {
    let (clock, hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 1024);
    let options = IoOptions {
        keep_alive: Some(Duration::from_secs(60)),
        ..IoOptions::default()
    };
    let mut server = Server::flowing(transport, &clock, options);
    hand.advance(Duration::from_secs(59)).await;
    server.io.push(Outbound::element("<a/>"));
    assert_eq!(read_until(&mut peer, "/>").await, "<a/>");
    hand.advance(Duration::from_secs(59)).await;
    server.io.push(Outbound::element("<b/>"));
    assert_eq!(
        read_until(&mut peer, "/>").await,
        "<b/>",
        "no space within a minute"
    );
    hand.advance(Duration::from_secs(180)).await;
    server.io.push(Outbound::element("<c/>"));
    assert_eq!(read_until(&mut peer, "/>").await, "   <c/>");
    assert!(server.events.try_recv().is_err());
}

#[tokio::test]
async fn a_peer_that_leaves_is_an_event() {
    let (clock, _hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 1024);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    say(&mut peer, &(header("a.example") + "<a/><half")).await;
    drop(peer);
    assert_eq!(element(&mut server).await.0.name(), "a");
    let last = server.events.recv().await;
    assert!(matches!(last, Some(IoEvent::Detached(Detached::Eof))));
    assert!(!server.io.push(Outbound::element("<late/>")));
}

#[tokio::test]
async fn a_peer_that_only_stops_talking_hears_our_end() {
    let (clock, _hand) = Clock::manual();
    let cut_off = "<stream:error><not-well-formed";
    for (last, goodbye) in [("<a/>", "</stream:stream>"), ("<a/><half", cut_off)] {
        let (transport, mut peer) = memory(Framing::Client, Limits::default(), 1024);
        let mut server = Server::flowing(transport, &clock, IoOptions::default());
        say(&mut peer, &(header("a.example") + last)).await;
        peer.shutdown().await.expect("ours");
        assert_eq!(element(&mut server).await.0.name(), "a");
        let heard = read_until(&mut peer, "</stream:stream>").await;
        assert!(heard.starts_with(goodbye), "{heard}");
        let event = server.events.recv().await;
        assert!(matches!(event, Some(IoEvent::Detached(Detached::Eof))));
    }
}

#[tokio::test]
async fn what_waits_for_a_peer_that_stops_talking_comes_back() {
    let (clock, _hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 64);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    say(&mut peer, &header("a.example")).await;
    let dead = DeadLetterBox::new();
    for number in 0..40 {
        let (parcel, rendered) = parcel(number, &dead);
        assert!(server.io.offer(parcel, rendered).is_ok());
    }
    peer.shutdown().await.expect("ours");
    let heard = read_until(&mut peer, "</stream:stream>").await;
    assert!(matches!(server.events.recv().await, Some(IoEvent::Open(_))));
    let event = server.events.recv().await;
    assert!(matches!(event, Some(IoEvent::Detached(Detached::Eof))));
    let mut all = numbers_in(&heard);
    let read = all.len();
    all.extend(server.io.drain().into_iter().map(Envelope::take));
    assert!(read < 40, "not all fits into the pipe: {heard}");
    assert_eq!(all, (0..40).collect::<Vec<u64>>(), "{heard}");
}

/// A small generator, so that a failing round can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Ten thousand parcels over streams that die at random: each was read by its peer or came back,
/// never both, never neither, and in order.
#[tokio::test]
async fn parcels_survive_the_death_of_their_stream_exactly_once() {
    let clock = Clock::real();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut next = 0;
    while next < 10_000 {
        let dead = DeadLetterBox::new();
        let buffer = 1 + dice.roll(300) as usize;
        let (transport, mut peer) = memory(Framing::Client, Limits::default(), buffer);
        let server = Server::flowing(transport, &clock, IoOptions::default());
        let reading = tokio::spawn(async move {
            let mut text = Vec::new();
            // A broken pipe tells as much as an end.
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut text).await;
            String::from_utf8(text).expect("UTF-8")
        });
        let first = next;
        let mut back = Vec::new();
        for _ in 0..1 + dice.roll(200) {
            let (envelope, bytes) = parcel(next, &dead);
            assert!(server.io.offer(envelope, bytes).is_ok());
            next += 1;
            if dice.roll(10) == 0 {
                tokio::task::yield_now().await;
            }
        }
        for _ in 0..dice.roll(30) {
            tokio::task::yield_now().await;
        }
        match dice.roll(2) {
            // The process is killed: task and handle vanish.
            0 => server.task.abort(),
            // The session takes back what it can.
            _ => back.extend(server.io.drain().into_iter().map(Envelope::take)),
        }
        let _ = server.task.await;
        drop(server.io);
        while !dead.is_empty() {
            back.push(dead.next().await.take());
        }
        let mut all = numbers_in(&reading.await.expect("the reader ends"));
        all.extend(back);
        assert_eq!(all, (first..next).collect::<Vec<_>>(), "buffer of {buffer}");
    }
}

#[tokio::test]
async fn a_session_that_is_gone_ends_its_task() {
    let (clock, _hand) = Clock::manual();
    let (transport, mut peer) = memory(Framing::Client, Limits::default(), 1024);
    let mut server = Server::flowing(transport, &clock, IoOptions::default());
    server.events.close();
    peer.write_all(header("a.example").as_bytes())
        .await
        .expect("read");
    server.task.await.expect("the task ends by itself");
}

/// A process that owns an IO task and does nothing with it.
struct Owner {
    _io: stream::IoHandle<u64>,
}

impl otp::GenServer for Owner {
    const KIND: &'static str = "owner";
    type Args = (tokio::io::DuplexStream, DeadLetterBox<u64>);
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = IoEvent;

    async fn init((socket, dead): Self::Args, ctx: &mut otp::Ctx<Self>) -> otp::Init<Self> {
        let pid = ctx.pid().clone();
        let transport = stream::TcpTransport::new(socket, Framing::Client, Limits::default());
        let tell = move |event| pid.info(event).map_err(|_| ());
        let options = IoOptions::default();
        let io = stream::Io::attach(ctx, transport, options, tell, |_written| {});
        for number in 0..100 {
            let (envelope, bytes) = parcel(number, &dead);
            assert!(io.offer(envelope, bytes).is_ok());
        }
        otp::Init::Ok(Owner { _io: io })
    }
}

#[tokio::test]
async fn a_killed_process_takes_its_task_along_and_loses_no_parcel() {
    let system = otp::System::new("test", Clock::real());
    let sup = otp::Supervisor::simple_one_for_one::<Owner>(
        otp::Restart::Temporary,
        otp::Shutdown::BrutalKill,
    );
    let sup = sup.start(&system, "owners").await.expect("starts");
    let dead = DeadLetterBox::new();
    // Room for two parcels of ten bytes and a half.
    let (socket, mut peer) = tokio::io::duplex(25);
    let owner = sup
        .start_one::<Owner>((socket, dead.clone()))
        .await
        .expect("starts");
    // Once the first bytes are here, the buffer is full and the task waits.
    let first = read_until(&mut peer, "<m n='0'/>").await;
    owner.kill();
    let read = first + &read_all(&mut peer).await;
    let mut all = numbers_in(&read);
    while all.len() < 100 {
        all.push(dead.next().await.take());
    }
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert!(dead.is_empty());
    sup.stop().await;
}
