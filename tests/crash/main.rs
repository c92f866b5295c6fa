//! Crash tests: every kind of process of a whole server falls by panic, hang and kill while people talk.
//!
//! What is checked for each, beside [`table::KINDS`]: who falls with it and nobody else, that it is back without
//! any time passing on the server's clock, that only those sessions end which must, and that every accepted
//! message arrives exactly once, is bounced exactly once, or waits for its recipient.

mod cases;
mod table;

use std::process::ExitCode;

use libtest_mimic::Trial;
use tests::play::End;
use tests::run::{conclude, on_a_runtime, tell, trial};

use crate::cases::{
    Fall, fall, io_panics, io_vanishes, letter_in_hand, thread_hangs, thread_panics,
};
use crate::table::KINDS;

fn main() -> ExitCode {
    hush_ordered_panics();
    for line in table::printed() {
        tell(&line);
    }
    let mut trials: Vec<Trial> = Vec::new();
    for kind in KINDS {
        for how in [Fall::Panic, Fall::Hang, Fall::Kill] {
            trials.push(case(&format!("{} {how}", kind.name), false, move || {
                on_a_runtime(fall(kind, how))
            }));
        }
    }
    trials.push(case("a session's io vanish", false, || {
        on_a_runtime(io_vanishes())
    }));
    // Its fault is ordered through the log, which belongs to the whole program.
    trials.push(case("a session's io panic", true, || {
        on_a_runtime(io_panics())
    }));
    trials.push(case("storage_writer's thread panic", false, || {
        on_a_runtime(thread_panics())
    }));
    trials.push(case("storage_writer's thread hang", false, || {
        on_a_runtime(thread_hangs())
    }));
    trials.push(case(
        "dead_letters with a letter in hand kill",
        false,
        || on_a_runtime(letter_in_hand()),
    ));
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    conclude("crash cases", at_once, trials)
}

fn case(
    name: &str,
    alone: bool,
    check: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Trial {
    trial(name, alone, move || check().map(|()| End::Played))
}

/// A panic that a test orders is no news.
fn hush_ordered_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic
            .payload()
            .downcast_ref::<&str>()
            .copied()
            .map(str::to_owned);
        let text = text
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let ordered = ["injected fault", "a fault was ordered", cases::IO_PANIC];
        if !ordered.iter().any(|known| text.starts_with(known)) {
            usual(panic);
        }
    }));
}
