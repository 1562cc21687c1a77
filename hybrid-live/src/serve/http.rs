//! The HTTP server: what stands in front of the routers, and connections from first byte to last.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adapters::http::client_address::Peer;
use adapters::http::problem::{Code, Problem, no_such_method, no_such_path};
use adapters::http::trace;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use super::cors;
use crate::config::Config;
use crate::failure::Failure;

/// After the system refused a connection for lack of something: it will not have more a moment later.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Takes the address.
///
/// # Errors
/// Says whether it is in use, not allowed or not ours.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program uses it; choose another with `--listen`",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 are for the administrator",
            std::io::ErrorKind::AddrNotAvailable => "this machine has no such address",
            _ => "",
        };
        let reason = if advice.is_empty() { error.to_string() } else { advice.to_owned() };
        Failure::cannot_run(format!("cannot listen on {address}: {reason}"))
    })
}

/// What a request is told that nobody here answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmatched {
    /// Nobody ever will.
    Unknown,
    /// The process is still starting: somebody may.
    NotYet,
}

/// Puts in front of `router` what holds for every request. From outside in: trace, other origins, panics, time, size.
pub(super) fn guarded(router: Router, unmatched: Unmatched, config: &Config) -> Router {
    let limit = config.request_time();
    let bounded = move |request: Request, next: Next| bounded(limit, request, next);
    let router = match unmatched {
        Unmatched::Unknown => router.fallback(no_such_path).method_not_allowed_fallback(no_such_method),
        Unmatched::NotYet => router.fallback(not_yet).method_not_allowed_fallback(not_yet),
    };
    let router = router
        .layer(DefaultBodyLimit::max(config.limits.body_bytes))
        .layer(from_fn(bounded))
        .layer(CatchPanicLayer::custom(panicked));
    // Outside of all that refuses: a page of another origin must be able to read why.
    let router = match cors::layer(config) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(from_fn(trace::layer))
}

async fn not_yet() -> Problem {
    Problem::new(Code::Unavailable, "the server is starting, and waits for a store that does not answer")
}

/// Bounds how many requests may be under way in `router` to as many as there are `places`, until their answers begin. One too many is refused at once:
/// behind a store that has become slow, waiting would only make every answer later and the queue longer.
pub(super) fn at_most(places: Arc<Semaphore>, router: Router) -> Router {
    let admit = move |request: Request, next: Next| {
        let places = Arc::clone(&places);
        async move {
            let Ok(_place) = places.try_acquire() else {
                metrics::counter!("hybrid_live_http_shed_requests_total").increment(1);
                return Problem::from(Code::Overloaded).into_response();
            };
            next.run(request).await
        }
    };
    router.route_layer(from_fn(admit))
}

/// Bounds the time until the answer begins. A stream's begins at once and goes on for as long as it likes.
async fn bounded(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Overloaded, format!("no answer within {} s", limit.as_secs())).into_response(),
    }
}

fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    Problem::internal(&format!("panic: {}", text.unwrap_or("without a text"))).into_response()
}

/// How connections are treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connections {
    /// Open at one time, at most; more wait to be accepted.
    pub(super) most: usize,
    /// How long a client may take to send a request's head, and may be silent between two requests.
    pub(super) head: Duration,
    /// How long requests under way may take once the server stops.
    pub(super) shutdown: Duration,
}

/// Serves until `stop`, and then what is under way. Each request is answered by the router of the moment: a process
/// serves more as it starts.
pub(super) async fn serve(
    listener: TcpListener,
    router: watch::Receiver<Router>,
    connections: Connections,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(connections.most));
    let tracker = TaskTracker::new();
    // Drops what is still under way when its time is over.
    let abandon = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let served = connection(stream, peer, router.clone(), connections.head, stop.clone());
        let abandon = abandon.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = served => {}
                () = abandon.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(connections.shutdown, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "requests still under way are abandoned");
        abandon.cancel();
        tracker.wait().await;
    }
}

/// The next connection and its place; `None` where the system refused it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    // The place first: whoever finds none waits in the system's queue and costs nothing here. It is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are written whole, so waiting for more to send along only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY is refused");
            }
            Some((stream, peer.ip(), place))
        }
        Err(error) => {
            // One that was reset while it waited is its client's affair.
            if error.kind() != std::io::ErrorKind::ConnectionAborted {
                tracing::warn!(%error, "a connection is refused");
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    router: watch::Receiver<Router>,
    head: Duration,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let router = router.borrow().clone();
        TowerToHyperService::new(router).call(request)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Clients go away without a word all the time.
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests;
