//! The trace of a request: an id that the client sees, the log repeats and the events carry as their correlation,
//! and the metrics of every answer.

use std::fmt;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use domain::CorrelationId;
use http::{HeaderName, HeaderValue, Method};
use tracing::Instrument;

use super::clock;

/// What tells the client the id.
pub const HEADER: HeaderName = HeaderName::from_static("x-trace-id");

tokio::task_local! {
    static CURRENT: TraceId;
}

/// The id of a request, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(CorrelationId);

impl TraceId {
    /// A new one.
    pub fn fresh() -> Self {
        Self(CorrelationId::from_parts(clock::now(), clock::entropy()))
    }

    /// The same as the events carry it.
    pub fn correlation(self) -> CorrelationId {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(*self.0.as_bytes()))
    }
}

/// The present request's id; outside of any request a new one.
pub fn current() -> TraceId {
    CURRENT.try_with(|id| *id).unwrap_or_else(|_| TraceId::fresh())
}

/// Middleware for `axum::middleware::from_fn`, added by `Router::layer` so that it knows the matched path.
pub async fn layer(request: Request, next: Next) -> Response {
    let id = TraceId::fresh();
    let method = method_label(request.method());
    // The pattern, not the path: metrics must not have a label per post.
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!("request", trace_id = %id, method, path);
    let started = Instant::now();
    let mut response = CURRENT.scope(id, next.run(request)).instrument(span.clone()).await;

    let (status, elapsed) = (response.status(), started.elapsed());
    let millis = elapsed.as_secs_f64() * 1e3;
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), millis, "answered");
        } else {
            tracing::debug!(status = status.as_u16(), millis, "answered");
        }
    });
    let labels = [("method", method.to_owned()), ("path", path.to_owned()), ("status", status.as_str().to_owned())];
    metrics::counter!("hybrid_live_http_requests_total", &labels).increment(1);
    metrics::histogram!("hybrid_live_http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// Clients may invent methods; metrics must not have a label for each.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
