//! A server that stores are on, started for one scenario alone, which may kill it and stop it without disturbing others.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use crate::servers::variable;

/// The environment variable that names the folder of the servers that all scenarios share.
const DIRECTORY: &str = "HYBRID_LIVE_TEST_SERVICES_DIR";

/// A server of the scenario's own. It is ended when this goes.
#[derive(Debug)]
pub struct Service {
    name: String,
    url: String,
    directory: TempDir,
}

impl Service {
    /// Starts a server: `kafka`, `mongodb`, `cassandra` or `redis`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(name: &str) -> Self {
        let directory = place();
        let said = run("up", &["--dir", text(directory.path()), name]).await;
        let (variable, prefix) = (variable(name), "export ");
        // It says it as a shell would want to hear it.
        let url = said.lines().find_map(|line| {
            let (key, value) = line.trim().strip_prefix(prefix).unwrap_or(line.trim()).split_once('=')?;
            (key == variable).then(|| value.trim_matches(['\'', '"']).to_owned())
        });
        let url = url.unwrap_or_else(|| panic!("`up` does not say {variable}:\n{said}"));
        Self { name: name.to_owned(), url, directory }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills it (SIGKILL).
    pub async fn kill(&self) {
        self.control("kill").await;
    }

    /// Starts it again where it was. It is ready when this returns.
    pub async fn start_again(&self) {
        self.control("start").await;
    }

    /// Stops it (SIGSTOP): its connections stay, and nobody answers.
    pub async fn pause(&self) {
        self.control("pause").await;
    }

    /// Lets it go on.
    pub async fn resume(&self) {
        self.control("resume").await;
    }

    async fn control(&self, verb: &str) {
        run("control", &["--dir", text(self.directory.path()), &self.name, verb]).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let down = std::process::Command::new(script("down")).args(["--dir", text(self.directory.path())]).output();
        if !down.is_ok_and(|output| output.status.success()) {
            println!("{} did not end: {}", self.name, self.directory.path().display());
        }
    }
}

/// Below the folder of those that all scenarios share: whoever ends those, ends what a scenario that died has left.
fn place() -> TempDir {
    let shared = std::env::var_os(DIRECTORY).map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".run/services"));
    std::fs::create_dir_all(&shared).expect("a directory");
    tempfile::Builder::new().prefix("own-").tempdir_in(shared).expect("a directory")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("services").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is a text")
}

/// Runs a script; answers what it says to those who read it.
async fn run(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(script(name)).args(arguments).output().await;
    let output = output.unwrap_or_else(|error| panic!("tests/services/{name}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/services/{name} {arguments:?}: {said}\n{error}");
    said
}
