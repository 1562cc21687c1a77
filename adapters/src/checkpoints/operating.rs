//! What operators ask of projections, and what workers tell operators.

use std::collections::BTreeMap;

use domain::{Lane, Timestamp};

use super::{Generation, Partition};

/// Starts of what follows a checkpoint, after which it is run alone.
pub const STARTS: u32 = 3;
/// Drains of a parked lane that may not end, after which only an operator's request drains it.
pub const DRAINS: u32 = 3;

/// What operators want, as far as this process knows: one shared watch, not a read per batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Projections that are paused, and since when.
    pub paused: BTreeMap<String, Timestamp>,
    /// Requests that are not done yet, oldest first.
    pub requests: Vec<LaneRequest>,
}

/// Something to do with a parked lane, for the owner of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRequest {
    /// Its number.
    pub id: RequestId,
    /// Of which projection.
    pub projection: String,
    /// In which build.
    pub generation: Generation,
    /// In which partition.
    pub partition: Partition,
    /// Which lane.
    pub lane: Lane,
    /// What to do.
    pub order: LaneOrder,
}

/// The number of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub i64);

/// What to do with a parked lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneOrder {
    /// Try again to apply what waits.
    Retry,
    /// Leave the events up to this offset out, then apply the rest. By offset, so that doing it twice drops no more.
    Drop {
        /// The last one to be left out.
        up_to: i64,
    },
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing waits any more.
    Drained,
    /// An event still cannot be applied.
    Parked,
    /// The process ended while it was at it.
    Interrupted,
}

impl Outcome {
    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Parked => "parked",
            Self::Interrupted => "interrupted",
        }
    }

    /// The one that is called so.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Drained, Self::Parked, Self::Interrupted].into_iter().find(|outcome| outcome.name() == name)
    }
}

/// A range that is run alone because the process has ended too often after its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The offset of its last event.
    pub until: i64,
    /// How often it was begun, as far as no process has ended it.
    pub starts: u32,
}

/// How the former owners of a partition fared with what follows the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspicion {
    /// How often what follows was begun, this time included.
    pub starts: u32,
    /// Up to where everything is run alone.
    pub careful_until: Option<i64>,
    /// What was run alone when the last process ended.
    pub trial: Option<Trial>,
}

/// An event that was left out on an operator's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Where it was.
    pub partition: Partition,
    /// Its offset there.
    pub offset: i64,
    /// Its lane.
    pub lane: Lane,
    /// Why its lane was parked.
    pub reason: String,
    /// When it was dropped.
    pub at: Timestamp,
}

/// What a worker is doing, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Applying, or waiting for events.
    Running,
    /// A store fails; it keeps trying.
    Stalled,
    /// It has stopped and needs an operator.
    Faulted,
    /// An operator has paused the projection.
    Paused,
    /// Nothing: its process has ended in an orderly way. One that was killed says nothing of that.
    Stopped,
}

impl Activity {
    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stalled => "stalled",
            Self::Faulted => "faulted",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// The one that is called so.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Running, Self::Stalled, Self::Faulted, Self::Paused, Self::Stopped];
        all.into_iter().find(|one| one.name() == name)
    }
}

/// What a partition's worker last said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerState {
    /// What it is doing.
    pub activity: Activity,
    /// Since when.
    pub since: Timestamp,
    /// Its newest error, also after that is over.
    pub error: Option<WorkerError>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerError {
    /// What.
    pub reason: String,
    /// The offset of the event that it is about, if it is about one.
    pub offset: Option<i64>,
    /// When.
    pub at: Timestamp,
}
