//! Telling open streams of a batch, or owning up that it could not be told.
//!
//! Live messages may be lost, but not in silence. A publisher that cannot reach the server does not wait for it, for counts
//! and homes would stand still meanwhile: it goes on, and raises [`Epoch::Live`] before the checkpoint passes the batch.
//! Streams see that and read the rows (L1).

use std::sync::{Arc, OnceLock};

use adapters::StoreError;
use adapters::checkpoints::{Checkpoints, Epoch};
use adapters::live::{Channel, Live, Message};

use crate::giving_up::GivingUp;

/// Who tells.
pub(crate) struct Teller {
    live: Arc<dyn Live>,
    giving_up: GivingUp,
}

/// What one batch has to tell. [`Self::settle`] comes after everything else.
#[must_use]
pub(crate) struct Telling<'a> {
    teller: &'a Teller,
    /// Why something could not be told, if it could not.
    trouble: OnceLock<StoreError>,
}

impl Teller {
    pub(crate) fn new(live: Arc<dyn Live>, checkpoints: Arc<dyn Checkpoints>) -> Self {
        Self { live, giving_up: GivingUp::new(checkpoints, Epoch::Live) }
    }

    pub(crate) fn begin(&self) -> Telling<'_> {
        Telling { teller: self, trouble: OnceLock::new() }
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
            Err(error @ StoreError::Unavailable(_)) => {
                // The first of them says as much as all.
                let _ = self.trouble.set(error);
                Ok(())
            }
            other => other,
        }
    }

    /// Makes good what could not be told.
    pub(crate) async fn settle(self) -> Result<(), StoreError> {
        let trouble = self.trouble.into_inner();
        if trouble.is_some() {
            metrics::counter!("hybrid_live_live_lost_batches_total").increment(1);
        }
        self.teller.giving_up.settle(trouble).await
    }
}
