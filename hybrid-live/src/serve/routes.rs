//! What a process serves over HTTP: what its roles answer, and for everybody its health and metrics.

use std::sync::Arc;

use adapters::http::auth::AccessTokens;
use adapters::http::cursor::Cursors;
use adapters::http::rate_limits::{self, RateLimits};
use adapters::secrets::Secrets;
use axum::Router;
use axum::middleware::from_fn;
use command_api::CommandState;
use command_api::auth::passwords::Passwords;
use command_api::auth::roles::Roles;
use command_api::write_path::WritePath;
use metrics_exporter_prometheus::PrometheusHandle;
use query_api::Part;
use query_api::health::Probes;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::http::{self, Unmatched};
use super::{admin, reference};
use crate::config::{Config, ServerRole};
use crate::failure::Failure;
use crate::operations::Operations;

/// What all routes share, and the router of the moment.
pub(super) struct Routes<'a> {
    config: &'a Config,
    secrets: &'a Secrets,
    tokens: Arc<AccessTokens>,
    limits: Arc<RateLimits>,
    /// For the requests that are under way.
    places: Arc<Semaphore>,
    metrics: PrometheusHandle,
    /// Ends the streams.
    stop: CancellationToken,
    router: watch::Sender<Router>,
}

impl<'a> Routes<'a> {
    pub(super) fn new(
        config: &'a Config,
        secrets: &'a Secrets,
        metrics: PrometheusHandle,
        stop: CancellationToken,
    ) -> Self {
        let tokens = AccessTokens::new(secrets.signing_keys().clone())
            .with_public_origins(config.public_origins.iter().cloned());
        Self {
            config,
            secrets,
            tokens: Arc::new(tokens),
            limits: Arc::new(RateLimits::new(config.per_minute(), config.trusted_proxies)),
            places: Arc::new(Semaphore::new(config.limits.requests)),
            metrics,
            stop,
            router: watch::Sender::new(Router::new()),
        }
    }

    /// What is served, kept up to date.
    pub(super) fn router(&self) -> watch::Receiver<Router> {
        self.router.subscribe()
    }

    pub(super) fn metrics(&self) -> PrometheusHandle {
        self.metrics.clone()
    }

    /// From now on serves `api`, if there is any yet, and how this process is.
    pub(super) fn serve(&self, api: Option<Router>, probes: Probes, unmatched: Unmatched) {
        let mut router = query_api::health::router(probes);
        if let Some(api) = api {
            let (limits, tokens) = (Arc::clone(&self.limits), Arc::clone(&self.tokens));
            let counted =
                move |request, next| rate_limits::layer(Arc::clone(&limits), Arc::clone(&tokens), request, next);
            // The layer goes around routes, of which there must be one.
            router = router.merge(http::at_most(Arc::clone(&self.places), api.route_layer(from_fn(counted))));
        }
        if self.has_api() {
            router = router.merge(reference::router());
        }
        let _ = self.router.send_replace(http::guarded(router, unmatched, self.config));
    }

    /// Whether this process answers clients.
    pub(super) fn has_api(&self) -> bool {
        let roles = self.config.roles();
        [ServerRole::CommandApi, ServerRole::QueryApi, ServerRole::Streamer].into_iter().any(|role| roles.has(role))
    }

    pub(super) fn commands(&self, write_path: &WritePath) -> Result<Router, Failure> {
        let passwords = Passwords::new(self.config.password_settings());
        let passwords = passwords.map_err(|error| Failure::cannot_run(format!("the settings in [argon2]: {error}")))?;
        let state = CommandState::new(write_path.clone(), Arc::clone(&self.tokens), self.secrets.clone(), passwords);
        Ok(command_api::router(state.with_rate_limits(Arc::clone(&self.limits))))
    }

    /// What admins do.
    pub(super) fn administration(&self, operations: Operations, write_path: &WritePath) -> Router {
        let roles = Roles::new(write_path.clone());
        admin::router(admin::Admins::new(operations, roles, Arc::clone(&self.tokens)))
    }

    pub(super) fn queries(&self, part: Part, ports: query_api::Ports) -> Router {
        let settings = query_api::Settings {
            tokens: Arc::clone(&self.tokens),
            cursors: Cursors::new(self.secrets),
            streams: self.config.limits.streams,
            shutdown: self.stop.clone(),
        };
        query_api::part(part, ports, settings)
    }
}
