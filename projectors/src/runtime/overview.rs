//! How projections are in every partition: as this process's own workers say where it has them, and as is stored of the
//! rest, so that every process can tell of all.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{Activity, Build, Checkpoints, Partition, WorkerState};
use adapters::event_log::EventLog;
use adapters::http::clock;
use domain::stream::BEFORE_FIRST;
use domain::{Lane, Topic};

use super::{PartitionStatus, Runtime, RuntimePorts, State};

/// What a worker shows of itself.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) state: State,
    pub(super) position: i64,
    pub(super) parked: HashSet<Lane>,
    /// Another process has the partition, and what is stored of it counts.
    pub(super) is_overtaken: bool,
}

/// A worker's place and what it shows.
pub(super) struct Place {
    pub(super) build: Build,
    pub(super) partition: Partition,
    shown: Mutex<Shown>,
}

impl Place {
    pub(super) fn new(build: Build, partition: Partition) -> Self {
        let (parked, is_overtaken) = (HashSet::new(), false);
        let shown = Shown { state: State::Running, position: BEFORE_FIRST, parked, is_overtaken };
        Self { build, partition, shown: Mutex::new(shown) }
    }

    /// Changes, or looks at, what is shown.
    pub(super) fn show<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where this process has workers.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<ByPartition>>);

/// Places by projection and partition.
type ByPartition = HashMap<(&'static str, Partition), Arc<Place>>;

impl Places {
    pub(super) fn add(&self, place: Arc<Place>) {
        self.with(|places| places.insert((place.build.projection, place.partition), place));
    }

    pub(super) fn remove(&self, projection: &'static str, partition: Partition) {
        self.with(|places| places.remove(&(projection, partition)));
    }

    fn get(&self, projection: &'static str, partition: Partition) -> Option<Arc<Place>> {
        self.with(|places| places.get(&(projection, partition)).cloned())
    }

    fn with<T>(&self, look: impl FnOnce(&mut ByPartition) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// See the module.
#[derive(Clone)]
pub struct Overview {
    event_log: Arc<dyn EventLog>,
    checkpoints: Arc<dyn Checkpoints>,
    projections: Vec<(&'static str, &'static [Topic])>,
    places: Places,
}

/// What is stored of a build.
#[derive(Default)]
struct Stored {
    positions: HashMap<Partition, i64>,
    states: HashMap<Partition, WorkerState>,
    parked: HashMap<Partition, Vec<Lane>>,
    is_paused: bool,
}

impl Overview {
    /// Of these projections, each by its name and what it reads, for a process without workers.
    pub fn of(ports: &RuntimePorts, projections: Vec<(&'static str, &'static [Topic])>) -> Self {
        let (event_log, checkpoints) = (Arc::clone(&ports.event_log), Arc::clone(&ports.checkpoints));
        Self { event_log, checkpoints, projections, places: Places::default() }
    }

    /// The same for the process with these workers.
    #[must_use]
    pub fn with_workers_of(self, runtime: &Runtime) -> Self {
        self.with_workers(runtime.overview().places.clone())
    }

    pub(super) fn with_workers(self, places: Places) -> Self {
        Self { places, ..self }
    }

    /// How every projection is doing in every partition, measured against the log's true head.
    ///
    /// # Errors
    /// The log or the checkpoints cannot be read.
    pub async fn status(&self) -> Result<Vec<PartitionStatus>, StoreError> {
        let mut statuses = Vec::new();
        for &(projection, topics) in &self.projections {
            let numbers = 0..self.event_log.partitions();
            let partitions =
                topics.iter().flat_map(|&topic| numbers.clone().map(move |number| Partition { topic, number }));
            // Asked for once, and only if somebody else has a partition.
            let mut stored = None;
            for partition in partitions {
                let told = self.told(projection, partition);
                let is_here = told.is_some();
                let (state, position, parked) = match told {
                    Some(told) => told,
                    None => {
                        let stored = match &mut stored {
                            Some(stored) => stored,
                            none => none.insert(self.stored(projection).await?),
                        };
                        stored.take(partition)
                    }
                };
                let head = self.event_log.head(partition.topic, partition.number).await?;
                let lag_millis = if head > position { self.lag_millis(partition, position).await? } else { 0 };
                statuses.push(PartitionStatus {
                    projection,
                    partition,
                    is_here,
                    state,
                    position,
                    head,
                    lag_millis,
                    parked,
                });
            }
        }
        Ok(statuses)
    }

    /// What a worker of this process says, if one has the partition.
    fn told(&self, projection: &'static str, partition: Partition) -> Option<(State, i64, Vec<Lane>)> {
        self.places.get(projection, partition)?.show(|shown| {
            let told = || (shown.state.clone(), shown.position, shown.parked.iter().cloned().collect());
            (!shown.is_overtaken).then(told)
        })
    }

    async fn stored(&self, projection: &'static str) -> Result<Stored, StoreError> {
        let build = Build { projection, generation: self.checkpoints.serving(projection).await? };
        let mut stored = Stored::default();
        for position in self.checkpoints.positions(build).await? {
            let partition = Partition { topic: position.topic, number: position.partition };
            stored.positions.insert(partition, position.offset);
        }
        stored.states = self.checkpoints.states(build).await?.into_iter().collect();
        for (partition, parked) in self.checkpoints.parked(build).await? {
            stored.parked.entry(partition).or_default().push(parked.lane);
        }
        stored.is_paused = self.checkpoints.orders().borrow().paused.contains_key(projection);
        Ok(stored)
    }

    async fn lag_millis(&self, Partition { topic, number }: Partition, position: i64) -> Result<i64, StoreError> {
        let next = self.event_log.read(topic, number, position, 1, Duration::ZERO).await?;
        let recorded = next.first().and_then(|logged| logged.record.as_ref().ok()).map(|record| record.attributes.time);
        Ok(recorded.map_or(0, |time| (clock::now().as_millis() - time.as_millis()).max(0)))
    }
}

impl Stored {
    fn take(&mut self, partition: Partition) -> (State, i64, Vec<Lane>) {
        let position = self.positions.get(&partition).copied().unwrap_or(BEFORE_FIRST);
        let parked = self.parked.remove(&partition).unwrap_or_default();
        let state = match self.states.remove(&partition) {
            Some(WorkerState { activity: Activity::Faulted, error, .. }) => {
                State::Faulted(error.map_or_else(String::new, |error| error.reason))
            }
            // Also where nobody is there to say so.
            _ if self.is_paused => State::Paused,
            Some(WorkerState { activity: Activity::Stalled, error, .. }) => {
                State::Stalled(error.map_or_else(String::new, |error| error.reason))
            }
            _ => State::Running,
        };
        (state, position, parked)
    }
}
