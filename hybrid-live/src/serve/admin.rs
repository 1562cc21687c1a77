//! `/v1/admin`: what operators do, over HTTP. Every request looks in the truth whether who asks is an admin, so that a
//! revocation works at once.

use std::sync::Arc;
use std::time::Duration;

use adapters::http::auth::{AccessTokens, Actor};
use adapters::http::extract::{Body, Params};
use adapters::http::problem::{Code, Problem};
use axum::extract::{FromRef, FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use command_api::auth::roles::{Role, Roles};
use domain::StreamId;
use serde::{Deserialize, Serialize};

use crate::operations::events::{Filter, Reader, Start, line};
use crate::operations::{Dropping, List, Operations, Refusal};

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
    Router::new()
        .route("/v1/admin/projections", get(projections))
        .route("/v1/admin/projections/{name}", get(projection))
        .route("/v1/admin/projections/{name}/pause", put(pause).delete(resume))
        .route("/v1/admin/dead-letters", get(dead_letters))
        .route("/v1/admin/dead-letters/{projection}/{lane}", get(dead_letter))
        .route("/v1/admin/dead-letters/{projection}/{lane}/retry", post(retry))
        .route("/v1/admin/dead-letters/{projection}/{lane}/drop", post(drop_events))
        .route("/v1/admin/events", get(events))
        .with_state(admins)
}

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

async fn projections(State(admins): State<Admins>, _: Admin, _: Params<Nothing>) -> Answer {
    Ok(answer(admins.operations.projections(true).await?))
}

async fn projection(State(admins): State<Admins>, _: Admin, Names([name]): Names<1>, _: Params<Nothing>) -> Answer {
    Ok(answer(admins.operations.projection(&name, true).await?))
}

async fn pause(State(admins): State<Admins>, _: Admin, Names([name]): Names<1>, _: Params<Nothing>) -> Answer {
    admins.operations.set_paused(&name, true).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn resume(State(admins): State<Admins>, _: Admin, Names([name]): Names<1>, _: Params<Nothing>) -> Answer {
    admins.operations.set_paused(&name, false).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn dead_letters(State(admins): State<Admins>, _: Admin, _: Params<Nothing>) -> Answer {
    Ok(answer(admins.operations.dead_letters().await?))
}

async fn dead_letter(
    State(admins): State<Admins>,
    _: Admin,
    Names([projection, lane]): Names<2>,
    _: Params<Nothing>,
) -> Answer {
    Ok(answer(admins.operations.dead_letter(&projection, &lane).await?))
}

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
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drop {
    /// Leave out everything that waits, and not only the event that cannot be applied.
    #[serde(default)]
    all: bool,
}

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
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    /// Only this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only this stream.
    stream: Option<String>,
    /// A position, a time, or a page's `next`.
    from: Option<String>,
    /// At most so many: 1 to 100.
    limit: Option<u64>,
}

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
