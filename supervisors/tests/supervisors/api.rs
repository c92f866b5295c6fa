//! Commands over HTTP: who may, what is answered, what no other site can do.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::browser::{Browser, Reply};
use crate::house::House;
use crate::http::{HTTP, door};

const JSON: &str = "Content-Type: application/json";

/// A house with an administrator, one of a host, and a user; and a browser there.
async fn open() -> (House, Browser) {
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

fn basic(user: &str, password: &str) -> String {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_commands_are_given_by_xml_rpc() {
    let (house, mut browser) = open().await;
    let member = |name: &str, value: &str| {
        format!("<member><name>{name}</name><value><string>{value}</string></value></member>")
    };
    let param = |members: &[String]| {
        format!(
            "<param><value><struct>{}</struct></value></param>",
            members.concat()
        )
    };
    let call = |method: &str, params: &[String]| {
        format!(
            "<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>{}</params></methodCall>",
            params.concat()
        )
    };
    let root = basic("root", "secret");
    let xml = "Content-Type: text/xml; charset=utf-8";
    let who = param(&[
        member("user", "root"),
        member("server", "a.example"),
        member("password", "secret"),
    ]);
    let host = param(&[member("host", "a.example")]);
    let ask = async |browser: &mut Browser, headers: &[&str], body: &str| {
        browser
            .asks("POST", "localhost", "/xmlrpc", headers, body)
            .await
    };
    let listed = call("registered_users", std::slice::from_ref(&host));
    let by_header = ask(&mut browser, &[&root, xml], &listed).await;
    assert_eq!(by_header.status, 200);
    assert!(by_header.body.contains("boss"), "{}", by_header.body);
    let inside = call("registered_users", &[who.clone(), host.clone()]);
    let by_struct = ask(&mut browser, &[xml], &inside).await;
    assert_eq!(by_struct.body, by_header.body);

    let nobody = ask(&mut browser, &[xml], &listed).await;
    assert_eq!(nobody.status, 401);
    let wrong = call("status", &[who.replace("secret", "wrong"), host.clone()]);
    assert_eq!(ask(&mut browser, &[xml], &wrong).await.status, 401);
    let json = ask(&mut browser, &[&root, JSON], &listed).await;
    assert_eq!(json.status, 415);
    let other = ask(
        &mut browser,
        &[&root, xml, "Origin: http://x.example"],
        &listed,
    )
    .await;
    assert_eq!(other.status, 403);
    for (body, code, why) in [
        (call("registered_users", &[]), 400, "host: is missing"),
        (call("registred_users", &[]), 404, "did you mean"),
        ("<x/>".to_owned(), 400, "methodCall"),
    ] {
        let fault = ask(&mut browser, &[&root, xml], &body).await;
        assert_eq!(fault.status, 200);
        assert!(fault.body.contains("<fault>"), "{}", fault.body);
        assert!(
            fault.body.contains(&format!("<int>{code}</int>")),
            "{}",
            fault.body
        );
        assert!(fault.body.contains(why), "{}", fault.body);
    }
    house.stop().await;
}
