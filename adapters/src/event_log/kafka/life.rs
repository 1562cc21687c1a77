//! Which life of the log this is: what stands in a small topic beside the log's own.
//!
//! The first record names the life, so that of two who set it up at once one wins and both go on with the winner's.
//! Once all topics are there, another record says so: from then on a topic that is missing is a loss, which setting up
//! again must not hide behind an empty topic of the same name.

use std::sync::Arc;

use domain::{LogId, Topic};
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::topics::Topics;
use super::{Shared, cursor, heads, producer};
use crate::StoreError;
use crate::stores::Migration;

/// Which topics there are, and how records and lives are written. The second has one for canaries.
const VERSION: u32 = 2;
/// CRC-32 of the key, modulo the number of partitions: see [`crate::event_log::partition_of`].
const PARTITIONER: &str = "crc32";
const KEY: &str = "life";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    log: String,
    partitions: u16,
    partitioner: String,
    version: u32,
    /// Whether all topics of that version are there.
    complete: bool,
}

/// A life of the log that is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) log: LogId,
    pub(super) partitions: u16,
}

/// Sets the log up where it is not.
pub(super) async fn migrate(connection: &Arc<Connection>, partitions: u16) -> Result<Migration, StoreError> {
    if partitions == 0 {
        return Err(StoreError::Unfit("a log needs partitions".to_owned()));
    }
    let topics = Topics::new(connection)?;
    let name = connection.life_topic();
    topics.create(&name, 1).await?;
    topics.check(&[(name, 1)]).await?;
    let writer = Writer::new(connection)?;
    let mut written = read(connection, &topics).await?;
    if written.is_empty() {
        let log = LogId(rand::random());
        let first = Written {
            log: log.to_string(),
            partitions,
            partitioner: PARTITIONER.to_owned(),
            version: VERSION,
            complete: false,
        };
        writer.write(&first).await?;
        written = read(connection, &topics).await?;
    }
    let (life, complete) = life(&written)?;
    let all = connection.log_topics(life.partitions);
    let new = match complete {
        0 => all.clone(),
        1 => vec![(connection.topic(Topic::Canaries), life.partitions)],
        _ => Vec::new(),
    };
    for (name, partitions) in new {
        topics.create(&name, partitions).await?;
    }
    topics.check(&all).await?;
    if complete < VERSION {
        let first = written.into_iter().next().ok_or_else(|| StoreError::Damaged("no life of the log".to_owned()))?;
        writer.write(&Written { version: VERSION, complete: true, ..first }).await?;
    }
    Ok(Migration { from: complete, to: VERSION })
}

/// The life of a log that is set up and whose topics are as they must be.
pub(super) async fn open(connection: &Arc<Connection>) -> Result<Life, StoreError> {
    let topics = Topics::new(connection)?;
    let name = connection.life_topic();
    let missing = || StoreError::Unfit(format!("{connection} has no log: run `hybrid-live migrate`"));
    if !topics.exists(&name).await? {
        return Err(missing());
    }
    topics.check(&[(name, 1)]).await?;
    let written = read(connection, &topics).await?;
    if written.is_empty() {
        return Err(missing());
    }
    let (life, complete) = life(&written)?;
    if complete < VERSION {
        return Err(StoreError::Unfit(format!("the log at {connection} is not all set up: run `hybrid-live migrate`")));
    }
    topics.check(&connection.log_topics(life.partitions)).await?;
    Ok(life)
}

/// What the records say, and up to which version all topics are there.
fn life(written: &[Written]) -> Result<(Life, u32), StoreError> {
    let first = written.first().ok_or_else(|| StoreError::Damaged("no life of the log".to_owned()))?;
    if let Some(newer) = written.iter().map(|written| written.version).find(|version| *version > VERSION) {
        return Err(StoreError::Unfit(format!("the log has schema version {newer}, and this program knows {VERSION}")));
    }
    if first.partitioner != PARTITIONER {
        return Err(StoreError::Unfit(format!(
            "lanes are in partitions by `{}`, not {PARTITIONER}",
            first.partitioner
        )));
    }
    let log = first.log.parse().map_err(|_| StoreError::Damaged("the log's life has no id".to_owned()))?;
    let complete = written.iter().filter(|written| written.complete).map(|written| written.version).max();
    Ok((Life { log, partitions: first.partitions }, complete.unwrap_or_default()))
}

/// All records of the topic.
async fn read(connection: &Arc<Connection>, topics: &Topics) -> Result<Vec<Written>, StoreError> {
    let name = connection.life_topic();
    let client = topics.client();
    let (asked, place) = (Arc::clone(connection), (name.clone(), 0));
    let head = Shared::blocking(move || heads::ask(&client, &asked, &[place])).await?;
    let head = head.first().copied().unwrap_or(domain::stream::BEFORE_FIRST);
    let values = cursor::values(connection, &name, head).await?;
    let parse = |value: Vec<u8>| serde_json::from_slice(&value);
    let all: Result<Vec<_>, _> = values.into_iter().map(parse).collect();
    all.map_err(|error| StoreError::Damaged(format!("{name}: {error}")))
}

struct Writer {
    producer: producer::Producer,
    topic: String,
}

impl Writer {
    fn new(connection: &Arc<Connection>) -> Result<Self, StoreError> {
        let producer = producer::Producer::new(Arc::clone(connection))?;
        Ok(Self { producer, topic: connection.life_topic() })
    }

    async fn write(&self, written: &Written) -> Result<(), StoreError> {
        let value = serde_json::to_string(written).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let outgoing = producer::Outgoing { topic: &self.topic, partition: 0, key: KEY, value: &value };
        self.producer.append_one(outgoing, rdkafka::message::OwnedHeaders::new()).await.map(drop)
    }
}
