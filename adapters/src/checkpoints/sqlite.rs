//! [`Checkpoints`] in the read models' file, so that a checkpoint and the effects that it stands for are lost or kept
//! together. Which generation serves is in the truth's file: it must survive the read models.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Lane, Position};
use tokio::sync::watch;

use super::{Build, Checkpoints, Generation, OwnerEpoch, ParkedLane, Partition, Progress, Taken};
use crate::StoreError;
use crate::sqlite::Database;

mod known;
mod rows;

use known::{Known, Watcher};

/// The adapter.
#[derive(Debug)]
pub struct SqliteCheckpoints {
    // Before the files: its connections must be closed when they close.
    _watcher: Watcher,
    known: Arc<Known>,
    read_models: Arc<Database>,
}

impl SqliteCheckpoints {
    /// In the read models' file ([`READ_MODELS`](crate::sqlite::READ_MODELS)), with the serving generations in the
    /// truth's ([`TRUTH`](crate::sqlite::TRUTH)). Loads the present progress and looks at both files for changes by
    /// other processes until it is dropped.
    ///
    /// # Errors
    /// One of the files cannot be read.
    pub fn open(read_models: Arc<Database>, truth: Arc<Database>) -> Result<Self, StoreError> {
        let known = Arc::new(Known::default());
        let watcher = Watcher::start(Arc::clone(&known), &read_models, &truth)?;
        Ok(Self { _watcher: watcher, known, read_models })
    }
}

#[async_trait]
impl Checkpoints for SqliteCheckpoints {
    // From memory: every query asks, and a pointer that is a moment old serves as well, since the generation that it
    // points to goes on being applied.
    async fn serving(&self, projection: &str) -> Result<Generation, StoreError> {
        Ok(self.known.serving(projection))
    }

    async fn take(&self, build: Build, partition: Partition) -> Result<Taken, StoreError> {
        self.read_models.write(move |connection| rows::take(connection, build, partition)).await
    }

    async fn save(&self, build: Build, epoch: OwnerEpoch, position: Position) -> Result<(), StoreError> {
        let known = Arc::clone(&self.known);
        self.read_models
            .write_then(
                move |connection| rows::save(connection, build, epoch, position),
                move |()| known.note_position(build, position),
            )
            .await
    }

    async fn park(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        offsets: &[i64],
        reason: &str,
    ) -> Result<(), StoreError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let known = Arc::clone(&self.known);
        let (lane, offsets, reason) = (lane.clone(), offsets.to_vec(), reason.to_owned());
        let parked = lane.clone();
        self.read_models
            .write_then(
                move |connection| rows::park(connection, build, epoch, partition, &lane, &offsets, &reason),
                move |()| known.note_parked(build, partition, parked),
            )
            .await
    }

    async fn parked_offsets(
        &self,
        build: Build,
        partition: Partition,
        lane: &Lane,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        self.read_models.read(|connection| rows::parked_offsets(connection, build, partition, lane, limit)).await
    }

    async fn unpark(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        offset: i64,
    ) -> Result<bool, StoreError> {
        let known = Arc::clone(&self.known);
        let lane = lane.clone();
        let drained = lane.clone();
        self.read_models
            .write_then(
                move |connection| rows::unpark(connection, build, epoch, partition, &lane, offset),
                move |unparked| known.note_unparked(build, partition, &drained, *unparked),
            )
            .await
            .map(|unparked| unparked.closed)
    }

    async fn parked(&self, build: Build) -> Result<Vec<(Partition, ParkedLane)>, StoreError> {
        self.read_models.read(|connection| rows::parked(connection, build, None)).await
    }

    async fn positions(&self, build: Build) -> Result<Vec<Position>, StoreError> {
        self.read_models.read(|connection| rows::positions(connection, build)).await
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.known.progress()
    }
}

#[cfg(test)]
mod tests;
