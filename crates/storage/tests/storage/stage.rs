//! A store with its processes in a temporary folder, its clock in hand.

use std::path::Path;
use std::time::Duration;

use otp::{AnyPid, ChildState, Clock, ClockHand, Strategy, SupPid, Supervisor, System};
use storage::{Batch, OfflineMessage, RosterItem, Storage, StorageOptions};
use tempfile::TempDir;
use xmpp::BareJid;

pub struct Stage {
    pub folder: TempDir,
    pub system: System,
    pub hand: ClockHand,
    pub storage: Storage,
    pub processes: SupPid,
}

impl Stage {
    pub async fn open() -> Stage {
        Stage::with(StorageOptions::default()).await
    }

    pub async fn with(options: StorageOptions) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual();
        let system = System::new("storage", clock);
        let storage = Storage::open_with(folder.path(), &system, options).unwrap();
        let processes = start(&storage, &system).await;
        Stage {
            folder,
            system,
            hand,
            storage,
            processes,
        }
    }

    /// Stops the processes, drops the store and opens the same folder again.
    pub async fn reopen(self) -> Stage {
        self.processes.stop().await;
        drop(self.storage);
        let storage = Storage::open(self.folder.path(), &self.system).unwrap();
        let processes = start(&storage, &self.system).await;
        Stage {
            storage,
            processes,
            ..self
        }
    }

    pub async fn writer(&self) -> AnyPid {
        self.child("storage_writer").await
    }

    /// The running process of a child.
    pub async fn child(&self, id: &str) -> AnyPid {
        loop {
            let children = self.processes.which_children().await.unwrap();
            let child = children.into_iter().find(|child| child.id == id);
            if let ChildState::Running(pid) = child.unwrap().state {
                return pid;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass until the process ends.
    pub async fn outlive(&self, process: &AnyPid) {
        let ended = tokio::spawn(process.watch());
        while !ended.is_finished() {
            self.hand.advance(Duration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
    }
}

pub async fn start(storage: &Storage, system: &System) -> SupPid {
    let mut supervisor =
        Supervisor::new(Strategy::OneForOne).intensity(1000, Duration::from_secs(1));
    for child in storage.children() {
        supervisor = supervisor.child(child);
    }
    supervisor.start(system, "storage_sup").await.unwrap()
}

/// A second store on what a crash at this moment would leave of the first.
pub fn crash_image(folder: &Path) -> TempDir {
    let image = tempfile::tempdir().unwrap();
    for name in ["natter.db", "natter.db-wal"] {
        std::fs::copy(folder.join(name), image.path().join(name)).unwrap();
    }
    image
}

pub fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

pub fn alice() -> BareJid {
    jid("alice@a.example")
}

pub fn contact(number: usize) -> BareJid {
    jid(&format!("contact{number}@b.example"))
}

pub fn put(owner: &BareJid, item: RosterItem) -> Batch {
    let mut batch = Batch::new();
    batch.put_roster_item(owner, item);
    batch
}

pub fn message(system: &System, stanza: &str) -> OfflineMessage {
    OfflineMessage {
        stanza: stanza.to_owned(),
        received: system.clock().wall(),
        place: None,
        expires: None,
    }
}
