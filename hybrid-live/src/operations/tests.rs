//! What holds whatever is asked in which order, and what needs states that no server gets into by itself.

use adapters::event_log::Logged;
use domain::Topic;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::events::{Filter, Reader, Start};
use super::*;
use crate::config::Config;
use crate::seed;
use crate::wiring::{self, Opened};

async fn community() -> (TempDir, Opened) {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config { data_dir: directory.path().display().to_string(), ..Config::default() };
    let opened = wiring::open(&config).await.expect("opens");
    seed::seed_for_tests(&opened, 1, 12, 40).await;
    (directory, opened)
}

/// At most `limit` events, passing over at most `budget` others, and where to go on if there may be more.
async fn read(
    log: &Arc<dyn EventLog>,
    filter: &Filter,
    from: &Start,
    limit: usize,
    mut budget: usize,
) -> (Vec<Logged>, Option<String>) {
    let mut reader = Reader::new(Arc::clone(log), filter.clone(), from).expect("of this log");
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(logged) = reader.next(&mut budget).await.expect("reads")
    {
        found.push(logged);
    }
    let has_more = found.len() == limit || budget == 0;
    (found, has_more.then(|| reader.rest()))
}

fn place(logged: &Logged) -> (Topic, u16, i64) {
    (logged.position.topic, logged.position.partition, logged.position.offset)
}

/// The seeded community has times of its own, so offsets and times are not in the same order everywhere.
#[tokio::test]
async fn the_whole_log_is_shown_in_the_order_of_each_partition() {
    let (_directory, opened) = community().await;
    let log = Arc::clone(&opened.stores.event_log);
    let (all, _) = read(&log, &Filter::default(), &Start::Beginning, usize::MAX, usize::MAX).await;
    let mut expected = Vec::new();
    for topic in Topic::ALL {
        for number in 0..log.partitions() {
            let head = log.head(topic, number).await.expect("reads");
            let of_partition: Vec<i64> =
                all.iter().map(place).filter(|at| (at.0, at.1) == (topic, number)).map(|at| at.2).collect();
            assert_eq!(of_partition, (0..=head).collect::<Vec<_>>(), "{topic} {number}");
            expected.extend(of_partition);
        }
    }
    assert_eq!(all.len(), expected.len());
}

#[tokio::test]
async fn pages_of_any_size_show_every_wanted_event_once() {
    let (_directory, opened) = community().await;
    let log = Arc::clone(&opened.stores.event_log);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for types in [Vec::new(), vec!["reaction.liked".to_owned()], vec!["user.registered".to_owned()]] {
        let filter = Filter { types, ..Filter::default() };
        let (whole, _) = read(&log, &filter, &Start::Beginning, usize::MAX, usize::MAX).await;
        let (mut from, mut seen) = (Start::Beginning, Vec::new());
        loop {
            let (limit, budget) = (random.random_range(1..40), random.random_range(1..40));
            let (page, rest) = read(&log, &filter, &from, limit, budget).await;
            seen.extend(page.iter().map(place));
            match rest {
                Some(rest) => from = rest.parse().expect("positions"),
                None => break,
            }
        }
        let mut expected: Vec<_> = whole.iter().map(place).collect();
        expected.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_request_that_nobody_takes_up_is_taken_back() {
    let (_directory, opened) = community().await;
    let operations = wiring::operations(&opened);
    let checkpoints = &opened.stores.checkpoints;
    let build = Build { projection: "engagement", generation: adapters::checkpoints::Generation::FIRST };
    let place = Partition { topic: Topic::Posts, number: 0 };
    let owner = checkpoints.take(build, place).await.expect("takes").epoch;
    let lane = Lane::new("a");
    checkpoints.park(build, owner, place, &lane, &[0, 2], "stopped").await.expect("parks");

    let asked = operations.ask("engagement", "a", Some(Dropping::All)).await.expect("is parked");
    let refused = operations.wait(asked, Duration::ZERO).await.expect_err("nothing runs");
    assert!(matches!(refused, Refusal::Unanswered(_)), "{refused}");
    assert!(checkpoints.orders().borrow().requests.is_empty());

    assert!(operations.set_paused("engagement", true).await.expect("pauses"));
    let refused = operations.ask("engagement", "a", None).await.expect_err("is paused");
    assert!(matches!(refused, Refusal::Paused("engagement")), "{refused}");
    assert!(checkpoints.orders().borrow().requests.is_empty());
    for (projection, lane) in [("homes", "a"), ("engagement", "b"), ("timelines", "a")] {
        assert!(operations.ask(projection, lane, None).await.is_err());
    }
    assert!(matches!(operations.set_paused("homes", true).await, Err(Refusal::NoProjection(_))));

    let report = operations.projection("engagement", false).await.expect("reads");
    assert_eq!((report.state, report.parked_lanes, report.parked_events), ("paused", 1, 2));
    let letters = operations.dead_letters().await.expect("reads").items;
    assert_eq!((letters.len(), letters[0].waiting, letters[0].reason.as_str()), (1, 2, "stopped"));
}
