//! What can go wrong with a store, as far as callers must tell it apart.

/// A store's failure. Callers retry [`StoreError::Unavailable`], never the others.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not now: the server is gone, the disk is full, the file is locked. The same call may succeed later, and the
    /// call that failed may or may not have had its effect.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// What was read back is not what this version writes. Waiting does not help.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// A guard refused the write: somebody else owns what was to be written, or has written it meanwhile.
    #[error("overtaken by another writer: {0}")]
    Overtaken(String),
}
