//! T1: for random interleavings of publish, import, delete, follow, unfollow, block, unblock, mute, unmute, trimming, failing stores
//! and restarts of the projections, every home feed equals the reference model's, to its end, both ways.
//!
//! Limits are tiny, so that a few posts trim a home and a few followers make an author hot. Commands go on while the
//! projections run; only a check waits for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use adapters::StoreError;
use adapters::cache::NoCache;
use adapters::checkpoints::{Checkpoints, SqliteCheckpoints};
use adapters::codec::Codec;
use adapters::content::{Commit, Content, Preview, Rendered, SqliteContent};
use adapters::decorated::{Around, Decorated};
use adapters::event_log::{EventLog, SqliteEventLog};
use adapters::live::BroadcastLive;
use adapters::secrets::Secrets;
use adapters::sqlite::{Database, Durability, READ_MODELS, TRUTH};
use adapters::timelines::{SqliteTimelines, Timelines as TimelinesPort};
use adapters::views::{SqliteViews, Views};
use async_trait::async_trait;
use domain::post::{Post, Visibility};
use domain::reference::Reference;
use domain::relation::{Pair, Relation};
use domain::text::Markdown;
use domain::{
    Aggregate, CorrelationId, Envelope, Event, EventId, PostId, StreamId, Timestamp, Topic, UserId, post, relation,
};
use projectors::timelines::Limits;
use projectors::{Projection, Runtime, RuntimePorts, Settings, Timelines};
use proptest::prelude::*;
use query_api::Ports;
use query_api::feed::{Feed, Walk};

const PEOPLE: u8 = 6;
const START: i64 = 1_700_000_000_000;
const LIMITS: Limits = Limits { hot_author_followers: 3, trim_at: 5, trim_to: 3, trim_every: 1 };

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Somebody publishes, so many milliseconds before now: an import lands below marks.
    Publish(u8, u16),
    /// The n-th post, counted round, goes.
    Delete(u8),
    Follow(u8, u8),
    Unfollow(u8, u8),
    Block(u8, u8),
    Unblock(u8, u8),
    Mute(u8, u8),
    Unmute(u8, u8),
    /// The projections die where they stand and start again.
    Restart,
    /// The next so many calls to the timelines' store fail.
    Fail(u8),
    /// Every home is compared.
    Check,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pair = || (0..PEOPLE, 0..PEOPLE);
    let step = prop_oneof![
        10 => (0..PEOPLE, prop_oneof![3 => Just(0u16), 1 => any::<u16>()]).prop_map(|(who, ago)| Step::Publish(who, ago)),
        2 => any::<u8>().prop_map(Step::Delete),
        8 => pair().prop_map(|(from, to)| Step::Follow(from, to)),
        3 => pair().prop_map(|(from, to)| Step::Unfollow(from, to)),
        1 => pair().prop_map(|(from, to)| Step::Block(from, to)),
        1 => pair().prop_map(|(from, to)| Step::Unblock(from, to)),
        2 => pair().prop_map(|(from, to)| Step::Mute(from, to)),
        1 => pair().prop_map(|(from, to)| Step::Unmute(from, to)),
        1 => Just(Step::Restart),
        1 => (1..4u8).prop_map(Step::Fail),
        1 => Just(Step::Check),
    ];
    prop::collection::vec(step, 1..90)
}

/// Calls that fail when told to, after the effect or before it, as a lost connection makes them.
#[derive(Default)]
struct Failures(AtomicU32);

#[async_trait]
impl Around for Failures {
    async fn before(&self, _call: &'static str) -> Result<(), StoreError> {
        self.perhaps(|left| left % 2 == 1)
    }

    async fn after(&self, _call: &'static str) -> Result<(), StoreError> {
        self.perhaps(|left| left % 2 == 0)
    }
}

impl Failures {
    fn perhaps(&self, is_now: impl Fn(u32) -> bool) -> Result<(), StoreError> {
        let one_less = |left: u32| if is_now(left) { left.checked_sub(1) } else { None };
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Err(_) => Ok(()),
            Ok(_) => Err(StoreError::Unavailable("made to fail".to_owned())),
        }
    }
}

struct World {
    content: Arc<dyn Content>,
    event_log: Arc<dyn EventLog>,
    views: Arc<dyn Views>,
    timelines: Arc<dyn TimelinesPort>,
    checkpoints: Arc<dyn Checkpoints>,
    codec: Arc<Codec>,
    failures: Arc<Failures>,
    runtime: Option<Runtime>,
    reference: Reference,
    posts: HashMap<PostId, Post>,
    order: Vec<(PostId, UserId)>,
    relations: HashMap<StreamId, Relation>,
    sequences: HashMap<StreamId, u64>,
    clock: i64,
    _directory: tempfile::TempDir,
}

fn person(number: u8) -> UserId {
    UserId::from_parts(Timestamp::from_millis(START), [number; 10])
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let truth = Database::open(&directory.path().join("truth.db"), &TRUTH, Durability::Process).expect("opens");
        let models =
            Database::open(&directory.path().join("models.db"), &READ_MODELS, Durability::Process).expect("opens");
        let event_log = Arc::new(SqliteEventLog::open(Arc::clone(&truth), 3).await.expect("opens"));
        let content: Arc<dyn Content> =
            Arc::new(SqliteContent::open(Arc::clone(&truth), Some(Arc::clone(&event_log))).expect("opens"));
        let secrets = Secrets::load_or_create(&directory.path().join("secrets.toml")).expect("makes secrets");
        let failures = Arc::new(Failures::default());
        let mut world = Self {
            codec: Arc::new(Codec::new(Arc::clone(&content), &secrets)),
            content,
            event_log,
            views: Arc::new(SqliteViews::new(Arc::clone(&models))),
            timelines: Arc::new(Decorated::new(
                Arc::new(SqliteTimelines::new(Arc::clone(&models))),
                Arc::clone(&failures) as Arc<dyn Around>,
            )),
            checkpoints: Arc::new(SqliteCheckpoints::open(models, truth).expect("opens")),
            failures,
            runtime: None,
            reference: Reference::default(),
            posts: HashMap::new(),
            order: Vec::new(),
            relations: HashMap::new(),
            sequences: HashMap::new(),
            clock: START,
            _directory: directory,
        };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        let ports = RuntimePorts {
            event_log: Arc::clone(&self.event_log),
            checkpoints: Arc::clone(&self.checkpoints),
            codec: Arc::clone(&self.codec),
        };
        let live = Arc::new(BroadcastLive::new(16));
        let (views, timelines) = (Arc::clone(&self.views), Arc::clone(&self.timelines));
        let timelines: Arc<dyn Projection> =
            Arc::new(Timelines::new(views, timelines, live, Arc::clone(&self.checkpoints), LIMITS));
        let settings = Settings {
            batch: 4,
            parallelism: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(2),
            ..Settings::default()
        };
        self.runtime = Some(Runtime::start(ports, vec![timelines], settings).await.expect("starts"));
    }

    async fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        self.clock += 1;
        match step {
            Step::Publish(who, ago) => self.publish(person(who), i64::from(ago)).await,
            Step::Delete(which) => self.delete(which).await,
            Step::Follow(from, to) => self.relate(from, to, relation::Command::Follow).await,
            Step::Unfollow(from, to) => self.relate(from, to, relation::Command::Unfollow).await,
            Step::Block(from, to) => self.relate(from, to, relation::Command::Block).await,
            Step::Unblock(from, to) => self.relate(from, to, relation::Command::Unblock).await,
            Step::Mute(from, to) => self.relate(from, to, relation::Command::Mute).await,
            Step::Unmute(from, to) => self.relate(from, to, relation::Command::Unmute).await,
            Step::Restart => {
                // Not stopped: dropped in the middle of whatever it does.
                if let Some(runtime) = self.runtime.take() {
                    runtime.kill().await;
                }
                self.start().await;
            }
            Step::Fail(times) => self.failures.0.store(u32::from(times), Ordering::SeqCst),
            Step::Check => self.check().await?,
        }
        Ok(())
    }

    async fn publish(&mut self, author: UserId, ago: i64) {
        let written = Timestamp::from_millis(self.clock - ago * 10);
        let post = PostId::from_parts(written, rand::random());
        let text = post::Text { title: None, markdown: Markdown::parse("words").expect("valid") };
        let visibility = Visibility::Public;
        let command = post::Command::Publish { post, author, visibility, text, imported: ago > 0 };
        let mut state = Post::default();
        let events = state.decide(&command).expect("a new post");
        for event in &events {
            state.evolve(event, written);
        }
        let preview = Preview {
            id: post,
            author_id: author,
            title: None,
            text: "words".to_owned(),
            truncated: false,
            visibility,
            created_at: written,
            edited_at: None,
            version: 1,
        };
        let preview = Some(serde_json::to_string(&preview).expect("serialises"));
        let rendered = Rendered { renderer: 1, html: String::new(), preview };
        self.record(StreamId::Post(post), author, &state, Some(rendered), events).await;
        self.posts.insert(post, state);
        self.order.push((post, author));
    }

    async fn delete(&mut self, which: u8) {
        if self.order.is_empty() {
            return;
        }
        let (post, author) = self.order[usize::from(which) % self.order.len()];
        let Some(mut state) = self.posts.get(&post).cloned() else { return };
        let Ok(events) = state.decide(&post::Command::Delete { post, actor: author }) else { return };
        for event in &events {
            state.evolve(event, Timestamp::from_millis(self.clock));
        }
        let gone = Rendered { renderer: 1, html: String::new(), preview: None };
        self.record(StreamId::Post(post), author, &state, Some(gone), events).await;
        self.posts.insert(post, state);
    }

    async fn relate(&mut self, from: u8, to: u8, command: fn(Pair) -> relation::Command) {
        let pair = Pair { from: person(from), to: person(to) };
        let stream = StreamId::relation(pair.from, pair.to);
        let mut state = self.relations.get(&stream).cloned().unwrap_or_default();
        let Ok(events) = state.decide(&command(pair)) else { return };
        for event in &events {
            state.evolve(event, Timestamp::from_millis(self.clock));
        }
        self.record(stream, pair.from, &state, None, events).await;
        self.relations.insert(stream, state);
    }

    async fn record<A: Aggregate>(
        &mut self,
        stream: StreamId,
        actor: UserId,
        state: &A,
        rendered: Option<Rendered>,
        events: Vec<A::Event>,
    ) {
        let time = Timestamp::from_millis(self.clock);
        let document = self.content.load(stream).await.expect("loads");
        let mut records = Vec::new();
        for event in events {
            let event: Event = event.into();
            let sequence = self.sequences.entry(stream).or_default();
            *sequence += 1;
            let envelope = Envelope {
                id: EventId::from_parts(time, rand::random()),
                time,
                stream,
                sequence: *sequence,
                actor,
                correlation: CorrelationId::from_parts(time, rand::random()),
                causation: None,
                event,
            };
            self.reference.apply(&envelope, 0).expect("consistent");
            records.push(self.codec.seal(envelope).await.expect("seals"));
        }
        let commit = Commit {
            stream,
            expected_revision: document.map_or(0, |document| document.revision),
            state: serde_json::to_string(state).expect("serialises"),
            private: None,
            rendered,
            records,
            recent_commands: None,
            at: time,
        };
        self.content.commit(commit).await.expect("commits");
    }

    async fn caught_up(&self) {
        let mut progress = self.checkpoints.progress();
        for topic in [Topic::Posts, Topic::Relations] {
            for number in 0..self.event_log.partitions() {
                let partition = adapters::checkpoints::Partition { topic, number };
                let head = self.event_log.head(topic, number).await.expect("a head");
                if head < 0 {
                    continue;
                }
                let passed = progress.wait_for(|progress| progress.has_passed(Timelines::NAME, partition, head));
                let passed = tokio::time::timeout(Duration::from_secs(60), passed).await;
                if passed.is_err()
                    && let Some(runtime) = &self.runtime
                {
                    panic!("does not catch up: {:#?}", runtime.status().await);
                }
                passed.expect("catches up").expect("the checkpoints live");
            }
        }
    }

    async fn check(&self) -> Result<(), TestCaseError> {
        self.caught_up().await;
        self.failures.0.store(0, Ordering::SeqCst);
        let feed = Feed::new(&Ports {
            content: Arc::clone(&self.content),
            event_log: Arc::clone(&self.event_log),
            views: Arc::clone(&self.views),
            timelines: Arc::clone(&self.timelines),
            checkpoints: Arc::clone(&self.checkpoints),
            cache: Arc::new(NoCache),
            live: Arc::new(BroadcastLive::new(1)),
        });
        for number in 0..PEOPLE {
            let viewer = person(number);
            let expected = self.reference.home(viewer);
            for limit in [1, 3, 50] {
                let down = walk(&feed, viewer, Walk::NEWEST, limit).await;
                prop_assert_eq!(&down, &expected, "T1: home of {} in pages of {}", number, limit);
            }
            let mut up = walk(&feed, viewer, Walk::After(PostId::MIN), 2).await;
            up.reverse();
            prop_assert_eq!(&up, &expected, "T1: home of {} from its end upwards", number);
        }
        Ok(())
    }
}

async fn walk(feed: &Feed, viewer: UserId, from: Walk, limit: usize) -> Vec<PostId> {
    let mut posts = Vec::new();
    let mut next = Some(from);
    while let Some(walk) = next {
        let page = feed.home(viewer, walk, limit).await.expect("a page");
        assert!(page.entries.len() <= limit);
        posts.extend(page.posts());
        next = page.next;
    }
    posts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::cases(64), ..ProptestConfig::default() })]

    #[test]
    fn t1_every_home_equals_the_reference_models(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("builds");
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await?;
            }
            world.check().await
        })?;
    }
}
