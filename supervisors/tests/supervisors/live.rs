//! Reloads of a running server: listeners, hosts, certificates and limits, and what stays when one fails.

use std::net::{SocketAddr, TcpListener};

use crate::authority::Authority;
use crate::house::{House, write_whole};
use crate::peer::{Peer, greeting, is_open};

const HOSTS: &str = "hosts = [\"a.example\", \"b.example\"]\n";
const C: &str = "hosts = [\"a.example\", \"b.example\", \"c.example\"]\n";

fn listener(address: &str, tls: &str) -> String {
    format!("[[listener]]\nkind = \"c2s\"\naddress = \"{address}\"\ntls = \"{tls}\"\n")
}

/// A port that nobody has.
fn free() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("it is bound")
}

/// A house with these hosts and one listener without TLS; where it is.
async fn open() -> (House, SocketAddr, String) {
    let at = free();
    let plain = listener(&at.to_string(), "off");
    let folder = tempfile::tempdir().expect("a folder");
    write_whole(&folder, &format!("{HOSTS}{plain}"));
    let house = House::open(folder).await.expect("the server starts");
    (house, at, plain)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_comes_and_goes_on_the_running_server() {
    let (house, at, plain) = open().await;
    assert!(greeting(at, "c.example").await.contains("host-unknown"));
    house.writes_whole(&format!("{C}{plain}"));
    let plan = house.done("reload_config --plan").await;
    assert_eq!(plan, r#"["host c.example: added"]"#);
    assert!(greeting(at, "c.example").await.contains("host-unknown"));
    let done = house.done("reload_config").await;
    assert!(done.contains("host c.example: added"), "{done}");
    assert!(greeting(at, "c.example").await.contains("features"));
    house.done("register carol c.example secret").await;
    house.done("register alice a.example secret").await;
    let (mut carol, mut alice) = (Peer::dial(at).await, Peer::dial(at).await);
    carol.logs_in("carol", "c.example", "secret").await;
    alice.logs_in("alice", "a.example", "secret").await;
    alice
        .says("<iq type='get' id='1' to='c.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    alice.hears("<iq").await;
    assert!(alice.hears(">").await.contains("result"));

    house.writes_whole(&format!("{HOSTS}{plain}"));
    // The reload waits until she has gone.
    let goes = async move { carol.hears("</stream:stream>").await };
    let (done, goodbye) = tokio::join!(house.done("reload_config"), goes);
    assert!(done.contains("host c.example: removed"), "{done}");
    assert!(goodbye.contains("host-gone"), "{goodbye}");
    assert!(greeting(at, "c.example").await.contains("host-unknown"));
    assert!(!house.done("route_list").await.contains("c.example"));
    assert!(
        house
            .refused("module_list c.example")
            .await
            .contains("unknown host")
    );
    // The other host did not notice, but for the one that is foreign now.
    alice
        .says("<iq type='get' id='2' to='c.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    alice.hears("remote-server-not-found").await;

    // What was stored is there when the host comes back.
    house.writes_whole(&format!("{C}{plain}"));
    house.done("reload_config").await;
    let users = house.done("registered_users c.example").await;
    assert_eq!(users, r#"["carol"]"#);
    carol = Peer::dial(at).await;
    carol.logs_in("carol", "c.example", "secret").await;
    drop((carol, alice));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_open_close_and_change() {
    let (house, at, plain) = open().await;
    let mut standing = Peer::dial(at).await;
    standing.opens("a.example").await;
    let more = free();
    let both = format!("{HOSTS}{plain}{}", listener(&more.to_string(), "off"));
    house.writes_whole(&both);
    let done = house.done("reload_config").await;
    assert!(
        done.contains(&format!("listener c2s {more} (off): opened")),
        "{done}"
    );
    assert!(greeting(more, "a.example").await.contains("features"));

    // The same address asks for TLS from now on; the stream that stands is not asked.
    let strict = format!("{HOSTS}{}", listener(&at.to_string(), "required"));
    house.writes_whole(&strict);
    let done = house.done("reload_config").await;
    let changed = format!(r#"listener c2s {at}.tls: \"off\" → \"required\", for new connections"#);
    assert!(done.contains(&changed), "{done}");
    assert!(
        done.contains(&format!("listener c2s {more} (off): closed")),
        "{done}"
    );
    let mut new = Peer::dial(at).await;
    new.opens("a.example").await;
    new.hears("<required/>").await;
    assert!(!is_open(more).await);
    standing.says("</stream:stream>").await;
    standing.hears("</stream:stream>").await;

    // From one address to all, at the same port.
    let wide = format!("0.0.0.0:{}", at.port());
    house.writes_whole(&format!("{HOSTS}{}", listener(&wide, "off")));
    let done = house.done("reload_config").await;
    assert!(
        done.contains(&format!("listener c2s {wide} (off): opened")),
        "{done}"
    );
    assert!(greeting(at, "b.example").await.contains("features"));
    drop((standing, new));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_for_new_connections() {
    let (house, at, plain) = open().await;
    let deep = "<a xmlns='x'><b><c><d><e/></d></c></b></a>";
    let mut before = Peer::dial(at).await;
    before.opens("a.example").await;
    house.writes_whole(&format!("{HOSTS}{plain}[limits]\ndepth = 4\n"));
    let done = house.done("reload_config").await;
    assert!(
        done.contains("limits.depth: 64 → 4, for new connections"),
        "{done}"
    );
    before.says(deep).await;
    before.hears("unsupported-stanza-type").await;
    let mut after = Peer::dial(at).await;
    after.opens("a.example").await;
    after.says(deep).await;
    after.hears("policy-violation").await;
    drop((before, after));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_are_asked_from_the_reload_on() {
    let (house, at, plain) = open().await;
    let client = "PROXY TCP4 192.0.2.1 198.51.100.1 40000 5222\r\n";
    let mut standing = Peer::dial(at).await;
    standing.opens("a.example").await;
    house.writes_whole(&format!("{HOSTS}{plain}proxy_protocol = true\n"));
    let done = house.done("reload_config").await;
    let line = format!("listener c2s {at}.proxy_protocol: false → true, for new connections");
    assert!(done.contains(&line), "{done}");
    let mut new = Peer::dial(at).await;
    new.says(client).await;
    assert!(new.opens("a.example").await.contains("features"));
    assert!(turned_away(at, "<stream:stream to='a.example'>").await);
    house.writes_whole(&format!(
        "{HOSTS}{plain}proxy_protocol = true\nproxies = [\"192.0.2.0/24\"]\n"
    ));
    house.done("reload_config").await;
    assert!(turned_away(at, client).await);
    house.writes_whole(&format!("{HOSTS}{plain}"));
    house.done("reload_config").await;
    assert!(greeting(at, "a.example").await.contains("features"));
    standing.says("</stream:stream>").await;
    standing.hears("</stream:stream>").await;
    drop((standing, new));
    house.stop().await;
}

/// Whether a connection ends without a word when this is said.
async fn turned_away(at: SocketAddr, text: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(at)
        .await
        .expect("it listens");
    let written = socket.write_all(text.as_bytes()).await;
    let mut heard = Vec::new();
    // With what was not read there the end may be a reset.
    let _ = socket.read_to_end(&mut heard).await;
    written.is_ok() && heard.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_more_places_and_fewer() {
    let (house, at, plain) = open().await;
    let places =
        |count: u32| format!("{HOSTS}{plain}[limits]\nconnections_before_login = {count}\n");
    house.writes_whole(&places(1));
    let done = house.done("reload_config").await;
    let line = "limits.connections_before_login: 4096 → 1, for new connections";
    assert!(done.contains(line), "{done}");
    let mut first = Peer::dial(at).await;
    first.opens("a.example").await;
    // Connected, and it waits for a place.
    let mut second = Peer::dial(at).await;
    second.says("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='a.example'>").await;
    house.writes_whole(&places(2));
    house.done("reload_config").await;
    second.hears("features").await;
    drop((first, second));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_follow_the_files() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let certs = folder.path().join("certs");
    std::fs::create_dir(&certs).expect("ours");
    let put = |name: &str, text: &str| std::fs::write(certs.join(name), text).expect("ours");
    let first = authority.issues("a.example");
    put("a.crt", &first.chain);
    put("a.key", &first.key);
    let at = free();
    let direct = listener(&at.to_string(), "direct");
    let tls = "[tls]\ncertificates = [\"certs/*.crt\"]\n";
    write_whole(&folder, &format!("hosts = [\"a.example\"]\n{direct}{tls}"));
    let house = House::open(folder).await.expect("the server starts");
    let shown = authority.trusts(at, "a.example").await.expect("trusted");

    // A renewed one, and one for a host more.
    let second = authority.issues("a.example");
    put("a.crt", &second.chain);
    put("a.key", &second.key);
    let other = authority.issues("c.example");
    put("c.crt", &other.chain);
    put("c.key", &other.key);
    house.writes_whole(&format!(
        "hosts = [\"a.example\", \"c.example\", \"d.example\"]\n{direct}{tls}"
    ));
    let done = house.done("reload_config").await;
    assert!(done.contains("no certificate covers d.example"), "{done}");
    let renewed = authority.trusts(at, "a.example").await.expect("trusted");
    assert_ne!(shown, renewed);
    assert!(authority.trusts(at, "c.example").await.is_some());

    // A key that does not fit: nothing changes, not even what else the file says.
    put("a.key", &first.key);
    house.writes_whole(&format!("hosts = [\"a.example\"]\n{direct}{tls}"));
    let why = house.refused("reload_config").await;
    assert!(
        why.contains("a.crt: certificate and key do not go together"),
        "{why}"
    );
    assert!(why.contains("nothing was changed"), "{why}");
    assert_eq!(authority.trusts(at, "a.example").await, Some(renewed));
    assert_eq!(
        house.done("host_list").await,
        r#"["a.example","c.example","d.example"]"#
    );
    house.stop().await;
}

fn assert_same(now: &str, before: &str) {
    let parts = |text: &str| text.split("\\n").map(str::to_owned).collect::<Vec<_>>();
    let (now, before) = (parts(now), parts(before));
    for (now, before) in now.iter().zip(&before) {
        assert_eq!(now, before);
    }
    assert_eq!(now.len(), before.len());
}

/// Everything that a reload could have changed, as one text.
async fn state(house: &House) -> String {
    let mut state = String::new();
    for command in ["config_show", "host_list", "route_list", "hook_list"] {
        state += &house.done(command).await;
    }
    let listed = house.done("module_list").await;
    // How long each runs is not of interest.
    let columns = listed.split('"').filter(|part| !part.ends_with(" s"));
    state += &columns.collect::<Vec<_>>().join("\"");
    for address in house.server.addresses() {
        state += &format!("{address:?}");
    }
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_leaves_all_as_before() {
    let (house, at, plain) = open().await;
    let before = state(&house).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound");
    let (fine, busy) = (free(), listener(&port.to_string(), "off"));
    let fine_too = listener(&fine.to_string(), "off");
    house.writes_whole(&format!("{C}{plain}{fine_too}{busy}[limits]\ndepth = 4\n"));
    let why = house.refused("reload_config").await;
    assert!(why.contains(&format!("cannot listen at {port}")), "{why}");
    assert!(
        why.contains("nothing was changed") && !why.contains("but"),
        "{why}"
    );
    assert_same(&state(&house).await, &before);
    assert!(!is_open(fine).await);
    assert!(greeting(at, "c.example").await.contains("host-unknown"));
    // Also where an open listener has the port that is wanted: it is not closed to try, not for a moment.
    let narrow = TcpListener::bind(("127.0.0.2", at.port())).expect("a port");
    let wide = format!("0.0.0.0:{}", at.port());
    house.writes_whole(&format!("{HOSTS}{}", listener(&wide, "off")));
    let watch = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let goes_on = std::sync::Arc::clone(&watch);
    let refused = std::thread::spawn(move || {
        let (mut refused, mut dialled) = (0, 0);
        // Not so often that this machine runs out of ports.
        while goes_on.load(std::sync::atomic::Ordering::Relaxed) && dialled < 2000 {
            dialled += 1;
            refused += u32::from(std::net::TcpStream::connect(at).is_err());
        }
        refused
    });
    for _ in 0..3 {
        let why = house.refused("reload_config").await;
        assert!(why.contains(&format!("cannot listen at {wide}")), "{why}");
        assert!(!why.contains("but"), "{why}");
    }
    watch.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(refused.join().expect("it only dials"), 0);
    assert!(greeting(at, "a.example").await.contains("features"));
    let before = house.server.addresses();
    assert!(before.iter().any(|address| address.at == at), "{before:?}");
    drop((narrow, taken));
    house.done("reload_config").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_does_not_start_leaves_all_as_before() {
    let (house, at, plain) = open().await;
    let version = "[host.\"a.example\".modules.mod_version]\nenabled = false\n";
    let echo = "[host.\"a.example\".modules.mod_echo]\nenabled = true\n";
    let before = state(&house).await;
    // On a host that runs: others have been changed by then, and a host begun.
    let wrong = "[host.\"b.example\".modules.mod_echo]\nenabled = true\nhost = \"a.example\"\n";
    house.writes_whole(&format!("{C}{plain}{version}{echo}{wrong}"));
    let why = house.refused("reload_config").await;
    assert!(
        why.contains("mod_echo on b.example: mod_echo did not start"),
        "{why}"
    );
    assert!(
        why.contains("nothing was changed") && !why.contains("but"),
        "{why}"
    );
    assert_same(&state(&house).await, &before);
    // On a host that is to begin.
    let wrong = "[host.\"c.example\".modules.mod_echo]\nenabled = true\nhost = \"a.example\"\n";
    house.writes_whole(&format!("{C}{plain}{version}{echo}{wrong}"));
    let why = house.refused("reload_config").await;
    assert!(why.contains("host c.example does not start"), "{why}");
    assert!(why.contains("mod_echo did not start"), "{why}");
    assert_same(&state(&house).await, &before);
    // Options that a running module cannot take.
    house.writes_whole(&format!("{HOSTS}{plain}{echo}"));
    house.done("reload_config").await;
    let before = state(&house).await;
    let wrong = "host = \"b.example\"\n";
    house.writes_whole(&format!("{HOSTS}{plain}{version}{echo}{wrong}"));
    let why = house.refused("reload_config").await;
    assert!(why.contains("mod_echo on a.example"), "{why}");
    assert_same(&state(&house).await, &before);
    assert!(greeting(at, "a.example").await.contains("features"));
    // And nothing is left in the way of the right file.
    house.writes_whole(&format!("{C}{plain}{version}{echo}"));
    house.done("reload_config").await;
    assert!(greeting(at, "c.example").await.contains("features"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_added_and_removed_by_command() {
    let (house, at, _) = open().await;
    let done = house.done("host_add C.Example").await;
    assert_eq!(done, r#"["host c.example: added"]"#);
    assert!(greeting(at, "c.example").await.contains("features"));
    house.done("host_add d.example --transient").await;
    house.done("host_remove b.example").await;
    for (words, why) in [
        ("host_add c.example", "c.example is already served"),
        ("host_remove x.example", "x.example is not served"),
        ("host_add a@b", "`a@b` is not a domain"),
    ] {
        let told = house.refused(words).await;
        assert!(told.contains(why), "{words}: {told}");
    }
    // Edits of the file and these go together.
    let shown = house.done("config_show --origin").await;
    assert!(
        shown.contains(r#"host.\"c.example\".served = true"#),
        "{shown}"
    );
    let house = house.again().await;
    assert_eq!(
        house.done("host_list").await,
        r#"["a.example","c.example"]"#
    );
    assert_eq!(house.done("reload_config").await, "[]");
    house.done("host_add b.example").await;
    house.done("host_remove c.example").await;
    assert!(
        !house.overrides().contains("served"),
        "{}",
        house.overrides()
    );
    house.done("host_remove b.example").await;
    let told = house.refused("host_remove a.example").await;
    assert!(told.contains("at least one host is needed"), "{told}");
    assert_eq!(house.done("host_list").await, r#"["a.example"]"#);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_for_a_restart_is_said_and_left() {
    let (house, _, plain) = open().await;
    house.writes_whole(&format!(
        "control_socket = \"other.sock\"\nlog = \"debug\"\n{HOSTS}{plain}"
    ));
    let heard = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let log = std::sync::Arc::clone(&heard);
    house
        .server
        .on_log(move |text| *log.lock().expect("alone") = text.to_owned());
    let done = house.done("reload_config").await;
    let socket = r#"control_socket: – → \"other.sock\", with a restart of the node"#;
    assert!(done.contains(socket), "{done}");
    assert!(
        done.contains(r#"log: \"info,ractor=warn\" → \"debug\""#),
        "{done}"
    );
    assert_eq!(*heard.lock().expect("alone"), "debug");
    house.writes_whole(&format!("log = \"natter=loud\"\n{HOSTS}{plain}"));
    let why = house.refused("reload_config").await;
    assert!(
        why.contains("natter.toml:1:7") && why.contains("nothing was changed"),
        "{why}"
    );
    house.stop().await;
}
