//! Problems: every code has its status, and nothing internal gets out.

use std::collections::HashSet;
use std::time::Duration;

use axum::response::IntoResponse as _;
use domain::Rejection;
use http::{StatusCode, header};
use serde_json::Value;

use crate::StoreError;
use crate::http::problem::{Code, Problem};

async fn body(problem: Problem) -> (StatusCode, http::HeaderMap, Value) {
    let response = problem.into_response();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, headers, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn every_code_is_written_in_full() {
    let mut names = HashSet::new();
    for code in Code::ALL {
        assert!(names.insert(code.as_str()), "{code:?} is named as another");
        assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        let (status, headers, body) = body(Problem::from(code)).await;
        assert_eq!(status, code.status());
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(body["status"], status.as_u16());
        assert_eq!(body["code"], code.as_str());
        assert_eq!(body["type"], format!("urn:hybrid-live:problem:{}", code.as_str()));
        for field in ["title", "detail", "trace_id"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{code:?} has no {field}");
        }
        let comes_again = matches!(code, Code::RateLimited | Code::Overloaded | Code::Unavailable);
        assert_eq!(headers.contains_key(header::RETRY_AFTER), comes_again, "{code:?}");
        assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), status == StatusCode::UNAUTHORIZED, "{code:?}");
    }
}

#[tokio::test]
async fn what_a_store_says_is_not_sent() {
    for (error, status, code) in [
        (StoreError::Unavailable("/secret/path".to_owned()), StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (StoreError::Damaged("/secret/path".to_owned()), StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        (StoreError::Overtaken("/secret/path".to_owned()), StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    ] {
        let (sent, _, body) = body(error.into()).await;
        assert_eq!((sent, body["code"].as_str()), (status, Some(code)));
        assert!(!body.to_string().contains("secret"), "{body}");
    }
}

#[tokio::test]
async fn fields_and_waits_are_told() {
    let (_, _, invalid) = body(Problem::invalid("limit", "must be from 1 to 100")).await;
    assert_eq!((&invalid["field"], &invalid["detail"]), (&"limit".into(), &"must be from 1 to 100".into()));
    let (_, headers, _) = body(Problem::from(Code::Unavailable).retry_after(Duration::from_millis(5200))).await;
    assert_eq!(headers[header::RETRY_AFTER], "5");
    let (_, headers, _) = body(Problem::from(Code::Unavailable).retry_after(Duration::ZERO)).await;
    assert_eq!(headers[header::RETRY_AFTER], "1");
}

#[test]
fn every_rejection_has_its_code() {
    for (rejection, code, status) in [
        (Rejection::NotFound("post"), Code::NotFound, 404),
        (Rejection::AlreadyExists("post"), Code::AlreadyExists, 409),
        (Rejection::NotYours("post"), Code::NotYours, 403),
        (Rejection::Oneself, Code::Oneself, 422),
        (Rejection::Blocked, Code::Blocked, 409),
        (Rejection::Stale { present: 3 }, Code::Stale, 412),
    ] {
        let problem = Problem::from(rejection);
        assert_eq!((problem.code, problem.code.status().as_u16()), (code, status));
    }
}
