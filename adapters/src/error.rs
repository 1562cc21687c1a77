//! What can go wrong with a store, as far as callers must tell it apart.

/// A store's failure. Requests are told to come again after [`StoreError::Unavailable`] alone; a projection, which has
/// nobody to tell, tries again after [`StoreError::Damaged`], too, until an operator has mended it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not now: the server is gone, the disk is full, the file is locked. The same call may succeed later, and the
    /// call that failed may or may not have had its effect.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// What was read back is not what this version writes. Waiting does not help.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The store is not set up as this program needs it: another version of its schema, a setting that would lose
    /// data. It is mended by an operator, not by waiting.
    #[error("{0}")]
    Unfit(String),
    /// A guard refused the write: somebody else owns what was to be written, or has written it meanwhile.
    #[error("overtaken by another writer: {0}")]
    Overtaken(String),
}
