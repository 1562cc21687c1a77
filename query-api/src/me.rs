//! `GET /v1/me`: who is asking; and whom they have blocked and muted.

use adapters::checkpoints::{PROFILES, TIMELINES};
use adapters::http::auth::Actor;
use adapters::http::conditional::unless_known;
use adapters::http::extract::Params;
use adapters::http::openapi::{CONSISTENT, ConsistencyToken, OF_SOMEBODY, PAGED, Refused, these};
use adapters::http::problem::{Code, Problem};
use adapters::views::EdgeList;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::user::User;
use domain::{StreamId, UserId};
use http::{HeaderMap, HeaderValue};

use crate::access::state;
use crate::api::{Api, PROFILES_OF_USERS, Reads, TIMELINES_OF_RELATIONS};
use crate::items::{Account, ListPage, Person, RelatedPerson};
use crate::lists::NewestFirst;

/// Who is what to whom, and names.
const READS: Reads = &[TIMELINES_OF_RELATIONS, PROFILES_OF_USERS];

/// Who is asking
///
/// Answers from the truth, which is never behind.
#[utoipa::path(
    get,
    path = "/v1/me",
    operation_id = "me",
    tag = "users",
    params(
        ConsistencyToken,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what the client has."),
    ),
    responses(
        (status = 200, body = Account, description = "Oneself.", headers(("ETag"), ("Consistency"))),
        (status = 304, description = "`If-None-Match` names the present version.", headers(("ETag"), ("Consistency"))),
        Refused<{ OF_SOMEBODY | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn me(State(api): State<Api>, actor: Actor, headers: HeaderMap) -> Result<Response, Problem> {
    let consistency = api.wait(&headers, &[]).await?;
    let found = state(api.ports.content.as_ref(), StreamId::User(actor.user)).await?;
    let (state, version) = found.ok_or(Code::NotFound)?;
    let User::Registered { username, display_name, bio } = state else { return Err(Code::NotFound.into()) };
    let etag = HeaderValue::try_from(format!("\"{version}\"")).map_err(|error| Problem::internal(&error))?;
    let account = axum::Json(Account { id: actor.user, username, display_name, bio });
    Ok(api.uncached(unless_known(&headers, &etag, account), consistency))
}

/// Whom one has blocked
///
/// The newest accounts first.
#[utoipa::path(
    get,
    path = "/v1/me/blocked",
    operation_id = "blocked",
    tag = "relations",
    params(NewestFirst, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<RelatedPerson>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_SOMEBODY | PAGED | CONSISTENT }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn blocked(
    State(api): State<Api>,
    actor: Actor,
    headers: HeaderMap,
    Params(params): Params<NewestFirst>,
) -> Result<Response, Problem> {
    list(&api, actor.user, EdgeList::Blocking, &headers, &params).await
}

/// Whom one has muted
///
/// The newest accounts first.
#[utoipa::path(
    get,
    path = "/v1/me/muted",
    operation_id = "muted",
    tag = "relations",
    params(NewestFirst, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<RelatedPerson>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_SOMEBODY | PAGED | CONSISTENT }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn muted(
    State(api): State<Api>,
    actor: Actor,
    headers: HeaderMap,
    Params(params): Params<NewestFirst>,
) -> Result<Response, Problem> {
    list(&api, actor.user, EdgeList::Muting, &headers, &params).await
}

/// One's own lists name everybody on them, whatever they do in turn: or nothing on them could be taken back.
async fn list(
    api: &Api,
    user: UserId,
    list: EdgeList,
    headers: &HeaderMap,
    params: &NewestFirst,
) -> Result<Response, Problem> {
    let scope = match list {
        EdgeList::Blocking => format!("blocked:{user}"),
        EdgeList::Muting => format!("muted:{user}"),
    };
    let before = params.before(api, &scope, |bytes| UserId::from_slice(bytes).ok())?;
    let consistency = api.wait(headers, READS).await?;
    let generation = api.ports.checkpoints.serving(TIMELINES).await?;
    let views = api.ports.views.as_ref();
    let limit = params.limit.get();
    // One more tells whether anything follows.
    let mut others = views.edge_list(generation, user, list, before, limit + 1).await?;
    let more = others.len() > limit;
    others.truncate(limit);
    let relations = views.relations(generation, user, &others).await?;
    let named = api.ports.checkpoints.serving(PROFILES).await?;
    let rows = views.profiles(named, &others).await?;
    let items = rows.into_iter().zip(relations).filter_map(|(row, relation)| {
        let person = Person::of(row?)?;
        Some(RelatedPerson { person, followed_at: None, relation: Some(relation.into()) })
    });
    let page = ListPage {
        items: items.collect(),
        next: others.last().filter(|_| more).map(|last| api.cursors.seal(&scope, last.as_bytes())),
        newest: None,
        stream_position: None,
    };
    Ok(api.uncached(axum::Json(page).into_response(), consistency))
}
