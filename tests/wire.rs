//! All wire checks of `tests/wire/`, each on a server of its own.

use std::process::ExitCode;
use std::sync::Arc;

use tests::lines::{perform, read};
use tests::run::{conclude, here, on_a_runtime, tell, texts, trial, troupe};

fn main() -> ExitCode {
    let prepared = troupe().and_then(|troupe| {
        let mut checks = Vec::new();
        for (file, text) in texts(&here().join("wire"))? {
            let found = read(&format!("tests/wire/{file}"), &text)
                .map_err(|misread| misread.to_string())?;
            checks.extend(found.into_iter().map(|check| (file.clone(), check)));
        }
        Ok((Arc::from(troupe), checks))
    });
    let (troupe, checks): (Arc<dyn tests::stage::Troupe>, _) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            tell(&format!("wire checks: {why}"));
            return ExitCode::FAILURE;
        }
    };
    let at_once = troupe.at_once();
    let trials = checks
        .into_iter()
        .map(|(file, check)| {
            let troupe = Arc::clone(&troupe);
            let name = format!("{}: {}", file.trim_end_matches(".txt"), check.title);
            trial(&name, false, move || {
                on_a_runtime(perform(&check, troupe.as_ref()))
            })
        })
        .collect();
    conclude("wire checks", at_once, trials)
}
