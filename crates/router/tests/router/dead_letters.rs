//! What fell out of a mailbox is sent again, or its sender is told.

use otp::Fault;
use router::{Flags, MAX_HOPS, Packet};

use crate::stage::*;

fn message(stage: &Stage, number: usize, flags: Flags) -> Packet {
    let text = format!(
        "<message from='x@b.example/r' to='b.example' type='chat' id='{number}'><body>hi</body></message>"
    );
    let mut packet = stage.packet(&text);
    packet.meta.flags.insert(flags);
    packet
}

#[tokio::test]
async fn what_a_fallen_process_had_is_routed_again_in_order() {
    let stage = Stage::new().await;
    let (owner, got, gate) = Holder::start(&stage.system).await;
    stage
        .route_to(&owner, "echo.a.example", Holder::mode(&owner))
        .await;
    stage
        .router
        .reserve("echo.a.example", "mod_echo")
        .await
        .expect("free");
    gate.shut();
    for _ in 0..5 {
        assert!(stage.say("echo.a.example").await.is_empty());
    }
    owner.kill();
    until("all came back", || stage.ledger.settled() == 5).await;
    assert_eq!(
        stage.heard(),
        ["echo.a.example > x@b.example/r remote-server-timeout"; 5]
    );
    assert!(got.lock().is_empty());
    stage.settled(5);
}

#[tokio::test]
async fn a_letter_is_delivered_where_somebody_is() {
    let stage = Stage::new().await;
    for number in 0..20 {
        drop(message(&stage, number, Flags::default()).enclose(stage.router.dead_letters()));
    }
    until("all are there", || stage.back.lock().len() == 20).await;
    let ids: Vec<String> = stage
        .back
        .lock()
        .iter()
        .map(|s| s.id().unwrap_or_default().to_owned())
        .collect();
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(ids, expected);
    stage.settled(20);
}

#[tokio::test]
async fn copies_and_what_the_store_still_has_end() {
    let stage = Stage::new().await;
    drop(message(&stage, 1, Flags::COPY).enclose(stage.router.dead_letters()));
    drop(message(&stage, 2, Flags::FROM_OFFLINE).enclose(stage.router.dead_letters()));
    until("both are resolved", || stage.ledger.settled() == 2).await;
    assert!(stage.heard().is_empty());
    stage.settled(2);
}

#[tokio::test]
async fn after_so_many_falls_the_sender_is_told() {
    let stage = Stage::new().await;
    let mut packet = message(&stage, 1, Flags::default());
    packet.meta.hops = MAX_HOPS - 1;
    stage.router.reroute(packet).await;
    assert_eq!(stage.heard(), ["x@b.example/r > b.example"]);
    let mut packet = message(&stage, 2, Flags::default());
    packet.meta.hops = MAX_HOPS;
    stage.router.reroute(packet).await;
    assert_eq!(
        stage.heard(),
        ["b.example > x@b.example/r recipient-unavailable"]
    );
    stage.settled(2);
}

#[tokio::test]
async fn letters_outlive_the_process_that_reads_them() {
    let stage = Stage::new().await;
    let reader = stage
        .system
        .registry()
        .whereis_any(&router::dead_letters_name())
        .expect("it runs");
    reader.fault(Fault::Hang);
    for number in 0..10 {
        drop(message(&stage, number, Flags::default()).enclose(stage.router.dead_letters()));
    }
    reader.kill();
    until("its successor sends them on", || {
        stage.back.lock().len() == 10
    })
    .await;
    let reader = stage
        .system
        .registry()
        .whereis_any(&router::dead_letters_name())
        .expect("it runs again");
    reader.fault(Fault::Panic);
    drop(message(&stage, 10, Flags::default()).enclose(stage.router.dead_letters()));
    until("and again", || stage.back.lock().len() == 11).await;
    stage.settled(11);
}

#[tokio::test]
async fn an_orderly_end_sends_on_what_waits() {
    let stage = Stage::new().await;
    let reader = stage
        .system
        .registry()
        .whereis_any(&router::dead_letters_name())
        .expect("it runs");
    for number in 0..3 {
        drop(message(&stage, number, Flags::default()).enclose(stage.router.dead_letters()));
    }
    reader.stop(otp::ExitReason::Shutdown);
    stage
        .sup
        .terminate_child("dead_letters")
        .await
        .expect("stopped");
    assert_eq!(stage.heard().len(), 3);
    stage.settled(3);
}
