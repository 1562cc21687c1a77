//! The relay: brings to the log what commands could not, because the log was down, or the process died, or there was
//! too much at once. Nothing to do where content and log are one file.

use std::collections::HashSet;
use std::time::Duration;

use adapters::StoreError;
use adapters::http::clock;
use domain::StreamId;
use tokio_util::sync::CancellationToken;

use crate::write_path::{Publisher, WritePath};

/// How the relay sweeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How old an outbox is before the relay takes it for left behind.
    pub age: Duration,
    /// How often it looks.
    pub every: Duration,
    /// Streams that share an append.
    pub batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { age: Duration::from_secs(2), every: Duration::from_millis(500), batch: 64 }
    }
}

/// The longest pause while the log or the content is down.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Sweeps outboxes. Any number may run at once: what two of them publish is published twice, in order.
#[derive(Clone)]
pub struct Relay {
    publisher: Publisher,
    settings: Settings,
}

impl Relay {
    /// Beside the commands of `write_path`, so that the two do not publish the same streams at once.
    pub fn new(write_path: &WritePath, settings: Settings) -> Self {
        Self { publisher: write_path.publisher().clone(), settings }
    }

    /// Sweeps until `cancel`led.
    pub async fn run(self, cancel: CancellationToken) {
        let mut pause = self.settings.every;
        let mut failing = false;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            // Also out of an append that hangs: what it was about to do is done again by the next process.
            let Some(swept) = cancel.run_until_cancelled(self.sweep()).await else { return };
            match swept {
                Ok(published) => {
                    (pause, failing) = (self.settings.every, false);
                    metrics::counter!("hybrid_live_relay_published_streams_total").increment(published as u64);
                }
                Err(error) => {
                    // Once per failure, not at every look.
                    if !failing {
                        tracing::warn!(%error, "the relay cannot publish; commands are still accepted");
                    }
                    (pause, failing) = ((pause * 2).min(LONGEST_PAUSE), true);
                }
            }
        }
    }

    /// Publishes all outboxes that are old enough; answers of how many streams. One that cannot be published holds up
    /// no other.
    ///
    /// # Errors
    /// A store does not answer: the rest is for the next sweep.
    pub async fn sweep(&self) -> Result<usize, StoreError> {
        let age = i64::try_from(self.settings.age.as_millis()).unwrap_or(i64::MAX);
        let before = clock::now().plus_millis(-age);
        let mut published = 0;
        let mut stuck: HashSet<StreamId> = HashSet::new();
        loop {
            let limit = self.settings.batch + stuck.len();
            let pending = self.publisher.content().pending_outboxes(before, limit).await?;
            let streams: Vec<StreamId> =
                pending.into_iter().map(|outbox| outbox.stream).filter(|stream| !stuck.contains(stream)).collect();
            if streams.is_empty() {
                return Ok(published);
            }
            match self.publisher.publish_together(&streams).await {
                // Commands were faster, with all of them: what is left can wait for the next look.
                Ok(0) => return Ok(published),
                Ok(count) => published += count,
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(_) => {
                    for stream in &streams {
                        match self.publisher.publish_together(&[*stream]).await {
                            Ok(count) => published += count,
                            Err(error @ StoreError::Unavailable(_)) => return Err(error),
                            Err(error) => {
                                tracing::error!(%error, %stream, "an outbox cannot be published");
                                stuck.insert(*stream);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("settings", &self.settings).finish_non_exhaustive()
    }
}
