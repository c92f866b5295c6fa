//! What was accepted survives: a killed program, an orderly stop under load, the coming and going of recipients,
//! and another server in the same process.

mod kill;
mod neighbours;
mod race;
mod rooms;
mod stop;
mod versions;

use std::process::ExitCode;

use libtest_mimic::Trial;
use tests::play::End;
use tests::run::{conclude, on_a_runtime, trial};

fn main() -> ExitCode {
    let trials = vec![
        case("no answered write is lost by kill -9", || {
            on_a_runtime(kill::under_load())
        }),
        case(
            "rooms that were open at kill -9 are as was answered",
            || on_a_runtime(rooms::under_load()),
        ),
        case("sigterm at full load loses and doubles nothing", || {
            on_a_runtime(stop::under_load())
        }),
        case(
            "10,000 messages meet random logins, each once and in order",
            || on_a_runtime(race::offline()),
        ),
        case("R-175 a hundred changes of a roster have one order", || {
            on_a_runtime(versions::in_one_order())
        }),
        case("two servers in one process are two", || {
            on_a_runtime(neighbours::apart())
        }),
    ];
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    conclude("durability checks", at_once, trials)
}

fn case(name: &str, check: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    trial(name, false, move || check().map(|()| End::Played))
}
