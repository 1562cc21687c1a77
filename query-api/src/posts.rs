//! Lists of posts: the home feed and an author's posts.

use std::io::Write as _;

use adapters::checkpoints::TIMELINES;
use adapters::http::auth::{Actor, Viewer};
use adapters::http::extract::{Id, Params};
use adapters::http::openapi::{CONSISTENT, ConsistencyToken, OF_ANYBODY, OF_SOMEBODY, PAGED, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use domain::{PostId, StreamId, UserId};
use http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::relation;
use crate::api::{Api, ENGAGEMENT_OF_POSTS, Reads, TIMELINES_WHOLE};
use crate::feed::{List, Walk};
use crate::hydrate::WrittenPosts;
use crate::items::{ListPage, Newer, PostItem};
use crate::lists::{BothWays, open};
use crate::stream::Present;

/// What lists of posts are made from: who follows whom, who wrote what, and the numbers.
const READS: Reads = &[TIMELINES_WHOLE, ENGAGEMENT_OF_POSTS];

/// Newer posts that are counted, at most.
const COUNTED: usize = 100;

/// Rounds that fill a page, at most. It takes one, unless posts turn out to be unreadable only when they are joined
/// with their authors, and authors do not vanish.
const ROUNDS: usize = 100;

/// A page of the home feed
///
/// The posts of all whom one follows now, and one's own, newest first; with `after`, those nearest to the cursor. It
/// goes back as far as there are posts.
#[utoipa::path(
    get,
    path = "/v1/feed",
    operation_id = "home_feed",
    tag = "feed",
    params(BothWays, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<PostItem>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_SOMEBODY | PAGED | CONSISTENT }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn home(
    State(api): State<Api>,
    actor: Actor,
    headers: HeaderMap,
    Params(params): Params<BothWays>,
) -> Result<Response, Problem> {
    let scope = format!("home:{}", actor.user);
    let from = params.walk(&api, &scope)?;
    let consistency = api.wait(&headers, READS).await?;
    // The stream's position before the rows: what comes in between, the stream tells, too.
    let present = match from {
        Walk::NEWEST | Walk::After(_) => Some(Present::of(&api.streams, actor.user).await?),
        Walk::Before(_) => None,
    };
    let page = page(&api, Some(actor.user), List::Home(actor.user), &scope, from, params.limit.get(), present).await?;
    Ok(api.json(page, consistency))
}

/// The query string of counts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// The `newest` of a page: what is newer is counted.
    after: String,
}

/// How many posts are new
///
/// For clients that ask now and then: how many posts of the home feed are newer than a page, up to 100.
#[utoipa::path(
    get,
    path = "/v1/feed/count",
    operation_id = "count_new_posts",
    tag = "feed",
    params(Since, ConsistencyToken),
    responses(
        (status = 200, body = Newer, description = "The number.", headers(("Consistency"))),
        Refused<{ OF_SOMEBODY | PAGED | CONSISTENT }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn count(
    State(api): State<Api>,
    actor: Actor,
    headers: HeaderMap,
    Params(since): Params<Since>,
) -> Result<Response, Problem> {
    let scope = format!("home:{}", actor.user);
    let after = open(&api, &scope, "after", &since.after, |bytes| PostId::from_slice(bytes).ok())?;
    let consistency = api.wait(&headers, &[TIMELINES_WHOLE]).await?;
    // A page that nobody shows: what counts is exactly what it would hold.
    let page = api.feed.page(List::Home(actor.user), Walk::After(after), COUNTED).await?;
    let newer = Newer { count: page.entries.len(), more: page.next.is_some() };
    Ok(api.uncached(axum::Json(newer).into_response(), consistency))
}

/// A page of somebody's posts
///
/// Newest first; with `after`, those nearest to the cursor. Posts for followers are among them for those who follow.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/posts",
    operation_id = "posts_of_user",
    tag = "posts",
    params(("id" = UserId, Path, description = "Whose."), BothWays, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<PostItem>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | PAGED | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn by_author(
    State(api): State<Api>,
    viewer: Viewer,
    Id(author): Id<UserId>,
    headers: HeaderMap,
    Params(params): Params<BothWays>,
) -> Result<Response, Problem> {
    let scope = format!("posts:{author}");
    let from = params.walk(&api, &scope)?;
    let consistency = api.wait(&headers, READS).await?;
    if api.ports.content.states(&[StreamId::User(author)]).await?.into_iter().flatten().next().is_none() {
        return Err(Problem::from(Code::NotFound));
    }
    let viewer = viewer.user();
    let mut followers_only = viewer == Some(author);
    if viewer.is_some() && !followers_only {
        let generation = api.ports.checkpoints.serving(TIMELINES).await?;
        let relation = relation(api.ports.views.as_ref(), generation, viewer, author).await?;
        // R3: for each other, the two are not there.
        if relation.is_blocked() {
            return Err(Problem::from(Code::NotFound));
        }
        followers_only = relation.following;
    }
    let list = List::Author { author, followers_only };
    let page = page(&api, viewer, list, &scope, from, params.limit.get(), None).await?;
    Ok(api.json(page, consistency))
}

/// A page as it is sent; with where the viewer's feed stream starts from, if that is to be `present`.
async fn page(
    api: &Api,
    viewer: Option<UserId>,
    list: List,
    scope: &str,
    from: Walk,
    limit: usize,
    present: Option<Present>,
) -> Result<Vec<u8>, Problem> {
    let mut written = WrittenPosts::default();
    let mut next = Some(from);
    let (mut mark, mut listed) = (None, Vec::new());
    for _ in 0..ROUNDS {
        let Some(walk) = next else { break };
        let missing = limit - written.len();
        let page = api.feed.page(list, walk, missing).await?;
        next = page.next;
        mark = mark.or(page.mark);
        listed.extend(page.entries.iter().map(|listed| listed.entry));
        let before = written.len();
        written.add(&api.ports, api.feed.cached(), viewer, &page.entries).await?;
        let dropped = page.entries.len() - (written.len() - before);
        // A short page has done all the work that one request does, or was the last.
        if dropped == 0 || page.entries.len() < missing {
            break;
        }
    }

    let oldest_first = matches!(from, Walk::After(_));
    let newest = if oldest_first { written.posts().next_back() } else { written.posts().next() };
    let newest = newest.or(match from {
        Walk::After(post) => Some(post),
        Walk::Before(post) => (post != PostId::MAX).then_some(post),
    });
    let mut body = written.into_page(oldest_first);
    let cursor = |post: PostId| api.cursors.seal(scope, post.as_bytes());
    // Cursors consist of letters, digits and the like: nothing in them needs escaping.
    let written = match next.map(|next| cursor(next.from())) {
        Some(next) => write!(body, r#","next":"{next}""#),
        None => write!(body, r#","next":null"#),
    };
    let written =
        written.and_then(|()| newest.map_or(Ok(()), |newest| write!(body, r#","newest":"{}""#, cursor(newest))));
    written.map_err(|error| Problem::internal(&error))?;
    // Upwards, only the last page is the feed's end: what is between it and the present would be on neither.
    let ends_at_newest = !oldest_first || next.is_none();
    if let (true, Some(viewer), Some(present), Some(mark)) = (ends_at_newest, viewer, present, mark) {
        let position = present.position(&api.streams, mark, &listed).seal(&api.cursors, viewer);
        write!(body, r#","stream_position":"{position}""#).map_err(|error| Problem::internal(&error))?;
    }
    body.push(b'}');
    Ok(body)
}
