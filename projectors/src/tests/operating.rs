//! What operators want is done between two batches, by the owner of the partition, from whatever process it was asked.

use std::sync::Arc;

use adapters::checkpoints::{Activity, Checkpoints, LaneOrder, Outcome, Partition, RequestId};
use adapters::http::clock;
use domain::{Lane, Topic};

use super::world::{FOREVER, NAME, Probe, World, post, until};
use crate::runtime::State;

const PLACE: Partition = Partition { topic: Topic::Posts, number: 0 };

async fn asked(world: &World, lane: &Lane, order: LaneOrder) -> RequestId {
    let asked = world.checkpoints.request(World::build(), PLACE, lane, order, clock::now()).await.unwrap();
    asked.expect("the lane is parked")
}

async fn outcome(world: &World, request: RequestId) -> Outcome {
    let mut orders = world.checkpoints.orders();
    let done = orders.wait_for(|orders| orders.requests.iter().all(|known| known.id != request));
    drop(tokio::time::timeout(FOREVER, done).await.expect("is done").unwrap());
    world.checkpoints.outcome(request).await.unwrap().expect("an outcome")
}

async fn pause(world: &World, paused: bool) {
    assert!(world.checkpoints.set_paused(NAME, paused, clock::now()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_projection_applies_nothing_and_goes_on_where_it_was() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    let runtime = world.start(&probe).await;
    world.append(post(1), 1..=3).await;
    world.caught_up().await;
    pause(&world, true).await;
    until(&runtime, |state| *state == State::Paused).await;
    world.append(post(1), 4..=6).await;
    assert_eq!(runtime.status().await.unwrap()[0].lag_events(), 3);
    runtime.stop().await;

    // A pause outlasts the process.
    let runtime = world.start(&probe).await;
    until(&runtime, |state| *state == State::Paused).await;
    assert_eq!(probe.of(post(1)), [1, 2, 3]);
    // Stored right after it is shown.
    let stored = async {
        while world.checkpoints.states(World::build()).await.unwrap()[0].1.activity != Activity::Paused {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FOREVER, stored).await.expect("other processes can see it");

    pause(&world, false).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), (1..=6).collect::<Vec<_>>());
    until(&runtime, |state| *state == State::Running).await;
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_stalls_can_be_paused() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    *probe.failures.lock().unwrap() = u32::MAX;
    let runtime = world.start(&probe).await;
    world.append(post(1), 1..=3).await;
    until(&runtime, |state| matches!(state, State::Stalled(_))).await;
    pause(&world, true).await;
    until(&runtime, |state| *state == State::Paused).await;
    let states = world.checkpoints.states(World::build()).await.unwrap();
    let error = states[0].1.error.as_ref().expect("the newest error stays");
    assert!(error.reason.contains("made to fail"), "{}", error.reason);
    *probe.failures.lock().unwrap() = 0;
    pause(&world, false).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), [1, 2, 3]);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_a_retry_drains_the_lane_while_the_projection_runs() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    let runtime = world.start(&probe).await;
    world.append(post(1), 1..=2).await;
    world.append_unknown(post(1), 3).await;
    world.append(post(1), 4..=25).await;
    world.caught_up().await;
    let lane = Lane::post(post(1));
    let states = world.checkpoints.states(World::build()).await.unwrap();
    let error = states[0].1.error.as_ref().expect("parking is told");
    assert_eq!(error.offset, Some(2), "with its event");

    let first = asked(&world, &lane, LaneOrder::Retry).await;
    assert_eq!(outcome(&world, first).await, Outcome::Parked, "nothing has changed");
    assert_eq!(world.parked().await, [(lane.clone(), 23)]);

    world.upgrade().await;
    let second = asked(&world, &lane, LaneOrder::Retry).await;
    assert_eq!(outcome(&world, second).await, Outcome::Drained);
    world.append(post(1), [26]).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), (1..=26).collect::<Vec<_>>(), "P3");
    assert_eq!(world.parked().await, []);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_leaves_the_event_out_and_drains_the_rest_up_to_the_next_that_cannot_be_applied() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    probe.refused.lock().unwrap().insert((post(1), 5));
    let runtime = world.start(&probe).await;
    world.append(post(1), 1..=2).await;
    world.append_unknown(post(1), 3).await;
    world.append(post(1), 4..=7).await;
    world.append(post(2), 1..=2).await;
    world.caught_up().await;
    let lane = Lane::post(post(1));
    let offset = |sequence: i64| sequence - 1;

    let drop = asked(&world, &lane, LaneOrder::Drop { up_to: offset(3) }).await;
    assert_eq!(outcome(&world, drop).await, Outcome::Parked);
    assert_eq!(probe.of(post(1)), [1, 2, 4]);
    let parked = world.checkpoints.parked(World::build()).await.unwrap();
    assert_eq!((parked[0].1.first, parked[0].1.waiting), (offset(5), 3));
    assert_eq!(parked[0].1.reason, "made to refuse", "why the one that is first now cannot be applied");

    let drop = asked(&world, &lane, LaneOrder::Drop { up_to: offset(7) }).await;
    assert_eq!(outcome(&world, drop).await, Outcome::Drained);
    world.append(post(1), [8]).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), [1, 2, 4, 8]);
    assert_eq!(probe.of(post(2)), [1, 2]);
    let dropped = world.checkpoints.dropped(World::build(), 10).await.unwrap();
    let dropped: Vec<i64> = dropped.iter().map(|dropped| dropped.offset).collect();
    assert_eq!(dropped, [offset(3), offset(5), offset(6), offset(7)]);
    runtime.stop().await;
}

/// What was asked while nothing ran is done at the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_an_owner() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    let runtime = world.start(&probe).await;
    world.append_unknown(post(1), 1).await;
    world.append(post(1), [2]).await;
    world.caught_up().await;
    runtime.stop().await;
    let drop = asked(&world, &Lane::post(post(1)), LaneOrder::Drop { up_to: 0 }).await;
    let runtime = world.start(&probe).await;
    assert_eq!(outcome(&world, drop).await, Outcome::Drained);
    assert_eq!(probe.of(post(1)), [2]);
    runtime.stop().await;
}
