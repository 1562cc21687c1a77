//! One comment.

use adapters::checkpoints::TIMELINES;
use adapters::http::auth::Viewer;
use adapters::http::extract::Id;
use adapters::http::openapi::{CONSISTENT, ConsistencyToken, OF_ANYBODY, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::comment::Comment;
use domain::{CommentId, StreamId, UserId};
use http::{HeaderMap, header};

use crate::access::{relation, state};
use crate::api::{Api, Reads, TIMELINES_OF_RELATIONS};
use crate::hydrate::People;
use crate::items::CommentItem;
use crate::post::visible;

/// Who is what to whom. The comment itself is the truth's.
const READS: Reads = &[TIMELINES_OF_RELATIONS];

/// A comment
///
/// The `ETag` is the version of the text: the author's name may change without it, so it says what an edit must match
/// and not what a reader may keep.
#[utoipa::path(
    get,
    path = "/v1/comments/{id}",
    operation_id = "comment",
    tag = "comments",
    params(("id" = CommentId, Path, description = "The comment."), ConsistencyToken),
    responses(
        (status = 200, body = CommentItem, description = "The comment.", headers(("ETag"), ("Consistency"))),
        Refused<{ OF_ANYBODY | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn whole(
    State(api): State<Api>,
    viewer: Viewer,
    Id(comment): Id<CommentId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let consistency = api.wait(&headers, READS).await?;
    let (state, version) = visible_comment(&api, viewer.user(), comment).await?;
    let Comment::Added { post, author, parent, text, edited_at } = state else { return Err(Code::NotFound.into()) };
    let people = People::read(api.ports.content.as_ref(), [author]).await?;
    let item = CommentItem {
        id: comment,
        post_id: post,
        author: people.person(author).ok_or(Code::NotFound)?,
        parent_id: parent,
        text,
        created_at: comment.timestamp(),
        edited_at,
        version,
    };
    let etag = [(header::ETAG, format!("\"{version}\""))];
    Ok(api.uncached((etag, axum::Json(item)).into_response(), consistency))
}

/// A comment that is there for the viewer, with its version: on a post that they may see, by somebody whom no block
/// keeps apart from them (R3).
pub(crate) async fn visible_comment(
    api: &Api,
    viewer: Option<UserId>,
    comment: CommentId,
) -> Result<(Comment, u64), Problem> {
    let found = state(api.ports.content.as_ref(), StreamId::Comment(comment)).await?;
    let (state, version) = found.ok_or(Code::NotFound)?;
    let Comment::Added { post, author, .. } = &state else { return Err(Code::NotFound.into()) };
    visible(api, viewer, *post).await?;
    if viewer.is_some() && viewer != Some(*author) {
        let generation = api.ports.checkpoints.serving(TIMELINES).await?;
        if relation(api.ports.views.as_ref(), generation, viewer, *author).await?.is_blocked() {
            return Err(Code::NotFound.into());
        }
    }
    Ok((state, version))
}
