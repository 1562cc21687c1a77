//! Carries events from the log to projections: one worker per projection and partition.
//!
//! A worker owns polling, lanes, retries, parking and the checkpoint; the projection only applies. A store's failure
//! stalls the worker, which retries for ever; an event that can never be applied parks its lane (P4) and the
//! rest of the partition goes on. One that ends the whole process is found by starting what follows a checkpoint again
//! and again, alone and in halves. What operators want is done between two batches.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{Build, Checkpoints, Partition};
use adapters::codec::Codec;
use adapters::event_log::EventLog;
use adapters::http::clock;
use domain::Lane;
use domain::stream::BEFORE_FIRST;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::projection::Projection;

mod batch;
mod worker;

use worker::Worker;

/// What the runtime stands on.
#[derive(Clone)]
pub struct RuntimePorts {
    /// Where events come from.
    pub event_log: Arc<dyn EventLog>,
    /// Where the runtime remembers how far it is.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Reads events and opens sealed text.
    pub codec: Arc<Codec>,
}

/// How much at once, and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Events read, and checkpointed, at a time.
    pub batch: usize,
    /// Groups of lanes of one batch that are applied at the same time.
    pub parallelism: usize,
    /// The first pause after a store's failure; doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch: 256,
            parallelism: 2,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Applying, or waiting for events.
    Running,
    /// A store fails; the worker keeps trying. Says why.
    Stalled(String),
    /// The worker has stopped and needs an operator. Says why.
    Faulted(String),
    /// An operator has paused the projection.
    Paused,
}

/// How a projection is doing in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The projection's name.
    pub projection: &'static str,
    /// The partition.
    pub partition: Partition,
    /// What its worker is doing.
    pub state: State,
    /// Offset up to which all effects are done.
    pub position: i64,
    /// Offset of the log's newest event.
    pub head: i64,
    /// How long ago the oldest event that is not applied yet was recorded, in milliseconds; 0 without lag.
    pub lag_millis: i64,
    /// Lanes that are parked.
    pub parked: Vec<Lane>,
}

impl PartitionStatus {
    /// Events not applied yet. An upper bound where the log's offsets have gaps.
    pub fn lag_events(&self) -> u64 {
        u64::try_from(self.head - self.position).unwrap_or(0)
    }
}

/// What a worker shows of itself.
#[derive(Debug)]
struct Shown {
    state: State,
    position: i64,
    parked: HashSet<Lane>,
}

/// A worker's place and what it shows.
struct Place {
    build: Build,
    partition: Partition,
    shown: Mutex<Shown>,
}

impl Place {
    /// Changes, or looks at, what is shown.
    fn show<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Running projections. Dropping it stops them without waiting; [`Runtime::stop`] waits.
pub struct Runtime {
    event_log: Arc<dyn EventLog>,
    places: Vec<Arc<Place>>,
    workers: JoinSet<()>,
    stop: CancellationToken,
}

impl Runtime {
    /// Starts a worker for every partition of every topic that a projection reads, in its serving generation.
    ///
    /// # Errors
    /// The serving generations cannot be read.
    pub async fn start(
        ports: RuntimePorts,
        projections: Vec<Arc<dyn Projection>>,
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let stop = CancellationToken::new();
        let turns = Arc::new(RwLock::new(()));
        let mut places = Vec::new();
        let mut workers = JoinSet::new();
        for projection in projections {
            let generation = ports.checkpoints.serving(projection.name()).await?;
            let build = Build { projection: projection.name(), generation };
            for &topic in projection.topics() {
                for number in 0..ports.event_log.partitions() {
                    let shown = Shown { state: State::Running, position: BEFORE_FIRST, parked: HashSet::new() };
                    let partition = Partition { topic, number };
                    let place = Arc::new(Place { build, partition, shown: Mutex::new(shown) });
                    places.push(Arc::clone(&place));
                    let projection = Arc::clone(&projection);
                    let turns = Arc::clone(&turns);
                    let worker = Worker::new(ports.clone(), projection, settings, place, turns, stop.clone());
                    workers.spawn(worker.run());
                }
            }
        }
        Ok(Self { event_log: ports.event_log, places, workers, stop })
    }

    /// How every projection is doing in every partition, measured against the log's true head.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn status(&self) -> Result<Vec<PartitionStatus>, StoreError> {
        let mut statuses = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let (state, position, parked) =
                place.show(|shown| (shown.state.clone(), shown.position, shown.parked.iter().cloned().collect()));
            let Partition { topic, number } = place.partition;
            let head = self.event_log.head(topic, number).await?;
            statuses.push(PartitionStatus {
                projection: place.build.projection,
                partition: place.partition,
                state,
                position,
                head,
                lag_millis: if head > position { self.lag_millis(place.partition, position).await? } else { 0 },
                parked,
            });
        }
        Ok(statuses)
    }

    async fn lag_millis(&self, Partition { topic, number }: Partition, position: i64) -> Result<i64, StoreError> {
        let next = self.event_log.read(topic, number, position, 1, Duration::ZERO).await?;
        let recorded = next.first().and_then(|logged| logged.record.as_ref().ok()).map(|record| record.attributes.time);
        Ok(recorded.map_or(0, |time| (clock::now().as_millis() - time.as_millis()).max(0)))
    }

    /// Ends all workers where they stand, as the death of their process would: when this returns, none of them does
    /// anything any more. Dropping the runtime does not wait for that, and a worker that is just taking its partition
    /// could then take it from a successor.
    pub async fn kill(mut self) {
        self.workers.shutdown().await;
    }

    /// Stops all workers after the batches that they are at.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.workers.join_next().await.is_some() {}
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
