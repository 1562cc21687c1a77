//! `POST /v1/posts`, `PUT` and `DELETE` of `/v1/posts/{id}`

use adapters::http::auth::Actor;
use adapters::http::clock::entropy_in_order;
use adapters::http::extract::{Body, BodyWithBytes, Id};
use adapters::http::openapi::{BODY, COMMAND, EDIT, REPEATABLE, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::Response;
use domain::PostId;
use domain::post::{Text, Visibility};
use domain::text::{Markdown, Title};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::answers::{answered, done};
use super::headers::{IfMatch, Repeatable};
use crate::commands::{EditedPost, PostEdit, Publication, PublishedPost};
use crate::write_path::Origin;

/// A new post.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPost)]
pub(super) struct New {
    title: Option<Title>,
    markdown: Markdown,
    #[serde(default)]
    visibility: Visibility,
}

/// A post's new title and text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PostEdit)]
pub(super) struct Edited {
    /// Without one, the post has none any more.
    title: Option<Title>,
    markdown: Markdown,
}

/// Publish a post
#[utoipa::path(
    post,
    path = "/v1/posts",
    operation_id = "publish_post",
    tag = "posts",
    params(Repeatable),
    request_body = New,
    responses(
        (
            status = 201,
            body = PublishedPost,
            description = "The post's id and version.",
            headers(("Location"), ("ETag"), ("Consistency-Token")),
        ),
        Refused<{ COMMAND | BODY | REPEATABLE }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn publish(
    State(api): State<Api>,
    actor: Actor,
    repeatable: Repeatable,
    BodyWithBytes(New { title, markdown, visibility }, body): BodyWithBytes<New>,
) -> Result<Response, Problem> {
    let once = repeatable.once(&api.secrets, actor.user.to_string(), &body);
    let origin = Origin::now(actor.user);
    let post = PostId::from_parts(origin.at, entropy_in_order(origin.at));
    let publication = Publication { post, visibility, text: Text { title, markdown }, imported: false };
    answered(api.commands.publish(&origin, publication, once.as_ref()).await?)
}

/// Replace a post's title and text
///
/// Only its author may. Who may read it stays as it was.
#[utoipa::path(
    put,
    path = "/v1/posts/{id}",
    operation_id = "edit_post",
    tag = "posts",
    params(("id" = PostId, Path, description = "The post."), IfMatch),
    request_body = Edited,
    responses(
        (
            status = 200,
            body = EditedPost,
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
    Id(post): Id<PostId>,
    IfMatch(seen): IfMatch,
    Body(Edited { title, markdown }): Body<Edited>,
) -> Result<Response, Problem> {
    let edit = PostEdit { post, seen, text: Text { title, markdown } };
    answered(api.commands.edit_post(&Origin::now(actor.user), edit).await?)
}

/// Delete a post
///
/// Only its author may.
#[utoipa::path(
    delete,
    path = "/v1/posts/{id}",
    operation_id = "delete_post",
    tag = "posts",
    params(("id" = PostId, Path, description = "The post.")),
    responses(
        (status = 204, description = "It is gone.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound, Code::NotYours]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn delete(State(api): State<Api>, actor: Actor, Id(post): Id<PostId>) -> Result<Response, Problem> {
    done(&api.commands.delete_post(&Origin::now(actor.user), post).await?)
}
