//! What browsers are told of other origins' pages.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, put};
use tower::ServiceExt as _;

use super::*;
use crate::serve::http::{Unmatched, guarded};

const PUBLIC: &str = "https://social.example";
const OTHER: &str = "https://tool.example";
const STRANGER: &str = "https://stranger.example";

fn router(public: &[&str], cors: &[&str]) -> Router {
    let owned = |origins: &[&str]| origins.iter().map(|origin| (*origin).to_owned()).collect();
    let config = Config { public_origins: owned(public), cors_origins: owned(cors), ..Config::default() };
    let routes = Router::new().route("/v1/here", get(async || "1")).route("/v1/here", put(async || "2"));
    guarded(routes.route("/metrics", get(async || "3")), Unmatched::Unknown, &config)
}

async fn ask(router: &Router, method: &str, path: &str, origin: &str) -> (StatusCode, HeaderMap) {
    let request = Request::builder().method(method).uri(path).header(header::ORIGIN, origin);
    let request = request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT").body(Body::empty());
    let answer = router.clone().oneshot(request.expect("a request")).await.expect("an answer");
    (answer.status(), answer.headers().clone())
}

fn allowed(headers: &HeaderMap) -> (Option<&str>, bool) {
    let origin = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).and_then(|origin| origin.to_str().ok());
    (origin, headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS))
}

#[tokio::test]
async fn public_origins_may_bring_cookies_and_others_may_not() {
    let router = router(&[PUBLIC], &[OTHER]);
    for method in ["OPTIONS", "GET"] {
        for (origin, expected) in [(PUBLIC, (Some(PUBLIC), true)), (OTHER, (Some(OTHER), false))] {
            let (status, headers) = ask(&router, method, "/v1/here", origin).await;
            assert_eq!((status, allowed(&headers)), (StatusCode::OK, expected), "{method} {origin}");
            let varies =
                headers.get_all(header::VARY).iter().any(|vary| vary.to_str().unwrap_or("").contains("origin"));
            assert!(varies, "{method} {origin}: caches must tell origins apart");
        }
        assert_eq!(allowed(&ask(&router, method, "/v1/here", STRANGER).await.1), (None, false), "{method}");
    }
}

#[tokio::test]
async fn everybody_may_read_without_cookies_where_a_star_says_so() {
    let router = router(&[PUBLIC], &["*"]);
    let (_, headers) = ask(&router, "GET", "/v1/here", STRANGER).await;
    assert_eq!(allowed(&headers), (Some(STRANGER), false));
    assert_eq!(allowed(&ask(&router, "GET", "/v1/here", PUBLIC).await.1), (Some(PUBLIC), true));
}

#[tokio::test]
async fn what_pages_may_send_and_read_is_listed_and_kept() {
    let router = router(&[PUBLIC], &[]);
    let (_, headers) = ask(&router, "OPTIONS", "/v1/here", PUBLIC).await;
    let listed = |name: HeaderName| headers[name].to_str().expect("text").to_ascii_lowercase();
    assert_eq!(listed(header::ACCESS_CONTROL_ALLOW_METHODS), "get,post,put,delete");
    for name in ["authorization", "consistency-token", "idempotency-key", "if-match"] {
        assert!(listed(header::ACCESS_CONTROL_ALLOW_HEADERS).contains(name), "{name}");
    }
    assert_eq!(listed(header::ACCESS_CONTROL_MAX_AGE), "7200");
    let (_, headers) = ask(&router, "GET", "/v1/here", PUBLIC).await;
    let exposed = headers[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().expect("text").to_ascii_lowercase();
    for name in ["etag", "consistency-token", "x-trace-id", "ratelimit-remaining", "retry-after"] {
        assert!(exposed.contains(name), "{name}");
    }
}

#[tokio::test]
async fn refusals_can_be_read_and_what_is_for_operators_cannot() {
    let router = router(&[], &["*"]);
    let (status, headers) = ask(&router, "GET", "/v1/nowhere", OTHER).await;
    assert_eq!((status, allowed(&headers).0), (StatusCode::NOT_FOUND, Some(OTHER)));
    let (status, headers) = ask(&router, "GET", "/metrics", OTHER).await;
    assert_eq!((status, allowed(&headers)), (StatusCode::OK, (None, false)));
}

#[tokio::test]
async fn without_other_origins_nothing_is_said() {
    let router = router(&[], &[]);
    let (status, headers) = ask(&router, "GET", "/v1/here", OTHER).await;
    assert_eq!((status, allowed(&headers)), (StatusCode::OK, (None, false)));
    assert_eq!(ask(&router, "OPTIONS", "/v1/here", OTHER).await.0, StatusCode::METHOD_NOT_ALLOWED);
}
