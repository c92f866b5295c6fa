//! The program as one calls it: what it prints, what it writes, what it ends with.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use load::report::pages::{BEGIN, END};
use serde_json::Value;

/// The floor in a process of its own; it ends with the test.
struct Floor {
    child: Child,
    port: String,
}

impl Floor {
    fn start() -> Floor {
        let mut child = program(&["relay"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says where it listens");
        let port = line
            .trim()
            .rsplit(':')
            .next()
            .expect("an address")
            .to_owned();
        Floor { child, port }
    }

    fn run(&self, words: &[&str]) -> Output {
        let pid = self.child.id().to_string();
        let common = [
            "--port",
            &self.port,
            "--mechanism",
            "plain",
            "--server-pid",
            &pid,
        ];
        program(&[words, &common[..]].concat())
            .output()
            .expect("the program runs")
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natter-load"));
    command.args(words).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("its name is text")
}

#[test]
fn a_run_prints_a_table_and_a_line_of_json() {
    let floor = Floor::start();
    let ran = floor.run(&[
        "chat",
        "--pairs",
        "2",
        "--count",
        "500",
        "--tag",
        "server=floor",
    ]);
    let (said, complained) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{complained}");
    assert!(said.starts_with("chat window=1\n"), "{said}");
    let line = said.lines().last().expect("a line of JSON");
    let value: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(value["units"], 500);
    assert_eq!(value["server"], "floor");
    assert_eq!(value["latency"]["count"], 500);
    // A process was watched, though it may have taken no time that can be told.
    assert!(value["server_cpu_us_per_unit"].is_number(), "{line}");
}

#[test]
fn runs_become_a_report_in_a_page_that_keeps_its_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("results.jsonl");
    let floor = Floor::start();
    for (server, state) in [("ours", "fresh"), ("ours", "fresh"), ("other", "aged")] {
        let (server, state) = (format!("server={server}"), format!("state={state}"));
        let words = [
            "iq",
            "--sessions",
            "2",
            "--count",
            "200",
            "--json",
            "--out",
            path(&out),
            "--tag",
            &server,
            "--tag",
            &state,
        ];
        let ran = floor.run(&words);
        assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
        assert!(
            text(&ran.stdout).starts_with('{'),
            "JSON alone: {}",
            text(&ran.stdout)
        );
    }
    let page = folder.path().join("PAGE.md");
    std::fs::write(&page, "# Mine\n\nWords.\n").expect("written");
    std::fs::write(folder.path().join("head.md"), "On a machine.\n").expect("written");
    let targets = folder.path().join("targets.json");
    let wish =
        r#"[{"name":"answers","workload":"iq ping","figure":"per_second","at_least":0.001}]"#;
    std::fs::write(&targets, wish).expect("written");
    let plots = folder.path().join("plots");
    for _again in 0..2 {
        let words = [
            "report",
            path(folder.path()),
            "--subject",
            "ours",
            "--targets",
            path(&targets),
            "--into",
            path(&page),
            "--plots",
            path(&plots),
        ];
        let ran = program(&words).output().expect("the program runs");
        assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    }
    let printed = std::fs::read_to_string(&page).expect("it is there");
    assert!(printed.starts_with("# Mine\n\nWords.\n"), "{printed}");
    for part in [
        "On a machine.",
        "| workload | ours, fresh | other, aged |",
        "| answers |",
        "1 targets, 0 missed.",
        "](plots/cpu.svg)",
    ] {
        assert!(printed.contains(part), "{part:?} in\n{printed}");
    }
    assert_eq!(
        (printed.matches(BEGIN).count(), printed.matches(END).count()),
        (1, 1)
    );
    let plot = std::fs::read_to_string(plots.join("cpu.svg")).expect("it is drawn");
    assert!(plot.contains("iq ping"), "{plot}");
}

#[test]
fn a_server_that_fails_ends_it_with_1_and_a_sentence() {
    let ran = program(&[
        "login",
        "--count",
        "1",
        "--host",
        "127.0.0.2",
        "--port",
        "9",
    ])
    .output();
    let ran = ran.expect("the program runs");
    assert_eq!(ran.status.code(), Some(1));
    let said = text(&ran.stderr);
    assert!(
        said.starts_with("natter-load: registering load0@localhost: connecting to 127.0.0.2:9"),
        "{said}"
    );
    assert!(ran.stdout.is_empty());
}

#[test]
fn a_command_line_that_asks_for_what_cannot_be_ends_it_with_2() {
    let wrong: [&[&str]; 7] = [
        &[],
        &["dance"],
        &["chat", "--pairs", "0"],
        &["chat", "--tls", "direct"],
        &["chat", "--insecure"],
        &["chat", "--tag", "nameless"],
        &["idle"],
    ];
    for words in wrong {
        let ran = program(words).output().expect("the program runs");
        assert_eq!(
            ran.status.code(),
            Some(2),
            "{words:?}: {}",
            text(&ran.stderr)
        );
        assert!(!ran.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn a_server_is_started_weighed_and_ended() {
    // An address of loopback that is this process's own, so that the port is nobody else's.
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let (host, port) = (format!("127.77.{high}.{low}"), "5222");
    let listen = format!("{host}:{port}");
    let own = env!("CARGO_BIN_EXE_natter-load");
    let ran = program(&[
        "start", "--json", "--host", &host, "--port", port, "--", own, "relay", "--listen", &listen,
    ])
    .output();
    let ran = ran.expect("the program runs");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let value: Value = serde_json::from_str(text(&ran.stdout).trim()).expect("JSON");
    assert!(
        value["figures"]["ready_ms"]
            .as_f64()
            .is_some_and(|ready| ready > 0.0),
        "{value}"
    );
    assert!(
        value["figures"]["empty_MB"]
            .as_f64()
            .is_some_and(|weight| weight > 0.1),
        "{value}"
    );
    assert!(
        std::net::TcpStream::connect(&listen).is_err(),
        "it was ended"
    );

    let ran = program(&[
        "start",
        "--host",
        &host,
        "--port",
        port,
        "--",
        own,
        "relay",
        "--nonsense",
    ])
    .output();
    let ran = ran.expect("the program runs");
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        text(&ran.stderr).contains("ended by itself"),
        "{}",
        text(&ran.stderr)
    );
}
