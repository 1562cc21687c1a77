//! What a process serves over HTTP: what its roles answer, and for everybody its health and metrics.

use std::sync::Arc;

use adapters::http::auth::AccessTokens;
use adapters::http::cursor::Cursors;
use adapters::http::rate_limits::{self, RateLimits};
use axum::Router;
use axum::middleware::from_fn;
use command_api::CommandState;
use command_api::auth::passwords::Passwords;
use command_api::auth::roles::Roles;
use metrics_exporter_prometheus::PrometheusHandle;
use query_api::Part;
use query_api::health::ProjectionState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{admin, health, http, reference};
use crate::config::{Config, ServerRole};
use crate::failure::Failure;
use crate::wiring::{self, Opened};

/// Everything that this process serves.
pub(super) fn router(
    config: &Config,
    opened: &Opened,
    projections: watch::Receiver<Vec<ProjectionState>>,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> Result<Router, Failure> {
    let roles = config.roles();
    let tokens = AccessTokens::new(opened.secrets.signing_keys().clone())
        .with_public_origins(config.public_origins.iter().cloned());
    let tokens = Arc::new(tokens);
    let limits = Arc::new(RateLimits::new(config.per_minute(), config.trusted_proxies));
    let mut api = Router::new();
    if roles.has(ServerRole::CommandApi) {
        api = api.merge(commands(config, opened, &tokens, &limits)?);
    }
    let part = match (roles.has(ServerRole::QueryApi), roles.has(ServerRole::Streamer)) {
        (true, true) => Some(Part::Everything),
        (true, false) => Some(Part::Queries),
        (false, true) => Some(Part::Streams),
        (false, false) => None,
    };
    if let Some(part) = part {
        api = api.merge(queries(part, config, opened, &tokens, stop));
    }
    let is_api = part.is_some() || roles.has(ServerRole::CommandApi);
    let counted = move |request, next| rate_limits::layer(Arc::clone(&limits), Arc::clone(&tokens), request, next);
    let health = query_api::health::router(health::probes(&roles, &opened.stores, projections, metrics));
    // The layer goes around routes, of which there must be one.
    let router = if is_api {
        http::at_most(config.limits.requests, api.route_layer(from_fn(counted))).merge(reference::router())
    } else {
        api
    };
    Ok(router.merge(health))
}

/// Commands, and what admins do.
fn commands(
    config: &Config,
    opened: &Opened,
    tokens: &Arc<AccessTokens>,
    limits: &Arc<RateLimits>,
) -> Result<Router, Failure> {
    let passwords = Passwords::new(config.password_settings());
    let passwords = passwords.map_err(|error| Failure::cannot_run(format!("the settings in [argon2]: {error}")))?;
    let roles = Roles::new(opened.write_path.clone());
    let admins = admin::Admins::new(wiring::operations(config, opened), roles, Arc::clone(tokens));
    let commands = CommandState::new(opened.write_path.clone(), Arc::clone(tokens), opened.secrets.clone(), passwords)
        .with_rate_limits(Arc::clone(limits));
    Ok(command_api::router(commands).merge(admin::router(admins)))
}

fn queries(
    part: Part,
    config: &Config,
    opened: &Opened,
    tokens: &Arc<AccessTokens>,
    stop: CancellationToken,
) -> Router {
    let stores = &opened.stores;
    let ports = query_api::Ports {
        content: Arc::clone(&stores.content),
        event_log: Arc::clone(&stores.event_log),
        views: Arc::clone(&stores.views),
        timelines: Arc::clone(&stores.timelines),
        checkpoints: Arc::clone(&stores.checkpoints),
        cache: Arc::clone(&stores.cache),
        live: Arc::clone(&stores.live),
    };
    let settings = query_api::Settings {
        tokens: Arc::clone(tokens),
        cursors: Cursors::new(&opened.secrets),
        streams: config.limits.streams,
        shutdown: stop,
    };
    query_api::part(part, ports, settings)
}
