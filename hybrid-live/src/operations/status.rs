//! How projections are: from what is stored, so that it can be asked in any process.

use std::collections::HashMap;
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{Activity, Partition, WorkerState};
use adapters::http::clock;
use domain::stream::BEFORE_FIRST;

use super::answers::{ErrorReport, PartitionReport, ProjectionReport};
use super::{Known, List, Operations, PROJECTIONS, Refusal};

/// Between the two looks that tell the pace of a projection that is behind.
const PACE: Duration = Duration::from_millis(500);
/// States from the worst on.
const WORST_FIRST: [Activity; 5] =
    [Activity::Faulted, Activity::Stalled, Activity::Paused, Activity::Stopped, Activity::Running];

impl Operations {
    /// How every projection is. `is_served`: whether a server runs them.
    pub(crate) async fn projections(&self, is_served: bool) -> Result<List<ProjectionReport>, Refusal> {
        Ok(List::whole(self.reports(&PROJECTIONS, is_served).await?))
    }

    /// How one projection is.
    pub(crate) async fn projection(&self, name: &str, is_served: bool) -> Result<ProjectionReport, Refusal> {
        let projection = Self::known(name)?;
        let mut reports = self.reports(&[projection], is_served).await?;
        reports.pop().ok_or_else(|| Refusal::NoProjection(name.to_owned()))
    }

    async fn reports(&self, projections: &[Known], is_served: bool) -> Result<Vec<ProjectionReport>, StoreError> {
        let mut reports = Vec::with_capacity(projections.len());
        for projection in projections {
            reports.push(self.report(*projection, is_served).await?);
        }
        // What is up to date needs no pace, and no waiting.
        if is_served && reports.iter().any(|report| report.lag_events > 0) {
            tokio::time::sleep(PACE).await;
            for (projection, report) in projections.iter().zip(&mut reports) {
                if report.lag_events > 0 {
                    let later = self.report(*projection, is_served).await?;
                    *report = ProjectionReport { catches_up_in_seconds: time_to_catch_up(report, &later), ..later };
                }
            }
        }
        Ok(reports)
    }

    async fn report(&self, projection: Known, is_served: bool) -> Result<ProjectionReport, StoreError> {
        let build = self.build(projection).await?;
        let checkpoints = &self.checkpoints;
        let paused_since = checkpoints.orders().borrow().paused.get(projection.name).copied();
        let positions: HashMap<Partition, i64> = checkpoints
            .positions(build)
            .await?
            .into_iter()
            .map(|position| (Partition { topic: position.topic, number: position.partition }, position.offset))
            .collect();
        let mut states: HashMap<Partition, WorkerState> = checkpoints.states(build).await?.into_iter().collect();
        let parked = checkpoints.parked(build).await?;
        let mut partitions = Vec::new();
        for &topic in projection.topics {
            for number in 0..self.event_log.partitions() {
                let partition = Partition { topic, number };
                let position = positions.get(&partition).copied().unwrap_or(BEFORE_FIRST);
                let head = self.event_log.head(topic, number).await?;
                let lag_events = u64::try_from(head - position).unwrap_or(0);
                let state = states.remove(&partition);
                partitions.push(PartitionReport {
                    topic: topic.name(),
                    partition: number,
                    state: shown(state.as_ref(), paused_since.is_some(), is_served),
                    since: state.as_ref().map(|state| state.since),
                    position: self.position(partition, position),
                    head: self.position(partition, head),
                    lag_events,
                    lag_seconds: if lag_events > 0 { self.lag_seconds(partition, position).await? } else { 0.0 },
                    parked_lanes: parked.iter().filter(|(place, _)| *place == partition).count() as u64,
                    last_error: state.and_then(|state| state.error).map(|error| ErrorReport {
                        reason: error.reason,
                        event: error.offset.map(|offset| self.position(partition, offset)),
                        at: error.at,
                    }),
                });
            }
        }
        let worst =
            WORST_FIRST.map(Activity::name).into_iter().find(|state| partitions.iter().any(|one| one.state == *state));
        Ok(ProjectionReport {
            name: projection.name,
            state: worst.unwrap_or(Activity::Stopped.name()),
            generation: build.generation,
            paused_since,
            lag_events: partitions.iter().map(|one| one.lag_events).sum(),
            lag_seconds: partitions.iter().map(|one| one.lag_seconds).fold(0.0, f64::max),
            catches_up_in_seconds: None,
            parked_lanes: parked.len() as u64,
            parked_events: parked.iter().map(|(_, lane)| lane.waiting).sum(),
            dropped_events: self.dropped(build).await?.len() as u64,
            partitions,
        })
    }

    async fn lag_seconds(&self, Partition { topic, number }: Partition, position: i64) -> Result<f64, StoreError> {
        let next = self.event_log.read(topic, number, position, 1, Duration::ZERO).await?;
        let recorded = next.first().and_then(|logged| logged.record.as_ref().ok()).map(|record| record.attributes.time);
        let millis = recorded.map_or(0, |time| (clock::now().as_millis() - time.as_millis()).max(0));
        Ok(millis as f64 / 1000.0)
    }
}

/// What is shown of what a worker last said: a process that has ended says nothing any more.
fn shown(state: Option<&WorkerState>, is_paused: bool, is_served: bool) -> &'static str {
    match state.map(|state| state.activity) {
        Some(Activity::Faulted) => Activity::Faulted.name(),
        _ if is_paused => Activity::Paused.name(),
        _ if !is_served => Activity::Stopped.name(),
        Some(activity) => activity.name(),
        // It is about to begin.
        None => Activity::Running.name(),
    }
}

/// At the pace between two looks; `None` where the lag does not shrink.
fn time_to_catch_up(before: &ProjectionReport, after: &ProjectionReport) -> Option<f64> {
    let gained = before.lag_events.checked_sub(after.lag_events).filter(|gained| *gained > 0)?;
    Some(after.lag_events as f64 * PACE.as_secs_f64() / gained as f64)
}

#[cfg(test)]
mod tests {
    use adapters::checkpoints::Generation;
    use domain::Timestamp;

    use super::*;

    fn report(lag_events: u64) -> ProjectionReport {
        ProjectionReport {
            name: "timelines",
            state: "running",
            generation: Generation::FIRST,
            paused_since: None,
            lag_events,
            lag_seconds: 0.0,
            catches_up_in_seconds: None,
            parked_lanes: 0,
            parked_events: 0,
            dropped_events: 0,
            partitions: Vec::new(),
        }
    }

    #[test]
    fn the_time_to_catch_up_is_told_only_where_the_lag_shrinks() {
        // A hundred in half a second, and three hundred to go.
        assert_eq!(time_to_catch_up(&report(400), &report(300)), Some(1.5));
        assert_eq!(time_to_catch_up(&report(400), &report(0)), Some(0.0));
        assert_eq!(time_to_catch_up(&report(400), &report(400)), None);
        assert_eq!(time_to_catch_up(&report(400), &report(500)), None);
    }

    #[test]
    fn what_a_worker_said_counts_only_while_its_process_runs() {
        let said = |activity| WorkerState { activity, since: Timestamp::from_millis(0), error: None };
        for (activity, paused, served, expected) in [
            (Activity::Running, false, true, "running"),
            (Activity::Running, false, false, "stopped"),
            (Activity::Running, true, true, "paused"),
            (Activity::Paused, true, false, "paused"),
            (Activity::Stalled, false, true, "stalled"),
            (Activity::Stalled, false, false, "stopped"),
            (Activity::Faulted, true, true, "faulted"),
            (Activity::Stopped, false, true, "stopped"),
        ] {
            assert_eq!(shown(Some(&said(activity)), paused, served), expected);
        }
        assert_eq!(shown(None, false, true), "running");
        assert_eq!(shown(None, false, false), "stopped");
    }
}
