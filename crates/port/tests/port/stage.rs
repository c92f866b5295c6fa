//! A store with authentication over it, in a temporary folder, that imports and exports.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth::{Auth, AuthOptions};
use otp::{Clock, SupPid, Supervisor, System};
use parking_lot::Mutex;
use port::{Export, Exported, Hearer, Hosts, Import, Summary};
use storage::{Brought, IfThere, Storage, WholeAccount};
use tempfile::TempDir;
use xmpp::BareJid;

/// What time it is while something is imported.
pub const NOW: SystemTime = UNIX_EPOCH;

pub struct Stage {
    pub auth: Auth,
    pub storage: Storage,
    pub folder: TempDir,
    /// Keeps the store at work.
    _processes: SupPid,
    _system: System,
}

impl Stage {
    pub async fn open() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let (clock, _hand) = Clock::manual();
        let system = System::new("port", clock);
        let storage = Storage::open(&folder.path().join("data"), &system).unwrap();
        let mut supervisor = Supervisor::new(otp::Strategy::OneForOne);
        for child in storage.children() {
            supervisor = supervisor.child(child);
        }
        let processes = supervisor.start(&system, "storage_sup").await.unwrap();
        let options = AuthOptions {
            iterations: 10,
            ..AuthOptions::default()
        };
        let auth = Auth::new(storage.clone(), &system, options);
        Stage {
            auth,
            storage,
            folder,
            _processes: processes,
            _system: system,
        }
    }

    /// A file of that name with that content.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub async fn whole(&self, address: &str) -> Option<WholeAccount> {
        self.storage.whole(&jid(address)).await.unwrap()
    }

    pub async fn exports(&self, path: &Path, hosts: &[&str], user: Option<&str>) -> Exported {
        let order = Export {
            path: path.to_owned(),
            folder: false,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            user: user.map(str::to_owned),
        };
        port::export(&order, &self.storage, |done, total| assert!(done <= total))
            .await
            .unwrap()
    }

    pub async fn imports(&self, path: &Path) -> Summary {
        self.imports_as(order(path)).await
    }

    pub async fn imports_as(&self, order: Import) -> Summary {
        self.imports_heard(order, &Heard::default()).await
    }

    pub async fn imports_heard(&self, order: Import, heard: &Heard) -> Summary {
        port::import(order, &self.auth, &self.storage, heard).await
    }

    /// Whether the account can log in with this password.
    pub async fn opens(&self, address: &str, password: &str) -> bool {
        self.auth
            .check_password(&jid(address), &password.into())
            .await
            .unwrap()
    }
}

/// An import of that file, of hosts that end in `.example`, that leaves alone what is there.
pub fn order(path: &Path) -> Import {
    Import {
        path: path.to_owned(),
        hosts: Hosts::new(|host| host.ends_with(".example")),
        if_there: IfThere::Keep,
        only_check: false,
        now: NOW,
    }
}

/// What was heard of an import.
#[derive(Default)]
pub struct Heard {
    pub brought: Mutex<Vec<(String, Brought)>>,
    pub last: Mutex<Option<(u64, u64, &'static str)>>,
}

impl Hearer for Heard {
    async fn brought(&self, account: &BareJid, brought: Brought) {
        self.brought.lock().push((account.to_string(), brought));
    }

    fn progress(&self, done: u64, total: u64, unit: &'static str) {
        *self.last.lock() = Some((done, total, unit));
    }
}

pub fn jid(text: &str) -> BareJid {
    xmpp::parse_bare(text).unwrap()
}

pub fn seconds(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}
