//! "fan-out, cluster" and "post -> the last of 10,000 followers": one author, whom all follow.
//!
//! Fan-out goes through followers by id, page by page, and tells open feeds once a page is written. So whoever watches the
//! feeds of the last of each page sees when all rows are there, as readers do.

use std::time::{Duration, Instant};

use harness::{Tokens, Watching};

use super::rows::Rows;
use super::{City, PROJECTORS, Sizes};
use crate::load;
use crate::report::{Figure, Target, percentile};

/// Followers that are written to at a time.
const PAGE: usize = 1_000;
/// Posts after which feeds are opened anew: access tokens last a quarter of an hour.
const RENEWED_AFTER: usize = 20;

/// Open feeds of the last follower of each page.
struct Watchers(Vec<Watching>);

impl Watchers {
    async fn open(city: &City) -> Self {
        let mut watching = Vec::new();
        for page in city.followers.chunks(PAGE) {
            if let Some(last) = page.last() {
                watching.push(Watching::feed(&city.client_of(*last), None).await);
            }
        }
        Self(watching)
    }

    /// Waits until each has been told of all these posts.
    async fn until(&self, posts: &[String]) {
        for watching in &self.0 {
            watching
                .until("all posts are in the feed", |told| {
                    let told = told.iter().filter(|told| told.name == "NEW_POST");
                    let told: Vec<&str> = told.filter_map(|told| told.data["id"].as_str()).collect();
                    posts.iter().all(|post| told.contains(&post.as_str()))
                })
                .await;
        }
    }
}

/// Publishes so many posts, and waits until all followers have them; answers how long that takes from the first.
async fn publish(city: &City, watchers: &Watchers, posts: usize) -> Duration {
    let (author, mut published) = (city.celebrity(), Vec::new());
    let began = Instant::now();
    for _ in 0..posts {
        published.push(author.publish("for everybody", &mut Tokens::default()).await.id);
    }
    watchers.until(&published).await;
    began.elapsed()
}

/// Measures how many rows are written per second.
pub(super) async fn rate(city: &City, rows: &Rows, sizes: Sizes) -> Figure {
    let per_second = |took: Duration| (sizes.burst * city.followers.len()) as f64 / took.as_secs_f64();
    let watchers = Watchers::open(city).await;
    publish(city, &watchers, sizes.burst).await;
    city.catch_up().await;

    let (mut values, mut limits) = (Vec::new(), Vec::new());
    let mut used = [0.0; 2];
    for _ in 0..sizes.rounds {
        let before = load::processor_time(city.cluster.process_id(PROJECTORS));
        values.push(per_second(publish(city, &watchers, sizes.burst).await));
        city.catch_up().await;
        used[0] += (load::processor_time(city.cluster.process_id(PROJECTORS)) - before).as_secs_f64();
        let before = load::processor_time(std::process::id());
        limits.push(per_second(rows.write(&city.followers, sizes.burst).await));
        used[1] += (load::processor_time(std::process::id()) - before).as_secs_f64();
    }
    let each = |used: f64| used * 1e6 / (sizes.rounds * sizes.burst * city.followers.len()) as f64;
    Figure {
        name: "fan-out, cluster",
        unit: "rows/s",
        limit_is: format!(
            "the bare driver of Cassandra, the same rows into the same table, {} at a time (the best of several)",
            rows.concurrency()
        ),
        processor_micros: (each(used[0]), Some(each(used[1]))),
        values,
        limits,
        target: Target::Rate(0.8),
        notes: vec![format!(
            "{} posts of an author with {} followers, from the first command until the last follower of each page of the \
             last post has been told; all projections run.",
            sizes.burst,
            city.followers.len()
        )],
    }
}

/// Measures how long a post takes to its last follower.
pub(super) async fn reach(city: &City, rows: &Rows, sizes: Sizes) -> Figure {
    let mut watchers = Watchers(Vec::new());
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    let millis = |took: Duration| took.as_secs_f64() * 1e3;
    let mut used = [0.0; 2];
    for number in 0..sizes.timed {
        if number % RENEWED_AFTER == 0 {
            watchers = Watchers::open(city).await;
        }
        let before = load::processor_time(city.cluster.process_id(PROJECTORS));
        values.push(millis(publish(city, &watchers, 1).await));
        city.catch_up().await;
        used[0] += (load::processor_time(city.cluster.process_id(PROJECTORS)) - before).as_secs_f64();
        let before = load::processor_time(std::process::id());
        limits.push(millis(rows.read_and_write().await));
        used[1] += (load::processor_time(std::process::id()) - before).as_secs_f64();
    }
    let each = |used: f64| used * 1e6 / sizes.timed as f64;
    let halves = (percentile(&values, 0.5), percentile(&limits, 0.5));
    Figure {
        name: "post → the last follower, p99, cluster",
        unit: "ms",
        limit_is: "the bare drivers: the followers read from MongoDB, and their rows written to Cassandra meanwhile"
            .to_owned(),
        processor_micros: (each(used[0]), Some(each(used[1]))),
        values,
        limits,
        target: Target::Time(1.5),
        notes: vec![format!(
            "{} posts to {} followers, one after the other, from the command over HTTP until the open feeds of the last \
             follower of each page have it; medians {:.0} ms and {:.0} ms; to stay below a second.",
            sizes.timed,
            city.followers.len(),
            halves.0,
            halves.1
        )],
    }
}
