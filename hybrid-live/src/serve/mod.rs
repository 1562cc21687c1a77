//! `serve`: the roles of this process, all of them by default, from the lock on the data directory to the last stopped
//! task.

use std::sync::Arc;
use std::time::Duration;

use adapters::sqlite::Sharing;
use command_api::relay::{self, Relay};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ServerRole};
use crate::failure::Failure;
use crate::terminal;
use crate::wiring;

mod admin;
mod cors;
mod health;
mod housekeeping;
mod http;
mod lock;
mod metrics;
mod reference;
mod routes;
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
    let roles = config.roles();
    let lock = occupy(&config)?;
    let listener = http::bind(config.listen).await?;
    let address = listener.local_addr().map_err(|error| Failure::failed(format!("no address: {error}")))?;
    let metrics = metrics::start()?;
    let sharing = if roles.are_all() { Sharing::Alone } else { Sharing::Shared };
    let opened = wiring::open_as(&config, sharing).await?;
    wiring::expect_fitting(&config, &opened.codec).await?;

    // Two steps: what is served stops first, what it rests on afterwards.
    let stop_serving = CancellationToken::new();
    let stop_working = CancellationToken::new();
    let workers = TaskTracker::new();
    let (seen, projections) = watch::channel(Vec::new());
    let answers = roles.has(ServerRole::QueryApi) || roles.has(ServerRole::Streamer);
    let mut overview = wiring::overview(&config, &opened, |projection| answers || roles.run(projection));
    let mut runtime = None;
    if roles.has(ServerRole::Projectors) {
        let started = wiring::start_projections(&config, &opened).await?;
        overview = overview.with_workers_of(&started);
        runtime = Some(started);
    }
    if answers || roles.has(ServerRole::Projectors) {
        let stores = opened.stores.clone();
        workers.spawn(watch_projections::until(overview, stores, answers, seen, stop_working.clone()));
    }
    if roles.has(ServerRole::Relay) {
        workers.spawn(housekeeping::forget_commands(Arc::clone(&opened.stores.content), stop_working.clone()));
        workers.spawn(housekeeping::count_outboxes(opened.stores.clone(), stop_working.clone()));
        if !opened.stores.log_shares_transactions {
            let relay = Relay::new(&opened.write_path, relay::Settings::default());
            workers.spawn(relay.run(stop_working.clone()));
        }
    }
    workers.spawn(metrics::keep_up(metrics.clone(), stop_working.clone()));
    workers.close();

    let router = routes::router(&config, &opened, projections, metrics, stop_serving.clone())?;
    let router = http::guarded(router, &config);
    let connections = http::Connections {
        most: config.limits.connections,
        head: Duration::from_secs(config.limits.header_seconds),
        shutdown: config.shutdown_time(),
    };
    tokio::spawn(signals.stop(stop_serving.clone()));
    terminal::say(&format!("Hybrid Live is ready at http://{address}"));
    tracing::info!(%address, %roles, data_dir = %config.data_dir().display(), "serving");

    http::serve(listener, router, connections, stop_serving).await;

    stop_working.cancel();
    workers.wait().await;
    if let Some(runtime) = runtime {
        runtime.stop().await;
    }
    // The stores before the lock: the next server finds them closed.
    drop(opened);
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

/// Keeps away whoever could not be at work on the same stores. Only files and memory need that: stores on servers are
/// there for many.
fn occupy(config: &Config) -> Result<Option<Lock>, Failure> {
    let (roles, urls) = (config.roles(), config.store_urls());
    if let (false, Some((store, url))) = (roles.are_all(), urls.in_memory()) {
        return Err(Failure::cannot_run(format!(
            "a process with the roles {roles} alone needs stores that other processes can reach, and `stores.{store}` is \
             {url}: name a server, such as redis://localhost"
        )));
    }
    if !urls.use_files() && urls.in_memory().is_none() {
        return Ok(None);
    }
    wiring::make_data_dir(config)?;
    let lock = if roles.are_all() { Lock::take(config.data_dir()) } else { Lock::share(config.data_dir()) };
    lock.map(Some)
}
