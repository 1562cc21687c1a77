//! What `/health/ready` asks: each store, with the cheapest question that it must answer.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::live::Channel;
use adapters::stores::Stores;
use adapters::timelines::{Order, Span};
use domain::{PostId, StreamId, Topic, UserId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use projectors::Timelines;
use query_api::health::{Dependency, Probes, ProjectionState};
use tokio::sync::watch;

use crate::config::{Roles, ServerRole};

/// What each role cannot do without.
const NEEDED: [(ServerRole, &[&str]); 5] = [
    (ServerRole::CommandApi, &["content"]),
    (ServerRole::QueryApi, &["content", "views", "timelines", "checkpoints"]),
    (ServerRole::Streamer, &["live", "views"]),
    (ServerRole::Relay, &["content", "event_log"]),
    (ServerRole::Projectors, &["event_log"]),
];

/// The probes of a process with these roles: what it cannot do its work without. Commands are accepted for as long as
/// the truth is there.
pub(super) fn probes(
    roles: &Roles,
    stores: &Stores,
    seen: watch::Receiver<Vec<ProjectionState>>,
    metrics: PrometheusHandle,
) -> Probes {
    let Stores { content, event_log, views, timelines, checkpoints, live, .. } = stores.clone();
    let mut dependencies = vec![
        dependency("content", move || {
            let content = Arc::clone(&content);
            async move { content.published(StreamId::User(UserId::MIN)).await.map(drop) }.boxed()
        }),
        dependency("event_log", move || {
            let event_log = Arc::clone(&event_log);
            async move { event_log.head(Topic::Users, 0).await.map(drop) }.boxed()
        }),
        dependency("views", move || {
            let views = Arc::clone(&views);
            async move { views.post_row(Generation::FIRST, PostId::MIN).await.map(drop) }.boxed()
        }),
        dependency("timelines", move || {
            let timelines = Arc::clone(&timelines);
            let all = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };
            async move { timelines.home(Generation::FIRST, UserId::MIN, all, 1).await.map(drop) }.boxed()
        }),
        dependency("checkpoints", move || {
            let checkpoints = Arc::clone(&checkpoints);
            async move { checkpoints.serving(Timelines::NAME).await.map(drop) }.boxed()
        }),
        dependency("live", move || {
            let live = Arc::clone(&live);
            async move { live.subscribe(Channel::Post(PostId::MIN)).await.map(drop) }.boxed()
        }),
    ];
    dependencies
        .retain(|dependency| NEEDED.iter().any(|(role, stores)| roles.has(*role) && stores.contains(&dependency.name)));
    Probes {
        dependencies,
        projections: Box::new(move || seen.borrow().clone()),
        metrics: Box::new(move || super::metrics::render(&metrics)),
    }
}

fn dependency(
    name: &'static str,
    ask: impl Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync + 'static,
) -> Dependency {
    let check = move || {
        ask()
            .map(move |answer| {
                answer.map_err(|error| {
                    // Whoever may ask whether we are ready need not know paths.
                    tracing::warn!(%error, store = name, "a store is not ready");
                    "the store does not answer".to_owned()
                })
            })
            .boxed()
    };
    Dependency { name, check: Box::new(check) }
}
