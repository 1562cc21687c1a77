//! The rows of a fan-out, by the bare drivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use domain::UserId;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use mongodb::Collection;
use mongodb::bson::{self, RawDocumentBuf, doc};
use mongodb::options::{ClientOptions, ReadConcern};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{City, id_of};

/// The build that the rows of the limit belong to: one that nobody made.
const GENERATION: i64 = 1 << 40;
/// Rows that are written at a time: the best of these is taken.
const CONCURRENCIES: [usize; 5] = [64, 128, 256, 512, 1024];
/// Rows that each is tried with, twice.
const TRIED: usize = 10_000;
/// Followers that come in one answer.
const PAGE: u32 = 1_000;

/// Drivers.
pub(super) struct Rows {
    session: Arc<Session>,
    insert: PreparedStatement,
    edges: Collection<RawDocumentBuf>,
    author: UserId,
    concurrency: usize,
    written: AtomicI64,
}

impl Rows {
    /// Connects, and finds out how many writes at a time are best.
    pub(super) async fn open(city: &City) -> Self {
        let urls = city.cluster.store_urls();
        let place = urls.timelines.trim_start_matches("cassandra://");
        let (node, keyspace) = place.split_once('/').expect("a node and a keyspace");
        let keyspace = keyspace.split('?').next().unwrap_or_default();
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .request_timeout(Some(Duration::from_secs(30)))
            .build();
        let session = SessionBuilder::new().known_node(node).default_execution_profile_handle(profile.into_handle());
        let session = session.build().await.expect("a session");
        // As the server writes them.
        let insert = format!(
            r#"INSERT INTO {keyspace}.homes (generation, owner, post, author, partition, "offset")
            VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"#
        );
        let mut insert = session.prepare(insert).await.expect("a statement");
        insert.set_is_idempotent(true);

        let mut options = ClientOptions::parse(&urls.views).await.expect("a URL");
        options.read_concern = Some(ReadConcern::majority());
        let client = mongodb::Client::with_options(options).expect("a client");
        let database = client.default_database().expect("the URL names a database");
        let mut rows = Self {
            session: Arc::new(session),
            insert,
            edges: database.collection("edges"),
            author: id_of(&city.celebrity),
            concurrency: 0,
            written: AtomicI64::new(0),
        };
        rows.find_best(&city.followers).await;
        rows
    }

    async fn find_best(&mut self, owners: &[UserId]) {
        let posts = TRIED.div_ceil(owners.len().max(1)).min(4);
        let mut best = (Duration::MAX, 0);
        for concurrency in CONCURRENCIES.iter().chain(&CONCURRENCIES) {
            self.concurrency = *concurrency;
            best = best.min((self.write(owners, posts).await, *concurrency));
        }
        self.concurrency = best.1;
    }

    /// How many rows are written at a time.
    pub(super) fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// So many posts into the homes of all.
    pub(super) async fn write(&self, owners: &[UserId], posts: usize) -> Duration {
        let began = Instant::now();
        for _ in 0..posts {
            self.write_post(futures::stream::iter(owners.iter().map(uuid))).await;
        }
        began.elapsed()
    }

    /// One post into the homes of all followers, who are read first: as the server reads them, and written while more are
    /// read.
    pub(super) async fn read_and_write(&self) -> Duration {
        let began = Instant::now();
        let author = bson::Uuid::from_bytes(*self.author.as_bytes());
        let followers = doc! { "key.generation": 1_i64, "key.to": author, "holds": "following" };
        let cursor = self.edges.find(followers).sort(doc! { "key.from": 1 }).batch_size(PAGE);
        let cursor = cursor.await.expect("followers");
        let owners = cursor.into_stream().map(|edge| {
            let edge = edge.expect("an edge");
            let from = edge.get_document("key").and_then(|key| key.get_binary("from")).expect("a follower");
            Uuid::from_slice(from.bytes).expect("an id")
        });
        self.write_post(owners).await;
        began.elapsed()
    }

    async fn write_post(&self, owners: impl Stream<Item = Uuid>) {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let (post, author) = (Uuid::now_v7(), uuid(&self.author));
        let turns = Arc::new(Semaphore::new(self.concurrency));
        let mut writes = JoinSet::new();
        let mut owners = std::pin::pin!(owners);
        while let Some(owner) = owners.next().await {
            let turn = Arc::clone(&turns).acquire_owned().await.expect("open");
            let (session, insert) = (Arc::clone(&self.session), self.insert.clone());
            let row = (GENERATION, owner, post, author, 0_i32, number, (1_i64 << 62) - 2 - number);
            writes.spawn(async move {
                session.execute_unpaged(&insert, row).await.expect("written");
                drop(turn);
            });
        }
        writes.join_all().await;
    }
}

fn uuid(user: &UserId) -> Uuid {
    Uuid::from_bytes(*user.as_bytes())
}
