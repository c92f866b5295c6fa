//! The chat page on a whole server: it comes and goes with its module, and nothing but its own files runs in it.

use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_comes_and_goes_with_its_module() {
    let house = House::start(HTTP).await;
    let mut browser = Browser::dial(door(&house)).await;
    let before = browser.asks("GET", "a.example", "/chat/", &[], "").await;
    assert_eq!(before.status, 404);
    house.done("module_start a.example mod_webchat").await;
    let moved = browser.asks("GET", "a.example", "/chat", &[], "").await;
    assert_eq!((moved.status, moved.header("location")), (308, "/chat/"));
    let page = browser.asks("GET", "a.example", "/chat/", &[], "").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type").starts_with("text/html"),
        "{}",
        page.head
    );
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    // Nothing stands in the page that its policy would refuse.
    for tag in page.body.split('<') {
        let tag = tag.split('>').next().unwrap_or_default();
        assert!(!tag.starts_with("script") || tag.contains(" src="), "{tag}");
        assert!(
            !tag.starts_with("style") && !tag.contains(" style="),
            "{tag}"
        );
        assert!(!tag.contains(" on"), "{tag}");
    }
    for (file, kind) in [
        ("app.js", "text/javascript"),
        ("session.js", "text/javascript"),
        ("strophe.umd.min.js", "text/javascript"),
        ("chat.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("site.json", "application/json"),
    ] {
        let path = format!("/chat/{file}");
        let file = browser.asks("GET", "a.example", &path, &[], "").await;
        assert_eq!(file.status, 200, "{path}");
        assert!(
            file.header("content-type").starts_with(kind),
            "{path}: {}",
            file.head
        );
    }
    let site = browser
        .asks("GET", "a.example", "/chat/site.json", &[], "")
        .await;
    assert_eq!(site.json()["domain"], "a.example");
    let elsewhere = browser.asks("GET", "b.example", "/chat/", &[], "").await;
    assert_eq!(elsewhere.status, 404, "each host has its own");
    house.done("module_stop a.example mod_webchat").await;
    let after = browser.asks("GET", "a.example", "/chat/", &[], "").await;
    assert_eq!(after.status, 404);
    house.stop().await;
}
