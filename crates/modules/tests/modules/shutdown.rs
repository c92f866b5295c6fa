//! An end of the service that was ordered from a client comes when its time has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use admin::{Command, Value};
use modules::ALL;
use storage::Role;

use crate::rig::{HOST, MINUTE, Rig};

#[tokio::test]
async fn the_service_ends_after_the_delay() {
    let mut rig = Rig::start(ALL, &["mod_adhoc", "mod_configure"]).await;
    let root = rig.account("root").await;
    let accounts = &rig.host.storage.accounts;
    assert_eq!(accounts.set_role(&root, Role::Admin).await, Ok(true));
    let stopped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&stopped);
    let stop = Command::new("stop", "Ends it.", move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(Value::Nothing) }
    });
    rig.host.commands.register(stop, "test").expect("free");

    // The answer goes to an account without a session: a stranger's route cannot hear it.
    let ask = |delay: &str| {
        format!(
            "<iq type='set' id='i' from='root@{HOST}/r' to='{HOST}'>\
             <command xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#shutdown'>\
             <x xmlns='jabber:x:data' type='submit'><field var='delay'><value>{delay}</value></field></x></command></iq>"
        )
    };
    rig.says(&ask("100000")).await;
    rig.says(&ask("60")).await;
    rig.hand
        .advance(MINUTE - std::time::Duration::from_secs(1))
        .await;
    assert_eq!(stopped.load(Ordering::SeqCst), 0);
    rig.hand.advance(std::time::Duration::from_secs(1)).await;
    let seen = Arc::clone(&stopped);
    rig.until("the end", move |_| seen.load(Ordering::SeqCst) > 0)
        .await;
    assert_eq!(stopped.load(Ordering::SeqCst), 1);
    assert_eq!(rig.heard_already(), None);
    rig.stop().await;
}
