//! What a build's partition is and what becomes of it, if each operation happens whole and at one moment.

use std::collections::BTreeMap;

use domain::{Lane, Timestamp};

use crate::checkpoints::contract::at;
use crate::checkpoints::{Dropped, OwnerEpoch, ParkedLane, Partition, Suspicion, Taken, Trial};

/// An operation of the port.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operation {
    Take,
    Save(i64),
    Park(Lane, Vec<i64>),
    Unpark(Lane, i64),
    Drop(Lane, i64, Timestamp),
    NoteDrains(Lane, u32, Option<&'static str>),
    Settle(u32),
    BeginTrial(i64, i64),
    ParkedOffsets(Lane, usize),
    Dropped,
}

/// What an operation answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Done,
    Taken(Taken),
    Closed(bool),
    Offsets(Vec<i64>),
    Dropped(Vec<Dropped>),
    Overtaken,
}

/// What can be seen of a partition without changing it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// As its next owner would find it; the epoch is the present one.
    pub(super) taken: Taken,
    pub(super) drains: u64,
    pub(super) waiting: BTreeMap<Lane, Vec<i64>>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    partition: Partition,
    pub(super) seen: Seen,
    careful_until: Option<i64>,
    trial_by: Option<OwnerEpoch>,
    dropped: BTreeMap<i64, Dropped>,
}

pub(super) fn reason(lane: &Lane) -> String {
    format!("{lane} stopped")
}

impl Model {
    pub(super) fn new(partition: Partition) -> Self {
        let suspicion = Suspicion { starts: 0, careful_until: None, trial: None };
        let taken = Taken { epoch: OwnerEpoch(0), position: None, parked: Vec::new(), suspicion };
        let seen = Seen { taken, drains: 0, waiting: BTreeMap::new() };
        Self { partition, seen, careful_until: None, trial_by: None, dropped: BTreeMap::new() }
    }

    pub(super) fn epoch(&self) -> OwnerEpoch {
        self.seen.taken.epoch
    }

    pub(super) fn dropped(&self) -> Vec<Dropped> {
        self.dropped.values().cloned().collect()
    }

    /// What `operation` by the owner of `epoch` makes of this, and answers.
    pub(super) fn after(&self, operation: &Operation, epoch: OwnerEpoch) -> (Self, Answer) {
        let mut next = self.clone();
        let answer = next.apply(operation, epoch);
        (next, answer)
    }

    fn apply(&mut self, operation: &Operation, epoch: OwnerEpoch) -> Answer {
        match operation {
            Operation::Take => {
                self.seen.taken.epoch.0 += 1;
                self.seen.taken.suspicion.starts += 1;
                return Answer::Taken(self.seen.taken.clone());
            }
            Operation::ParkedOffsets(lane, limit) => {
                let waiting = self.seen.waiting.get(lane).into_iter().flatten();
                return Answer::Offsets(waiting.take(*limit).copied().collect());
            }
            Operation::Dropped => return Answer::Dropped(self.dropped()),
            _ => {}
        }
        // Before anybody has taken it, nobody owns it.
        if epoch != self.epoch() || epoch == OwnerEpoch(0) {
            return Answer::Overtaken;
        }
        let suspicion = &mut self.seen.taken.suspicion;
        match operation {
            Operation::Save(offset) => {
                if self.seen.taken.position.is_none_or(|position| position.offset < *offset) {
                    self.seen.taken.position = Some(at(self.partition, *offset));
                    (suspicion.starts, suspicion.trial, self.trial_by) = (1, None, None);
                    self.show_careful_until();
                }
            }
            Operation::Park(lane, offsets) => self.park(lane, offsets),
            Operation::Unpark(lane, up_to) => {
                self.leave(lane, *up_to);
                return Answer::Closed(!self.seen.waiting.contains_key(lane));
            }
            Operation::Drop(lane, up_to, at) => {
                let parked = self.seen.taken.parked.iter().find(|parked| parked.lane == *lane);
                let reason = parked.map(|parked| parked.reason.clone()).unwrap_or_default();
                for offset in self.leave(lane, *up_to) {
                    let (partition, lane, reason, at) = (self.partition, lane.clone(), reason.clone(), *at);
                    self.dropped.entry(offset).or_insert(Dropped { partition, offset, lane, reason, at });
                }
                return Answer::Closed(!self.seen.waiting.contains_key(lane));
            }
            Operation::NoteDrains(lane, unfinished, why) => {
                if let Some(parked) = self.seen.taken.parked.iter_mut().find(|parked| parked.lane == *lane) {
                    parked.unfinished_drains = *unfinished;
                    parked.reason = why.map_or(parked.reason.clone(), str::to_owned);
                }
            }
            Operation::Settle(starts) => {
                suspicion.starts = *starts;
                if *starts == 0
                    && self.trial_by == Some(epoch)
                    && let Some(trial) = &mut suspicion.trial
                {
                    trial.starts -= 1;
                    self.trial_by = None;
                }
            }
            Operation::BeginTrial(until, careful_until) => {
                match &mut suspicion.trial {
                    Some(trial) if trial.until == *until && self.trial_by == Some(epoch) => {}
                    Some(trial) if trial.until == *until => trial.starts += 1,
                    trial => *trial = Some(Trial { until: *until, starts: 1 }),
                }
                self.trial_by = Some(epoch);
                self.careful_until = Some(*careful_until);
                self.show_careful_until();
            }
            Operation::Take | Operation::ParkedOffsets(..) | Operation::Dropped => {}
        }
        Answer::Done
    }

    fn park(&mut self, lane: &Lane, offsets: &[i64]) {
        let waiting = self.seen.waiting.entry(lane.clone()).or_default();
        let last = waiting.last().copied();
        waiting.extend(offsets.iter().filter(|offset| last.is_none_or(|last| **offset > last)));
        let count = waiting.len() as u64;
        let parked = &mut self.seen.taken.parked;
        match parked.iter_mut().find(|parked| parked.lane == *lane) {
            Some(parked) => parked.waiting = count,
            None => {
                let (lane, first, reason) = (lane.clone(), offsets[0], reason(lane));
                parked.push(ParkedLane { lane, first, reason, waiting: count, unfinished_drains: 0 });
                parked.sort_by(|one, other| one.lane.cmp(&other.lane));
            }
        }
    }

    /// What leaves.
    fn leave(&mut self, lane: &Lane, up_to: i64) -> Vec<i64> {
        let Some(waiting) = self.seen.waiting.get_mut(lane) else { return Vec::new() };
        let (gone, left): (Vec<i64>, Vec<i64>) = waiting.iter().partition(|offset| **offset <= up_to);
        if gone.is_empty() {
            return gone;
        }
        self.seen.drains += 1;
        let parked = &mut self.seen.taken.parked;
        match left.first() {
            Some(first) => {
                for parked in parked.iter_mut().filter(|parked| parked.lane == *lane) {
                    (parked.first, parked.waiting) = (*first, left.len() as u64);
                }
                *waiting = left;
            }
            None => {
                parked.retain(|parked| parked.lane != *lane);
                self.seen.waiting.remove(lane);
            }
        }
        gone
    }

    /// Once the position has reached it, it is over.
    fn show_careful_until(&mut self) {
        let position = self.seen.taken.position;
        let is_ahead = |until: &i64| position.is_none_or(|position| *until > position.offset);
        self.seen.taken.suspicion.careful_until = self.careful_until.filter(is_ahead);
    }
}
