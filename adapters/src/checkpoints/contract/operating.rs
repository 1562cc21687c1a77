//! What operators want and what they are told; how often what follows a checkpoint was begun.

use std::time::Duration;

use domain::Timestamp;
use tokio::sync::watch;

use super::{BUILD, NEXT_BUILD, OTHER_BUILD, OTHER_PLACE, PLACE, at, lane, take};
use crate::StoreError;
use crate::checkpoints::{
    Activity, Checkpoints, LaneOrder, Orders, Outcome, OwnerEpoch, Suspicion, Trial, WorkerError, WorkerState,
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_700_000_060_000);

async fn until(orders: &mut watch::Receiver<Orders>, is_so: impl FnMut(&Orders) -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), orders.wait_for(is_so)).await;
    waited.expect("the orders that were waited for").expect("the port is open");
}

async fn suspicion(checkpoints: &dyn Checkpoints) -> (OwnerEpoch, Suspicion) {
    let taken = checkpoints.take(BUILD, PLACE).await.unwrap();
    (taken.epoch, taken.suspicion)
}

fn begun(starts: u32) -> Suspicion {
    Suspicion { starts, careful_until: None, trial: None }
}

pub(crate) async fn starts_without_an_end_are_counted(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    for starts in 1..=3 {
        assert_eq!(suspicion(elsewhere).await.1, begun(starts));
    }
    let (epoch, four) = suspicion(checkpoints).await;
    assert_eq!(four, begun(4));
    // What follows the new checkpoint was begun by this owner alone.
    checkpoints.save(BUILD, epoch, at(PLACE, 5)).await.unwrap();
    let (epoch, next) = suspicion(checkpoints).await;
    assert_eq!(next, begun(2));
    // A checkpoint that does not move is no end of anything.
    checkpoints.save(BUILD, epoch, at(PLACE, 5)).await.unwrap();
    let (epoch, next) = suspicion(checkpoints).await;
    assert_eq!(next, begun(3));
    // Nothing to do: whatever ends the process now, it is not what follows.
    checkpoints.settle(BUILD, epoch, PLACE, 1).await.unwrap();
    let (epoch, next) = suspicion(checkpoints).await;
    assert_eq!(next, begun(2));
    checkpoints.settle(BUILD, epoch, PLACE, 0).await.unwrap();
    assert_eq!(suspicion(elsewhere).await.1, begun(1));
    assert!(matches!(checkpoints.settle(BUILD, epoch, PLACE, 0).await, Err(StoreError::Overtaken(_))));
    assert_eq!(suspicion(elsewhere).await.1, begun(2));
}

pub(crate) async fn trials_outlast_the_process(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    let trial = |starts, until, trial_starts| Suspicion {
        starts,
        careful_until: Some(100),
        trial: Some(Trial { until, starts: trial_starts }),
    };
    let (epoch, _) = suspicion(checkpoints).await;
    checkpoints.begin_trial(BUILD, epoch, PLACE, 100, 100).await.unwrap();
    let (epoch, found) = suspicion(elsewhere).await;
    assert_eq!(found, trial(2, 100, 1));
    elsewhere.begin_trial(BUILD, epoch, PLACE, 50, 100).await.unwrap();
    let (epoch, found) = suspicion(checkpoints).await;
    assert_eq!(found, trial(3, 50, 1));
    checkpoints.begin_trial(BUILD, epoch, PLACE, 50, 100).await.unwrap();
    let (epoch, found) = suspicion(checkpoints).await;
    assert_eq!(found, trial(4, 50, 2));
    // Taken back at a clean end: it did not end the process.
    checkpoints.begin_trial(BUILD, epoch, PLACE, 50, 100).await.unwrap();
    checkpoints.settle(BUILD, epoch, PLACE, 0).await.unwrap();
    let (epoch, found) = suspicion(checkpoints).await;
    assert_eq!(found, trial(1, 50, 2));
    // Done: the rest is run alone, too.
    checkpoints.save(BUILD, epoch, at(PLACE, 50)).await.unwrap();
    let (epoch, found) = suspicion(checkpoints).await;
    assert_eq!(found, Suspicion { starts: 2, careful_until: Some(100), trial: None });
    checkpoints.save(BUILD, epoch, at(PLACE, 100)).await.unwrap();
    let (epoch, found) = suspicion(checkpoints).await;
    assert_eq!(found, begun(2));
    take(elsewhere, BUILD, PLACE).await;
    let zombie = checkpoints.begin_trial(BUILD, epoch, PLACE, 120, 120).await;
    assert!(matches!(zombie, Err(StoreError::Overtaken(_))));
}

pub(crate) async fn unfinished_drains_are_remembered(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    checkpoints.park(BUILD, epoch, PLACE, &lane("a"), &[7], "stopped").await.unwrap();
    checkpoints.note_drains(BUILD, epoch, PLACE, &lane("a"), 2, None).await.unwrap();
    checkpoints.note_drains(BUILD, epoch, PLACE, &lane("b"), 2, Some("new")).await.unwrap();
    let taken = elsewhere.take(BUILD, PLACE).await.unwrap();
    let drains: Vec<u32> = taken.parked.iter().map(|parked| parked.unfinished_drains).collect();
    assert_eq!(drains, [2], "a lane that is not parked is not parked by it");
    assert_eq!(taken.parked[0].reason, "stopped");
    elsewhere.note_drains(BUILD, taken.epoch, PLACE, &lane("a"), 0, Some("another")).await.unwrap();
    let parked = elsewhere.parked(BUILD).await.unwrap();
    assert_eq!((parked[0].1.unfinished_drains, parked[0].1.reason.as_str()), (0, "another"));
    let zombie = checkpoints.note_drains(BUILD, epoch, PLACE, &lane("a"), 0, None).await;
    assert!(matches!(zombie, Err(StoreError::Overtaken(_))));
}

pub(crate) async fn dropped_events_leave_the_queue_and_are_remembered(
    checkpoints: &dyn Checkpoints,
    elsewhere: &dyn Checkpoints,
) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    let a = lane("a");
    checkpoints.park(BUILD, epoch, PLACE, &a, &[7, 9, 12], "stopped").await.unwrap();
    checkpoints.park(BUILD, epoch, PLACE, &lane("b"), &[8], "another").await.unwrap();
    assert!(!checkpoints.drop_parked(BUILD, epoch, PLACE, &a, 7, NOW).await.unwrap());
    // Again, because the answer was lost: no more is dropped, and it stays dropped when it was.
    assert!(!checkpoints.drop_parked(BUILD, epoch, PLACE, &a, 7, LATER).await.unwrap());
    assert_eq!(checkpoints.parked_offsets(BUILD, PLACE, &a, 10).await.unwrap(), [9, 12]);
    let dropped = checkpoints.dropped(BUILD, 10).await.unwrap();
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].partition, dropped[0].offset, &dropped[0].lane), (PLACE, 7, &a));
    assert_eq!((dropped[0].reason.as_str(), dropped[0].at), ("stopped", NOW));

    assert!(checkpoints.progress().borrow().is_parked(BUILD.projection, PLACE, &a));
    assert!(checkpoints.drop_parked(BUILD, epoch, PLACE, &a, 12, LATER).await.unwrap());
    assert!(!checkpoints.progress().borrow().is_parked(BUILD.projection, PLACE, &a));
    let offsets = |dropped: Vec<crate::checkpoints::Dropped>| -> Vec<i64> {
        dropped.into_iter().map(|dropped| dropped.offset).collect()
    };
    assert_eq!(offsets(checkpoints.dropped(BUILD, 10).await.unwrap()), [7, 9, 12]);
    assert_eq!(offsets(checkpoints.dropped(BUILD, 2).await.unwrap()), [7, 9]);
    assert_eq!(offsets(checkpoints.dropped(NEXT_BUILD, 10).await.unwrap()), [0i64; 0]);
    assert_eq!(checkpoints.parked(BUILD).await.unwrap().len(), 1, "the other lane waits on");

    take(elsewhere, BUILD, PLACE).await;
    let zombie = checkpoints.drop_parked(BUILD, epoch, PLACE, &lane("b"), 8, LATER).await;
    assert!(matches!(zombie, Err(StoreError::Overtaken(_))));
    assert_eq!(checkpoints.parked(BUILD).await.unwrap().len(), 1);
}

pub(crate) async fn a_pause_shows_everywhere(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    let (mut here, mut there) = (checkpoints.orders(), elsewhere.orders());
    assert!(checkpoints.set_paused("timelines", true, NOW).await.unwrap());
    assert_eq!(here.borrow().paused.get("timelines"), Some(&NOW), "own writes show at once");
    until(&mut there, |orders| orders.paused.get("timelines") == Some(&NOW)).await;
    assert!(!elsewhere.set_paused("timelines", true, LATER).await.unwrap(), "it is paused");
    assert!(!elsewhere.set_paused("engagement", false, LATER).await.unwrap(), "it is not paused");
    assert!(elsewhere.set_paused("timelines", false, LATER).await.unwrap());
    assert!(there.borrow().paused.is_empty());
    until(&mut here, |orders| orders.paused.is_empty()).await;
}

pub(crate) async fn requests_are_done_once_and_their_outcome_is_kept(
    checkpoints: &dyn Checkpoints,
    elsewhere: &dyn Checkpoints,
) {
    let a = lane("a");
    let mut orders = checkpoints.orders();
    assert_eq!(elsewhere.request(BUILD, PLACE, &a, LaneOrder::Retry, NOW).await.unwrap(), None, "it is not parked");
    let epoch = take(checkpoints, BUILD, PLACE).await;
    checkpoints.park(BUILD, epoch, PLACE, &a, &[7, 9], "stopped").await.unwrap();
    for (build, place) in [(BUILD, OTHER_PLACE), (NEXT_BUILD, PLACE), (OTHER_BUILD, PLACE)] {
        assert_eq!(elsewhere.request(build, place, &a, LaneOrder::Retry, NOW).await.unwrap(), None);
    }
    let retry = elsewhere.request(BUILD, PLACE, &a, LaneOrder::Retry, NOW).await.unwrap().unwrap();
    let drop = elsewhere.request(BUILD, PLACE, &a, LaneOrder::Drop { up_to: 7 }, NOW).await.unwrap().unwrap();
    until(&mut orders, |orders| orders.requests.len() == 2).await;
    let found = orders.borrow().requests.clone();
    assert_eq!(found.iter().map(|request| request.id).collect::<Vec<_>>(), [retry, drop], "oldest first");
    assert_eq!(found[1].order, LaneOrder::Drop { up_to: 7 });
    assert_eq!((found[0].partition, &found[0].lane, found[0].generation), (PLACE, &a, BUILD.generation));

    assert!(checkpoints.begin_request(BUILD, epoch, PLACE, retry).await.unwrap());
    assert!(!checkpoints.begin_request(BUILD, epoch, PLACE, retry).await.unwrap(), "it is not tried twice");
    assert!(!elsewhere.withdraw_request(retry).await.unwrap(), "somebody is at it");
    assert_eq!(elsewhere.outcome(retry).await.unwrap(), None);
    checkpoints.end_request(BUILD, epoch, PLACE, retry, Outcome::Parked).await.unwrap();
    assert_eq!(orders.borrow().requests.len(), 1);
    // What other processes have written is seen a moment later.
    let mut there = elsewhere.orders();
    until(&mut there, |orders| orders.requests.len() == 1).await;
    assert_eq!(elsewhere.outcome(retry).await.unwrap(), Some(Outcome::Parked));
    checkpoints.end_request(BUILD, epoch, PLACE, retry, Outcome::Drained).await.unwrap();
    assert_eq!(checkpoints.outcome(retry).await.unwrap(), Some(Outcome::Parked), "the first outcome stays");

    assert!(elsewhere.withdraw_request(drop).await.unwrap());
    assert!(there.borrow().requests.is_empty());
    assert!(!checkpoints.begin_request(BUILD, epoch, PLACE, drop).await.unwrap());
    assert_eq!(checkpoints.outcome(drop).await.unwrap(), None);

    // An hour later, what came of it is forgotten.
    let much_later = NOW.plus_millis(2 * 60 * 60 * 1000);
    let next = elsewhere.request(BUILD, PLACE, &a, LaneOrder::Retry, much_later).await.unwrap().unwrap();
    assert!(next > retry);
    assert_eq!(elsewhere.outcome(retry).await.unwrap(), None);
    take(elsewhere, BUILD, PLACE).await;
    assert!(matches!(checkpoints.begin_request(BUILD, epoch, PLACE, next).await, Err(StoreError::Overtaken(_))));
}

pub(crate) async fn workers_say_how_they_are(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    let error = WorkerError { reason: "no disk".to_owned(), offset: Some(3), at: NOW };
    let stalled = WorkerState { activity: Activity::Stalled, since: NOW, error: Some(error.clone()) };
    checkpoints.note_state(BUILD, PLACE, stalled.clone()).await.unwrap();
    assert_eq!(checkpoints.states(BUILD).await.unwrap(), [(PLACE, stalled)]);
    let running = WorkerState { activity: Activity::Running, since: LATER, error: None };
    elsewhere.note_state(BUILD, PLACE, running.clone()).await.unwrap();
    let expected = WorkerState { error: Some(error), ..running.clone() };
    assert_eq!(elsewhere.states(BUILD).await.unwrap(), [(PLACE, expected)], "the newest error stays");
    let other = WorkerError { reason: "no power".to_owned(), offset: None, at: LATER };
    let faulted = WorkerState { activity: Activity::Faulted, since: LATER, error: Some(other) };
    elsewhere.note_state(BUILD, PLACE, faulted.clone()).await.unwrap();
    elsewhere.note_state(BUILD, OTHER_PLACE, running.clone()).await.unwrap();
    assert_eq!(elsewhere.states(BUILD).await.unwrap(), [(PLACE, faulted), (OTHER_PLACE, running)]);
    assert_eq!(elsewhere.states(NEXT_BUILD).await.unwrap(), []);
}
