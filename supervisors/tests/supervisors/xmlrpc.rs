//! Commands by XML-RPC.

use crate::api::{JSON, basic, open};
use crate::browser::Browser;
use crate::http::door;

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
        ("".to_owned(), 400, "no XML"),
        (listed.replace("</methodCall>", ""), 400, "no XML"),
        (
            format!("<!DOCTYPE m [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>{listed}"),
            400,
            "no XML",
        ),
        (
            listed.replace(
                "<?xml version='1.0'?>",
                "<!DOCTYPE m [<!ENTITY e 'a.example'>]>",
            ),
            400,
            "no XML",
        ),
        (listed.replace("a.example", "&e;"), 400, "no XML"),
        (
            listed.replace("<string>a.example</string>", "<int>one</int>"),
            400,
            "no int",
        ),
        (
            listed.replace("<string>a.example</string>", "<int>1</int>"),
            400,
            "host: expected a text",
        ),
        (
            call(
                "registered_users",
                &[host.clone(), host.clone(), host.clone()],
            ),
            400,
            "at most two",
        ),
        (
            call(
                "registered_users",
                &["<param><value>a.example</value></param>".to_owned()],
            ),
            400,
            "are a struct",
        ),
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
    // A name in base64 is the text that it is.
    let packed = listed.replace(
        "<string>a.example</string>",
        "<base64>YS5leGFt\ncGxl</base64>",
    );
    let unpacked = ask(&mut browser, &[&root, xml], &packed).await;
    assert_eq!(unpacked.body, by_header.body);
    let got = browser
        .asks("GET", "localhost", "/xmlrpc", &[&root], "")
        .await;
    assert_eq!((got.status, got.header("allow")), (405, "post"));
    let long = listed.replace("a.example", &"x".repeat(1024 * 1024));
    let mut browser = Browser::dial(door(&house)).await;
    let long = ask(&mut browser, &[&root, xml], &long).await;
    assert_eq!(long.status, 413);
    assert_eq!(long.json()["code"], 413);
    // With its clock standing still the server would wait for who may still send.
    drop(browser);
    house.stop().await;
}
