//! Reloads: what is right is applied, what is wrong changes nothing.

use crate::house::House;

const ECHO: &str = "[host.\"a.example\".modules.mod_echo]\nenabled = true\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_in_the_file_is_applied() {
    let house = House::start("").await;
    house.writes(ECHO);
    let done = house.done("reload_config").await;
    assert!(done.contains("mod_echo on a.example: started"), "{done}");
    assert!(house.has_route("echo.a.example").await);
    house.writes(&format!(
        "{ECHO}host = \"say.@HOST@\"\n[limits]\ndepth = 32\n"
    ));
    let done = house.done("reload_config").await;
    assert!(
        done.contains(
            r#"mod_echo on a.example: options changed (host: \"echo.@HOST@\" → \"say.@HOST@\")"#
        ),
        "{done}"
    );
    assert!(
        done.contains("limits.depth: 64 → 32, for new connections"),
        "{done}"
    );
    assert!(house.has_route("say.a.example").await && !house.has_route("echo.a.example").await);
    house.writes("");
    let done = house.done("reload_config").await;
    assert!(done.contains("mod_echo on a.example: stopped"), "{done}");
    let done = house.done("reload_config").await;
    assert!(!done.contains("mod_"), "nothing changed: {done}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_file_changes_nothing() {
    let house = House::start(ECHO).await;
    let shown = house.done("config_show").await;
    for wrong in [
        "[modules.mod_ech]\n",
        "[host.\"a.example\".modules.mod_echo]\nenabled = true\nhots = \"x\"\n",
        "[tls]\ncertificates = [\"none/*.pem\"]\n[host.\"a.example\".modules.mod_echo]\nenabled = 3\n",
        "[[[\n",
    ] {
        house.writes(wrong);
        let error = house.refused("reload_config").await;
        assert!(error.contains("natter.toml:"), "{error}");
        assert!(house.has_route("echo.a.example").await);
        assert_eq!(house.done("config_show").await, shown);
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_cannot_start_changes_nothing_and_is_tried_again() {
    let house = House::start("").await;
    house
        .done("module_start b.example mod_echo host=echo.a.example")
        .await;
    house.writes(&format!("{ECHO}[modules.mod_version]\nenabled = false\n"));
    let error = house.refused("reload_config").await;
    assert!(
        error.contains("nothing was changed") && error.contains("mod_echo on a.example"),
        "{error}"
    );
    assert!(
        error.contains("already") || error.contains("echo.a.example"),
        "{error}"
    );
    assert!(
        house.done("module_list").await.contains("mod_version"),
        "the rest is not applied"
    );
    house.refused("reload_config").await;
    house.done("module_stop b.example mod_echo").await;
    let done = house.done("reload_config").await;
    assert!(done.contains("mod_echo on a.example: started"), "{done}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_change_does_not_swallow_edits_of_the_file() {
    let house = House::start("").await;
    house.writes(ECHO);
    house.done("module_stop b.example mod_ping").await;
    assert!(
        !house.has_route("echo.a.example").await,
        "only a reload applies the file"
    );
    let done = house.done("reload_config").await;
    assert!(done.contains("mod_echo on a.example: started"), "{done}");
    assert!(
        !house
            .done("module_list b.example")
            .await
            .contains("mod_ping"),
        "and the kept change stays"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_change_does_not_stand_in_a_reload_s_way() {
    let house = House::start("").await;
    house
        .done("module_start a.example mod_echo --transient")
        .await;
    house.writes(ECHO);
    let done = house.done("reload_config").await;
    assert!(
        done.contains("mod_echo on a.example: options changed"),
        "{done}"
    );
    house
        .done("module_stop a.example mod_echo --transient")
        .await;
    house.writes("");
    let done = house.done("reload_config").await;
    assert!(
        done.contains("mod_echo on a.example: does not run, as configured"),
        "{done}"
    );
    house.stop().await;
}
