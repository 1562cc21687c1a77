//! One projection in one partition, from its checkpoint on.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{OwnerEpoch, Partition, Taken};
use adapters::codec::OpenError;
use adapters::event_log::Logged;
use domain::stream::BEFORE_FIRST;
use domain::{Lane, Position};
use futures::future::{FutureExt, join_all};
use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::batch::{Lanes, Parking};
use super::{Place, RuntimePorts, Settings, State};
use crate::projection::{ApplyError, Projection, Recorded};

/// How long one read waits for an event before it is asked again.
const WAIT: Duration = Duration::from_secs(5);

/// Why a worker ends.
enum End {
    /// It was asked to.
    Stopped,
    /// Going on would be wrong; says why.
    Faulted(String),
}

type Step<T> = Result<T, End>;

pub(super) struct Worker {
    ports: RuntimePorts,
    projection: Arc<dyn Projection>,
    settings: Settings,
    place: Arc<Place>,
    stop: CancellationToken,
}

impl Worker {
    pub(super) fn new(
        ports: RuntimePorts,
        projection: Arc<dyn Projection>,
        settings: Settings,
        place: Arc<Place>,
        stop: CancellationToken,
    ) -> Self {
        Self { ports, projection, settings, place, stop }
    }

    pub(super) async fn run(self) {
        if let Err(End::Faulted(reason)) = self.follow_the_log().await {
            tracing::error!(
                projection = self.place.build.projection,
                partition = ?self.place.partition,
                reason,
                "projection stopped"
            );
            self.place.show(|shown| shown.state = State::Faulted(reason));
        }
    }

    async fn follow_the_log(&self) -> Step<()> {
        let taken = self.retrying(|| self.ports.checkpoints.take(self.place.build, self.place.partition)).await?;
        let epoch = taken.epoch;
        let mut position = self.starting_offset(&taken).await?;
        self.place.show(|shown| {
            shown.position = position;
            shown.parked = taken.parked.iter().map(|parked| parked.lane.clone()).collect();
        });
        // What could not be read by the version that parked it may be readable by this one.
        for parked in &taken.parked {
            self.drain(epoch, &parked.lane).await?;
        }
        loop {
            let records = self.read(position).await?;
            let Some(last) = records.last().map(|logged| logged.position) else { continue };
            self.process(epoch, records).await?;
            // P1: all effects are done, parking included.
            self.retrying(|| self.ports.checkpoints.save(self.place.build, epoch, last)).await?;
            position = last.offset;
            self.place.show(|shown| {
                shown.position = position;
                shown.state = State::Running;
            });
        }
    }

    /// Where to go on, if this log is the one that the build was made from.
    async fn starting_offset(&self, taken: &Taken) -> Step<i64> {
        let Some(position) = taken.position else { return Ok(BEFORE_FIRST) };
        let log = self.ports.event_log.id();
        if position.log != log {
            let built_from = position.log;
            return Err(End::Faulted(format!("built from log {built_from}, but this is log {log}: rebuild it")));
        }
        let Partition { topic, number } = self.place.partition;
        let head = self.retrying(|| self.ports.event_log.head(topic, number)).await?;
        if position.offset > head {
            return Err(End::Faulted(format!("the checkpoint {position} is beyond the log's end {head}: rebuild it")));
        }
        Ok(position.offset)
    }

    async fn read(&self, after: i64) -> Step<Vec<Logged>> {
        let Partition { topic, number } = self.place.partition;
        let log = &self.ports.event_log;
        tokio::select! {
            // Checked first, so that a worker that always finds events stops too.
            biased;
            () = self.stop.cancelled() => Err(End::Stopped),
            records = self.retrying(|| log.read(topic, number, after, self.settings.batch, WAIT)) => records,
        }
    }

    /// Applies a batch and parks what cannot be applied.
    async fn process(&self, epoch: OwnerEpoch, records: Vec<Logged>) -> Step<()> {
        let events = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let lanes = self.sort_into_lanes(records).await?;
        let (groups, mut parking) = lanes.into_groups(self.settings.parallelism);
        for failed in join_all(groups.into_iter().map(|group| self.apply_group(group))).await {
            for (lane, mut failed) in failed? {
                // Events behind an unreadable one of the same lane come after those that failed when applied.
                if let Some(later) = parking.remove(&lane) {
                    failed.offsets.extend(later.offsets);
                }
                parking.insert(lane, failed);
            }
        }
        metrics::counter!("projection_events_total", "projection" => self.projection.name()).increment(events);
        for (lane, parked) in parking {
            self.park(epoch, &lane, &parked).await?;
        }
        Ok(())
    }

    /// Reads every event; those of parked lanes, and from the first unreadable one of a lane on, are to be parked.
    async fn sort_into_lanes(&self, records: Vec<Logged>) -> Step<Lanes> {
        let parked = self.place.show(|shown| shown.parked.clone());
        let mut lanes = Lanes::default();
        for logged in records {
            let offset = logged.position.offset;
            if parked.contains(&logged.lane) {
                lanes.park(&logged.lane, offset, "the lane is parked".to_owned());
                continue;
            }
            let lane = logged.lane.clone();
            match self.open(logged).await? {
                Ok(event) => lanes.add(&lane, event),
                Err(reason) => lanes.park(&lane, offset, reason),
            }
        }
        Ok(lanes)
    }

    /// The event, or why it can never be read.
    async fn open(&self, logged: Logged) -> Step<Result<Recorded, String>> {
        let position = logged.position;
        let record = match logged.record {
            Ok(record) => record,
            Err(damage) => return Ok(Err(damage)),
        };
        let mut envelope = match self.ports.codec.parse(&record) {
            Ok(envelope) => envelope,
            Err(unreadable) => return Ok(Err(unreadable.to_string())),
        };
        if !self.projection.opens_text() {
            return Ok(Ok(Recorded { position, envelope }));
        }
        for attempt in 0.. {
            match self.ports.codec.open(&mut envelope).await {
                // Of an erased person the text stays closed, and the event counts all the same.
                Ok(()) | Err(OpenError::Erased) => break,
                Err(OpenError::Permanent(reason)) => return Ok(Err(reason)),
                Err(OpenError::Unavailable(error)) => self.pause(attempt, &error).await?,
            }
        }
        Ok(Ok(Recorded { position, envelope }))
    }

    /// Applies whole lanes until all that can be is; answers what cannot.
    async fn apply_group(&self, mut events: Vec<Recorded>) -> Step<Vec<(Lane, Parking)>> {
        let mut failed = Vec::new();
        let mut attempt = 0;
        loop {
            if events.is_empty() {
                return Ok(failed);
            }
            match self.apply_caught(&events).await {
                Ok(()) => return Ok(failed),
                Err(ApplyError::Store(error)) => {
                    self.pause(attempt, &error).await?;
                    attempt += 1;
                }
                Err(ApplyError::Permanent { offset, reason }) => {
                    let parked = cut_off(&mut events, offset, reason).ok_or_else(|| {
                        End::Faulted(format!("{} refused an event it was not given: {offset}", self.projection.name()))
                    })?;
                    failed.push(parked);
                }
            }
        }
    }

    /// Applies, and finds the culprit where the handler panics: one event at a time, in order.
    async fn apply_caught(&self, events: &[Recorded]) -> Result<(), ApplyError> {
        let generation = self.place.build.generation;
        let apply = |events| AssertUnwindSafe(self.projection.apply(generation, events)).catch_unwind();
        if let Ok(outcome) = apply(events).await {
            return outcome;
        }
        for event in events.chunks(1) {
            match apply(event).await {
                Ok(outcome) => outcome?,
                Err(_) => {
                    let reason = "the handler panicked".to_owned();
                    return Err(ApplyError::Permanent { offset: event[0].position.offset, reason });
                }
            }
        }
        Ok(())
    }

    async fn park(&self, epoch: OwnerEpoch, lane: &Lane, parked: &Parking) -> Step<()> {
        let Parking { offsets, reason } = parked;
        let (build, partition) = (self.place.build, self.place.partition);
        self.retrying(|| self.ports.checkpoints.park(build, epoch, partition, lane, offsets, reason)).await?;
        if self.place.show(|shown| shown.parked.insert(lane.clone())) {
            tracing::error!(projection = build.projection, ?partition, %lane, reason, "lane parked");
        }
        let waiting = u64::try_from(offsets.len()).unwrap_or(u64::MAX);
        metrics::counter!("projection_parked_events_total", "projection" => build.projection).increment(waiting);
        Ok(())
    }

    /// Applies a parked lane's queue in order, as far as it goes. The partition's own events wait meanwhile, so that
    /// none of the lane's overtakes the queue.
    async fn drain(&self, epoch: OwnerEpoch, lane: &Lane) -> Step<()> {
        let (build, partition) = (self.place.build, self.place.partition);
        let checkpoints = &self.ports.checkpoints;
        loop {
            let batch = self.settings.batch;
            let offsets = self.retrying(|| checkpoints.parked_offsets(build, partition, lane, batch)).await?;
            let mut lanes = Lanes::default();
            for &offset in &offsets {
                let logged = self.read_one(offset).await?;
                match self.open(logged).await? {
                    Ok(event) => lanes.add(lane, event),
                    Err(reason) => lanes.park(lane, offset, reason),
                }
            }
            let (groups, unreadable) = lanes.into_groups(1);
            let mut stuck_at = unreadable.get(lane).and_then(|parking| parking.offsets.first().copied());
            for group in groups {
                for (_, parking) in self.apply_group(group).await? {
                    stuck_at = parking.offsets.first().copied().or(stuck_at);
                }
            }
            let applied =
                offsets.iter().copied().take_while(|offset| stuck_at.is_none_or(|stuck| *offset < stuck)).last();
            let Some(applied) = applied else { return Ok(()) };
            // P1 for the queue: an event leaves it only once it is applied.
            if self.retrying(|| checkpoints.unpark(build, epoch, partition, lane, applied)).await? {
                tracing::info!(projection = build.projection, ?partition, %lane, "parked lane drained");
                self.place.show(|shown| shown.parked.remove(lane));
                return Ok(());
            }
        }
    }

    async fn read_one(&self, offset: i64) -> Step<Logged> {
        let Partition { topic, number } = self.place.partition;
        let log = &self.ports.event_log;
        let read = self.retrying(|| log.read(topic, number, offset - 1, 1, Duration::ZERO)).await?;
        let position = Position { log: log.id(), topic, partition: number, offset };
        read.into_iter()
            .find(|logged| logged.position == position)
            .ok_or_else(|| End::Faulted(format!("the parked event {position} is not in the log")))
    }

    /// Repeats a store's call until it succeeds, with growing pauses. Ends when the worker is asked to stop while the
    /// store fails, or was overtaken by another owner of the partition (P2).
    async fn retrying<T, C, F>(&self, call: C) -> Step<T>
    where
        C: Fn() -> F,
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut attempt = 0;
        loop {
            match call().await {
                Ok(value) => {
                    if attempt > 0 {
                        self.place.show(|shown| shown.state = State::Running);
                    }
                    return Ok(value);
                }
                Err(StoreError::Overtaken(owner)) => {
                    return Err(End::Faulted(format!("another owner has taken the partition: {owner}")));
                }
                Err(error) => self.pause(attempt, &error).await?,
            }
            attempt += 1;
        }
    }

    /// Waits after a failure, the longer the more there were, and shows why.
    async fn pause(&self, attempt: u32, error: &StoreError) -> Step<()> {
        let projection = self.projection.name();
        tracing::warn!(projection, partition = ?self.place.partition, attempt, %error, "projection stalls");
        metrics::counter!("projection_stalls_total", "projection" => projection).increment(1);
        self.place.show(|shown| shown.state = State::Stalled(error.to_string()));
        let longest = self.settings.longest_pause;
        let pause = self.settings.first_pause.saturating_mul(2u32.saturating_pow(attempt)).min(longest);
        // Jitter: workers that failed together do not come back together.
        let pause = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        tokio::select! {
            () = self.stop.cancelled() => Err(End::Stopped),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}

/// Takes the event at `offset`, and all later ones of its lane, out of the group.
fn cut_off(events: &mut Vec<Recorded>, offset: i64, reason: String) -> Option<(Lane, Parking)> {
    let lane = events.iter().find(|event| event.position.offset == offset)?.envelope.event.lane();
    let is_cut = |event: &Recorded| event.position.offset >= offset && event.envelope.event.lane() == lane;
    let offsets = events.extract_if(.., |event| is_cut(event)).map(|event| event.position.offset).collect();
    Some((lane, Parking { offsets, reason }))
}
