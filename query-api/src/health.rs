//! How this process is, for those who run it: alive, ready (or which dependency is missing), and its metrics.
//!
//! What there is to ask is the binary's to know: it depends on the role that the process has.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::future::{BoxFuture, join_all};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// A dependency that does not answer for this long is missing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks a dependency whether it is there; if it is not, why.
pub type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Something that this process needs.
pub struct Dependency {
    /// What it is called, as people know it from the configuration.
    pub name: &'static str,
    /// Asks it.
    pub check: Check,
}

/// How a projection is.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionState {
    /// Its name.
    pub name: String,
    /// Whether its readers may rely on it to move on.
    pub healthy: bool,
    /// Status, positions, lag, parked lanes: for people.
    pub detail: Value,
}

/// Where the answers come from.
pub struct Probes {
    /// What must be there.
    pub dependencies: Vec<Dependency>,
    /// The projections that run in this process.
    pub projections: Box<dyn Fn() -> Vec<ProjectionState> + Send + Sync>,
    /// The metrics in Prometheus' text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// Whether this process is ready, and what it needs.
#[derive(Serialize, ToSchema)]
struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    dependencies: Vec<DependencyReport>,
    projections: Vec<ProjectionReport>,
}

/// Something that this process needs.
#[derive(Serialize, ToSchema)]
struct DependencyReport {
    name: &'static str,
    /// `up` or `down`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// How a projection is.
#[derive(Serialize, ToSchema)]
#[schema(as = ProjectionHealth)]
struct ProjectionReport {
    name: String,
    /// `up` or `down`.
    status: &'static str,
    /// Status, positions, lag, parked lanes: for people.
    detail: Value,
}

/// That this process is alive.
#[derive(Serialize, ToSchema)]
struct Liveness {
    /// `live`.
    status: &'static str,
}

/// `/health/live`, `/health/ready` and `/metrics`.
pub fn router(probes: Probes) -> Router {
    Router::from(calls()).with_state(Arc::new(probes))
}

/// The same for the OpenAPI document.
pub fn document() -> OpenApi {
    calls().into_openapi()
}

fn calls() -> OpenApiRouter<Arc<Probes>> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(metrics))
}

/// Whether the process is alive
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "live",
    tag = "operations",
    responses((status = 200, body = Liveness, description = "It is.")),
    security(()),
)]
async fn live() -> Response {
    json(StatusCode::OK, &Liveness { status: "live" })
}

/// Whether the process is ready
///
/// Names the dependency that is missing.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "ready",
    tag = "operations",
    responses(
        (status = 200, body = Readiness, description = "It is."),
        (status = 503, body = Readiness, description = "It is not."),
    ),
    security(()),
)]
async fn ready(State(probes): State<Arc<Probes>>) -> Response {
    // All at once: how long the answer takes is the slowest's time, not the sum.
    let dependencies = join_all(probes.dependencies.iter().map(ask)).await;
    let projections: Vec<ProjectionReport> = (probes.projections)()
        .into_iter()
        .map(|projection| ProjectionReport {
            name: projection.name,
            status: up_or_down(projection.healthy),
            detail: projection.detail,
        })
        .collect();
    let is_ready = dependencies.iter().all(|dependency| dependency.reason.is_none())
        && projections.iter().all(|projection| projection.status == up_or_down(true));
    let (code, status) =
        if is_ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    let report = Readiness { status, dependencies, projections };
    json(code, &report)
}

async fn ask(dependency: &Dependency) -> DependencyReport {
    let answer = match tokio::time::timeout(PATIENCE, (dependency.check)()).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    DependencyReport { name: dependency.name, status: up_or_down(answer.is_ok()), reason: answer.err() }
}

fn up_or_down(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

/// The metrics
///
/// In Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operations",
    responses((status = 200, body = String, content_type = "text/plain", description = "The metrics.")),
    security(()),
)]
async fn metrics(State(probes): State<Arc<Probes>>) -> Response {
    uncached(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", (probes.metrics)())
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Texts, numbers and values of such always serialise.
    uncached(status, "application/json", serde_json::to_vec(body).unwrap_or_default())
}

fn uncached(status: StatusCode, content_type: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body.into()).into_response()
}
