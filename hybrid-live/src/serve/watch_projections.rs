//! Watches the projections: for `/health/ready` and for the metrics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters::checkpoints::{Checkpoints, Partition};
use projectors::{Overview, PartitionStatus, State};
use query_api::health::ProjectionState;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metrics;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// A projection is ill when it has stood still for so long while the log went on.
const STANDSTILL: Duration = Duration::from_secs(30);
/// Parked lanes that are named, at most; `hybrid-live verify` names all.
const NAMED: usize = 20;

/// Looks again and again until `stop`. `answers`: whether this process answers from what the projections make.
pub(super) async fn until(
    overview: Overview,
    checkpoints: Arc<dyn Checkpoints>,
    answers: bool,
    seen: watch::Sender<Vec<ProjectionState>>,
    stop: CancellationToken,
) {
    let mut movements = Movements::default();
    loop {
        match overview.status().await {
            Ok(statuses) => {
                metrics::record(&statuses);
                metrics::record_parked(checkpoints.as_ref(), &statuses).await;
                seen.send_replace(movements.judge(&statuses, answers, Instant::now()));
            }
            // The log's own check in `/health/ready` says so.
            Err(error) => tracing::warn!(%error, "the state of the projections is unknown"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// When each position last moved, or had nowhere to move to.
#[derive(Default)]
struct Movements(HashMap<(&'static str, Partition), (i64, Instant)>);

impl Movements {
    /// A process answers for its own workers. A partition elsewhere that has stopped for an operator makes those ill who
    /// answer from it; one that merely lags is its own process's affair.
    fn judge(&mut self, statuses: &[PartitionStatus], answers: bool, now: Instant) -> Vec<ProjectionState> {
        let mut states: Vec<ProjectionState> = Vec::new();
        for status in statuses {
            let fresh = (status.position, now);
            let moved = self.0.entry((status.projection, status.partition)).or_insert(fresh);
            // Who pauses a projection knows that it stands still.
            if moved.0 != status.position || status.lag_events() == 0 || status.state == State::Paused {
                *moved = fresh;
            }
            let stands_still = now.duration_since(moved.1) >= STANDSTILL;
            let has_stopped = matches!(status.state, State::Faulted(_));
            let healthy = if status.is_here { !stands_still && !has_stopped } else { !answers || !has_stopped };
            let detail = detail(status, stands_still);
            match states.iter_mut().find(|state| state.name == status.projection) {
                Some(state) => {
                    state.healthy &= healthy;
                    if let Value::Array(partitions) = &mut state.detail {
                        partitions.push(detail);
                    }
                }
                None => {
                    let name = status.projection.to_owned();
                    states.push(ProjectionState { name, healthy, detail: Value::Array(vec![detail]) });
                }
            }
        }
        states
    }
}

fn detail(status: &PartitionStatus, stands_still: bool) -> Value {
    let (state, reason) = match &status.state {
        State::Running if stands_still => ("standing_still", None),
        State::Running => ("running", None),
        State::Stalled(reason) => ("stalled", Some(reason)),
        State::Faulted(reason) => ("faulted", Some(reason)),
        State::Paused => ("paused", None),
    };
    json!({
        "topic": status.partition.topic.name(),
        "partition": status.partition.number,
        "here": status.is_here,
        "state": state,
        "reason": reason,
        "position": status.position,
        "head": status.head,
        "lag_events": status.lag_events(),
        "lag_seconds": status.lag_millis as f64 / 1000.0,
        "parked_lanes": status.parked.len(),
        "parked": status.parked.iter().take(NAMED).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use domain::Topic;

    use super::*;

    fn status(number: u16, position: i64, head: i64) -> PartitionStatus {
        PartitionStatus {
            projection: "timelines",
            partition: Partition { topic: Topic::Posts, number },
            is_here: true,
            state: State::Running,
            position,
            head,
            lag_millis: 0,
            parked: Vec::new(),
        }
    }

    fn is_healthy(movements: &mut Movements, statuses: &[PartitionStatus], now: Instant) -> bool {
        let states = movements.judge(statuses, true, now);
        assert_eq!(states.len(), 1, "one projection, however many partitions");
        states[0].healthy
    }

    #[test]
    fn standing_still_is_ill_only_while_the_log_goes_on() {
        let (start, mut movements) = (Instant::now(), Movements::default());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(is_healthy(&mut movements, &[status(0, 5, 5)], start));
        assert!(is_healthy(&mut movements, &[status(0, 5, 5)], later(100)), "nothing to do");
        assert!(is_healthy(&mut movements, &[status(0, 5, 9)], later(129)), "not for long yet");
        assert!(!is_healthy(&mut movements, &[status(0, 5, 9)], later(131)));
        assert!(is_healthy(&mut movements, &[status(0, 6, 9)], later(132)), "it moves again");
    }

    #[test]
    fn a_paused_projection_is_shown_and_not_ill() {
        let (start, mut movements) = (Instant::now(), Movements::default());
        let paused = PartitionStatus { state: State::Paused, ..status(0, 5, 9) };
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(is_healthy(&mut movements, std::slice::from_ref(&paused), start));
        assert!(is_healthy(&mut movements, std::slice::from_ref(&paused), later(1000)));
        assert_eq!(movements.judge(std::slice::from_ref(&paused), true, later(1001))[0].detail[0]["state"], "paused");
        assert!(is_healthy(&mut movements, &[status(0, 5, 9)], later(1002)), "resumed, and with time to catch up");
        assert!(!is_healthy(&mut movements, &[status(0, 5, 9)], later(1032)));
    }

    #[test]
    fn one_ill_partition_makes_the_projection_ill() {
        let mut faulted = status(0, 5, 5);
        faulted.state = State::Faulted("rebuild it".to_owned());
        let states = Movements::default().judge(&[faulted.clone(), status(1, 5, 5)], false, Instant::now());
        assert!(!states[0].healthy);
        assert_eq!(states[0].detail[0]["reason"], "rebuild it");
        assert_eq!(states[0].detail[1]["state"], "running");

        faulted.is_here = false;
        let is_ready = |answers| Movements::default().judge(&[faulted.clone()], answers, Instant::now())[0].healthy;
        assert!(!is_ready(true), "who answers from it is ill with it");
        assert!(is_ready(false), "whose workers are well is well");
    }
}
