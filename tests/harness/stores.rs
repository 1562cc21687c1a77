//! Mixes of stores: the same scenarios run once with each.

use std::path::{Path, PathBuf};

/// The environment variable that picks the mix for a whole run.
const CHOICE: &str = "HYBRID_LIVE_TEST_STORES";

/// Which stores a server stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// The default: content and log in one SQLite file, so that they share transactions.
    Embedded,
    /// Content and log in two SQLite files, so that the outbox and its relay do the work.
    EmbeddedApart,
}

impl Stores {
    /// What `HYBRID_LIVE_TEST_STORES` names: `embedded` (the default) or `embedded-apart`.
    ///
    /// # Panics
    /// When it names something else.
    pub fn of_this_run() -> Self {
        match std::env::var(CHOICE).as_deref() {
            Err(_) | Ok("embedded") => Self::Embedded,
            Ok("embedded-apart") => Self::EmbeddedApart,
            Ok(other) => panic!("{CHOICE}={other}: no such mix of stores"),
        }
    }

    /// The settings that make it so.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Embedded => "",
            Self::EmbeddedApart => {
                "[stores]\ncontent = \"sqlite:{data_dir}/content.db\"\nevent_log = \"sqlite:{data_dir}/log.db\"\n"
            }
        }
    }

    /// The file with documents, names and keys.
    pub(crate) fn content(self, data: &Path) -> PathBuf {
        match self {
            Self::Embedded => data.join("truth.db"),
            Self::EmbeddedApart => data.join("content.db"),
        }
    }

    /// The file with the log.
    pub(crate) fn event_log(self, data: &Path) -> PathBuf {
        match self {
            Self::Embedded => data.join("truth.db"),
            Self::EmbeddedApart => data.join("log.db"),
        }
    }
}
