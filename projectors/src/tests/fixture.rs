//! Builders that these tests share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adapters::StoreError;
use adapters::checkpoints::SqliteCheckpoints;
use adapters::content::SqliteContent;
use adapters::decorated::Around;
use adapters::sqlite::{Database, Durability, TRUTH};
use async_trait::async_trait;
use domain::{CorrelationId, Envelope, Event, EventId, LogId, Position, StreamId, Timestamp, Topic, UserId};

/// Ids that tests make of small numbers.
pub(super) trait Numbered {
    fn numbered(number: u8) -> Self;
}

macro_rules! numbered {
    ($($id:ty),*) => {
        $(impl Numbered for $id {
            fn numbered(number: u8) -> Self {
                Self::from_parts(Timestamp::from_millis(1_700_000_000_000 + i64::from(number)), [number; 10])
            }
        })*
    };
}

numbered!(UserId, domain::PostId, domain::CommentId, EventId, CorrelationId);

/// The id with this number.
pub(super) fn id<T: Numbered>(number: u8) -> T {
    T::numbered(number)
}

/// An event as the log would give it back.
pub(super) fn envelope(stream: StreamId, sequence: u64, actor: UserId, event: Event) -> Envelope {
    Envelope {
        id: EventId::from_parts(Timestamp::from_millis(1_700_000_000_000), rand::random()),
        time: Timestamp::from_millis(1_700_000_000_000),
        stream,
        sequence,
        actor,
        correlation: id(0),
        causation: None,
        event,
    }
}

/// The way to a server, which can be cut off.
#[derive(Default)]
pub(super) struct Cable(AtomicBool);

impl Cable {
    pub(super) fn cut(&self, is_cut: bool) {
        self.0.store(is_cut, Ordering::Relaxed);
    }
}

#[async_trait]
impl Around for Cable {
    async fn before(&self, call: &'static str) -> Result<(), StoreError> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable(format!("{call}: cut off"))),
            false => Ok(()),
        }
    }
}

/// A truth beside `models`, and checkpoints in both.
pub(super) fn beside(directory: &Path, models: &Arc<Database>) -> (Arc<SqliteContent>, Arc<SqliteCheckpoints>) {
    let truth = Database::open(&directory.join("truth.db"), &TRUTH, Durability::Process).unwrap();
    let checkpoints = SqliteCheckpoints::open(Arc::clone(models), Arc::clone(&truth)).unwrap();
    (Arc::new(SqliteContent::open(truth, None).unwrap()), Arc::new(checkpoints))
}

/// A place in the first partition of the posts topic.
pub(super) fn post_position(offset: i64) -> Position {
    Position { log: LogId(7), topic: Topic::Posts, partition: 0, offset }
}
