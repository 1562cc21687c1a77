//! Roles as processes, several of each, that come and go: partitions move, zombies are fenced (P2), and nothing is lost
//! or doubled.
//!
//! Ten thousand events, a hundred thousand under `HYBRID_LIVE_TEST_LONG`.

use std::sync::Arc;

use adapters::checkpoints::{Build, ENGAGEMENT, Generation, PROFILES, TIMELINES};
use domain::Topic;
use domain::stream::BEFORE_FIRST;
use harness::{Cluster, Role, Setup, Stores, System, Tokens, Watching, eventually};
use tokio::sync::watch;

use crate::faults::restarts::{readiness, until_ready};
use crate::load::{Town, every_effect_is_there_once, the_stream_missed_nothing, work};

const EVENTS: u32 = 10_000;
const PEOPLE: usize = 40;
const POSTS: usize = 120;
/// More than there are processes, so that they share.
const SETTINGS: &str = "partitions = 16\n";

/// Two of every role. Where the log shares the documents' transactions there is nothing to relay.
async fn two_of_each() -> Cluster {
    let mut counts = vec![(Role::CommandApi, 2), (Role::QueryApi, 2), (Role::Streamer, 2), (Role::Projectors, 2)];
    if !Stores::of_this_run().share_transactions() {
        counts.push((Role::Relay, 2));
    }
    Cluster::with(&Setup { settings: SETTINGS.to_owned(), ..Setup::default() }, &counts).await
}

/// Waits until every projection has done what the log holds now: so every partition has an owner that works.
async fn until_all_partitions_move(system: &System) {
    let look = system.look().await;
    let log = &look.stores().event_log;
    let mut heads = Vec::new();
    for partition in 0..log.partitions() {
        // All projections read this topic.
        heads.push((partition, log.head(Topic::Posts, partition).await.expect("the head")));
    }
    heads.retain(|(_, head)| *head > BEFORE_FIRST);
    for projection in [TIMELINES, ENGAGEMENT, PROFILES] {
        let build = Build { projection, generation: Generation::FIRST };
        eventually("every partition has an owner that works", async || {
            let done = look.stores().checkpoints.positions(build).await.expect("positions");
            let is_done = |partition: u16, head: i64| {
                let mut there = done.iter().filter(|done| done.topic == Topic::Posts && done.partition == partition);
                there.any(|done| done.offset >= head)
            };
            match heads.iter().find(|(partition, head)| !is_done(*partition, *head)) {
                None => Ok(()),
                Some((partition, head)) => Err(format!("{projection} is not at {head} in partition {partition}")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_of_every_role_die_and_stand_still_and_nothing_is_lost_or_doubled() {
    Stores::only(&[Stores::Cluster, Stores::SqliteRedis]);
    let mut cluster = two_of_each().await;
    let client = cluster.client();
    let town = Town::new(&client, PEOPLE, POSTS).await;
    let commands = town.commands(crate::cases(EVENTS) as usize);
    let mut watching = Watching::post(&client, &town.posts[0], None).await;
    let (acknowledged, mut count) = watch::channel(0);
    let part = commands.len() / 8;
    let work = tokio::spawn(work(Arc::clone(&town), commands, acknowledged));
    let mut until = async |parts: usize| {
        count.wait_for(|count| *count >= parts * part).await.expect("work goes on");
    };

    until(1).await;
    cluster.kill("projectors-1").await;
    until_all_partitions_move(&cluster).await;
    cluster.start_again("projectors-1").await;

    until(2).await;
    // Not dead, only deaf: it wakes up in the middle of what it did, and the other has done it since. In a file it could
    // be in the middle of a write, and keep the others out until it wakes.
    if Stores::of_this_run() == Stores::Cluster {
        cluster.pause("projectors-2");
        until_all_partitions_move(&cluster).await;
        cluster.resume("projectors-2");
    }

    until(3).await;
    cluster.kill("command-api-1").await;
    until(4).await;
    cluster.start_again("command-api-1").await;
    cluster.kill("command-api-2").await;

    if !Stores::of_this_run().share_transactions() {
        cluster.kill("relay-1").await;
        until(5).await;
        cluster.start_again("relay-1").await;
        cluster.kill("relay-2").await;
    }
    until(6).await;
    cluster.start_again("command-api-2").await;
    if !Stores::of_this_run().share_transactions() {
        cluster.start_again("relay-2").await;
    }
    for streamer in ["streamer-1", "streamer-2"] {
        cluster.kill(streamer).await;
        watching.resume().await.expect("a stream");
        cluster.start_again(streamer).await;
    }

    until(7).await;
    // One that says goodbye hands over.
    cluster.terminate("projectors-1").await;
    until_all_partitions_move(&cluster).await;
    cluster.start_again("projectors-1").await;

    let given = work.await.expect("every command is acknowledged");
    every_effect_is_there_once(&cluster, &client, &town, &given).await;
    the_stream_missed_nothing(&client, &town, &given, &watching).await;
    cluster.verify().await;
}

/// L1, wherever one resumes.
#[tokio::test]
async fn a_stream_that_goes_on_at_another_process_misses_nothing_and_repeats_nothing() {
    Stores::only(&[Stores::Cluster, Stores::SqliteRedis]);
    let counts = [(Role::CommandApi, 1), (Role::QueryApi, 1), (Role::Streamer, 2), (Role::Projectors, 1)];
    let mut cluster = Cluster::with(&Setup::default(), &counts).await;
    if !Stores::of_this_run().share_transactions() {
        cluster.start("relay-1", &[Role::Relay]).await;
    }
    let client = cluster.client();
    let town = Town::new(&client, 4, 4).await;
    let mut tokens = Tokens::default();
    let (ada, ben) = (&town.people[0], &town.people[1]);
    ben.follow(ada, &mut tokens).await;
    let _ = ben.feed(10, &tokens).await;
    let (mut comments, mut posts) = (Vec::new(), Vec::new());
    let mut of_post = Watching::post(&ben.client, &town.posts[0], None).await;
    let mut of_feed = Watching::feed(&ben.client, None).await;
    // Each has an id to resume from, before anything is lost.
    comments.push(ada.comment(&town.posts[0], "first", &mut tokens).await);
    posts.push(ada.publish("first", &mut tokens).await.id);
    let _ = of_post.first("NEW_COMMENT").await;
    let _ = of_feed.first("NEW_POST").await;
    for round in 0..4 {
        for number in 0..5 {
            comments.push(ada.comment(&town.posts[0], &format!("{round}-{number}"), &mut tokens).await);
            posts.push(ada.publish(&format!("{round}-{number}"), &mut tokens).await.id);
        }
        // Some of it has been told by now, some not.
        let dies = format!("streamer-{}", round % 2 + 1);
        cluster.kill(&dies).await;
        comments.push(ada.comment(&town.posts[0], "meanwhile", &mut tokens).await);
        posts.push(ada.publish("meanwhile", &mut tokens).await.id);
        of_post.resume().await.expect("a stream");
        of_feed.resume().await.expect("a stream");
        cluster.start_again(&dies).await;
    }
    for (watching, name, mut expected) in [(&of_post, "NEW_COMMENT", comments), (&of_feed, "NEW_POST", posts)] {
        let total = expected.len();
        watching.until(name, |told| told.iter().filter(|told| told.name == name).count() >= total).await;
        let mut told = watching.ids(name);
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected, "L1: each once");
        assert!(!watching.told().iter().any(|told| told.name == "reset"), "L1: {:?}", watching.told());
    }
    cluster.verify().await;
}

/// Whole systems side by side, as somebody has them who only wants no single point of failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_do_everything_share_the_work() {
    // Whoever does everything wants files for itself.
    Stores::only(&[Stores::Cluster]);
    let everything = [Role::CommandApi, Role::QueryApi, Role::Streamer, Role::Relay, Role::Projectors];
    let mut cluster = Cluster::new(&Setup { settings: SETTINGS.to_owned(), ..Setup::default() }).await;
    for name in ["one", "other"] {
        cluster.start(name, &everything).await;
    }
    let (one, other) = (cluster.client_of("one"), cluster.client_of("other"));
    let town = Town::new(&one, 6, 6).await;
    let watching = Watching::post(&other, &town.posts[0], None).await;
    let given = work(Arc::clone(&town), town.commands(200), watch::Sender::new(0)).await;
    cluster.kill("one").await;
    until_all_partitions_move(&cluster).await;
    cluster.start_again("one").await;
    every_effect_is_there_once(&cluster, &other, &town, &given).await;
    the_stream_missed_nothing(&other, &town, &given, &watching).await;
    cluster.verify().await;
}

/// "Healthy while deaf": its stores answer, and no news would ever come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamer_that_hears_nothing_is_not_ready() {
    Stores::only(&[Stores::Cluster, Stores::SqliteRedis]);
    let mut cluster = Cluster::new(&Setup::default()).await;
    cluster.start("streams", &[Role::Streamer]).await;
    let streams = cluster.client_of("streams");
    let deaf = (503, vec!["canary".to_owned()]);
    assert_eq!(readiness(&streams).await, deaf, "nobody hands anything on");

    for number in 1..=2 {
        cluster.start(&format!("projectors-{number}"), &[Role::Projectors]).await;
    }
    until_ready(&streams).await;
    // Whichever of the two does it, the other takes over.
    cluster.kill("projectors-1").await;
    until_ready(&streams).await;
    cluster.kill("projectors-2").await;
    eventually("it hears that nobody is there", async || match readiness(&streams).await {
        lacking if lacking == deaf => Ok(()),
        lacking => Err(format!("{lacking:?}")),
    })
    .await;
    cluster.start_again("projectors-1").await;
    until_ready(&streams).await;
}
