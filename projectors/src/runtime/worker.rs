//! One projection in one partition, from its checkpoint on.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{Activity, Orders, Owner, OwnerEpoch, Partition, Taken, WorkerError, WorkerState};
use adapters::codec::OpenError;
use adapters::event_log::{Logged, Membership};
use adapters::http::clock;
use domain::stream::BEFORE_FIRST;
use domain::{Lane, Position};
use futures::future::{FutureExt, join_all};
use rand::RngExt;
use tokio::sync::{RwLock, RwLockReadGuard, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Lanes, Parking};
use super::overview::Place;
use super::{RuntimePorts, Settings, State};
use crate::projection::{ApplyError, Projection, Recorded};

mod alone;
mod queues;

use alone::Suspected;

/// How long one read waits for an event before it is asked again.
const WAIT: Duration = Duration::from_secs(5);
/// How often the pause after another owner doubles.
const TRUCES: u32 = 4;

/// Why a worker ends.
enum End {
    /// It was asked to.
    Stopped,
    /// Another owner has taken the partition, and its writes are refused (P2).
    Overtaken(String),
    /// Going on would be wrong; says why.
    Faulted(String),
    /// A store failed while this worker ran alone: others shall not wait until it answers again.
    Interrupted(String),
}

type Step<T> = Result<T, End>;

pub(super) struct Worker {
    ports: RuntimePorts,
    projection: Arc<dyn Projection>,
    settings: Settings,
    place: Arc<Place>,
    membership: Arc<dyn Membership>,
    /// Shared by those who apply events in this process; held alone by one that may be about to end it.
    turns: Arc<RwLock<()>>,
    /// Whether this worker holds the turns alone.
    is_alone: AtomicBool,
    stop: CancellationToken,
}

impl Worker {
    pub(super) fn new(
        ports: RuntimePorts,
        projection: Arc<dyn Projection>,
        settings: Settings,
        place: Arc<Place>,
        membership: Arc<dyn Membership>,
        turns: Arc<RwLock<()>>,
        stop: CancellationToken,
    ) -> Self {
        let is_alone = AtomicBool::new(false);
        Self { ports, projection, settings, place, membership, turns, is_alone, stop }
    }

    /// Works until it is asked to stop, or an operator is needed. Where another owner takes the partition over, this
    /// one rests; if the group still wants it here after a while, it takes it back.
    pub(super) async fn run(self) {
        let mut truces = 0;
        let reason = loop {
            let began = Instant::now();
            match self.own_the_partition().await {
                Ok(()) | Err(End::Stopped) => return,
                Err(End::Faulted(reason) | End::Interrupted(reason)) => break reason,
                Err(End::Overtaken(owner)) => {
                    // Quietly: the stored state is the other's now.
                    self.place.show(|shown| shown.is_overtaken = true);
                    tracing::info!(
                        projection = self.place.build.projection,
                        partition = ?self.place.partition,
                        owner,
                        "another owner has taken the partition"
                    );
                    // Two who take it from each other without end do so ever more slowly.
                    let longest = self.settings.first_truce * 2u32.pow(TRUCES);
                    if began.elapsed() > longest {
                        truces = 0;
                    }
                    if self.rest(self.settings.first_truce * 2u32.pow(truces)).await.is_err() {
                        return;
                    }
                    truces = (truces + 1).min(TRUCES);
                }
            }
        };
        tracing::error!(
            projection = self.place.build.projection,
            partition = ?self.place.partition,
            reason,
            "projection stopped"
        );
        self.is_now(State::Faulted(reason)).await;
    }

    async fn own_the_partition(&self) -> Step<()> {
        let taken = self.retrying(|| self.ports.checkpoints.take(self.place.build, self.place.partition)).await?;
        let epoch = taken.epoch;
        let ended = self.follow_the_log(taken).await;
        if matches!(ended, Err(End::Stopped)) {
            let (build, partition) = (self.place.build, self.place.partition);
            // Only counts starts: without it, the next one counts for more than it was.
            let settled = self.ports.checkpoints.settle(build, epoch, partition, 0).await;
            // The next owner may be at work already.
            if let Err(error) = settled
                && !matches!(error, StoreError::Overtaken(_))
            {
                tracing::warn!(projection = build.projection, ?partition, %error, "a clean end is not recorded");
            }
        }
        ended
    }

    async fn follow_the_log(&self, taken: Taken) -> Step<()> {
        let epoch = taken.epoch;
        let mut orders = self.ports.checkpoints.orders();
        let mut position = self.starting_offset(&taken).await?;
        self.place.show(|shown| {
            shown.is_overtaken = false;
            shown.position = position;
            shown.parked = taken.parked.iter().map(|parked| parked.lane.clone()).collect();
        });
        self.tell(Activity::Running, None).await;
        self.wait_while_paused(&mut orders).await?;
        self.drain_all(epoch, &taken.parked).await?;

        let mut starts = taken.suspicion.starts;
        let mut suspected = Suspected::of(taken.suspicion);
        loop {
            self.obey(epoch, &mut orders).await?;
            let done = match &mut suspected {
                Some(suspicion) => self.advance_alone(epoch, position, suspicion).await?,
                None => self.advance(epoch, position, &mut orders).await?,
            };
            let Some(last) = done else {
                // Whatever ended the processes before, it is not what follows: nothing does.
                suspected = None;
                if starts > 1 {
                    self.settle(epoch, 1).await?;
                    starts = 1;
                }
                continue;
            };
            if suspected.as_ref().is_some_and(|suspicion| suspicion.is_over_at(last.offset)) {
                suspected = None;
            }
            starts = 1;
            position = last.offset;
            self.place.show(|shown| shown.position = position);
            self.is_now(State::Running).await;
        }
    }

    /// Applies the next batch and moves the checkpoint; `None` where there is none, or operators want something.
    async fn advance(
        &self,
        epoch: OwnerEpoch,
        after: i64,
        orders: &mut watch::Receiver<Orders>,
    ) -> Step<Option<Position>> {
        let records = self.read(after, orders).await?;
        let Some(last) = records.last().map(|logged| logged.position) else { return Ok(None) };
        self.process(epoch, records).await?;
        // P1: all effects are done, parking included.
        self.retrying(|| self.ports.checkpoints.save(self.place.build, epoch, last)).await?;
        Ok(Some(last))
    }

    async fn settle(&self, epoch: OwnerEpoch, starts: u32) -> Step<()> {
        let (build, partition) = (self.place.build, self.place.partition);
        self.retrying(|| self.ports.checkpoints.settle(build, epoch, partition, starts)).await
    }

    /// Shows what this worker is doing, and stores it if it is news.
    async fn is_now(&self, state: State) {
        let is_news = self.place.show(|shown| {
            let is_news = shown.state != state;
            shown.state = state.clone();
            is_news
        });
        if !is_news {
            return;
        }
        let (activity, reason) = match state {
            State::Running => (Activity::Running, None),
            State::Stalled(reason) => (Activity::Stalled, Some(reason)),
            State::Faulted(reason) => (Activity::Faulted, Some(reason)),
            State::Paused => (Activity::Paused, None),
        };
        let error = reason.map(|reason| WorkerError { reason, offset: None, at: clock::now() });
        self.tell(activity, error).await;
    }

    /// Stores what this worker is doing, for those who ask in other processes.
    async fn tell(&self, activity: Activity, error: Option<WorkerError>) {
        let (build, partition) = (self.place.build, self.place.partition);
        let state = WorkerState { activity, since: clock::now(), error };
        // Nothing rests on it, and the store that fails may be this one.
        if let Err(error) = self.ports.checkpoints.note_state(build, partition, state).await {
            tracing::debug!(projection = build.projection, ?partition, %error, "the worker's state is not stored");
        }
    }

    /// Waits until the projection is not paused, if it is.
    async fn wait_while_paused(&self, orders: &mut watch::Receiver<Orders>) -> Step<()> {
        let mut was_paused = false;
        while orders.borrow_and_update().paused.contains_key(self.projection.name()) {
            was_paused = true;
            self.is_now(State::Paused).await;
            tokio::select! {
                () = self.stop.cancelled() => return Err(End::Stopped),
                // The port is ours and open, so there is no error.
                _ = orders.changed() => {}
            }
        }
        if was_paused {
            self.is_now(State::Running).await;
        }
        Ok(())
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

    /// The next events; none where operators want something.
    async fn read(&self, after: i64, orders: &mut watch::Receiver<Orders>) -> Step<Vec<Logged>> {
        let (partition, limit) = (self.place.partition, self.settings.batch);
        tokio::select! {
            // Checked first, so that a worker that always finds events stops too.
            biased;
            () = self.stop.cancelled() => Err(End::Stopped),
            Ok(()) = orders.changed() => Ok(Vec::new()),
            records = self.retrying(|| self.membership.read(partition, after, limit, WAIT)) => records,
        }
    }

    /// Applies a batch and parks what cannot be applied.
    async fn process(&self, epoch: OwnerEpoch, records: Vec<Logged>) -> Step<()> {
        let events = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let lanes = self.sort_into_lanes(records).await?;
        let (groups, mut parking) = lanes.into_groups(self.settings.parallelism);
        for failed in join_all(groups.into_iter().map(|group| self.apply_group(epoch, group))).await {
            for (lane, mut failed) in failed? {
                // Events behind an unreadable one of the same lane come after those that failed when applied.
                if let Some(later) = parking.remove(&lane) {
                    failed.offsets.extend(later.offsets);
                }
                parking.insert(lane, failed);
            }
        }
        metrics::counter!("hybrid_live_projection_events_total", "projection" => self.projection.name())
            .increment(events);
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
        let turn = self.turn().await;
        let parsed = self.ports.codec.parse(&record);
        drop(turn);
        let mut envelope = match parsed {
            Ok(envelope) => envelope,
            Err(unreadable) => return Ok(Err(unreadable.to_string())),
        };
        if !self.projection.opens_text(self.place.partition.topic) {
            return Ok(Ok(Recorded { position, envelope }));
        }
        for attempt in 0.. {
            let turn = self.turn().await;
            let opened = self.ports.codec.open(&mut envelope).await;
            drop(turn);
            match opened {
                // Of an erased person the text stays closed, and the event counts all the same.
                Ok(()) | Err(OpenError::Erased) => break,
                Err(OpenError::Permanent(reason)) => return Ok(Err(reason)),
                Err(OpenError::Unavailable(error)) => self.pause(attempt, &error).await?,
            }
        }
        Ok(Ok(Recorded { position, envelope }))
    }

    /// Applies whole lanes until all that can be is; answers what cannot.
    async fn apply_group(&self, epoch: OwnerEpoch, mut events: Vec<Recorded>) -> Step<Vec<(Lane, Parking)>> {
        let mut failed = Vec::new();
        let mut attempt = 0;
        loop {
            if events.is_empty() {
                return Ok(failed);
            }
            let turn = self.turn().await;
            let outcome = self.apply_caught(epoch, &events).await;
            // Not held while a store is waited for: whoever needs to be alone would wait, too.
            drop(turn);
            match outcome {
                Ok(()) => return Ok(failed),
                Err(ApplyError::Store(StoreError::Overtaken(owner))) => return Err(End::Overtaken(owner)),
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

    /// The right to handle events beside others, unless this worker has it alone.
    async fn turn(&self) -> Option<RwLockReadGuard<'_, ()>> {
        if self.is_alone.load(Ordering::Relaxed) { None } else { Some(self.turns.read().await) }
    }

    /// Applies, and finds the culprit where the handler panics: one event at a time, in order.
    async fn apply_caught(&self, epoch: OwnerEpoch, events: &[Recorded]) -> Result<(), ApplyError> {
        let Place { build, partition, .. } = *self.place;
        let owner = Owner { generation: build.generation, partition, epoch };
        let apply = |events| AssertUnwindSafe(self.projection.apply(owner, events)).catch_unwind();
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
                        self.is_now(State::Running).await;
                    }
                    return Ok(value);
                }
                Err(StoreError::Overtaken(owner)) => return Err(End::Overtaken(owner)),
                Err(error) => self.pause(attempt, &error).await?,
            }
            attempt += 1;
        }
    }

    /// Waits after a failure, the longer the more there were, and shows why. While the projection is paused, waits on.
    async fn pause(&self, attempt: u32, error: &StoreError) -> Step<()> {
        if self.is_alone.load(Ordering::Relaxed) {
            return Err(End::Interrupted(error.to_string()));
        }
        self.stall(attempt, error.to_string()).await
    }

    async fn stall(&self, attempt: u32, error: String) -> Step<()> {
        let projection = self.projection.name();
        tracing::warn!(projection, partition = ?self.place.partition, attempt, error, "projection stalls");
        metrics::counter!("hybrid_live_projection_stalls_total", "projection" => projection).increment(1);
        self.is_now(State::Stalled(error)).await;
        let longest = self.settings.longest_pause;
        self.rest(self.settings.first_pause.saturating_mul(2u32.saturating_pow(attempt)).min(longest)).await?;
        self.wait_while_paused(&mut self.ports.checkpoints.orders()).await
    }

    /// Waits for about so long.
    async fn rest(&self, pause: Duration) -> Step<()> {
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
