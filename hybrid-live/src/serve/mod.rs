//! `serve`: every role in one process, from the lock on the data directory to the last stopped task.

use std::sync::Arc;
use std::time::Duration;

use adapters::http::auth::AccessTokens;
use adapters::http::cursor::Cursors;
use adapters::http::rate_limits::{self, RateLimits};
use axum::Router;
use axum::middleware::from_fn;
use command_api::CommandState;
use command_api::auth::passwords::Passwords;
use command_api::auth::roles::Roles;
use command_api::relay::{self, Relay};
use metrics_exporter_prometheus::PrometheusHandle;
use query_api::health::ProjectionState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::failure::Failure;
use crate::terminal;
use crate::wiring::{self, Opened};

mod admin;
mod cors;
mod health;
mod housekeeping;
mod http;
mod lock;
mod metrics;
mod reference;
mod signals;
mod watch_projections;

pub(crate) use admin::document as admin_document;
pub(crate) use lock::{Attempt, Lock};
pub(crate) use reference::document as reference_document;

/// Serves until a signal asks to stop.
///
/// # Errors
/// Why it could not begin.
pub(crate) async fn run(config: Config) -> Result<(), Failure> {
    // Caught before anything is begun that a signal would leave half done.
    let signals = signals::Signals::catch()?;
    wiring::make_data_dir(&config)?;
    let lock = Lock::take(config.data_dir())?;
    let listener = http::bind(config.listen).await?;
    let address = listener.local_addr().map_err(|error| Failure::failed(format!("no address: {error}")))?;
    let metrics = metrics::start()?;
    let opened = wiring::open(&config).await?;
    let runtime = Arc::new(wiring::start_projections(&config, &opened).await?);

    // Two steps: what is served stops first, what it rests on afterwards.
    let stop_serving = CancellationToken::new();
    let stop_working = CancellationToken::new();
    let workers = TaskTracker::new();
    let (seen, projections) = watch::channel(Vec::new());
    workers.spawn(watch_projections::until(Arc::clone(&runtime), opened.stores.clone(), seen, stop_working.clone()));
    workers.spawn(metrics::keep_up(metrics.clone(), stop_working.clone()));
    workers.spawn(housekeeping::forget_commands(Arc::clone(&opened.stores.content), stop_working.clone()));
    if !opened.stores.log_shares_transactions {
        let relay = Relay::new(&opened.write_path, relay::Settings::default());
        workers.spawn(relay.run(stop_working.clone()));
    }
    workers.close();

    let router = http::guarded(router(&config, &opened, projections, metrics, stop_serving.clone())?, &config);
    let connections = http::Connections {
        most: config.limits.connections,
        head: Duration::from_secs(config.limits.header_seconds),
        shutdown: config.shutdown_time(),
    };
    tokio::spawn(signals.stop(stop_serving.clone()));
    terminal::say(&format!("Hybrid Live is ready at http://{address}"));
    tracing::info!(%address, data_dir = %config.data_dir().display(), "serving");

    http::serve(listener, router, connections, stop_serving).await;

    stop_working.cancel();
    workers.wait().await;
    // Its watcher has ended, so nobody else has it.
    if let Ok(runtime) = Arc::try_unwrap(runtime) {
        runtime.stop().await;
    }
    // The stores before the lock: the next server finds them closed.
    drop(opened);
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

/// Everything that is served.
fn router(
    config: &Config,
    opened: &Opened,
    projections: watch::Receiver<Vec<ProjectionState>>,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> Result<Router, Failure> {
    let stores = &opened.stores;
    let tokens = AccessTokens::new(opened.secrets.signing_keys().clone())
        .with_public_origins(config.public_origins.iter().cloned());
    let tokens = Arc::new(tokens);
    let ports = query_api::Ports {
        content: Arc::clone(&stores.content),
        event_log: Arc::clone(&stores.event_log),
        views: Arc::clone(&stores.views),
        timelines: Arc::clone(&stores.timelines),
        checkpoints: Arc::clone(&stores.checkpoints),
        live: Arc::clone(&stores.live),
    };
    let settings = query_api::Settings {
        tokens: Arc::clone(&tokens),
        cursors: Cursors::new(&opened.secrets),
        streams: config.limits.streams,
        shutdown: stop,
    };
    let passwords = Passwords::new(config.password_settings());
    let passwords = passwords.map_err(|error| Failure::cannot_run(format!("the settings in [argon2]: {error}")))?;
    let roles = Roles::new(opened.write_path.clone());
    let admins = admin::Admins::new(wiring::operations(config, opened), roles, Arc::clone(&tokens));
    let limits = Arc::new(RateLimits::new(config.per_minute(), config.trusted_proxies));
    let commands = CommandState::new(opened.write_path.clone(), Arc::clone(&tokens), opened.secrets.clone(), passwords)
        .with_rate_limits(Arc::clone(&limits));
    let health = query_api::health::router(health::probes(stores, projections, metrics));
    let counted = move |request, next| rate_limits::layer(Arc::clone(&limits), Arc::clone(&tokens), request, next);
    let api = command_api::router(commands).merge(query_api::router(ports, settings)).merge(admin::router(admins));
    let api = http::at_most(config.limits.requests, api.route_layer(from_fn(counted)));
    Ok(api.merge(health).merge(reference::router()))
}
