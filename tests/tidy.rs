//! The rules of the house that a compiler does not know: layers, profiles, forbidden words, printed pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use toml_edit::{DocumentMut, Item, TableLike};

/// The workspace.
fn root() -> PathBuf {
    let here = tests::run::here();
    here.parent()
        .expect("tests/ lies in the workspace")
        .to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(path: &Path) -> DocumentMut {
    read(path)
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Packages of the workspace, by name, with their folders.
fn packages() -> BTreeMap<String, PathBuf> {
    let mut folders: Vec<PathBuf> = ["supervisors", "tests"]
        .map(|name| root().join(name))
        .to_vec();
    for entry in std::fs::read_dir(root().join("crates")).expect("crates/ is there") {
        folders.push(entry.expect("crates/ can be listed").path());
    }
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    let named = |folder: PathBuf| {
        let name = folder
            .file_name()
            .expect("a folder has a name")
            .to_string_lossy()
            .into_owned();
        (name, folder)
    };
    folders.into_iter().map(named).collect()
}

/// Names of dependencies in all of a manifest's tables, with the table each stands in.
fn dependencies(manifest: &DocumentMut) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut collect = |heading: &str, item: Option<&Item>| {
        let table = item.and_then(Item::as_table_like);
        for (name, item) in table.into_iter().flat_map(TableLike::iter) {
            let package = item
                .as_table_like()
                .and_then(|table| table.get("package"))
                .and_then(Item::as_str);
            found.push((package.unwrap_or(name).to_owned(), heading.to_owned()));
        }
    };
    for heading in ["dependencies", "dev-dependencies", "build-dependencies"] {
        collect(heading, manifest.get(heading));
        for (_, target) in manifest
            .get("target")
            .and_then(Item::as_table_like)
            .into_iter()
            .flat_map(TableLike::iter)
        {
            collect(
                heading,
                target
                    .as_table_like()
                    .and_then(|target| target.get(heading)),
            );
        }
    }
    found
}

/// A row of the layer table of docs/ARCHITECTURE.md.
struct Layer {
    rank: u32,
    may_import: BTreeSet<String>,
}

/// The rank of a crate that stands outside, written as a dash: it imports none of ours, and none of ours imports it.
const OUTSIDE: u32 = u32::MAX;

/// The layer table: every crate with its rank and what it may import.
fn layers() -> BTreeMap<String, Layer> {
    let text = read(&root().join("docs/ARCHITECTURE.md"));
    let mut found = BTreeMap::new();
    let mut everything = Vec::new();
    for line in text.lines() {
        let Some(inside) = line
            .trim()
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
        else {
            continue;
        };
        let cells: Vec<&str> = inside.split('|').map(str::trim).collect();
        let [rank, names, _, imports, _] = cells.as_slice() else {
            continue;
        };
        let rank = match *rank {
            "–" => OUTSIDE,
            number => match number.parse::<u32>() {
                Ok(rank) => rank,
                Err(_) => continue,
            },
        };
        let plain = |name: &str| {
            name.trim()
                .trim_matches('`')
                .trim_end_matches('/')
                .to_owned()
        };
        let may_import = match *imports {
            "everything" => {
                everything.extend(names.split(',').map(plain));
                BTreeSet::new()
            }
            "–" | "-" | "" => BTreeSet::new(),
            names => names
                .split([' ', ','])
                .map(plain)
                .filter(|name| !name.is_empty())
                .collect(),
        };
        for name in names.split(',').map(plain) {
            found.insert(
                name,
                Layer {
                    rank,
                    may_import: may_import.clone(),
                },
            );
        }
    }
    let all: BTreeMap<String, u32> = found
        .iter()
        .map(|(name, layer)| (name.clone(), layer.rank))
        .collect();
    for name in everything {
        let layer = found.get_mut(&name).expect("its row was just read");
        layer.may_import = all
            .iter()
            .filter(|(_, rank)| **rank < layer.rank)
            .map(|(name, _)| name.clone())
            .collect();
    }
    found
}

#[test]
fn crates_import_only_what_the_layer_table_lets_them() {
    let (packages, layers) = (packages(), layers());
    let mut wrong = Vec::new();
    for (name, folder) in &packages {
        let Some(layer) = layers.get(name) else {
            wrong.push(format!(
                "{name} is not in the layer table of docs/ARCHITECTURE.md"
            ));
            continue;
        };
        for (import, heading) in dependencies(&manifest(&folder.join("Cargo.toml"))) {
            if !packages.contains_key(&import) {
                continue;
            }
            let below = layers
                .get(&import)
                .is_some_and(|other| other.rank < layer.rank);
            // What tests of a crate stand on ships with nobody: any lower rank will do.
            let for_tests = heading == "dev-dependencies";
            let everybodys = layer.rank >= 1 && ["config", "otp"].contains(&import.as_str());
            let listed = layer.may_import.contains(&import);
            let outside = layer.rank == OUTSIDE;
            // A crate's own tests may turn on its features.
            let itself = for_tests && import == *name;
            let allowed = itself || (below && !outside && (everybodys || for_tests || listed));
            if !allowed {
                wrong.push(format!(
                    "{name} names {import} in [{heading}], which the layer table does not allow"
                ));
            }
        }
    }
    for (name, layer) in &layers {
        for import in &layer.may_import {
            if layers
                .get(import)
                .is_none_or(|other| other.rank >= layer.rank)
            {
                wrong.push(format!(
                    "the layer table lets {name} import {import}, which does not lie below it"
                ));
            }
        }
    }
    assert!(
        !layers.is_empty(),
        "docs/ARCHITECTURE.md has no layer table"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn packages_are_called_as_their_folders() {
    for (name, folder) in packages() {
        let manifest = manifest(&folder.join("Cargo.toml"));
        let called = manifest["package"]["name"]
            .as_str()
            .expect("a package has a name");
        assert_eq!(called, name, "{}", folder.display());
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(Item::as_bool);
        assert_eq!(lints, Some(true), "{name} must take the workspace's lints");
    }
}

#[test]
fn panics_unwind_in_every_profile() {
    let manifest = manifest(&root().join("Cargo.toml"));
    let profiles = manifest["profile"]
        .as_table_like()
        .expect("profiles are declared");
    for (name, profile) in profiles.iter() {
        // Cargo ignores the key for `test` and `bench`, which always unwind.
        let said = profile.get("panic").and_then(Item::as_str);
        let silent = matches!(name, "test" | "bench") && said.is_none();
        assert!(
            said == Some("unwind") || silent,
            "profile {name}: panic = {said:?}"
        );
    }
    for name in ["dev", "release"] {
        assert!(
            profiles.contains_key(name),
            "profile {name} must say that it unwinds"
        );
    }
}

#[test]
fn only_otp_names_ractor() {
    for (name, folder) in packages() {
        let named = dependencies(&manifest(&folder.join("Cargo.toml")))
            .into_iter()
            .any(|(import, _)| import.starts_with("ractor"));
        assert_eq!(named, name == "otp", "{name} and ractor");
    }
}

#[test]
fn ractor_is_built_without_cluster_and_async_trait() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--workspace",
            "--edges",
            "features",
            "--invert",
            "ractor",
            "--prefix",
            "none",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        printed.contains("ractor v"),
        "ractor is not in the tree: {printed}"
    );
    for feature in ["cluster", "async-trait", "message_span_propogation"] {
        let line = format!("ractor feature \"{feature}\"");
        assert!(!printed.contains(&line), "{line} is on");
    }
}

/// A line of source with the comments and strings that could mention forbidden words left in: the words below
/// are chosen so that prose does not use them. Comment lines are left out.
struct Line {
    file: String,
    number: usize,
    text: String,
}

/// All lines of Rust below these folders.
fn rust_below(folders: &[PathBuf]) -> Vec<Line> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.to_vec();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder of ours can be listed");
            open.extend(entries.map(|entry| entry.expect("a folder of ours can be listed").path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let file = path
                .strip_prefix(root())
                .expect("below the workspace")
                .display()
                .to_string();
            for (at, text) in read(&path).lines().enumerate() {
                if !text.trim_start().starts_with("//") {
                    found.push(Line {
                        file: file.clone(),
                        number: at + 1,
                        text: text.to_owned(),
                    });
                }
            }
        }
    }
    found
}

fn all_rust() -> Vec<Line> {
    let folders: Vec<PathBuf> = packages().into_values().collect();
    rust_below(&folders)
}

/// Fails with every line that holds one of `words`, except in the files `allowed` lets.
fn forbid(words: &[&str], why: &str, allowed: impl Fn(&str) -> bool) {
    let this = "tests/tidy.rs";
    let wrong: Vec<String> = all_rust()
        .into_iter()
        .filter(|line| line.file != this && !allowed(&line.file))
        .filter_map(|line| {
            let word = words.iter().find(|word| line.text.contains(*word))?;
            Some(format!(
                "{}:{}: {word}: {}",
                line.file,
                line.number,
                line.text.trim()
            ))
        })
        .collect();
    assert!(wrong.is_empty(), "{why}\n{}", wrong.join("\n"));
}

#[test]
fn only_otp_knows_the_time() {
    forbid(
        &[
            "tokio::time",
            "time::sleep",
            "Instant::now",
            "SystemTime::now",
            "thread::sleep",
            "time::timeout",
            "time::interval",
        ],
        "only otp asks for the time or sets a timer; tests wait for events (tests/src/deadline.rs)",
        |file| {
            let measures_others = file.starts_with("crates/load/");
            file.starts_with("crates/otp/") || file == "tests/src/deadline.rs" || measures_others
        },
    );
}

#[test]
fn only_the_sqlite_store_speaks_sql() {
    let spoken = [
        "SELECT ",
        "INSERT INTO",
        "INSERT OR",
        "DELETE FROM",
        "CREATE TABLE",
        "CREATE INDEX",
        "ALTER TABLE",
        "PRAGMA ",
        "rusqlite",
    ];
    forbid(&spoken, "only storage/src/sqlite contains SQL", |file| {
        // The program that carries the store's faults out of the process may name its error type nowhere else.
        file.starts_with("crates/storage/src/sqlite")
    });
}

#[test]
fn only_net_binds_and_dials() {
    forbid(
        &[
            "TcpListener",
            "TcpStream::connect",
            "TcpSocket",
            "UdpSocket",
            "UnixListener",
            "UnixStream::connect",
            "socket2::",
        ],
        "only net binds or dials; admin's control socket is the one exception",
        |file| {
            let admins_control_socket = file.starts_with("crates/admin/");
            let tests_of_a_crate = file.contains("/tests/");
            let no_part_of_the_server = file.starts_with("crates/load/");
            file.starts_with("crates/net/")
                || file.starts_with("tests/")
                || tests_of_a_crate
                || no_part_of_the_server
                || admins_control_socket
        },
    );
}

#[test]
fn only_the_control_socket_is_admins() {
    let dials = ["TcpListener", "TcpStream", "TcpSocket", "UdpSocket"];
    let wrong: Vec<String> = rust_below(&[root().join("crates/admin")])
        .into_iter()
        .filter(|line| dials.iter().any(|word| line.text.contains(word)))
        .map(|line| format!("{}:{}", line.file, line.number))
        .collect();
    assert!(
        wrong.is_empty(),
        "admin opens a Unix socket and nothing else: {wrong:?}"
    );
}

#[test]
fn no_work_is_left_as_a_note() {
    forbid(
        &["todo!(", "unimplemented!(", "dbg!("],
        "finish it or leave it out",
        |_| false,
    );
}

/// Files under version control, as text; what is not text is left out.
fn tracked() -> Vec<(String, String)> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return Vec::new();
    };
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = |name: &str| {
        Some((
            name.to_owned(),
            std::fs::read_to_string(root().join(name)).ok()?,
        ))
    };
    names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(text)
        .collect()
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    // Written so that this file does not name them either.
    let places = [
        ["/ho", "me/"],
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/Use", "rs/"],
        ["C:", "\\\\"],
    ]
    .map(|parts| parts.concat());
    let mut wrong = Vec::new();
    for (name, text) in tracked() {
        for (at, line) in text.lines().enumerate() {
            if places.iter().any(|place| starts_a_path(line, place)) {
                wrong.push(format!("{name}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a path of somebody's machine:\n{}",
        wrong.join("\n")
    );
}

/// Whether `place` stands in `line` as the beginning of a path, not in the middle of one.
fn starts_a_path(line: &str, place: &str) -> bool {
    let before = |at: usize| line[..at].chars().next_back();
    line.match_indices(place).any(|(at, _)| {
        !before(at)
            .is_some_and(|character| character.is_alphanumeric() || "}.)~*/".contains(character))
    })
}

#[test]
fn the_readme_says_how_to_run_and_how_to_log_in() {
    let readme = read(&root().join("README.md"));
    for command in ["make run", "natterctl register"] {
        assert!(
            readme.contains(command),
            "README.md does not say `{command}`"
        );
    }
}

#[test]
fn the_changelog_and_the_licences_are_there() {
    for name in ["CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(
            !read(&root().join(name)).trim().is_empty(),
            "{name} is empty"
        );
    }
}

#[test]
fn every_scenario_names_its_source() {
    let folder = tests::run::here().join("scenarios");
    let known = ["RFC ", "XEP-", "Issue ", "issue ", "mod_"];
    let mut wrong = Vec::new();
    for (name, text) in tests::run::texts(&folder).expect("the scenarios can be read") {
        match tests::script::read(&format!("tests/scenarios/{name}"), &text) {
            Ok(script) if known.iter().any(|source| script.title.contains(source)) => {}
            Ok(script) => wrong.push(format!("{name}: no source in {:?}", script.title)),
            Err(misread) => wrong.push(misread.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
