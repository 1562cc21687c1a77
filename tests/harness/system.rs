//! A system under test, without its processes: settings, a data directory, and names of its own on the servers that it
//! stands on.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use adapters::stores::StoreUrls;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::sync::OnceCell;

use crate::command::{self, Outcome};
use crate::files::TruthFiles;
use crate::look::{Event, Heads, Look};
use crate::servers::{Names, Servers};
use crate::stores::Stores;

/// Every limit on how often one may call, off.
const NO_RATE_LIMITS: &str = "[rate_limits]\nlog_in = 0\nlog_in_name = 0\nregister = 0\nrefresh = 0\ncommands = 0\n\
                              queries = 0\nstreams = 0\n";

/// Partitions where the settings say nothing.
const PARTITIONS: u16 = 4;

/// How a system is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What it stands on.
    pub stores: Stores,
    /// Where the servers are that it needs for that.
    pub servers: Servers,
    /// Further settings, as TOML; tables that come after what stands in none.
    pub settings: String,
    /// Whether passwords cost as much as in production: tests that register many people cannot wait for that.
    pub cheap_passwords: bool,
    /// Whether it limits how often one may call, as `settings` then say: scenarios and benches call as fast as they can.
    pub rate_limits: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            stores: Stores::of_this_run(),
            servers: Servers::of_this_run(),
            settings: String::new(),
            cheap_passwords: true,
            rate_limits: false,
        }
    }
}

/// Settings, data, names. All of it is removed when this goes.
pub struct System {
    stores: Stores,
    look: OnceCell<Look>,
    migrated: OnceCell<()>,
    names: Names,
    directory: TempDir,
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("System").field("stores", &self.stores).field("directory", &self.directory).finish()
    }
}

impl System {
    /// One that is set up like this; nothing runs, and nothing is on the servers yet.
    ///
    /// # Panics
    /// When there is no place for it.
    pub(crate) fn new(setup: &Setup) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let names = Names::new(setup.stores.of(&setup.servers));
        // The given settings first: what stands in no table must stand before all tables.
        let mut settings = format!("{}{}", setup.settings, setup.stores.settings(&names));
        if setup.cheap_passwords {
            settings.push_str("[argon2]\nmemory_kib = 64\npasses = 1\n");
        }
        if !setup.rate_limits {
            settings.push_str(NO_RATE_LIMITS);
        }
        std::fs::write(directory.path().join("hybrid-live.toml"), settings).expect("settings are written");
        Self { stores: setup.stores, look: OnceCell::new(), migrated: OnceCell::new(), names, directory }
    }

    /// Makes what the stores need on their servers, once. Files need nothing.
    pub async fn migrate(&self) {
        if !self.stores.are_embedded() {
            let migrate = async {
                self.names.are_used();
                let _ = self.run(&["migrate"]).await.expect(0);
            };
            self.migrated.get_or_init(|| migrate).await;
        }
    }

    /// Runs a subcommand on its data and settings.
    pub async fn run(&self, arguments: &[&str]) -> Outcome {
        command::run(self.directory.path(), arguments).await
    }

    /// Starts a subcommand on its data and settings, to be killed half-way.
    ///
    /// # Panics
    /// When it does not start.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        command::command(self.directory.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs")
    }

    /// Starts a subcommand on its data and settings, and hears what it says on standard output.
    ///
    /// # Panics
    /// When it does not start.
    pub fn begin_heard(&self, arguments: &[&str]) -> Child {
        command::command(self.directory.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs")
    }

    /// Runs `verify`, which must find no difference.
    pub async fn verify(&self) {
        let _ = self.run(&["verify"]).await.expect(0);
    }

    /// The directory in which it is started.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The server's keys.
    pub fn secrets_file(&self) -> PathBuf {
        self.data().join("secrets.toml")
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What it stands on.
    pub(crate) fn stores(&self) -> Stores {
        self.stores
    }

    /// Where its data is, for those who go past the ports.
    pub fn store_urls(&self) -> StoreUrls {
        self.stores.urls(&self.data().display().to_string(), &self.names)
    }

    /// A look into its stores. Once it was set up: what is not there yet is not made.
    ///
    /// # Panics
    /// When one does not open.
    pub async fn look(&self) -> Look {
        let urls = self.store_urls();
        // Files are closed again after each look, so that a killed server finds them as it left them, with a log to
        // replay, and not tended by us. Connections to servers are kept.
        if self.stores.are_embedded() || self.stores == Stores::SqliteRedis {
            return Look::open(urls, PARTITIONS).await;
        }
        self.look.get_or_init(|| Look::open(urls, PARTITIONS)).await.clone()
    }

    /// How far everything is that commands write, see [`Look::heads`].
    pub async fn heads(&self) -> Heads {
        self.look().await.heads().await
    }

    /// The same once nothing waits, see [`Look::settled`].
    pub async fn settled(&self) -> Heads {
        self.look().await.settled().await
    }

    /// The log's events, see [`Look::events`].
    pub async fn events(&self, kind: Option<&str>) -> Vec<Event> {
        self.look().await.events(kind).await
    }

    /// How often an event of a type happened, see [`Look::happened`].
    pub async fn happened(&self, kind: &str) -> usize {
        self.look().await.happened(kind).await
    }

    /// Its files, for scenarios that need to know of files: those run where nothing is on a server.
    ///
    /// # Panics
    /// Where something is.
    pub fn files(&self) -> TruthFiles {
        assert!(self.stores.are_embedded(), "the scenario looks into files: it is made for embedded stores");
        let data = self.data();
        TruthFiles {
            content: self.stores.content(&data),
            event_log: self.stores.event_log(&data),
            read_models: data.join("read_models.db"),
            secrets: self.secrets_file(),
        }
    }
}
