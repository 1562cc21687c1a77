//! What grows with the log, and must not: the time until the server serves, the time that a feed, a like and a follow
//! take, and memory.
//!
//! Each figure is what a large system takes, held against what a small one takes in the same run: rounds of the two
//! alternate. One client asks at a time, so that nothing waits for anything but the server.

use std::time::{Duration, Instant};

use domain::UserId;
use harness::{Person, Server, Setup, Stores, Tokens};
use serde_json::json;

use crate::Scale;
use crate::crowd::{self, request, stranger};
use crate::load::{self, Requests};
use crate::town::Town;

/// How much is small and large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    people: u32,
    posts: [u32; 2],
    /// Likes of one post, followers of one person.
    many: u64,
    rounds: usize,
    /// Answers per round that the median is taken of.
    answers: usize,
}

/// As the table of targets has it, up to a hundred thousand.
pub(crate) const WHOLE: Sizes =
    Sizes { people: 500, posts: [1_000, 100_000], many: 100_000, rounds: 5, answers: 1_000 };
/// Whether it still works.
pub(crate) const SMOKE: Sizes = Sizes { people: 60, posts: [200, 400], many: 500, rounds: 1, answers: 20 };

/// Likes and followers that are few.
const FEW: u64 = 10;
/// How much longer the large may take.
const FLAT: f64 = 1.3;
/// Resident memory with a million events.
const MEMORY_MIB: f64 = 150.0;

/// Measures and prints.
pub(crate) async fn measure(sizes: Sizes) {
    let scale = |posts| Scale { users: sizes.people, posts, rounds: 1, round: Duration::ZERO };
    let mut small = Town::new(scale(sizes.posts[0])).await;
    let began = Instant::now();
    let mut large = Town::new(scale(sizes.posts[1])).await;
    let seeded = began.elapsed();

    let starts = starts(&mut small, &mut large, sizes).await;
    let feeds = feeds(&small, &large, sizes).await;
    let [likes, follows] = crowds(&large, sizes).await;
    large.judge().await;
    let events = large.events();
    let memory = load::resident_memory(large.server.process_id()) as f64 / f64::from(1 << 20);

    print(&[starts, feeds, likes, follows], memory, events, seeded, sizes);
}

/// What a small and a large system take, per round, in milliseconds.
struct Grown {
    name: &'static str,
    small_is: String,
    large_is: String,
    small: Vec<f64>,
    large: Vec<f64>,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// From the start of the process until it serves.
async fn starts(small: &mut Town, large: &mut Town, sizes: Sizes) -> Grown {
    let setup = Setup { stores: Stores::Embedded, cheap_passwords: false, ..Setup::default() };
    let mut empty = Server::prepare(setup);
    empty.start_again().await;
    let mut grown = Grown {
        name: "start of the embedded server",
        small_is: "an empty data directory that has been started before".to_owned(),
        large_is: format!("{} posts and all that follows from them", sizes.posts[1]),
        small: Vec::new(),
        large: Vec::new(),
    };
    for _ in 0..sizes.rounds {
        grown.small.push(restart(&mut empty).await);
        grown.large.push(restart(&mut large.server).await);
    }
    // A town that was restarted lately, as the other was.
    let _ = restart(&mut small.server).await;
    grown
}

async fn restart(server: &mut Server) -> f64 {
    assert!(server.terminate().await.success());
    let began = Instant::now();
    server.start_again().await;
    millis(began.elapsed())
}

/// A page of the home of everybody in turn.
async fn feeds(small: &Town, large: &Town, sizes: Sizes) -> Grown {
    let mut grown = Grown {
        name: "home feed, median",
        small_is: format!("{} posts", sizes.posts[0]),
        large_is: format!("{} posts", sizes.posts[1]),
        small: Vec::new(),
        large: Vec::new(),
    };
    let readers = |town: &Town| -> Turns {
        let request = |&person: &UserId| request("GET", "/v1/feed?limit=20", &town.token(person));
        Turns { requests: town.people.iter().map(request).collect(), next: 0 }
    };
    let (mut of_small, mut of_large) = (readers(small), readers(large));
    rounds(&mut grown, (small, &mut of_small), (large, &mut of_large), sizes).await;
    grown
}

/// A like of a post that few or many like, and a follow of somebody whom few or many follow.
async fn crowds(town: &Town, sizes: Sizes) -> [Grown; 2] {
    let client = town.server.client();
    let mut tokens = Tokens::default();
    let (mut likes, mut follows) = (Vec::new(), Vec::new());
    for (name, crowd_size) in [("little_known", FEW), ("celebrated", sizes.many)] {
        let person = Person::register(&client, name).await;
        let post = person.publish("to be liked", &mut tokens).await.id;
        likes.push(format!("/v1/posts/{post}/like"));
        follows.push(format!("/v1/users/{}/follow", person.id));
        for path in [likes.last(), follows.last()].into_iter().flatten() {
            crowd::each_asks(town.address(), &town.issuer(), path, crowd_size).await;
        }
    }
    town.judge().await;
    [
        there_and_back(town, "like, median", "likes of the post", &likes, sizes).await,
        there_and_back(town, "follow, median", "followers of the person", &follows, sizes).await,
    ]
}

/// Of the path that few have asked for, and of the one that many have.
async fn there_and_back(town: &Town, name: &'static str, what: &str, paths: &[String], sizes: Sizes) -> Grown {
    let mut grown = Grown {
        name,
        small_is: format!("{FEW} {what}"),
        large_is: format!("{} {what}", sizes.many),
        small: Vec::new(),
        large: Vec::new(),
    };
    let token = town.token(stranger(u64::MAX));
    let [few, many] = paths else { panic!("two paths") };
    let turn = |path: &String| {
        let requests = ["PUT", "DELETE"].map(|method| request(method, path, &token));
        Turns { requests: requests.to_vec(), next: 0 }
    };
    let (mut few, mut many) = (turn(few), turn(many));
    rounds(&mut grown, (town, &mut few), (town, &mut many), sizes).await;
    grown
}

/// The median wait of each round, small and large in turn.
async fn rounds(grown: &mut Grown, small: (&Town, &mut Turns), large: (&Town, &mut Turns), sizes: Sizes) {
    for round in 0..=sizes.rounds {
        let one = load::waits(small.0.address(), small.1, sizes.answers).await;
        let other = load::waits(large.0.address(), large.1, sizes.answers).await;
        // The first round only warms.
        if round > 0 {
            grown.small.push(millis(one[one.len() / 2]));
            grown.large.push(millis(other[other.len() / 2]));
        }
    }
}

/// Some requests in turn, for ever.
struct Turns {
    requests: Vec<Vec<u8>>,
    next: usize,
}

impl Requests for Turns {
    fn next(&mut self, request: &mut Vec<u8>) -> bool {
        request.extend_from_slice(&self.requests[self.next % self.requests.len()]);
        self.next += 1;
        true
    }
}

/// A line of JSON per figure, and a table.
#[expect(clippy::print_stdout, reason = "the figures are what the program is run for")]
fn print(figures: &[Grown], memory_mib: f64, events: u64, seeded: Duration, sizes: Sizes) {
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    for figure in figures {
        let (small, large) = (median(&figure.small), median(&figure.large));
        let line = json!({
            "name": figure.name,
            "value": rounded(large),
            "limit": rounded(small),
            "ratio": rounded(large / small),
            "unit": "ms",
            "target": FLAT,
            "values": figure.large.iter().map(|value| rounded(*value)).collect::<Vec<_>>(),
            "limits": figure.small.iter().map(|value| rounded(*value)).collect::<Vec<_>>(),
        });
        println!("{line}");
    }
    let ratio = rounded(memory_mib / MEMORY_MIB);
    let memory = json!({
        "name": "resident memory", "value": memory_mib.round(), "limit": MEMORY_MIB, "ratio": ratio, "unit": "MiB",
        "target": 1.0, "events": events,
    });
    println!("{memory}");
    println!("\n| figure | small | large | ratio | aim |\n| --- | ---: | ---: | ---: | ---: |");
    for Grown { name, small_is, large_is, small, large } in figures {
        let (small, large) = (median(small), median(large));
        println!(
            "| {name} | {small:.2} ms ({small_is}) | {large:.2} ms ({large_is}) | {:.2} | ≤ {FLAT} |",
            large / small
        );
    }
    println!("| resident memory, {events} events | | {memory_mib:.0} MiB | {ratio:.2} | ≤ {MEMORY_MIB:.0} MiB |");
    println!(
        "\n{} rounds of {} answers each, one client that asks one thing after the other, small and large in turn; \
         medians; {} people; the large community was made and judged in {:.0} s.",
        sizes.rounds,
        sizes.answers,
        sizes.people,
        seeded.as_secs_f64(),
    );
}
