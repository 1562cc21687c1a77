//! How often each call of the ports is made, and stores that fail on demand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use adapters::StoreError;
use adapters::decorated::Around;
use async_trait::async_trait;

/// How often each call was made.
#[derive(Default)]
pub(super) struct Calls {
    made: Mutex<Vec<&'static str>>,
    failing: AtomicBool,
}

impl Calls {
    /// The calls since the last time, in order.
    pub(super) fn take_in_order(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The calls since the last time, by name.
    pub(super) fn take(&self) -> BTreeMap<&'static str, usize> {
        let mut by_name = BTreeMap::new();
        for name in self.take_in_order() {
            *by_name.entry(name).or_default() += 1;
        }
        by_name
    }

    /// From now on every call fails, or none.
    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }
}

#[async_trait]
impl Around for Calls {
    async fn before(&self, call: &'static str) -> Result<(), StoreError> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        if self.failing.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("as the test wants".to_owned()));
        }
        Ok(())
    }
}
