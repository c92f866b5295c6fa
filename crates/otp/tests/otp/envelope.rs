//! Envelopes: what was offered is taken, handed back, or a dead letter; never two of these, never none.

use std::sync::Arc;

use otp::{
    ChildSpec, Ctx, DeadLetterBox, Envelope, ExitReason, Flow, GenServer, Init, Pid, Restart,
    Shutdown, Strategy, Supervisor, System,
};
use parking_lot::Mutex;

use crate::common::*;

/// All letters in the box, in order.
fn letters(dead: &DeadLetterBox<u32>) -> Vec<u32> {
    std::iter::from_fn(|| dead.try_next().map(Envelope::take)).collect()
}

#[tokio::test]
async fn what_waits_in_a_process_that_ends_becomes_dead_letters_in_order() {
    for end in 0..3 {
        let (system, _hand) = world();
        let dead = DeadLetterBox::new();
        let pid = worker(&system, &Log::default(), "w").await;
        // One in its state, three in its mailbox, behind what ends it.
        pid.offer(parcel(0, 10, &dead), Do::Parcel).unwrap();
        let gate = gate(&pid).await;
        if end == 0 {
            pid.cast(Do::Panic).unwrap();
        }
        for n in 1..4 {
            pid.offer(parcel(n, 10, &dead), Do::Parcel).unwrap();
        }
        match end {
            0 => {}
            1 => pid.kill(),
            _ => pid.stop(ExitReason::Shutdown),
        }
        drop(gate);
        soon(pid.watch()).await;
        assert_eq!(letters(&dead), [0, 1, 2, 3]);
        // The dead take nothing more.
        let back = pid.offer(parcel(9, 10, &dead), Do::Parcel).unwrap_err();
        assert_eq!(back.take(), 9);
        assert!(dead.is_empty());
    }
}

#[tokio::test]
async fn a_full_mailbox_hands_the_envelope_back() {
    let (system, _hand) = world();
    let dead = DeadLetterBox::new();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    let gate = gate(&pid).await;
    // The worker's budget is 1000 bytes.
    pid.offer(parcel(1, 600, &dead), Do::Parcel).unwrap();
    pid.offer(parcel(2, 400, &dead), Do::Parcel).unwrap();
    let back = pid.offer(parcel(3, 1, &dead), Do::Parcel).unwrap_err();
    assert_eq!(*back.get(), 3);
    let node = &system.observe().tree()[0];
    assert_eq!((node.mailbox, node.mailbox_bytes), (2, 1000));
    // What is no envelope is not charged, nor is control.
    pid.cast(Do::Note("cast")).unwrap();
    pid.control(Do::Note("control")).unwrap();
    drop(gate);
    let lines = log.take_n(3).await;
    assert_eq!(lines, ["w up", "w control", "w cast"]);
    // Room again.
    pid.offer(back, Do::Parcel).unwrap();
    assert_eq!(soon(pid.call(Ask::Echo(1), LONG)).await, Ok(1));
    assert_eq!(system.observe().tree()[0].mailbox_bytes, 0);
    assert!(dead.is_empty());
}

#[tokio::test]
async fn an_envelope_larger_than_the_budget_always_comes_back() {
    let (system, _hand) = world();
    let dead = DeadLetterBox::new();
    let pid = worker(&system, &Log::default(), "w").await;
    let back = pid.offer(parcel(1, 1001, &dead), Do::Parcel).unwrap_err();
    assert_eq!(back.take(), 1);
}

/// Takes envelopes; waits while it has one in its hand, so that a kill may come between.
struct Taker(Arc<Mutex<Vec<u32>>>);

impl GenServer for Taker {
    const KIND: &'static str = "taker";
    const MAILBOX_BYTES: usize = 64;
    type Args = Arc<Mutex<Vec<u32>>>;
    type Call = ();
    type Reply = ();
    type Cast = Envelope<u32>;
    type Info = ();

    async fn init(taken: Self::Args, _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(Taker(taken))
    }

    async fn handle_cast(&mut self, envelope: Envelope<u32>, _ctx: &mut Ctx<Self>) -> Flow {
        if envelope.get().is_multiple_of(3) {
            tokio::task::yield_now().await;
        }
        if envelope.get().is_multiple_of(97) {
            panic!("a number it does not like");
        }
        self.0.lock().push(envelope.take());
        Flow::Go
    }
}

/// A small generator of numbers without order (xorshift), seeded.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Offers `numbers` to whoever is in `target`, until each has been accepted or, sometimes, is given up.
async fn send(
    numbers: std::ops::Range<u32>,
    target: Arc<Mutex<Pid<Taker>>>,
    dead: DeadLetterBox<u32>,
    kept: Arc<Mutex<Vec<u32>>>,
) {
    let mut dice = Dice(0x9E37_79B9 + u64::from(numbers.start));
    for n in numbers {
        let mut envelope = parcel(n, 1, &dead);
        loop {
            let pid = target.lock().clone();
            match pid.offer(envelope, |envelope| envelope) {
                Ok(()) => break,
                Err(back) if dice.roll(8) == 0 => {
                    kept.lock().push(back.take());
                    break;
                }
                Err(back) => envelope = back,
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_envelopes_under_random_ends_are_neither_lost_nor_doubled() {
    const SENDERS: u32 = 4;
    const EACH: u32 = 2500;
    let (system, _hand) = world();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let dead = DeadLetterBox::new();
    // Every pid ever used stays alive to the end, as it would in tables.
    let mut all = vec![system.start::<Taker>(None, taken.clone()).await.unwrap()];
    let target = Arc::new(Mutex::new(all[0].clone()));
    let senders: Vec<_> = (0..SENDERS)
        .map(|s| {
            let numbers = s * EACH..(s + 1) * EACH;
            let send = send(numbers, target.clone(), dead.clone(), kept.clone());
            tokio::spawn(send)
        })
        .collect();
    let mut dice = Dice(0xDEAD_BEEF);
    let mut ends = 0;
    while senders.iter().any(|sender| !sender.is_finished()) {
        for _ in 0..dice.roll(20) {
            tokio::task::yield_now().await;
        }
        let old = target.lock().clone();
        match dice.roll(3) {
            0 => old.kill(),
            1 => old.stop(ExitReason::Shutdown),
            _ => {}
        }
        if !old.is_alive() || dice.roll(2) == 0 {
            let new = system.start::<Taker>(None, taken.clone()).await.unwrap();
            *target.lock() = new.clone();
            all.push(new);
            ends += 1;
        }
    }
    for sender in senders {
        soon(sender).await.unwrap();
    }
    for pid in &all {
        pid.stop(ExitReason::Shutdown);
        soon(pid.watch()).await;
    }
    let (taken, kept, dead) = (taken.lock().clone(), kept.lock().clone(), letters(&dead));
    let mut seen: Vec<u32> = taken.iter().chain(&kept).chain(&dead).copied().collect();
    seen.sort_unstable();
    let wanted: Vec<u32> = (0..SENDERS * EACH).collect();
    assert_eq!(seen, wanted);
    // Not for want of trying: processes ended, and with letters in them.
    assert!(
        ends > 10 && !dead.is_empty(),
        "{ends} ends, {} dead",
        dead.len()
    );
}

/// Reads dead letters as a process: keeps each in its envelope until it is dealt with.
struct Reader;

impl GenServer for Reader {
    const KIND: &'static str = "dead_letter";
    type Args = (DeadLetterBox<u32>, Log);
    type Call = ();
    type Reply = ();
    type Cast = Envelope<u32>;
    type Info = ();

    async fn init((dead, log): Self::Args, ctx: &mut Ctx<Self>) -> Init<Self> {
        log.say("reads");
        ctx.spawn(async move {
            loop {
                let letter = dead.next().await;
                // Holds the letter for a while: whoever kills the reader here loses nothing.
                tokio::task::yield_now().await;
                log.say(letter.take().to_string());
            }
        });
        Init::Ok(Reader)
    }
}

#[tokio::test]
async fn a_dead_letter_box_outlives_its_reader() {
    let (system, _hand) = world();
    let dead = DeadLetterBox::new();
    let log = Log::default();
    let args = (dead.clone(), log.clone());
    let sup = Supervisor::new(Strategy::OneForOne)
        .intensity(1000, secs(1))
        .child(ChildSpec::worker::<Reader>("reader", move || args.clone()))
        .start(&system, "root")
        .await
        .unwrap();
    log.take_n(1).await;
    let mut lines = Vec::new();
    for n in 0..100 {
        drop(parcel(n, 1, &dead));
        if n % 10 == 0 {
            for reader in system.observe().processes() {
                if reader.kind() == Reader::KIND {
                    reader.kill();
                }
            }
        }
        tokio::task::yield_now().await;
    }
    while lines.len() < 100 {
        let more = log.take_n(1).await;
        lines.extend(more.into_iter().filter(|line| line != "reads"));
    }
    let mut numbers: Vec<u32> = lines.iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<u32>>());
    soon(sup.stop()).await;
}

#[tokio::test]
async fn envelopes_in_dynamic_children_survive_the_fall_of_their_supervisor() {
    let (system, _hand): (System, _) = world();
    let dead = DeadLetterBox::new();
    let simple = Supervisor::simple_one_for_one::<Worker>(Restart::Temporary, Shutdown::BrutalKill);
    let sup = simple.start(&system, "root").await.unwrap();
    for n in 0..10 {
        let plan = Plan::new("w", &Log::default());
        let pid = sup.start_one::<Worker>(plan).await.unwrap();
        let held = gate(&pid).await;
        pid.offer(parcel(n, 10, &dead), Do::Parcel).unwrap();
        // The gate stays shut: only the kill gets it out of there.
        std::mem::forget(held);
    }
    sup.any().kill();
    soon(sup.watch()).await;
    let mut letters = letters(&dead);
    letters.sort_unstable();
    assert_eq!(letters, (0..10).collect::<Vec<u32>>());
}
