//! Parked lanes: how they come to wait, and how their queues drain, by themselves at a start or because operators want it.

use std::time::Duration;

use adapters::checkpoints::{
    Activity, DRAINS, LaneOrder, LaneRequest, Orders, Outcome, OwnerEpoch, ParkedLane, Partition, WorkerError,
};
use adapters::event_log::Logged;
use adapters::http::clock;
use domain::{Lane, Position};
use tokio::sync::watch;

use super::{End, Step, Worker};
use crate::runtime::batch::{Lanes, Parking};

impl Worker {
    pub(super) async fn park(&self, epoch: OwnerEpoch, lane: &Lane, parked: &Parking) -> Step<()> {
        let Parking { offsets, reason } = parked;
        let (build, partition) = (self.place.build, self.place.partition);
        self.retrying(|| self.ports.checkpoints.park(build, epoch, partition, lane, offsets, reason)).await?;
        if self.place.show(|shown| shown.parked.insert(lane.clone())) {
            tracing::error!(projection = build.projection, ?partition, %lane, reason, "lane parked");
            let error = WorkerError { reason: reason.clone(), offset: offsets.first().copied(), at: clock::now() };
            self.tell(Activity::Running, Some(error)).await;
        }
        let waiting = u64::try_from(offsets.len()).unwrap_or(u64::MAX);
        metrics::counter!("hybrid_live_projection_parked_events_total", "projection" => build.projection)
            .increment(waiting);
        Ok(())
    }

    /// Drains every queue as far as it goes: what could not be read by the version that parked it may be readable by
    /// this one. A lane whose draining has ended processes waits for an operator.
    pub(super) async fn drain_all(&self, epoch: OwnerEpoch, parked: &[ParkedLane]) -> Step<()> {
        for ParkedLane { lane, unfinished_drains, .. } in parked {
            if *unfinished_drains < DRAINS {
                self.drain_counted(epoch, lane, unfinished_drains + 1).await?;
            }
        }
        Ok(())
    }

    /// Drains a queue; should that end the process, the lane says so.
    async fn drain_counted(&self, epoch: OwnerEpoch, lane: &Lane, unfinished: u32) -> Step<()> {
        self.note_drains(epoch, lane, unfinished, None).await?;
        let stuck = self.drain(epoch, lane).await?;
        self.note_drains(epoch, lane, 0, stuck.as_deref()).await
    }

    pub(super) async fn note_drains(
        &self,
        epoch: OwnerEpoch,
        lane: &Lane,
        unfinished: u32,
        reason: Option<&str>,
    ) -> Step<()> {
        let (build, partition) = (self.place.build, self.place.partition);
        self.retrying(|| self.ports.checkpoints.note_drains(build, epoch, partition, lane, unfinished, reason)).await
    }

    /// Does what operators want of this partition.
    pub(super) async fn obey(&self, epoch: OwnerEpoch, orders: &mut watch::Receiver<Orders>) -> Step<()> {
        self.wait_while_paused(orders).await?;
        let (build, partition) = (self.place.build, self.place.partition);
        let is_ours = |request: &LaneRequest| {
            request.projection == build.projection
                && request.generation == build.generation
                && request.partition == partition
        };
        let requests: Vec<LaneRequest> =
            orders.borrow().requests.iter().filter(|request| is_ours(request)).cloned().collect();
        for request in requests {
            let outcome = self.fulfil(epoch, &request).await?;
            let LaneRequest { id, lane, .. } = request;
            self.retrying(|| self.ports.checkpoints.end_request(build, epoch, partition, id, outcome)).await?;
            tracing::info!(projection = build.projection, ?partition, %lane, outcome = outcome.name(), "lane retried");
        }
        Ok(())
    }

    async fn fulfil(&self, epoch: OwnerEpoch, request: &LaneRequest) -> Step<Outcome> {
        let (build, partition) = (self.place.build, self.place.partition);
        let checkpoints = &self.ports.checkpoints;
        let LaneRequest { id, lane, order, .. } = request;
        let is_parked = || self.place.show(|shown| shown.parked.contains(lane));
        if !is_parked() {
            return Ok(Outcome::Drained);
        }
        // A second time might end the process a second time.
        if !self.retrying(|| checkpoints.begin_request(build, epoch, partition, *id)).await? {
            return Ok(Outcome::Interrupted);
        }
        if let LaneOrder::Drop { up_to } = *order {
            let now = clock::now();
            let drop = || checkpoints.drop_parked(build, epoch, partition, lane, up_to, now);
            if self.retrying(drop).await? {
                self.place.show(|shown| shown.parked.remove(lane));
                return Ok(Outcome::Drained);
            }
        }
        // Should this end the process, no start tries it again.
        self.drain_counted(epoch, lane, DRAINS).await?;
        Ok(if is_parked() { Outcome::Parked } else { Outcome::Drained })
    }

    /// Applies a parked lane's queue in order, as far as it goes, and answers why it goes no further. The partition's
    /// own events wait meanwhile, so that none of the lane's overtakes the queue.
    async fn drain(&self, epoch: OwnerEpoch, lane: &Lane) -> Step<Option<String>> {
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
            let mut stuck = unreadable.into_values().next();
            for group in groups {
                // What is refused when applied comes before what cannot be read.
                stuck = self.apply_group(epoch, group).await?.pop().map(|(_, parking)| parking).or(stuck);
            }
            let stuck_at = stuck.as_ref().and_then(|parking| parking.offsets.first().copied());
            let applied = offsets.iter().copied().take_while(|offset| stuck_at.is_none_or(|at| *offset < at)).last();
            let Some(applied) = applied else { return Ok(stuck.map(|parking| parking.reason)) };
            // P1 for the queue: an event leaves it only once it is applied.
            if self.retrying(|| checkpoints.unpark(build, epoch, partition, lane, applied)).await? {
                tracing::info!(projection = build.projection, ?partition, %lane, "parked lane drained");
                self.place.show(|shown| shown.parked.remove(lane));
                return Ok(None);
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
}
