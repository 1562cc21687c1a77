//! [`Checkpoints`] in MongoDB: one document per build and partition, and every write of it compares the owner's epoch.
//!
//! Collections. `decisions.projections`: what operators have decided, per projection: which generation serves, and since
//! when it is paused. It is the only one that cannot be made again. The rest goes with the read models:
//! `checkpoints.partitions` (`_id`: projection, generation, topic, partition), `checkpoints.builds` (the log that a build
//! was made from), `checkpoints.queues` (events that wait, one document each), `checkpoints.dropped`,
//! `checkpoints.requests`, `checkpoints.counters`, `checkpoints.workers`.
//!
//! Only single documents change atomically, so each protocol has one write that decides, to the partition's document,
//! guarded by the epoch (P2); whatever else it writes is void before that, or follows from it.
//!
//! - *Parking.* A parked lane stands in the partition's document: its `incarnation`, and the `first` and `last` offset that
//!   wait. Entries of `checkpoints.queues` count only if they are of that incarnation and between the two. So they are
//!   written first, and then the lane, or its new `last`. What a worker leaves that died or was overtaken in between
//!   counts for nothing, nor does what it writes late: after `last`, before `first`, or of a queue that is closed. An
//!   incarnation is the document's version that parked the lane, and the version rises with every write: none comes
//!   twice.
//! - *Late writes.* A call that was taken for lost, and made again, may arrive at any time after. What can be repeated
//!   harmlessly is guarded by what it is about (a position only rises, a queue's ends only move on); the rest (parking a
//!   lane, trials, notes on drains) by the version that it was decided on, so that it arrives before any other write or
//!   not at all.
//! - *Leaving a queue.* One write moves `first`, or takes the lane out, and counts the drain. Then the entries are removed.
//! - *Dropping* is leaving with a note, in the same write, of what is to be remembered as dropped. Whoever sees the note
//!   (the next write of the owner, the next owner, whoever asks what was dropped) copies the entries and takes it away.
//! - *Trials* remember the epoch that began them: begun again by the same owner, because an answer was lost, or taken back
//!   twice, they count once.
//! - *Taking over* removes entries of dead incarnations, up to the version that it made: younger ones may be a later
//!   owner's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::{Lane, LogId, Position, Timestamp};
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};
use tokio::sync::watch;

use super::{
    Build, Checkpoints, Dropped, Epoch, Epochs, Generation, LaneOrder, Orders, Outcome, OwnerEpoch, ParkedLane,
    Partition, Progress, RequestId, Taken, WorkerState,
};
use crate::StoreError;
use crate::mongodb::{Schema, failed};
use crate::stores::Migration;
use crate::url::StoreUrl;

mod known;
mod operating;
mod partitions;
mod queues;
#[cfg(test)]
mod tests;

use known::{Known, Watcher};
use partitions::Place;

const SCHEMA: Schema = Schema { store: "checkpoints", version: 1 };
const DECISIONS: &str = "decisions.projections";
const PARTITIONS: &str = "checkpoints.partitions";
const BUILDS: &str = "checkpoints.builds";
const QUEUES: &str = "checkpoints.queues";
const DROPPED: &str = "checkpoints.dropped";
const REQUESTS: &str = "checkpoints.requests";
const COUNTERS: &str = "checkpoints.counters";
const WORKERS: &str = "checkpoints.workers";

/// How often a write is tried anew that met another of the same owner.
const TRIES: u32 = 16;

type Raw = Collection<RawDocumentBuf>;

/// The adapter.
pub struct MongoCheckpoints {
    known: Arc<Known>,
    store: Store,
    _watcher: Watcher,
}

/// The collections.
#[derive(Clone)]
struct Store {
    database: Database,
    /// Logs that builds are known to be made from: that never changes.
    logs: Arc<Mutex<HashMap<Build, LogId>>>,
}

impl MongoCheckpoints {
    /// Makes the indexes that are missing.
    ///
    /// # Errors
    /// The database cannot be written, or is of a newer version.
    pub async fn migrate(url: &StoreUrl) -> Result<Migration, StoreError> {
        let (database, from) = SCHEMA.begin(url).await?;
        let index = |keys, name: &str| {
            let options = IndexOptions::builder().name(name.to_owned()).build();
            IndexModel::builder().keys(keys).options(options).build()
        };
        let queue = doc! { "partition": 1, "incarnation": 1, "lane": 1, "offset": 1 };
        let of_build = doc! { "projection": 1, "generation": 1, "topic": 1, "partition": 1 };
        let mut dropped = of_build.clone();
        dropped.insert("offset", 1);
        for (collection, model) in [
            (QUEUES, index(queue, "queue")),
            (PARTITIONS, index(of_build.clone(), "build")),
            (WORKERS, index(of_build, "build")),
            (DROPPED, index(dropped, "build")),
        ] {
            database.collection::<RawDocumentBuf>(collection).create_index(model).await.map_err(failed)?;
        }
        SCHEMA.finish(&database, from).await
    }

    /// In the database that `url` names. Loads the present progress, and looks for changes by other processes until it
    /// is dropped.
    ///
    /// # Errors
    /// It cannot be reached, or is not of this version.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        let store = Store { database: SCHEMA.open(url).await?, logs: Arc::default() };
        let known = Arc::new(Known::default());
        let watcher = Watcher::start(Arc::clone(&known), store.clone()).await?;
        Ok(Self { known, store, _watcher: watcher })
    }
}

impl std::fmt::Debug for MongoCheckpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MongoCheckpoints({})", self.store.database.name())
    }
}

impl Store {
    fn collection(&self, name: &str) -> Raw {
        self.database.collection(name)
    }
}

#[async_trait]
impl Checkpoints for MongoCheckpoints {
    // From memory: every query asks, and a pointer that is a moment old serves as well, since the generation that it
    // points to goes on being applied.
    async fn serving(&self, projection: &str) -> Result<Generation, StoreError> {
        Ok(self.known.serving(projection))
    }

    async fn take(&self, build: Build, partition: Partition) -> Result<Taken, StoreError> {
        let stored = self.store.take(&Place::of(build, partition)).await?;
        self.known.note(&stored);
        stored.taken()
    }

    async fn save(&self, build: Build, epoch: OwnerEpoch, position: Position) -> Result<(), StoreError> {
        let partition = Partition { topic: position.topic, number: position.partition };
        let saved = self.store.save(&Place::of(build, partition), epoch, position).await?;
        self.known.note_saved(&saved);
        Ok(())
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
        let parked = self.store.park(&Place::of(build, partition), epoch, lane, offsets, reason).await?;
        self.known.note(&parked);
        Ok(())
    }

    async fn parked_offsets(
        &self,
        build: Build,
        partition: Partition,
        lane: &Lane,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        self.store.parked_offsets(&Place::of(build, partition), lane, limit).await
    }

    async fn unpark(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        offset: i64,
    ) -> Result<bool, StoreError> {
        let left = self.store.leave(&Place::of(build, partition), epoch, lane, offset, None).await?;
        self.known.note(&left);
        Ok(!left.is_parked(lane))
    }

    async fn parked(&self, build: Build) -> Result<Vec<(Partition, ParkedLane)>, StoreError> {
        let mut parked = Vec::new();
        for stored in self.store.partitions_of(build).await? {
            let partition = stored.place()?;
            parked.extend(stored.parked_lanes().into_iter().map(|lane| (partition, lane)));
        }
        Ok(parked)
    }

    async fn positions(&self, build: Build) -> Result<Vec<Position>, StoreError> {
        let stored = self.store.partitions_of(build).await?;
        // Taken but never saved: no position yet.
        stored.iter().filter_map(|stored| stored.position().transpose()).collect()
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
        self.store.settle(&Place::of(build, partition), epoch, starts).await
    }

    async fn begin_trial(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        until: i64,
        careful_until: i64,
    ) -> Result<(), StoreError> {
        self.store.begin_trial(&Place::of(build, partition), epoch, until, careful_until).await
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
        self.store.note_drains(&Place::of(build, partition), epoch, lane, unfinished, reason).await
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
        let left = self.store.leave(&Place::of(build, partition), epoch, lane, up_to, Some(at)).await?;
        self.known.note(&left);
        Ok(!left.is_parked(lane))
    }

    async fn dropped(&self, build: Build, limit: usize) -> Result<Vec<Dropped>, StoreError> {
        self.store.dropped(build, limit).await
    }

    async fn set_paused(&self, projection: &str, paused: bool, at: Timestamp) -> Result<bool, StoreError> {
        let changed = self.store.set_paused(projection, paused, at).await?;
        if changed {
            self.known.note_paused(projection.to_owned(), paused.then_some(at));
        }
        Ok(changed)
    }

    async fn request(
        &self,
        build: Build,
        partition: Partition,
        lane: &Lane,
        order: LaneOrder,
        at: Timestamp,
    ) -> Result<Option<RequestId>, StoreError> {
        let request = self.store.request(build, partition, lane, order, at).await?;
        if let Some(request) = &request {
            self.known.note_request(request.clone());
        }
        Ok(request.map(|request| request.id))
    }

    async fn begin_request(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        request: RequestId,
    ) -> Result<bool, StoreError> {
        self.store.begin_request(&Place::of(build, partition), epoch, request).await
    }

    async fn end_request(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        request: RequestId,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        self.store.end_request(&Place::of(build, partition), epoch, request, outcome).await?;
        self.known.note_request_ended(request);
        Ok(())
    }

    async fn withdraw_request(&self, request: RequestId) -> Result<bool, StoreError> {
        let withdrawn = self.store.withdraw_request(request).await?;
        if withdrawn {
            self.known.note_request_ended(request);
        }
        Ok(withdrawn)
    }

    async fn outcome(&self, request: RequestId) -> Result<Option<Outcome>, StoreError> {
        self.store.outcome(request).await
    }

    async fn raise(&self, epoch: Epoch) -> Result<(), StoreError> {
        let epochs = self.store.raise(epoch).await?;
        self.known.note_epochs(epochs);
        Ok(())
    }

    async fn epochs(&self) -> Result<Epochs, StoreError> {
        let epochs = self.store.epochs().await?;
        self.known.note_epochs(epochs);
        Ok(epochs)
    }

    fn orders(&self) -> watch::Receiver<Orders> {
        self.known.orders()
    }

    async fn note_state(&self, build: Build, partition: Partition, state: WorkerState) -> Result<(), StoreError> {
        self.store.note_state(&Place::of(build, partition), &state).await
    }

    async fn states(&self, build: Build) -> Result<Vec<(Partition, WorkerState)>, StoreError> {
        self.store.states(build).await
    }
}
