//! Metrics: the recorder, and what each of them means.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use projectors::PartitionStatus;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Upper ends of the buckets of request times, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// How often histograms are folded up, so that they do not grow where nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts recording for the whole process.
///
/// # Errors
/// Something records already.
pub(super) fn start() -> Result<PrometheusHandle, Failure> {
    let failed = |error: metrics_exporter_prometheus::BuildError| Failure::failed(format!("no metrics: {error}"));
    let buckets = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &SECONDS).map_err(failed)?;
    let handle = builder.install_recorder().map_err(failed)?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!("http_requests_total", Unit::Count, "Requests answered");
    describe_histogram!("http_request_duration_seconds", Unit::Seconds, "Time until an answer began");
    describe_counter!("projection_events_total", Unit::Count, "Events applied");
    describe_counter!("projection_parked_events_total", Unit::Count, "Events put into the queues of parked lanes");
    describe_counter!("projection_stalls_total", Unit::Count, "Pauses because a store failed");
    describe_gauge!("projection_lag_events", Unit::Count, "Events of the log not applied yet");
    describe_gauge!("projection_lag_seconds", Unit::Seconds, "Age of the oldest event not applied yet");
    describe_gauge!("projection_parked_lanes", Unit::Count, "Lanes that wait behind an event that cannot be applied");
}

/// Records how the projections are.
pub(super) fn record(statuses: &[PartitionStatus]) {
    for status in statuses {
        let labels = [
            ("projection", status.projection.to_owned()),
            ("topic", status.partition.topic.name().to_owned()),
            ("partition", status.partition.number.to_string()),
        ];
        metrics::gauge!("projection_lag_events", &labels).set(status.lag_events() as f64);
        metrics::gauge!("projection_lag_seconds", &labels).set(status.lag_millis as f64 / 1000.0);
        metrics::gauge!("projection_parked_lanes", &labels).set(status.parked.len() as f64);
    }
}

/// Keeps the recorder small.
pub(super) async fn keep_up(handle: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        handle.run_upkeep();
    }
}
