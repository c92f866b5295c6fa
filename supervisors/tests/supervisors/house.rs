//! A server with a folder of its own, on a port of its own, with its clock standing still.

use std::path::PathBuf;

use admin::{Caller, Door, Given};
use otp::{Clock, ClockHand};
use supervisors::settings::Place;
use supervisors::{Server, ServerError};

/// What every file of these tests begins with.
pub const USUAL: &str = r#"hosts = ["a.example", "b.example"]

[[listener]]
kind = "c2s"
address = "127.0.0.1:0"
tls = "off"
"#;

pub struct House {
    pub server: Server,
    pub folder: tempfile::TempDir,
    /// Moves its clock.
    pub hand: ClockHand,
}

/// Where the server of a folder finds its configuration.
pub fn place(folder: &tempfile::TempDir) -> Place {
    Place {
        file: Some(folder.path().join("natter.toml")),
        data_dir: Some(folder.path().join("data")),
    }
}

/// A folder with the usual configuration and these lines more.
pub fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, more);
    folder
}

pub fn write(folder: &tempfile::TempDir, more: &str) {
    write_whole(folder, &format!("{USUAL}{more}"));
}

pub fn write_whole(folder: &tempfile::TempDir, text: &str) {
    std::fs::write(folder.path().join("natter.toml"), text).expect("the folder is ours");
}

impl House {
    pub async fn start(more: &str) -> House {
        House::open(folder(more)).await.expect("the server starts")
    }

    pub async fn open(folder: tempfile::TempDir) -> Result<House, ServerError> {
        let (clock, hand) = Clock::manual();
        let server = Server::start(place(&folder), clock).await?;
        Ok(House {
            server,
            folder,
            hand,
        })
    }

    /// Stops the server and starts it again on what it left.
    pub async fn again(self) -> House {
        let folder = self.stop().await;
        House::open(folder).await.expect("the server starts again")
    }

    pub async fn stop(self) -> tempfile::TempDir {
        self.server.stop().await.expect("an orderly end");
        self.folder
    }

    /// Writes the file anew.
    pub fn writes(&self, more: &str) {
        write(&self.folder, more);
    }

    /// Writes the file anew, without the usual beginning.
    pub fn writes_whole(&self, text: &str) {
        write_whole(&self.folder, text);
    }

    /// Gives a command as an administrator; its result as JSON, or the error's text.
    pub async fn runs(&self, words: &str) -> Result<String, String> {
        let (name, args) = words.split_once(' ').unwrap_or((words, ""));
        let given = Given::words(args.split(' ').filter(|word| !word.is_empty()));
        let caller = Caller::admin("tests", Door::Ctl);
        let commands = &self.server.node().commands;
        let value = commands.execute(&caller, name, &given).await;
        value
            .map(|value| value.to_json().to_string())
            .map_err(|error| error.to_string())
    }

    pub async fn done(&self, words: &str) -> String {
        self.runs(words)
            .await
            .unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    pub async fn refused(&self, words: &str) -> String {
        self.runs(words).await.expect_err(words)
    }

    pub async fn has_route(&self, domain: &str) -> bool {
        self.server
            .node()
            .router
            .route_list()
            .iter()
            .any(|row| row.domain == domain && row.mode != "down")
    }

    pub fn overrides(&self) -> String {
        let path: PathBuf = self.folder.path().join("data").join("overrides.toml");
        std::fs::read_to_string(path).unwrap_or_default()
    }
}
