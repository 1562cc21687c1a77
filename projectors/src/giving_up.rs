//! Giving up what readers could not be told, in all processes, so that nobody waits for a server that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adapters::StoreError;
use adapters::checkpoints::{Checkpoints, Epoch};

/// One projection's debt to those who read what it tells of.
pub(crate) struct GivingUp {
    checkpoints: Arc<dyn Checkpoints>,
    epoch: Epoch,
    /// Whether the last batch could not be told of: trouble is logged when it begins and when it ends.
    in_trouble: AtomicBool,
}

impl GivingUp {
    pub(crate) fn new(checkpoints: Arc<dyn Checkpoints>, epoch: Epoch) -> Self {
        Self { checkpoints, epoch, in_trouble: AtomicBool::new(false) }
    }

    /// Ends a batch, of which readers were told but for `trouble`. Comes before the checkpoint passes it.
    pub(crate) async fn settle(&self, trouble: Option<StoreError>) -> Result<(), StoreError> {
        let what = self.epoch.name();
        let was_in_trouble = self.in_trouble.swap(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            Some(error) => {
                if !was_in_trouble {
                    tracing::warn!(what, %error, "cannot be told of changes, and is given up");
                }
                self.checkpoints.raise(self.epoch).await
            }
            None => {
                if was_in_trouble {
                    tracing::info!(what, "is told of changes again");
                }
                Ok(())
            }
        }
    }
}
