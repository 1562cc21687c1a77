//! The port of what projections remember of themselves: how far they are, who owns which partition, which lanes are
//! parked, and which generation serves.
//!
//! A checkpoint is written *after* the effects it stands for, by its owner alone (the owner epoch fences zombies),
//! and never moves backwards.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::stream::BEFORE_FIRST;
use domain::{Lane, LogId, Position, Timestamp, Topic};
use tokio::sync::watch;

use crate::StoreError;

#[cfg(test)]
mod contract;
#[cfg(feature = "mongodb")]
mod mongodb;
mod operating;
mod sqlite;

#[cfg(feature = "mongodb")]
pub use self::mongodb::MongoCheckpoints;
pub use operating::{
    Activity, DRAINS, Dropped, LaneOrder, LaneRequest, Orders, Outcome, RequestId, STARTS, Suspicion, Trial,
    WorkerError, WorkerState,
};
pub use sqlite::SqliteCheckpoints;

/// The projection that writes timelines and edges. Its name, like every projection's, is in stored keys: it stays.
pub const TIMELINES: &str = "timelines";
/// The projection that writes counts, comments, their versions and reactions.
pub const ENGAGEMENT: &str = "engagement";
/// The projection that writes what people show of themselves, and their numbers.
pub const PROFILES: &str = "profiles";

/// One build of a projection. A rebuild makes the next one beside the one that serves; every key of a read model
/// carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// What a new system begins with.
    pub const FIRST: Self = Self(1);
}

/// A projection's build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Build {
    /// The projection's name.
    pub projection: &'static str,
    /// Which build of it.
    pub generation: Generation,
}

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic.
    pub topic: Topic,
    /// Its partition.
    pub number: u16,
}

/// The right to write a partition's checkpoint: a later owner has a greater epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerEpoch(pub u64);

impl OwnerEpoch {
    /// What a partition has that nobody has taken yet: the time, in milliseconds.
    ///
    /// Who deletes checkpoints to have read models built again leaves what was compared with the old epochs: the fences
    /// of read models, and owners that are still at work. The first epoch afterwards must be greater than all of those.
    /// No partition is taken a thousand times a second, so the time is, as long as no clock is set back to before
    /// the deleted checkpoints began. Within the life of checkpoints no clock counts: each owner has one more.
    pub(crate) fn before_the_first() -> Self {
        Self(u64::try_from(crate::http::clock::now().as_millis()).unwrap_or_default())
    }
}

/// Who applies events: a worker, as stores that fence see it.
///
/// One that was overtaken may wake up in the middle of a write. Where rows say by themselves what is newer, that does
/// no harm; a store that cannot tell from its rows compares `epoch`, per `partition`, and refuses the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The build that it writes.
    pub generation: Generation,
    /// Where its events come from.
    pub partition: Partition,
    /// Its right to write.
    pub epoch: OwnerEpoch,
}

/// What an owner finds when it takes a partition over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its right to write.
    pub epoch: OwnerEpoch,
    /// Up to where the effects are done: `None` where the build has never seen this partition.
    pub position: Option<Position>,
    /// Lanes that are parked.
    pub parked: Vec<ParkedLane>,
    /// How former owners fared with what follows.
    pub suspicion: Suspicion,
}

/// A lane whose events wait, from the one that could not be applied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedLane {
    /// Which lane.
    pub lane: Lane,
    /// Offset of the event that could not be applied.
    pub first: i64,
    /// Why not.
    pub reason: String,
    /// How many events wait, that one included.
    pub waiting: u64,
    /// How often draining it was begun and not ended.
    pub unfinished_drains: u32,
}

/// What projections tell readers of beside the read models, and give up when they cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epoch {
    /// All that is cached: it is left, and filled anew in another space.
    Cache,
    /// Live messages: open streams read the rows again.
    Live,
}

impl Epoch {
    /// Its name in stored data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Live => "live",
        }
    }
}

/// How often each of them was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// See [`Epoch::Cache`].
    pub cache: u64,
    /// See [`Epoch::Live`].
    pub live: u64,
}

impl Epochs {
    /// The number of one of them.
    pub const fn of(&mut self, epoch: Epoch) -> &mut u64 {
        match epoch {
            Epoch::Cache => &mut self.cache,
            Epoch::Live => &mut self.live,
        }
    }
}

/// How far every projection is, as far as this process knows: one shared watch, not a read per request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Offsets up to which effects are done, by projection and partition.
    pub positions: HashMap<(String, Partition), i64>,
    /// Parked lanes, by projection and partition.
    pub parked: HashMap<(String, Partition), Vec<Lane>>,
    /// How often events have left a parked lane's queue, by projection: so often did effects come later than the
    /// positions say.
    pub drains: HashMap<String, u64>,
    /// Never older than the positions beside them: an epoch is raised before the checkpoint passes what could not be
    /// told, and whoever sees the checkpoint sees the epoch, too (W7).
    pub epochs: Epochs,
}

impl Progress {
    /// Whether `projection` has done all of `partition` up to `offset`.
    pub fn has_passed(&self, projection: &str, partition: Partition, offset: i64) -> bool {
        // The key is owned, so look-ups would allocate; there are few entries and fewer projections.
        self.positions.iter().any(|((name, at), done)| name == projection && *at == partition && *done >= offset)
    }

    /// Up to where `projection` has done each of the `partitions` of `topic`.
    pub fn offsets(&self, projection: &str, topic: Topic, partitions: u16) -> Vec<i64> {
        let mut offsets = vec![BEFORE_FIRST; usize::from(partitions)];
        for ((name, at), done) in &self.positions {
            if name == projection
                && at.topic == topic
                && let Some(offset) = offsets.get_mut(usize::from(at.number))
            {
                *offset = *done;
            }
        }
        offsets
    }

    /// How often events have left a queue of `projection`.
    pub fn drains(&self, projection: &str) -> u64 {
        self.drains.get(projection).copied().unwrap_or(0)
    }

    /// Whether `lane` is parked for `projection`.
    pub fn is_parked(&self, projection: &str, partition: Partition, lane: &Lane) -> bool {
        self.parked.iter().any(|((name, at), lanes)| name == projection && *at == partition && lanes.contains(lane))
    }
}

/// A part of all progress, for many who wait for it to change: one task looks at all, for as long as anybody waits. After a
/// change the next is told no sooner than `pause`.
pub fn part_of<T: Clone + PartialEq + Send + Sync + 'static>(
    mut progress: watch::Receiver<Progress>,
    pause: Duration,
    part: impl Fn(&Progress) -> T + Send + 'static,
) -> watch::Receiver<T> {
    let present = part(&progress.borrow_and_update());
    let (told, part_of) = watch::channel(present);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = told.closed() => return,
                changed = progress.changed() => if changed.is_err() { return },
            }
            let present = part(&progress.borrow_and_update());
            let is_news = told.send_if_modified(|known| {
                let is_news = *known != present;
                *known = present;
                is_news
            });
            if is_news && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    });
    part_of
}

/// The projections' memory.
#[async_trait]
pub trait Checkpoints: Send + Sync + 'static {
    /// The generation that serves a projection's readers; [`Generation::FIRST`] where none was ever switched to.
    async fn serving(&self, projection: &str) -> Result<Generation, StoreError>;

    /// Takes a partition over: raises its owner epoch, so that the former owner is fenced, counts the start of what
    /// follows the checkpoint, and answers where to go on.
    async fn take(&self, build: Build, partition: Partition) -> Result<Taken, StoreError>;

    /// Records that all effects up to `position` are done. A lower position than the stored one changes nothing.
    ///
    /// What follows counts as started once, by this owner; a trial is over; and once `careful_until` is reached, the
    /// suspicion is.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn save(&self, build: Build, epoch: OwnerEpoch, position: Position) -> Result<(), StoreError>;

    /// Puts events at `offsets` (ascending, all of `lane`) at the end of the lane's queue, parking the lane for
    /// `reason` if it was not parked. Idempotent by offset.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn park(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        offsets: &[i64],
        reason: &str,
    ) -> Result<(), StoreError>;

    /// The first `limit` offsets of a lane's queue, ascending.
    async fn parked_offsets(
        &self,
        build: Build,
        partition: Partition,
        lane: &Lane,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError>;

    /// Takes events up to and including `offset` out of a lane's queue once they are applied; an empty queue closes.
    /// Answers whether it closed. If there were such events, this counts as a drain.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn unpark(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        offset: i64,
    ) -> Result<bool, StoreError>;

    /// All parked lanes of a build.
    async fn parked(&self, build: Build) -> Result<Vec<(Partition, ParkedLane)>, StoreError>;

    /// Stored positions of a build.
    async fn positions(&self, build: Build) -> Result<Vec<Position>, StoreError>;

    /// Which log a build was made from, if it has seen any.
    async fn log(&self, build: Build) -> Result<Option<LogId>, StoreError> {
        Ok(self.positions(build).await?.first().map(|position| position.log))
    }

    /// How far every projection is, kept up to date: by this process's own writes, and by looking at others'.
    fn progress(&self) -> watch::Receiver<Progress>;

    /// Sets how often what follows the checkpoint was started, where no crash can be its fault: 1 when there is nothing
    /// to apply, 0 at a clean end. A trial that was begun by this owner is taken back at a clean end.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn settle(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        starts: u32,
    ) -> Result<(), StoreError>;

    /// Records, before it happens, that the events up to `until` are run alone, as all up to `careful_until` are going
    /// to be. The same range again counts on.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn begin_trial(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        until: i64,
        careful_until: i64,
    ) -> Result<(), StoreError>;

    /// Sets how often draining a parked lane was begun and not ended, and why the first event that waits cannot be
    /// applied, where that is known anew. A lane that is not parked stays so.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn note_drains(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        unfinished: u32,
        reason: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Leaves the events of a lane's queue up to `up_to` out for good, and remembers them; an empty queue closes, as
    /// with [`Self::unpark`]. Answers whether it closed.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn drop_parked(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        lane: &Lane,
        up_to: i64,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// The first `limit` events of a build that were left out, by partition and offset.
    async fn dropped(&self, build: Build, limit: usize) -> Result<Vec<Dropped>, StoreError>;

    /// Pauses a projection in all processes, or goes on with it. Answers whether that changes anything.
    async fn set_paused(&self, projection: &str, paused: bool, at: Timestamp) -> Result<bool, StoreError>;

    /// Asks the owner of `partition` to do something with a parked lane. `None` where the lane is not parked.
    async fn request(
        &self,
        build: Build,
        partition: Partition,
        lane: &Lane,
        order: LaneOrder,
        at: Timestamp,
    ) -> Result<Option<RequestId>, StoreError>;

    /// Takes a request up; false if somebody has already, and so has not come to its end: it is not tried twice, for
    /// it may be what ends processes.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn begin_request(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        request: RequestId,
    ) -> Result<bool, StoreError>;

    /// Records what came of a request.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if `epoch` is no longer the partition's.
    async fn end_request(
        &self,
        build: Build,
        epoch: OwnerEpoch,
        partition: Partition,
        request: RequestId,
        outcome: Outcome,
    ) -> Result<(), StoreError>;

    /// Takes a request back that nobody has taken up; false if somebody has.
    async fn withdraw_request(&self, request: RequestId) -> Result<bool, StoreError>;

    /// What came of a request; `None` while nothing has.
    async fn outcome(&self, request: RequestId) -> Result<Option<Outcome>, StoreError>;

    /// Gives up what is cached, or live messages, in all processes; counts on. To be called *before* [`Self::save`] of
    /// what could not be told of.
    async fn raise(&self, epoch: Epoch) -> Result<(), StoreError>;

    /// All epochs, as they are stored at this moment.
    async fn epochs(&self) -> Result<Epochs, StoreError>;

    /// What operators want, kept up to date as [`Self::progress`] is.
    fn orders(&self) -> watch::Receiver<Orders>;

    /// Stores what a worker says of itself. Without an error, the stored one stays.
    async fn note_state(&self, build: Build, partition: Partition, state: WorkerState) -> Result<(), StoreError>;

    /// What the workers of a build last said.
    async fn states(&self, build: Build) -> Result<Vec<(Partition, WorkerState)>, StoreError>;
}
