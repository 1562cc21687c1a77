//! A server as a child process, in a directory of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use tempfile::TempDir;
use tokio::process::Child;

use crate::client::Client;
use crate::command::{self, Outcome};
use crate::condition::{PATIENCE, eventually};
use crate::files::TruthFiles;
use crate::people::Person;
use crate::stores::Stores;

/// Every limit on how often one may call, off.
const NO_RATE_LIMITS: &str = "[rate_limits]\nlog_in = 0\nlog_in_name = 0\nregister = 0\nrefresh = 0\ncommands = 0\n\
                              queries = 0\nstreams = 0\n";

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What it stands on.
    pub stores: Stores,
    /// Further settings, as TOML; tables that come after what stands in none.
    pub settings: String,
    /// Whether passwords cost as much as in production: tests that register many people cannot wait for that.
    pub cheap_passwords: bool,
    /// Whether it limits how often one may call, as `settings` then say: scenarios and benches call as fast as they can.
    pub rate_limits: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { stores: Stores::of_this_run(), settings: String::new(), cheap_passwords: true, rate_limits: false }
    }
}

/// A server and its data. It is killed when this goes, and its log is shown if a test is failing.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    directory: TempDir,
    child: Option<Child>,
    port: u16,
}

impl Server {
    /// A server with the run's stores and default settings.
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// A server that is set up like this.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(setup: Setup) -> Self {
        let mut server = Self::prepare(setup);
        server.start_again().await;
        server
    }

    /// The directory of a server that has not been started.
    ///
    /// # Panics
    /// When there is no place for it.
    pub fn prepare(setup: Setup) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // The given settings first: what stands in no table must stand before all tables.
        let mut settings = format!("{}{}", setup.settings, setup.stores.settings());
        if setup.cheap_passwords {
            settings.push_str("[argon2]\nmemory_kib = 64\npasses = 1\n");
        }
        if !setup.rate_limits {
            settings.push_str(NO_RATE_LIMITS);
        }
        std::fs::write(directory.path().join("hybrid-live.toml"), settings).expect("settings are written");
        Self { setup, directory, child: None, port: 0 }
    }

    /// Starts it (again), on the same data and port. It serves when this returns.
    ///
    /// # Panics
    /// When it runs already, or does not start.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log file");
        let said_before = self.log().len();
        let child = command::command(self.directory.path())
            .args(["serve", "--listen", &format!("127.0.0.1:{}", self.port)])
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        self.child = Some(child);
        self.port = self.announced_port(said_before).await;
        let client = self.client();
        eventually("the server is alive", async || {
            match Client::try_send(client.request(http::Method::GET, "/health/live")).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(answer.shown()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// It says where it serves; that is how people find it.
    async fn announced_port(&mut self, said_before: usize) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(10));
        loop {
            looks.tick().await;
            let log = self.log();
            let said = log.get(said_before..).unwrap_or_default();
            let place = said.lines().find_map(|line| line.split_once("http://127.0.0.1:"));
            if let Some((_, rest)) = place {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                return digits.parse().unwrap_or_else(|_| panic!("no port in {rest:?}"));
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child of ours"));
            assert!(ended.is_none(), "the server ended at once: {ended:?}\n{said}");
            assert!(Instant::now() < deadline, "the server does not say where it serves:\n{said}");
        }
    }

    /// Kills it as `kill -9` does: nothing that is not on disk survives. Waits until it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().await.expect("it is killed");
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.ended().await
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Panics
    /// When it does not run.
    pub fn ask_to_end(&self) {
        let process = self.process_id().to_string();
        // The shell's own `kill`: nothing else that is on every machine sends a signal to a process id.
        let asked = std::process::Command::new("sh").args(["-c", "kill -TERM \"$0\"", &process]).status();
        assert!(asked.is_ok_and(|status| status.success()), "the server is asked to end");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        tokio::time::timeout(PATIENCE, child.wait()).await.expect("the server ends").expect("a child of ours")
    }

    /// The process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process_id(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("the server runs")
    }

    /// Where it serves.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Somebody who is not logged in. Each call is another HTTP client with connections of its own.
    pub fn client(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.port))
    }

    /// Registers people and logs them in.
    pub async fn people<const N: usize>(&self, usernames: [&str; N]) -> [Person; N] {
        let client = self.client();
        let people = usernames.map(|username| Person::register(&client, username));
        let people = futures::future::join_all(people).await;
        people.try_into().unwrap_or_else(|_| unreachable!("as many people as names"))
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

    /// The directory in which it was started.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its files.
    pub fn files(&self) -> TruthFiles {
        let data = self.directory.path().join("data");
        TruthFiles {
            content: self.setup.stores.content(&data),
            event_log: self.setup.stores.event_log(&data),
            read_models: data.join("read_models.db"),
            secrets: data.join("secrets.toml"),
        }
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        std::fs::read(self.log_file()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("the server's last words:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}
