//! The description as programs and browsers get it.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;

use super::*;

async fn get_with(path: &str, headers: &[(&'static str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let answer = router().oneshot(request).await.expect("an answer");
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, to_bytes(answer.into_body(), usize::MAX).await.expect("a body"))
}

/// What follows `attribute="` in the page, as a path from where the page is.
fn linked<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    page.split(&format!(" {attribute}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_document_is_sent_once_to_who_keeps_it() {
    let (status, headers, body) = get_with("/openapi.json", &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    let (served, kept) = (serde_json::from_slice(&body), serde_json::from_str(&crate::openapi::text()));
    let (served, kept): (serde_json::Value, serde_json::Value) = (served.expect("JSON"), kept.expect("JSON"));
    assert_eq!(served, kept);
    let etag = headers[header::ETAG].to_str().expect("text");
    let (status, headers, body) = get_with("/openapi.json", &[("if-none-match", etag)]).await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(headers[header::ETAG], etag);
    assert_eq!(get_with("/openapi.json", &[("if-none-match", "\"another\"")]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn all_that_the_page_loads_is_served_here() {
    let (status, headers, body) = get_with("/docs", &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("http"), "{policy}");
    let page = std::str::from_utf8(&body).expect("text");
    assert!(!page.contains("//"), "the page names another place");
    let mut loaded = 0;
    for path in linked(page, "src").into_iter().chain(linked(page, "href")).filter(|path| *path != "data:,") {
        let (status, headers, body) = get_with(&format!("/{path}"), &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!body.is_empty(), "{path}");
        let etag = headers[header::ETAG].to_str().expect("text");
        let (status, again, _) = get_with(&format!("/{path}"), &[("if-none-match", etag)]).await;
        assert_eq!(status, StatusCode::NOT_MODIFIED, "{path}");
        assert!(!again.contains_key(header::CONTENT_ENCODING), "{path}");
        loaded += 1;
    }
    assert_eq!(loaded, 4, "style, two scripts, and the document for those without scripts");
}

#[tokio::test]
async fn compressed_files_say_so_and_are_whole() {
    for (path, length) in [("/docs/swagger-ui-bundle.js", 1_000_000), ("/docs/swagger-ui.css", 100_000)] {
        let (_, headers, body) = get_with(path, &[]).await;
        assert_eq!(headers[header::CONTENT_ENCODING], "gzip", "{path}");
        assert_eq!(body[..4], [0x1f, 0x8b, 8, 0], "{path} is gzip");
        let trailer: [u8; 4] = body[body.len() - 4..].try_into().expect("four bytes");
        let unpacked = u32::from_le_bytes(trailer);
        assert!(unpacked > length && (body.len() as u32) < unpacked / 2, "{path}: {unpacked}");
    }
}

#[tokio::test]
async fn the_page_starts_with_the_document_that_is_served_here() {
    let (_, _, script) = get_with("/docs/start.js", &[]).await;
    let script = std::str::from_utf8(&script).expect("text");
    assert!(script.contains("url: \"openapi.json\"") && !script.contains("://"), "{script}");
}
