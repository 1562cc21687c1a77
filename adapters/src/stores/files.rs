//! Files that stores share: each is opened once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{OpenStoresError, failed, unsupported};
use crate::sqlite::{Database, Durability, READ_MODELS, Schema, Sharing, TRUTH};

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Truth,
    ReadModels,
}

impl Kind {
    /// Its tables.
    pub(super) fn schema(self) -> &'static Schema {
        match self {
            Self::Truth => &TRUTH,
            Self::ReadModels => &READ_MODELS,
        }
    }

    /// What its commits outlast.
    pub(super) fn durability(self) -> Durability {
        match self {
            Self::Truth => Durability::Power,
            // What the newest commits held is made again from the log.
            Self::ReadModels => Durability::Process,
        }
    }
}

/// Files that are open already.
pub(super) struct Files {
    sharing: Sharing,
    open: Vec<OpenFile>,
}

impl Default for Files {
    fn default() -> Self {
        Self { sharing: Sharing::Alone, open: Vec::new() }
    }
}

struct OpenFile {
    port: &'static str,
    path: PathBuf,
    kind: Kind,
    database: Arc<Database>,
}

impl Files {
    /// None yet, beside whoever `sharing` says.
    pub(super) fn shared_as(sharing: Sharing) -> Self {
        Self { sharing, ..Self::default() }
    }

    /// The file that a URL names.
    pub(super) fn path(port: &'static str, url: &str) -> Result<PathBuf, OpenStoresError> {
        match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(resolved(Path::new(path))),
            _ => Err(unsupported(port, url, "sqlite:PATH")),
        }
    }

    /// Opens the file that a URL names, unless it is open, as what it holds.
    pub(super) fn open(&mut self, port: &'static str, url: &str, kind: Kind) -> Result<Arc<Database>, OpenStoresError> {
        let path = Self::path(port, url)?;
        if let Some(open) = self.open.iter().find(|open| open.path == path) {
            if open.kind != kind {
                return Err(OpenStoresError::SharedFile { port: open.port, other: port, path });
            }
            return Ok(Arc::clone(&open.database));
        }
        let database = Database::open_as(&path, kind.schema(), kind.durability(), self.sharing);
        let database = database.map_err(|source| failed(port, url, source))?;
        self.open.push(OpenFile { port, path, kind, database: Arc::clone(&database) });
        Ok(database)
    }
}

/// One spelling per file, whether it exists or not: its directory's real path and its name.
fn resolved(path: &Path) -> PathBuf {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    match (directory.canonicalize(), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        // It cannot be opened either, and opening says why.
        _ => path.to_owned(),
    }
}
