//! Finding the event that ends the whole process: what follows a checkpoint after which processes have ended too often
//! is run alone, in ranges that are halved with each further end. Only an event that did not come to an end several
//! times while it ran alone is parked (P5); whoever merely ran beside it comes through in one piece.

use std::sync::atomic::Ordering;
use std::time::Duration;

use adapters::checkpoints::{DRAINS, OwnerEpoch, Partition, STARTS, Suspicion, Trial};
use adapters::event_log::Logged;
use domain::Position;

use super::{End, Step, Worker};
use crate::runtime::batch::Parking;

/// How often an event is run alone without coming to an end before it is parked.
const TRIALS: u32 = 3;

/// What is run alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suspected {
    /// Up to where; `None` until the first batch is read.
    until: Option<i64>,
    /// What the last process did not come to an end with.
    trial: Option<Trial>,
    /// Times in a row that a store failed.
    failures: u32,
}

impl Suspected {
    /// What there is to suspect after so many starts.
    pub(super) fn of(suspicion: Suspicion) -> Option<Self> {
        let Suspicion { starts, careful_until, trial } = suspicion;
        (careful_until.is_some() || starts > STARTS).then_some(Self { until: careful_until, trial, failures: 0 })
    }

    /// Whether everything that was suspected is done at `offset`.
    pub(super) fn is_over_at(&self, offset: i64) -> bool {
        self.until.is_some_and(|until| offset >= until)
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Run so many events alone.
    Run(usize),
    /// Park the first.
    Park,
}

/// The next step with events at `offsets`, after `trial` did not come to an end.
fn next(offsets: &[i64], trial: Option<Trial>) -> Next {
    let Some(Trial { until, starts }) = trial else { return Next::Run(offsets.len()) };
    match offsets.iter().take_while(|offset| **offset <= until).count() {
        0 => Next::Run(offsets.len()),
        1 if starts >= TRIALS => Next::Park,
        // It was taken back, or one event cannot be halved.
        count if starts == 0 || count == 1 => Next::Run(count),
        count => Next::Run(count / 2),
    }
}

impl Worker {
    /// Brings the suspected events a step further and moves the checkpoint; `None` where there are none.
    pub(super) async fn advance_alone(
        &self,
        epoch: OwnerEpoch,
        after: i64,
        suspected: &mut Suspected,
    ) -> Step<Option<Position>> {
        let Partition { topic, number } = self.place.partition;
        let log = &self.ports.event_log;
        loop {
            let batch = self.settings.batch;
            let mut records = self.retrying(|| log.read(topic, number, after, batch, Duration::ZERO)).await?;
            records.retain(|logged| suspected.until.is_none_or(|until| logged.position.offset <= until));
            let Some(last) = records.last() else { return Ok(None) };
            let until = *suspected.until.get_or_insert(last.position.offset);
            let offsets: Vec<i64> = records.iter().map(|logged| logged.position.offset).collect();
            let count = match next(&offsets, suspected.trial) {
                Next::Run(count) => count,
                Next::Park => {
                    suspected.trial = None;
                    return self.park_the_culprit(epoch, &records[0]).await.map(Some);
                }
            };
            records.truncate(count);
            match self.run_alone(epoch, records, until).await {
                Ok(done) => {
                    (suspected.trial, suspected.failures) = (None, 0);
                    return Ok(Some(done));
                }
                Err(End::Interrupted(error)) => {
                    // Taken back, and tried again as it was: a store has failed, and not this range.
                    self.settle(epoch, 0).await?;
                    self.stall(suspected.failures, error).await?;
                    suspected.failures += 1;
                }
                Err(end) => return Err(end),
            }
        }
    }

    async fn run_alone(&self, epoch: OwnerEpoch, records: Vec<Logged>, careful_until: i64) -> Step<Position> {
        let (build, partition) = (self.place.build, self.place.partition);
        let checkpoints = &self.ports.checkpoints;
        let Some(last) = records.last().map(|logged| logged.position) else {
            return Err(End::Faulted("there is nothing to run alone".to_owned()));
        };
        // First alone, then recorded: what others do to the process meanwhile is not held against this range.
        let alone = tokio::select! {
            () = self.stop.cancelled() => return Err(End::Stopped),
            alone = self.turns.write() => alone,
        };
        self.is_alone.store(true, Ordering::Relaxed);
        let run = async {
            self.retrying(|| checkpoints.begin_trial(build, epoch, partition, last.offset, careful_until)).await?;
            tracing::warn!(
                projection = build.projection,
                ?partition,
                events = records.len(),
                until = last.offset,
                "processes have ended here; running alone"
            );
            self.process(epoch, records).await?;
            self.retrying(|| checkpoints.save(build, epoch, last)).await
        };
        let outcome = run.await;
        self.is_alone.store(false, Ordering::Relaxed);
        drop(alone);
        outcome.map(|()| last)
    }

    async fn park_the_culprit(&self, epoch: OwnerEpoch, culprit: &Logged) -> Step<Position> {
        let Logged { position, lane, .. } = culprit;
        let reason = format!("the process ended {TRIALS} times while it applied this event alone");
        self.park(epoch, lane, &Parking { offsets: vec![position.offset], reason }).await?;
        // No start tries it again by itself.
        self.note_drains(epoch, lane, DRAINS, None).await?;
        self.retrying(|| self.ports.checkpoints.save(self.place.build, epoch, *position)).await?;
        Ok(*position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(until: i64, starts: u32) -> Option<Trial> {
        Some(Trial { until, starts })
    }

    #[test]
    fn ranges_are_halved_until_one_event_is_left_and_that_is_tried_three_times() {
        let offsets = [10, 12, 13, 17, 20];
        assert_eq!(next(&offsets, None), Next::Run(5));
        assert_eq!(next(&offsets, trial(20, 1)), Next::Run(2));
        assert_eq!(next(&offsets, trial(12, 1)), Next::Run(1));
        assert_eq!(next(&offsets, trial(10, 1)), Next::Run(1));
        assert_eq!(next(&offsets, trial(10, 2)), Next::Run(1));
        assert_eq!(next(&offsets, trial(10, 3)), Next::Park);
        assert_eq!(next(&offsets, trial(20, 0)), Next::Run(5), "what was taken back is tried as it was");
        assert_eq!(next(&offsets, trial(10, 0)), Next::Run(1));
    }

    #[test]
    fn only_more_starts_than_allowed_are_suspicious() {
        let begun = |starts| Suspicion { starts, ..Suspicion::default() };
        assert_eq!(Suspected::of(begun(STARTS)), None);
        assert!(Suspected::of(begun(STARTS + 1)).is_some());
        let rest = Suspected::of(Suspicion { careful_until: Some(9), ..begun(1) }).expect("the rest is suspected, too");
        assert!(!rest.is_over_at(8) && rest.is_over_at(9));
    }
}
