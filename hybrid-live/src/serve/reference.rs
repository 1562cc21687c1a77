//! The API's description, as it is served: `/openapi.json`.

use std::sync::LazyLock;

use adapters::http::conditional::unless_known;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Something that stays the same for as long as this binary serves: it is sent once to whoever keeps it.
#[derive(Debug)]
struct Asset {
    bytes: Bytes,
    etag: HeaderValue,
    content_type: HeaderValue,
}

/// Put together once: the document takes some work.
static DOCUMENT: LazyLock<Asset> = LazyLock::new(|| Asset::new(crate::openapi::text(), "application/json"));

impl Asset {
    fn new(bytes: impl Into<Bytes>, content_type: &'static str) -> Self {
        let bytes = bytes.into();
        let digest = Sha256::digest(&bytes);
        let digits: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        // Digits in quotes are always a header's value.
        let etag = HeaderValue::try_from(format!("\"{digits}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes, etag, content_type: HeaderValue::from_static(content_type) }
    }

    /// The answer to a request with these headers.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let described = [
            (header::CONTENT_TYPE, self.content_type.clone()),
            // Kept, and asked for before each use: another version of the server has another.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        unless_known(headers, &self.etag, (described, self.bytes.clone()))
    }
}

/// What describes the API.
pub(super) fn router() -> Router {
    Router::from(calls())
}

/// The same for the document.
pub(crate) fn document() -> OpenApi {
    calls().into_openapi()
}

fn calls() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "reference",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of what the client has.")),
    responses(
        (status = 200, body = serde_json::Value, description = "An OpenAPI 3.1 document.", headers(("ETag"))),
        (status = 304, description = "The client has it.", headers(("ETag"))),
    ),
    security(()),
)]
async fn openapi(headers: HeaderMap) -> Response {
    DOCUMENT.answer(&headers)
}
