//! One projection in one process: a worker for every partition that the group assigns to this member.

use std::collections::HashMap;
use std::sync::Arc;

use adapters::checkpoints::{Activity, Build, Partition, WorkerState};
use adapters::event_log::Membership;
use adapters::http::clock;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::overview::{Place, Places};
use super::worker::Worker;
use super::{RuntimePorts, Settings};
use crate::projection::Projection;

/// See the module.
pub(super) struct Supervisor {
    pub(super) ports: RuntimePorts,
    pub(super) projection: Arc<dyn Projection>,
    pub(super) build: Build,
    pub(super) membership: Arc<dyn Membership>,
    pub(super) settings: Settings,
    pub(super) places: Places,
    pub(super) turns: Arc<RwLock<()>>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) kill: CancellationToken,
}

impl Supervisor {
    /// Follows the assignment until it is stopped; then ends the workers and leaves the group.
    pub(super) async fn run(self) {
        let mut assigned = self.membership.assigned();
        let mut at_work: HashMap<Partition, CancellationToken> = HashMap::new();
        let mut workers = FuturesUnordered::new();
        // Workers that ended by themselves: their partitions need an operator, or to be assigned anew.
        let mut rest: Vec<Partition> = Vec::new();
        let mut is_in_the_group = true;
        loop {
            let wanted = assigned.borrow_and_update().clone();
            for partition in rest.extract_if(.., |partition| !wanted.contains(partition)) {
                self.places.remove(self.build.projection, partition);
            }
            for (partition, stop) in &at_work {
                if !wanted.contains(partition) {
                    // It ends after its batch. Nobody waits for that: the next owner fences it.
                    stop.cancel();
                }
            }
            for partition in wanted {
                // One that is still ending comes first: there is one reader per partition.
                if !at_work.contains_key(&partition) && !rest.contains(&partition) {
                    let stop = self.stop.child_token();
                    workers.push(self.start(partition, stop.clone()));
                    at_work.insert(partition, stop);
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(partition) = workers.next() => {
                    if at_work.remove(&partition).is_some_and(|stop| stop.is_cancelled()) {
                        self.places.remove(self.build.projection, partition);
                    } else {
                        // What it shows stays: why it ended.
                        rest.push(partition);
                    }
                }
                changed = assigned.changed(), if is_in_the_group => is_in_the_group = changed.is_ok(),
            }
        }
        while workers.next().await.is_some() {}
        // Before others may take over: what they say comes later and stays.
        let ours = assigned.borrow().clone();
        join_all(at_work.into_keys().filter(|partition| ours.contains(partition)).map(|it| self.note_end(it))).await;
        self.membership.leave().await;
    }

    /// Stores that a partition's worker has ended, for those who ask in other processes.
    async fn note_end(&self, partition: Partition) {
        let state = WorkerState { activity: Activity::Stopped, since: clock::now(), error: None };
        // Nothing rests on it.
        if let Err(error) = self.ports.checkpoints.note_state(self.build, partition, state).await {
            tracing::debug!(projection = self.build.projection, ?partition, %error, "the end is not stored");
        }
    }

    /// Starts a worker; answers its partition once it has ended, however that came.
    fn start(&self, partition: Partition, stop: CancellationToken) -> impl Future<Output = Partition> + use<> {
        let place = Arc::new(Place::new(self.build, partition));
        self.places.add(Arc::clone(&place));
        let worker = Worker::new(
            self.ports.clone(),
            Arc::clone(&self.projection),
            self.settings,
            place,
            Arc::clone(&self.membership),
            Arc::clone(&self.turns),
            stop,
        );
        let kill = self.kill.clone();
        let task = self.tasks.spawn(async move { kill.run_until_cancelled(worker.run()).await });
        async move {
            // A panic is a worker's end like any other.
            let _ = task.await;
            partition
        }
    }
}
