//! The live tree, and a storm in it.

use otp::{AnyPid, ChildSpec, ExitReason, Fault, Name, Strategy, Supervisor, TreeNode};

use crate::common::*;
use crate::supervisor::{child, patient};

/// One line a process, indented.
fn draw(nodes: &[TreeNode], indent: usize, out: &mut Vec<String>) {
    for node in nodes {
        let detail = node.detail.as_deref().unwrap_or("-");
        out.push(format!(
            "{:indent$}{} {} {detail}",
            "", node.name, node.kind
        ));
        draw(&node.children, indent + 1, out);
    }
}

#[tokio::test]
async fn the_tree_shows_who_is_under_whom_in_start_order() {
    let (system, _hand) = world();
    let log = Log::default();
    let plan = Plan::new("deep", &log);
    let below = move || Supervisor::new(Strategy::OneForOne).child(plan.clone().child());
    let sup = patient(Strategy::OneForOne)
        .child(Plan::new("a", &log).child())
        .child(ChildSpec::supervisor("below", below))
        .child(Plan::new("z", &log).child())
        .start(&system, "root")
        .await
        .unwrap();
    // A restart does not change a child's place.
    log.take();
    child(&sup, "a").await.kill();
    log.take_n(1).await;
    sup.count_children().await.unwrap();
    let mut lines = Vec::new();
    draw(&system.observe().tree(), 0, &mut lines);
    let wanted = [
        "root supervisor -",
        " a worker a",
        " below supervisor -",
        "  deep worker deep",
        " z worker z",
    ];
    assert_eq!(lines, wanted);
}

#[tokio::test]
async fn a_node_shows_restarts_mailbox_messages_uptime_and_last_exit() {
    let (system, hand) = world();
    let log = Log::default();
    let sup = patient(Strategy::OneForOne)
        .child(Plan::new("a", &log).child())
        .start(&system, "root")
        .await
        .unwrap();
    hand.advance(secs(100)).await;
    log.take();
    child(&sup, "a").await.cast(Do::Panic).unwrap();
    log.take_n(1).await;
    let a = child(&sup, "a").await;
    hand.advance(secs(20)).await;
    for _ in 0..3 {
        a.cast(Do::Go).unwrap();
    }
    let gate = gate(&a).await;
    a.cast(Do::Go).unwrap();
    a.control(Do::Go).unwrap();
    // The process waits in a handler and is not asked.
    let tree = system.observe().tree();
    let (root, node) = (&tree[0], &tree[0].children[0]);
    assert_eq!(root.uptime, secs(120));
    assert_eq!((node.id, node.uptime), (a.id(), secs(20)));
    assert_eq!((node.restarts, node.mailbox, node.messages), (1, 2, 4));
    assert_eq!(node.last_exit.as_deref(), Some("panic: told to"));
    drop(gate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_faults_leaves_a_whole_tree_and_no_orphan() {
    let (system, _hand) = world();
    let log = Log::default();
    let below = |strategy: Strategy, key: &'static str, log: &Log| {
        let log = log.clone();
        let sup = move || {
            let mut sup = Supervisor::new(strategy).intensity(1_000_000, secs(1));
            for n in 0..3 {
                let name = format!("{key}{n}");
                let spec = Plan::new(&name, &log).child();
                sup = sup.child(spec.registered(Name::new("worker", name)));
            }
            sup
        };
        ChildSpec::supervisor(key, sup).registered(Name::new("sup", key))
    };
    let sup = Supervisor::new(Strategy::OneForOne)
        .intensity(1_000_000, secs(1))
        .child(below(Strategy::OneForOne, "one", &log))
        .child(below(Strategy::OneForAll, "all", &log))
        .child(below(Strategy::RestForOne, "rest", &log))
        .start(&system, "root")
        .await
        .unwrap();
    let mut seed = 12345_u64;
    for _ in 0..2000 {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let all = system.observe().processes();
        let victim = &all[(seed >> 33) as usize % all.len()];
        // The root is spared: nobody would bring it back.
        if *victim != sup.any() {
            match seed >> 61 {
                0..3 => victim.kill(),
                3..6 => victim.fault(Fault::Panic),
                _ => victim.stop(ExitReason::error("blown over")),
            }
        }
        tokio::task::yield_now().await;
    }
    // Each answer comes after the restarts before it.
    let whole = async {
        loop {
            let tree = system.observe().tree();
            let at_rest = tree.len() == 1
                && tree[0].children.len() == 3
                && tree[0].children.iter().all(|sup| sup.children.len() == 3)
                && system.observe().count() == 13
                && system.observe().processes().iter().all(AnyPid::is_alive)
                && system.registry().names().len() == 12;
            if at_rest {
                break;
            }
            sup.count_children().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    soon(whole).await;
    soon(sup.stop()).await;
    assert_eq!(system.observe().count(), 0);
    assert_eq!(system.registry().names(), []);
}
