//! The binary under test, run as people run it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// The environment variable that names the binary.
const BINARY: &str = "HYBRID_LIVE_BIN";

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output and then to standard error.
    pub text: String,
}

impl Outcome {
    /// The same, if it ended like this.
    ///
    /// # Panics
    /// With all that it wrote, if not.
    #[must_use]
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }
}

/// `HYBRID_LIVE_BIN`, or the binary that was built beside this one.
pub(crate) fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os(BINARY) {
        return PathBuf::from(named);
    }
    let this = std::env::current_exe().expect("this binary has a path");
    let beside = this.ancestors().skip(1).take(2).map(|directory| directory.join("hybrid-live"));
    let found = beside.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("build hybrid-live first, or name it with {BINARY}"))
}

/// The binary in `directory`, with nobody's settings but the test's.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HYBRID_LIVE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command in `directory` to its end.
///
/// # Panics
/// When it cannot be started.
pub async fn run(directory: &Path, arguments: &[&str]) -> Outcome {
    let output = command(directory).args(arguments).output().await.expect("the binary runs");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Outcome { code: output.status.code(), text }
}
