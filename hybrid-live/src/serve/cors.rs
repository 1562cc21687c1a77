//! Which other origins' pages may read what is answered to them (CORS). Browsers ask; programs are not concerned.
//!
//! Pages of `public_origins` may bring the session cookie, those of `cors_origins` may not: they come with a token or
//! as nobody. What is for operators is for no page.

use std::time::Duration;

use adapters::http::consistency;
use adapters::http::rate_limits::{LIMIT, REMAINING, RESET};
use adapters::http::trace;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowCredentials, AllowOrigin, CorsLayer};

use crate::config::Config;

/// How long browsers may go by an answer: the longest that any of them takes.
const KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// What pages may send.
const SENT: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    consistency::HEADER,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
];

/// What pages may read.
const READ: [HeaderName; 10] = [
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    consistency::HEADER,
    trace::HEADER,
    LIMIT,
    REMAINING,
    RESET,
    HeaderName::from_static("consistency"),
    HeaderName::from_static("stream-position"),
];

/// What answers pages of other origins, if there are any.
pub(super) fn layer(config: &Config) -> Option<CorsLayer> {
    if config.public_origins.is_empty() && config.cors_origins.is_empty() {
        return None;
    }
    let everybody = config.cors_origins.iter().any(|origin| origin == "*");
    let (public, others) = (config.public_origins.clone(), config.cors_origins.clone());
    let may_bring_cookies = public.clone();
    let may_read = move |origin: &HeaderValue, request: &Parts| {
        is_for_pages(request.uri.path()) && (everybody || is_among(&public, origin) || is_among(&others, origin))
    };
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(may_read))
        .allow_credentials(AllowCredentials::predicate(move |origin: &HeaderValue, _: &Parts| {
            is_among(&may_bring_cookies, origin)
        }))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(SENT)
        .expose_headers(READ)
        .max_age(KEPT);
    Some(layer)
}

fn is_for_pages(path: &str) -> bool {
    path.starts_with("/v1/") || path == "/openapi.json"
}

fn is_among(origins: &[String], origin: &HeaderValue) -> bool {
    origins.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()))
}

#[cfg(test)]
mod tests;
