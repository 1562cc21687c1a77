//! The API's description, as it is served: `/openapi.json` for programs, `/docs` for people.
//!
//! The page is Swagger UI, which `build.rs` puts into the binary: it loads nothing from anywhere else, and its
//! `Content-Security-Policy` lets it load nothing from anywhere else.

use std::sync::LazyLock;

use adapters::http::conditional::unless_known;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
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
    /// Of the bytes, where they are compressed.
    encoding: Option<HeaderValue>,
}

/// Put together once: the document takes some work.
static DOCUMENT: LazyLock<Asset> = LazyLock::new(|| Asset::new(crate::openapi::compact(), "application/json"));
static PAGE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_str!("reference/docs.html"), "text/html; charset=utf-8"));
static START: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_str!("reference/start.js"), "text/javascript; charset=utf-8"));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));
    Asset::gzipped(bytes.as_slice(), "text/javascript; charset=utf-8")
});
static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));
    Asset::gzipped(bytes.as_slice(), "text/css; charset=utf-8")
});

/// Only what is served here, nothing inline but the styles that Swagger UI sets, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Asset {
    fn new(bytes: impl Into<Bytes>, content_type: &'static str) -> Self {
        let bytes = bytes.into();
        let digest = Sha256::digest(&bytes);
        let digits: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        // Digits in quotes are always a header's value.
        let etag = HeaderValue::try_from(format!("\"{digits}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes, etag, content_type: HeaderValue::from_static(content_type), encoding: None }
    }

    /// Compressed ahead. It is sent so to everybody: there is no browser that cannot read it.
    fn gzipped(bytes: &'static [u8], content_type: &'static str) -> Self {
        Self { encoding: Some(HeaderValue::from_static("gzip")), ..Self::new(bytes, content_type) }
    }

    /// The answer to a request with these headers.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let described = [
            (header::CONTENT_TYPE, self.content_type.clone()),
            // Kept, and asked for before each use: another version of the server has another.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        ];
        let mut answer = (described, self.bytes.clone()).into_response();
        if let Some(encoding) = &self.encoding {
            answer.headers_mut().insert(header::CONTENT_ENCODING, encoding.clone());
        }
        unless_known(headers, &self.etag, answer)
    }
}

/// What describes the API.
pub(super) fn router() -> Router {
    let page = |asset: &'static LazyLock<Asset>| get(async move |headers: HeaderMap| asset.answer(&headers));
    Router::from(calls())
        .route("/docs", page(&PAGE))
        .route("/docs/start.js", page(&START))
        .route("/docs/swagger-ui-bundle.js", page(&SCRIPT))
        .route("/docs/swagger-ui.css", page(&STYLE))
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

#[cfg(test)]
mod tests;
