//! The lock on a data directory: one process runs the projections of a directory, and two servers do not share one.
//!
//! Writers of the truth need no lock: the write path's compare-and-set keeps them apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use crate::failure::Failure;

/// The file that is locked. It stays; the lock goes with the process, however that ends.
const NAME: &str = "lock";

/// The held lock; dropping it gives it up.
pub(crate) struct Lock {
    _file: File,
}

/// What came of taking the lock.
pub(crate) enum Attempt {
    /// It is ours.
    Taken(Lock),
    /// Another process has it; its id, if it left one.
    Held(Option<u32>),
}

impl Lock {
    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn try_take(directory: &Path) -> Result<Attempt, Failure> {
        let path = directory.join(NAME);
        let failed = |error: std::io::Error| {
            Failure::cannot_run(format!("the data directory cannot be locked: {}: {error}", path.display()))
        };
        // Not truncated: until the lock is ours, what is in it is another's.
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who it is only helps the reader; without it the refusal stands.
                let _ = file.read_to_string(&mut text);
                return Ok(Attempt::Held(text.trim().parse().ok()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(Attempt::Taken(Self { _file: file }))
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// Another process has it.
    pub(crate) fn take(directory: &Path) -> Result<Self, Failure> {
        match Self::try_take(directory)? {
            Attempt::Taken(lock) => Ok(lock),
            Attempt::Held(process) => {
                let who = process.map_or_else(String::new, |process| format!(" (process {process})"));
                let directory = directory.display();
                Err(Failure::cannot_run(format!(
                    "another hybrid-live{who} is running on the data directory {directory}; stop it, or use `--data-dir`"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_and_told_who_has_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Lock::take(directory.path()).expect("free");
        let refusal = Lock::take(directory.path()).err().expect("held").to_string();
        assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
        assert!(refusal.contains(&directory.path().display().to_string()), "{refusal}");
        drop(first);
        assert!(Lock::take(directory.path()).is_ok());
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("missing");
        assert!(Lock::take(&missing).err().expect("refused").to_string().contains("missing/lock"));
    }
}
