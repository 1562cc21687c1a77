//! Telling open streams of a batch, or owning up that it could not be told.
//!
//! Live messages may be lost, but not in silence. A publisher that cannot reach the server does not wait for it, for counts
//! and homes would stand still meanwhile: it goes on, and raises [`Epoch::Live`] before the checkpoint passes the batch.
//! Streams see that and read the rows (L1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adapters::StoreError;
use adapters::checkpoints::{Checkpoints, Epoch};
use adapters::live::{Channel, Live, Message};

/// Who tells.
pub(crate) struct Teller {
    live: Arc<dyn Live>,
    checkpoints: Arc<dyn Checkpoints>,
    /// Whether the last batch could not be told of: trouble is logged when it begins and when it ends.
    in_trouble: AtomicBool,
}

/// What one batch has to tell. [`Self::settle`] comes after everything else.
#[must_use]
pub(crate) struct Telling<'a> {
    teller: &'a Teller,
    lost: AtomicBool,
}

impl Teller {
    pub(crate) fn new(live: Arc<dyn Live>, checkpoints: Arc<dyn Checkpoints>) -> Self {
        Self { live, checkpoints, in_trouble: AtomicBool::new(false) }
    }

    pub(crate) fn begin(&self) -> Telling<'_> {
        Telling { teller: self, lost: AtomicBool::new(false) }
    }
}

impl Telling<'_> {
    /// Tells whoever listens to `channel`.
    pub(crate) async fn tell(&self, channel: Channel, messages: Vec<Message>) -> Result<(), StoreError> {
        self.owe(self.teller.live.publish(channel, messages).await)
    }

    /// Tells whoever listens to any of `channels`.
    pub(crate) async fn tell_each(&self, channels: Vec<Channel>, message: Message) -> Result<(), StoreError> {
        self.owe(self.teller.live.publish_to_each(channels, message).await)
    }

    fn owe(&self, told: Result<(), StoreError>) -> Result<(), StoreError> {
        match told {
            Err(StoreError::Unavailable(why)) => {
                self.lost.store(true, Ordering::Relaxed);
                if !self.teller.in_trouble.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%why, "streams cannot be told at once, and read the rows instead");
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Makes good what could not be told.
    pub(crate) async fn settle(self) -> Result<(), StoreError> {
        if self.lost.into_inner() {
            metrics::counter!("hybrid_live_live_lost_batches_total").increment(1);
            return self.teller.checkpoints.raise(Epoch::Live).await;
        }
        if self.teller.in_trouble.swap(false, Ordering::Relaxed) {
            tracing::info!("streams are told at once again");
        }
        Ok(())
    }
}
