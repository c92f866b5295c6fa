//! `natterd` as systemd starts it, as a restart leaves it, and where files run out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdout, Command, Stdio};
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
    Read::read_to_string(&mut stderr, &mut said).expect("text");
    assert!(said.contains("set_role NAME a.example admin"), "{said}");
}

/// The next address that the program says it listens on.
fn ready(lines: &mut BufReader<ChildStdout>) -> SocketAddr {
    let mut line = String::new();
    while !line.starts_with("natterd ready") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).expect("text"), 0, "it ended");
    }
    let word = line.split(['=', ' ']).find_map(|word| word.parse().ok());
    word.unwrap_or_else(|| panic!("no address in {line:?}"))
}

/// Opens a stream and waits for the server's header.
fn greets(at: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                  version='1.0' to='a.example'>";
    stream.write_all(header.as_bytes())?;
    let mut heard = [0; 16];
    stream.read_exact(&mut heard)?;
    Ok(stream)
}

#[test]
fn a_restart_begins_anew_in_the_same_process() {
    let folder = folder("");
    let place = place(&folder);
    let (file, data) = (place.file.expect("named"), place.data_dir.expect("named"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_natterd"))
        .arg("--config")
        .arg(&file)
        .arg("--data-dir")
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(program.stdout.take().expect("piped"));
    let first = greets(ready(&mut lines)).expect("it answers");
    let natterctl = |word| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_natterctl"));
        command.arg("--data-dir").arg(&data).arg(word);
        let done = command.output().expect("it runs");
        assert!(done.status.success(), "{word}: {done:?}");
        String::from_utf8(done.stdout).expect("text")
    };
    natterctl("restart");
    greets(ready(&mut lines)).expect("it answers again");
    let status = natterctl("status");
    assert!(status.contains(&program.id().to_string()), "{status}");
    drop(first);
    signal(&program, Signal::TERM);
    assert!(program.wait().expect("it ends").success());
}

#[test]
fn connections_that_no_file_is_left_for_wait_and_the_node_lives() {
    let folder = folder("");
    let file = place(&folder).file.expect("named");
    let mut program = Command::new("/bin/sh")
        .args(["-c", "ulimit -n 80; exec \"$0\" --config \"$1\""])
        .arg(env!("CARGO_BIN_EXE_natterd"))
        .arg(&file)
        .env("NATTER_LOG", "warn")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(program.stdout.take().expect("piped"));
    let at = ready(&mut lines);
    let crowd: Vec<TcpStream> = (0..150)
        .map(|_| TcpStream::connect(at).expect("the system takes it"))
        .collect();
    let mut errors = BufReader::new(program.stderr.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("Too many open files") {
        assert_ne!(errors.read_line(&mut said).expect("text"), 0, "{said}");
    }
    drop(crowd);
    greets(at).expect("it answers when files are free again");
    signal(&program, Signal::TERM);
    assert!(program.wait().expect("it ends").success());
    errors.read_to_string(&mut said).expect("text");
    let complaints = said.matches("Too many open files").count();
    assert!(complaints < 30, "{complaints} complaints:\n{said}");
    assert!(!said.contains("crashed"), "{said}");
}
