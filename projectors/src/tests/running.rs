//! The runtime on the embedded stores: order, checkpoints, stalls, parking, draining, foreign logs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{Build, Checkpoints, Generation, Partition, SqliteCheckpoints};
use adapters::codec::Codec;
use adapters::content::{Content, SqliteContent};
use adapters::event_log::{EventLog, Record, SqliteEventLog};
use adapters::secrets::Secrets;
use adapters::sqlite::{Database, Durability, READ_MODELS, TRUTH};
use async_trait::async_trait;
use domain::event::Schema;
use domain::{Event, Lane, LogId, Position, PostId, StreamId, Topic, UserId, reaction};
use tokio::sync::watch;

use super::fixture::{envelope, id};
use crate::projection::{ApplyError, Projection, Recorded};
use crate::runtime::{Runtime, RuntimePorts, Settings, State};

const NAME: &str = "probe";
const FOREVER: Duration = Duration::from_secs(60);

/// A projection that remembers what it was given and misbehaves when told to.
#[derive(Default)]
struct Probe {
    applied: Mutex<Vec<(PostId, u64)>>,
    seen: watch::Sender<usize>,
    /// The next so many calls fail as a store does.
    failures: Mutex<u32>,
    /// Events (post and sequence) that break a rule.
    refused: Mutex<HashSet<(PostId, u64)>>,
    /// Events whose handling panics.
    panics: Mutex<HashSet<(PostId, u64)>>,
}

fn key(event: &Recorded) -> (PostId, u64) {
    match &event.envelope.event {
        Event::Reaction(reaction) => (reaction.subject().post, event.envelope.sequence),
        other => panic!("only reactions are appended here: {other:?}"),
    }
}

#[async_trait]
impl Projection for Probe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Posts]
    }

    fn opens_text(&self) -> bool {
        true
    }

    async fn apply(&self, _: Generation, events: &[Recorded]) -> Result<(), ApplyError> {
        {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(StoreError::Unavailable("made to fail".to_owned()).into());
            }
        }
        for event in events {
            let key = key(event);
            let panics = self.panics.lock().unwrap().contains(&key);
            assert!(!panics, "made to panic");
            if self.refused.lock().unwrap().contains(&key) {
                let offset = event.position.offset;
                return Err(ApplyError::Permanent { offset, reason: "made to refuse".to_owned() });
            }
        }
        // All or nothing, so that what was applied twice shows.
        self.applied.lock().unwrap().extend(events.iter().map(key));
        self.seen.send_replace(self.applied.lock().unwrap().len());
        Ok(())
    }
}

impl Probe {
    fn of(&self, post: PostId) -> Vec<u64> {
        let applied = self.applied.lock().unwrap();
        applied.iter().filter(|(of, _)| *of == post).map(|(_, sequence)| *sequence).collect()
    }
}

struct World {
    event_log: Arc<SqliteEventLog>,
    checkpoints: Arc<SqliteCheckpoints>,
    codec: Arc<Codec>,
    truth: Arc<Database>,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new(partitions: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let truth = Database::open(&directory.path().join("truth.db"), &TRUTH, Durability::Process).unwrap();
        let models = Database::open(&directory.path().join("models.db"), &READ_MODELS, Durability::Process).unwrap();
        let event_log = Arc::new(SqliteEventLog::open(Arc::clone(&truth), partitions).await.unwrap());
        let content: Arc<dyn Content> =
            Arc::new(SqliteContent::open(Arc::clone(&truth), Some(Arc::clone(&event_log))).unwrap());
        let secrets = Secrets::load_or_create(&directory.path().join("secrets.toml")).unwrap();
        Self {
            event_log,
            checkpoints: Arc::new(SqliteCheckpoints::open(models, Arc::clone(&truth)).unwrap()),
            codec: Arc::new(Codec::new(content, &secrets)),
            truth,
            _directory: directory,
        }
    }

    async fn start(&self, probe: &Arc<Probe>) -> Runtime {
        let ports = RuntimePorts {
            event_log: Arc::clone(&self.event_log) as Arc<dyn EventLog>,
            checkpoints: Arc::clone(&self.checkpoints) as Arc<dyn Checkpoints>,
            codec: Arc::clone(&self.codec),
        };
        let settings = Settings {
            batch: 7,
            parallelism: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(4),
        };
        let probe: Arc<dyn Projection> = Arc::clone(probe) as Arc<dyn Projection>;
        Runtime::start(ports, vec![probe], settings).await.unwrap()
    }

    /// Likes and unlikes of a post by one person, with these sequences.
    async fn append(&self, post: PostId, sequences: impl IntoIterator<Item = u64>) {
        let mut records = Vec::new();
        for sequence in sequences {
            records.push(self.record(post, sequence).await);
        }
        self.event_log.append(records).await.unwrap();
    }

    async fn record(&self, post: PostId, sequence: u64) -> Record {
        let user: UserId = id(1);
        let subject = reaction::Subject { post, user };
        let event = if sequence % 2 == 1 { reaction::Event::Liked(subject) } else { reaction::Event::Unliked(subject) };
        let envelope = envelope(StreamId::Reaction(post, user), sequence, user, event.into());
        self.codec.seal(envelope).await.unwrap()
    }

    /// An event of a type that only a later version knows.
    async fn append_unknown(&self, post: PostId, sequence: u64) {
        let mut record = self.record(post, sequence).await;
        record.attributes.schema = Schema { kind: "reaction.laughed".to_owned(), version: 1 };
        self.event_log.append(vec![record]).await.unwrap();
    }

    /// Turns events of the type of the future into ones that this version reads: the upgrade.
    async fn upgrade(&self) {
        let upgrade = "UPDATE events SET type = replace(type, 'laughed', 'liked')";
        self.truth.write(|connection| Ok(connection.execute(upgrade, [])?)).await.unwrap();
    }

    fn build() -> Build {
        Build { projection: NAME, generation: Generation::FIRST }
    }

    /// Waits until everything in the log has been applied or parked.
    async fn caught_up(&self) {
        let mut progress = self.checkpoints.progress();
        for number in 0..self.event_log.partitions() {
            let head = self.event_log.head(Topic::Posts, number).await.unwrap();
            let partition = Partition { topic: Topic::Posts, number };
            if head >= 0 {
                let passed = progress.wait_for(|progress| progress.has_passed(NAME, partition, head));
                tokio::time::timeout(FOREVER, passed).await.expect("catches up").unwrap();
            }
        }
    }

    async fn parked(&self) -> Vec<(Lane, u64)> {
        let parked = self.checkpoints.parked(Self::build()).await.unwrap();
        parked.into_iter().map(|(_, parked)| (parked.lane, parked.waiting)).collect()
    }
}

fn post(number: u8) -> PostId {
    id(number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_lanes_are_applied_in_order_and_once_over_restarts() {
    let world = World::new(3).await;
    let probe = Arc::new(Probe::default());
    for round in 0..4u64 {
        let runtime = world.start(&probe).await;
        for number in 0..10 {
            world.append(post(number), (1..=20).map(|n| round * 20 + n)).await;
        }
        world.caught_up().await;
        runtime.stop().await;
    }
    for number in 0..10 {
        assert_eq!(probe.of(post(number)), (1..=80).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_the_checkpoint_waits_for_the_effects() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    *probe.failures.lock().unwrap() = u32::MAX;
    let runtime = world.start(&probe).await;
    world.append(post(1), 1..=3).await;
    let stalled = async {
        loop {
            let status = runtime.status().await.unwrap();
            if matches!(status[0].state, State::Stalled(_)) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    let status = tokio::time::timeout(FOREVER, stalled).await.expect("stalls");
    assert_eq!(status[0].lag_events(), 3, "lag is measured against the log's head");
    assert!(status[0].lag_millis > 0);
    assert_eq!(world.checkpoints.positions(World::build()).await.unwrap(), Vec::<Position>::new());

    *probe.failures.lock().unwrap() = 0;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), [1, 2, 3]);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_an_unreadable_event_parks_its_lane_and_no_other_and_the_lane_drains_in_order() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    let runtime = world.start(&probe).await;
    world.append(post(1), 1..=2).await;
    world.append_unknown(post(1), 3).await;
    world.append(post(1), 4..=25).await;
    world.append(post(2), 1..=30).await;
    world.caught_up().await;
    world.append(post(1), 26..=27).await;
    world.caught_up().await;

    assert_eq!(probe.of(post(1)), [1, 2], "nothing overtakes the unreadable event");
    assert_eq!(probe.of(post(2)), (1..=30).collect::<Vec<_>>(), "the other lane goes on");
    assert_eq!(world.parked().await, [(Lane::post(post(1)), 25)]);
    let status = runtime.status().await.unwrap();
    assert_eq!(status[0].parked, [Lane::post(post(1))]);
    runtime.stop().await;

    // The same version again: still parked, nothing lost.
    let runtime = world.start(&probe).await;
    world.append(post(1), [28]).await;
    world.caught_up().await;
    assert_eq!(world.parked().await, [(Lane::post(post(1)), 26)]);
    runtime.stop().await;

    world.upgrade().await;
    let runtime = world.start(&probe).await;
    world.append(post(1), [29]).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), (1..=29).collect::<Vec<_>>());
    assert_eq!(world.parked().await, []);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_a_refused_event_parks_from_there_on() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    probe.refused.lock().unwrap().insert((post(1), 3));
    // In one batch, so that the events before and beside the refused one are applied again without it.
    world.append(post(1), 1..=4).await;
    world.append(post(2), 1..=3).await;
    let runtime = world.start(&probe).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), [1, 2]);
    assert_eq!(probe.of(post(2)), [1, 2, 3]);
    assert_eq!(world.parked().await, [(Lane::post(post(1)), 2)]);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_a_panicking_handler_parks_the_event_that_it_panics_at() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    probe.panics.lock().unwrap().insert((post(2), 2));
    world.append(post(1), 1..=3).await;
    world.append(post(2), 1..=3).await;
    let runtime = world.start(&probe).await;
    world.caught_up().await;
    assert_eq!(world.parked().await, [(Lane::post(post(2)), 2)]);
    let distinct: HashSet<(PostId, u64)> = probe.applied.lock().unwrap().iter().copied().collect();
    let innocent = [(post(1), 1), (post(1), 2), (post(1), 3), (post(2), 1)];
    assert_eq!(distinct, HashSet::from(innocent));
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_another_log_or_beyond_the_end_stops_the_projection() {
    for foreign in [true, false] {
        let world = World::new(1).await;
        let probe = Arc::new(Probe::default());
        world.append(post(1), 1..=3).await;
        let partition = Partition { topic: Topic::Posts, number: 0 };
        let taken = world.checkpoints.take(World::build(), partition).await.unwrap();
        let log = if foreign { LogId(world.event_log.id().0 ^ 1) } else { world.event_log.id() };
        let offset = if foreign { 0 } else { 1_000_000 };
        let position = Position { log, topic: Topic::Posts, partition: 0, offset };
        world.checkpoints.save(World::build(), taken.epoch, position).await.unwrap();

        let runtime = world.start(&probe).await;
        let faulted = async {
            loop {
                if let State::Faulted(reason) = &runtime.status().await.unwrap()[0].state {
                    return reason.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let reason = tokio::time::timeout(FOREVER, faulted).await.expect("stops");
        assert!(reason.contains("rebuild"), "{reason}");
        assert_eq!(*probe.seen.borrow(), 0, "nothing is applied");
        runtime.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_worker_whose_partition_was_taken_over_stops() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    let runtime = world.start(&probe).await;
    world.append(post(1), [1]).await;
    world.caught_up().await;
    let partition = Partition { topic: Topic::Posts, number: 0 };
    world.checkpoints.take(World::build(), partition).await.unwrap();
    world.append(post(1), [2]).await;
    let faulted = async {
        while !matches!(runtime.status().await.unwrap()[0].state, State::Faulted(_)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FOREVER, faulted).await.expect("is fenced");
    let positions = world.checkpoints.positions(World::build()).await.unwrap();
    assert_eq!(positions[0].offset, 0, "the zombie moved no checkpoint");
    runtime.stop().await;
}
