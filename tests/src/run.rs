//! What the test programs share: which server is tested, one runtime per check, one line at the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use parking_lot::RwLock;

use crate::external::External;
use crate::play::End;
use crate::stage::Troupe;

/// Names an external server instead of ours: `plain,starttls,direct`, each `ip:port`; a fourth is for HTTP.
pub const SERVER_VARIABLE: &str = "NATTER_TEST_SERVER";
/// Names the PEM file with the authority an external server's certificates are signed by.
pub const AUTHORITY_VARIABLE: &str = "NATTER_TEST_CA";
/// Names a folder with `natterd` and `natterctl`: tests them in processes of their own.
pub const BINARIES_VARIABLE: &str = "NATTER_TEST_BINARIES";

/// The servers to test: ours, unless the environment names others.
///
/// # Errors
///
/// A sentence when what the environment names cannot be used.
pub fn troupe() -> Result<Box<dyn Troupe>, String> {
    if let Ok(folder) = std::env::var(BINARIES_VARIABLE) {
        return Ok(Box::new(crate::binary::Binaries::from(PathBuf::from(
            folder,
        ))));
    }
    let Ok(server) = std::env::var(SERVER_VARIABLE) else {
        return crate::house::troupe();
    };
    let parsed: Result<Vec<SocketAddr>, _> = server.split(',').map(str::parse).collect();
    let (doors, http) = match parsed.as_deref() {
        Ok([plain, starttls, direct]) => ([*plain, *starttls, *direct], None),
        Ok([plain, starttls, direct, http]) => ([*plain, *starttls, *direct], Some(*http)),
        _ => {
            let why = format!("{SERVER_VARIABLE}={server:?} is not plain,starttls,direct");
            return Err(why);
        }
    };
    let authority = std::env::var(AUTHORITY_VARIABLE)
        .map_err(|_| format!("{AUTHORITY_VARIABLE} is not set"))?;
    Ok(Box::new(External::new(doors, http, Path::new(&authority))?))
}

/// Runs one check on a runtime of its own.
///
/// # Errors
///
/// What the check says.
pub fn on_a_runtime<T>(check: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(check)
}

/// Those that read the process-wide trace run alone.
static TRACE: RwLock<()> = RwLock::new(());

/// One check for the list of [`conclude`].
pub fn trial(
    name: &str,
    alone: bool,
    check: impl FnOnce() -> Result<End, String> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        let ended = match alone {
            true => {
                let _alone = TRACE.write();
                check()
            }
            false => {
                let _with_others = TRACE.read();
                check()
            }
        };
        match ended {
            Ok(End::Played) => Ok(Completion::Completed),
            Ok(End::Skipped(why)) => Ok(Completion::ignored_with(why)),
            Err(why) => Err(Failed::from(why)),
        }
    })
}

/// Runs the checks, and says in one line how many `things` ran; `make test` adds these lines up.
pub fn conclude(things: &str, at_once: usize, trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let most = arguments.test_threads.unwrap_or(usize::MAX).min(at_once);
    arguments.test_threads = Some(most);
    if trials.is_empty() {
        tell(&format!("natter: no {things} found"));
        return ExitCode::FAILURE;
    }
    let listing = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing {
        let ran = conclusion.num_passed + conclusion.num_failed;
        tell(&format!(
            "natter: {ran} {things} ran, {} failed, {} skipped",
            conclusion.num_failed, conclusion.num_ignored
        ));
    }
    conclusion.exit_code()
}

/// Says a line to whoever runs the tests.
#[allow(clippy::print_stdout)]
pub fn tell(line: &str) {
    println!("{line}");
}

/// All files below `folder` whose names end in `.txt`, sorted, with their paths relative to it.
///
/// # Errors
///
/// A sentence when a folder or file cannot be read.
pub fn texts(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries =
            std::fs::read_dir(&next).map_err(|error| format!("{}: {error}", next.display()))?;
        for entry in entries {
            let path = entry
                .map_err(|error| format!("{}: {error}", next.display()))?
                .path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "txt") {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                let name = path.strip_prefix(folder).expect("found below the folder");
                found.push((name.display().to_string(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The folder of this package: where scenarios, wire checks and tables are.
pub fn here() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(now) => PathBuf::from(now),
        None => built,
    }
}
