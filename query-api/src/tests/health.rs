//! What operators are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::health::{Dependency, Probes, ProjectionState, router};

async fn get(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

fn probes(dependencies: Vec<Dependency>, projection_is_healthy: &Arc<AtomicBool>) -> Router {
    let healthy = projection_is_healthy.clone();
    router(Probes {
        dependencies,
        projections: Box::new(move || {
            let healthy = healthy.load(Ordering::Relaxed);
            vec![ProjectionState { name: "engagement".to_owned(), healthy, detail: json!({"lag": 7}) }]
        }),
        metrics: Box::new(|| "metric 1\n".to_owned()),
    })
}

fn dependency(name: &'static str, answer: Result<(), &'static str>) -> Dependency {
    Dependency { name, check: Box::new(move || Box::pin(async move { answer.map_err(ToOwned::to_owned) })) }
}

#[tokio::test]
async fn ready_names_what_is_missing() {
    let healthy = Arc::new(AtomicBool::new(true));
    let router = probes(vec![dependency("content", Ok(())), dependency("event_log", Ok(()))], &healthy);
    let (status, body) = get(&router, "/health/ready").await;
    assert_eq!(status, StatusCode::OK);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body,
        json!({
            "status": "ready",
            "dependencies": [{"name": "content", "status": "up"}, {"name": "event_log", "status": "up"}],
            "projections": [{"name": "engagement", "status": "up", "detail": {"lag": 7}}],
        })
    );
    healthy.store(false, Ordering::Relaxed);
    let (status, body) = get(&router, "/health/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "a projection that does not move on");
    assert!(body.contains(r#"{"name":"engagement","status":"down""#), "{body}");

    healthy.store(true, Ordering::Relaxed);
    let router = probes(vec![dependency("content", Ok(())), dependency("event_log", Err("locked"))], &healthy);
    let (status, body) = get(&router, "/health/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains(r#"{"name":"event_log","status":"down","reason":"locked"}"#), "{body}");
    assert_eq!(get(&router, "/health/live").await.0, StatusCode::OK, "alive all the same");
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_does_not_answer_is_missing() {
    let silent = Dependency { name: "content", check: Box::new(|| Box::pin(std::future::pending())) };
    let router = probes(vec![silent], &Arc::new(AtomicBool::new(true)));
    let (status, body) = get(&router, "/health/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("no answer within 2 s"), "{body}");
}

#[tokio::test]
async fn metrics_are_the_binarys_text() {
    let router = probes(Vec::new(), &Arc::new(AtomicBool::new(true)));
    assert_eq!(get(&router, "/metrics").await, (StatusCode::OK, "metric 1\n".to_owned()));
}
