//! Canaries: records without an event, sent through the log to see whether what is said at one end is heard at the other.
//!
//! A process that keeps streams sends one and listens on a [channel](crate::live::Channel::Canary) of its own; whoever
//! runs projections reads it from [`Topic::Canaries`] and publishes it there.

use domain::event::Schema;
use domain::{CorrelationId, EventId, Lane, Timestamp, Topic, UserId};

use super::{Attributes, Record, partition_of};
use crate::checkpoints::Partition;

const LANE: &str = "canary";

/// A canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Which one.
    pub id: EventId,
    /// Who sent it, and listens for it.
    pub sender: CorrelationId,
}

impl Canary {
    /// The partition that they all fly through, of so many.
    pub fn partition(partitions: u16) -> Partition {
        Partition { topic: Topic::Canaries, number: partition_of(&Lane::new(LANE), partitions) }
    }

    /// As it travels.
    pub fn record(self, now: Timestamp) -> Record {
        Record {
            topic: Topic::Canaries,
            lane: Lane::new(LANE),
            attributes: Attributes {
                id: self.id,
                schema: Schema { kind: "canary.sent".to_owned(), version: 1 },
                subject: "canary".to_owned(),
                sequence: 1,
                time: now,
                // Nobody: it only must be an id.
                actor: UserId::from_bytes(*self.sender.as_bytes()),
                correlation: self.sender,
                causation: None,
            },
            data: "{}".to_owned(),
        }
    }

    /// Which one `record` is.
    pub fn of(record: &Record) -> Self {
        Self { id: record.attributes.id, sender: record.attributes.correlation }
    }
}
