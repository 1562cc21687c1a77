//! What needs servers: each figure is held against the bare drivers on the same servers, in the same run.
//!
//! Roles are processes of their own, as they are where there are servers. So what a command costs can be told from what
//! follows from it: the limit of a like has no projections, and on one machine these would take from the servers what
//! commands wait for. They start once the likes are through, catch up, and run in all that comes after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters::checkpoints::{Build, ENGAGEMENT, Generation, PROFILES, TIMELINES};
use domain::{Topic, UserId};
use harness::{Client, Cluster, Look, PATIENCE, Person, Role, Setup, Stores, Tokens};

use crate::crowd;
use crate::report;
use crate::town::Issuer;

mod commands;
mod fan_out;
mod like;
mod rows;

/// The process that takes commands, and brings to the log what they leave.
const COMMANDS: &str = "commands";
/// The one that makes the read models.
const PROJECTORS: &str = "projectors";
/// The one that answers queries and keeps streams.
const READERS: &str = "readers";

/// What each projection reads.
const PROJECTIONS: [(&str, &[Topic]); 3] = [
    (TIMELINES, &[Topic::Posts, Topic::Relations]),
    (ENGAGEMENT, &[Topic::Posts]),
    (PROFILES, &[Topic::Users, Topic::Relations, Topic::Posts]),
];

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Posts that are liked.
    posts: usize,
    /// Of each figure and of its limit.
    rounds: usize,
    /// How long a round of likes is.
    round: Duration,
    /// Of one author; at most as many as are fanned out to.
    followers: u64,
    /// Posts of a round of fan-out.
    burst: usize,
    /// Posts whose way to the last follower is timed.
    timed: usize,
}

/// As the table of targets has it.
pub(crate) const WHOLE: Sizes =
    Sizes { posts: 800, rounds: 5, round: Duration::from_secs(4), followers: 10_000, burst: 4, timed: 100 };
/// Whether it still works.
pub(crate) const SMOKE: Sizes =
    Sizes { posts: 40, rounds: 1, round: Duration::from_millis(300), followers: 300, burst: 2, timed: 5 };

/// A system on servers, and who is in it.
pub(crate) struct City {
    cluster: Cluster,
    look: Look,
    issuer: Issuer,
    client: Client,
    /// Whose posts are liked.
    writer: UserId,
    posts: Arc<Vec<String>>,
    /// Whom everybody follows.
    celebrity: Person,
    /// Who does, by id.
    followers: Vec<UserId>,
}

/// Measures and prints.
pub(crate) async fn measure(sizes: Sizes) {
    let mut city = City::new(sizes).await;
    let like = like::measure(&city, sizes).await;

    city.cluster.start(PROJECTORS, &[Role::Projectors]).await;
    let caught_up = city.catch_up().await;
    city.gather(sizes).await;
    let gathered = city.catch_up().await;

    let rows = rows::Rows::open(&city).await;
    let rate = fan_out::rate(&city, &rows, sizes).await;
    let reach = fan_out::reach(&city, &rows, sizes).await;
    let began = Instant::now();
    city.cluster.verify().await;
    let judged = began.elapsed();

    let how = format!(
        "Three processes (commands and relay, projectors, queries and streams) on MongoDB, Kafka, Cassandra and Redis \
         of one machine with {} cores, its load {} at the end. {} rounds, figure and limit in turn, medians of rates and \
         99th percentiles of times. The projections caught up with the likes in {:.0} s and with {} follows in {:.0} s; \
         verify found no difference, in {:.0} s.",
        report::cores(),
        load_average(),
        sizes.rounds,
        caught_up.as_secs_f64(),
        sizes.followers,
        gathered.as_secs_f64(),
        judged.as_secs_f64(),
    );
    report::print(&[like, rate, reach], &how);
}

impl City {
    /// People and posts, and nobody who follows yet. Projectors do not run.
    async fn new(sizes: Sizes) -> Self {
        let mut cluster = Cluster::new(&Setup { stores: Stores::Cluster, ..Setup::default() }).await;
        cluster.start(COMMANDS, &[Role::CommandApi, Role::Relay]).await;
        cluster.start(READERS, &[Role::QueryApi, Role::Streamer]).await;
        let client = cluster.client();
        let [writer, celebrity] = Person::register_all(&client, ["writer", "celebrity"]).await;
        let mut posts = Vec::new();
        for _ in 0..sizes.posts {
            posts.push(writer.publish("to be liked", &mut Tokens::default()).await.id);
        }
        Self {
            look: cluster.look().await,
            issuer: Issuer::with(&cluster.secrets_file()),
            client,
            writer: id_of(&writer),
            posts: Arc::new(posts),
            celebrity,
            followers: Vec::new(),
            cluster,
        }
    }

    /// All follow the celebrity.
    async fn gather(&mut self, sizes: Sizes) {
        let path = format!("/v1/users/{}/follow", self.celebrity.id);
        crowd::each_asks(self.cluster.address_of(COMMANDS), &self.issuer, &path, sizes.followers).await;
        self.followers = (0..sizes.followers).map(crowd::stranger).collect();
        self.followers.sort_unstable();
    }

    /// Waits until all projections have applied all that is in the log; answers how long it took.
    ///
    /// # Panics
    /// When they come no further.
    async fn catch_up(&self) -> Duration {
        let began = Instant::now();
        let (mut least, mut since) = (i64::MAX, began);
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let behind = self.behind().await;
            if behind == 0 {
                return began.elapsed();
            }
            if behind < least {
                (least, since) = (behind, Instant::now());
            }
            assert!(since.elapsed() < PATIENCE, "the projections stay {behind} events behind");
        }
    }

    /// Events that wait for projections.
    async fn behind(&self) -> i64 {
        let stores = self.look.stores();
        let mut behind = 0;
        for (projection, topics) in PROJECTIONS {
            let build = Build { projection, generation: Generation::FIRST };
            let positions = stores.checkpoints.positions(build).await.expect("positions");
            for &topic in topics {
                for partition in 0..stores.event_log.partitions() {
                    let head = stores.event_log.head(topic, partition).await.expect("the head");
                    let at = positions.iter().find(|at| (at.topic, at.partition) == (topic, partition));
                    behind += head - at.map_or(-1, |at| at.offset);
                }
            }
        }
        behind
    }

    /// Somebody's client, for a quarter of an hour.
    fn client_of(&self, user: UserId) -> Client {
        self.client.bearer(&self.issuer.token(user))
    }

    /// The celebrity, for a quarter of an hour.
    fn celebrity(&self) -> Person {
        Person { client: self.client_of(id_of(&self.celebrity)), ..self.celebrity.clone() }
    }
}

fn id_of(person: &Person) -> UserId {
    person.id.parse().expect("an id")
}

/// What else the machine does, over the last minute.
fn load_average() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}
