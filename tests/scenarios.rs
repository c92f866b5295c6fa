//! All scenarios of `tests/scenarios/`, each on a server of its own.

use std::process::ExitCode;
use std::sync::Arc;

use tests::play::perform;
use tests::run::{conclude, here, on_a_runtime, tell, texts, trial, troupe};
use tests::script::{Act, At, read};

fn main() -> ExitCode {
    let prepared = troupe().and_then(|troupe| {
        let scripts = texts(&here().join("scenarios"))?;
        Ok((Arc::from(troupe), scripts))
    });
    let (troupe, scripts): (Arc<dyn tests::stage::Troupe>, _) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            tell(&format!("scenarios: {why}"));
            return ExitCode::FAILURE;
        }
    };
    let at_once = troupe.at_once();
    let trials = scripts
        .into_iter()
        .map(|(file, text)| {
            let script = read(&format!("tests/scenarios/{file}"), &text);
            let needs_trace = |at: &At<Act>| matches!(at.what, Act::TraceShows(_));
            let alone = script
                .as_ref()
                .is_ok_and(|script| script.acts.iter().any(needs_trace));
            let troupe = Arc::clone(&troupe);
            trial(file.trim_end_matches(".txt"), alone, move || {
                let script = script.map_err(|misread| misread.to_string())?;
                on_a_runtime(perform(&script, troupe.as_ref()))
            })
        })
        .collect();
    conclude("scenarios", at_once, trials)
}
