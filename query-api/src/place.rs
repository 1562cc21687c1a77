//! Where a post's events are in the log: what positions of its stream are made of and checked against.

use adapters::event_log::{EventLog, partition_of};
use domain::{Lane, LogId, Position, PostId, Topic};

/// The partition of a post's lane, in the log's present life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The post.
    pub(crate) post: PostId,
    log: LogId,
    partition: u16,
}

/// Why a client cannot go on from the position that it gave and must load afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// It is no position.
    Malformed,
    /// It belongs to another life of the log.
    AnotherLog,
    /// It belongs to another partition, so to the stream of another post.
    AnotherPartition,
    /// Nothing has happened there yet.
    BeyondPresent,
    /// More has changed since than is worth telling one by one.
    TooManyChanges,
    /// The viewer follows or blocks others than then, or posts came into the home other than as news.
    RelationsChanged,
    /// What had been held up has come late, below the position.
    LateEffects,
    /// Another build of the read model serves.
    Rebuilt,
}

impl Reset {
    /// The reason as clients see it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_position",
            Self::AnotherLog => "another_log",
            Self::AnotherPartition => "another_partition",
            Self::BeyondPresent => "beyond_present",
            Self::TooManyChanges => "too_many_changes",
            Self::RelationsChanged => "relations_changed",
            Self::LateEffects => "late_effects",
            Self::Rebuilt => "rebuilt",
        }
    }
}

impl Place {
    /// Of `post` in `log`.
    pub(crate) fn of(post: PostId, log: &dyn EventLog) -> Self {
        Self { post, log: log.id(), partition: partition_of(&Lane::post(post), log.partitions()) }
    }

    /// The position of an offset.
    pub(crate) fn at(&self, offset: i64) -> Position {
        Position { log: self.log, topic: Topic::Posts, partition: self.partition, offset }
    }

    /// The offset of a position that a client gave.
    pub(crate) fn offset(&self, text: &str) -> Result<i64, Reset> {
        let position: Position = text.parse().map_err(|_| Reset::Malformed)?;
        if position.log != self.log {
            return Err(Reset::AnotherLog);
        }
        if position.topic != Topic::Posts || position.partition != self.partition {
            return Err(Reset::AnotherPartition);
        }
        Ok(position.offset)
    }
}
