//! Reading a partition on from a place.

use std::sync::Arc;
use std::time::Duration;

use domain::{LogId, Topic};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::{Connection, Context, drop_elsewhere, failed};
use super::records::logged;
use crate::StoreError;
use crate::event_log::Logged;

/// What one read takes into memory, beside its first record.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// A client that reads from partitions that it is told, and joins no group.
pub(super) fn reader(connection: &Connection) -> Result<Arc<BaseConsumer<Context>>, StoreError> {
    let reader = connection.reading().create_with_context::<_, BaseConsumer<_>>(connection.context.clone());
    reader.map(Arc::new).map_err(failed)
}

/// A partition as the servers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) log: LogId,
    pub(super) topic: Topic,
    pub(super) partition: u16,
    /// The topic's name on the servers.
    pub(super) name: String,
}

/// A reader's place in one partition. Several cursors may share a client, each with a partition of its own.
pub(super) struct Cursor {
    reader: Arc<BaseConsumer<Context>>,
    pub(super) source: Source,
    queue: Option<PartitionQueue<Context>>,
    arrived: Arc<Notify>,
    /// The offset that the queue goes on with.
    next: i64,
    /// Whether the partition's end was seen after everything that was read.
    at_end: bool,
    timeout: Duration,
}

impl Cursor {
    pub(super) fn new(reader: Arc<BaseConsumer<Context>>, source: Source, timeout: Duration) -> Self {
        Self { reader, source, queue: None, arrived: Arc::new(Notify::new()), next: 0, at_end: false, timeout }
    }

    /// Whether it would go on above `after` without a search.
    pub(super) fn is_at(&self, source: &Source, after: i64) -> bool {
        self.queue.is_some() && self.source == *source && self.next == after.saturating_add(1)
    }

    /// At most `limit` records above `after`. Where the end is there, waits for more up to `wait`; that there is no end
    /// and no record either is not a state that lasts, and is an error after a while.
    ///
    /// May be dropped at any time: nothing is lost, since whoever comes next says where to go on.
    pub(super) async fn read(&mut self, after: i64, limit: usize, wait: Duration) -> Result<Vec<Logged>, StoreError> {
        let (until, patience) = (Instant::now() + wait, Instant::now() + self.timeout.max(wait));
        if limit == 0 {
            return Ok(Vec::new());
        }
        if self.queue.is_none() || self.next != after.saturating_add(1) {
            self.go_to(after.saturating_add(1))?;
        }
        // The servers' word on what goes on with this client: nobody else listens.
        while self.reader.poll(Duration::ZERO).is_some() {}
        let mut page = Vec::new();
        loop {
            let taken = self.take(&mut page, limit);
            if taken.is_err() {
                self.stop();
            }
            if let Err(error) = taken {
                return if page.is_empty() { Err(error) } else { Ok(page) };
            }
            if !page.is_empty() {
                return Ok(page);
            }
            let deadline = if self.at_end { until } else { patience };
            if tokio::time::timeout_at(deadline, self.arrived.notified()).await.is_err() {
                if self.at_end {
                    return Ok(page);
                }
                self.stop();
                return Err(StoreError::Unavailable(format!("kafka: no answer about {}", self.source.name)));
            }
        }
    }

    /// Takes what the queue has, as far as it fits on the page.
    fn take(&mut self, page: &mut Vec<Logged>, limit: usize) -> Result<(), StoreError> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let mut bytes = 0;
        while page.len() < limit && bytes <= READ_BYTES {
            let message = match queue.poll(Duration::ZERO) {
                None => return Ok(()),
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at_end = true;
                    continue;
                }
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                    let Source { name, partition, .. } = &self.source;
                    let next = self.next;
                    return Err(StoreError::Damaged(format!("{name} partition {partition} has no offset {next}")));
                }
                Some(Err(error)) => return Err(failed(error)),
                Some(Ok(message)) => message,
            };
            self.next = message.offset().saturating_add(1);
            self.at_end = false;
            bytes += message.payload_len();
            page.push(logged(&message, self.source.log, self.source.topic, self.source.partition));
        }
        Ok(())
    }

    fn go_to(&mut self, next: i64) -> Result<(), StoreError> {
        self.stop();
        let partition = i32::from(self.source.partition);
        let queue = self.reader.split_partition_queue(&self.source.name, partition);
        let mut queue =
            queue.ok_or_else(|| StoreError::Unavailable(format!("kafka: no queue of {}", self.source.name)))?;
        let arrived = Arc::clone(&self.arrived);
        queue.set_nonempty_callback(move || arrived.notify_one());
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(&self.source.name, partition, Offset::Offset(next)).map_err(failed)?;
        self.reader.incremental_assign(&place).map_err(failed)?;
        (self.queue, self.next, self.at_end) = (Some(queue), next, false);
        Ok(())
    }

    fn stop(&mut self) {
        let Some(queue) = self.queue.take() else { return };
        let mut place = TopicPartitionList::new();
        place.add_partition(&self.source.name, i32::from(self.source.partition));
        if let Err(error) = self.reader.incremental_unassign(&place) {
            tracing::debug!(%error, "a partition that was read is not given up");
        }
        drop(queue);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The values of all records of a topic with one partition, up to the offset `head`.
pub(super) async fn values(connection: &Connection, topic: &str, head: i64) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut values = Vec::new();
    if head < 0 {
        return Ok(values);
    }
    let source = Source { log: LogId(0), topic: Topic::Posts, partition: 0, name: topic.to_owned() };
    let mut cursor = Cursor::new(reader(connection)?, source, connection.timeout);
    cursor.go_to(0)?;
    let deadline = Instant::now() + connection.timeout;
    while cursor.next <= head {
        let Some(queue) = &cursor.queue else { break };
        match queue.poll(Duration::ZERO) {
            Some(Ok(message)) => {
                cursor.next = message.offset().saturating_add(1);
                values.push(message.payload().unwrap_or_default().to_vec());
            }
            // What is below the end and not there was never a record of ours.
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => return Err(failed(error)),
            None => {
                let arrived = tokio::time::timeout_at(deadline, cursor.arrived.notified()).await;
                arrived.map_err(|_| StoreError::Unavailable(format!("kafka: no answer about {topic}")))?;
            }
        }
    }
    drop_elsewhere(cursor);
    Ok(values)
}
