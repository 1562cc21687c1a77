//! A process's place among those that share the log's partitions.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use domain::Topic;
use tokio::sync::watch;

use super::SqliteEventLog;
use crate::StoreError;
use crate::checkpoints::Partition;
use crate::event_log::{EventLog, Logged, Membership};

/// The only member: everything is its own until it leaves.
pub(super) struct SoleMember {
    log: SqliteEventLog,
    assigned: watch::Sender<BTreeSet<Partition>>,
}

impl SoleMember {
    pub(super) fn new(log: SqliteEventLog, topics: &[Topic]) -> Self {
        let numbers = 0..log.partitions();
        let all = topics.iter().flat_map(|&topic| numbers.clone().map(move |number| Partition { topic, number }));
        Self { log, assigned: watch::Sender::new(all.collect()) }
    }
}

#[async_trait]
impl Membership for SoleMember {
    fn assigned(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.assigned.subscribe()
    }

    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        self.log.read(partition.topic, partition.number, after, limit, wait).await
    }

    async fn leave(&self) {
        self.assigned.send_replace(BTreeSet::new());
    }
}
