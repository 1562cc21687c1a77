//! All that a post or a comment ever said, for whoever may see what it says now.

use adapters::checkpoints::ENGAGEMENT;
use adapters::http::auth::Viewer;
use adapters::http::extract::{Id, Params};
use adapters::http::openapi::{CONSISTENT, ConsistencyToken, OF_ANYBODY, PAGED, Refused, these};
use adapters::http::problem::{Code, Problem};
use adapters::views::VersionRow;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{CommentId, PostId, StreamId};
use http::HeaderMap;
use serde::Serialize;

use crate::api::{Api, ENGAGEMENT_OF_POSTS, Reads, TIMELINES_OF_RELATIONS};
use crate::comment::visible_comment;
use crate::items::{CommentVersion, ListPage, PostVersion};
use crate::lists::NewestFirst;
use crate::post::visible;

/// The versions, and who is what to whom.
const READS: Reads = &[ENGAGEMENT_OF_POSTS, TIMELINES_OF_RELATIONS];

/// What a post said
///
/// Every version of its text, the newest first, for whoever may see what it says now.
#[utoipa::path(
    get,
    path = "/v1/posts/{id}/history",
    operation_id = "post_history",
    tag = "posts",
    params(("id" = PostId, Path, description = "The post."), NewestFirst, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<PostVersion>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | PAGED | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn of_post(
    State(api): State<Api>,
    viewer: Viewer,
    Id(post): Id<PostId>,
    headers: HeaderMap,
    Params(params): Params<NewestFirst>,
) -> Result<Response, Problem> {
    let history = History::of(&api, StreamId::Post(post), &params)?;
    let consistency = api.wait(&headers, READS).await?;
    visible(&api, viewer.user(), post).await?;
    let item =
        |row: VersionRow| PostVersion { version: row.sequence, at: row.at, title: row.title, markdown: row.text };
    let page = history.page(&api, item).await?;
    Ok(api.uncached(axum::Json(page).into_response(), consistency))
}

/// What a comment said
///
/// Every version of its text, the newest first, for whoever may see what it says now.
#[utoipa::path(
    get,
    path = "/v1/comments/{id}/history",
    operation_id = "comment_history",
    tag = "comments",
    params(("id" = CommentId, Path, description = "The comment."), NewestFirst, ConsistencyToken),
    responses(
        (status = 200, body = ListPage<CommentVersion>, description = "A page.", headers(("Consistency"))),
        Refused<{ OF_ANYBODY | PAGED | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn of_comment(
    State(api): State<Api>,
    viewer: Viewer,
    Id(comment): Id<CommentId>,
    headers: HeaderMap,
    Params(params): Params<NewestFirst>,
) -> Result<Response, Problem> {
    let history = History::of(&api, StreamId::Comment(comment), &params)?;
    let consistency = api.wait(&headers, READS).await?;
    visible_comment(&api, viewer.user(), comment).await?;
    let item = |row: VersionRow| CommentVersion { version: row.sequence, at: row.at, text: row.text };
    let page = history.page(&api, item).await?;
    Ok(api.uncached(axum::Json(page).into_response(), consistency))
}

/// Which page of which history.
struct History {
    stream: StreamId,
    scope: String,
    before: Option<u64>,
    limit: usize,
}

impl History {
    fn of(api: &Api, stream: StreamId, params: &NewestFirst) -> Result<Self, Problem> {
        let scope = format!("history:{stream}");
        let before = params.before(api, &scope, |bytes| bytes.try_into().ok().map(u64::from_be_bytes))?;
        Ok(Self { stream, scope, before, limit: params.limit.get() })
    }

    async fn page<T: Serialize>(self, api: &Api, item: impl Fn(VersionRow) -> T) -> Result<ListPage<T>, Problem> {
        let generation = api.ports.checkpoints.serving(ENGAGEMENT).await?;
        // One more tells whether anything follows.
        let mut rows = api.ports.views.versions(generation, self.stream, self.before, self.limit + 1).await?;
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let last = rows.last().filter(|_| more).map(|row| row.sequence);
        Ok(ListPage {
            items: rows.into_iter().map(item).collect(),
            next: last.map(|last| api.cursors.seal(&self.scope, &last.to_be_bytes())),
            newest: None,
            stream_position: None,
        })
    }
}
