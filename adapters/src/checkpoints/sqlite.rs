//! [`Checkpoints`] in the read models' file, so that a checkpoint and the effects that it stands for are lost or kept
//! together. Which generation serves is in the truth's file: it must survive the read models.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Lane, Position, Timestamp};
use rusqlite::Connection;
use tokio::sync::watch;

use super::{
    Build, Checkpoints, Dropped, Epoch, Epochs, Generation, LaneOrder, Orders, Outcome, OwnerEpoch, ParkedLane,
    Partition, Progress, RequestId, Taken, WorkerState,
};
use crate::StoreError;
use crate::sqlite::Database;

mod known;
mod operating;
mod rows;

use known::{Known, Watcher};

/// The adapter.
#[derive(Debug)]
pub struct SqliteCheckpoints {
    // Before the files: its connections must be closed when they close.
    _watcher: Watcher,
    known: Arc<Known>,
    read_models: Arc<Database>,
    truth: Arc<Database>,
}

impl SqliteCheckpoints {
    /// In the read models' file ([`READ_MODELS`](crate::sqlite::READ_MODELS)), with what serves and what is paused in the
    /// truth's ([`TRUTH`](crate::sqlite::TRUTH)). Loads the present progress and looks at both files for changes by
    /// other processes until it is dropped.
    ///
    /// # Errors
    /// One of the files cannot be read.
    pub fn open(read_models: Arc<Database>, truth: Arc<Database>) -> Result<Self, StoreError> {
        let known = Arc::new(Known::default());
        let watcher = Watcher::start(Arc::clone(&known), &read_models, &truth)?;
        Ok(Self { _watcher: watcher, known, read_models, truth })
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

    async fn settle(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        starts: u32,
    ) -> Result<(), StoreError> {
        self.read_models.write(move |connection| operating::settle(connection, build, epoch, partition, starts)).await
    }

    async fn begin_trial(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        until: i64,
        careful_until: i64,
    ) -> Result<(), StoreError> {
        let begin = move |connection: &Connection| {
            operating::begin_trial(connection, build, epoch, partition, until, careful_until)
        };
        self.read_models.write(begin).await
    }

    async fn note_drains(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        unfinished: u32,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let (lane, reason) = (lane.clone(), reason.map(str::to_owned));
        let note = move |connection: &Connection| {
            operating::note_drains(connection, build, epoch, partition, &lane, unfinished, reason.as_deref())
        };
        self.read_models.write(note).await
    }

    async fn drop_parked(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        up_to: i64,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let known = Arc::clone(&self.known);
        let (lane, drained) = (lane.clone(), lane.clone());
        self.read_models
            .write_then(
                move |connection| operating::drop_parked(connection, build, epoch, partition, &lane, up_to, at),
                move |unparked| known.note_unparked(build, partition, &drained, *unparked),
            )
            .await
            .map(|unparked| unparked.closed)
    }

    async fn dropped(&self, build: Build, limit: usize) -> Result<Vec<Dropped>, StoreError> {
        self.read_models.read(|connection| operating::dropped(connection, build, limit)).await
    }

    async fn set_paused(&self, projection: &str, paused: bool, at: Timestamp) -> Result<bool, StoreError> {
        let known = Arc::clone(&self.known);
        let (projection, noted) = (projection.to_owned(), projection.to_owned());
        self.truth
            .write_then(
                move |connection| operating::set_paused(connection, &projection, paused, at),
                move |changed| {
                    if *changed {
                        known.note_paused(noted, paused.then_some(at));
                    }
                },
            )
            .await
    }

    async fn request(
        &self,
        build: Build,
        partition: Partition,
        lane: &Lane,
        order: LaneOrder,
        at: Timestamp,
    ) -> Result<Option<RequestId>, StoreError> {
        let known = Arc::clone(&self.known);
        let lane = lane.clone();
        let request = self
            .read_models
            .write_then(
                move |connection| operating::request(connection, build, partition, &lane, order, at),
                move |request| {
                    if let Some(request) = request {
                        known.note_request(request.clone());
                    }
                },
            )
            .await?;
        Ok(request.map(|request| request.id))
    }

    async fn begin_request(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        request: RequestId,
    ) -> Result<bool, StoreError> {
        let begin =
            move |connection: &Connection| operating::begin_request(connection, build, epoch, partition, request);
        self.read_models.write(begin).await
    }

    async fn end_request(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        request: RequestId,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let known = Arc::clone(&self.known);
        self.read_models
            .write_then(
                move |connection| operating::end_request(connection, build, epoch, partition, request, outcome),
                move |()| known.note_request_ended(request),
            )
            .await
    }

    async fn withdraw_request(&self, request: RequestId) -> Result<bool, StoreError> {
        let known = Arc::clone(&self.known);
        self.read_models
            .write_then(
                move |connection| operating::withdraw_request(connection, request),
                move |withdrawn| {
                    if *withdrawn {
                        known.note_request_ended(request);
                    }
                },
            )
            .await
    }

    async fn outcome(&self, request: RequestId) -> Result<Option<Outcome>, StoreError> {
        self.read_models.read(|connection| operating::outcome(connection, request)).await
    }

    async fn raise(&self, epoch: Epoch) -> Result<(), StoreError> {
        let known = Arc::clone(&self.known);
        let raise = move |connection: &Connection| operating::raise(connection, epoch);
        self.read_models.write_then(raise, move |number| known.note_epoch(epoch, *number)).await.map(drop)
    }

    async fn epochs(&self) -> Result<Epochs, StoreError> {
        self.read_models.read(operating::epochs).await
    }

    fn orders(&self) -> watch::Receiver<Orders> {
        self.known.orders()
    }

    async fn note_state(&self, build: Build, partition: Partition, state: WorkerState) -> Result<(), StoreError> {
        self.read_models.write(move |connection| operating::note_state(connection, build, partition, &state)).await
    }

    async fn states(&self, build: Build) -> Result<Vec<(Partition, WorkerState)>, StoreError> {
        self.read_models.read(|connection| operating::states(connection, build)).await
    }
}

#[cfg(test)]
mod tests;
