//! The lock on a data directory: a server of everything has it for itself; processes that share the work on the
//! directory's files hold it together.
//!
//! Writers of the truth need no lock: the write path's compare-and-set keeps them apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

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

impl Attempt {
    fn or_refuse(self, directory: &Path) -> Result<Lock, Failure> {
        match self {
            Self::Taken(lock) => Ok(lock),
            Self::Held(process) => {
                let who = process.map_or_else(String::new, |process| format!(" (process {process})"));
                let directory = directory.display();
                Err(Failure::cannot_run(format!(
                    "another hybrid-live{who} is running on the data directory {directory}; stop it, or use `--data-dir`"
                )))
            }
        }
    }
}

fn open(directory: &Path) -> Result<(PathBuf, File), Failure> {
    let path = directory.join(NAME);
    // Not truncated: until the lock is ours, what is in it is another's.
    match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path) {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(unlockable(&path, &error)),
    }
}

/// Who it is only helps the reader; without it the refusal stands.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn unlockable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::cannot_run(format!("the data directory cannot be locked: {}: {error}", path.display()))
}

impl Lock {
    /// Takes the lock for this process alone, or says who has it.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn try_take(directory: &Path) -> Result<Attempt, Failure> {
        let (path, mut file) = open(directory)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Attempt::Held(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(unlockable(&path, &error)),
        }
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| unlockable(&path, &error))?;
        Ok(Attempt::Taken(Self { _file: file }))
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// Another process has it.
    pub(crate) fn take(directory: &Path) -> Result<Self, Failure> {
        Self::try_take(directory)?.or_refuse(directory)
    }

    /// Takes the lock together with others who do so, or says who has it alone.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn try_share(directory: &Path) -> Result<Attempt, Failure> {
        let (path, mut file) = open(directory)?;
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Attempt::Held(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(unlockable(&path, &error)),
        }
        // Whoever is named in it has gone.
        file.set_len(0).map_err(|error| unlockable(&path, &error))?;
        Ok(Attempt::Taken(Self { _file: file }))
    }

    /// Takes the lock together with others who do so.
    ///
    /// # Errors
    /// Another process has it alone.
    pub(crate) fn share(directory: &Path) -> Result<Self, Failure> {
        Self::try_share(directory)?.or_refuse(directory)
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
    fn those_who_share_it_exclude_whoever_wants_it_alone_and_the_other_way_round() {
        let directory = tempfile::tempdir().expect("a directory");
        let alone = Lock::take(directory.path()).expect("free");
        let refusal = Lock::share(directory.path()).err().expect("held").to_string();
        assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
        drop(alone);
        let (one, other) =
            (Lock::share(directory.path()).expect("free"), Lock::share(directory.path()).expect("shared"));
        drop(one);
        let refusal = Lock::take(directory.path()).err().expect("held").to_string();
        assert!(!refusal.contains("process"), "nobody in particular: {refusal}");
        drop(other);
        assert!(Lock::take(directory.path()).is_ok());
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("missing");
        assert!(Lock::take(&missing).err().expect("refused").to_string().contains("missing/lock"));
    }
}
