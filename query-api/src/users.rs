//! People: one, some, and who follows whom.

use std::collections::HashSet;

use adapters::checkpoints::{Generation, PROFILES, TIMELINES};
use adapters::http::auth::Viewer;
use adapters::http::extract::{Id, Params};
use adapters::http::openapi::{CONSISTENT, ConsistencyToken, OF_ANYBODY, PAGED, Refused, these};
use adapters::http::problem::{Code, Problem};
use adapters::views::{FollowList, FollowRow, ProfileRow, RelationView};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::text::Username;
use domain::{Timestamp, UserId};
use http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::relation;
use crate::api::{Api, PROFILES_OF_FOLLOWS, PROFILES_WHOLE, Reads, TIMELINES_OF_RELATIONS};
use crate::items::{ListPage, Person, Profile, Profiles, RelatedPerson};
use crate::lists::NewestFirst;

/// Names and numbers, and who is what to whom.
const READS: Reads = &[PROFILES_WHOLE, TIMELINES_OF_RELATIONS];
/// Names and follows, and who is what to whom.
const READS_OF_FOLLOWS: Reads = &[PROFILES_OF_FOLLOWS, TIMELINES_OF_RELATIONS];

/// People asked for at once, at most.
const PEOPLE: usize = 100;
/// Rows that one request looks at, about.
const EXAMINED: usize = 2_000;
/// Rows in one call, at most.
const AT_ONCE: usize = 500;

/// Somebody's profile
///
/// With the numbers of their followers, of those whom they follow and of their posts, and what they and the viewer are
/// to each other.
#[utoipa::path(
    get,
    path = "/v1/users/{id}",
    operation_id = "profile",
    tag = "users",
    params(("id" = UserId, Path, description = "Whose."), ConsistencyToken),
    responses(
        (status = 200, body = Profile, description = "The profile.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn profile(
    State(api): State<Api>,
    viewer: Viewer,
    Id(user): Id<UserId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let consistency = api.wait(&headers, READS).await?;
    let profile = profiles(&api, viewer.user(), &[user]).await?.pop().ok_or(Code::NotFound)?;
    Ok(api.uncached(axum::Json(profile).into_response(), consistency))
}

/// The query string of `GET /v1/users`: exactly one of the two, with commas between.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Named {
    /// Ids with commas between, at most 100.
    #[param(nullable = false)]
    ids: Option<String>,
    /// User names with commas between, at most 100.
    #[param(nullable = false)]
    usernames: Option<String>,
}

/// Many profiles at once
///
/// By id or by user name, in the order asked for; whoever is not there is left out.
#[utoipa::path(
    get,
    path = "/v1/users",
    operation_id = "profiles",
    tag = "users",
    params(Named, ConsistencyToken),
    responses(
        (status = 200, body = Profiles, description = "Those who are there.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | CONSISTENT }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn some(
    State(api): State<Api>,
    viewer: Viewer,
    headers: HeaderMap,
    Params(Named { ids, usernames }): Params<Named>,
) -> Result<Response, Problem> {
    enum Asked {
        Ids(Vec<UserId>),
        Usernames(Vec<Username>),
    }
    let asked = match (&ids, &usernames) {
        (Some(ids), None) => Asked::Ids(several("ids", ids, |text| text.parse().map_err(|_| "is not a user's id"))?),
        (None, Some(names)) => Asked::Usernames(several("usernames", names, Username::parse)?),
        (None, None) => return Err(Problem::invalid("ids", "must be given, or `usernames`")),
        (Some(_), Some(_)) => return Err(Problem::invalid("usernames", "is not given together with `ids`")),
    };
    let consistency = api.wait(&headers, READS).await?;
    let mut users = match asked {
        Asked::Ids(ids) => ids,
        Asked::Usernames(names) => {
            let generation = api.ports.checkpoints.serving(PROFILES).await?;
            api.ports.views.users_named(generation, &names).await?.into_iter().flatten().collect()
        }
    };
    let mut seen = HashSet::new();
    users.retain(|user| seen.insert(*user));
    let items = profiles(&api, viewer.user(), &users).await?;
    Ok(api.uncached(axum::Json(Profiles { items }).into_response(), consistency))
}

/// The values of a list in the query string.
fn several<T, E: std::fmt::Display>(
    field: &str,
    list: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, Problem> {
    if list.split(',').count() > PEOPLE {
        return Err(Problem::invalid(field, format!("must name at most {PEOPLE}")));
    }
    let parse = |(place, text): (usize, &str)| {
        parse(text).map_err(|wrong| Problem::invalid(field, format!("number {}: {wrong}", place + 1)))
    };
    list.split(',').enumerate().map(parse).collect()
}

/// Those of `users` who are there for the viewer, in order. Whom the viewer has blocked is shown, so that the block can
/// be lifted; who has blocked the viewer is not (R3).
async fn profiles(api: &Api, viewer: Option<UserId>, users: &[UserId]) -> Result<Vec<Profile>, Problem> {
    let generation = api.ports.checkpoints.serving(PROFILES).await?;
    let rows = api.ports.views.profiles(generation, users).await?;
    let relations = relations(api, viewer, users).await?;
    let shown = users.iter().zip(rows).zip(relations).filter_map(|((user, row), relation)| {
        let relation = relation.filter(|_| viewer != Some(*user));
        match relation {
            Some(relation) if relation.blocked_by => None,
            _ => Profile::new(row?, relation.map(Into::into)),
        }
    });
    Ok(shown.collect())
}

/// What the viewer and each of `users` are to each other; nothing without a viewer.
async fn relations(api: &Api, viewer: Option<UserId>, users: &[UserId]) -> Result<Vec<Option<RelationView>>, Problem> {
    let Some(viewer) = viewer.filter(|_| !users.is_empty()) else { return Ok(vec![None; users.len()]) };
    let generation = api.ports.checkpoints.serving(TIMELINES).await?;
    let relations = api.ports.views.relations(generation, viewer, users).await?;
    Ok(relations.into_iter().map(Some).collect())
}

/// Who follows somebody
///
/// The newest follow first, each with what they and the viewer are to each other.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/followers",
    operation_id = "followers",
    tag = "relations",
    params(("id" = UserId, Path, description = "Whose."), NewestFirst, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<RelatedPerson>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | PAGED | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn followers(
    State(api): State<Api>,
    viewer: Viewer,
    Id(user): Id<UserId>,
    headers: HeaderMap,
    Params(params): Params<NewestFirst>,
) -> Result<Response, Problem> {
    follows(&api, viewer.user(), FollowList::FollowersOf(user), &headers, &params).await
}

/// Whom somebody follows
///
/// The newest follow first, each with what they and the viewer are to each other.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/following",
    operation_id = "following",
    tag = "relations",
    params(("id" = UserId, Path, description = "Whose."), NewestFirst, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<RelatedPerson>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | PAGED | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn following(
    State(api): State<Api>,
    viewer: Viewer,
    Id(user): Id<UserId>,
    headers: HeaderMap,
    Params(params): Params<NewestFirst>,
) -> Result<Response, Problem> {
    follows(&api, viewer.user(), FollowList::FollowedBy(user), &headers, &params).await
}

/// A place in a list of follows.
type Place = (Timestamp, UserId);

async fn follows(
    api: &Api,
    viewer: Option<UserId>,
    list: FollowList,
    headers: &HeaderMap,
    params: &NewestFirst,
) -> Result<Response, Problem> {
    let (scope, user) = match list {
        FollowList::FollowersOf(user) => (format!("followers:{user}"), user),
        FollowList::FollowedBy(user) => (format!("following:{user}"), user),
    };
    let before = params.before(api, &scope, place)?;
    let consistency = api.wait(headers, READS_OF_FOLLOWS).await?;
    let generation = api.ports.checkpoints.serving(PROFILES).await?;
    let is_known = |row: &ProfileRow| row.names.is_some();
    let row = api.ports.views.profiles(generation, &[user]).await?.into_iter().next().flatten();
    row.filter(is_known).ok_or(Code::NotFound)?;
    if viewer.is_some() && viewer != Some(user) {
        let generation = api.ports.checkpoints.serving(TIMELINES).await?;
        // R3: for each other, the two are not there.
        if relation(api.ports.views.as_ref(), generation, viewer, user).await?.is_blocked() {
            return Err(Code::NotFound.into());
        }
    }
    let (items, next) = fill(api, generation, viewer, list, before, params.limit.get()).await?;
    let sealed = |(since, other): Place| {
        let mut bytes = since.as_millis().to_be_bytes().to_vec();
        bytes.extend_from_slice(other.as_bytes());
        api.cursors.seal(&scope, &bytes)
    };
    let page = ListPage { items, next: next.map(sealed), newest: None, stream_position: None };
    Ok(api.uncached(axum::Json(page).into_response(), consistency))
}

fn place(bytes: &[u8]) -> Option<Place> {
    let (since, other) = bytes.split_first_chunk()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*since)), UserId::from_slice(other).ok()?))
}

/// A page of people, and the place to go on below; `None` only at the end. Those whom a block keeps apart from the
/// viewer drop out (R3), as do those who show nothing (R1), and are made up for from further on.
async fn fill(
    api: &Api,
    generation: Generation,
    viewer: Option<UserId>,
    list: FollowList,
    mut before: Option<Place>,
    limit: usize,
) -> Result<(Vec<RelatedPerson>, Option<Place>), Problem> {
    let views = api.ports.views.as_ref();
    let mut page = Vec::with_capacity(limit);
    let mut examined = 0;
    // A few more than the page takes: they spare a second round, and tell whether anything follows.
    let mut at_once = (limit + limit / 4 + 2).min(AT_ONCE);
    loop {
        let found: Vec<FollowRow> = views.newest_follows(generation, list, before, at_once).await?;
        let count = found.len();
        examined += count;
        let others: Vec<UserId> = found.iter().map(|follow| list.other(follow)).collect();
        let rows = views.profiles(generation, &others).await?;
        let relations = relations(api, viewer, &others).await?;
        let mut used = 0;
        for ((follow, row), relation) in found.iter().zip(rows).zip(relations) {
            if page.len() == limit {
                break;
            }
            used += 1;
            let other = list.other(follow);
            before = Some((follow.since, other));
            let relation = relation.filter(|_| viewer != Some(other));
            if relation.is_none_or(|relation| !relation.is_blocked())
                && let Some(person) = row.and_then(Person::of)
            {
                let followed_at = Some(follow.since);
                page.push(RelatedPerson { person, followed_at, relation: relation.map(Into::into) });
            }
        }
        if used == count && count < at_once {
            return Ok((page, None));
        }
        if page.len() == limit || examined >= EXAMINED {
            return Ok((page, before));
        }
        at_once = (at_once * 2).min(AT_ONCE);
    }
}
