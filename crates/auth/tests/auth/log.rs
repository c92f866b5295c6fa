//! The one line of a login that failed.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::stage::{Client, HOST, protected, stage};
use auth::{Channel, SaslCondition};
use tracing_subscriber::fmt::MakeWriter;

/// Where the logins of this test come from, and no other test's.
const ADDRESS: &str = "198.51.100.77";

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Kept;

    fn make_writer(&'a self) -> Kept {
        self.clone()
    }
}

#[tokio::test]
async fn each_failed_login_is_one_line_with_its_address_and_without_secrets() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(kept.clone())
        .with_ansi(false)
        .without_time()
        .finish();
    // For the whole program: one of this thread alone would miss what another thread came by first. The lines of other
    // tests bear other addresses.
    tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
    let stage = stage().await;
    let lines = || {
        let text = String::from_utf8(std::mem::take(&mut *kept.0.lock().unwrap())).unwrap();
        let ours = |line: &&str| line.contains("login failed") && line.contains(ADDRESS);
        let lines = text.lines().filter(ours);
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    lines();
    let from = || Channel {
        address: Some((ADDRESS.parse::<IpAddr>().unwrap(), 40_000).into()),
        ..protected()
    };
    let mut exchange = stage.auth.start(HOST, "PLAIN", from()).unwrap();
    exchange.begin(Some(b"\0alice\0sesame")).await;
    let told = lines();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [
        "INFO natter::auth",
        "address=198.51.100.77",
        "\"alice@a.example\"",
        "\"PLAIN\"",
        "not-authorized",
    ] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    assert!(!told[0].contains("sesame"), "{told:?}");

    let scram = Client {
        channel: from(),
        ..Client::new("SCRAM-SHA-256", "evil\nname", "x")
    };
    scram.run(&stage).await;
    assert_eq!(lines().len(), 1, "a name cannot end the line");

    assert!(stage.auth.start(HOST, "ROT13", from()).is_err());
    let told = lines();
    assert!(
        told.len() == 1 && told[0].contains("ROT13") && told[0].contains("invalid-mechanism"),
        "{told:?}"
    );
    stage
        .auth
        .refused(from().address, &SaslCondition::IncorrectEncoding.into());
    let told = lines();
    assert!(
        told.len() == 1 && told[0].contains("incorrect-encoding"),
        "{told:?}"
    );

    let mut exchange = stage.auth.start(HOST, "PLAIN", from()).unwrap();
    exchange.begin(Some(b"\0alice\0pencil")).await;
    assert_eq!(lines(), [""; 0], "a success is none");
}
