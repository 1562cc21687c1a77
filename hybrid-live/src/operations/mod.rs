//! What operators do with projections and the log: the same functions for the command line and for HTTP.

use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{Build, Checkpoints, Dropped, LaneOrder, Outcome, ParkedLane, Partition, RequestId};
use adapters::codec::Codec;
use adapters::event_log::EventLog;
use adapters::http::clock;
use domain::{Lane, Position};

use crate::wiring::{Known, PROJECTIONS};

mod answers;
pub(crate) mod events;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use answers::{DeadLetter, DeadLetterDetail, List, PartitionReport, ProjectionReport, Retried};

/// Parked lanes, and dropped events, of one projection that are listed, at most.
const LISTED: usize = 1_000;
/// Waiting events of a lane that are shown, at most.
const SHOWN: usize = 20;

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No projection is called so.
    #[error("there is no projection `{0}`")]
    NoProjection(String),
    /// The projection has not parked this lane.
    #[error("the projection {projection} has no parked lane `{lane}`")]
    NoLane {
        /// Which projection.
        projection: &'static str,
        /// What was asked for.
        lane: String,
    },
    /// A paused projection does nothing.
    #[error("the projection {0} is paused: resume it first")]
    Paused(&'static str),
    /// Nobody has taken the request up; it is taken back.
    #[error("nobody has taken the request up: the worker of {0} is busy, stalled or has stopped")]
    Unanswered(String),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Operations {
    event_log: Arc<dyn EventLog>,
    checkpoints: Arc<dyn Checkpoints>,
    codec: Arc<Codec>,
}

/// A request that waits to be done.
#[derive(Debug)]
pub(crate) struct Asked {
    build: Build,
    partition: Partition,
    lane: Lane,
    request: RequestId,
    dropping: u64,
}

impl Operations {
    pub(crate) fn new(event_log: Arc<dyn EventLog>, checkpoints: Arc<dyn Checkpoints>, codec: Arc<Codec>) -> Self {
        Self { event_log, checkpoints, codec }
    }

    /// The log, and what opens it.
    pub(crate) fn log(&self) -> (Arc<dyn EventLog>, Arc<Codec>) {
        (Arc::clone(&self.event_log), Arc::clone(&self.codec))
    }

    fn known(name: &str) -> Result<Known, Refusal> {
        let found = PROJECTIONS.iter().find(|projection| projection.name == name);
        found.copied().ok_or_else(|| Refusal::NoProjection(name.to_owned()))
    }

    async fn build(&self, projection: Known) -> Result<Build, StoreError> {
        let generation = self.checkpoints.serving(projection.name).await?;
        Ok(Build { projection: projection.name, generation })
    }

    fn is_paused(&self, projection: &str) -> bool {
        self.checkpoints.orders().borrow().paused.contains_key(projection)
    }

    /// Pauses a projection in all processes, or goes on with it; false if that changes nothing.
    pub(crate) async fn set_paused(&self, name: &str, paused: bool) -> Result<bool, Refusal> {
        let projection = Self::known(name)?;
        let changed = self.checkpoints.set_paused(projection.name, paused, clock::now()).await?;
        if changed {
            tracing::info!(projection = projection.name, paused, "a projection is paused or resumed by an operator");
        }
        Ok(changed)
    }

    /// Parked lanes of all projections.
    pub(crate) async fn dead_letters(&self) -> Result<List<DeadLetter>, Refusal> {
        let mut items = Vec::new();
        for projection in PROJECTIONS {
            let build = self.build(projection).await?;
            let parked = self.checkpoints.parked(build).await?;
            items.extend(parked.into_iter().take(LISTED).map(|(place, lane)| self.dead_letter_of(build, place, &lane)));
        }
        Ok(List::whole(items))
    }

    /// One parked lane with the first of the events that wait, their texts sealed.
    pub(crate) async fn dead_letter(&self, name: &str, lane: &str) -> Result<DeadLetterDetail, Refusal> {
        let (build, partition, parked) = self.parked(name, lane).await?;
        let checkpoints = &self.checkpoints;
        let offsets = checkpoints.parked_offsets(build, partition, &parked.lane, SHOWN).await?;
        let mut events = Vec::with_capacity(offsets.len());
        for offset in offsets {
            let Partition { topic, number } = partition;
            let found = self.event_log.read(topic, number, offset - 1, 1, Duration::ZERO).await?;
            if let Some(logged) = found.into_iter().find(|logged| logged.position.offset == offset) {
                events.push(events::line(&self.codec, logged, false).await?);
            }
        }
        Ok(DeadLetterDetail { letter: self.dead_letter_of(build, partition, &parked), events })
    }

    /// Asks for another attempt at a lane's events; with `dropping`, after leaving out the first, or all that wait.
    pub(crate) async fn ask(&self, name: &str, lane: &str, dropping: Option<Dropping>) -> Result<Asked, Refusal> {
        let (build, partition, parked) = self.parked(name, lane).await?;
        if self.is_paused(build.projection) {
            return Err(Refusal::Paused(build.projection));
        }
        let checkpoints = &self.checkpoints;
        let (order, dropped) = match dropping {
            None => (LaneOrder::Retry, 0),
            Some(Dropping::First) => (LaneOrder::Drop { up_to: parked.first }, 1),
            Some(Dropping::All) => {
                // Only what is in the queue is left out, and none of that is beyond the log's end.
                let up_to = self.event_log.head(partition.topic, partition.number).await?;
                (LaneOrder::Drop { up_to }, parked.waiting)
            }
        };
        let request = checkpoints.request(build, partition, &parked.lane, order, clock::now()).await?;
        let no_lane = || Refusal::NoLane { projection: build.projection, lane: lane.to_owned() };
        let request = request.ok_or_else(no_lane)?;
        Ok(Asked { build, partition, lane: parked.lane, request, dropping: dropped })
    }

    /// Waits until what was asked is done, for as long as `patience` lasts.
    pub(crate) async fn wait(&self, asked: Asked, patience: Duration) -> Result<Retried, Refusal> {
        let Asked { build, partition, lane, request, dropping } = asked;
        let checkpoints = &self.checkpoints;
        let mut orders = checkpoints.orders();
        let done = orders.wait_for(|orders| orders.requests.iter().all(|known| known.id != request));
        // Both ways of not being done are told below.
        let _ = tokio::time::timeout(patience, done).await.map(|done| done.map(drop));
        let Some(outcome) = checkpoints.outcome(request).await? else {
            checkpoints.withdraw_request(request).await?;
            return Err(Refusal::Unanswered(build.projection.to_owned()));
        };
        let parked = checkpoints.parked(build).await?;
        let still = parked.into_iter().find(|(place, parked)| *place == partition && parked.lane == lane);
        Ok(Retried {
            projection: build.projection,
            lane,
            outcome: outcome.name(),
            dropped: if outcome == Outcome::Interrupted { None } else { Some(dropping).filter(|count| *count > 0) },
            parked: still.map(|(place, parked)| self.dead_letter_of(build, place, &parked)),
        })
    }

    async fn parked(&self, name: &str, lane: &str) -> Result<(Build, Partition, ParkedLane), Refusal> {
        let projection = Self::known(name)?;
        let build = self.build(projection).await?;
        let parked = self.checkpoints.parked(build).await?;
        let found = parked.into_iter().find(|(_, parked)| parked.lane.as_str() == lane);
        let (partition, parked) =
            found.ok_or_else(|| Refusal::NoLane { projection: projection.name, lane: lane.to_owned() })?;
        Ok((build, partition, parked))
    }

    fn dead_letter_of(&self, build: Build, partition: Partition, parked: &ParkedLane) -> DeadLetter {
        DeadLetter {
            projection: build.projection,
            lane: parked.lane.clone(),
            topic: partition.topic.name(),
            partition: partition.number,
            first: self.position(partition, parked.first),
            waiting: parked.waiting,
            reason: parked.reason.clone(),
        }
    }

    /// Events that were left out on an operator's request, at most [`LISTED`].
    async fn dropped(&self, build: Build) -> Result<Vec<Dropped>, StoreError> {
        self.checkpoints.dropped(build, LISTED).await
    }

    fn position(&self, partition: Partition, offset: i64) -> Position {
        let Partition { topic, number } = partition;
        Position { log: self.event_log.id(), topic, partition: number, offset }
    }
}

/// How much of a lane's queue is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropping {
    /// The event that cannot be applied.
    First,
    /// Everything that waits.
    All,
}
