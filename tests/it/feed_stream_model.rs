//! L1 for feeds: whatever is published, followed, trimmed and imported, however fan-outs overtake each other or are
//! repeated, whatever live messages are lost, and wherever a stream is cut: a client that loads its feed once and then
//! comes back with its last id has seen every post exactly once, or was told `reset`.
//!
//! The projection, the queries and HTTP are the real ones, in this process; the timelines' store holds some posts up, and
//! publish and subscribe loses some messages.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adapters::StoreError;
use adapters::cache::NoCache;
use adapters::checkpoints::{Generation, Partition, SqliteCheckpoints};
use adapters::codec::Codec;
use adapters::content::{Commit, Content, Preview, Rendered, SqliteContent};
use adapters::event_log::SqliteEventLog;
use adapters::http::auth::AccessTokens;
use adapters::http::clock;
use adapters::http::cursor::Cursors;
use adapters::http::trace;
use adapters::live::{BroadcastLive, Channel, Live, Message, Subscription};
use adapters::secrets::Secrets;
use adapters::sqlite::{Database, Durability, READ_MODELS, TRUTH};
use adapters::timelines::{AuthorEntry, Entry, Home, Span, SqliteTimelines, Timelines as TimelinesPort};
use adapters::views::SqliteViews;
use async_trait::async_trait;
use domain::post::{Post, Visibility};
use domain::reference::Reference;
use domain::relation::{Pair, Relation};
use domain::text::{DisplayName, Markdown, Username};
use domain::user::User;
use domain::{
    Aggregate, CorrelationId, Envelope, Event, EventId, PostId, SessionId, StreamId, Timestamp, Topic, UserId, post,
    relation, user,
};
use harness::{Client, Watching, eventually};
use projectors::timelines::Limits;
use projectors::{Projection, Runtime, RuntimePorts, Settings, Timelines};
use query_api::Ports;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PEOPLE: usize = 6;
/// The first so many of them watch their feeds.
const WATCHING: usize = 3;
const LIMITS: Limits = Limits { hot_author_followers: 3, trim_at: 9, trim_to: 5, trim_every: 1 };
/// A feed's newest page holds a hundred posts, and is to hold all.
const MOST_POSTS: usize = 100;
/// Cuts in one world.
const CUTS: usize = 40;

/// A timelines' store that holds up the fan-out of some posts and the copies for some followers, so that others overtake
/// them, and that takes its time with answers.
struct Lagging {
    inner: SqliteTimelines,
    /// Posts whose last byte leaves this rest of three wait.
    held_up: watch::Sender<Option<u8>>,
}

impl Lagging {
    async fn until_let_through(&self, id: &[u8; 16]) -> Result<(), StoreError> {
        let mut held_up = self.held_up.subscribe();
        let passes = |rest: &Option<u8>| rest.is_none_or(|rest| id[15] % 3 != rest);
        held_up.wait_for(passes).await.map(drop).map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

/// Lets much happen between an answer and its use.
async fn dawdle() {
    for _ in 0..rand::random_range(0..60) {
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl TimelinesPort for Lagging {
    async fn write_authors(&self, generation: Generation, entries: &[AuthorEntry]) -> Result<(), StoreError> {
        self.inner.write_authors(generation, entries).await
    }

    async fn authors(
        &self,
        generation: Generation,
        authors: &[UserId],
        span: Span,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.authors(generation, authors, span, limit).await
    }

    async fn authors_since(
        &self,
        generation: Generation,
        authors: &[UserId],
        after: &[i64],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.authors_since(generation, authors, after, limit).await
    }

    async fn write_homes(
        &self,
        generation: Generation,
        owners: &[UserId],
        entry: Entry,
    ) -> Result<Vec<UserId>, StoreError> {
        self.until_let_through(entry.post.as_bytes()).await?;
        self.inner.write_homes(generation, owners, entry).await
    }

    async fn fill_home(&self, generation: Generation, owner: UserId, entries: &[Entry]) -> Result<(), StoreError> {
        self.until_let_through(owner.as_bytes()).await?;
        self.inner.fill_home(generation, owner, entries).await
    }

    async fn raise_mark(&self, generation: Generation, owner: UserId, mark: PostId) -> Result<(), StoreError> {
        self.inner.raise_mark(generation, owner, mark).await
    }

    async fn trim(&self, generation: Generation, owner: UserId, at: usize, to: usize) -> Result<(), StoreError> {
        self.inner.trim(generation, owner, at, to).await
    }

    async fn home(&self, generation: Generation, owner: UserId, span: Span, limit: usize) -> Result<Home, StoreError> {
        self.inner.home(generation, owner, span, limit).await
    }

    async fn home_since(
        &self,
        generation: Generation,
        owner: UserId,
        after: &[i64],
        limit: usize,
    ) -> Result<Home, StoreError> {
        let home = self.inner.home_since(generation, owner, after, limit).await;
        dawdle().await;
        home
    }

    async fn scan_authors(
        &self,
        generation: Generation,
        after: Option<(UserId, PostId)>,
        limit: usize,
    ) -> Result<Vec<AuthorEntry>, StoreError> {
        self.inner.scan_authors(generation, after, limit).await
    }

    async fn scan_homes(
        &self,
        generation: Generation,
        after: Option<(UserId, PostId)>,
        limit: usize,
    ) -> Result<Vec<(UserId, Entry)>, StoreError> {
        self.inner.scan_homes(generation, after, limit).await
    }
}

/// Publish and subscribe that loses every third message, and says nothing of it.
struct Lossy {
    inner: BroadcastLive,
    published: AtomicU64,
}

impl Lossy {
    fn loses(&self) -> bool {
        self.published.fetch_add(1, Ordering::Relaxed) % 3 == 2
    }
}

#[async_trait]
impl Live for Lossy {
    async fn publish(&self, channel: Channel, messages: Vec<Message>) -> Result<(), StoreError> {
        if self.loses() { Ok(()) } else { self.inner.publish(channel, messages).await }
    }

    async fn publish_to_each(&self, channels: Vec<Channel>, message: Message) -> Result<(), StoreError> {
        if self.loses() { Ok(()) } else { self.inner.publish_to_each(channels, message).await }
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, StoreError> {
        self.inner.subscribe(channel).await
    }
}

struct World {
    ports: Ports,
    codec: Arc<Codec>,
    held_up: watch::Sender<Option<u8>>,
    runtime: Option<Runtime>,
    reference: Reference,
    people: Vec<UserId>,
    relations: HashMap<StreamId, Relation>,
    posts: Vec<(PostId, UserId)>,
    imported: BTreeSet<PostId>,
    watchers: Vec<Watcher>,
    shutdown: CancellationToken,
    _directory: tempfile::TempDir,
}

/// Somebody who has loaded their feed and watches it from there.
struct Watcher {
    client: Client,
    /// What the page showed: all that there was.
    page: BTreeSet<PostId>,
    watching: Watching,
}

/// What has come of all cuts, so that the test is known to test something.
#[derive(Debug, Default)]
struct Tally {
    told: usize,
    resets: usize,
    settled: usize,
}

impl Watcher {
    async fn load(client: &Client) -> Self {
        let page = client.get("/v1/feed?limit=100").await.expect(200);
        let json = page.json();
        assert_eq!(json["next"], serde_json::Value::Null, "the page holds all");
        let id = |item: &serde_json::Value| item["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        let shown = json["items"].as_array().expect("items").iter().map(id).collect();
        let watching = Watching::feed(client, Some(&page.text("stream_position"))).await;
        Self { client: client.clone(), page: shown, watching }
    }

    fn told(&self) -> Vec<PostId> {
        self.watching.ids("NEW_POST").iter().map(|id| id.parse().expect("an id")).collect()
    }

    fn was_reset(&self) -> bool {
        self.watching.told().iter().any(|told| told.name == "reset")
    }
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let open = |name, schema| Database::open(&directory.path().join(name), schema, Durability::Process);
        let truth = open("truth.db", &TRUTH).expect("opens");
        let models = open("models.db", &READ_MODELS).expect("opens");
        let event_log = Arc::new(SqliteEventLog::open(Arc::clone(&truth), 3).await.expect("opens"));
        let content: Arc<dyn Content> =
            Arc::new(SqliteContent::open(Arc::clone(&truth), Some(Arc::clone(&event_log))).expect("opens"));
        let secrets = Secrets::load_or_create(&directory.path().join("secrets.toml")).expect("makes secrets");
        let held_up = watch::Sender::new(None);
        let ports = Ports {
            content: Arc::clone(&content),
            event_log,
            views: Arc::new(SqliteViews::new(Arc::clone(&models))),
            timelines: Arc::new(Lagging { inner: SqliteTimelines::new(Arc::clone(&models)), held_up: held_up.clone() }),
            checkpoints: Arc::new(SqliteCheckpoints::open(models, truth).expect("opens")),
            cache: Arc::new(NoCache),
            live: Arc::new(Lossy { inner: BroadcastLive::new(16), published: AtomicU64::new(0) }),
        };
        let mut world = Self {
            codec: Arc::new(Codec::new(content, &secrets)),
            ports,
            held_up,
            runtime: None,
            reference: Reference::default(),
            people: Vec::new(),
            relations: HashMap::new(),
            posts: Vec::new(),
            imported: BTreeSet::new(),
            watchers: Vec::new(),
            shutdown: CancellationToken::new(),
            _directory: directory,
        };
        world.start().await;
        let base = world.serve(&secrets).await;
        for number in 0..PEOPLE {
            world.register(number).await;
        }
        let tokens = AccessTokens::new(secrets.signing_keys().clone());
        for person in &world.people[..WATCHING] {
            let session = SessionId::from_parts(clock::now(), clock::entropy());
            let token = tokens.issue(*person, session, clock::now()).expect("signs");
            world.watchers.push(Watcher::load(&Client::new(&base).bearer(&token)).await);
        }
        world
    }

    async fn serve(&self, secrets: &Secrets) -> String {
        let settings = query_api::Settings {
            tokens: Arc::new(AccessTokens::new(secrets.signing_keys().clone())),
            cursors: Cursors::new(secrets),
            streams: 100,
            shutdown: self.shutdown.clone(),
        };
        let router = query_api::router(self.ports.clone(), settings).layer(axum::middleware::from_fn(trace::layer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let shutdown = self.shutdown.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(shutdown).await });
        base
    }

    async fn start(&mut self) {
        let Ports { event_log, views, timelines, checkpoints, live, .. } = self.ports.clone();
        let timelines: Arc<dyn Projection> =
            Arc::new(Timelines::new(views, timelines, live, Arc::clone(&checkpoints), LIMITS));
        let ports = RuntimePorts { event_log, checkpoints, codec: Arc::clone(&self.codec) };
        let (first_pause, longest_pause) = (Duration::from_millis(1), Duration::from_millis(2));
        let settings = Settings { batch: 6, parallelism: 3, first_pause, longest_pause, ..Settings::default() };
        self.runtime = Some(Runtime::start(ports, vec![timelines], settings).await.expect("starts"));
    }

    async fn register(&mut self, number: usize) {
        let user = UserId::from_parts(clock::now(), clock::entropy());
        let username = Username::parse(&format!("person{number}")).expect("valid");
        let display_name = DisplayName::parse("somebody").expect("valid");
        let mut state = User::default();
        let command = user::Command::Register { user, username, display_name };
        let events = state.decide(&command).expect("a new account");
        self.record(StreamId::User(user), user, &mut state, None, events).await;
        self.people.push(user);
    }

    async fn publish(&mut self, author: UserId, imported: bool) {
        if self.posts.len() == MOST_POSTS {
            return;
        }
        // An import is from some time ago, among what is there already or below it.
        let ago = if imported { 60_000 } else { 0 };
        let written = Timestamp::from_millis(clock::now().as_millis() - ago);
        let post = PostId::from_parts(written, clock::entropy());
        let text = post::Text { title: None, markdown: Markdown::parse("words").expect("valid") };
        let visibility = Visibility::Public;
        let mut state = Post::default();
        let command = post::Command::Publish { post, author, visibility, text, imported };
        let events = state.decide(&command).expect("a new post");
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
        self.record(StreamId::Post(post), author, &mut state, Some(rendered), events).await;
        self.posts.push((post, author));
        if imported {
            self.imported.insert(post);
        }
    }

    async fn delete(&mut self, (post, author): (PostId, UserId)) {
        let stored = self.ports.content.states(&[StreamId::Post(post)]).await.expect("reads").remove(0);
        let mut state: Post = serde_json::from_str(&stored.expect("a post").state).expect("readable");
        let Ok(events) = state.decide(&post::Command::Delete { post, actor: author }) else { return };
        let gone = Rendered { renderer: 1, html: String::new(), preview: None };
        self.record(StreamId::Post(post), author, &mut state, Some(gone), events).await;
    }

    async fn relate(&mut self, from: UserId, to: UserId, command: fn(Pair) -> relation::Command) {
        let pair = Pair { from, to };
        let stream = StreamId::relation(from, to);
        let mut state = self.relations.get(&stream).cloned().unwrap_or_default();
        let Ok(events) = state.decide(&command(pair)) else { return };
        self.record(stream, from, &mut state, None, events).await;
        self.relations.insert(stream, state);
    }

    async fn record<A: Aggregate>(
        &mut self,
        stream: StreamId,
        actor: UserId,
        state: &mut A,
        rendered: Option<Rendered>,
        events: Vec<A::Event>,
    ) {
        let at = clock::now();
        let document = self.ports.content.load(stream).await.expect("loads");
        let next = document.as_ref().map_or(0, |document| document.sequence) + 1;
        let mut records = Vec::new();
        for (sequence, event) in (next..).zip(events) {
            state.evolve(&event, at);
            let (id, correlation) = (EventId::from_parts(at, clock::entropy()), clock::entropy());
            let correlation = CorrelationId::from_parts(at, correlation);
            let event: Event = event.into();
            let envelope = Envelope { id, time: at, stream, sequence, actor, correlation, causation: None, event };
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
            at,
        };
        self.ports.content.commit(commit).await.expect("commits");
    }

    async fn step(&mut self, random: &mut ChaCha8Rng, tally: &mut Tally) {
        let [one, other] = [(); 2].map(|()| self.people[random.random_range(0..PEOPLE)]);
        match random.random_range(0..100) {
            0..55 => self.publish(one, false).await,
            55..60 => self.publish(one, true).await,
            60..64 if !self.posts.is_empty() => {
                self.delete(self.posts[random.random_range(0..self.posts.len())]).await;
            }
            64..67 => self.relate(one, other, relation::Command::Follow).await,
            67 => self.relate(one, other, relation::Command::Unfollow).await,
            68 => self.relate(one, other, relation::Command::Block).await,
            69 => self.relate(one, other, relation::Command::Unblock).await,
            // The projections die where they stand and start again: what they were at comes again.
            70 => {
                if let Some(runtime) = self.runtime.take() {
                    runtime.kill().await;
                }
                self.start().await;
            }
            71..90 => {
                let rest = random.random_range(0..6u8);
                self.held_up.send_replace((rest < 3).then_some(rest));
            }
            // A burst that trims homes, while some of it is held up and comes too late for them.
            90..93 => {
                self.held_up.send_replace(Some(random.random_range(0..3)));
                for _ in 0..12 {
                    let author = self.people[random.random_range(3..PEOPLE)];
                    self.publish(author, false).await;
                }
            }
            93..96 => tokio::task::yield_now().await,
            _ => self.settle(tally).await,
        }
    }

    /// Everything is projected; then each watcher must have seen all, once.
    async fn settle(&mut self, tally: &mut Tally) {
        self.held_up.send_replace(None);
        self.caught_up().await;
        for number in 0..WATCHING {
            let home: BTreeSet<PostId> = self.reference.home(self.people[number]).into_iter().collect();
            let watcher = &mut self.watchers[number];
            watcher.watching.resume().await.expect("a stream");
            eventually("every post is seen, or all is to be loaded afresh", async || {
                let told: BTreeSet<PostId> = watcher.told().into_iter().collect();
                let seen =
                    |post: &&PostId| watcher.page.contains(post) || told.contains(post) || self.imported.contains(post);
                let unseen: Vec<&PostId> = home.iter().filter(|post| !seen(post)).collect();
                if unseen.is_empty() || watcher.was_reset() { Ok(()) } else { Err(format!("{unseen:?}")) }
            })
            .await;
            self.check(number, tally);
        }
    }

    /// Nothing was told twice, and nothing that is no news.
    fn check(&self, number: usize, tally: &mut Tally) {
        let watcher = &self.watchers[number];
        tally.settled += 1;
        let mut seen = watcher.page.clone();
        for told in watcher.watching.told() {
            if told.name == "reset" {
                break;
            }
            let post = told.data["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
            assert!(seen.insert(post), "L1: {post} was told twice, or was on the page: {told:?}");
            assert!(!self.imported.contains(&post), "{post} was imported");
            tally.told += 1;
        }
    }

    /// Whoever was told to loads afresh.
    async fn load_afresh(&mut self, number: usize, tally: &mut Tally) {
        if self.watchers[number].was_reset() {
            self.check(number, tally);
            tally.resets += 1;
            let client = self.watchers[number].client.clone();
            self.watchers[number] = Watcher::load(&client).await;
        }
    }

    async fn caught_up(&self) {
        let mut progress = self.ports.checkpoints.progress();
        for topic in [Topic::Posts, Topic::Relations] {
            for number in 0..self.ports.event_log.partitions() {
                let head = self.ports.event_log.head(topic, number).await.expect("a head");
                let partition = Partition { topic, number };
                let is_passed = progress.wait_for(|now| head < 0 || now.has_passed(Timelines::NAME, partition, head));
                let passed = tokio::time::timeout(harness::PATIENCE, is_passed).await.map(|passed| passed.is_ok());
                assert_eq!(passed, Ok(true), "the projection catches up");
            }
        }
    }
}

/// About two thousand cuts in a long run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_every_post_is_seen_once_however_often_a_feed_is_cut() {
    let mut random = harness::random("cuts of feeds");
    let mut tally = Tally::default();
    for _ in 0..crate::cases(5) {
        let mut world = World::new().await;
        for (from, to) in [(0, 3), (0, 4), (0, 1), (1, 3), (1, 5), (2, 3), (2, 4), (2, 5)] {
            let [from, to] = [from, to].map(|number: usize| world.people[number]);
            world.relate(from, to, relation::Command::Follow).await;
        }
        for _ in 0..CUTS {
            for _ in 0..random.random_range(0..4) {
                world.step(&mut random, &mut tally).await;
            }
            let cut = random.random_range(0..WATCHING);
            let watching = &mut world.watchers[cut].watching;
            watching.cut_before(random.random_range(0..4)).await;
            watching.resume().await.expect("a stream");
            for number in 0..WATCHING {
                world.load_afresh(number, &mut tally).await;
            }
        }
        world.settle(&mut tally).await;
        world.shutdown.cancel();
    }
    println!("{tally:?}");
    assert!(tally.told > 100 && tally.told > tally.resets, "the test tests something: {tally:?}");
}
