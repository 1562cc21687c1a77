//! How the program ends when it does not end well.

use std::fmt;

use adapters::stores::OpenStoresError;

/// Exit codes, besides 0 for "done".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It ran and found or met something wrong: `verify` differences, a store that failed.
    Failed = 1,
    /// It could not run: command line, configuration, data directory, port, or what it was given.
    CannotRun = 2,
}

/// Why the program ends, in words for the person at the terminal: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How it ends.
    pub(crate) exit: Exit,
    message: String,
}

impl Failure {
    /// It ran and failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }

    /// It could not run.
    pub(crate) fn cannot_run(message: impl Into<String>) -> Self {
        Self { exit: Exit::CannotRun, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<OpenStoresError> for Failure {
    fn from(error: OpenStoresError) -> Self {
        Self::cannot_run(error.to_string())
    }
}
