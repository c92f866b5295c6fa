//! What `--check` says of a configuration.

use supervisors::{CATALOG, STANDARD};

use crate::authority::Authority;
use crate::house::{House, folder, place};

/// The faults of a configuration; none when it is good.
fn check(more: &str) -> String {
    let folder = folder(more);
    let name = folder.path().join("natter.toml").display().to_string();
    let faults = place(&folder)
        .load(CATALOG, STANDARD)
        .err()
        .map(|error| error.to_string());
    faults.unwrap_or_default().replace(&name, "natter.toml")
}

#[test]
fn faults_are_told_with_their_place_and_what_was_meant() {
    assert_eq!(check("[modules.mod_ping]\nenabled = true\n"), "");
    for (more, place, why) in [
        (
            "[host.\"c.example\".modules.mod_ping]\n",
            "natter.toml",
            "`c.example` is not among the hosts",
        ),
        (
            "[host.\"a.exampel\"]\n",
            "natter.toml",
            "did you mean `a.example`?",
        ),
        (
            "[modules.mod_pong]\n",
            "natter.toml:7",
            "unknown module `mod_pong` (did you mean `mod_ping`?)",
        ),
        (
            "[host.\"a.example\".modules.mod_pong]\n",
            "natter.toml:7",
            "unknown module `mod_pong`",
        ),
        (
            "[modules.mod_echo]\nhots = \"x\"\n",
            "natter.toml:8:1",
            "did you mean `host`?",
        ),
        ("[modules.mod_echo]\nhost = 7\n", "natter.toml:8:8", "host"),
        (
            "[[listener]]\naddress = \"127.0.0.1:0\"\nproxies = [\"local\"]\n",
            "natter.toml:9",
            "neither an address nor a network",
        ),
        (
            "[limits]\nstanza_bytes = 12\n",
            "natter.toml:8:16",
            "stanza_bytes",
        ),
        (
            "[limits]\nstanza_byte = 12\n",
            "natter.toml:8:1",
            "did you mean `stanza_bytes`?",
        ),
        (
            "[modules.mod_echo]\nenabled = 3\n",
            "natter.toml:8:11",
            "enabled",
        ),
        ("[limits\n", "natter.toml:7", ""),
    ] {
        let faults = check(more);
        assert!(
            faults.contains(place) && faults.contains(why),
            "{more}: {faults}"
        );
    }
}

#[test]
fn a_fault_for_every_host_is_told_once() {
    let faults = check("[modules.mod_echo]\nhots = \"x\"\n");
    assert_eq!(faults.matches("hots").count(), 1, "{faults}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_start_says_why_and_leaves_nothing_behind() {
    let house = House::start("").await;
    let address = house.server.addresses()[0].at;
    let taken = folder("");
    let file = taken.path().join("natter.toml");
    let text = std::fs::read_to_string(&file)
        .expect("ours")
        .replace("127.0.0.1:0", &address.to_string());
    std::fs::write(&file, text).expect("ours");
    let error = House::open(taken)
        .await
        .err()
        .expect("the address is taken");
    assert!(
        error
            .to_string()
            .contains(&format!("cannot listen at {address}")),
        "{error}"
    );
    let second = supervisors::Server::start(place(&house.folder), otp::Clock::manual().0).await;
    assert!(second.is_err(), "two servers on one directory");
    house.done("status").await;
    let folder = house.stop().await;
    House::open(folder)
        .await
        .expect("its directory and port are free")
        .stop()
        .await;
}

#[test]
fn a_check_tells_what_covers_each_host() {
    let authority = Authority::new();
    let folder = folder("[tls]\ncertificates = [\"a.crt\"]\n");
    let put = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("ours");
    };
    let issued = authority.issues("a.example");
    put("a.crt", &issued.chain);
    put("a.key", &issued.key);
    let checked = || {
        let loaded = place(&folder).load(CATALOG, STANDARD).expect("it is good");
        supervisors::check(&loaded, &otp::Clock::real()).map_err(|error| error.to_string())
    };
    let notes = checked().expect("it can be read");
    assert!(
        notes.contains("b.example: no certificate covers this domain"),
        "{notes}"
    );
    // The certificates of these tests last until the year 4096.
    assert!(notes.contains("a.crt expires in "), "{notes}");
    put("a.key", &authority.issues("a.example").key);
    let why = checked().expect_err("another key");
    assert!(
        why.contains("a.crt: certificate and key do not go together"),
        "{why}"
    );
    put("a.key", "no key");
    let why = checked().expect_err("no key");
    assert!(why.contains("a.key: private key"), "{why}");
    assert!(
        !folder.path().join("data").exists(),
        "a check writes nothing"
    );
}
