//! The pages of docs/ that are printed from code are those the code prints now.

use std::path::PathBuf;

fn check(name: &str, printed: &str) {
    let here = tests::run::here();
    let path: PathBuf = here
        .parent()
        .expect("tests/ lies in the workspace")
        .join("docs")
        .join(name);
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept == printed {
        return;
    }
    let first = kept
        .lines()
        .zip(printed.lines())
        .position(|(kept, printed)| kept != printed);
    let line = first.unwrap_or_else(|| kept.lines().count().min(printed.lines().count())) + 1;
    panic!("docs/{name}:{line} is not what the code prints; `make doc` prints it anew");
}

#[test]
fn protocols_are_current() {
    check("PROTOCOLS.md", &supervisors::docs::protocols());
}

#[test]
fn hooks_are_current() {
    check("HOOKS.md", &supervisors::docs::hooks());
}

#[test]
fn config_is_current() {
    check("CONFIG.md", &supervisors::docs::config());
}

#[test]
fn commands_are_current() {
    let printed = tests::run::on_a_runtime(supervisors::docs::commands());
    check("COMMANDS.md", &printed.expect("the commands can be listed"));
}
