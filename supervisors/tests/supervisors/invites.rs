//! The page of an invitation, on a whole server (XEP-0401 §3.3).

use crate::browser::{Browser, Reply};
use crate::house::House;
use crate::http::{HTTP, door};
use crate::peer::Peer;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// A house that serves the pages, and says where.
async fn open() -> (House, Browser) {
    let house = House::start(&format!(
        "{HTTP}[modules.mod_invites_page]\nenabled = true\n\
         [modules.mod_invites]\nlanding_page = \"https://@HOST@/invite/{{token}}\"\npassword_min_length = 4\n"
    ))
    .await;
    let browser = Browser::dial(door(&house)).await;
    (house, browser)
}

/// The path of a new invitation.
async fn invite(house: &House, words: &str) -> String {
    let told = house
        .done(&format!("invite --plain a.example {words}"))
        .await;
    let path = told.trim_matches('"').strip_prefix("https://a.example");
    path.unwrap_or_else(|| panic!("no page: {told}")).to_owned()
}

async fn get(browser: &mut Browser, path: &str) -> Reply {
    browser.asks("GET", "a.example", path, &[], "").await
}

async fn sends(browser: &mut Browser, path: &str, form: &str) -> Reply {
    browser.asks("POST", "a.example", path, &[FORM], form).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_shown_and_says_nothing_to_others() {
    let (house, mut browser) = open().await;
    let told = house.done("invite a.example").await;
    assert!(told.contains("https://a.example/invite/"), "{told}");
    assert!(told.contains("xmpp:a.example?register;preauth="), "{told}");

    let path = invite(&house, "").await;
    let page = get(&mut browser, &path).await;
    assert_eq!(page.status, 200, "{page:?}");
    let token = path.rsplit('/').next().expect("a path");
    for text in [
        "<h1>You are invited to a.example</h1>".to_owned(),
        format!("href=\"xmpp:a.example?register;preauth={token}\""),
        "<svg ".to_owned(),
        "https://conversations.im/".to_owned(),
        "for one person".to_owned(),
    ] {
        assert!(page.body.contains(&text), "no {text} in {}", page.body);
    }
    for (header, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(page.header(header), value);
    }
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-")
            && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!page.body.contains("<script"), "{}", page.body);
    let head = browser.asks("HEAD", "a.example", &path, &[], "").await;
    assert_eq!(head.status, 200);
    let other = browser.asks("GET", "b.example", &path, &[], "").await;
    assert_eq!(other.status, 404, "it is no invitation to that host");
    let put = browser.asks("PUT", "a.example", &path, &[], "").await;
    assert_eq!((put.status, put.header("allow")), (405, "get, head, post"));

    let unknown = get(&mut browser, "/invite/nothing").await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.body.contains("There is no such invitation"),
        "{unknown:?}"
    );
    assert_eq!(unknown.header("cache-control"), "no-store");
    let expired = invite(&house, "0s").await;
    let expired = get(&mut browser, &expired).await;
    assert_eq!(expired.status, 410);
    assert!(expired.body.contains("has expired"), "{expired:?}");
    house
        .done(&format!("invite_remove a.example {token}"))
        .await;
    assert_eq!(get(&mut browser, &path).await.status, 404);

    house.done("module_stop b.example mod_invites").await;
    let why = house
        .refused("module_start b.example mod_invites landing_page=https://b.example/")
        .await;
    assert!(why.contains("landing_page"), "{why}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_made_by_the_page() {
    let (house, mut browser) = open().await;
    house.done("register taken a.example secret").await;
    let path = invite(&house, "").await;
    for (form, status, words) in [
        ("", 422, "A name and a password are needed."),
        ("name=carol", 422, "A name and a password are needed."),
        ("name=taken&password=secret", 409, "That name is taken."),
        (
            "name=a%40b&password=secret",
            422,
            "The name cannot be used.",
        ),
        (
            "name=carol&password=abc",
            422,
            "A password has at least 4 characters.",
        ),
    ] {
        let refused = sends(&mut browser, &path, form).await;
        assert_eq!(refused.status, status, "{form}: {refused:?}");
        assert!(refused.body.contains(words), "{form}: {}", refused.body);
        assert!(refused.body.contains("role=\"alert\""), "{}", refused.body);
        assert!(!refused.body.contains("secret"), "no password comes back");
    }
    let json = "Content-Type: application/json";
    let strange = browser
        .asks("POST", "a.example", &path, &[json], "{}")
        .await;
    assert_eq!(strange.status, 415);
    let made = sends(&mut browser, &path, "name=Carol&password=good+word").await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(
        made.body.contains("<code>carol@a.example</code>"),
        "{}",
        made.body
    );
    let mut carol = Peer::dial(house.server.addresses()[0].at).await;
    carol.logs_in("carol", "a.example", "good word").await;
    drop(carol);

    for reply in [
        sends(&mut browser, &path, "name=dan&password=secret").await,
        get(&mut browser, &path).await,
    ] {
        assert_eq!(reply.status, 410);
        assert!(reply.body.contains("has been used"), "{reply:?}");
    }
    // A name that an invitation is for is nobody else's.
    let for_erin = invite(&house, "1h 1 erin").await;
    let open = invite(&house, "").await;
    let taken = sends(&mut browser, &open, "name=erin&password=secret").await;
    assert_eq!(taken.status, 409, "{taken:?}");
    let other = sends(&mut browser, &for_erin, "name=fay&password=secret").await;
    assert_eq!(other.status, 422);
    assert!(
        other.body.contains("The invitation is for erin."),
        "{}",
        other.body
    );
    let made = sends(&mut browser, &for_erin, "name=erin&password=secret").await;
    assert_eq!(made.status, 201, "{made:?}");

    // Where the page is told not to, and where nobody makes accounts.
    house.done("module_stop a.example mod_invites").await;
    let nobody = sends(&mut browser, &open, "name=gil&password=secret").await;
    assert_eq!(nobody.status, 503, "{nobody:?}");
    house.done("module_stop a.example mod_invites_page").await;
    house
        .done("module_start a.example mod_invites_page register=false")
        .await;
    let shown = get(&mut browser, &open).await;
    assert_eq!(shown.status, 200);
    assert!(!shown.body.contains("<form"), "{}", shown.body);
    let refused = sends(&mut browser, &open, "name=gil&password=secret").await;
    assert_eq!(refused.status, 403);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_that_fail_too_often_wait() {
    let house = House::start(&format!(
        "{HTTP}[http]\nforwarders = [\"127.0.0.1\"]\n[modules.mod_invites_page]\nenabled = true\nfailed_attempts = 2\n\
         [modules.mod_invites]\nlanding_page = \"https://@HOST@/invite/{{token}}\"\n"
    ))
    .await;
    house.done("register taken a.example secret").await;
    let mut browser = Browser::dial(door(&house)).await;
    let path = invite(&house, "").await;
    let mut asks = async |method: &str, path: &str, from: &str, form: &str| {
        let from = format!("X-Forwarded-For: {from}");
        let headers = [FORM, &from];
        browser
            .asks(method, "a.example", path, &headers, form)
            .await
    };
    let (taken, good) = ("name=taken&password=secret", "name=carol&password=secret");
    // A guess at an invitation and a name that is taken are failures; to look is none.
    for (method, path, form, status) in [
        ("POST", "/invite/guessed", good, 404),
        ("GET", "/invite/guessed", "", 404),
        ("GET", "/invite/guessed", "", 404),
        ("POST", &path, taken, 409),
        ("POST", &path, taken, 409),
    ] {
        let reply = asks(method, path, "192.0.2.1", form).await;
        assert_eq!(reply.status, status, "{method} {path}");
    }
    let waits = asks("POST", &path, "192.0.2.1", good).await;
    assert_eq!((waits.status, waits.header("retry-after")), (429, "1"));
    assert!(waits.body.contains("failed too often"), "{}", waits.body);
    assert!(!waits.body.contains("secret"), "{}", waits.body);
    let shown = asks("GET", &path, "192.0.2.1", "").await;
    assert_eq!(shown.status, 200, "the page is shown all the same");
    let other = asks("POST", &path, "192.0.2.2", taken).await;
    assert_eq!(other.status, 409, "others are others");
    // It was not judged, so it costs no more; the next failure costs twice the time.
    house.hand.advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(asks("POST", &path, "192.0.2.1", taken).await.status, 409);
    let waits = asks("POST", &path, "192.0.2.1", good).await;
    assert_eq!((waits.status, waits.header("retry-after")), (429, "2"));
    house.hand.advance(std::time::Duration::from_secs(2)).await;
    assert_eq!(asks("POST", &path, "192.0.2.1", good).await.status, 201);
    house.stop().await;
}
