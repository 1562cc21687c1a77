//! Lanes that wait. P3: a lane's events are applied in order. P4: a parked lane holds up no other, and drains in order.

use super::{BUILD, NEXT_BUILD, OTHER_BUILD, OTHER_PLACE, OTHER_TOPIC, PLACE, lane, take, until};
use crate::checkpoints::{Checkpoints, ParkedLane};

fn parked(name: &str, first: i64, reason: &str, waiting: u64) -> ParkedLane {
    ParkedLane { lane: lane(name), first, reason: reason.to_owned(), waiting, unfinished_drains: 0 }
}

pub(crate) async fn events_wait_in_the_order_of_their_offsets(checkpoints: &dyn Checkpoints, _: &dyn Checkpoints) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    let a = lane("a");
    checkpoints.park(BUILD, epoch, PLACE, &a, &[7], "no schema").await.unwrap();
    checkpoints.park(BUILD, epoch, PLACE, &a, &[9, 10, 2_000_000_000_000], "the lane is parked").await.unwrap();
    let offsets = checkpoints.parked_offsets(BUILD, PLACE, &a, 10).await.unwrap();
    assert_eq!(offsets, [7, 9, 10, 2_000_000_000_000]);
    assert_eq!(checkpoints.parked_offsets(BUILD, PLACE, &a, 2).await.unwrap(), [7, 9]);
    assert_eq!(checkpoints.parked_offsets(BUILD, PLACE, &lane("b"), 2).await.unwrap(), [0i64; 0]);
    // The reason is why the first could not be applied, not why the others wait.
    assert_eq!(checkpoints.parked(BUILD).await.unwrap(), [(PLACE, parked("a", 7, "no schema", 4))]);

    // Nothing to park parks nothing.
    checkpoints.park(BUILD, epoch, PLACE, &lane("b"), &[], "nothing").await.unwrap();
    assert_eq!(checkpoints.parked(BUILD).await.unwrap().len(), 1);
    assert!(!checkpoints.progress().borrow().is_parked(BUILD.projection, PLACE, &lane("b")));
}

pub(crate) async fn parking_again_changes_nothing(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    let a = lane("a");
    checkpoints.park(BUILD, epoch, PLACE, &a, &[7, 9], "first").await.unwrap();
    checkpoints.park(BUILD, epoch, PLACE, &a, &[7, 9], "again").await.unwrap();
    let epoch = take(elsewhere, BUILD, PLACE).await;
    elsewhere.park(BUILD, epoch, PLACE, &a, &[7, 9, 12], "after a restart").await.unwrap();
    assert_eq!(checkpoints.parked_offsets(BUILD, PLACE, &a, 10).await.unwrap(), [7, 9, 12]);
    assert_eq!(checkpoints.parked(BUILD).await.unwrap(), [(PLACE, parked("a", 7, "first", 3))]);
}

pub(crate) async fn a_queue_drains_in_order_and_closes_when_empty(checkpoints: &dyn Checkpoints, _: &dyn Checkpoints) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    let a = lane("a");
    checkpoints.park(BUILD, epoch, PLACE, &a, &[7, 9, 12], "first").await.unwrap();
    assert!(!checkpoints.unpark(BUILD, epoch, PLACE, &a, 6).await.unwrap());
    assert_eq!(checkpoints.parked_offsets(BUILD, PLACE, &a, 10).await.unwrap(), [7, 9, 12]);
    assert!(!checkpoints.unpark(BUILD, epoch, PLACE, &a, 9).await.unwrap());
    assert!(!checkpoints.unpark(BUILD, epoch, PLACE, &a, 9).await.unwrap());
    assert_eq!(checkpoints.parked(BUILD).await.unwrap(), [(PLACE, parked("a", 12, "first", 1))]);

    // One more comes while the queue drains: it is behind, and the lane stays parked for it.
    checkpoints.park(BUILD, epoch, PLACE, &a, &[15], "the lane is parked").await.unwrap();
    assert!(!checkpoints.unpark(BUILD, epoch, PLACE, &a, 12).await.unwrap());
    assert!(checkpoints.unpark(BUILD, epoch, PLACE, &a, 15).await.unwrap());
    assert_eq!(checkpoints.parked(BUILD).await.unwrap(), []);
    assert_eq!(checkpoints.parked_offsets(BUILD, PLACE, &a, 10).await.unwrap(), [0i64; 0]);
    // Asked again, because the answer was lost, the answer is the same.
    assert!(checkpoints.unpark(BUILD, epoch, PLACE, &a, 15).await.unwrap());

    // Parked anew, it is for a new reason.
    checkpoints.park(BUILD, epoch, PLACE, &a, &[20], "second").await.unwrap();
    assert_eq!(checkpoints.parked(BUILD).await.unwrap(), [(PLACE, parked("a", 20, "second", 1))]);
}

/// Effects that come later than the checkpoint says can be noticed by whoever relies on it, in every process.
pub(crate) async fn whatever_leaves_a_queue_counts_as_a_drain(
    checkpoints: &dyn Checkpoints,
    elsewhere: &dyn Checkpoints,
) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    let drains = || checkpoints.progress().borrow().drains(BUILD.projection);
    for name in ["a", "b"] {
        checkpoints.park(BUILD, epoch, PLACE, &lane(name), &[7, 9], "first").await.unwrap();
    }
    assert_eq!(drains(), 0);
    checkpoints.unpark(BUILD, epoch, PLACE, &lane("a"), 6).await.unwrap();
    assert_eq!(drains(), 0, "nothing has left");
    checkpoints.unpark(BUILD, epoch, PLACE, &lane("a"), 7).await.unwrap();
    assert_eq!(drains(), 1);
    checkpoints.unpark(BUILD, epoch, PLACE, &lane("a"), 9).await.unwrap();
    checkpoints.unpark(BUILD, epoch, PLACE, &lane("a"), 9).await.unwrap();
    assert_eq!(drains(), 2);
    checkpoints.unpark(BUILD, epoch, PLACE, &lane("b"), 9).await.unwrap();
    assert_eq!(drains(), 3);
    let mut progress = elsewhere.progress();
    until(&mut progress, |progress| progress.drains(BUILD.projection) == 3).await;
    assert_eq!(progress.borrow().drains(OTHER_BUILD.projection), 0);
    let next = take(checkpoints, NEXT_BUILD, PLACE).await;
    checkpoints.park(NEXT_BUILD, next, PLACE, &lane("a"), &[7], "first").await.unwrap();
    checkpoints.unpark(NEXT_BUILD, next, PLACE, &lane("a"), 7).await.unwrap();
    assert_eq!(drains(), 3, "another build's count for itself");
}

pub(crate) async fn lanes_builds_and_partitions_are_independent(checkpoints: &dyn Checkpoints, _: &dyn Checkpoints) {
    let places =
        [(BUILD, PLACE), (BUILD, OTHER_PLACE), (BUILD, OTHER_TOPIC), (NEXT_BUILD, PLACE), (OTHER_BUILD, PLACE)];
    for (build, place) in places {
        let epoch = take(checkpoints, build, place).await;
        checkpoints.park(build, epoch, place, &lane("a"), &[1, 2], "a stopped").await.unwrap();
        checkpoints.park(build, epoch, place, &lane("b"), &[3], "b stopped").await.unwrap();
    }
    let epoch = take(checkpoints, BUILD, PLACE).await;
    assert!(checkpoints.unpark(BUILD, epoch, PLACE, &lane("a"), 2).await.unwrap());

    let both = |place| [(place, parked("a", 1, "a stopped", 2)), (place, parked("b", 3, "b stopped", 1))];
    let mut waiting = checkpoints.parked(BUILD).await.unwrap();
    waiting.sort_by_key(|(place, parked)| (*place, parked.lane.clone()));
    let mut expected = vec![(PLACE, parked("b", 3, "b stopped", 1))];
    expected.extend(both(OTHER_PLACE));
    expected.extend(both(OTHER_TOPIC));
    assert_eq!(waiting, expected);
    for build in [NEXT_BUILD, OTHER_BUILD] {
        let mut waiting = checkpoints.parked(build).await.unwrap();
        waiting.sort_by_key(|(_, parked)| parked.lane.clone());
        assert_eq!(waiting, both(PLACE));
    }
}

pub(crate) async fn an_owner_finds_the_parked_lanes_of_its_partition(
    checkpoints: &dyn Checkpoints,
    elsewhere: &dyn Checkpoints,
) {
    for (build, place, name) in
        [(BUILD, PLACE, "a"), (BUILD, PLACE, "b"), (BUILD, OTHER_PLACE, "c"), (NEXT_BUILD, PLACE, "d")]
    {
        let epoch = take(checkpoints, build, place).await;
        checkpoints.park(build, epoch, place, &lane(name), &[5, 6], "stopped").await.unwrap();
    }
    let mut taken = elsewhere.take(BUILD, PLACE).await.unwrap();
    taken.parked.sort_by_key(|parked| parked.lane.clone());
    assert_eq!(taken.parked, ["a", "b"].map(|name| parked(name, 5, "stopped", 2)));
}
