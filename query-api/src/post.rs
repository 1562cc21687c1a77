//! One post: itself, its comments, who likes it, and its stream.

use adapters::StoreError;
use adapters::checkpoints::{ENGAGEMENT, TIMELINES};
use adapters::content::Preview;
use adapters::http::auth::Viewer;
use adapters::http::extract::{Id, Params};
use adapters::http::openapi::{CONSISTENT, ConsistencyToken, OF_ANYBODY, PAGED, Refused, these};
use adapters::http::problem::{Code, Problem};
use adapters::views::{CommentRow, ReactionRow};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{CommentId, PostId, UserId};
use http::{HeaderMap, HeaderName, header};

use crate::access::{VisiblePost, find_post};
use crate::api::{Api, ENGAGEMENT_OF_POSTS, Reads, TIMELINES_OF_RELATIONS};
use crate::cached::NewestComments;
use crate::hydrate::{Liked, People};
use crate::items::{CommentItem, LikeItem, ListPage, PostItem, WholePost};
use crate::lists::NewestFirst;
use crate::place::Place;
use crate::readers::fill;

/// A post's numbers and comments, and who is what to whom.
const READS: Reads = &[ENGAGEMENT_OF_POSTS, TIMELINES_OF_RELATIONS];

/// How often a post that is being edited is read again until its parts are of one version.
const ATTEMPTS: usize = 3;

/// Where the post's stream starts from, for those who do not read the body.
const STREAM_POSITION: HeaderName = HeaderName::from_static("stream-position");

/// A whole post
///
/// With its text as Markdown and as safe HTML, and the position to start its stream from.
#[utoipa::path(
    get,
    path = "/v1/posts/{id}",
    operation_id = "post",
    tag = "posts",
    params(("id" = PostId, Path, description = "The post."), ConsistencyToken),
    responses(
        (
            status = 200,
            body = WholePost,
            description = "The post. Its `ETag` is the version of its text; numbers change without it.",
            headers(("ETag"), ("Stream-Position"), ("Consistency")),
        ),
        Refused<{ OF_ANYBODY | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn whole(
    State(api): State<Api>,
    viewer: Viewer,
    Id(post): Id<PostId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let consistency = api.wait(&headers, READS).await?;
    let viewer = viewer.user();
    let generation = api.ports.checkpoints.serving(ENGAGEMENT).await?;
    // The position before what is shown: what changes in between, the stream tells again.
    let position = api.ports.views.post_row(generation, post).await?.listed;
    let position = Place::of(post, api.ports.event_log.as_ref()).at(position).to_string();
    for _ in 0..ATTEMPTS {
        let found = visible(&api, viewer, post).await?;
        // For `If-Match`, not for `If-None-Match`: it is the text's version, and the numbers change without it.
        let etag = format!("\"{}\"", found.version);
        let Some(rendered) = api.ports.content.rendered(post).await? else { break };
        let Some(preview) = rendered.preview else { continue };
        let preview: Preview = serde_json::from_str(&preview)
            .map_err(|error| StoreError::Damaged(format!("preview of post {post}: {error}")))?;
        // Read beside the state: an edit may have come between the two.
        if preview.version != found.version {
            continue;
        }
        let people = People::read(api.ports.content.as_ref(), [found.author]).await?;
        let author = people.person(found.author).ok_or(Code::NotFound)?;
        let counts = api.feed.cached().counts(generation, &[post]).await?.first().copied().unwrap_or_default();
        let liked = Liked::read(&api.ports, viewer, std::iter::once((post, counts))).await?;
        let whole = WholePost {
            item: PostItem::new(preview, author, counts, liked.has(post)),
            markdown: found.text.markdown.into(),
            html: rendered.html,
            stream_position: position.clone(),
        };
        let answer = ([(header::ETAG, etag), (STREAM_POSITION, position)], axum::Json(whole));
        return Ok(api.uncached(answer.into_response(), consistency));
    }
    Err(StoreError::Unavailable(format!("post {post} is being written")).into())
}

/// A page of a post's comments
///
/// Newest first, without those of people whom a block keeps apart from the viewer.
#[utoipa::path(
    get,
    path = "/v1/posts/{id}/comments",
    operation_id = "comments_of_post",
    tag = "comments",
    params(("id" = PostId, Path, description = "The post."), NewestFirst, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<CommentItem>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | PAGED | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn comments(
    State(api): State<Api>,
    viewer: Viewer,
    Id(post): Id<PostId>,
    headers: HeaderMap,
    Params(params): Params<NewestFirst>,
) -> Result<Response, Problem> {
    let scope = format!("comments:{post}");
    let before = params.before(&api, &scope, |bytes| CommentId::from_slice(bytes).ok())?;
    let consistency = api.wait(&headers, READS).await?;
    let viewer = viewer.user();
    visible(&api, viewer, post).await?;
    let generation = api.ports.checkpoints.serving(ENGAGEMENT).await?;
    let newest = match before {
        None => Some(api.feed.cached().comments(generation, post).await?),
        Some(_) => None,
    };
    // The position before the rows: a comment that comes in between, the stream tells again.
    let position = match &newest {
        Some(newest) => newest.position,
        None => api.ports.views.post_row(generation, post).await?.listed,
    };
    let first = newest.map(|NewestComments { rows, are_all, .. }| (rows, are_all));
    let (rows, next) = fill::<CommentRow>(&api, viewer, post, before, first, params.limit.get()).await?;
    let page = ListPage {
        items: rows.iter().filter_map(|(row, author)| CommentItem::new(row, author.clone())).collect(),
        next: next.map(|comment| api.cursors.seal(&scope, comment.as_bytes())),
        newest: None,
        stream_position: Some(Place::of(post, api.ports.event_log.as_ref()).at(position).to_string()),
    };
    Ok(api.uncached(axum::Json(page).into_response(), consistency))
}

/// A page of those who like a post
///
/// Newest first, without people whom a block keeps apart from the viewer.
#[utoipa::path(
    get,
    path = "/v1/posts/{id}/likes",
    operation_id = "likes_of_post",
    tag = "reactions",
    params(("id" = PostId, Path, description = "The post."), NewestFirst, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<LikeItem>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | PAGED | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn likes(
    State(api): State<Api>,
    viewer: Viewer,
    Id(post): Id<PostId>,
    headers: HeaderMap,
    Params(params): Params<NewestFirst>,
) -> Result<Response, Problem> {
    let scope = format!("likes:{post}");
    let before = params.before(&api, &scope, |bytes| bytes.try_into().ok().map(i64::from_be_bytes))?;
    let consistency = api.wait(&headers, READS).await?;
    let viewer = viewer.user();
    visible(&api, viewer, post).await?;
    let (rows, next) = fill::<ReactionRow>(&api, viewer, post, before, None, params.limit.get()).await?;
    let page = ListPage {
        items: rows.into_iter().map(|(_, user)| LikeItem { user }).collect(),
        next: next.map(|position| api.cursors.seal(&scope, &position.to_be_bytes())),
        newest: None,
        stream_position: None,
    };
    Ok(api.uncached(axum::Json(page).into_response(), consistency))
}

/// The post, if it is there for the viewer.
pub(crate) async fn visible(api: &Api, viewer: Option<UserId>, post: PostId) -> Result<VisiblePost, Problem> {
    let generation = api.ports.checkpoints.serving(TIMELINES).await?;
    let (content, views) = (api.ports.content.as_ref(), api.ports.views.as_ref());
    Ok(find_post(content, views, generation, viewer, post).await?.post().ok_or(Code::NotFound)?)
}
