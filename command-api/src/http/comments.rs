//! `POST /v1/posts/{id}/comments`, `PUT` and `DELETE` of `/v1/comments/{id}`

use adapters::http::auth::Actor;
use adapters::http::clock::entropy_in_order;
use adapters::http::extract::{Body, BodyWithBytes, Id};
use adapters::http::openapi::{BODY, COMMAND, EDIT, REPEATABLE, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::Response;
use domain::text::CommentText;
use domain::{CommentId, PostId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::answers::{answered, done};
use super::headers::{IfMatch, Repeatable};
use crate::commands::{AddedComment, CommentEdit, EditedComment, NewComment};
use crate::write_path::Origin;

/// A new comment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewComment)]
pub(super) struct New {
    text: CommentText,
    /// The comment that it answers, if not the post itself.
    parent_id: Option<CommentId>,
}

/// A comment's new text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CommentEdit)]
pub(super) struct Edited {
    text: CommentText,
}

/// Comment on a post
#[utoipa::path(
    post,
    path = "/v1/posts/{id}/comments",
    operation_id = "add_comment",
    tag = "comments",
    params(("id" = PostId, Path, description = "The post."), Repeatable),
    request_body = New,
    responses(
        (
            status = 201,
            body = AddedComment,
            description = "The comment's id and version.",
            headers(("Location"), ("ETag"), ("Consistency-Token")),
        ),
        Refused<{ COMMAND | BODY | REPEATABLE | these(&[Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn add(
    State(api): State<Api>,
    actor: Actor,
    Id(post): Id<PostId>,
    repeatable: Repeatable,
    BodyWithBytes(New { text, parent_id: parent }, body): BodyWithBytes<New>,
) -> Result<Response, Problem> {
    let once = repeatable.once(&api.secrets, actor.user.to_string(), &body);
    let origin = Origin::now(actor.user);
    let comment = CommentId::from_parts(origin.at, entropy_in_order(origin.at));
    let new = NewComment { comment, post, parent, text };
    answered(api.commands.comment(&origin, new, once.as_ref()).await?)
}

/// Replace a comment's text
///
/// Only its author may.
#[utoipa::path(
    put,
    path = "/v1/comments/{id}",
    operation_id = "edit_comment",
    tag = "comments",
    params(("id" = CommentId, Path, description = "The comment."), IfMatch),
    request_body = Edited,
    responses(
        (
            status = 200,
            body = EditedComment,
            description = "The present version.",
            headers(("ETag"), ("Consistency-Token")),
        ),
        Refused<{ COMMAND | BODY | EDIT }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn edit(
    State(api): State<Api>,
    actor: Actor,
    Id(comment): Id<CommentId>,
    IfMatch(seen): IfMatch,
    Body(Edited { text }): Body<Edited>,
) -> Result<Response, Problem> {
    let edit = CommentEdit { comment, seen, text };
    answered(api.commands.edit_comment(&Origin::now(actor.user), edit).await?)
}

/// Delete a comment
///
/// Its author may, and the author of the post that it is on.
#[utoipa::path(
    delete,
    path = "/v1/comments/{id}",
    operation_id = "delete_comment",
    tag = "comments",
    params(("id" = CommentId, Path, description = "The comment.")),
    responses(
        (status = 204, description = "It is gone.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound, Code::NotYours]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    actor: Actor,
    Id(comment): Id<CommentId>,
) -> Result<Response, Problem> {
    done(&api.commands.delete_comment(&Origin::now(actor.user), comment).await?)
}
