//! Content and log in two places: commands are accepted whatever the log does, and the log gets everything, in order
//! (W1, W3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::codec::Codec;
use adapters::http::consistency::Token;
use domain::reaction::{Command, Reaction, Subject};
use domain::{PostId, StreamId, Timestamp, UserId};
use futures::future::join_all;
use proptest::prelude::*;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::faults::{Crashing, FaultyLog, LogFault, Moment};
use super::world::{World, eventually};
use crate::relay::{Relay, Settings};
use crate::write_path::{LateLog, Origin, WriteError, WritePath};

/// Takes every outbox for left behind.
const AT_ONCE: Settings = Settings { age: Duration::ZERO, every: Duration::from_millis(1), batch: 3 };

/// A world whose log can fail.
async fn with_faulty_log() -> (World, Arc<FaultyLog>) {
    let world = World::apart().await;
    let log = FaultyLog::new(world.event_log.clone());
    (world.with(world.content.clone(), log.clone()), log)
}

async fn nothing_pending(world: &World) -> bool {
    world.content.pending_outboxes(Timestamp::MAX, 1000).await.unwrap().is_empty()
}

/// Sweeps until no outbox is left.
async fn sweep_all(world: &World, relay: &Relay) {
    eventually("outboxes are empty", async || {
        // A fault that was meant for a command may hit the relay: it tries again.
        let _ = relay.sweep().await;
        nothing_pending(world).await.then_some(())
    })
    .await;
}

/// W3, and nothing lost: every stream's first occurrences are 1, 2, 3 … up to its document's sequence.
async fn check_log(world: &World) {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut events: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for record in world.log().await {
        let (stream, sequence) = (record.attributes.subject, record.attributes.sequence);
        let newest = seen.entry(stream.clone()).or_default();
        assert!(sequence <= *newest + 1, "{stream}: {sequence} comes right after {newest}");
        *newest = sequence.max(*newest);
        events.entry(stream).or_default().insert((sequence, record.attributes.id));
    }
    for (stream, state) in world.content.scan(None, 1000).await.unwrap() {
        let name = stream.to_string();
        assert_eq!(seen.get(&name).copied().unwrap_or_default(), state.sequence, "{name} is whole");
        assert_eq!(events[&name].len() as u64, state.sequence, "{name}: one event for each number");
        let published = world.content.published(stream).await.unwrap();
        assert_eq!(published.map(|published| published.sequence), Some(state.sequence), "{name}");
    }
}

#[tokio::test]
async fn an_event_is_in_the_log_when_the_command_is_answered() {
    let (world, _) = with_faulty_log().await;
    let ada = world.person("ada").await;
    let post = ada.publish("hello").await;
    let reply = ada.put(&format!("/v1/posts/{post}/like")).await.expect(204);
    assert_eq!(world.events().await["reaction.liked"], 1);
    // The token says where, as the log has answered.
    let published = world.content.published(StreamId::Reaction(post, ada.id)).await.unwrap().unwrap();
    let token = Token::at(published.position, domain::Lane::post(post)).to_string();
    assert_eq!(reply.header("consistency-token"), Some(token.as_str()));
    eventually("what is acknowledged leaves the outbox", async || nothing_pending(&world).await.then_some(())).await;
}

/// A process that starts while the log is away has never seen it.
#[tokio::test]
async fn commands_are_accepted_before_the_log_is_open() {
    let world = World::apart().await;
    let log = LateLog::default();
    let codec = Arc::new(Codec::new(world.content.clone(), &world.secrets));
    let early = WritePath::with_late_log(world.content.clone(), log.clone(), codec);
    let subject = Subject { post: post(1), user: user(1) };
    let stream = StreamId::Reaction(subject.post, subject.user);
    let origin = Origin::now(subject.user);
    let liked = early.execute::<Reaction>(stream, &origin, &Command::Like(subject)).await.expect("is accepted");
    assert_eq!(liked.token, Token::of_stream(stream, 1, domain::Topic::Posts, domain::Lane::post(subject.post)));
    let relay = Relay::new(&early, AT_ONCE);
    // While whoever committed still tries by itself, there is nothing for the relay to do.
    let missed = eventually("the log is missed", async || relay.sweep().await.err()).await;
    assert!(matches!(missed, StoreError::Unavailable(_)), "nowhere to publish to");
    assert!(world.log().await.is_empty() && !nothing_pending(&world).await);

    log.is(world.event_log.clone());
    sweep_all(&world, &relay).await;
    check_log(&world).await;
    assert_eq!(world.log().await.len(), 1);
}

#[tokio::test]
async fn with_the_log_down_commands_are_accepted_and_the_relay_brings_their_events() {
    let (world, log) = with_faulty_log().await;
    let ada = world.person("ada").await;
    let post = ada.publish("hello").await;
    log.set_down(true);
    let before = world.log().await.len();
    let liked = ada.put(&format!("/v1/posts/{post}/like")).await.expect(204);
    ada.delete(&format!("/v1/posts/{post}/like")).await.expect(204);
    ada.comment(post, "and more").await;
    assert_eq!(world.log().await.len(), before);
    // The token names the stream, since nobody knows where its event will be.
    let stream = StreamId::Reaction(post, ada.id);
    let token = Token::of_stream(stream, 1, domain::Topic::Posts, domain::Lane::post(post)).to_string();
    assert_eq!(liked.header("consistency-token"), Some(token.as_str()));

    let relay = Relay::new(&world.write_path, AT_ONCE);
    // Nothing is old enough for a relay that waits.
    let patient = Relay::new(&world.write_path, Settings::default());
    assert_eq!(patient.sweep().await.unwrap(), 0);
    eventually("the log is missed", async || relay.sweep().await.err()).await;
    log.set_down(false);
    sweep_all(&world, &relay).await;
    check_log(&world).await;
    let events = world.events().await;
    assert_eq!((events["reaction.liked"], events["reaction.unliked"], events["comment.added"]), (1, 1, 1));
}

#[tokio::test]
async fn no_answer_waits_for_a_log_that_hangs() {
    let (world, log) = with_faulty_log().await;
    let ada = world.person("ada").await;
    let post = ada.publish("hello").await;
    log.hanging.send_replace(true);
    let path = format!("/v1/posts/{post}/like");
    let liked = ada.put(&path).await.expect(204);
    let stream = StreamId::Reaction(post, ada.id);
    let token = Token::of_stream(stream, 1, domain::Topic::Posts, domain::Lane::post(post)).to_string();
    assert_eq!(liked.header("consistency-token"), Some(token.as_str()));
    // Nor does a repeat, which writes nothing and still covers what was written.
    assert_eq!(ada.put(&path).await.expect(204).header("consistency-token"), Some(token.as_str()));
    log.hanging.send_replace(false);
    eventually("what hung gets through", async || nothing_pending(&world).await.then_some(())).await;
    check_log(&world).await;
}

#[tokio::test]
async fn the_relay_runs_until_it_is_told_to_stop() {
    let (world, log) = with_faulty_log().await;
    let ada = world.person("ada").await;
    log.set_down(true);
    ada.publish("hello").await;
    let cancel = CancellationToken::new();
    let running = tokio::spawn(Relay::new(&world.write_path, AT_ONCE).run(cancel.clone()));
    log.set_down(false);
    eventually("the relay has published", async || nothing_pending(&world).await.then_some(())).await;
    check_log(&world).await;
    // Also while the log hangs.
    log.hanging.send_replace(true);
    ada.publish("another").await;
    cancel.cancel();
    running.await.unwrap();
    assert!(!nothing_pending(&world).await);
}

#[tokio::test]
async fn a_process_that_ends_after_its_commit_leaves_its_events_to_the_relay() {
    let (world, _) = with_faulty_log().await;
    let ada = world.person("ada").await;
    let post = ada.publish("hello").await;
    eventually("settled", async || nothing_pending(&world).await.then_some(())).await;
    for call in ["commit", "acknowledge"] {
        for moment in [Moment::Before, Moment::After] {
            let path = format!("/v1/posts/{post}/comments");
            // Which of the process's calls is that, is found by trying.
            for at in 0.. {
                assert!(at < 20, "{call} is never called");
                let content = Crashing::new(world.content.clone(), at, moment);
                let dying = world.with(content.clone(), world.event_log.clone());
                ada.at(&dying).post(&path, json!({ "text": format!("{call} {moment:?} {at}") })).await;
                // What publishes is not waited for to its end.
                let published = async || content.ended_in().or_else(|| content.is_idle().then_some("nothing"));
                if eventually("the process ends", published).await == call {
                    break;
                }
            }
            sweep_all(&world, &Relay::new(&world.write_path, AT_ONCE)).await;
            check_log(&world).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn relays_and_commands_that_publish_the_same_streams_keep_their_order() {
    let (world, _) = with_faulty_log().await;
    let cancel = CancellationToken::new();
    let relays = [
        Relay::new(&world.write_path, AT_ONCE),
        // One of another process, which shares no locks.
        Relay::new(&world.with(world.content.clone(), world.event_log.clone()).write_path, AT_ONCE),
    ];
    let sweeping = relays.map(|relay| {
        let cancel = cancel.clone();
        tokio::spawn(async move {
            while !cancel.is_cancelled() {
                relay.sweep().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    });
    let writers = (0..8).map(|number| {
        let world = world.clone();
        tokio::spawn(async move {
            for round in 0..25 {
                // Two streams of each of four people, written from two sides.
                toggle(&world.write_path, number % 2, number / 2, round % 2 == 0).await.unwrap();
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|written| written.unwrap());
    cancel.cancel();
    join_all(sweeping).await.into_iter().for_each(|swept| swept.unwrap());
    sweep_all(&world, &Relay::new(&world.write_path, AT_ONCE)).await;
    check_log(&world).await;
}

fn post(number: u8) -> PostId {
    PostId::from_parts(Timestamp::from_millis(1_700_000_000_000), [number; 10])
}

fn user(number: u8) -> UserId {
    UserId::from_parts(Timestamp::from_millis(1_600_000_000_000), [number; 10])
}

/// Likes or unlikes, whatever else there is.
async fn toggle(write_path: &WritePath, on: u8, by: u8, like: bool) -> Result<(), WriteError> {
    let subject = Subject { post: post(on), user: user(by) };
    let command = if like { Command::Like(subject) } else { Command::Unlike(subject) };
    let stream = StreamId::Reaction(subject.post, subject.user);
    loop {
        match write_path.execute::<Reaction>(stream, &Origin::now(subject.user), &command).await {
            // Eight writers on one stream may well meet sixteen times.
            Err(WriteError::Conflict) => {}
            other => return other.map(drop),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Somebody likes or unlikes something; several at once.
    React(Vec<(u8, u8, bool)>),
    /// The next append goes wrong.
    Fail(LogFault),
    /// The log is down from now on, or up again.
    Down(bool),
    /// The relay looks once.
    Sweep,
    /// The process ends, and another begins.
    Restart,
    /// The process ends at one of its next calls of the content, and another begins.
    Crash(usize, bool, (u8, u8, bool)),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reaction = || (0u8..2, 0u8..2, any::<bool>());
    let fault = prop_oneof![Just(LogFault::Before), Just(LogFault::After), Just(LogFault::Half)];
    let step = prop_oneof![
        6 => prop::collection::vec(reaction(), 1..5).prop_map(Step::React),
        2 => fault.prop_map(Step::Fail),
        1 => any::<bool>().prop_map(Step::Down),
        2 => Just(Step::Sweep),
        2 => Just(Step::Restart),
        2 => (0usize..8, any::<bool>(), reaction()).prop_map(|(at, after, what)| Step::Crash(at, after, what)),
    ];
    prop::collection::vec(step, 1..25)
}

async fn take(world: &mut World, log: &Arc<FaultyLog>, step: Step) {
    match step {
        Step::React(reactions) => {
            let reacting = reactions.into_iter().map(|(on, by, like)| toggle(&world.write_path, on, by, like));
            // W1: whatever the log does, commands are accepted.
            join_all(reacting).await.into_iter().for_each(|reacted| reacted.unwrap());
        }
        Step::Fail(fault) => log.faults.lock().unwrap().push_back(fault),
        Step::Down(down) => log.set_down(down),
        Step::Sweep => drop(Relay::new(&world.write_path, AT_ONCE).sweep().await),
        Step::Restart => *world = world.with(world.content.clone(), log.clone()),
        Step::Crash(at, after, (on, by, like)) => {
            let moment = if after { Moment::After } else { Moment::Before };
            let dying = world.with(Crashing::new(world.content.clone(), at, moment), log.clone());
            let _ = toggle(&dying.write_path, on, by, like).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_the_log_gets_everything_in_order(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut world, log) = with_faulty_log().await;
            for step in steps {
                take(&mut world, &log, step).await;
            }
            log.set_down(false);
            sweep_all(&world, &Relay::new(&world.write_path, AT_ONCE)).await;
            check_log(&world).await;
        });
    }
}

#[tokio::test]
async fn an_outbox_that_cannot_be_published_holds_up_no_other() {
    let world = World::apart().await;
    let ada = world.person("ada").await;
    let post = ada.publish("hello").await;
    let log = FaultyLog::new(world.event_log.clone());
    let world = world.with(world.content.clone(), log.clone());
    let ada = ada.at(&world);
    log.set_down(true);
    let comment = ada.comment(post, "one").await;
    ada.publish("two").await;
    log.set_down(false);
    log.refuse(&format!("comment-{comment}"));
    let relay = Relay::new(&world.write_path, AT_ONCE);
    let published =
        eventually("the other is published", async || Some(relay.sweep().await.unwrap()).filter(|n| *n > 0)).await;
    assert_eq!(published, 1);
    let events = world.events().await;
    assert_eq!((events["post.published"], events.get("comment.added")), (2, None));
    let left = world.content.pending_outboxes(Timestamp::MAX, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(json!(left[0].stream), json!(format!("comment-{comment}")));
}
