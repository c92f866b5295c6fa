//! Every command: what it answers, and why it refuses.

use crate::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts() {
    let house = House::start("").await;
    assert_eq!(
        house.done("register alice a.example secret").await,
        r#""alice@a.example registered""#
    );
    assert_eq!(
        house.done("register Bob a.example secret").await,
        r#""bob@a.example registered""#
    );
    assert_eq!(
        house.done("registered_users a.example").await,
        r#"["alice","bob"]"#
    );
    assert_eq!(house.done("registered_users b.example").await, "[]");
    assert_eq!(
        house.done("change_password alice a.example other").await,
        r#""password of alice@a.example changed""#
    );
    assert_eq!(
        house.done("set_role alice a.example admin").await,
        r#""alice@a.example is admin now""#
    );
    assert!(house.done("connected_users").await.starts_with('['));
    assert!(
        house
            .done("connected_users a.example")
            .await
            .starts_with('[')
    );
    assert_eq!(
        house.done("unregister bob a.example").await,
        r#""bob@a.example removed""#
    );
    assert_eq!(
        house.done("registered_users a.example").await,
        r#"["alice"]"#
    );
    for (words, why) in [
        ("register alice a.example secret", "exists"),
        (
            "register alice a.exampel secret",
            "unknown host `a.exampel`; did you mean `a.example`?",
        ),
        (
            "register a@b a.example secret",
            "`a@b` is not the name of an account",
        ),
        ("register alice a.example", "PASSWORD is missing"),
        ("register alice", "HOST, PASSWORD are missing"),
        (
            "unregister bob a.example",
            "there is no account bob@a.example",
        ),
        (
            "change_password bob a.example x",
            "there is no such account",
        ),
        ("set_role alice a.example admn", "did you mean `admin`?"),
        (
            "set_role bob a.example admin",
            "there is no account bob@a.example",
        ),
        (
            "kick_session alice a.example desk",
            "there is no session alice@a.example/desk",
        ),
        ("connected_users c.example", "unknown host `c.example`"),
        (
            "registred_users a.example",
            "did you mean `registered_users`?",
        ),
    ] {
        let error = house.refused(words).await;
        assert!(error.contains(why), "{words}: {error}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_as_a_whole() {
    let house = House::start("").await;
    let status = house.done("status").await;
    for part in [
        r#""status":"running""#,
        r#""hosts":["a.example","b.example"]"#,
        r#""sessions":0"#,
    ] {
        assert!(status.contains(part), "{status}");
    }
    let tree = house.done("tree").await;
    for name in [
        "storage_sup",
        "router",
        "sm",
        "hosts_sup",
        "a.example",
        "modules_sup",
        "loader",
        "http_sup",
        "bosh_sup",
        "c2s_sup",
        "listener_sup",
        "control",
    ] {
        assert!(tree.contains(name), "no {name} in {tree}");
    }
    assert!(house.done("route_list").await.contains("a.example"));
    assert!(house.done("hook_list").await.contains("offline_message"));
    assert!(house.done("module_options mod_echo").await.contains("host"));
    let page = house.done("config_doc").await;
    assert!(
        page.contains("stanza_bytes") && page.contains("mod_echo"),
        "{page}"
    );
    let shown = house.done("config_show --origin").await;
    assert!(shown.contains("natter.toml:1"), "{shown}");
    let (stopped, ()) = tokio::join!(house.runs("stop"), house.server.stop_ordered());
    stopped.expect("stops");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored() {
    let house = House::start("").await;
    house.done("register alice a.example secret").await;
    let copy = house.folder.path().join("copy");
    let copy = copy.to_str().expect("UTF-8");
    house.done(&format!("backup {copy}")).await;
    house.done("register bob a.example secret").await;
    house.done(&format!("restore {copy}")).await;
    assert_eq!(
        house.done("registered_users a.example").await,
        r#"["alice"]"#
    );
    let error = house.refused("restore /nowhere/at/all").await;
    assert!(error.contains("the store failed"), "{error}");
    assert_eq!(
        house.done("registered_users a.example").await,
        r#"["alice"]"#
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_come_and_go() {
    let house = House::start("").await;
    assert_eq!(
        house.done("module_start a.example mod_echo").await,
        r#""mod_echo started on a.example""#
    );
    assert!(house.has_route("echo.a.example").await);
    let list = house.done("module_list a.example").await;
    assert!(
        list.contains("mod_echo")
            && list.contains("route echo.a.example")
            && list.contains("running"),
        "{list}"
    );
    assert_eq!(
        house.done("restart_module a.example mod_echo").await,
        r#""mod_echo restarted on a.example""#
    );
    for (words, why) in [
        (
            "module_start a.example mod_echo",
            "mod_echo is already running",
        ),
        (
            "module_start a.example mod_eco",
            "unknown module `mod_eco`; did you mean `mod_echo`?",
        ),
        (
            "module_start c.example mod_echo",
            "unknown host `c.example`",
        ),
        (
            "module_start b.example mod_echo hots=x",
            "did you mean `host`?",
        ),
        (
            "module_start b.example mod_echo host=echo.a.example",
            "echo.a.example",
        ),
        ("module_start b.example mod_echo host", "host"),
        ("module_stop b.example mod_echo", "mod_echo is not running"),
        (
            "restart_module b.example mod_echo",
            "mod_echo is not running",
        ),
        ("module_options mod_eco", "did you mean `mod_echo`?"),
    ] {
        let error = house.refused(words).await;
        assert!(error.contains(why), "{words}: {error}");
    }
    assert!(
        !house
            .done("module_list b.example")
            .await
            .contains("mod_echo")
    );
    assert_eq!(
        house.done("module_stop a.example mod_echo").await,
        r#""mod_echo stopped on a.example""#
    );
    assert!(!house.server.node().router.is_local("echo.a.example"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_changes_are_kept_reset_or_passing() {
    let house = House::start("").await;
    house
        .done("module_start a.example mod_echo host=say.@HOST@")
        .await;
    house
        .done("module_start b.example mod_echo --transient")
        .await;
    house.done("module_stop a.example mod_ping").await;
    let house = house.again().await;
    assert!(house.has_route("say.a.example").await);
    assert!(!house.has_route("echo.b.example").await);
    assert!(
        !house
            .done("module_list a.example")
            .await
            .contains("mod_ping")
    );
    assert_eq!(
        house.done("module_reset a.example mod_echo").await,
        r#""mod_echo stopped as configured on a.example""#
    );
    assert_eq!(
        house.done("module_reset a.example mod_ping").await,
        r#""mod_ping started as configured on a.example""#
    );
    assert_eq!(
        house.done("module_reset a.example mod_disco").await,
        r#""mod_disco runs as configured on a.example""#
    );
    assert!(
        house
            .done("module_reset b.example mod_echo")
            .await
            .contains("does not run, as configured")
    );
    assert!(!house.has_route("say.a.example").await);
    let house = house.again().await;
    assert!(!house.has_route("say.a.example").await && !house.has_route("echo.a.example").await);
    assert!(
        house
            .done("module_list a.example")
            .await
            .contains("mod_ping")
    );
    assert!(!house.overrides().contains("mod_"), "{}", house.overrides());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_live_in_one_process() {
    let (one, two) = (House::start("").await, House::start("").await);
    one.done("register alice a.example secret").await;
    one.done("module_start a.example mod_echo").await;
    assert_eq!(two.done("registered_users a.example").await, "[]");
    assert!(!two.has_route("echo.a.example").await);
    one.stop().await;
    two.done("register bob a.example secret").await;
    two.stop().await;
}
