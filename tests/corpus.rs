//! Replays the seeds and the finds of the fuzz targets (tests/fuzz), each also with every byte changed in turn.

use std::path::Path;

#[path = "fuzz/checks/config.rs"]
mod config;
#[path = "fuzz/checks/http_routes.rs"]
mod http_routes;
#[path = "fuzz/checks/jid.rs"]
mod jid;
#[path = "fuzz/checks/sasl.rs"]
mod sasl;
#[path = "fuzz/checks/stanza_edit.rs"]
mod stanza_edit;
#[path = "fuzz/checks/xml_reader.rs"]
mod xml_reader;
#[path = "fuzz/checks/xml_scanner.rs"]
mod xml_scanner;

/// What a byte is changed to: it means something to at least one of the readers.
const CHANGES: &[u8] = b"\0<>&'\"=/:;@,. \n\xff";

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut count = 0;
    for file in std::fs::read_dir(&folder).expect("a corpus") {
        let path = file.expect("a file").path();
        let seed = std::fs::read(&path).expect("a seed");
        let run = |input: &[u8]| {
            let done = std::panic::catch_unwind(|| check(input));
            assert!(
                done.is_ok(),
                "{} as {:?}",
                path.display(),
                String::from_utf8_lossy(input)
            );
        };
        run(&seed);
        for at in 0..seed.len() {
            let mut changed = seed.clone();
            changed[at] = CHANGES[at % CHANGES.len()];
            run(&changed);
            run(&seed[..at]);
        }
        count += 1;
    }
    assert!(count > 5, "{target} has no seeds");
}

#[test]
fn xml_reader() {
    replay("xml_reader", xml_reader::check);
}

#[test]
fn xml_scanner() {
    replay("xml_scanner", xml_scanner::check);
}

#[test]
fn stanza_edit() {
    replay("stanza_edit", stanza_edit::check);
}

#[test]
fn jid() {
    replay("jid", jid::check);
}

#[test]
fn sasl() {
    replay("sasl", sasl::check);
}

#[test]
fn config() {
    replay("config", config::check);
}

#[test]
fn http_routes() {
    replay("http_routes", http_routes::check);
}
