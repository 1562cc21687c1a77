//! Waiting for the projections: those of a running server, or our own where none runs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use adapters::checkpoints::{Build, Dropped, Partition};
use adapters::stores::Stores;
use domain::stream::BEFORE_FIRST;
use domain::{Position, Topic};
use projectors::{Runtime, State};

use super::model::Heads;
use crate::cli::Projection;
use crate::config::Config;
use crate::failure::Failure;
use crate::progress::{Progress, Unit};
use crate::serve::{Attempt, Lock};
use crate::wiring::{self, Known, Opened, PROJECTIONS};

/// How often the checkpoints are looked at.
const EVERY: Duration = Duration::from_millis(50);
/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(30);

/// A projection whose stores are compared.
struct Compared {
    build: Build,
    topics: &'static [Topic],
}

/// Who keeps the read models up to date while they are compared.
pub(super) struct Projections {
    compared: Vec<Compared>,
    /// Without any movement for so long, nobody is at work.
    pub(super) patience: Duration,
    /// Our own, with the lock that lets us run them, where there is one; none beside a running server.
    own: Option<(Runtime, Option<Lock>)>,
}

/// Whether to run the projections beside others that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// No: they are run here only where it is certain that nobody else does.
    OnlyAlone,
    /// As one of those that share the partitions.
    AsOneMore,
}

/// Runs the projections here, if that is to be and nobody has the data directory who would not know of us.
async fn own(config: &Config, opened: &Opened, joining: Joining) -> Result<Option<(Runtime, Option<Lock>)>, Failure> {
    let urls = config.store_urls();
    let lock = if !urls.use_files() && urls.in_memory().is_none() {
        None
    } else {
        wiring::make_data_dir(config)?;
        match (Lock::try_take(config.data_dir())?, joining) {
            (Attempt::Taken(lock), _) => {
                return Ok(Some((wiring::start_projections(config, opened).await?, Some(lock))));
            }
            (Attempt::Held(_), Joining::OnlyAlone) => None,
            (Attempt::Held(_), Joining::AsOneMore) => Some(Lock::share(config.data_dir())?),
        }
    };
    match joining {
        Joining::OnlyAlone => Ok(None),
        Joining::AsOneMore => Ok(Some((wiring::start_projections(config, opened).await?, lock))),
    }
}

impl Projections {
    /// Whether they run here.
    pub(super) fn are_ours(&self) -> bool {
        self.own.is_some()
    }

    /// Starts the projections, unless a server runs them.
    ///
    /// # Errors
    /// The stores fail.
    pub(super) async fn start(
        config: &Config,
        opened: &Opened,
        asked: Option<Projection>,
        joining: Joining,
    ) -> Result<Self, Failure> {
        let mut compared = Vec::new();
        for Known { name, topics, .. } in PROJECTIONS {
            if asked.is_none_or(|asked| asked.name() == name) {
                let generation = opened.stores.checkpoints.serving(name).await;
                let generation = generation.map_err(|error| Failure::cannot_run(error.to_string()))?;
                compared.push(Compared { build: Build { projection: name, generation }, topics });
            }
        }
        Ok(Self { compared, patience: PATIENCE, own: own(config, opened, joining).await? })
    }

    /// Whether a running server is at work.
    pub(super) fn are_a_servers(&self) -> bool {
        self.own.is_none()
    }

    /// Waits until every projection has passed `heads`.
    ///
    /// # Errors
    /// One has stopped, or nothing moves.
    pub(super) async fn pass(&self, stores: &Stores, heads: &Heads) -> Result<(), Failure> {
        let total: u64 = self.wanted(heads).map(|(_, _, head)| events(head)).sum();
        let progress = Progress::new("projections catch up", total, Unit::Items);
        let mut moved = Instant::now();
        let mut done_before = None;
        loop {
            let positions = self.positions(stores).await?;
            let mut done = 0;
            let mut behind = None;
            for (build, partition, head) in self.wanted(heads) {
                let reached = positions.get(&(build.projection, partition)).copied().unwrap_or(BEFORE_FIRST);
                done += events(reached.min(head));
                if reached < head {
                    behind = Some((build, partition, reached, head));
                }
            }
            progress.set(done);
            let Some((build, partition, reached, head)) = behind else { break };
            if done_before != Some(done) {
                (done_before, moved) = (Some(done), Instant::now());
            }
            self.expect_running(stores).await?;
            if moved.elapsed() > self.patience {
                let who = if self.are_a_servers() {
                    "is a server with the role projectors at work? Otherwise add `--run-projections`"
                } else {
                    "see the log"
                };
                let Partition { topic, number } = partition;
                return Err(Failure::cannot_run(format!(
                    "the projection {} stands still at {reached} of {head} in partition {number} of {topic}: {who}",
                    build.projection
                )));
            }
            tokio::time::sleep(EVERY).await;
        }
        progress.finish();
        Ok(())
    }

    /// Lanes that wait behind an event that cannot be applied.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn parked(&self, stores: &Stores) -> Result<Vec<String>, Failure> {
        let mut parked = Vec::new();
        for Compared { build, .. } in &self.compared {
            let lanes = stores.checkpoints.parked(*build).await;
            for (Partition { topic, number }, lane) in lanes.map_err(|error| Failure::cannot_run(error.to_string()))? {
                parked.push(format!(
                    "the projection {} has parked lane {} (partition {number} of {topic}, from offset {} on, {} waiting): {}",
                    build.projection, lane.lane, lane.first, lane.waiting, lane.reason
                ));
            }
        }
        Ok(parked)
    }

    /// Events that operators have left out, at most so many of each projection.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn dropped(&self, stores: &Stores, most: usize) -> Result<Vec<String>, Failure> {
        let mut named = Vec::new();
        for Compared { build, .. } in &self.compared {
            let dropped = stores.checkpoints.dropped(*build, most).await;
            for Dropped { partition: Partition { topic, number }, offset, lane, reason, at } in
                dropped.map_err(|error| Failure::cannot_run(error.to_string()))?
            {
                let position = Position { log: stores.event_log.id(), topic, partition: number, offset };
                named.push(format!(
                    "the projection {} lacks the event {position} of lane {lane}, which was dropped at {at}: {reason}",
                    build.projection
                ));
            }
        }
        Ok(named)
    }

    /// Ends our own, if we run them.
    pub(super) async fn stop(self) {
        if let Some((runtime, lock)) = self.own {
            runtime.stop().await;
            drop(lock);
        }
    }

    fn wanted(&self, heads: &Heads) -> impl Iterator<Item = (Build, Partition, i64)> {
        let pairs = self.compared.iter().flat_map(move |compared| heads.iter().map(move |head| (compared, head)));
        pairs
            .filter(|(compared, (partition, _))| compared.topics.contains(&partition.topic))
            .map(|(compared, (partition, head))| (compared.build, *partition, *head))
    }

    async fn positions(&self, stores: &Stores) -> Result<HashMap<(&'static str, Partition), i64>, Failure> {
        let mut positions = HashMap::new();
        for Compared { build, .. } in &self.compared {
            let stored = stores.checkpoints.positions(*build).await;
            for position in stored.map_err(|error| Failure::cannot_run(error.to_string()))? {
                let Position { log, topic, partition, offset } = position;
                let present = stores.event_log.id();
                if log != present {
                    return Err(Failure::failed(format!(
                        "the projection {} was built from log {log}, and this is log {present}: delete the read models, \
                         which are then built again",
                        build.projection
                    )));
                }
                positions.insert((build.projection, Partition { topic, number: partition }), offset);
            }
        }
        Ok(positions)
    }

    async fn expect_running(&self, stores: &Stores) -> Result<(), Failure> {
        // Whoever runs it: paused, it passes nothing.
        let paused = stores.checkpoints.orders().borrow().paused.clone();
        if let Some(compared) = self.compared.iter().find(|compared| paused.contains_key(compared.build.projection)) {
            let name = compared.build.projection;
            return Err(Failure::cannot_run(format!(
                "the projection {name} is paused: `hybrid-live projections resume {name}`"
            )));
        }
        let Some((runtime, _)) = &self.own else { return Ok(()) };
        let statuses = runtime.status().await.map_err(|error| Failure::cannot_run(error.to_string()))?;
        for status in statuses {
            let is_compared = self.compared.iter().any(|compared| compared.build.projection == status.projection);
            if let (State::Faulted(reason), true) = (&status.state, is_compared) {
                let Partition { topic, number } = status.partition;
                let log = stores.event_log.id();
                return Err(Failure::failed(format!(
                    "the projection {} has stopped in partition {number} of {topic} (log {log}): {reason}",
                    status.projection
                )));
            }
        }
        Ok(())
    }
}

/// How many offsets there are up to and including this one.
fn events(offset: i64) -> u64 {
    u64::try_from(offset - BEFORE_FIRST).unwrap_or(0)
}
