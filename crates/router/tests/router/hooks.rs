//! Hooks: typed folds.

use std::sync::Arc;

use futures_util::FutureExt;
use router::{
    Change, FilterPacket, Flow, Folded, HANDLER_DEADLINE, Hook, HookInfo, HookSpec, InstallError,
    OnPanic, Priority,
};

use crate::stage::*;

/// Declares a hook that carries words.
macro_rules! words {
    ($name:ident, $on_panic:ident, $may_wait:literal) => {
        #[derive(Clone, Debug, PartialEq, Eq)]
        struct $name(Vec<&'static str>);

        impl Hook for $name {
            const INFO: HookInfo = HookInfo {
                name: stringify!($name),
                run_by: "tests",
                process: "the test",
                carries: "words",
                stopping: "the fold ends",
                on_panic: OnPanic::$on_panic,
                may_wait: $may_wait,
            };

            fn host(&self) -> &str {
                A
            }
        }

        impl $name {
            #[allow(dead_code, reason = "each hook uses a part")]
            fn and(mut self, word: &'static str) -> Self {
                self.0.push(word);
                self
            }
        }
    };
}

words!(Open, Continue, false);
words!(Closed, Deny, false);
words!(OpenWaits, Continue, true);
words!(ClosedWaits, Deny, true);

impl Stage {
    async fn hook(&self, name: &str, spec: HookSpec) -> Result<(), InstallError> {
        let mut change = Change::new();
        change.hook(spec);
        self.router.install(&self.home.any(), name, change).await
    }
}

#[tokio::test]
async fn handlers_run_by_priority_and_equals_by_name() {
    let stage = Stage::new().await;
    let says =
        |priority, word| HookSpec::now::<Open>(A, priority, move |fold| Flow::Next(fold.and(word)));
    stage
        .hook("z", says(Priority::NORMAL, "z"))
        .await
        .expect("installed");
    stage
        .hook("late", says(Priority::LAST, "late"))
        .await
        .expect("installed");
    stage
        .hook("a", says(Priority::NORMAL, "a"))
        .await
        .expect("installed");
    stage
        .hook("early", says(Priority::EARLY, "early"))
        .await
        .expect("installed");
    assert_eq!(
        stage.router.fold(Open(vec![])),
        Folded::Done(Open(vec!["early", "a", "z", "late"]))
    );
    let rows = stage.router.hook_list();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| format!("{} {} {}", row.hook, row.priority, row.handler))
        .collect();
    assert_eq!(
        rows,
        ["Open 25 early", "Open 50 a", "Open 50 z", "Open 100 late"]
    );
    assert!(stage.router.has_handlers::<Open>(A));
    assert!(!stage.router.has_handlers::<Open>(B));
    assert!(!stage.router.has_handlers::<Closed>(A));
}

#[tokio::test]
async fn a_fold_stops_drops_or_goes_on() {
    for (end, expected) in [
        (
            Flow::Next as fn(Open) -> Flow<Open>,
            Folded::Done(Open(vec!["first", "last"])),
        ),
        (Flow::Stop, Folded::Stopped(Open(vec!["first"]))),
        (|_| Flow::Drop, Folded::Dropped),
    ] {
        let stage = Stage::new().await;
        let first = HookSpec::now::<Open>(A, Priority::NORMAL, move |fold| end(fold.and("first")));
        stage.hook("first", first).await.expect("installed");
        let last = HookSpec::now::<Open>(A, Priority::LAST, |fold| Flow::Next(fold.and("last")));
        stage.hook("last", last).await.expect("installed");
        assert_eq!(stage.router.fold(Open(vec![])), expected);
    }
}

#[tokio::test]
async fn a_panic_keeps_the_value_or_denies() {
    let stage = Stage::new().await;
    stage
        .hook(
            "a",
            HookSpec::now::<Open>(A, Priority::EARLY, |f| Flow::Next(f.and("a"))),
        )
        .await
        .expect("installed");
    stage
        .hook(
            "b",
            HookSpec::now::<Open>(A, Priority::NORMAL, |_| panic!("b")),
        )
        .await
        .expect("installed");
    stage
        .hook(
            "c",
            HookSpec::now::<Open>(A, Priority::LAST, |f| Flow::Next(f.and("c"))),
        )
        .await
        .expect("installed");
    assert_eq!(
        stage.router.fold(Open(vec![])),
        Folded::Done(Open(vec!["a", "c"]))
    );
    let failures: Vec<u64> = stage
        .router
        .hook_list()
        .iter()
        .map(|row| row.failures)
        .collect();
    assert_eq!(failures, [0, 1, 0]);
    stage
        .hook(
            "d",
            HookSpec::now::<Closed>(A, Priority::NORMAL, |_| panic!("d")),
        )
        .await
        .expect("installed");
    assert_eq!(stage.router.fold(Closed(vec![])), Folded::Denied);
    let panics =
        HookSpec::wait::<ClosedWaits>(A, Priority::NORMAL, |_| async { panic!("e") }.boxed());
    stage.hook("e", panics).await.expect("installed");
    assert_eq!(
        stage.router.fold_wait(ClosedWaits(vec![])).await,
        Folded::Denied
    );
}

#[tokio::test]
async fn a_handler_that_is_late_counts_as_failed() {
    let stage = Stage::new().await;
    let never = |_| std::future::pending().boxed();
    stage
        .hook(
            "late",
            HookSpec::wait::<OpenWaits>(A, Priority::NORMAL, never),
        )
        .await
        .expect("installed");
    let next = HookSpec::now::<OpenWaits>(A, Priority::LAST, |f| Flow::Next(f.and("next")));
    stage
        .hook("next", next)
        .await
        .expect("a hook that waits takes handlers that do not");
    let never = |_| std::future::pending().boxed();
    stage
        .hook(
            "never",
            HookSpec::wait::<ClosedWaits>(A, Priority::NORMAL, never),
        )
        .await
        .expect("installed");
    let router = stage.router.clone();
    let open = tokio::spawn({
        let router = router.clone();
        async move { router.fold_wait(OpenWaits(vec!["kept"])).await }
    });
    let closed = tokio::spawn(async move { router.fold_wait(ClosedWaits(vec![])).await });
    let clock = stage.system.clock();
    until("both wait", || clock.timers() >= 2).await;
    assert!(!open.is_finished() && !closed.is_finished());
    stage.hand.advance(HANDLER_DEADLINE).await;
    assert_eq!(
        open.await.expect("no panic"),
        Folded::Done(OpenWaits(vec!["kept", "next"]))
    );
    assert_eq!(closed.await.expect("no panic"), Folded::Denied);
}

#[tokio::test]
async fn a_value_passes_by_who_does_not_want_it() {
    let stage = Stage::new().await;
    let asked = OpenWaits(vec!["asked"]);
    let is_wanted = |value: &OpenWaits| {
        let listeners = stage.router.listeners::<OpenWaits>(A);
        listeners.is_some_and(|listeners| listeners.want(value))
    };
    assert!(!is_wanted(&asked), "nobody is there");
    let ask = HookSpec::wait::<OpenWaits>(A, Priority::NORMAL, |fold| {
        async { Flow::Next(fold.and("answered")) }.boxed()
    });
    let ask = ask.only_if::<OpenWaits>(|fold| fold.0.contains(&"asked"));
    stage.hook("ask", ask).await.expect("installed");
    let other = OpenWaits(vec!["other"]);
    assert!(is_wanted(&asked) && !is_wanted(&other));
    assert_eq!(
        stage.router.fold_wait(other.clone()).await,
        Folded::Done(other)
    );
    assert_eq!(
        stage.router.fold_wait(asked).await,
        Folded::Done(OpenWaits(vec!["asked", "answered"]))
    );
    assert_eq!(stage.system.clock().timers(), 0, "no timer was left");
    // Who cannot tell is asked, so that what fails closed does.
    let torn = HookSpec::now::<ClosedWaits>(A, Priority::NORMAL, |_| Flow::Drop);
    let torn = torn.only_if::<ClosedWaits>(|_| panic!("cannot tell"));
    stage.hook("torn", torn).await.expect("installed");
    let closed = stage.router.fold_wait(ClosedWaits(vec![])).await;
    assert_eq!(closed, Folded::Dropped);
}

#[tokio::test]
async fn a_handler_that_waits_is_refused_where_nobody_may() {
    let stage = Stage::new().await;
    let waits = HookSpec::wait::<Open>(A, Priority::NORMAL, |f| async { Flow::Next(f) }.boxed());
    assert_eq!(
        stage.hook("waits", waits).await,
        Err(InstallError::MayNotWait { hook: "Open" })
    );
    assert!(stage.router.hook_list().is_empty());
}

#[tokio::test]
async fn the_filter_sees_every_packet_and_fails_closed() {
    let stage = Stage::new().await;
    assert_eq!(stage.say(B).await, ["x@b.example/r > b.example"]);
    let filter = |fold: FilterPacket| match fold.stanza.to().map(|to| to.to_string()) {
        Some(to) if to == "drop.b.example" => Flow::Drop,
        Some(to) if to == "panic.b.example" => panic!("a filter"),
        Some(to) if to == "there.example" => {
            let to = xmpp::parse_jid("y@b.example").expect("a JID");
            Flow::Next(FilterPacket {
                stanza: fold.stanza.edit().to(to).finish(),
                ..fold
            })
        }
        _ => Flow::Next(fold),
    };
    stage
        .hook(
            "filter",
            HookSpec::now::<FilterPacket>("", Priority::NORMAL, filter),
        )
        .await
        .expect("installed");
    assert!(stage.say("drop.b.example").await.is_empty());
    assert!(stage.say("panic.b.example").await.is_empty());
    assert_eq!(
        stage.say("there.example").await,
        ["x@b.example/r > y@b.example"]
    );
    stage.settled(4);
}

#[tokio::test]
async fn the_death_of_an_owner_takes_its_handlers_back() {
    let stage = Stage::new().await;
    let owner = Holder::start(&stage.system).await.0;
    let mut change = Change::new();
    change.hook(HookSpec::now::<Open>(A, Priority::NORMAL, |f| {
        Flow::Next(f.and("x"))
    }));
    change.feature(A, router::To::Account, "urn:x");
    let never: router::IqHandler = Arc::new(|_| std::future::pending().boxed());
    change.iq(router::IqSpec::new(
        A,
        router::To::Host,
        "urn:x",
        router::IqKind::Get,
        never,
    ));
    stage
        .router
        .install(&owner.any(), "owner", change)
        .await
        .expect("installed");
    assert_eq!(
        stage.router.registrations_of(owner.id()),
        ["hook Open 50", "iq host urn:x"]
    );
    owner.kill();
    until("all is gone", || {
        stage.router.registrations_of(owner.id()).is_empty()
            && !stage.router.has_handlers::<Open>(A)
            && stage.router.features(A, router::To::Account).is_empty()
    })
    .await;
}
