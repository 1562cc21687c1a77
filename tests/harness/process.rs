//! A process of the binary under test that serves until it is told to end, or killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::process::Child;

use crate::client::Client;
use crate::command;
use crate::condition::{PATIENCE, eventually};

/// A process that may be started again and again, on the same port. It is killed when this goes, and what it said last
/// is shown if a test is failing.
#[derive(Debug)]
pub(crate) struct Process {
    directory: PathBuf,
    arguments: Vec<String>,
    log_file: PathBuf,
    child: Option<Child>,
    port: u16,
}

impl Process {
    /// One that will run in `directory` with `arguments`, and say what it says into the file `log`.
    pub(crate) fn new(directory: &Path, arguments: &[&str], log: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            log_file: directory.join(log),
            child: None,
            port: 0,
        }
    }

    /// Starts it (again), on the same port. It is ready when this returns.
    pub(crate) async fn start(&mut self) {
        self.start_until("is ready at http://127.0.0.1:").await;
    }

    /// Starts it (again), on the same port. It is alive when this returns, and may be waiting for stores.
    pub(crate) async fn begin(&mut self) {
        self.start_until(" at http://127.0.0.1:").await;
    }

    /// The same until it says where it serves, in words that end so.
    async fn start_until(&mut self, words: &str) {
        assert!(self.child.is_none(), "the process runs already");
        let log = File::options().create(true).append(true).open(&self.log_file).expect("a log file");
        let said_before = self.log().len();
        let child = command::command(&self.directory)
            .args(&self.arguments)
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        self.child = Some(child);
        self.port = self.announced_port(said_before, words).await;
        self.until_alive().await;
    }

    /// Waits until it answers.
    pub(crate) async fn until_alive(&self) {
        let client = Client::new(&self.base());
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
    async fn announced_port(&mut self, said_before: usize, words: &str) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        loop {
            looks.tick().await;
            let log = self.log();
            let said = log.get(said_before..).unwrap_or_default();
            let place = said.lines().find_map(|line| line.split_once(words));
            if let Some((_, rest)) = place {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                return digits.parse().unwrap_or_else(|_| panic!("no port in {rest:?}"));
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child of ours"));
            assert!(ended.is_none(), "the server ended at once: {ended:?}\n{said}");
            assert!(Instant::now() < deadline, "the server does not say where it serves:\n{said}");
        }
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().await.expect("it is killed");
    }

    /// Stops it as `SIGSTOP` does: its connections stay, and nobody answers.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Self::pause`].
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    /// Asks it to end (SIGTERM).
    pub(crate) fn ask_to_end(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`: nothing else that is on every machine sends a signal to a process id.
        let sent = std::process::Command::new("sh")
            .args(["-c", &format!("kill -{name} \"$0\""), &self.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "the server is sent SIG{name}");
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        tokio::time::timeout(PATIENCE, child.wait()).await.expect("the server ends").expect("a child of ours")
    }

    /// Whether it was started and has not been ended.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("the server runs")
    }

    /// Where it serves.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it serves, as the beginning of a URL.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All that it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log_file).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let (name, last) = (self.log_file.display(), lines[lines.len().saturating_sub(60)..].join("\n"));
            println!("the last words of {name}:\n{last}");
        }
        let Some(mut child) = self.child.take() else { return };
        // Gone before what it stands on is removed.
        let deadline = Instant::now() + PATIENCE;
        let _ = child.start_kill();
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            #[expect(clippy::disallowed_methods, reason = "nothing can be awaited where a value goes")]
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
