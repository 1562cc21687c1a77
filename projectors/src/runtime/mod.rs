//! Carries events from the log to projections: one worker per projection and partition, in whichever process has it.
//!
//! For each projection a process joins the group of those that share its partitions, and has a worker for every
//! partition that the group assigns to it. The group only says who should work; who may write is decided by the
//! owner epoch (P2), so a partition that moves needs no agreement: the next owner takes it, and the former one is fenced.
//!
//! A worker owns polling, lanes, retries, parking and the checkpoint; the projection only applies. A store's failure
//! stalls the worker, which retries for ever; an event that can never be applied parks its lane (P4) and the
//! rest of the partition goes on. One that ends the whole process is found by starting what follows a checkpoint again
//! and again, alone and in halves. What operators want is done between two batches.

use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{Build, Checkpoints, Partition};
use adapters::codec::Codec;
use adapters::event_log::EventLog;
use domain::Lane;
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::projection::Projection;

mod batch;
mod overview;
mod supervisor;
mod worker;

pub use overview::Overview;
use overview::Places;
use supervisor::Supervisor;

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
    /// The first pause after another owner has taken a partition that the group still assigns to this process; doubles
    /// as well, up to sixteen times that.
    pub first_truce: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch: 256,
            parallelism: 2,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(10),
            first_truce: Duration::from_millis(250),
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
    /// Whether a worker of this process has it. The rest is what is stored: a worker elsewhere may have died since.
    pub is_here: bool,
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

/// Running projections. Dropping it ends them without waiting; [`Runtime::stop`] waits.
pub struct Runtime {
    overview: Overview,
    /// Supervisors, and their workers.
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends everything where it stands.
    kill: CancellationToken,
}

impl Runtime {
    /// Joins the group of each projection, and starts a worker for every partition that the group assigns to this
    /// process, in the projection's serving generation.
    ///
    /// # Errors
    /// The serving generations cannot be read, or a group not be joined.
    pub async fn start(
        ports: RuntimePorts,
        projections: Vec<Arc<dyn Projection>>,
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let places = Places::default();
        let known = projections.iter().map(|projection| (projection.name(), projection.topics())).collect();
        let overview = Overview::of(&ports, known).with_workers(places.clone());
        let runtime = Self {
            overview,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        };
        let turns = Arc::new(RwLock::new(()));
        for projection in projections {
            let name = projection.name();
            let build = Build { projection: name, generation: ports.checkpoints.serving(name).await? };
            let membership = Arc::from(ports.event_log.join(name, projection.topics()).await?);
            let supervisor = Supervisor {
                ports: ports.clone(),
                projection,
                build,
                membership,
                settings,
                places: places.clone(),
                turns: Arc::clone(&turns),
                tasks: runtime.tasks.clone(),
                stop: runtime.stop.clone(),
                kill: runtime.kill.clone(),
            };
            let kill = runtime.kill.clone();
            runtime.tasks.spawn(async move { kill.run_until_cancelled(supervisor.run()).await });
        }
        runtime.tasks.close();
        Ok(runtime)
    }

    /// How its projections are, in this process and others.
    pub fn overview(&self) -> &Overview {
        &self.overview
    }

    /// How every projection is doing in every partition, see [`Overview::status`].
    ///
    /// # Errors
    /// The log or the checkpoints cannot be read.
    pub async fn status(&self) -> Result<Vec<PartitionStatus>, StoreError> {
        self.overview.status().await
    }

    /// Ends all workers where they stand, as the death of their process would: when this returns, none of them does
    /// anything any more, and the groups have been left without a word. Dropping the runtime does not wait for that, and
    /// a worker that is just taking its partition could then take it from a successor.
    pub async fn kill(self) {
        self.kill.cancel();
        self.tasks.wait().await;
    }

    /// Stops all workers after the batches that they are at, then leaves the groups, so that others take over.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}
