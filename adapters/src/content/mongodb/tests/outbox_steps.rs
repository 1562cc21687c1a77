//! W1, W2 and W3 between the writes of one operation: processes that write a stream and publish its events end there, or
//! sleep there while others write and publish, and send what arrives when nobody expects it any more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use domain::{EventId, LogId, Position, StreamId, Timestamp, Topic};
use mongodb::bson::{Document as Bson, doc};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::task::JoinHandle;

use super::*;
use crate::content::contract::{NOW, commit, events, post};
use crate::event_log::Record;
use crate::mongodb::testing::wire::{Held, Late, Wire};
use crate::property::for_some;

const PROCESSES: usize = 3;

#[derive(Clone, Debug)]
enum Happens {
    /// A process's next call goes through; one that is idle begins something.
    Goes(usize, Begins),
    /// A process's next call is not heard of: it is done, or arrives later.
    Fails(usize, bool),
    /// A process ends.
    Ends(usize),
    /// A call arrives that was taken for lost.
    Arrives(Index),
}

#[derive(Clone, Copy, Debug)]
enum Begins {
    Write(usize),
    Publish(usize),
    Sweep,
}

fn schedule() -> impl Strategy<Value = Vec<Happens>> {
    let begins = prop_oneof![
        3 => (0..3usize).prop_map(Begins::Write),
        3 => (1..5usize).prop_map(Begins::Publish),
        1 => Just(Begins::Sweep),
    ];
    let process = || 0..PROCESSES;
    let happens = prop_oneof![
        20 => (process(), begins).prop_map(|(process, begins)| Happens::Goes(process, begins)),
        2 => (process(), any::<bool>()).prop_map(|(process, arrives)| Happens::Fails(process, arrives)),
        1 => process().prop_map(Happens::Ends),
        1 => any::<Index>().prop_map(Happens::Arrives),
    ];
    proptest::collection::vec(happens, 40..120)
}

/// What the processes have done besides: what they wanted to write, and the log.
#[derive(Default)]
struct Ledger {
    begun: Vec<Commit>,
    log: Vec<Record>,
    clock: i64,
}

impl Ledger {
    fn now(&mut self) -> Timestamp {
        self.clock += 1;
        NOW.plus_millis(self.clock)
    }

    fn append(&mut self, stream: StreamId, records: Vec<Record>) -> Option<Acknowledgement> {
        let sequence = records.last()?.attributes.sequence;
        let events = records.iter().map(|record| record.attributes.id).collect();
        self.log.extend(records);
        let offset = i64::try_from(self.log.len()).unwrap() - 1;
        let position = Position { log: LogId(1), topic: Topic::Posts, partition: 0, offset };
        Some(Acknowledgement { stream, events, published: Published { sequence, position } })
    }
}

async fn run(
    content: MongoContent,
    stream: StreamId,
    ledger: Arc<Mutex<Ledger>>,
    begins: Begins,
) -> Result<(), StoreError> {
    let mut outboxes = match begins {
        Begins::Write(count) => loop {
            let found = content.load(stream).await?;
            let (revision, sequence) = found.map_or((0, 0), |found| (found.revision, found.sequence));
            let commit = {
                let mut ledger = ledger.lock().unwrap();
                let commit = Commit { at: ledger.now(), ..commit(stream, revision, events(stream, sequence, count)) };
                ledger.begun.push(commit.clone());
                commit
            };
            match content.commit(commit).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        },
        Begins::Publish(count) => {
            let mut records = content.outbox(stream).await?;
            records.truncate(count);
            vec![Outbox { stream, records }]
        }
        Begins::Sweep => content.pending_outboxes(Timestamp::from_millis(i64::MAX), 10).await?,
    };
    outboxes.retain(|outbox| outbox.stream == stream);
    let append = |outbox: Outbox| ledger.lock().unwrap().append(outbox.stream, outbox.records);
    let acknowledgements: Vec<Acknowledgement> = outboxes.into_iter().filter_map(append).collect();
    content.acknowledge(acknowledgements).await
}

struct Running {
    task: JoinHandle<Result<(), StoreError>>,
    held: Held,
}

struct Process {
    wire: Wire,
    content: MongoContent,
    running: Option<Running>,
}

struct World<'a> {
    processes: Vec<Process>,
    observer: &'a MongoContent,
    stream: StreamId,
    ledger: Arc<Mutex<Ledger>>,
    late: Vec<Late>,
    revision: u64,
    events: Vec<Record>,
    published: Option<Published>,
}

fn ids(records: &[Record]) -> Vec<EventId> {
    records.iter().map(|record| record.attributes.id).collect()
}

impl World<'_> {
    async fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Goes(process, begins) => match self.processes[process].running.take() {
                Some(running) => self.step(process, running, None).await,
                None => {
                    let content = self.processes[process].content.clone();
                    let task = tokio::spawn(run(content, self.stream, Arc::clone(&self.ledger), begins));
                    self.settle(process, task, false).await;
                }
            },
            Happens::Fails(process, arrives) => {
                if let Some(running) = self.processes[process].running.take() {
                    self.step(process, running, Some(arrives)).await;
                }
            }
            Happens::Ends(process) => {
                if let Some(running) = self.processes[process].running.take() {
                    running.task.abort();
                }
            }
            Happens::Arrives(which) => {
                if !self.late.is_empty() {
                    self.late.swap_remove(which.index(self.late.len())).arrives(&self.observer.database).await;
                    self.look().await;
                }
            }
        }
    }

    async fn step(&mut self, process: usize, running: Running, lost: Option<bool>) {
        let Running { task, held } = running;
        let is_write = held.is_write();
        match lost {
            None => held.goes_on().await,
            Some(false) => held.goes_unheard().await,
            Some(true) => {
                let late = held.gets_lost().await;
                if is_write {
                    self.late.push(late);
                }
            }
        }
        if is_write {
            self.look().await;
        }
        self.settle(process, task, lost.is_some()).await;
    }

    async fn settle(&mut self, process: usize, mut task: JoinHandle<Result<(), StoreError>>, failed: bool) {
        match self.processes[process].wire.settled(&mut task).await {
            Ok(held) => self.processes[process].running = Some(Running { task, held }),
            Err(outcome) => assert!(outcome.is_ok() || failed, "{outcome:?}"),
        }
    }

    /// What can be seen of the stream is what has been written and not left, and whoever looks for it finds it.
    async fn look(&mut self) {
        let Some(document) = self.observer.load(self.stream).await.unwrap() else { return };
        if document.revision != self.revision {
            let ledger = self.ledger.lock().unwrap();
            let decided =
                |commit: &&Commit| (commit.expected_revision, &commit.state) == (self.revision, &document.state);
            let commit = ledger.begun.iter().find(decided).expect("W2: somebody decided this on what was there");
            self.events.extend(commit.records.iter().cloned());
            self.revision += 1;
        }
        assert_eq!((document.revision, document.sequence), (self.revision, self.events.len() as u64));

        let waiting = self.observer.outbox(self.stream).await.unwrap();
        let there: BTreeSet<EventId> = ids(&waiting).into_iter().collect();
        let left: Vec<&Record> = self.events.iter().filter(|record| !there.contains(&record.attributes.id)).collect();
        let in_order = self.events.iter().filter(|record| there.contains(&record.attributes.id));
        assert_eq!(waiting, in_order.cloned().collect::<Vec<_>>(), "W3");
        let published = self.observer.published(self.stream).await.unwrap();
        {
            let ledger = self.ledger.lock().unwrap();
            let logged: BTreeSet<EventId> = ids(&ledger.log).into_iter().collect();
            for record in left {
                assert!(logged.contains(&record.attributes.id), "W1: {record:?} has left");
                let is_said = published.is_some_and(|said| said.sequence >= record.attributes.sequence);
                assert!(is_said, "it has left, and nobody knows where it is");
            }
            if let Some(Published { sequence, position }) = published {
                assert_eq!(ledger.log[usize::try_from(position.offset).unwrap()].attributes.sequence, sequence);
            }
        }
        let sequence = |published: Option<Published>| published.map(|published| published.sequence);
        assert!(sequence(published) >= sequence(self.published), "it goes back");
        self.published = published;
        if waiting.is_empty() {
            return;
        }
        let now = self.ledger.lock().unwrap().now();
        let pending = self.observer.pending_outboxes(now, 100).await.unwrap();
        assert!(pending.contains(&Outbox { stream: self.stream, records: waiting }), "the relay does not find it");
        let raw = self.raw().await;
        let bytes = |event: &mongodb::bson::Bson| event.as_document().unwrap().get_i64("bytes").unwrap();
        let bytes: i64 = raw.get_array("outbox").unwrap().iter().map(bytes).sum();
        assert!(raw.get_i64("outbox_bytes").unwrap() >= bytes, "more waits than it says");
    }

    async fn raw(&self) -> Bson {
        let documents = self.observer.documents().clone_with_type::<Bson>();
        documents.find_one(doc! { "_id": self.stream.to_string() }).await.unwrap().unwrap()
    }

    /// All come to their ends, and all arrives. Then one process alone publishes what is left.
    async fn finish(mut self) {
        for process in 0..self.processes.len() {
            while let Some(running) = self.processes[process].running.take() {
                self.step(process, running, None).await;
            }
        }
        for late in std::mem::take(&mut self.late) {
            late.arrives(&self.observer.database).await;
            self.look().await;
        }
        if self.revision == 0 {
            return;
        }
        let far = Timestamp::from_millis(i64::MAX);
        loop {
            run(self.observer.clone(), self.stream, Arc::clone(&self.ledger), Begins::Sweep).await.unwrap();
            let mut pending = self.observer.pending_outboxes(far, 100).await.unwrap();
            pending.retain(|outbox| outbox.stream == self.stream);
            if pending.is_empty() {
                break;
            }
        }
        self.look().await;
        assert_eq!(self.observer.outbox(self.stream).await.unwrap(), [], "W1: all of it is in the log");
        let mut seen = BTreeSet::new();
        let log = std::mem::take(&mut self.ledger.lock().unwrap().log);
        let first: Vec<Record> = log.into_iter().filter(|record| seen.insert(record.attributes.id)).collect();
        assert_eq!(first, self.events, "W3");
        let raw = self.raw().await;
        assert!(["outbox", "outbox_since", "outbox_bytes"].iter().all(|field| !raw.contains_key(field)), "{raw}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_reach_the_log_in_order_whoever_ends_or_sleeps_at_any_step() {
    let place = Place::new();
    MongoContent::migrate(&place.url()).await.unwrap();
    let observer = MongoContent::open(&place.url()).await.unwrap();
    for_some(32, schedule(), async |generation, schedule| {
        let mut processes = Vec::new();
        for _ in 0..PROCESSES {
            let wire = Wire::to(&place).await;
            wire.run_backwards(generation.0 % 2 == 0);
            let content = MongoContent { database: wire.database().await };
            processes.push(Process { wire, content, running: None });
        }
        let mut world = World {
            processes,
            observer: &observer,
            stream: StreamId::Post(post(generation.0 as u16)),
            ledger: Arc::default(),
            late: Vec::new(),
            revision: 0,
            events: Vec::new(),
            published: None,
        };
        for next in schedule {
            world.happens(next).await;
        }
        world.finish().await;
    });
}

/// W1: between the two updates of which one can apply, the outbox is emptied. What is pushed now must be found, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_into_an_outbox_at_the_moment_it_is_emptied_is_found() {
    let place = Place::new();
    MongoContent::migrate(&place.url()).await.unwrap();
    let others = MongoContent::open(&place.url()).await.unwrap();
    let mut wire = Wire::to(&place).await;
    let sleeper = MongoContent { database: wire.database().await };
    let (stream, mut ledger) = (StreamId::Post(post(1)), Ledger::default());
    let records = events(stream, 0, 2);
    others.commit(commit(stream, 0, records[..1].to_vec())).await.unwrap();
    let second = commit(stream, 1, records[1..].to_vec());
    let mut commits = tokio::spawn(async move { sleeper.commit(second).await });
    wire.settled(&mut commits).await.ok().unwrap().goes_on().await;
    let mut held = wire.settled(&mut commits).await.ok().unwrap();
    others.acknowledge(ledger.append(stream, records[..1].to_vec()).into_iter().collect()).await.unwrap();
    let committed = loop {
        held.goes_on().await;
        match wire.settled(&mut commits).await {
            Ok(next) => held = next,
            Err(outcome) => break outcome.unwrap(),
        }
    };
    assert_eq!((committed.revision, committed.sequence), (2, 2));
    let pending = others.pending_outboxes(Timestamp::from_millis(i64::MAX), 10).await.unwrap();
    assert_eq!(pending, [Outbox { stream, records: records[1..].to_vec() }]);
}
