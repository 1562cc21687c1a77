//! The newest record of every partition, as far as this process knows, and who waits for a newer one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::Topic;
use domain::stream::BEFORE_FIRST;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use super::connection::{Connection, Context, unanswered};
use crate::StoreError;
use crate::checkpoints::Partition;

pub(super) struct Heads {
    known: BTreeMap<Partition, watch::Sender<i64>>,
    awaited: Mutex<BTreeMap<Partition, usize>>,
}

impl Heads {
    pub(super) fn new(partitions: u16) -> Self {
        let numbers = 0..partitions;
        let all = Topic::WITH_CANARIES
            .into_iter()
            .flat_map(|topic| numbers.clone().map(move |number| Partition { topic, number }));
        let known = all.map(|partition| (partition, watch::Sender::new(BEFORE_FIRST))).collect();
        Self { known, awaited: Mutex::default() }
    }

    /// What tells of a partition's newest record.
    pub(super) fn of(&self, partition: Partition) -> Result<&watch::Sender<i64>, StoreError> {
        let Partition { topic, number } = partition;
        self.known.get(&partition).ok_or_else(|| StoreError::Damaged(format!("{topic} has no partition {number}")))
    }

    /// Wakes those who wait for what is at `offset` or below it.
    pub(super) fn announce(&self, partition: Partition, offset: i64) {
        if let Some(head) = self.known.get(&partition) {
            head.send_if_modified(|head| {
                let is_news = offset > *head;
                *head = offset.max(*head);
                is_news
            });
        }
    }

    /// Has the partition looked at until what this answers is dropped.
    pub(super) fn awaits(&self, partition: Partition) -> Awaiting<'_> {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner).entry(partition).or_default() += 1;
        Awaiting { heads: self, partition }
    }

    /// Partitions that somebody waits for.
    pub(super) fn awaited(&self) -> Vec<Partition> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

pub(super) struct Awaiting<'a> {
    heads: &'a Heads,
    partition: Partition,
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        let mut awaited = self.heads.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = awaited.get_mut(&self.partition) {
            *count -= 1;
            if *count == 0 {
                awaited.remove(&self.partition);
            }
        }
    }
}

/// Asks the servers for the newest offset of each of the partitions, each of a topic by its name there. Blocks.
pub(super) fn ask(
    client: &BaseConsumer<Context>,
    connection: &Connection,
    partitions: &[(String, u16)],
) -> Result<Vec<i64>, StoreError> {
    let deadline = std::time::Instant::now() + connection.timeout;
    loop {
        let error = match ask_once(client, partitions, deadline.saturating_duration_since(std::time::Instant::now())) {
            Ok(heads) => return Ok(heads),
            Err(error) => error,
        };
        // Somebody else leads the partition by now, or is about to: that is known soon.
        let moving = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::NotLeaderForPartition
                    | RDKafkaErrorCode::LeaderNotAvailable
                    | RDKafkaErrorCode::OffsetNotAvailable
                    | RDKafkaErrorCode::FencedLeaderEpoch
                    | RDKafkaErrorCode::UnknownLeaderEpoch
            )
        );
        let pause = Duration::from_millis(100);
        if !moving || deadline.saturating_duration_since(std::time::Instant::now()) <= pause {
            return Err(unanswered(client, connection, error));
        }
        while client.poll(pause).is_some() {}
    }
}

fn ask_once(
    client: &BaseConsumer<Context>,
    partitions: &[(String, u16)],
    timeout: Duration,
) -> Result<Vec<i64>, KafkaError> {
    let mut ends = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        // In the place of a time, the end stands for itself.
        ends.add_partition_offset(topic, i32::from(*partition), Offset::End)?;
    }
    let ends = client.offsets_for_times(ends, timeout)?;
    let head = |(topic, partition): &(String, u16)| {
        let end = ends.find_partition(topic, i32::from(*partition));
        let end = end.ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition))?;
        end.error()?;
        match end.offset() {
            Offset::Offset(end) => Ok(end - 1),
            _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetNotAvailable)),
        }
    };
    partitions.iter().map(head).collect()
}
