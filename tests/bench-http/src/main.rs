//! `httpd` beside others, in one run: a routed plain handler beside a bare hyper and an axum one, by requests a second
//! and CPU time of a request; lookups beside those of matchit and wayfind.
//!
//! `bench-http [--rounds N] [--requests N] [--into PAGE]` measures; `bench-http serve KIND` is a server of its own
//! process, whose CPU time the measure asks for before and after. All take their turn in each round, so that what else
//! the machine does hits them alike; figures are medians over the rounds, ratios medians of each round's ratio.

mod load;
mod lookups;
mod page;
mod servers;

use std::io::Write;
use std::process::ExitCode;

/// As natterd has it; all servers have the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured, and where it goes.
struct Plan {
    rounds: usize,
    requests: usize,
    into: Option<String>,
}

fn plan(words: &[String]) -> Result<Plan, String> {
    let mut plan = Plan {
        rounds: 15,
        requests: 16_000,
        into: None,
    };
    for pair in words.chunks(2) {
        let [option, value] = pair else {
            return Err(format!("{} has no value", pair[0]));
        };
        let number = || value.parse().map_err(|_| format!("{value} is no number"));
        match option.as_str() {
            "--rounds" => plan.rounds = number()?,
            "--requests" => plan.requests = number()?,
            "--into" => plan.into = Some(value.clone()),
            _ => return Err(format!("nothing is called {option}")),
        }
    }
    Ok(plan)
}

fn measure(plan: &Plan) -> Result<(), String> {
    let lookups = lookups::measure(plan.rounds);
    let requests = load::measure(plan.rounds, plan.requests)?;
    let text = page::text(plan.rounds, plan.requests, &requests, &lookups);
    match &plan.into {
        None => std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| error.to_string()),
        Some(page) => page::put(page, &text),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match &words[..] {
        [verb, kind] if verb == "serve" => servers::serve(kind),
        _ => plan(&words).and_then(|plan| measure(&plan)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench-http: {error}");
            ExitCode::FAILURE
        }
    }
}
