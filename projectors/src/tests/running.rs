//! The runtime on the embedded stores: order, checkpoints, stalls, parking, draining, foreign logs.

use std::collections::HashSet;
use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::{Checkpoints, Partition};
use adapters::event_log::EventLog;
use domain::{Lane, LogId, Position, PostId, Topic};

use super::world::{FOREVER, Probe, World, post};
use crate::runtime::State;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_lanes_are_applied_in_order_and_once_over_restarts() {
    let world = World::new(3).await;
    let probe = Arc::new(Probe::default());
    for round in 0..4u64 {
        let runtime = world.start(&probe).await;
        for number in 0..10 {
            world.append(post(number), (1..=20).map(|n| round * 20 + n)).await;
        }
        world.caught_up().await;
        runtime.stop().await;
    }
    for number in 0..10 {
        assert_eq!(probe.of(post(number)), (1..=80).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_the_checkpoint_waits_for_the_effects() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    *probe.failures.lock().unwrap() = u32::MAX;
    let runtime = world.start(&probe).await;
    world.append(post(1), 1..=3).await;
    let stalled = async {
        loop {
            let status = runtime.status().await.unwrap();
            if matches!(status[0].state, State::Stalled(_)) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    let status = tokio::time::timeout(FOREVER, stalled).await.expect("stalls");
    assert_eq!(status[0].lag_events(), 3, "lag is measured against the log's head");
    assert!(status[0].lag_millis > 0);
    assert_eq!(world.checkpoints.positions(World::build()).await.unwrap(), Vec::<Position>::new());

    *probe.failures.lock().unwrap() = 0;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), [1, 2, 3]);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_an_unreadable_event_parks_its_lane_and_no_other_and_the_lane_drains_in_order() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    let runtime = world.start(&probe).await;
    world.append(post(1), 1..=2).await;
    world.append_unknown(post(1), 3).await;
    world.append(post(1), 4..=25).await;
    world.append(post(2), 1..=30).await;
    world.caught_up().await;
    world.append(post(1), 26..=27).await;
    world.caught_up().await;

    assert_eq!(probe.of(post(1)), [1, 2], "nothing overtakes the unreadable event");
    assert_eq!(probe.of(post(2)), (1..=30).collect::<Vec<_>>(), "the other lane goes on");
    assert_eq!(world.parked().await, [(Lane::post(post(1)), 25)]);
    let status = runtime.status().await.unwrap();
    assert_eq!(status[0].parked, [Lane::post(post(1))]);
    runtime.stop().await;

    // The same version again: still parked, nothing lost.
    let runtime = world.start(&probe).await;
    world.append(post(1), [28]).await;
    world.caught_up().await;
    assert_eq!(world.parked().await, [(Lane::post(post(1)), 26)]);
    runtime.stop().await;

    world.upgrade().await;
    let runtime = world.start(&probe).await;
    world.append(post(1), [29]).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), (1..=29).collect::<Vec<_>>());
    assert_eq!(world.parked().await, []);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_a_refused_event_parks_from_there_on() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    probe.refused.lock().unwrap().insert((post(1), 3));
    // In one batch, so that the events before and beside the refused one are applied again without it.
    world.append(post(1), 1..=4).await;
    world.append(post(2), 1..=3).await;
    let runtime = world.start(&probe).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), [1, 2]);
    assert_eq!(probe.of(post(2)), [1, 2, 3]);
    assert_eq!(world.parked().await, [(Lane::post(post(1)), 2)]);
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_a_panicking_handler_parks_the_event_that_it_panics_at() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    probe.panics.lock().unwrap().insert((post(2), 2));
    world.append(post(1), 1..=3).await;
    world.append(post(2), 1..=3).await;
    let runtime = world.start(&probe).await;
    world.caught_up().await;
    assert_eq!(world.parked().await, [(Lane::post(post(2)), 2)]);
    let distinct: HashSet<(PostId, u64)> = probe.applied.lock().unwrap().iter().copied().collect();
    let innocent = [(post(1), 1), (post(1), 2), (post(1), 3), (post(2), 1)];
    assert_eq!(distinct, HashSet::from(innocent));
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_another_log_or_beyond_the_end_stops_the_projection() {
    for foreign in [true, false] {
        let world = World::new(1).await;
        let probe = Arc::new(Probe::default());
        world.append(post(1), 1..=3).await;
        let partition = Partition { topic: Topic::Posts, number: 0 };
        let taken = world.checkpoints.take(World::build(), partition).await.unwrap();
        let log = if foreign { LogId(world.event_log.id().0 ^ 1) } else { world.event_log.id() };
        let offset = if foreign { 0 } else { 1_000_000 };
        let position = Position { log, topic: Topic::Posts, partition: 0, offset };
        world.checkpoints.save(World::build(), taken.epoch, position).await.unwrap();

        let runtime = world.start(&probe).await;
        let faulted = async {
            loop {
                if let State::Faulted(reason) = &runtime.status().await.unwrap()[0].state {
                    return reason.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let reason = tokio::time::timeout(FOREVER, faulted).await.expect("stops");
        assert!(reason.contains("rebuild"), "{reason}");
        assert_eq!(*probe.seen.borrow(), 0, "nothing is applied");
        runtime.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_worker_whose_partition_was_taken_over_is_fenced_and_takes_it_back_if_it_still_should() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    let runtime = world.start(&probe).await;
    world.append(post(1), [1]).await;
    world.caught_up().await;
    let partition = Partition { topic: Topic::Posts, number: 0 };
    let taken = world.checkpoints.take(World::build(), partition).await.unwrap();
    world.append(post(1), [2]).await;
    world.caught_up().await;
    assert_eq!(probe.of(post(1)), [1, 2, 2], "what was applied while it was fenced is applied again");
    let position = Position { log: world.event_log.id(), topic: Topic::Posts, partition: 0, offset: 1 };
    let late = world.checkpoints.save(World::build(), taken.epoch, position).await;
    assert!(matches!(late, Err(StoreError::Overtaken(_))), "{late:?}");
    assert!(runtime.status().await.unwrap()[0].is_here);
    runtime.stop().await;
}
