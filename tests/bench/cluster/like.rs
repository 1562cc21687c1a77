//! "like command, cluster": 64 clients over HTTP.

use std::collections::HashMap;

use domain::stream::BEFORE_FIRST;
use domain::{StreamId, Topic};
use harness::PATIENCE;

use super::commands::{Commands, Like};
use super::{COMMANDS, City, Sizes};
use crate::CLIENTS;
use crate::crowd::stranger;
use crate::like::Liker;
use crate::load::{self, Round};
use crate::report::{Figure, Target};

/// Records and documents that are asked for at a time.
const PAGE: usize = 1_000;

/// Measures it.
pub(super) async fn measure(city: &City, sizes: Sizes) -> Figure {
    let commands = Commands::open(city).await;
    // None of those who will follow somebody.
    let token = |number: usize| city.issuer.token(stranger(u64::MAX - number as u64));
    let mut likers: Vec<Liker> = (0..CLIENTS).map(|number| Liker::new(number, token(number), &city.posts)).collect();
    let (server, process) = (city.cluster.address_of(COMMANDS), city.cluster.process_id(COMMANDS));
    let mut newest = HashMap::new();
    let _ = new_likes(city, &mut newest).await;

    let (_, again) = load::round(server, likers, sizes.round / 2).await;
    likers = again;
    commands.run(new_likes(city, &mut newest).await).await;

    let (mut rounds, mut limits, mut likes) = (Vec::new(), Vec::new(), 0);
    let (mut used, mut used_by_limit) = (0.0, 0.0);
    for _ in 0..sizes.rounds {
        let before = load::processor_time(process);
        let (round, again) = load::round(server, likers, sizes.round).await;
        used += (load::processor_time(process) - before).as_secs_f64();
        likers = again;
        let new = new_likes(city, &mut newest).await;
        assert_eq!(new.len() as u64, round.answers, "every acknowledged like is in the log");
        likes += round.answers;
        rounds.push(round);
        let before = load::processor_time(std::process::id());
        limits.push(commands.run(new).await);
        used_by_limit += (load::processor_time(std::process::id()) - before).as_secs_f64();
    }
    let each = |used: f64| used * 1e6 / likes as f64;
    Figure {
        name: "like command, cluster",
        unit: "commands/s",
        limit_is: format!(
            "what a like asks of servers by the bare drivers, {CLIENTS} at a time: find the post, find the relation to its \
             author and the reaction, insert the very document with the event in its outbox (majority), produce the very \
             record (acks=all, idempotent), and take it out of the outbox in batches"
        ),
        processor_micros: (each(used), Some(each(used_by_limit))),
        values: rounds.iter().map(Round::rate).collect(),
        limits,
        target: Target::Rate(0.7),
        notes: vec![format!(
            "{likes} likes over HTTP by {CLIENTS} keep-alive connections from one thread, rounds of {:.1} s. The process \
             takes commands and nothing else; processor time is its own, and that of the drivers.",
            sizes.round.as_secs_f64()
        )],
    }
}

/// The likes since the last call, in the order of the log.
async fn new_likes(city: &City, newest: &mut HashMap<u16, i64>) -> Vec<Like> {
    // An answer waits for the log, but not for long.
    city.cluster.settled().await;
    let stores = city.look.stores();
    let mut records = HashMap::new();
    let mut streams = Vec::new();
    for partition in 0..stores.event_log.partitions() {
        let head = stores.event_log.head(Topic::Posts, partition).await.expect("the head");
        let done = newest.entry(partition).or_insert(BEFORE_FIRST);
        while *done < head {
            let page = stores.event_log.read(Topic::Posts, partition, *done, PAGE, PATIENCE).await.expect("records");
            *done = page.last().expect("the head is there").position.offset;
            for record in page.into_iter().map(|logged| logged.record.expect("a record")) {
                let stream: StreamId = record.attributes.subject.parse().expect("a stream");
                // What is there twice was published twice, and is one like.
                if matches!(stream, StreamId::Reaction(..)) && records.insert(stream, record).is_none() {
                    streams.push(stream);
                }
            }
        }
    }
    let mut states = Vec::new();
    for page in streams.chunks(PAGE) {
        states.extend(stores.content.states(page).await.expect("states"));
    }
    let likes = streams.iter().zip(states).map(|(stream, state)| {
        let record = records.remove(stream).expect("each once");
        Like::new(*stream, city.writer, &state.expect("a document").state, record)
    });
    likes.collect()
}
