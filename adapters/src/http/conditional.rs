//! Conditional requests: `If-None-Match`, for answers that their `ETag` stands for as a whole.
//!
//! Not for posts and comments: their `ETag` is the version of their text, what `If-Match` takes, and the numbers around
//! it change without it. Who revalidated by it would go on showing old ones.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// Whether the client says that it has what `etag` names. Compared weakly, as RFC 9110 wants it for reading.
pub fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// `answer` with its `etag`, or, to a client that has it already, 304 with the same headers and nothing more.
pub fn unless_known(headers: &HeaderMap, etag: &HeaderValue, answer: impl IntoResponse) -> Response {
    let mut answer = answer.into_response();
    answer.headers_mut().insert(header::ETAG, etag.clone());
    if answer.status() == StatusCode::OK && etag.to_str().is_ok_and(|etag| has_already(headers, etag)) {
        let mut unchanged = StatusCode::NOT_MODIFIED.into_response();
        std::mem::swap(unchanged.headers_mut(), answer.headers_mut());
        // They describe the body that is not sent.
        for of_body in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING] {
            unchanged.headers_mut().remove(of_body);
        }
        return unchanged;
    }
    answer
}
