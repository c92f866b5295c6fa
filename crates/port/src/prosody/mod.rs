//! Prosody's data folder, as its `internal` storage writes it: `HOST/STORE/USER.dat`, for lists `.list`, names
//! percent-encoded. Read while Prosody does not run.

mod card;
mod lua;
mod tree;
mod user;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use lua::{Items, LuaError, Table, Value, read as read_lua};

use crate::builder::{Builder, MOST_BYTES};
use crate::found::{Found, Hosts, Sink, Stop, tell};
use user::LeftOut;

/// The store that says which accounts there are.
const ACCOUNTS: &str = "accounts";

/// The other stores that are read.
const STORES: [&str; 6] = [
    "roster",
    "vcard",
    "private",
    "offline",
    "blocklist",
    "privacy",
];

/// Where `mod_vcard_legacy` keeps vCards: card, about its photo, photo. Read where the store `vcard` has none.
const CARD: [&str; 3] = [
    "pep_urn%3axmpp%3avcard4",
    "pep_urn%3axmpp%3aavatar%3ametadata",
    "pep_urn%3axmpp%3aavatar%3adata",
];

/// Whether a folder is Prosody's data, or those of one host in it.
pub fn is_data(folder: &Path) -> bool {
    !hosts_in(folder).unwrap_or_default().is_empty()
}

/// Reads the accounts of a data folder, or of one host in it, and tells `sink` of each.
///
/// # Errors
///
/// [`Stop::Fault`]: a file that cannot be read, or a host that is not served. [`Stop::GivenUp`]: the sink wants to hear
/// no more.
pub fn read(folder: &Path, hosts: &Hosts, now: SystemTime, sink: Sink<'_>) -> Result<(), Stop> {
    let mut found = Vec::new();
    for (name, folder) in hosts_in(folder)? {
        let place = hosts.place(&name);
        let place = place.map_err(|why| Stop::Fault(format!("{}: {why}", folder.display())))?;
        let users = names_in(&folder.join(ACCOUNTS), "dat")?;
        found.push((folder, place, users));
    }
    let total = found.iter().map(|(.., users)| users.len() as u64).sum();
    let mut done = 0;
    for (folder, place, users) in &found {
        left_behind(folder, users, sink)?;
        for file in users {
            account(folder, place, file, now, sink)?;
            done += 1;
            tell(sink, Found::Progress { done, total })?;
        }
    }
    Ok(())
}

/// The hosts of a folder that have accounts, and where their data are, by name.
fn hosts_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, Stop> {
    let name_of = |folder: &Path| folder.file_name().and_then(|name| decode(name.to_str()?));
    if folder.join(ACCOUNTS).is_dir() {
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        return Ok(name_of(&whole)
            .map(|name| (name, folder.to_owned()))
            .into_iter()
            .collect());
    }
    let mut found = Vec::new();
    for entry in listed(folder)? {
        if entry.join(ACCOUNTS).is_dir()
            && let Some(name) = name_of(&entry)
        {
            found.push((name, entry));
        }
    }
    found.sort();
    Ok(found)
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, Stop> {
    let fault = |error: std::io::Error| {
        Stop::Fault(format!("cannot look into {}: {error}", folder.display()))
    };
    let entries = std::fs::read_dir(folder).map_err(fault)?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(fault))
        .collect()
}

/// The names of the files in a store, without their ending, as they are written.
fn names_in(folder: &Path, ending: &str) -> Result<BTreeSet<String>, Stop> {
    let mut names = BTreeSet::new();
    for path in listed(folder)? {
        if path.extension().is_some_and(|end| end == ending)
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

/// Tells of the stores that do not come along, and of data that belong to no account.
fn left_behind(folder: &Path, users: &BTreeSet<String>, sink: Sink<'_>) -> Result<(), Stop> {
    for path in listed(folder)? {
        let store = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let at = path.display().to_string();
        if !path.is_dir() || store == ACCOUNTS || CARD.contains(&store) {
            continue;
        }
        if !STORES.contains(&store) {
            let name = decode(store).unwrap_or_else(|| store.to_owned());
            let what = format!("the store `{name}` of Prosody");
            tell(sink, Found::LeftOut { at, what })?;
            continue;
        }
        for name in names_in(&path, ending(store))?.difference(users) {
            let at = format!("{at}/{name}.{}", ending(store));
            let what = format!("data in the store `{store}` of names that have no account");
            tell(sink, Found::LeftOut { at, what })?;
        }
    }
    Ok(())
}

/// Which file of an account a store has.
fn ending(store: &str) -> &'static str {
    match store {
        "offline" => "list",
        pep if pep.starts_with("pep_") => "list",
        _ => "dat",
    }
}

/// Reads one account out of its stores. `file` is its name as files are called by it.
fn account(
    folder: &Path,
    place: &(String, String),
    file: &str,
    now: SystemTime,
    sink: Sink<'_>,
) -> Result<(), Stop> {
    let path = |store: &str| folder.join(store).join(format!("{file}.{}", ending(store)));
    let at = path(ACCOUNTS).display().to_string();
    let name = decode(file).unwrap_or_else(|| file.to_owned());
    let account = format!("{name}@{}", place.1);
    let mut reading = match Builder::new(&name, place, at.clone(), now) {
        Ok(builder) => Reading {
            builder,
            left_out: Vec::new(),
        },
        Err(why) => return tell(sink, Found::Unusable { at, account, why }),
    };
    for store in [ACCOUNTS].into_iter().chain(STORES) {
        let path = path(store);
        let Some(bytes) = content(&path)? else {
            continue;
        };
        if let Err(wrong) = reading.store(store, &bytes) {
            let (at, why) = match wrong {
                Wrong::At(error) => (format!("{}:{}", path.display(), error.at), error.why),
                Wrong::Because(why) => (path.display().to_string(), why),
            };
            return tell(sink, Found::Unusable { at, account, why });
        }
        for what in reading.left_out.drain(..) {
            let at = path.display().to_string();
            tell(sink, Found::LeftOut { at, what })?;
        }
    }
    if reading.builder.account().vcard.is_none() {
        let mut last = Vec::new();
        for store in CARD {
            let path = path(store);
            let bytes = content(&path)?.unwrap_or_default();
            match reading.last_item(&bytes) {
                Ok(item) => last.push(item),
                Err(Wrong::At(error)) => {
                    let at = format!("{}:{}", path.display(), error.at);
                    let why = error.why;
                    return tell(sink, Found::Unusable { at, account, why });
                }
                Err(Wrong::Because(why)) => {
                    let at = path.display().to_string();
                    return tell(sink, Found::Unusable { at, account, why });
                }
            }
        }
        let mut last = last.iter().map(|item| item.as_ref().and_then(Value::table));
        if let Some(Some(item)) = last.next() {
            let (metadata, data) = (last.next().flatten(), last.next().flatten());
            reading.builder.account().vcard = card::vcard(item, metadata, data);
        }
    }
    tell(sink, Found::Account(Box::new(reading.builder.finish())))
}

/// Why an account cannot be taken.
enum Wrong {
    At(LuaError),
    Because(String),
}

impl From<LuaError> for Wrong {
    fn from(error: LuaError) -> Wrong {
        Wrong::At(error)
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Wrong {
        Wrong::Because(why)
    }
}

struct Reading {
    builder: Builder,
    left_out: LeftOut,
}

impl Reading {
    /// The last item of a list, if there is one.
    fn last_item(&mut self, bytes: &[u8]) -> Result<Option<Value>, Wrong> {
        self.builder.weigh(bytes.len())?;
        let mut last = None;
        for item in Items::of(bytes) {
            last = Some(item?);
        }
        Ok(last)
    }

    fn store(&mut self, store: &str, bytes: &[u8]) -> Result<(), Wrong> {
        self.builder.weigh(bytes.len())?;
        if store == "offline" {
            for item in Items::of(bytes) {
                self.left_out
                    .extend(user::message(&mut self.builder, &item?));
            }
            return Ok(());
        }
        let data = match read_lua(bytes)? {
            Value::Table(data) => data,
            Value::Nil => return Ok(()),
            _ => return Err(Wrong::Because("expected a table".to_owned())),
        };
        let builder = &mut self.builder;
        let left_out = match store {
            ACCOUNTS => {
                user::account(builder, &data)?;
                Vec::new()
            }
            "roster" => user::roster(builder, &data),
            "vcard" => user::vcard(builder, &data),
            "private" => user::private(builder, &data),
            "blocklist" => user::blocked(builder, &data),
            _ => {
                user::privacy(builder, &data)?;
                Vec::new()
            }
        };
        self.left_out.extend(left_out);
        Ok(())
    }
}

/// What is in a file; none where there is no such file.
fn content(path: &Path) -> Result<Option<Vec<u8>>, Stop> {
    let fault =
        |error: std::io::Error| Stop::Fault(format!("cannot read {}: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    let mut bytes = Vec::new();
    // One byte more than an account may hold tells one that is too large.
    let mut bounded = file.take(MOST_BYTES as u64 + 1);
    bounded.read_to_end(&mut bytes).map_err(fault)?;
    Ok(Some(bytes))
}

/// The name behind a file's: `%xx` stands for a byte.
fn decode(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let code = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(code).ok()?);
    }
    String::from_utf8(bytes).ok()
}
