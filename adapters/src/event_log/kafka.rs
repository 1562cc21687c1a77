//! [`EventLog`] in Kafka.
//!
//! A record is durable once all replicas in sync have it (`acks=all`; how many there must be is a setting of the topics,
//! which is checked at the start). Readers see no record before that, and see a partition's records in the order of
//! their offsets, which one leader at a time gives out: so nothing ever appears below what was read (W6).
//!
//! - [`producer`]: appending, one record of a lane at a time (W3).
//! - [`cursor`], [`cursors`], [`heads`]: reading from anywhere, and waiting for what is new. The process's own appends
//!   wake those who wait; others' are noticed by asking for the newest offsets, ten times a second, while somebody waits.
//! - [`membership`]: sharing the partitions among processes. Members read with a client of their own, which the servers
//!   wake.
//! - [`life`], [`topics`]: setting up, and refusing what would lose events.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use domain::{LogId, Position, Topic};
use rdkafka::consumer::BaseConsumer;
use tokio::time::{Instant, MissedTickBehavior};

use super::{EventLog, Logged, Membership, Record};
use crate::StoreError;
use crate::checkpoints::Partition;
use crate::stores::Migration;
use crate::url::StoreUrl;

mod connection;
mod cursor;
mod cursors;
mod heads;
mod life;
mod membership;
mod producer;
mod records;
#[cfg(test)]
mod tests;
mod topics;

use connection::{Connection, Context, drop_elsewhere, failed};
use cursor::Source;
use cursors::Cursors;
use heads::Heads;
use life::Life;
use membership::Member;
use producer::Producer;

/// How late another process's append is noticed by those who wait outside a group.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The adapter.
#[derive(Clone)]
pub struct KafkaEventLog {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Arc<Connection>,
    life: Life,
    producer: Producer,
    /// Answers questions about offsets, and reads nothing.
    client: Arc<BaseConsumer<Context>>,
    heads: Heads,
    cursors: Cursors,
}

impl KafkaEventLog {
    /// Makes the topics of a log with `partitions` partitions each, unless there is a log, which keeps its own number.
    ///
    /// # Errors
    /// The servers are not as needed or not there, a topic is not as it must be, or the log is of a newer version.
    pub async fn migrate(url: &StoreUrl, partitions: u16) -> Result<Migration, StoreError> {
        life::migrate(&Arc::new(Connection::new(url)?), partitions).await
    }

    /// Opens the log at `url`.
    ///
    /// # Errors
    /// There is none, the servers are not there, or a topic is not as it must be.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        let connection = Arc::new(Connection::new(url)?);
        let life = life::open(&connection).await?;
        let client = connection.asking().create_with_context(connection.context.clone()).map_err(failed)?;
        let shared = Arc::new(Shared {
            life,
            producer: Producer::new(Arc::clone(&connection))?,
            client: Arc::new(client),
            heads: Heads::new(life.partitions),
            cursors: Cursors::new(Arc::clone(&connection)),
            connection,
        });
        tokio::spawn(look(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }
}

impl fmt::Debug for KafkaEventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaEventLog({}, {:?})", self.shared.connection, self.shared.life)
    }
}

#[async_trait]
impl EventLog for KafkaEventLog {
    fn id(&self) -> LogId {
        self.shared.life.log
    }

    fn partitions(&self) -> u16 {
        self.shared.life.partitions
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        let Life { log, partitions } = self.shared.life;
        let places = self.shared.producer.append(partitions, &records).await?;
        let positions = records.iter().zip(places).map(|(record, (partition, offset))| {
            self.shared.heads.announce(Partition { topic: record.topic, number: partition }, offset);
            Position { log, topic: record.topic, partition, offset }
        });
        Ok(positions.collect())
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u16,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        self.shared.read(Partition { topic, number: partition }, after, limit, wait).await
    }

    async fn head(&self, topic: Topic, partition: u16) -> Result<i64, StoreError> {
        self.shared.head(Partition { topic, number: partition }).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Membership>, StoreError> {
        // A member that cannot reach anybody would wait in silence.
        if let Some(topic) = topics.first() {
            self.head(*topic, 0).await?;
        }
        Ok(Box::new(Member::join(Arc::clone(&self.shared), group, topics)?))
    }
}

impl Shared {
    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        let mut head = self.heads.of(partition)?.subscribe();
        let deadline = Instant::now() + wait;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let _awaiting = (!wait.is_zero()).then(|| self.heads.awaits(partition));
        loop {
            // Seen before the question, so that what comes after the answer is news.
            let known = *head.borrow_and_update();
            if after < known || after < self.head(partition).await? {
                let page = self.cursors.read(self.source(partition), after, limit).await?;
                if !page.is_empty() {
                    return Ok(page);
                }
            }
            // What the answer itself has announced is no news.
            let newest = *head.borrow_and_update();
            if after < newest && after >= known {
                continue;
            }
            if !matches!(tokio::time::timeout_at(deadline, head.changed()).await, Ok(Ok(()))) {
                return Ok(Vec::new());
            }
        }
    }

    async fn head(&self, partition: Partition) -> Result<i64, StoreError> {
        self.heads.of(partition)?;
        Ok(self.ask(vec![partition]).await?.first().copied().unwrap_or(domain::stream::BEFORE_FIRST))
    }

    /// Asks for the newest offsets, and tells those who wait for them.
    async fn ask(&self, partitions: Vec<Partition>) -> Result<Vec<i64>, StoreError> {
        let named = partitions.iter().map(|partition| (self.connection.topic(partition.topic), partition.number));
        let (named, client, connection) =
            (named.collect::<Vec<_>>(), Arc::clone(&self.client), Arc::clone(&self.connection));
        let heads = Self::blocking(move || heads::ask(&client, &connection, &named)).await?;
        for (partition, head) in partitions.iter().zip(&heads) {
            self.heads.announce(*partition, *head);
        }
        Ok(heads)
    }

    fn source(&self, partition: Partition) -> Source {
        let Partition { topic, number } = partition;
        Source { log: self.life.log, topic, partition: number, name: self.connection.topic(topic) }
    }

    /// The library's questions block.
    async fn blocking<T: Send + 'static>(
        ask: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answered = tokio::task::spawn_blocking(ask).await;
        answered.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("kafka: {error}"))))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop_elsewhere(Arc::clone(&self.client));
    }
}

/// Notices what other processes append, as long as somebody waits for it.
async fn look(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        // What the client tells beside is heard here.
        while shared.client.poll(Duration::ZERO).is_some() {}
        shared.cursors.tidy();
        let awaited = shared.heads.awaited();
        if awaited.is_empty() {
            continue;
        }
        let asked = shared.ask(awaited).await;
        // Once per failure, not for every look.
        if let Err(error) = &asked
            && !failing
        {
            tracing::warn!(%error, "cannot see whether other processes have appended to the log");
        }
        failing = asked.is_err();
    }
}
