//! Privacy rules while the store cannot be asked: nothing passes that a rule might forbid.

use std::sync::Arc;

use modules::ALL;
use router::Folded;
use session::hooks::{Direction, PrivacyCheckPacket};
use xmpp::{BareJid, Stanza};

use crate::rig::{HOST, Rig};

async fn passes(rig: &Rig, account: &BareJid, direction: Direction, text: &str) -> bool {
    let fold = PrivacyCheckPacket {
        account: Arc::new(account.clone()),
        session: None,
        direction,
        stanza: Stanza::parse(text).expect("a stanza"),
    };
    matches!(
        rig.host.router.fold_wait(fold).await,
        Folded::Done(_) | Folded::Stopped(_)
    )
}

#[tokio::test]
async fn without_a_store_only_the_account_and_its_host_are_heard() {
    let rig = Rig::start(ALL, &["mod_roster", "mod_privacy"]).await;
    let (alice, bob) = (rig.account("alice").await, rig.account("bob").await);
    let says =
        |from: &str| format!("<message from='{from}' to='alice@{HOST}'><body>hi</body></message>");
    let to =
        |to: &str| format!("<message from='alice@{HOST}/1' to='{to}'><body>hi</body></message>");
    let (theirs, mine) = (says("eve@else.example/x"), to("eve@else.example"));
    assert!(passes(&rig, &alice, Direction::In, &theirs).await);
    assert!(passes(&rig, &alice, Direction::Out, &mine).await);

    rig.close_the_store().await;
    // Of alice it is known that she has no rules; bob's were never read.
    assert!(passes(&rig, &alice, Direction::In, &theirs).await);
    let for_bob = format!("<message from='eve@else.example/x' to='bob@{HOST}'/>");
    let of_bob = format!("<message from='bob@{HOST}/1' to='eve@else.example'/>");
    assert!(!passes(&rig, &bob, Direction::In, &for_bob).await);
    assert!(!passes(&rig, &bob, Direction::Out, &of_bob).await);
    let (own, host) = (format!("alice@{HOST}/2"), HOST.to_owned());
    assert!(passes(&rig, &alice, Direction::In, &says(&own)).await);
    assert!(passes(&rig, &alice, Direction::In, &says(&host)).await);
    assert!(passes(&rig, &alice, Direction::Out, &to(&host)).await);
    rig.stop().await;
}
