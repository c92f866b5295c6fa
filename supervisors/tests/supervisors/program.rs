//! `natterd` as systemd starts it.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::house::{folder, place};

/// Waits for a state and gives all that was said with it.
fn hears(ear: &UnixDatagram, state: &str) -> String {
    let mut room = [0; 1024];
    loop {
        let heard = ear.recv(&mut room).expect("something is said");
        let text = String::from_utf8_lossy(&room[..heard]).into_owned();
        if text.lines().any(|line| line == state) {
            return text;
        }
    }
}

fn signal(program: &Child, signal: Signal) {
    let pid = Pid::from_child(program);
    kill_process(pid, signal).expect("it runs");
}

#[test]
fn systemd_is_told_of_begin_reload_life_and_end() {
    let folder = folder("");
    let path = folder.path().join("notify");
    let ear = UnixDatagram::bind(&path).expect("bound");
    ear.set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time");
    let place = place(&folder);
    let mut program = Command::new(env!("CARGO_BIN_EXE_natterd"))
        .arg("--config")
        .arg(place.file.expect("named"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    hears(&ear, "READY=1");
    hears(&ear, "WATCHDOG=1");
    signal(&program, Signal::HUP);
    assert!(hears(&ear, "RELOADING=1").contains("MONOTONIC_USEC="));
    hears(&ear, "READY=1");
    signal(&program, Signal::TERM);
    hears(&ear, "STOPPING=1");
    assert!(program.wait().expect("it ends").success());
    let mut said = String::new();
    let mut stderr = program.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("text");
    assert!(said.contains("set_role NAME a.example admin"), "{said}");
}
