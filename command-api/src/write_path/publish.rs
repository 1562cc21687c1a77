//! From outboxes to the log, where the log is not where the documents are.
//!
//! W3: whoever publishes a stream appends its whole outbox in order, and an event leaves the outbox only once the log
//! has acknowledged it. So n comes before n+1 whoever publishes, in however many processes; what happens twice is a
//! duplicate, which readers skip. Within a process one publishes a stream at a time, which avoids most duplicates.
//!
//! Whoever has just committed into an empty outbox knows what is in it and does not ask: all earlier events were in the
//! log by then. What others have committed since is theirs to publish, and if they were faster, what they have published
//! begins with these events.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adapters::StoreError;
use adapters::content::{Acknowledgement, Content, Outbox, Published};
use adapters::event_log::Record;
use adapters::http::clock;
use domain::{Position, StreamId};
use tokio::sync::{Mutex, MutexGuard, Semaphore, mpsc, oneshot};

use super::LateLog;

/// How long an answer waits for the log.
const PATIENCE: Duration = Duration::from_millis(100);
/// Streams that commands publish at one time; beyond, the relay does it.
const DIRECT: usize = 512;
/// How long commands leave a log alone that has just failed.
const BREATHER_MILLIS: i64 = 1000;
/// Locks for streams: two streams with one lock wait for each other, which costs time and nothing else.
const LOCKS: usize = 1024;
/// Acknowledgements that are taken out of outboxes together.
const ACKNOWLEDGED_AT_ONCE: usize = 256;

/// Publishes outboxes; shared by commands and the relay.
#[derive(Clone)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    content: Arc<dyn Content>,
    event_log: LateLog,
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
    direct: Arc<Semaphore>,
    /// When an append last failed, in milliseconds.
    failed_at: AtomicI64,
    acknowledgements: OnceLock<mpsc::Sender<Pending>>,
}

/// An acknowledgement on its way, and who waits for it.
type Pending = (Acknowledgement, oneshot::Sender<bool>);

impl Publisher {
    pub(super) fn new(content: Arc<dyn Content>, event_log: LateLog) -> Self {
        let shared = Shared {
            content,
            event_log,
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            direct: Arc::new(Semaphore::new(DIRECT)),
            failed_at: AtomicI64::new(i64::MIN),
            acknowledgements: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The truth, to be asked for outboxes.
    pub(crate) fn content(&self) -> &dyn Content {
        self.shared.content.as_ref()
    }

    /// Publishes a stream whose event `sequence` has just been committed, and answers where it or a later one is, if
    /// the log says so in time. It is published also if nobody waits any more. `waiting` is the whole outbox as the
    /// commit has left it, where that is known.
    pub(crate) async fn publish(
        &self,
        stream: StreamId,
        sequence: u64,
        waiting: Option<Vec<Record>>,
    ) -> Option<Position> {
        let failed_at = self.shared.failed_at.load(Ordering::Relaxed);
        if clock::now().as_millis() < failed_at.saturating_add(BREATHER_MILLIS) {
            return None;
        }
        let permit = Arc::clone(&self.shared.direct).try_acquire_owned().ok()?;
        let (found, position) = oneshot::channel();
        let publisher = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = publisher.publish_stream(stream, waiting, found).await {
                tracing::warn!(%error, %stream, "an outbox is left to the relay");
            }
        });
        let published = tokio::time::timeout(PATIENCE, position).await.ok()?.ok()?;
        (published.sequence >= sequence).then_some(published.position)
    }

    /// Publishes what a stream's outbox has. Tells `found` where its newest event is as soon as the log has answered.
    async fn publish_stream(
        &self,
        stream: StreamId,
        waiting: Option<Vec<Record>>,
        found: oneshot::Sender<Published>,
    ) -> Result<(), StoreError> {
        let _lock = self.shared.locks[self.lock_of(stream)].lock().await;
        let records = match waiting {
            Some(records) => records,
            None => self.shared.content.outbox(stream).await?,
        };
        let published = match self.append(records).await? {
            Some((published, events)) => {
                let acknowledgement = Acknowledgement { stream, events, published };
                // Whoever waited may have gone.
                let _ = found.send(published);
                // Before the lock is given up: the next publisher finds none of these in the outbox.
                self.acknowledge(acknowledgement).await;
                return Ok(());
            }
            // Somebody else was faster.
            None => self.shared.content.published(stream).await?,
        };
        if let Some(published) = published {
            let _ = found.send(published);
        }
        Ok(())
    }

    /// Publishes many outboxes with one append, each stream's in order. Nobody else of this process publishes them
    /// meanwhile.
    pub(crate) async fn publish_together(&self, streams: &[StreamId]) -> Result<usize, StoreError> {
        let _locks = self.lock_all(streams).await;
        let mut outboxes = Vec::with_capacity(streams.len());
        for stream in streams {
            // Again, now that nobody else takes from them: most were emptied by commands meanwhile.
            outboxes.push(Outbox { stream: *stream, records: self.shared.content.outbox(*stream).await? });
        }
        outboxes.retain(|outbox| !outbox.records.is_empty());
        let records: Vec<Record> = outboxes.iter().flat_map(|outbox| outbox.records.iter().cloned()).collect();
        let positions = self.append_all(records).await?;
        let mut positions = positions.into_iter();
        let mut acknowledgements = Vec::with_capacity(outboxes.len());
        for Outbox { stream, records } in outboxes {
            let position = positions.by_ref().take(records.len()).last();
            let Some((published, events)) = summary(&records, position) else { continue };
            acknowledgements.push(Acknowledgement { stream, events, published });
        }
        let count = acknowledgements.len();
        self.shared.content.acknowledge(acknowledgements).await?;
        Ok(count)
    }

    async fn append(&self, records: Vec<Record>) -> Result<Option<(Published, Vec<domain::EventId>)>, StoreError> {
        let positions = self.append_all(records.clone()).await?;
        Ok(summary(&records, positions.last().copied()))
    }

    async fn append_all(&self, records: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let count = records.len();
        let appended = self.shared.event_log.append(records).await;
        if appended.is_err() {
            self.shared.failed_at.store(clock::now().as_millis(), Ordering::Relaxed);
        }
        let positions = appended?;
        if positions.len() == count {
            return Ok(positions);
        }
        Err(StoreError::Damaged(format!("the log has answered {} positions for {count} events", positions.len())))
    }

    /// Takes events out of an outbox, together with whatever others are acknowledged at the moment. Where that fails,
    /// they stay and are published again.
    async fn acknowledge(&self, acknowledgement: Acknowledgement) {
        let sender = self.shared.acknowledgements.get_or_init(|| {
            let (sender, queue) = mpsc::channel(ACKNOWLEDGED_AT_ONCE);
            tokio::spawn(acknowledge_in_groups(Arc::clone(&self.shared.content), queue));
            sender
        });
        let (done, waiting) = oneshot::channel();
        if sender.send((acknowledgement, done)).await.is_ok() {
            let _ = waiting.await;
        }
    }

    fn lock_of(&self, stream: StreamId) -> usize {
        let mut hasher = self.shared.hasher.build_hasher();
        std::hash::Hash::hash(&stream, &mut hasher);
        usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0)
    }

    /// In the order of the locks, so that two who want several never wait for each other.
    async fn lock_all(&self, streams: &[StreamId]) -> Vec<MutexGuard<'_, ()>> {
        let mut indices: Vec<usize> = streams.iter().map(|stream| self.lock_of(*stream)).collect();
        indices.sort_unstable();
        indices.dedup();
        let mut guards = Vec::with_capacity(indices.len());
        for index in indices {
            guards.push(self.shared.locks[index].lock().await);
        }
        guards
    }
}

/// The newest of a stream's events and all their ids, if there are any.
fn summary(records: &[Record], last: Option<Position>) -> Option<(Published, Vec<domain::EventId>)> {
    let newest = records.last()?.attributes.sequence;
    let events = records.iter().map(|record| record.attributes.id).collect();
    Some((Published { sequence: newest, position: last? }, events))
}

async fn acknowledge_in_groups(content: Arc<dyn Content>, mut queue: mpsc::Receiver<Pending>) {
    let mut group = Vec::new();
    while queue.recv_many(&mut group, ACKNOWLEDGED_AT_ONCE).await > 0 {
        let (acknowledgements, waiting): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        let done = content.acknowledge(acknowledgements).await;
        if let Err(error) = &done {
            tracing::warn!(%error, "published events are still in their outboxes and will be published again");
        }
        for waiting in waiting {
            let _ = waiting.send(done.is_ok());
        }
    }
}
