//! All scenarios of `tests/scenarios/`, each on a server of its own: by TCP, and some also by WebSocket and by BOSH. With
//! `NATTER_TEST_VIA=all` it is all that can be played so.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::Trial;
use tests::play::perform;
use tests::run::{conclude, here, on_a_runtime, tell, texts, trial, troupe};
use tests::script::{Act, At, Misread, Script, read};
use tests::stage::{Door, Troupe};

fn main() -> ExitCode {
    let prepared = troupe().and_then(|troupe| {
        let scripts = texts(&here().join("scenarios"))?;
        Ok((Arc::from(troupe), scripts))
    });
    let (troupe, scripts): (Arc<dyn Troupe>, _) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            tell(&format!("scenarios: {why}"));
            return ExitCode::FAILURE;
        }
    };
    let at_once = troupe.at_once();
    let all = std::env::var(VIA_VARIABLE).is_ok_and(|said| said == "all");
    let mut trials = Vec::new();
    let mut folder = String::new();
    let mut place = 0;
    for (file, text) in scripts {
        let name = file.trim_end_matches(".txt");
        let source = name.split('/').next().unwrap_or_default();
        if source != folder {
            (folder, place) = (source.to_owned(), 0);
        }
        let read = || read(&format!("tests/scenarios/{file}"), &text);
        for (turn, (door, via)) in HTTP.into_iter().enumerate() {
            // One of three in each folder by the one, the next by the other.
            let is_chosen = all || place % 3 == turn;
            if let Some(mut script) = read().ok().filter(|_| is_chosen)
                && script.come_by(door).is_ok()
            {
                trials.push(played(&format!("{name} {via}"), Ok(script), &troupe));
            }
        }
        trials.push(played(name, read(), &troupe));
        place += 1;
    }
    conclude("scenarios", at_once, trials)
}

/// Has all scenarios played by every transport that can show them.
const VIA_VARIABLE: &str = "NATTER_TEST_VIA";

/// The doors behind HTTP, and how a trial by them is called.
const HTTP: [(Door, &str); 2] = [(Door::WebSocket, "via websocket"), (Door::Bosh, "via bosh")];

fn played(name: &str, script: Result<Script, Misread>, troupe: &Arc<dyn Troupe>) -> Trial {
    let needs_trace = |at: &At<Act>| matches!(at.what, Act::TraceShows(_));
    let alone = script
        .as_ref()
        .is_ok_and(|script| script.acts.iter().any(needs_trace));
    let troupe = Arc::clone(troupe);
    trial(name, alone, move || {
        let script = script.map_err(|misread| misread.to_string())?;
        on_a_runtime(perform(&script, troupe.as_ref()))
    })
}
