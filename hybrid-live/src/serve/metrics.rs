//! Metrics: the recorder, and what each of them means.

use std::collections::BTreeSet;
use std::time::Duration;

use adapters::checkpoints::{Build, Checkpoints, Partition};
use adapters::content::Content;
use domain::Timestamp;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use projectors::{PartitionStatus, State};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Upper ends of the buckets of request times, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// How often histograms are folded up, so that they do not grow where nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// Waiting streams that are counted, at most.
const OUTBOXES: usize = 1000;

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
    Collector::default().describe();
    Ok(handle)
}

fn describe() {
    describe_gauge!("hybrid_live_build_info", "Which version runs; always 1");
    describe_counter!("hybrid_live_http_requests_total", Unit::Count, "Requests answered");
    describe_histogram!("hybrid_live_http_request_duration_seconds", Unit::Seconds, "Time until an answer began");
    describe_counter!(
        "hybrid_live_write_path_conflicts_total",
        Unit::Count,
        "Commands decided again because another one was faster"
    );
    describe_counter!("hybrid_live_relay_published_streams_total", Unit::Count, "Streams published by the relay");
    describe_gauge!(
        "hybrid_live_outbox_waiting_streams",
        Unit::Count,
        "Streams whose newest events the log has not acknowledged; at most a thousand are counted"
    );
    describe_counter!("hybrid_live_cache_lookups_total", Unit::Count, "Keys looked for in the cache");
    describe_counter!("hybrid_live_cache_fills_total", Unit::Count, "Fills of the cache, those that came too late too");
    describe_counter!("hybrid_live_cache_loaded_total", Unit::Count, "Keys loaded from where they come from");
    describe_gauge!("hybrid_live_log_head", Unit::Count, "Offset of the newest event of a partition of the log");
    describe_gauge!("hybrid_live_streams_open", Unit::Count, "Event streams open at present");
    describe_counter!(
        "hybrid_live_live_lost_batches_total",
        Unit::Count,
        "Batches of events of which streams could not be told at once"
    );
    describe_counter!("hybrid_live_stream_resets_total", Unit::Count, "Streams whose client was told to load afresh");
    describe_counter!("hybrid_live_projection_events_total", Unit::Count, "Events applied");
    describe_counter!(
        "hybrid_live_projection_parked_events_total",
        Unit::Count,
        "Events put into the queues of parked lanes"
    );
    describe_counter!("hybrid_live_projection_stalls_total", Unit::Count, "Pauses because a store failed");
    describe_gauge!("hybrid_live_projection_position", Unit::Count, "Offset up to which events are applied");
    describe_gauge!("hybrid_live_projection_lag_events", Unit::Count, "Events of the log not applied yet");
    describe_gauge!("hybrid_live_projection_lag_seconds", Unit::Seconds, "Age of the oldest event not applied yet");
    describe_gauge!(
        "hybrid_live_projection_parked_lanes",
        Unit::Count,
        "Lanes that wait behind an event that cannot be applied"
    );
    describe_gauge!("hybrid_live_projection_parked_events", Unit::Count, "Events that wait in parked lanes");
    describe_gauge!("hybrid_live_projection_paused", Unit::Count, "1 while an operator has paused the projection");
    describe_gauge!("hybrid_live_projection_faulted", Unit::Count, "1 where the worker has stopped for an operator");
}

/// Records how the projections are, and how long the log is.
pub(super) fn record(statuses: &[PartitionStatus]) {
    metrics::gauge!("hybrid_live_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for status in statuses {
        let Partition { topic, number } = status.partition;
        let log = [("topic", topic.name().to_owned()), ("partition", number.to_string())];
        metrics::gauge!("hybrid_live_log_head", &log).set(status.head as f64);
        let [topic, partition] = log;
        let labels = [("projection", status.projection.to_owned()), topic, partition];
        let truth = |value: bool| f64::from(u8::from(value));
        metrics::gauge!("hybrid_live_projection_position", &labels).set(status.position as f64);
        metrics::gauge!("hybrid_live_projection_lag_events", &labels).set(status.lag_events() as f64);
        metrics::gauge!("hybrid_live_projection_lag_seconds", &labels).set(status.lag_millis as f64 / 1000.0);
        metrics::gauge!("hybrid_live_projection_parked_lanes", &labels).set(status.parked.len() as f64);
        metrics::gauge!("hybrid_live_projection_paused", &labels).set(truth(status.state == State::Paused));
        let is_faulted = matches!(status.state, State::Faulted(_));
        metrics::gauge!("hybrid_live_projection_faulted", &labels).set(truth(is_faulted));
    }
}

/// Records what waits in the queues of each projection's parked lanes. What does not answer keeps its old figure;
/// `/health/ready` names it.
pub(super) async fn record_parked(checkpoints: &dyn Checkpoints, statuses: &[PartitionStatus]) {
    let names: BTreeSet<&'static str> = statuses.iter().map(|status| status.projection).collect();
    for projection in names {
        let Ok(generation) = checkpoints.serving(projection).await else { continue };
        let Ok(parked) = checkpoints.parked(Build { projection, generation }).await else { continue };
        let waiting: u64 = parked.iter().map(|(_, lane)| lane.waiting).sum();
        metrics::gauge!("hybrid_live_projection_parked_events", "projection" => projection).set(waiting as f64);
    }
}

/// Records what waits for the log, as [`record_parked`] does.
pub(super) async fn record_outboxes(content: &dyn Content, log_shares_transactions: bool) {
    // Where the log is in the truth's own transactions, nothing ever waits for it.
    let waiting =
        if log_shares_transactions { Ok(Vec::new()) } else { content.pending_outboxes(Timestamp::MAX, OUTBOXES).await };
    if let Ok(waiting) = waiting {
        metrics::gauge!("hybrid_live_outbox_waiting_streams").set(waiting.len() as f64);
    }
}

/// The metrics in Prometheus' text format, those of the process as they are now.
pub(super) fn render(handle: &PrometheusHandle) -> String {
    Collector::default().collect();
    handle.render()
}

/// Keeps the recorder small.
pub(super) async fn keep_up(handle: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        handle.run_upkeep();
    }
}
