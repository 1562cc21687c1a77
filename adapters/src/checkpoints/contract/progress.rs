//! The watch of all progress that consistency tokens wait on. W7: it never says more than what is stored.

use super::{BUILD, NEXT_BUILD, OTHER_BUILD, OTHER_PLACE, PLACE, at, lane, take, until};
use crate::checkpoints::{Checkpoints, Epoch, Epochs};

pub(crate) async fn own_writes_show_at_once(checkpoints: &dyn Checkpoints, _: &dyn Checkpoints) {
    let progress = checkpoints.progress();
    let has_passed = |offset| progress.borrow().has_passed(BUILD.projection, PLACE, offset);
    let is_parked = |name| progress.borrow().is_parked(BUILD.projection, PLACE, &lane(name));
    assert!(!has_passed(-1));

    let epoch = take(checkpoints, BUILD, PLACE).await;
    assert!(!has_passed(-1));
    checkpoints.save(BUILD, epoch, at(PLACE, 10)).await.unwrap();
    assert!(has_passed(10) && has_passed(3) && !has_passed(11));
    assert!(!progress.borrow().has_passed(BUILD.projection, OTHER_PLACE, 3));
    assert!(!progress.borrow().has_passed(OTHER_BUILD.projection, PLACE, 3));
    checkpoints.save(BUILD, epoch, at(PLACE, 5)).await.unwrap();
    assert!(has_passed(10));

    checkpoints.park(BUILD, epoch, PLACE, &lane("a"), &[11, 12], "stopped").await.unwrap();
    checkpoints.park(BUILD, epoch, PLACE, &lane("b"), &[13], "stopped").await.unwrap();
    assert!(is_parked("a") && is_parked("b") && !is_parked("c"));
    checkpoints.unpark(BUILD, epoch, PLACE, &lane("a"), 11).await.unwrap();
    assert!(is_parked("a"));
    checkpoints.unpark(BUILD, epoch, PLACE, &lane("a"), 12).await.unwrap();
    assert!(!is_parked("a") && is_parked("b"));

    // What was refused does not show.
    take(checkpoints, BUILD, PLACE).await;
    checkpoints.save(BUILD, epoch, at(PLACE, 20)).await.unwrap_err();
    checkpoints.park(BUILD, epoch, PLACE, &lane("c"), &[21], "late").await.unwrap_err();
    assert!(!has_passed(20) && !is_parked("c"));
}

pub(crate) async fn other_processes_writes_show(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    let mut progress = checkpoints.progress();
    let epoch = take(elsewhere, BUILD, PLACE).await;
    elsewhere.save(BUILD, epoch, at(PLACE, 10)).await.unwrap();
    until(&mut progress, |progress| progress.has_passed(BUILD.projection, PLACE, 10)).await;

    elsewhere.park(BUILD, epoch, PLACE, &lane("a"), &[11], "stopped").await.unwrap();
    elsewhere.save(BUILD, epoch, at(PLACE, 11)).await.unwrap();
    until(&mut progress, |progress| {
        let is_parked = progress.is_parked(BUILD.projection, PLACE, &lane("a"));
        // The lane was parked before the checkpoint passed its event, and is never seen otherwise.
        assert!(is_parked || !progress.has_passed(BUILD.projection, PLACE, 11));
        progress.has_passed(BUILD.projection, PLACE, 11)
    })
    .await;

    elsewhere.unpark(BUILD, epoch, PLACE, &lane("a"), 11).await.unwrap();
    until(&mut progress, |progress| !progress.is_parked(BUILD.projection, PLACE, &lane("a"))).await;
    assert!(progress.borrow().has_passed(BUILD.projection, PLACE, 11));
}

pub(crate) async fn whoever_watches_is_woken(checkpoints: &dyn Checkpoints, _: &dyn Checkpoints) {
    let epoch = take(checkpoints, BUILD, PLACE).await;
    let mut progress = checkpoints.progress();
    let waits = until(&mut progress, |progress| progress.has_passed(BUILD.projection, PLACE, 100));
    let goes_on = async {
        for offset in 0..=100 {
            checkpoints.save(BUILD, epoch, at(PLACE, offset)).await.unwrap();
        }
    };
    tokio::join!(waits, goes_on);
}

pub(crate) async fn epochs_are_seen_with_the_checkpoint_at_the_latest(
    checkpoints: &dyn Checkpoints,
    elsewhere: &dyn Checkpoints,
) {
    let mut progress = checkpoints.progress();
    assert_eq!(progress.borrow().epochs, Epochs::default());
    checkpoints.raise(Epoch::Live).await.unwrap();
    assert_eq!(progress.borrow().epochs, Epochs { cache: 0, live: 1 }, "own ones show at once");

    let epoch = take(elsewhere, BUILD, PLACE).await;
    for offset in 1..=20 {
        elsewhere.raise(Epoch::Cache).await.unwrap();
        let stored = Epochs { cache: u64::try_from(offset).unwrap(), live: 1 };
        assert_eq!(checkpoints.epochs().await.unwrap(), stored, "whoever asks is told what is stored now");
        elsewhere.save(BUILD, epoch, at(PLACE, offset)).await.unwrap();
    }
    until(&mut progress, |progress| {
        let passed = progress.offsets(BUILD.projection, PLACE.topic, PLACE.number + 1)[usize::from(PLACE.number)];
        assert!(i64::try_from(progress.epochs.cache).unwrap() >= passed, "{progress:?}");
        passed == 20
    })
    .await;
    assert_eq!(progress.borrow().epochs, Epochs { cache: 20, live: 1 });
    until(&mut elsewhere.progress(), |progress| progress.epochs == Epochs { cache: 20, live: 1 }).await;

    let raises = (0..8).map(|_| checkpoints.raise(Epoch::Live)).chain((0..8).map(|_| elsewhere.raise(Epoch::Live)));
    futures::future::try_join_all(raises).await.unwrap();
    for store in [checkpoints, elsewhere] {
        until(&mut store.progress(), |progress| progress.epochs == Epochs { cache: 20, live: 17 }).await;
    }
}

pub(crate) async fn only_what_serves_counts(checkpoints: &dyn Checkpoints, elsewhere: &dyn Checkpoints) {
    for store in [checkpoints, elsewhere] {
        let next = take(store, NEXT_BUILD, PLACE).await;
        store.save(NEXT_BUILD, next, at(PLACE, 50)).await.unwrap();
        store.park(NEXT_BUILD, next, PLACE, &lane("a"), &[60], "stopped").await.unwrap();
        let serving = take(store, BUILD, PLACE).await;
        store.save(BUILD, serving, at(PLACE, 10)).await.unwrap();
    }
    for store in [checkpoints, elsewhere] {
        let mut progress = store.progress();
        until(&mut progress, |progress| progress.has_passed(BUILD.projection, PLACE, 10)).await;
        assert!(!progress.borrow().has_passed(BUILD.projection, PLACE, 11));
        assert!(!progress.borrow().is_parked(BUILD.projection, PLACE, &lane("a")));
    }
}
