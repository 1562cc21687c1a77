//! `/v1/admin`: what operators do, over HTTP. Every request looks in the truth whether who asks is an admin, so that a
//! revocation works at once.

use std::sync::Arc;
use std::time::Duration;

use adapters::http::auth::{AccessTokens, Actor};
use adapters::http::extract::{Body, Params};
use adapters::http::openapi::{BODY, COMMAND, Codes, OF_SOMEBODY, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::{FromRef, FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use command_api::auth::roles::{Role, Roles};
use domain::StreamId;
use serde::{Deserialize, Serialize};
use utoipa::openapi::OpenApi;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::operations::events::{EventLine, Filter, Reader, Start, line};
use crate::operations::{DeadLetter, DeadLetterDetail, Dropping, List, Operations, ProjectionReport, Refusal, Retried};

/// How long a request waits until what it asks for is done; within what any request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records of the log that one request passes over, at most: what is asked for may be rare.
const RECORDS: usize = 20_000;

/// What these calls share.
#[derive(Clone)]
pub(super) struct Admins {
    operations: Operations,
    roles: Roles,
    tokens: Arc<AccessTokens>,
}

impl Admins {
    pub(super) fn new(operations: Operations, roles: Roles, tokens: Arc<AccessTokens>) -> Self {
        Self { operations, roles, tokens }
    }
}

impl FromRef<Admins> for Arc<AccessTokens> {
    fn from_ref(admins: &Admins) -> Self {
        Arc::clone(&admins.tokens)
    }
}

/// The calls.
pub(super) fn router(admins: Admins) -> Router {
    Router::from(calls()).with_state(admins)
}

/// What they are, for the OpenAPI document.
pub(crate) fn document() -> OpenApi {
    calls().into_openapi()
}

fn calls() -> OpenApiRouter<Admins> {
    OpenApiRouter::new()
        .routes(routes!(projections))
        .routes(routes!(projection))
        .routes(routes!(pause, resume))
        .routes(routes!(dead_letters))
        .routes(routes!(dead_letter))
        .routes(routes!(retry))
        .routes(routes!(drop_events))
        .routes(routes!(events))
}

/// What every call here meets.
const ADMIN: Codes = OF_SOMEBODY | these(&[Code::Forbidden, Code::InvalidField]);

/// Somebody who may operate the system.
struct Admin;

impl FromRequestParts<Admins> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admins: &Admins) -> Result<Self, Problem> {
        let actor = Actor::from_request_parts(parts, admins).await?;
        let roles = admins.roles.of(actor.user).await?;
        if roles.contains(&Role::Admin) { Ok(Self) } else { Err(Code::Forbidden.into()) }
    }
}

/// The names in the path, of which there are `N`.
struct Names<const N: usize>([String; N]);

impl<const N: usize> FromRequestParts<Admins> for Names<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admins: &Admins) -> Result<Self, Problem> {
        // What is no text names nothing.
        let params =
            RawPathParams::from_request_parts(parts, admins).await.map_err(|_| Problem::from(Code::NotFound))?;
        let names: Vec<String> = params.iter().map(|(_, name)| name.to_owned()).collect();
        names.try_into().map(Self).map_err(|_| Code::NotFound.into())
    }
}

/// No query parameters: who sends one means something that does not happen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoProjection(_) | Refusal::NoLane { .. } => Self::new(Code::NotFound, refusal.to_string()),
            Refusal::Paused(_) => Self::new(Code::Conflict, refusal.to_string()),
            Refusal::Unanswered(_) => Self::new(Code::Unavailable, refusal.to_string()),
            Refusal::Store(error) => error.into(),
        }
    }
}

fn answer<T: Serialize>(value: T) -> Response {
    let mut response = Json(value).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

type Answer = Result<Response, Problem>;

/// All projections
///
/// State, lag and parked lanes of each.
#[utoipa::path(
    get,
    path = "/v1/admin/projections",
    operation_id = "projections",
    tag = "administration",
    responses(
        (status = 200, body = List<ProjectionReport>, description = "All of them."),
        Refused<{ ADMIN }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn projections(State(admins): State<Admins>, _: Admin, _: Params<Nothing>) -> Answer {
    Ok(answer(admins.operations.projections(true).await?))
}

/// A projection
///
/// Partition by partition.
#[utoipa::path(
    get,
    path = "/v1/admin/projections/{name}",
    operation_id = "projection",
    tag = "administration",
    params(("name" = String, Path, description = "The projection.")),
    responses(
        (status = 200, body = ProjectionReport, description = "How it is."),
        Refused<{ ADMIN | these(&[Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn projection(State(admins): State<Admins>, _: Admin, Names([name]): Names<1>, _: Params<Nothing>) -> Answer {
    Ok(answer(admins.operations.projection(&name, true).await?))
}

/// Pause a projection
///
/// It rests after the batches that it is at, in every process, until it is resumed.
#[utoipa::path(
    put,
    path = "/v1/admin/projections/{name}/pause",
    operation_id = "pause",
    tag = "administration",
    params(("name" = String, Path, description = "The projection.")),
    responses(
        (status = 204, description = "It is to rest."),
        Refused<{ ADMIN | these(&[Code::OriginMismatch, Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn pause(State(admins): State<Admins>, _: Admin, Names([name]): Names<1>, _: Params<Nothing>) -> Answer {
    admins.operations.set_paused(&name, true).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Resume a projection
#[utoipa::path(
    delete,
    path = "/v1/admin/projections/{name}/pause",
    operation_id = "resume",
    tag = "administration",
    params(("name" = String, Path, description = "The projection.")),
    responses(
        (status = 204, description = "It is to go on."),
        Refused<{ ADMIN | these(&[Code::OriginMismatch, Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn resume(State(admins): State<Admins>, _: Admin, Names([name]): Names<1>, _: Params<Nothing>) -> Answer {
    admins.operations.set_paused(&name, false).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// All parked lanes
#[utoipa::path(
    get,
    path = "/v1/admin/dead-letters",
    operation_id = "dead_letters",
    tag = "administration",
    responses(
        (status = 200, body = List<DeadLetter>, description = "All of them."),
        Refused<{ ADMIN }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn dead_letters(State(admins): State<Admins>, _: Admin, _: Params<Nothing>) -> Answer {
    Ok(answer(admins.operations.dead_letters().await?))
}

/// A parked lane
///
/// With the first of the events that wait.
#[utoipa::path(
    get,
    path = "/v1/admin/dead-letters/{projection}/{lane}",
    operation_id = "dead_letter",
    tag = "administration",
    params(
        ("projection" = String, Path, description = "Which projection has parked it."),
        ("lane" = String, Path, description = "The lane, as the list names it."),
    ),
    responses(
        (status = 200, body = DeadLetterDetail, description = "The lane."),
        Refused<{ ADMIN | these(&[Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn dead_letter(
    State(admins): State<Admins>,
    _: Admin,
    Names([projection, lane]): Names<2>,
    _: Params<Nothing>,
) -> Answer {
    Ok(answer(admins.operations.dead_letter(&projection, &lane).await?))
}

/// Try a parked lane again
#[utoipa::path(
    post,
    path = "/v1/admin/dead-letters/{projection}/{lane}/retry",
    operation_id = "retry",
    tag = "administration",
    params(
        ("projection" = String, Path, description = "Which projection has parked it."),
        ("lane" = String, Path, description = "The lane, as the list names it."),
    ),
    responses(
        (status = 200, body = Retried, description = "What came of it."),
        Refused<{ ADMIN | COMMAND | these(&[Code::NotFound, Code::Conflict]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn retry(
    State(admins): State<Admins>,
    _: Admin,
    Names([projection, lane]): Names<2>,
    _: Params<Nothing>,
) -> Answer {
    let asked = admins.operations.ask(&projection, &lane, None).await?;
    Ok(answer(admins.operations.wait(asked, PATIENCE).await?))
}

/// What `drop` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Drop {
    /// Leave out everything that waits, and not only the event that cannot be applied.
    #[serde(default)]
    all: bool,
}

/// Leave out what cannot be applied
///
/// The first event that waits, or all; then the rest is applied. What is left out stays so for good.
#[utoipa::path(
    post,
    path = "/v1/admin/dead-letters/{projection}/{lane}/drop",
    operation_id = "drop_events",
    tag = "administration",
    params(
        ("projection" = String, Path, description = "Which projection has parked it."),
        ("lane" = String, Path, description = "The lane, as the list names it."),
    ),
    request_body = Drop,
    responses(
        (status = 200, body = Retried, description = "What came of it."),
        Refused<{ ADMIN | COMMAND | BODY | these(&[Code::NotFound, Code::Conflict]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn drop_events(
    State(admins): State<Admins>,
    _: Admin,
    Names([projection, lane]): Names<2>,
    _: Params<Nothing>,
    Body(Drop { all }): Body<Drop>,
) -> Answer {
    let dropping = if all { Dropping::All } else { Dropping::First };
    let asked = admins.operations.ask(&projection, &lane, Some(dropping)).await?;
    Ok(answer(admins.operations.wait(asked, PATIENCE).await?))
}

/// What `events` takes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Events {
    /// Only this type.
    #[param(nullable = false)]
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only this stream.
    #[param(nullable = false)]
    stream: Option<String>,
    /// A position, a time, or a page's `next`.
    #[param(nullable = false)]
    from: Option<String>,
    /// At most so many: 1 to 100.
    #[param(nullable = false, minimum = 1, maximum = 100, default = 20)]
    limit: Option<u64>,
}

/// Events of the log
///
/// As the log holds them: what people wrote is sealed.
#[utoipa::path(
    get,
    path = "/v1/admin/events",
    operation_id = "events",
    tag = "administration",
    params(Events),
    responses(
        (status = 200, body = List<EventLine>, description = "The next of them."),
        Refused<{ ADMIN }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
async fn events(State(admins): State<Admins>, _: Admin, Params(asked): Params<Events>) -> Answer {
    let Events { kind, stream, from, limit } = asked;
    let limit = match usize::try_from(limit.unwrap_or(20)) {
        Ok(limit @ 1..=100) => limit,
        _ => return Err(Problem::invalid("limit", "must be from 1 to 100")),
    };
    let stream: Option<StreamId> =
        stream.map(|stream| stream.parse().map_err(|error| Problem::invalid("stream", error))).transpose()?;
    let from = from.map(|from| from.parse().map_err(|error| Problem::invalid("from", error))).transpose()?;
    let filter = Filter {
        types: kind.into_iter().collect(),
        streams: stream.map(|stream| stream.to_string()).into_iter().collect(),
        topics: Vec::new(),
    };
    let (log, codec) = admins.operations.log();
    let reader = Reader::new(log, filter, &from.unwrap_or(Start::Beginning));
    let mut reader = reader.map_err(|error| Problem::invalid("from", error))?;
    let (mut items, mut budget) = (Vec::new(), RECORDS);
    while items.len() < limit
        && let Some(logged) = reader.next(&mut budget).await?
    {
        // Sealed: what people wrote is opened at the command line only.
        items.push(line(&codec, logged, false).await?);
    }
    let has_more = items.len() == limit || budget == 0;
    Ok(answer(List { next: has_more.then(|| reader.rest()), items }))
}
