//! What operators are told, as JSON.

use adapters::checkpoints::Generation;
use domain::{Lane, Position, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::events::EventLine;

/// A list; `next` goes on where there is more.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// Its items.
    pub(crate) items: Vec<T>,
    /// What to ask for next.
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    /// One that has nothing more.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// How a projection is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ProjectionReport {
    /// Its name.
    pub(crate) name: &'static str,
    /// The worst of its partitions' states: `faulted`, `stalled`, `paused`, `running`; `stopped` where no server runs.
    pub(crate) state: &'static str,
    /// Which build serves.
    #[serde(serialize_with = "number")]
    #[schema(value_type = u32)]
    pub(crate) generation: Generation,
    /// Since when an operator has paused it.
    pub(crate) paused_since: Option<Timestamp>,
    /// Events of the log that are not applied yet.
    pub(crate) lag_events: u64,
    /// How long ago the oldest of them was recorded.
    pub(crate) lag_seconds: f64,
    /// How long it takes to catch up at the present pace, where it is behind and moves.
    pub(crate) catches_up_in_seconds: Option<f64>,
    /// Lanes that wait behind an event that cannot be applied.
    pub(crate) parked_lanes: u64,
    /// Events that wait in them.
    pub(crate) parked_events: u64,
    /// Events that were left out on an operator's request; at most a thousand are counted.
    pub(crate) dropped_events: u64,
    /// Its partitions.
    pub(crate) partitions: Vec<PartitionReport>,
}

fn number<S: serde::Serializer>(generation: &Generation, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(generation.0)
}

/// How a projection is in one partition.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PartitionReport {
    /// The topic.
    pub(crate) topic: &'static str,
    /// Its partition.
    pub(crate) partition: u16,
    /// What its worker does.
    pub(crate) state: &'static str,
    /// Since when.
    pub(crate) since: Option<Timestamp>,
    /// Up to where the log's events are applied.
    pub(crate) position: Position,
    /// Where the log's newest event is.
    pub(crate) head: Position,
    /// Events in between.
    pub(crate) lag_events: u64,
    /// How long ago the oldest of them was recorded.
    pub(crate) lag_seconds: f64,
    /// Lanes that wait.
    pub(crate) parked_lanes: u64,
    /// The newest error, also after it is over.
    pub(crate) last_error: Option<ErrorReport>,
}

/// Something that went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ErrorReport {
    /// What.
    pub(crate) reason: String,
    /// The event that it is about, if it is about one.
    pub(crate) event: Option<Position>,
    /// When.
    pub(crate) at: Timestamp,
}

/// A parked lane.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// Which projection has parked it.
    pub(crate) projection: &'static str,
    /// Which lane.
    pub(crate) lane: Lane,
    /// In which topic.
    pub(crate) topic: &'static str,
    /// In which partition of it.
    pub(crate) partition: u16,
    /// The event that cannot be applied.
    pub(crate) first: Position,
    /// How many events wait, that one included.
    pub(crate) waiting: u64,
    /// Why it cannot be applied.
    pub(crate) reason: String,
}

/// A parked lane and what waits in it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterDetail {
    /// The lane.
    #[serde(flatten)]
    pub(crate) letter: DeadLetter,
    /// The first of the events that wait.
    pub(crate) events: Vec<EventLine>,
}

/// What came of another attempt at a lane.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Retried {
    /// Of which projection.
    pub(crate) projection: &'static str,
    /// Which lane.
    pub(crate) lane: Lane,
    /// `drained`, `parked` where an event still cannot be applied, `interrupted` where the process ended meanwhile.
    pub(crate) outcome: &'static str,
    /// How many events were to be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropped: Option<u64>,
    /// The lane as it is now, if it is still parked.
    pub(crate) parked: Option<DeadLetter>,
}
