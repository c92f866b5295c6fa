//! SIGTERM at full load: what was accepted is delivered, or stored and delivered after a restart.

use std::sync::Arc;

use tests::client::{Login, password_of};
use tests::numbered::{Talker, Tally, settle_accounts};
use tests::program::{Place, Signal};
use tests::stage::Server;

/// Pairs that talk at the same time, each to one another and both to somebody who is away.
const PAIRS: usize = 6;

/// Rounds that each has said before the stop; all go on meanwhile.
const ROUNDS: u64 = 10;

/// Who is away.
const AWAY: &str = "carol@localhost";

/// They talk; the program is told to stop; it is started again, and all is there.
pub async fn under_load() -> Result<(), String> {
    let place = Place::new("[modules.mod_offline]\nmax_messages = 1000000\n").await?;
    let program = Arc::new(place.start().await?);
    let names: Vec<String> = (0..PAIRS * 2)
        .map(|number| format!("talker{number}"))
        .collect();
    for name in names.iter().map(String::as_str).chain(["carol"]) {
        program
            .register(&format!("{name}@localhost"), &password_of(name))
            .await?;
    }
    let tally = Tally::default();
    let mut talkers = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let server: Arc<dyn Server> = program.clone();
        // Half of them know the other's device, half only the account.
        let partner = match number % 2 {
            0 => format!("{}@localhost/desk", names[number + 1]),
            _ => format!("{}@localhost", names[number - 1]),
        };
        let login = Login::new(name, "localhost", "desk");
        talkers.push(Talker::enter_once(server, login, &[&partner, AWAY], &tally).await?);
    }
    talkers.iter().for_each(Talker::talk);
    for talker in &talkers {
        talker.rounds_more(ROUNDS).await?;
    }
    program.signal(Signal::Term).await?;
    for (talker, name) in talkers.iter().zip(&names) {
        talker.over().await?;
        if talker.progress().shutdowns != 1 {
            return Err(format!("{name} was not told `system-shutdown`"));
        }
    }
    let status = program.ended().await?;
    if status.code() != Some(0) {
        return Err(format!("natterd ended with {status}"));
    }
    drop((talkers, program));

    let program = Arc::new(place.start().await?);
    let mut hearers = Vec::new();
    for name in names.iter().map(String::as_str).chain(["carol"]) {
        let server: Arc<dyn Server> = program.clone();
        hearers
            .push(Talker::enter(server, Login::new(name, "localhost", "desk"), &[], &tally).await?);
    }
    let all: Vec<&Talker> = hearers.iter().collect();
    settle_accounts(&*program, &all, &tally).await
}
