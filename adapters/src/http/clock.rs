//! Time and chance, which `domain` takes as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// The present time.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// What makes a new id, of any kind, unique beside its time: `PostId::from_parts(now(), entropy())`.
pub fn entropy() -> [u8; 10] {
    rand::random()
}
