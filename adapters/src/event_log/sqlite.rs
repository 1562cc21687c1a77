//! [`EventLog`] in the truth's file.
//!
//! One transaction writes at a time and takes the next offsets of its partitions, so a reader that sees an offset
//! sees every lower one (W6), and none is skipped. Readers of this process are woken by the commit itself; what other
//! processes commit is noticed by a look at the file's version, ten times a second.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use domain::{LogId, Position, Topic};
use rusqlite::Connection;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::{EventLog, Logged, Membership, Record, partition_of};
use crate::StoreError;
use crate::sqlite::{Database, Watch};

mod membership;
pub(crate) mod rows;
#[cfg(test)]
mod tests;

use rows::Place;

/// How late another process's commit is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What one read takes into memory, beside its first record.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// The adapter.
#[derive(Clone, Debug)]
pub struct SqliteEventLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    db: Arc<Database>,
    appender: Appender,
    watch: Mutex<Watch>,
}

impl SqliteEventLog {
    /// In the truth's file ([`TRUTH`](crate::sqlite::TRUTH)). A new log gets `partitions` of every topic; one that is
    /// there keeps its own number.
    ///
    /// # Errors
    /// The file cannot be used, or `partitions` is 0.
    pub async fn open(db: Arc<Database>, partitions: u16) -> Result<Self, StoreError> {
        let log = Self::open_deaf(db, partitions).await?;
        log.shared.look()?;
        tokio::spawn(look_for_others(Arc::downgrade(&log.shared)));
        Ok(log)
    }

    /// One that does not notice what other processes append.
    pub(crate) async fn open_deaf(db: Arc<Database>, partitions: u16) -> Result<Self, StoreError> {
        let fresh = LogId(rand::random());
        let (log, partitions) = db.write(move |connection| life(connection, fresh, partitions)).await?;
        let watch = Mutex::new(db.watch()?);
        Ok(Self { shared: Arc::new(Shared { db, appender: Appender::new(log, partitions), watch }) })
    }

    /// What appends inside a transaction of somebody else.
    pub(crate) fn appender(&self) -> Appender {
        self.shared.appender.clone()
    }

    /// The file that it is in.
    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.shared.db
    }
}

#[async_trait]
impl EventLog for SqliteEventLog {
    fn id(&self) -> LogId {
        self.shared.appender.log
    }

    fn partitions(&self) -> u16 {
        self.shared.appender.partitions
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let (appender, announcer) = (self.appender(), self.appender());
        let append = move |connection: &Connection| appender.append_in(connection, &records);
        self.shared.db.write_then(append, move |positions| announcer.announce(positions)).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u16,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        let mut head = self.shared.appender.head(topic, partition)?.subscribe();
        let deadline = Instant::now() + wait;
        loop {
            // Seen before the query, so that what comes after the query is news.
            head.borrow_and_update();
            let place = Position { log: self.id(), topic, partition, offset: after };
            let page = self.shared.db.read(|connection| page(connection, place, limit)).await?;
            if !page.is_empty() || limit == 0 {
                return Ok(page);
            }
            if !matches!(tokio::time::timeout_at(deadline, head.changed()).await, Ok(Ok(()))) {
                return Ok(Vec::new());
            }
        }
    }

    async fn head(&self, topic: Topic, partition: u16) -> Result<i64, StoreError> {
        self.shared.appender.head(topic, partition)?;
        self.shared.db.read(|connection| rows::head(connection, topic, partition)).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Membership>, StoreError> {
        membership::join(self, group, topics).await
    }
}

/// The log's identity and partitions: what is stored, or, in a new file, what is given.
fn life(connection: &Connection, fresh: LogId, partitions: u16) -> Result<(LogId, u16), StoreError> {
    let insert = "INSERT INTO log (only, id, partitions) VALUES (1, ?1, ?2) ON CONFLICT (only) DO NOTHING";
    connection.execute(insert, (fresh.0.cast_signed(), partitions))?;
    let stored = connection.query_row("SELECT id, partitions FROM log", [], |row| Ok((row.get(0)?, row.get(1)?)));
    let (log, partitions): (i64, u16) = stored?;
    Ok((LogId(log.cast_unsigned()), partitions))
}

fn page(connection: &Connection, after: Position, limit: usize) -> Result<Vec<Logged>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT lane, event_id, type, version, subject, sequence, time, actor, correlation_id, causation_id, data, place
         FROM events WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3",
    )?;
    let Position { log, topic, partition, offset } = after;
    let end = Place::of(topic, partition, i64::MAX).0;
    let mut rows =
        statement.query((Place::of(topic, partition, offset).0, end, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while bytes <= READ_BYTES
        && let Some(row) = rows.next()?
    {
        let place = Place(row.get(11)?);
        let record = rows::read(row, topic);
        bytes += record.as_ref().map_or(0, |record| record.data.len());
        let Some(position) = place.position(log) else { continue };
        page.push(Logged { position, lane: rows::lane(row)?, record });
    }
    Ok(page)
}

/// Appends inside anybody's transaction on the log's file, and tells readers once that is committed.
#[derive(Clone, Debug)]
pub(crate) struct Appender {
    log: LogId,
    partitions: u16,
    /// Offset of each partition's newest record, as far as this process knows: partition by partition, topic by topic.
    heads: Arc<[watch::Sender<i64>]>,
}

impl Appender {
    fn new(log: LogId, partitions: u16) -> Self {
        let count = Topic::WITH_CANARIES.len() * usize::from(partitions);
        let heads = (0..count).map(|_| watch::Sender::new(domain::stream::BEFORE_FIRST)).collect();
        Self { log, partitions, heads }
    }

    /// Appends in order and answers where the records will be once the transaction is committed; then
    /// [`Self::announce`] must be called.
    pub(crate) fn append_in(&self, connection: &Connection, records: &[Record]) -> Result<Vec<Position>, StoreError> {
        let append = |record: &Record| {
            let partition = partition_of(&record.lane, self.partitions);
            let place = rows::append(connection, partition, record)?;
            let within = place.position(self.log).filter(|position| position.partition == partition);
            within.ok_or_else(|| StoreError::Damaged(format!("{} partition {partition} is full", record.topic)))
        };
        records.iter().map(append).collect()
    }

    /// Wakes those who wait for records at `positions`, which are committed.
    pub(crate) fn announce(&self, positions: &[Position]) {
        for position in positions {
            if let Ok(head) = self.head(position.topic, position.partition) {
                // Another process's commit may have been noticed before ours was announced.
                head.send_if_modified(|head| {
                    let is_news = position.offset > *head;
                    *head = position.offset.max(*head);
                    is_news
                });
            }
        }
    }

    /// What tells of a partition's newest record.
    fn head(&self, topic: Topic, partition: u16) -> Result<&watch::Sender<i64>, StoreError> {
        let topic_index = Topic::WITH_CANARIES.iter().position(|other| *other == topic).unwrap_or_default();
        let index = topic_index * usize::from(self.partitions) + usize::from(partition);
        let head = if partition < self.partitions { self.heads.get(index) } else { None };
        head.ok_or_else(|| StoreError::Damaged(format!("{topic} has {} partitions, not {partition}", self.partitions)))
    }
}

impl Shared {
    /// Notices what other processes have committed.
    fn look(&self) -> Result<(), StoreError> {
        let Appender { log, partitions, .. } = self.appender;
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let heads = watch.look(|connection| {
            let all = Topic::WITH_CANARIES
                .into_iter()
                .flat_map(|topic| (0..partitions).map(move |partition| (topic, partition)));
            let head = |(topic, partition)| {
                let offset = rows::head(connection, topic, partition)?;
                Ok(Position { log, topic, partition, offset })
            };
            all.map(head).collect::<Result<Vec<_>, StoreError>>()
        })?;
        self.appender.announce(&heads.unwrap_or_default());
        Ok(())
    }
}

async fn look_for_others(log: Weak<Shared>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let Some(log) = log.upgrade() else { return };
        let looked = log.look();
        // Once per failure, not ten times a second.
        if let Err(error) = &looked
            && !failing
        {
            tracing::warn!(%error, "cannot see whether other processes have appended to the log");
        }
        failing = looked.is_err();
    }
}
