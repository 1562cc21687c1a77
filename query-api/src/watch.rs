//! `GET /v1/posts/{id}/stream` and `GET /v1/feed/stream`: who may open a stream, and from where. What it then tells is
//! [`crate::stream`]'s.

use std::convert::Infallible;
use std::time::Duration;

use adapters::http::auth::{Actor, Viewer};
use adapters::http::clock::now;
use adapters::http::extract::{Id, Params};
use adapters::http::openapi::{OF_ANYBODY, OF_SOMEBODY, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::PostId;
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use crate::api::Api;
use crate::stream::Watcher;

/// How long those wait who come when there are too many streams.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What browsers send when they come back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The query string: what pages give that have loaded a post or a feed and know its `stream_position`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct From {
    /// The same as the header, which wins: for those who have loaded what they watch and know its `stream_position`.
    #[param(nullable = false)]
    last_event_id: Option<String>,
}

/// Watch a post
///
/// Events as they happen (`text/event-stream`): `NEW_COMMENT`, `COMMENT_EDITED`, `COMMENT_DELETED`, `POST_EDITED`,
/// `POST_DELETED`, `LIKES`, and `reset` where the client must load afresh. From the last event's id on, the stream tells
/// everything later once, or resets. It ends when the access token expires.
#[utoipa::path(
    get,
    path = "/v1/posts/{id}/stream",
    operation_id = "watch_post",
    tag = "live",
    params(
        ("id" = PostId, Path, description = "The post."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has seen."),
        From,
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The stream."),
        Refused<{ OF_ANYBODY | these(&[Code::InvalidField, Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn post(
    State(api): State<Api>,
    viewer: Viewer,
    Id(post): Id<PostId>,
    headers: HeaderMap,
    Params(from): Params<From>,
) -> Result<Response, Problem> {
    let permit = enter(&api)?;
    let last_event_id = last_event_id(&headers, from);
    let watcher = Watcher { user: viewer.user(), remaining: remaining(&viewer) };
    let stream = api.streams.open(permit, watcher, post, last_event_id.as_deref()).await?;
    Ok(answer(stream.ok_or(Code::NotFound)?))
}

/// Watch one's own feed
///
/// `NEW_POST` for every post that comes into the home feed, as the feed's page shows it, and `reset` where the client
/// must load afresh. From the last event's id on, the stream tells every later post once, in any order, or resets. It
/// ends when the access token expires.
#[utoipa::path(
    get,
    path = "/v1/feed/stream",
    operation_id = "watch_feed",
    tag = "live",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has seen."),
        From,
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The stream."),
        Refused<{ OF_SOMEBODY | these(&[Code::InvalidField]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn feed(
    State(api): State<Api>,
    actor: Actor,
    viewer: Viewer,
    headers: HeaderMap,
    Params(from): Params<From>,
) -> Result<Response, Problem> {
    let permit = enter(&api)?;
    let last_event_id = last_event_id(&headers, from);
    let stream = api.streams.open_feed(permit, actor.user, remaining(&viewer), last_event_id.as_deref()).await?;
    Ok(answer(stream))
}

fn enter(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    api.streams.enter().ok_or_else(|| Problem::from(Code::Overloaded).retry_after(RETRY_AFTER))
}

/// The header is the newer: browsers come back to the same address and add it. Whatever its bytes, it is a position or
/// it is not.
fn last_event_id(headers: &HeaderMap, from: From) -> Option<String> {
    let header = headers.get(LAST_EVENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    header.or(from.last_event_id)
}

/// How much longer the access token is good.
fn remaining(viewer: &Viewer) -> Option<Duration> {
    viewer.expires().map(|expires| {
        let millis = expires.as_millis().saturating_sub(now().as_millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    })
}

fn answer(stream: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies that gather answers before they pass them on would hold back every event.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(stream.map(Ok::<_, Infallible>))).into_response()
}
