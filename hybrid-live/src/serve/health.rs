//! What `/health/ready` asks: each store, with the cheapest question that it must answer, and whether streams hear
//! anything.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::live::Channel;
use adapters::stores::{OpenStoresError, Opener, Port};
use adapters::timelines::{Order, Span};
use domain::{PostId, StreamId, Topic, UserId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use projectors::Timelines;
use query_api::canary::Canary;
use query_api::health::{Dependency, Probes, ProjectionState};
use tokio::sync::watch;

use super::opening::{Opening, needed};
use crate::config::{Roles, ServerRole};

/// What each role cannot do without, once it has begun.
const NEEDED: [(ServerRole, &[Port]); 5] = [
    (ServerRole::CommandApi, &[Port::Content]),
    (ServerRole::QueryApi, &[Port::Content, Port::Views, Port::Timelines, Port::Checkpoints]),
    (ServerRole::Streamer, &[Port::Live, Port::Views]),
    (ServerRole::Relay, &[Port::Content, Port::EventLog]),
    (ServerRole::Projectors, &[Port::EventLog]),
];

/// The probes of a process with these roles: what it cannot do its work without. Commands are accepted for as long as
/// the truth is there.
pub(super) async fn probes(
    roles: &Roles,
    opener: &Opener,
    seen: watch::Receiver<Vec<ProjectionState>>,
    metrics: PrometheusHandle,
) -> Result<Probes, OpenStoresError> {
    let needs = |port: Port| NEEDED.iter().any(|(role, ports)| roles.has(*role) && ports.contains(&port));
    let mut dependencies = Vec::new();
    for port in Port::ALL.into_iter().filter(|port| needs(*port)) {
        dependencies.push(match port {
            Port::Content => {
                let content = opener.content().await?;
                asked(port, move || {
                    let content = Arc::clone(&content);
                    async move { content.published(StreamId::User(UserId::MIN)).await.map(drop) }.boxed()
                })
            }
            Port::EventLog => {
                let event_log = opener.event_log().await?;
                asked(port, move || {
                    let event_log = Arc::clone(&event_log);
                    async move { event_log.head(Topic::Users, 0).await.map(drop) }.boxed()
                })
            }
            Port::Checkpoints => {
                let checkpoints = opener.checkpoints().await?;
                asked(port, move || {
                    let checkpoints = Arc::clone(&checkpoints);
                    async move { checkpoints.serving(Timelines::NAME).await.map(drop) }.boxed()
                })
            }
            Port::Views => {
                let views = opener.views().await?;
                asked(port, move || {
                    let views = Arc::clone(&views);
                    async move { views.post_row(Generation::FIRST, PostId::MIN).await.map(drop) }.boxed()
                })
            }
            Port::Timelines => {
                let timelines = opener.timelines().await?;
                asked(port, move || {
                    let timelines = Arc::clone(&timelines);
                    let all = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };
                    async move { timelines.home(Generation::FIRST, UserId::MIN, all, 1).await.map(drop) }.boxed()
                })
            }
            // Whatever is cached is somewhere else, too.
            Port::Cache => continue,
            Port::Live => {
                let live = opener.live().await?;
                asked(port, move || {
                    let live = Arc::clone(&live);
                    async move { live.subscribe(Channel::Post(PostId::MIN)).await.map(drop) }.boxed()
                })
            }
        });
    }
    if roles.has(ServerRole::Streamer) {
        let canary = Arc::new(Canary::new(opener.event_log().await?, opener.live().await?));
        let check = move || {
            let canary = Arc::clone(&canary);
            async move { canary.check().await }.boxed()
        };
        dependencies.push(Dependency { name: "canary", check: Box::new(check) });
    }
    let projections = Box::new(move || seen.borrow().clone());
    Ok(Probes { dependencies, projections, metrics: Box::new(move || super::metrics::render(&metrics)) })
}

/// The same while the process is starting: which stores it still waits for.
pub(super) fn starting(roles: &Roles, opening: &Opening, metrics: PrometheusHandle) -> Probes {
    let dependencies = needed(roles).into_iter().map(|port| {
        let (opener, awaited) = (Arc::clone(&opening.opener), opening.awaited());
        let check = move || {
            let is_there = opener.is_open(port) && *awaited.borrow() != Some(port);
            let answer =
                if is_there { Ok(()) } else { Err("it has not answered since the process started".to_owned()) };
            async move { answer }.boxed()
        };
        Dependency { name: port.name(), check: Box::new(check) }
    });
    Probes {
        dependencies: dependencies.collect(),
        projections: Box::new(Vec::new),
        metrics: Box::new(move || super::metrics::render(&metrics)),
    }
}

fn asked(
    port: Port,
    ask: impl Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync + 'static,
) -> Dependency {
    let check = move || {
        ask()
            .map(move |answer| {
                answer.map_err(|error| {
                    // Whoever may ask whether we are ready need not know paths.
                    tracing::warn!(%error, store = port.name(), "a store is not ready");
                    "the store does not answer".to_owned()
                })
            })
            .boxed()
    };
    Dependency { name: port.name(), check: Box::new(check) }
}
