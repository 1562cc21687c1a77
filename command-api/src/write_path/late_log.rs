//! The log that events are published to, which may be opened after the first command was accepted: a command needs
//! `content` alone (W1), so a process that takes commands does not wait for the log when it starts.
//!
//! Until then appending fails as it does while the log is away: events stay in their outboxes, the answer names the stream
//! instead of a position, and the relay publishes them later. Nothing but appending is asked of the log on the write
//! path, so nobody has to ask which life of the log this is before it is known.

use std::sync::{Arc, OnceLock};

use adapters::StoreError;
use adapters::event_log::{EventLog, Record};
use domain::Position;

/// See the module.
#[derive(Clone, Default)]
pub struct LateLog(Arc<OnceLock<Arc<dyn EventLog>>>);

impl LateLog {
    /// The log is open, and this is it. There is one: another changes nothing.
    pub fn is(&self, log: Arc<dyn EventLog>) {
        let _ = self.0.set(log);
    }

    pub(super) async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        match self.0.get() {
            Some(log) => log.append(records).await,
            None => Err(StoreError::Unavailable("the log has not answered since this process started".to_owned())),
        }
    }
}

impl From<Arc<dyn EventLog>> for LateLog {
    fn from(log: Arc<dyn EventLog>) -> Self {
        Self(Arc::new(OnceLock::from(log)))
    }
}

impl std::fmt::Debug for LateLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LateLog").field(&self.0.get().is_some()).finish()
    }
}
