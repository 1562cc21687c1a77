//! The port of the ordered, partitioned, replayable log of events.
//!
//! A record is an event as it travels: sealed, its attributes beside its data (CloudEvents' binary mode).
//! [`crate::codec`] makes records of events and reads them back.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use domain::event::Schema;
use domain::{CorrelationId, EventId, Lane, LogId, Position, Timestamp, Topic, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::StoreError;
use crate::checkpoints::Partition;

pub mod canary;
#[cfg(test)]
pub(crate) mod contract;
#[cfg(feature = "kafka")]
mod kafka;
mod sqlite;

#[cfg(feature = "kafka")]
pub use kafka::KafkaEventLog;
pub use sqlite::SqliteEventLog;
pub(crate) use sqlite::{Appender, rows};

/// An event as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it belongs; its partition follows from `lane` by [`partition_of`].
    #[serde(with = "topic_by_name")]
    pub topic: Topic,
    /// The record key.
    pub lane: Lane,
    /// The CloudEvents attributes that vary.
    pub attributes: Attributes,
    /// The data as JSON, personal data sealed. Text, so that a damaged record can still be carried and shown.
    pub data: String,
}

/// The CloudEvents attributes that vary. `type` is a text and not an enum, as is the stream: a record that this
/// version cannot read is still carried, parked and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// `id`
    pub id: EventId,
    /// `dataschema`, which holds the `type`.
    pub schema: Schema,
    /// `subject`: the stream.
    pub subject: String,
    /// `sequence` in the stream, from 1.
    pub sequence: u64,
    /// `time`
    pub time: Timestamp,
    /// `actor`
    pub actor: UserId,
    /// `correlationid`
    pub correlation: CorrelationId,
    /// `causationid`
    pub causation: Option<EventId>,
}

/// What a log holds at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Where it is.
    pub position: Position,
    /// The lane, known even where the record is not readable.
    pub lane: Lane,
    /// The record, or what is wrong with its attributes: damage parks one lane and does not stop the partition.
    pub record: Result<Record, String>,
}

/// The log.
///
/// Invariants: `append` returns only when its records are durable, and keeps their order within a lane; a reader
/// that has read offset n of a partition never sees a record appear below n later; offsets grow but may have gaps;
/// nothing is ever removed or changed, but for [canaries](canary), of which the newest are kept.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Which life of the log this is.
    fn id(&self) -> LogId;

    /// Partitions of every topic; fixed for the life of the log.
    fn partitions(&self) -> u16;

    /// Appends in order and answers where each record is, in the same order.
    ///
    /// # Errors
    /// After an error any prefix may have been appended: appending again is allowed and makes duplicates.
    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, StoreError>;

    /// At most `limit` records above offset `after`, in order. Where there are none, waits up to `wait` for one.
    /// Fewer than `limit` says nothing: large records come a few at a time.
    ///
    /// # Errors
    /// Also if the topic has no such partition.
    async fn read(
        &self,
        topic: Topic,
        partition: u16,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError>;

    /// The offset of the newest record, or [`domain::stream::BEFORE_FIRST`].
    async fn head(&self, topic: Topic, partition: u16) -> Result<i64, StoreError>;

    /// Joins the processes that share the partitions of `topics` among them under the name `group`.
    ///
    /// # Errors
    /// The log cannot be reached. Once joined, a member that loses its connection comes back by itself.
    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Membership>, StoreError>;
}

/// A process's place in a group. Dropping it leaves the group without a word; [`Membership::leave`] tells the others.
///
/// A group only says who *should* work where, and it may be mistaken for a while: two members can hold a partition at
/// one moment, when one of them was cut off. Who *may* write is decided by the owner epoch (P2).
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// The partitions that this member should work on, kept up to date. Every partition has a member in the end, as
    /// long as there is one.
    fn assigned(&self) -> watch::Receiver<BTreeSet<Partition>>;

    /// As [`EventLog::read`], of a partition that is assigned, for one caller per partition who goes on where the last
    /// read ended: that costs no search.
    ///
    /// # Errors
    /// As [`EventLog::read`].
    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError>;

    /// Leaves, so that others take over at once. Nothing is assigned any more.
    async fn leave(&self);
}

/// The partition of a lane: CRC-32 of the record key, as librdkafka's `consistent` partitioner computes it.
pub fn partition_of(lane: &Lane, partitions: u16) -> u16 {
    (crc32fast::hash(lane.as_str().as_bytes()) % u32::from(partitions)) as u16
}

mod topic_by_name {
    use domain::Topic;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(topic: &Topic, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(topic.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Topic, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
