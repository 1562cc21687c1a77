//! What the log says: all of it, folded by the reference model.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::Partition;
use adapters::codec::{Codec, OpenError};
use adapters::event_log::{EventLog, Logged, Record, partition_of};
use domain::reference::Reference;
use domain::stream::BEFORE_FIRST;
use domain::{Event, Lane, Position, PostId, Topic, UserId, post};

use crate::progress::{Progress, Unit};

/// Events read at a time.
const PAGE: usize = 1000;
/// Events that are named; more are only counted.
const NAMED: usize = 100;

/// The end of every partition at one moment.
pub(super) type Heads = BTreeMap<Partition, i64>;

/// Reads the ends of all partitions.
pub(super) async fn heads(log: &dyn EventLog) -> Result<Heads, StoreError> {
    let mut heads = Heads::new();
    for topic in Topic::ALL {
        for number in 0..log.partitions() {
            heads.insert(Partition { topic, number }, log.head(topic, number).await?);
        }
    }
    Ok(heads)
}

/// The model, and up to where it has read.
pub(super) struct Model {
    /// What must be so.
    pub(super) reference: Reference,
    /// Who ever followed whom.
    pub(super) ever: HashSet<(UserId, UserId)>,
    /// How many people ever followed somebody.
    pub(super) ever_followed: HashMap<UserId, usize>,
    /// Where the newest event about each post is, its comments and reactions included, repeats too.
    pub(super) newest: HashMap<PostId, i64>,
    /// Posts that were imported: homes hold them at no offset, because they are news to nobody.
    pub(super) imported: HashSet<PostId>,
    /// How many events it has read.
    pub(super) events: u64,
    /// Events that the log should not hold, the first of them.
    pub(super) faults: Vec<String>,
    /// How many there are.
    pub(super) fault_count: u64,
    read: Heads,
    partitions: u16,
}

impl Model {
    /// Of a log with so many partitions; nothing read yet.
    pub(super) fn new(partitions: u16) -> Self {
        Self {
            reference: Reference::default(),
            ever: HashSet::new(),
            ever_followed: HashMap::new(),
            newest: HashMap::new(),
            imported: HashSet::new(),
            events: 0,
            faults: Vec::new(),
            fault_count: 0,
            read: Heads::new(),
            partitions,
        }
    }

    /// Reads on, up to `heads`.
    pub(super) async fn fold(&mut self, log: &dyn EventLog, codec: &Codec, heads: &Heads) -> Result<(), StoreError> {
        let missing = heads.iter().map(|(partition, head)| (head - self.read_of(*partition)).max(0) as u64).sum();
        let progress = Progress::new("folding the log", missing, Unit::Items);
        for (&partition, &head) in heads {
            let mut after = self.read_of(partition);
            while after < head {
                let Partition { topic, number } = partition;
                let page = log.read(topic, number, after, PAGE, Duration::ZERO).await?;
                // Offsets may have gaps, also before the head.
                let Some(last) = page.last().map(|logged| logged.position.offset) else { break };
                for logged in page.into_iter().filter(|logged| logged.position.offset <= head) {
                    self.take(codec, logged).await?;
                }
                progress.add((last.min(head) - after).max(0) as u64);
                after = last;
            }
            self.read.insert(partition, head.max(BEFORE_FIRST));
        }
        progress.finish();
        self.ever = self.reference.follows().map(|follow| (follow.from, follow.to)).collect();
        self.ever_followed.clear();
        for (_, to) in &self.ever {
            *self.ever_followed.entry(*to).or_default() += 1;
        }
        Ok(())
    }

    /// Where the lane of a post is.
    pub(super) fn partition_of_post(&self, post: PostId) -> u16 {
        partition_of(&Lane::post(post), self.partitions)
    }

    async fn take(&mut self, codec: &Codec, logged: Logged) -> Result<(), StoreError> {
        self.events += 1;
        let Logged { position, lane, record } = logged;
        if let Err(wrong) = self.apply(codec, position, record).await? {
            self.fault_count += 1;
            if self.faults.len() < NAMED {
                self.faults.push(format!("event {position} of lane {lane}: {wrong}"));
            }
        }
        Ok(())
    }

    /// Folds an event, or says why no log should hold it.
    async fn apply(
        &mut self,
        codec: &Codec,
        position: Position,
        record: Result<Record, String>,
    ) -> Result<Result<(), String>, StoreError> {
        let record = match record {
            Ok(record) => record,
            Err(damage) => return Ok(Err(damage)),
        };
        let mut envelope = match codec.parse(&record) {
            Ok(envelope) => envelope,
            Err(unreadable) => return Ok(Err(unreadable.to_string())),
        };
        match codec.open(&mut envelope).await {
            Ok(()) => {}
            Err(OpenError::Permanent(reason)) => return Ok(Err(format!("its text does not open: {reason}"))),
            // Nothing destroys keys yet, so nobody can have been erased.
            Err(OpenError::Erased) => return Ok(Err("its author's key is gone".to_owned())),
            Err(OpenError::Unavailable(error)) => return Err(error),
        }
        if let Some(post) = post_of(&envelope.event) {
            let newest = self.newest.entry(post).or_insert(BEFORE_FIRST);
            *newest = position.offset.max(*newest);
        }
        if let Event::Post(post::Event::Published(published)) = &envelope.event
            && published.imported
        {
            self.imported.insert(published.post);
        }
        Ok(self.reference.apply(&envelope, position.offset).map_err(|inconsistency| inconsistency.to_string()))
    }

    fn read_of(&self, partition: Partition) -> i64 {
        self.read.get(&partition).copied().unwrap_or(BEFORE_FIRST)
    }
}

fn post_of(event: &Event) -> Option<PostId> {
    match event {
        Event::Post(event) => Some(event.post()),
        Event::Comment(event) => Some(event.post()),
        Event::Reaction(event) => Some(event.subject().post),
        Event::User(_) | Event::Relation(_) => None,
    }
}
