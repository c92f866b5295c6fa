//! Accounts out of files into the store.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use auth::{Auth, RegisterError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use storage::{Brought, IfThere, Storage, StorageError};
use tokio::sync::{Semaphore, mpsc};
use xmpp::BareJid;

use crate::found::{Draft, Found, Hosts, Stop};
use crate::{pie, prosody};

/// How many accounts are on their way into the store at a time.
const AT_ONCE: usize = 32;

/// How many passwords are made into keys at a time: few, so that logins find their turn.
const HASHED_AT_ONCE: usize = 2;

/// How many bytes they may hold together, unless one alone holds more.
const BYTES_AT_ONCE: usize = 16 * 1024 * 1024;

/// How many things found wait at the most. What reads them waits for room.
const WAITING: usize = 2;

/// How many faults, and how many kinds of what is left out, are told one by one.
const TOLD: usize = 100;

/// What is to be imported.
pub struct Import {
    /// A file of XEP-0227; a folder with such files; Prosody's data folder, or the one of a host in it.
    pub path: PathBuf,
    /// Where accounts may come to.
    pub hosts: Hosts,
    /// What is done with accounts that are there already.
    pub if_there: IfThere,
    /// Whether nothing is changed: what would be is only counted.
    pub only_check: bool,
    /// What time it is.
    pub now: SystemTime,
}

/// Who hears of an import while it goes on.
pub trait Hearer: Sync {
    /// An account was made or replaced.
    fn brought(&self, account: &BareJid, brought: Brought) -> impl Future<Output = ()> + Send;
    /// How far the reading has come, in units of the format.
    fn progress(&self, done: u64, total: u64, unit: &'static str);
}

/// What came of an import. Of a check: what would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The format that was found.
    pub format: &'static str,
    /// Accounts that were made.
    pub made: u64,
    /// Accounts that took the place of those that were there.
    pub replaced: u64,
    /// Accounts that were there and were left alone.
    pub exist: u64,
    /// Accounts whose names belonged to removed ones and were not released.
    pub removed: u64,
    /// Accounts that could not be taken.
    pub unusable: u64,
    /// Of those made or replaced, how many nobody can log in to before they are given a password.
    pub without_password: u64,
    /// Contacts of those made or replaced.
    pub contacts: u64,
    /// Messages that wait for them.
    pub messages: u64,
    /// How many of them have a vCard.
    pub vcards: u64,
    /// Pieces of private data.
    pub private: u64,
    /// Privacy lists.
    pub lists: u64,
    /// Why accounts could not be taken, and which were skipped, one line each; the first hundred.
    pub faults: Vec<String>,
    /// What did not come along: how often, and where it was found first.
    pub left_out: BTreeMap<String, (u64, String)>,
    /// Why the import ended before the end, if it did.
    pub stopped: Option<String>,
}

impl Summary {
    fn fault(&mut self, line: String) {
        if self.faults.len() < TOLD {
            self.faults.push(line);
        }
    }

    fn leave_out(&mut self, what: String, at: String) {
        let what = match self.left_out.len() >= TOLD && !self.left_out.contains_key(&what) {
            true => "more of other kinds".to_owned(),
            false => what,
        };
        self.left_out.entry(what).or_insert((0, at)).0 += 1;
    }
}

/// Imports accounts, each in a commit of its own.
///
/// A fault in one account leaves that account out; one in the files ends the import. Whoever runs it again, after
/// mending what was at fault, finds the accounts that came in before among those that exist.
pub async fn import(
    order: Import,
    auth: &Auth,
    storage: &Storage,
    hearer: &impl Hearer,
) -> Summary {
    let mut summary = Summary::default();
    let Some(format) = Format::of(&order.path) else {
        summary.stopped = Some(format!(
            "{} is neither a file of XEP-0227, nor a folder with such files, nor Prosody's data folder (which holds \
             HOST/accounts)",
            order.path.display()
        ));
        return summary;
    };
    summary.format = format.name();
    let (say, mut heard) = mpsc::channel(WAITING);
    let (path, hosts, now) = (order.path.clone(), order.hosts.clone(), order.now);
    // Ends when it has read all, or when nobody listens any more.
    let reading = tokio::task::spawn_blocking(move || {
        let mut sink = |found| say.blocking_send(found).is_ok();
        format.read(&path, &hosts, now, &mut sink)
    });
    let mut bringing = Bringing {
        order: &order,
        auth,
        storage,
        hearer,
        summary,
        surveyed: BTreeSet::new(),
        touched: BTreeSet::new(),
    };
    let outcome = bringing.all(&mut heard, format.unit()).await;
    // Whatever ended it: the reader hears that nobody listens.
    drop(heard);
    let read = match reading.await {
        Ok(read) => read,
        Err(_) => Err(Stop::Fault("reading was broken off".to_owned())),
    };
    let mut summary = bringing.finish().await;
    summary.stopped = match (outcome, read) {
        (Err(error), _) => Some(format!("the store failed: {error}")),
        (Ok(()), Err(stop)) => Some(stop.to_string()),
        (Ok(()), Ok(())) => None,
    };
    summary
}

/// What a path holds.
#[derive(Clone, Copy)]
enum Format {
    /// One file of XEP-0227.
    File,
    /// A folder with such files.
    Folder,
    /// Prosody's data.
    Prosody,
}

impl Format {
    fn of(path: &Path) -> Option<Format> {
        if !path.is_dir() {
            return Some(Format::File);
        }
        if prosody::is_data(path) {
            return Some(Format::Prosody);
        }
        (!documents(path).is_empty()).then_some(Format::Folder)
    }

    fn name(self) -> &'static str {
        match self {
            Format::File | Format::Folder => "XEP-0227",
            Format::Prosody => "Prosody",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Format::File | Format::Folder => "bytes",
            Format::Prosody => "accounts",
        }
    }

    fn read(
        self,
        path: &Path,
        hosts: &Hosts,
        now: SystemTime,
        sink: &mut dyn FnMut(Found) -> bool,
    ) -> Result<(), Stop> {
        match self {
            Format::File => pie::read(path, hosts, now, sink),
            Format::Folder => documents(path)
                .iter()
                .try_for_each(|file| pie::read(file, hosts, now, sink)),
            Format::Prosody => prosody::read(path, hosts, now, sink),
        }
    }
}

/// The files of a folder whose root is `<server-data/>`, by name: those that others include are read with these.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "xml") && pie::is_document(file));
    files.sort();
    files
}

/// An import under way.
struct Bringing<'a, H> {
    order: &'a Import,
    auth: &'a Auth,
    storage: &'a Storage,
    hearer: &'a H,
    summary: Summary,
    /// Hosts that are known to have accounts with some mechanisms only.
    surveyed: BTreeSet<String>,
    /// Hosts whose accounts changed.
    touched: BTreeSet<String>,
}

/// What became of a draft.
struct Done {
    draft: Box<Draft>,
    bytes: usize,
    outcome: Result<Brought, StorageError>,
    /// Why there are no keys of the password that was found.
    no_keys: Option<&'static str>,
}

impl<H: Hearer> Bringing<'_, H> {
    /// Takes what is found until there is no more.
    async fn all(
        &mut self,
        heard: &mut mpsc::Receiver<Found>,
        unit: &'static str,
    ) -> Result<(), StorageError> {
        let (order, auth, storage) = (self.order, self.auth, self.storage);
        let hashing = Semaphore::new(HASHED_AT_ONCE);
        let mut coming = FuturesUnordered::new();
        let mut addresses = HashSet::new();
        let mut bytes = 0;
        while let Some(found) = heard.recv().await {
            let draft = match found {
                Found::Account(draft) => draft,
                Found::Unusable { at, account, why } => {
                    self.summary.unusable += 1;
                    self.summary.fault(format!("{at}: {account}: {why}"));
                    continue;
                }
                Found::LeftOut { at, what } => {
                    self.summary.leave_out(what, at);
                    continue;
                }
                Found::Progress { done, total } => {
                    self.hearer.progress(done, total, unit);
                    continue;
                }
            };
            let size = draft.account.bytes();
            let address = draft.account.address.clone();
            // Two of one name come one after the other.
            while coming.len() >= AT_ONCE
                || (bytes + size > BYTES_AT_ONCE && !coming.is_empty())
                || addresses.contains(&address)
            {
                let Some(done): Option<Done> = coming.next().await else {
                    break;
                };
                bytes -= done.bytes;
                addresses.remove(&done.draft.account.address);
                self.settle(done).await?;
            }
            bytes += size;
            addresses.insert(address);
            coming.push(bring(order, auth, storage, &hashing, draft, size));
        }
        while let Some(done) = coming.next().await {
            self.settle(done).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, done: Done) -> Result<(), StorageError> {
        let Draft { account, at, .. } = &*done.draft;
        let (address, summary) = (&account.address, &mut self.summary);
        match done.outcome {
            Ok(Brought::Exists) => {
                summary.exist += 1;
                summary.fault(format!("{at}: {address} exists and was left alone"));
                return Ok(());
            }
            Ok(Brought::Removed) => {
                summary.removed += 1;
                summary.fault(format!(
                    "{at}: {address} was removed here, and its name was not released (`release_name`)"
                ));
                return Ok(());
            }
            // A value that no store takes is the account's fault, not the store's.
            Err(StorageError::Invalid { detail, .. }) => {
                summary.unusable += 1;
                summary.fault(format!("{at}: {address}: {detail}"));
                return Ok(());
            }
            Err(error) => return Err(error),
            Ok(Brought::Made) => summary.made += 1,
            Ok(Brought::Replaced) => summary.replaced += 1,
        }
        summary.contacts += account.roster.len() as u64;
        summary.messages += account.offline.len() as u64;
        summary.vcards += u64::from(account.vcard.is_some());
        summary.private += account.private.len() as u64;
        summary.lists += account.privacy.lists.len() as u64;
        let has_keys = !account.credentials.is_empty()
            || (self.order.only_check && done.draft.password.is_some());
        if let Some(why) = done.no_keys {
            summary.fault(format!("{at}: {address} came without its password: {why}"));
        }
        if !has_keys {
            summary.without_password += 1;
        }
        if let (Ok(brought), false) = (done.outcome, self.order.only_check) {
            self.hearer.brought(address, brought).await;
            self.survey(address.domain().as_str(), account.credentials.len())
                .await;
        }
        Ok(())
    }

    /// Looks anew at what may be offered at a host where an account lacks a mechanism: its first login would fail.
    async fn survey(&mut self, host: &str, mechanisms: usize) {
        self.touched.insert(host.to_owned());
        if mechanisms > 0 && mechanisms < 3 && self.surveyed.insert(host.to_owned()) {
            look(self.auth, host).await;
        }
    }

    async fn finish(self) -> Summary {
        for host in &self.touched {
            look(self.auth, host).await;
        }
        self.summary
    }
}

async fn look(auth: &Auth, host: &str) {
    if let Err(error) = auth.survey(host).await {
        tracing::warn!(target: "natter::port", host, %error, "mechanisms on offer not reviewed");
    }
}

/// Puts one account, with keys made of its password where that was found.
async fn bring(
    order: &Import,
    auth: &Auth,
    storage: &Storage,
    hashing: &Semaphore,
    mut draft: Box<Draft>,
    bytes: usize,
) -> Done {
    let mut no_keys = None;
    let outcome = if order.only_check {
        look_up(order, storage, &draft.account.address).await
    } else {
        let outcome = make_keys(auth, storage, hashing, order, &mut draft).await;
        match outcome {
            Ok(why) => {
                no_keys = why;
                storage.bring(draft.account.clone(), order.if_there).await
            }
            Err(error) => Err(error),
        }
    };
    Done {
        draft,
        bytes,
        outcome,
        no_keys,
    }
}

/// What would become of an account.
async fn look_up(
    order: &Import,
    storage: &Storage,
    address: &BareJid,
) -> Result<Brought, StorageError> {
    let accounts = &storage.accounts;
    if accounts.removed(address).await?.is_some() {
        return Ok(Brought::Removed);
    }
    Ok(match (accounts.exists(address).await?, order.if_there) {
        (false, _) => Brought::Made,
        (true, IfThere::Replace) => Brought::Replaced,
        (true, IfThere::Keep) => Brought::Exists,
    })
}

/// Replaces the password of a draft by the keys of all mechanisms; why that cannot be done, where it cannot.
async fn make_keys(
    auth: &Auth,
    storage: &Storage,
    hashing: &Semaphore,
    order: &Import,
    draft: &mut Draft,
) -> Result<Option<&'static str>, StorageError> {
    let Some(password) = draft.password.take() else {
        return Ok(None);
    };
    // Hashing is dear: not for those who are left alone.
    let outcome = look_up(order, storage, &draft.account.address).await?;
    if matches!(outcome, Brought::Exists | Brought::Removed) {
        return Ok(None);
    }
    let _turn = hashing.acquire().await;
    loop {
        match auth.credentials_for(&password).await {
            Ok(credentials) => {
                draft.account.credentials = credentials;
                return Ok(None);
            }
            Err(RegisterError::NotAcceptable(why)) => return Ok(Some(why)),
            // Logins come first; this waits for its turn as long as its command may last.
            Err(RegisterError::Store(StorageError::Busy { .. })) => {}
            Err(RegisterError::Store(error)) => return Err(error),
            Err(error) => unreachable!("a password alone is no account: {error}"),
        }
    }
}
