//! Commands over HTTP: who may, what is answered, what no other site can do.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::browser::{Browser, Reply};
use crate::house::House;
use crate::http::{HTTP, door};

pub const JSON: &str = "Content-Type: application/json";

/// A house with an administrator, one of a host, and a user; and a browser there.
pub async fn open() -> (House, Browser) {
    let house = House::start(HTTP).await;
    for (user, role) in [("root", "admin"), ("boss", "host-admin"), ("user", "user")] {
        house
            .done(&format!("register {user} a.example secret"))
            .await;
        house
            .done(&format!("set_role {user} a.example {role}"))
            .await;
    }
    let browser = Browser::dial(door(&house)).await;
    (house, browser)
}

pub fn basic(user: &str, password: &str) -> String {
    let encoded = BASE64_STANDARD.encode(format!("{user}@a.example:{password}"));
    format!("Authorization: Basic {encoded}")
}

async fn get(browser: &mut Browser, path: &str, headers: &[&str]) -> Reply {
    browser.asks("GET", "localhost", path, headers, "").await
}

/// Gives a command by POST as an account with the usual password.
async fn post(browser: &mut Browser, user: &str, name: &str, body: &str) -> Reply {
    let who = basic(user, "secret");
    let path = format!("/api/{name}");
    browser
        .asks("POST", "localhost", &path, &[&who, JSON], body)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_given_as_json() {
    let (house, mut browser) = open().await;
    let root = basic("root", "secret");
    let status = get(&mut browser, "/api/status", &[&root]).await;
    assert_eq!(
        (status.status, &status.json()["status"]),
        (200, &json!("running"))
    );
    assert_eq!(status.header("cache-control"), "no-store");
    let listed = get(
        &mut browser,
        "/api/registered_users/v1?host=a.example",
        &[&root],
    )
    .await;
    assert_eq!(listed.status, 200);
    assert!(listed.body.contains("boss"), "{}", listed.body);

    let carol = r#"{"user": "carol", "host": "a.example", "password": "--x"}"#;
    let made = post(&mut browser, "root", "register", carol).await;
    assert_eq!(made.status, 200, "{made:?}");
    let again = post(&mut browser, "root", "register", carol).await;
    assert_eq!(again.status, 422, "{again:?}");
    assert_eq!(again.json()["status"], "error");
    let hers = basic("carol", "--x");
    let listed = get(&mut browser, "/api/help", &[&hers]).await;
    assert_eq!(listed.status, 200, "her password is what was given");

    for (name, body, status, argument) in [
        (
            "register",
            r#"{"user": "dan", "host": "a.example"}"#,
            400,
            json!("password"),
        ),
        (
            "kick_session",
            r#"{"user": "dan", "hots": "a.example"}"#,
            400,
            json!("hots"),
        ),
        (
            "token_create",
            r#"{"user": "root", "host": "a.example", "lifetime": "soon"}"#,
            400,
            json!("lifetime"),
        ),
        (
            "reload_config",
            r#"{"plan": "perhaps"}"#,
            400,
            json!("plan"),
        ),
        ("reload_config", "[]", 400, json!(null)),
        ("reload_config", "{", 400, json!(null)),
        ("reload_confg", "", 404, json!(null)),
        ("status/v2", "", 404, json!(null)),
    ] {
        let refused = post(&mut browser, "root", name, body).await;
        assert_eq!(refused.status, status, "{name} {body}: {refused:?}");
        let told = refused.json();
        assert_eq!(
            told.get("argument").unwrap_or(&json!(null)),
            &argument,
            "{refused:?}"
        );
        assert_eq!(told["code"], status);
    }
    let meant = post(&mut browser, "root", "reload_confg", "").await;
    assert!(
        meant.body.contains("did you mean `reload_config`?"),
        "{}",
        meant.body
    );
    let planned = post(&mut browser, "root", "reload_config", r#"{"plan": true}"#).await;
    assert_eq!((planned.status, planned.body.as_str()), (200, "[]"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_asked_as_it_should_be_is_told_so() {
    let (house, mut browser) = open().await;
    let root = basic("root", "secret");
    let root = root.as_str();
    let head = browser
        .asks("HEAD", "localhost", "/api/status", &[root], "")
        .await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let long = format!(r#"{{"user": "{}"}}"#, "x".repeat(1024 * 1024));
    for (method, path, headers, body, status, argument, why) in [
        (
            "PUT",
            "/api/status",
            &[root, JSON][..],
            "{}",
            405,
            None,
            "GET, HEAD, POST",
        ),
        (
            "DELETE",
            "/api/register",
            &[root],
            "",
            405,
            None,
            "it needs POST",
        ),
        (
            "POST",
            "/api/register?user=x&host=a.example&password=y",
            &[root, JSON],
            "{}",
            400,
            Some("user"),
            "stand in its body",
        ),
        (
            "GET",
            "/api/registered_users?host=%ff",
            &[root],
            "",
            400,
            None,
            "the query is malformed",
        ),
        (
            "GET",
            "/api/registered_users",
            &[root],
            "",
            400,
            Some("host"),
            "host: is missing",
        ),
        (
            "GET",
            "/api/registered_users?host=a.example&host=b.example",
            &[root],
            "",
            400,
            Some("host"),
            "expected a text",
        ),
        (
            "GET",
            "/api/registered_users?host=c.example",
            &[root],
            "",
            422,
            None,
            "c.example",
        ),
        (
            "GET",
            "/api/registered_users?hots=a.example",
            &[root],
            "",
            400,
            Some("hots"),
            "did you mean `host`?",
        ),
        (
            "POST",
            "/api/register",
            &[root, JSON],
            long.as_str(),
            413,
            None,
            "more than 1048576 bytes",
        ),
        (
            "POST",
            "/api/register",
            &[root, JSON],
            r#"{"user": "x", "host": "a.example", "password": {}}"#,
            400,
            Some("password"),
            "expected a text",
        ),
        (
            "POST",
            "/api/register",
            &[root, JSON],
            "\"x\"",
            400,
            None,
            "no JSON object",
        ),
        (
            "POST",
            "/api/register",
            &[root, "Content-Type: application/x-www-form-urlencoded"],
            "user=x",
            415,
            None,
            "application/json",
        ),
        (
            "POST",
            "/api/register/v0",
            &[root, JSON],
            "{}",
            404,
            None,
            "only v1",
        ),
        (
            "POST",
            "/api/nothing/v1",
            &[root, JSON],
            "{}",
            404,
            None,
            "nothing",
        ),
    ] {
        // What is refused before it is read ends the connection.
        let mut browser = Browser::dial(door(&house)).await;
        let refused = browser.asks(method, "localhost", path, headers, body).await;
        let shown = format!("{method} {path}: {refused:?}");
        assert_eq!(refused.status, status, "{shown}");
        let told = refused.json();
        assert_eq!(told["status"], "error", "{shown}");
        assert_eq!(told["code"], status, "{shown}");
        let named = told.get("argument").and_then(serde_json::Value::as_str);
        assert_eq!(named, argument, "{shown}");
        let message = told["message"].as_str().unwrap_or_default();
        assert!(message.contains(why), "{shown}");
    }
    let listed = house.done("registered_users a.example").await;
    assert!(!listed.contains("\"x\""), "nothing was done: {listed}");
    // What does not come is not waited for.
    let mut slow = crate::peer::Peer::dial(door(&house)).await;
    slow.says(&format!(
        "POST /api/register HTTP/1.1\r\nHost: localhost\r\n{root}\r\n{JSON}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    ))
    .await;
    slow.hears("100 Continue\r\n\r\n").await;
    slow.says("{").await;
    house.hand.advance(std::time::Duration::from_secs(31)).await;
    slow.hears("HTTP/1.1 408 ").await;
    slow.hears("came too slowly").await;
    drop((slow, browser));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_hold_as_everywhere() {
    let (house, mut browser) = open().await;
    for (user, name, body, status) in [
        ("boss", "registered_users", r#"{"host": "a.example"}"#, 200),
        ("boss", "registered_users", r#"{"host": "b.example"}"#, 403),
        ("boss", "status", "", 403),
        ("user", "registered_users", r#"{"host": "a.example"}"#, 403),
        ("user", "stop", r#"{"nonsense": 1}"#, 403),
        ("root", "registered_users", r#"{"host": "b.example"}"#, 200),
    ] {
        let reply = post(&mut browser, user, name, body).await;
        assert_eq!(reply.status, status, "{user} {name} {body}: {reply:?}");
    }
    let nobody = get(&mut browser, "/api/status", &[]).await;
    assert_eq!(nobody.status, 401, "also on this machine");
    assert!(
        nobody
            .header("www-authenticate")
            .starts_with("basic realm="),
        "{}",
        nobody.head
    );
    for credentials in [
        basic("root", "wrong"),
        basic("nobody", "secret"),
        "Authorization: Basic !".to_owned(),
        "Authorization: Bearer natter_x".to_owned(),
        "Authorization: Digest x".to_owned(),
        format!(
            "Authorization: Basic {}",
            BASE64_STANDARD.encode("root:secret")
        ),
        format!(
            "Authorization: Basic {}",
            BASE64_STANDARD.encode("root@c.example:secret")
        ),
    ] {
        let reply = get(&mut browser, "/api/status", &[&credentials]).await;
        assert_eq!(reply.status, 401, "{credentials}");
    }
    house.done("ban_account root a.example").await;
    let banned = get(&mut browser, "/api/status", &[&basic("root", "secret")]).await;
    assert_eq!(banned.status, 401);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_of_another_site_gives_commands() {
    let (house, mut browser) = open().await;
    let root = basic("root", "secret");
    let root = root.as_str();
    let body = "{}";
    for (host, headers, status) in [
        ("localhost", vec![root, JSON], 200),
        ("127.0.0.1:5280", vec![root, JSON], 200),
        ("[::1]", vec![root, JSON], 200),
        ("a.example", vec![root, JSON], 200),
        ("evil.example", vec![root, JSON], 403),
        (
            "a.example",
            vec![root, JSON, "Origin: http://a.example"],
            200,
        ),
        (
            "a.example",
            vec![root, JSON, "Origin: http://evil.example"],
            403,
        ),
        (
            "a.example",
            vec![root, JSON, "Origin: http://a.example:81"],
            403,
        ),
        ("a.example", vec![root, JSON, "Origin: null"], 403),
        (
            "a.example",
            vec![root, JSON, "Sec-Fetch-Site: cross-site"],
            403,
        ),
        (
            "a.example",
            vec![root, JSON, "Sec-Fetch-Site: same-origin"],
            200,
        ),
        (
            "a.example",
            vec![root, JSON, "X-Forwarded-For: 192.0.2.1"],
            403,
        ),
        ("a.example", vec![root, "Content-Type: text/plain"], 415),
        ("a.example", vec![root], 415),
    ] {
        let reply = browser
            .asks("POST", host, "/api/reload_config", &headers, body)
            .await;
        assert_eq!(reply.status, status, "{host} {headers:?}: {reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), "");
    }
    let got = get(&mut browser, "/api/reload_config", &[root]).await;
    assert_eq!((got.status, got.header("allow")), (405, "post"));
    assert!(got.body.contains("needs POST"), "{}", got.body);
    let asked = browser
        .asks("OPTIONS", "a.example", "/api/reload_config", &[root], "")
        .await;
    assert_eq!(asked.status, 405);
    house.writes(&format!("{HTTP}[http]\nnames = [\"Evil.example\"]\n"));
    house.done("reload_config").await;
    let named = browser
        .asks(
            "POST",
            "evil.example",
            "/api/reload_config",
            &[root, JSON],
            body,
        )
        .await;
    assert_eq!(named.status, 200, "a name that is configured");
    house.writes(&format!("{HTTP}[http]\napi_from = [\"192.0.2.0/24\"]\n"));
    house.done("reload_config").await;
    let shut = get(&mut browser, "/api/status", &[root]).await;
    assert_eq!((shut.status, shut.body.as_str()), (403, ""));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_made_limited_and_taken_back() {
    let (house, mut browser) = open().await;
    let make = r#"{"user": "root", "host": "a.example"}"#;
    let refused = post(&mut browser, "boss", "token_create", make).await;
    assert_eq!(
        refused.status, 403,
        "she may not speak for one who may more"
    );
    let made = post(&mut browser, "root", "token_create", make)
        .await
        .json();
    let bearer = |made: &serde_json::Value| {
        format!(
            "Authorization: Bearer {}",
            made["token"].as_str().expect("a token")
        )
    };
    let whole = bearer(&made);
    assert_eq!(
        get(&mut browser, "/api/status", &[&whole]).await.status,
        200
    );

    let limited = r#"{"user": "root", "host": "a.example", "lifetime": "60 s", "commands": ["status", "token_create"]}"#;
    let limited = post(&mut browser, "root", "token_create", limited)
        .await
        .json();
    let few = bearer(&limited);
    assert_eq!(get(&mut browser, "/api/status", &[&few]).await.status, 200);
    assert_eq!(get(&mut browser, "/api/tree", &[&few]).await.status, 403);
    let more = browser
        .asks(
            "POST",
            "localhost",
            "/api/token_create",
            &[&few, JSON],
            make,
        )
        .await;
    assert_eq!(more.status, 403, "none limited makes one that is not");
    let page = get(&mut browser, "/api/openapi.json", &[&few]).await.json();
    let paths = page["paths"].as_object().expect("paths");
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/api/status"]);

    let listed = house.done("token_list a.example").await;
    let id = |made: &serde_json::Value| made["id"].as_str().expect("an id").to_owned();
    assert!(
        listed.contains(&id(&made)) && listed.contains("status token_create"),
        "{listed}"
    );
    let secret = made["token"].as_str().expect("a token");
    assert!(!listed.contains(secret), "nobody is told what it is");
    house
        .done(&format!("token_revoke a.example {}", id(&made)))
        .await;
    assert_eq!(
        get(&mut browser, "/api/status", &[&whole]).await.status,
        401
    );
    house
        .refused(&format!("token_revoke b.example {}", id(&limited)))
        .await;
    house.done("ban_account root a.example").await;
    assert_eq!(get(&mut browser, "/api/status", &[&few]).await.status, 401);
    house.done("unban_account root a.example").await;
    assert_eq!(get(&mut browser, "/api/status", &[&few]).await.status, 200);
    house.done("set_role root a.example user").await;
    assert_eq!(get(&mut browser, "/api/status", &[&few]).await.status, 403);
    let wrong = house
        .refused("token_create root a.example --commands stauts")
        .await;
    assert!(wrong.contains("stauts"), "{wrong}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_describe_themselves() {
    let (house, mut browser) = open().await;
    let nobody = get(&mut browser, "/api/openapi.json", &[]).await;
    assert_eq!(nobody.status, 401);
    let root = basic("root", "secret");
    let page = get(&mut browser, "/api/openapi.json", &[&root])
        .await
        .json();
    let register =
        &page["paths"]["/api/register"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(
        register["schema"]["required"],
        json!(["user", "host", "password"])
    );
    assert!(page["paths"]["/api/status"]["get"].is_object());
    let known = house.server.node().commands.list().len();
    assert_eq!(
        page["paths"].as_object().map(serde_json::Map::len),
        Some(known)
    );
    let boss = basic("boss", "secret");
    let page = get(&mut browser, "/api/openapi.json", &[&boss])
        .await
        .json();
    assert!(
        page["paths"].get("/api/stop").is_none(),
        "she is shown what she may"
    );
    house.stop().await;
}
