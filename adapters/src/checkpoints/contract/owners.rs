//! Who may write a checkpoint, and which way it goes. P1: never backwards. P2: only the owner's epoch writes.

use domain::LogId;
use domain::stream::BEFORE_FIRST;

use super::{BUILD, LOG, NEXT_BUILD, OTHER_BUILD, OTHER_PLACE, OTHER_TOPIC, PLACE, at, lane, take};
use crate::StoreError;
use crate::checkpoints::{Checkpoints, Generation};

fn is_overtaken<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::Overtaken(_))), "{outcome:?}");
}

pub(crate) async fn a_new_build_begins_at_the_beginning(checkpoints: &dyn Checkpoints, _: &dyn Checkpoints) {
    assert_eq!(checkpoints.serving(BUILD.projection).await.unwrap(), Generation::FIRST);
    assert_eq!(checkpoints.positions(BUILD).await.unwrap(), []);
    assert_eq!(checkpoints.parked(BUILD).await.unwrap(), []);
    assert_eq!(checkpoints.log(BUILD).await.unwrap(), None);

    let taken = checkpoints.take(BUILD, PLACE).await.unwrap();
    assert_eq!((taken.position, taken.parked), (None, Vec::new()));
    // Taken, and nothing done yet.
    assert_eq!(checkpoints.positions(BUILD).await.unwrap(), []);
    assert_eq!(checkpoints.log(BUILD).await.unwrap(), None);
}

pub(crate) async fn whoever_takes_a_partition_goes_on_where_the_former_owner_was(
    checkpoints: &dyn Checkpoints,
    elsewhere: &dyn Checkpoints,
) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    checkpoints.save(BUILD, epoch, at(PLACE, 41)).await.unwrap();
    let taken = elsewhere.take(BUILD, PLACE).await.unwrap();
    assert!(taken.epoch > epoch);
    assert_eq!(taken.position, Some(at(PLACE, 41)));
    assert_eq!(elsewhere.positions(BUILD).await.unwrap(), [at(PLACE, 41)]);

    // The start of a partition is a position, too.
    let epoch = take(checkpoints, BUILD, OTHER_PLACE).await;
    checkpoints.save(BUILD, epoch, at(OTHER_PLACE, BEFORE_FIRST)).await.unwrap();
    let taken = elsewhere.take(BUILD, OTHER_PLACE).await.unwrap();
    assert_eq!(taken.position, Some(at(OTHER_PLACE, BEFORE_FIRST)));
}

/// Checkpoints that were deleted are followed by others, and what was compared with the old epochs is still there.
pub(crate) async fn the_first_epoch_is_greater_than_those_of_checkpoints_that_are_gone(
    checkpoints: &dyn Checkpoints,
    _: &dyn Checkpoints,
) {
    // Those began with the time that it was, and grew by one for each owner.
    let gone = u64::try_from(crate::http::clock::now().as_millis()).unwrap();
    let first = take(checkpoints, BUILD, PLACE).await;
    assert!(first.0 > gone, "P2: {first:?}, {gone}");
    assert_eq!(take(checkpoints, BUILD, PLACE).await.0, first.0 + 1, "from then on no clock counts");
}

pub(crate) async fn a_former_owner_is_fenced(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    // Nobody has taken it: nobody writes.
    is_overtaken(checkpoints.save(BUILD, crate::checkpoints::OwnerEpoch(1), at(PLACE, 1)).await);
    assert_eq!(checkpoints.positions(BUILD).await.unwrap(), []);

    let former = take(checkpoints, BUILD, PLACE).await;
    checkpoints.save(BUILD, former, at(PLACE, 10)).await.unwrap();
    checkpoints.park(BUILD, former, PLACE, &lane("a"), &[7, 9], "first").await.unwrap();
    let owner = take(elsewhere, BUILD, PLACE).await;
    let parked = elsewhere.parked(BUILD).await.unwrap();

    is_overtaken(checkpoints.save(BUILD, former, at(PLACE, 20)).await);
    is_overtaken(checkpoints.save(BUILD, former, at(PLACE, 5)).await);
    is_overtaken(checkpoints.park(BUILD, former, PLACE, &lane("a"), &[11], "late").await);
    is_overtaken(checkpoints.park(BUILD, former, PLACE, &lane("b"), &[12], "late").await);
    is_overtaken(checkpoints.unpark(BUILD, former, PLACE, &lane("a"), 9).await);
    assert_eq!(elsewhere.positions(BUILD).await.unwrap(), [at(PLACE, 10)]);
    assert_eq!(elsewhere.parked(BUILD).await.unwrap(), parked);

    elsewhere.save(BUILD, owner, at(PLACE, 11)).await.unwrap();
    assert_eq!(checkpoints.positions(BUILD).await.unwrap(), [at(PLACE, 11)]);
    // Neither does an epoch that was never given out.
    let unknown = crate::checkpoints::OwnerEpoch(owner.0 + 1);
    is_overtaken(elsewhere.save(BUILD, unknown, at(PLACE, 12)).await);
}

pub(crate) async fn a_checkpoint_never_goes_backwards(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    for (saved, stored) in [(5, 5), (4, 5), (5, 5), (BEFORE_FIRST, 5), (6, 6)] {
        checkpoints.save(BUILD, epoch, at(PLACE, saved)).await.unwrap();
        assert_eq!(checkpoints.positions(BUILD).await.unwrap(), [at(PLACE, stored)]);
        assert!(checkpoints.progress().borrow().has_passed(BUILD.projection, PLACE, stored));
    }
    let epoch = take(elsewhere, BUILD, PLACE).await;
    elsewhere.save(BUILD, epoch, at(PLACE, 3)).await.unwrap();
    assert_eq!(checkpoints.positions(BUILD).await.unwrap(), [at(PLACE, 6)]);
}

pub(crate) async fn builds_and_partitions_are_independent(checkpoints: &dyn Checkpoints, _: &dyn Checkpoints) {
    let places = [
        (BUILD, PLACE, 10),
        (BUILD, OTHER_PLACE, 20),
        (BUILD, OTHER_TOPIC, 30),
        (NEXT_BUILD, PLACE, 40),
        (OTHER_BUILD, PLACE, 50),
    ];
    let mut epochs = Vec::new();
    for (build, place, offset) in places {
        let epoch = take(checkpoints, build, place).await;
        checkpoints.save(build, epoch, at(place, offset)).await.unwrap();
        epochs.push(epoch);
    }
    // Taking one from its owner fences no other.
    take(checkpoints, BUILD, PLACE).await;
    for ((build, place, offset), epoch) in places.into_iter().zip(epochs).skip(1) {
        checkpoints.save(build, epoch, at(place, offset + 1)).await.unwrap();
    }
    let mut positions = checkpoints.positions(BUILD).await.unwrap();
    positions.sort();
    assert_eq!(positions, [at(PLACE, 10), at(OTHER_PLACE, 21), at(OTHER_TOPIC, 31)]);
    assert_eq!(checkpoints.positions(NEXT_BUILD).await.unwrap(), [at(PLACE, 41)]);
    assert_eq!(checkpoints.positions(OTHER_BUILD).await.unwrap(), [at(PLACE, 51)]);
}

pub(crate) async fn another_log_is_recognised(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    checkpoints.save(BUILD, epoch, at(PLACE, 10)).await.unwrap();
    assert_eq!(checkpoints.log(BUILD).await.unwrap(), Some(LOG));
    assert_eq!(checkpoints.log(NEXT_BUILD).await.unwrap(), None);

    // Offsets of two logs do not compare, so one build is never of both: in this partition or in another.
    let other_log = LogId(LOG.0 - 1);
    let taken = elsewhere.take(BUILD, PLACE).await.unwrap();
    assert_eq!(taken.position.map(|position| position.log), Some(LOG));
    let other_epoch = take(elsewhere, BUILD, OTHER_PLACE).await;
    for (epoch, place, offset) in [(taken.epoch, PLACE, 20), (taken.epoch, PLACE, 5), (other_epoch, OTHER_PLACE, 1)] {
        let position = domain::Position { log: other_log, ..at(place, offset) };
        let refused = elsewhere.save(BUILD, epoch, position).await;
        assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    }
    assert_eq!(checkpoints.positions(BUILD).await.unwrap(), [at(PLACE, 10)]);

    // A new build may be.
    let epoch = take(elsewhere, NEXT_BUILD, PLACE).await;
    let position = domain::Position { log: other_log, ..at(PLACE, 1) };
    elsewhere.save(NEXT_BUILD, epoch, position).await.unwrap();
    assert_eq!(elsewhere.log(NEXT_BUILD).await.unwrap(), Some(other_log));
    // What another process has saved is seen a little later.
    while checkpoints.log(NEXT_BUILD).await.unwrap() != Some(other_log) {
        tokio::task::yield_now().await;
    }
}
