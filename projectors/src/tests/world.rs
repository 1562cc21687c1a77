//! The runtime on the embedded stores, with a projection that remembers what it was given and misbehaves when told to.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapters::StoreError;
use adapters::cache::NoCache;
use adapters::checkpoints::{Build, Checkpoints, Generation, Owner, Partition, SqliteCheckpoints};
use adapters::codec::Codec;
use adapters::content::{Content, SqliteContent};
use adapters::event_log::{EventLog, Logged, Membership, Record, SqliteEventLog};
use adapters::live::BroadcastLive;
use adapters::secrets::Secrets;
use adapters::sqlite::{Database, Durability, READ_MODELS, Sharing, TRUTH};
use adapters::views::{SqliteViews, Views};
use async_trait::async_trait;
use domain::event::Schema;
use domain::{Event, Lane, LogId, Position, PostId, StreamId, Topic, UserId, reaction};
use tokio::sync::watch;

use super::fixture::{envelope, id};
use crate::projection::{ApplyError, Projection, Recorded};
use crate::runtime::{Runtime, RuntimePorts, Settings, State};
use crate::{Engagement, EngagementPorts};

pub(super) const NAME: &str = "probe";
pub(super) const FOREVER: Duration = Duration::from_secs(60);

/// A projection that remembers what it was given and misbehaves when told to.
#[derive(Default)]
pub(super) struct Probe {
    pub(super) applied: Mutex<Vec<(PostId, u64)>>,
    pub(super) seen: watch::Sender<usize>,
    /// The next so many calls fail as a store does.
    pub(super) failures: Mutex<u32>,
    /// Events (post and sequence) that break a rule.
    pub(super) refused: Mutex<HashSet<(PostId, u64)>>,
    /// Events whose handling panics.
    pub(super) panics: Mutex<HashSet<(PostId, u64)>>,
    /// Partitions whose events are being applied.
    inside: Mutex<Vec<u16>>,
    /// Partitions whose events were applied while those of the other were.
    pub(super) met: Mutex<HashSet<(u16, u16)>>,
    /// Events whose handling ends the process.
    pub(super) fatal: Mutex<HashSet<(PostId, u64)>>,
    /// Whether calls are held up, as those of a process that is put to sleep.
    pub(super) holds: watch::Sender<bool>,
    /// Calls that were begun.
    pub(super) begun: watch::Sender<usize>,
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

    fn opens_text(&self, _: Topic) -> bool {
        true
    }

    async fn apply(&self, _: Owner, events: &[Recorded]) -> Result<(), ApplyError> {
        let partition = events[0].position.partition;
        self.inside.lock().unwrap().push(partition);
        self.begun.send_modify(|begun| *begun += 1);
        let mut holds = self.holds.subscribe();
        assert!(holds.wait_for(|holds| !holds).await.is_ok(), "it is ours");
        // Others get every chance to come in.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        {
            let mut inside = self.inside.lock().unwrap();
            let others = inside.iter().filter(|other| **other != partition);
            self.met.lock().unwrap().extend(others.map(|other| (partition, *other)));
            let place = inside.iter().position(|one| *one == partition).unwrap();
            inside.swap_remove(place);
        }
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
            if self.fatal.lock().unwrap().contains(&key) {
                std::process::abort();
            }
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
    pub(super) fn of(&self, post: PostId) -> Vec<u64> {
        let applied = self.applied.lock().unwrap();
        applied.iter().filter(|(of, _)| *of == post).map(|(_, sequence)| *sequence).collect()
    }
}

pub(super) struct World {
    pub(super) event_log: Arc<SqliteEventLog>,
    pub(super) checkpoints: Arc<SqliteCheckpoints>,
    pub(super) codec: Arc<Codec>,
    content: Arc<dyn Content>,
    truth: Arc<Database>,
    models: Arc<Database>,
    _directory: Option<tempfile::TempDir>,
}

impl World {
    pub(super) async fn new(partitions: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut world = Self::open(directory.path(), partitions).await;
        world._directory = Some(directory);
        world
    }

    /// In a directory that outlives this.
    pub(super) async fn open(directory: &Path, partitions: u16) -> Self {
        Self::open_as(directory, partitions, Sharing::Alone).await
    }

    /// One of several processes in this directory.
    pub(super) async fn beside(directory: &Path, partitions: u16) -> Self {
        Self::open_as(directory, partitions, Sharing::Shared).await
    }

    async fn open_as(directory: &Path, partitions: u16, sharing: Sharing) -> Self {
        let open =
            |name, schema| Database::open_as(&directory.join(name), schema, Durability::Process, sharing).unwrap();
        let (truth, models) = (open("truth.db", &TRUTH), open("models.db", &READ_MODELS));
        let event_log = Arc::new(SqliteEventLog::open(Arc::clone(&truth), partitions).await.unwrap());
        let content: Arc<dyn Content> =
            Arc::new(SqliteContent::open(Arc::clone(&truth), Some(Arc::clone(&event_log))).unwrap());
        let secrets = Secrets::load_or_create(&directory.join("secrets.toml")).unwrap();
        Self {
            event_log,
            checkpoints: Arc::new(SqliteCheckpoints::open(Arc::clone(&models), Arc::clone(&truth)).unwrap()),
            codec: Arc::new(Codec::new(Arc::clone(&content), &secrets)),
            content,
            truth,
            models,
            _directory: None,
        }
    }

    pub(super) async fn start(&self, probe: &Arc<Probe>) -> Runtime {
        let projections: Vec<Arc<dyn Projection>> = vec![Arc::clone(probe) as Arc<dyn Projection>];
        self.run(Arc::clone(&self.event_log) as Arc<dyn EventLog>, projections, Duration::from_millis(5)).await
    }

    /// Runs these over `event_log`, which is ours or stands before it, and rests for about `truce` after somebody else
    /// has taken a partition.
    pub(super) async fn run(
        &self,
        event_log: Arc<dyn EventLog>,
        projections: Vec<Arc<dyn Projection>>,
        truce: Duration,
    ) -> Runtime {
        let checkpoints = Arc::clone(&self.checkpoints) as Arc<dyn Checkpoints>;
        let ports = RuntimePorts { event_log, checkpoints, codec: Arc::clone(&self.codec) };
        let settings = Settings {
            batch: 7,
            parallelism: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(4),
            first_truce: truce,
        };
        Runtime::start(ports, projections, settings).await.unwrap()
    }

    /// The projection of counts, over these stores.
    pub(super) fn engagement(&self) -> Engagement {
        Engagement::new(EngagementPorts {
            content: Arc::clone(&self.content),
            views: self.views(),
            cache: Arc::new(NoCache),
            live: Arc::new(BroadcastLive::new(16)),
            checkpoints: Arc::clone(&self.checkpoints) as _,
        })
    }

    pub(super) fn views(&self) -> Arc<dyn Views> {
        Arc::new(SqliteViews::new(Arc::clone(&self.models)))
    }

    /// Likes and unlikes of a post by one person, with these sequences.
    pub(super) async fn append(&self, post: PostId, sequences: impl IntoIterator<Item = u64>) {
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
    pub(super) async fn append_unknown(&self, post: PostId, sequence: u64) {
        let mut record = self.record(post, sequence).await;
        record.attributes.schema = Schema { kind: "reaction.laughed".to_owned(), version: 1 };
        self.event_log.append(vec![record]).await.unwrap();
    }

    /// Turns events of the type of the future into ones that this version reads: the upgrade.
    pub(super) async fn upgrade(&self) {
        let upgrade = "UPDATE events SET type = replace(type, 'laughed', 'liked')";
        self.truth.write(|connection| Ok(connection.execute(upgrade, [])?)).await.unwrap();
    }

    pub(super) fn build() -> Build {
        Build { projection: NAME, generation: Generation::FIRST }
    }

    /// Waits until everything in the log has been applied or parked.
    pub(super) async fn caught_up(&self) {
        self.caught_up_with(NAME, &[Topic::Posts]).await;
    }

    pub(super) async fn caught_up_with(&self, projection: &str, topics: &[Topic]) {
        let mut progress = self.checkpoints.progress();
        let numbers = 0..self.event_log.partitions();
        for partition in topics.iter().flat_map(|&topic| numbers.clone().map(move |number| Partition { topic, number }))
        {
            let head = self.event_log.head(partition.topic, partition.number).await.unwrap();
            if head >= 0 {
                let passed = progress.wait_for(|progress| progress.has_passed(projection, partition, head));
                tokio::time::timeout(FOREVER, passed).await.expect("catches up").unwrap();
            }
        }
    }

    /// How often what follows the first checkpoint was begun, as the file says.
    pub(super) async fn starts(&self) -> i64 {
        let query = "SELECT starts FROM checkpoints WHERE partition = 0";
        self.models.read(|connection| Ok(connection.query_row(query, [], |row| row.get(0))?)).await.unwrap()
    }

    pub(super) async fn parked(&self) -> Vec<(Lane, u64)> {
        let parked = self.checkpoints.parked(Self::build()).await.unwrap();
        parked.into_iter().map(|(_, parked)| (parked.lane, parked.waiting)).collect()
    }
}

/// The log as a process sees it whose group says what the test wants, and which is perhaps of an older version.
pub(super) struct Scripted {
    log: Arc<SqliteEventLog>,
    pub(super) assigned: watch::Sender<BTreeSet<Partition>>,
    /// What an older version makes of a record.
    older: fn(&mut Record),
}

impl Scripted {
    /// With a group that assigns these partitions.
    pub(super) fn group(world: &World, assigned: impl IntoIterator<Item = Partition>) -> Arc<Self> {
        let assigned = watch::Sender::new(assigned.into_iter().collect());
        Arc::new(Self { log: Arc::clone(&world.event_log), assigned, older: |_| {} })
    }

    /// A version before the one that knew what `older` makes unknown, in the file's own group.
    pub(super) fn version(world: &World, older: fn(&mut Record)) -> Arc<Self> {
        Arc::new(Self { log: Arc::clone(&world.event_log), assigned: watch::Sender::default(), older })
    }

    fn seen(&self, mut page: Vec<Logged>) -> Vec<Logged> {
        page.iter_mut().filter_map(|logged| logged.record.as_mut().ok()).for_each(self.older);
        page
    }
}

#[async_trait]
impl EventLog for Scripted {
    fn id(&self) -> LogId {
        self.log.id()
    }

    fn partitions(&self) -> u16 {
        self.log.partitions()
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        self.log.append(records).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u16,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        Ok(self.seen(self.log.read(topic, partition, after, limit, wait).await?))
    }

    async fn head(&self, topic: Topic, partition: u16) -> Result<i64, StoreError> {
        self.log.head(topic, partition).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Membership>, StoreError> {
        let script = Self { log: Arc::clone(&self.log), assigned: self.assigned.clone(), older: self.older };
        // One that is told nothing is in the real group.
        let real = self.assigned.borrow().is_empty();
        let member = if real { Some(self.log.join(group, topics).await?) } else { None };
        Ok(Box::new(ScriptedMember { script, member }))
    }
}

struct ScriptedMember {
    script: Scripted,
    member: Option<Box<dyn Membership>>,
}

#[async_trait]
impl Membership for ScriptedMember {
    fn assigned(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.member.as_ref().map_or_else(|| self.script.assigned.subscribe(), |member| member.assigned())
    }

    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        self.script.read(partition.topic, partition.number, after, limit, wait).await
    }

    async fn leave(&self) {
        if let Some(member) = &self.member {
            member.leave().await;
        }
    }
}

pub(super) fn post(number: u8) -> PostId {
    id(number)
}

/// Waits until the worker of the first partition is as `is_so` wants it.
pub(super) async fn until(runtime: &Runtime, mut is_so: impl FnMut(&State) -> bool) -> State {
    let reached = async {
        loop {
            let state = runtime.status().await.unwrap().swap_remove(0).state;
            if is_so(&state) {
                return state;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FOREVER, reached).await.expect("the state that was waited for")
}
