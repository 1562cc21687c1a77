//! `serve`: the roles of this process, all of them by default, from the lock on the data directory to the last stopped
//! task.

use std::time::Duration;

use adapters::sqlite::Sharing;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring;

mod admin;
mod cors;
mod health;
mod housekeeping;
mod http;
mod lock;
mod metrics;
mod opening;
mod reference;
mod routes;
mod signals;
mod start;
mod watch_projections;

pub(crate) use admin::document as admin_document;
use http::Unmatched;
pub(crate) use lock::{Attempt, Lock};
use opening::Opening;
pub(crate) use reference::document as reference_document;
use routes::Routes;
use start::{Start, Started};

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
    let (opener, secrets) = wiring::begin(&config, sharing)?;
    let waits = format!("Hybrid Live listens at http://{address}, and waits for a store that does not answer");
    let opening = Opening::new(opener, waits);

    // Two steps: what is served stops first, what it rests on afterwards.
    let stop_serving = CancellationToken::new();
    let stop_working = CancellationToken::new();
    let mut started = Started::default();
    started.workers.spawn(metrics::keep_up(metrics.clone(), stop_working.clone()));
    let routes = Routes::new(&config, &secrets, metrics, stop_serving.clone());
    let unmatched = if routes.has_api() { Unmatched::NotYet } else { Unmatched::Unknown };
    routes.serve(None, health::starting(&roles, &opening, routes.metrics()), unmatched);
    let connections = http::Connections {
        most: config.limits.connections,
        head: Duration::from_secs(config.limits.header_seconds),
        shutdown: config.shutdown_time(),
    };
    tokio::spawn(signals.stop(stop_serving.clone()));
    tracing::info!(%address, %roles, data_dir = %config.data_dir().display(), "serving");
    let serving = http::serve(listener, routes.router(), connections, stop_serving.clone());

    let start = Start {
        config: &config,
        secrets: &secrets,
        opening: &opening,
        routes: &routes,
        stop: stop_working.clone(),
        notice: format!("Hybrid Live is ready at http://{address}"),
    };
    let starting = async {
        // Also out of waiting.
        let outcome = stop_serving.run_until_cancelled(start.run(&mut started)).await;
        if let Some(Err(_)) = outcome {
            stop_serving.cancel();
        }
        outcome.unwrap_or(Ok(()))
    };
    let (outcome, ()) = tokio::join!(starting, serving);

    stop_working.cancel();
    started.workers.close();
    started.workers.wait().await;
    if let Some(runtime) = started.runtime {
        runtime.stop().await;
    }
    // The stores before the lock: the next server finds them closed.
    drop((routes, opening));
    drop(lock);
    tracing::info!("stopped");
    outcome
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
