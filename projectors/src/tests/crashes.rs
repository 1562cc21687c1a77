//! An event that ends the whole process: found by starting again and again, and parked; nothing else is.
//!
//! The test starts its own binary as a child, which aborts for real, and restarts it as a supervisor would.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use adapters::checkpoints::{Checkpoints, DRAINS, LaneOrder, Outcome, Partition, RequestId};
use adapters::event_log::{EventLog, partition_of};
use adapters::http::clock;
use domain::{Lane, PostId, Topic};

use super::world::{FOREVER, Probe, World, post, until};
use crate::runtime::State;

const DIRECTORY: &str = "HYBRID_LIVE_TEST_CRASHES";
const PARTITIONS: u16 = 3;
/// Posts in all partitions, each with a few events, so that innocent batches run while the process ends.
const POSTS: u8 = 12;
const EVENTS: u64 = 20;
/// Which event ends the process.
const CULPRIT: u64 = 11;

fn culprit() -> PostId {
    post(5)
}

/// Starts the child until it ends well; answers how often it did not.
fn run_until_it_ends_well(directory: &Path) -> u32 {
    for ends in 0..40 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "tests::crashes::child", "--ignored"]).env(DIRECTORY, directory);
        let status = child.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        if status.success() {
            return ends;
        }
    }
    panic!("the process ends again and again");
}

/// The process that is restarted: applies everything there is, and does what was requested.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below"]
async fn child() {
    let directory = std::env::var(DIRECTORY).expect("the test below starts this");
    let world = World::open(Path::new(&directory), PARTITIONS).await;
    let probe = Arc::new(Probe::default());
    probe.fatal.lock().unwrap().insert((culprit(), CULPRIT));
    let runtime = world.start(&probe).await;
    world.caught_up().await;
    let mut orders = world.checkpoints.orders();
    drop(tokio::time::timeout(FOREVER, orders.wait_for(|orders| orders.requests.is_empty())).await.unwrap().unwrap());
    runtime.stop().await;
}

async fn request(world: &World, order: LaneOrder) -> RequestId {
    let lane = Lane::post(culprit());
    let partition = Partition { topic: Topic::Posts, number: partition_of(&lane, PARTITIONS) };
    let asked = world.checkpoints.request(World::build(), partition, &lane, order, clock::now()).await;
    asked.unwrap().expect("the lane is parked")
}

/// P5
#[tokio::test]
async fn an_event_that_ends_the_process_is_parked_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path(), PARTITIONS).await;
    // Interleaved, as people write.
    for sequence in 1..=EVENTS {
        for number in 0..POSTS {
            world.append(post(number), [sequence]).await;
        }
    }
    let partitions: BTreeSet<u16> =
        (0..POSTS).map(|number| partition_of(&Lane::post(post(number)), PARTITIONS)).collect();
    assert_eq!(partitions.len(), usize::from(PARTITIONS), "there are innocent partitions");

    let ends = run_until_it_ends_well(directory.path());
    assert!((3..=20).contains(&ends), "it took {ends} starts");
    let waiting = EVENTS - CULPRIT + 1;
    assert_eq!(world.parked().await, [(Lane::post(culprit()), waiting)], "only the culprit's lane waits");
    let parked = world.checkpoints.parked(World::build()).await.unwrap();
    assert_eq!(parked[0].1.unfinished_drains, DRAINS);
    let first = parked[0].1.first;
    let log = world.event_log.read(Topic::Posts, parked[0].0.number, first - 1, 1, FOREVER).await.unwrap();
    assert_eq!(log[0].record.as_ref().unwrap().attributes.sequence, CULPRIT, "from the culprit on");

    assert_eq!(run_until_it_ends_well(directory.path()), 0, "it ends no process any more");

    // An operator's retry ends the process once, and is not tried again.
    let retry = request(&world, LaneOrder::Retry).await;
    assert_eq!(run_until_it_ends_well(directory.path()), 1);
    assert_eq!(world.checkpoints.outcome(retry).await.unwrap(), Some(Outcome::Interrupted));
    assert_eq!(world.parked().await, [(Lane::post(culprit()), waiting)]);
    assert_eq!(run_until_it_ends_well(directory.path()), 0);

    let drop = request(&world, LaneOrder::Drop { up_to: first }).await;
    assert_eq!(run_until_it_ends_well(directory.path()), 0);
    assert_eq!(world.checkpoints.outcome(drop).await.unwrap(), Some(Outcome::Drained));
    assert_eq!(world.parked().await, []);
}

/// A store that fails is no crash: the range that runs alone gives way to others and is not halved for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_while_a_range_runs_alone_is_not_held_against_it() {
    let world = World::new(1).await;
    world.append(post(1), 1..=20).await;
    let partition = Partition { topic: Topic::Posts, number: 0 };
    for _ in 0..3 {
        world.checkpoints.take(World::build(), partition).await.unwrap();
    }
    let probe = Arc::new(Probe::default());
    *probe.failures.lock().unwrap() = u32::MAX;
    let runtime = world.start(&probe).await;
    let has_failed_often = || *probe.failures.lock().unwrap() < u32::MAX - 9;
    until(&runtime, |state| matches!(state, State::Stalled(_)) && has_failed_often()).await;
    runtime.stop().await;
    let taken = world.checkpoints.take(World::build(), partition).await.unwrap();
    assert_eq!(taken.suspicion.starts, 1, "it was a clean end");
    assert_eq!(taken.suspicion.careful_until, Some(6), "the first batch is still suspected");
    assert_eq!(taken.suspicion.trial.map(|trial| trial.starts), Some(0), "and was not begun, as it were");

    *probe.failures.lock().unwrap() = 3;
    let runtime = world.start(&probe).await;
    world.caught_up().await;
    runtime.stop().await;
    assert_eq!(probe.of(post(1)), (1..=20).collect::<Vec<_>>());
    let taken = world.checkpoints.take(World::build(), partition).await.unwrap();
    assert_eq!((taken.suspicion.starts, taken.suspicion.careful_until, taken.suspicion.trial), (1, None, None));
}

/// Restarts of a process that has nothing to do, and restarts after clean ends, make nobody suspicious.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_ends_with_something_to_do_are_counted() {
    let world = World::new(1).await;
    let partition = Partition { topic: Topic::Posts, number: 0 };
    let probe = Arc::new(Probe::default());
    world.append(post(1), 1..=3).await;
    for _ in 0..6 {
        let runtime = world.start(&probe).await;
        world.caught_up().await;
        runtime.stop().await;
    }
    let taken = world.checkpoints.take(World::build(), partition).await.unwrap();
    assert_eq!(taken.suspicion.starts, 1);
    // Ended many times with nothing to do: whoever comes next finds nothing, and says so.
    for _ in 0..6 {
        world.checkpoints.take(World::build(), partition).await.unwrap();
    }
    let runtime = world.start(&probe).await;
    let settled = async {
        loop {
            if world.starts().await == 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FOREVER, settled).await.expect("is settled");
    runtime.stop().await;
}

/// P5: who is innocent must not be taken for the culprit, so nobody else applies anything while a range runs alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_suspected_runs_alone() {
    let world = World::new(PARTITIONS).await;
    let probe = Arc::new(Probe::default());
    let of = |number: u8| partition_of(&Lane::post(post(number)), PARTITIONS);
    let suspected = of(0);
    // All of them within what is run alone.
    world.append(post(0), 1..=4).await;
    for round in 0..10 {
        for number in (1..POSTS).filter(|number| of(*number) != suspected) {
            world.append(post(number), round * 10 + 1..=round * 10 + 10).await;
        }
    }
    for _ in 0..3 {
        let partition = Partition { topic: Topic::Posts, number: suspected };
        world.checkpoints.take(World::build(), partition).await.unwrap();
    }
    let runtime = world.start(&probe).await;
    world.caught_up().await;
    runtime.stop().await;
    assert_eq!(probe.of(post(0)), [1, 2, 3, 4]);
    let met = probe.met.lock().unwrap().clone();
    assert!(!met.iter().any(|(one, other)| *one == suspected || *other == suspected), "{met:?}");
}
