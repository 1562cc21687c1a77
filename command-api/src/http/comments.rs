//! `POST /v1/posts/{id}/comments`, `PUT` and `DELETE` of `/v1/comments/{id}`

use adapters::http::auth::Actor;
use adapters::http::clock::entropy_in_order;
use adapters::http::extract::{Body, BodyWithBytes, Id};
use adapters::http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use domain::text::CommentText;
use domain::{CommentId, PostId};
use serde::Deserialize;

use super::Api;
use super::answers::{answered, done};
use super::headers::{IfMatch, Repeatable};
use crate::commands::{CommentEdit, NewComment};
use crate::write_path::Origin;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    text: CommentText,
    parent_id: Option<CommentId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    text: CommentText,
}

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

pub(super) async fn delete(
    State(api): State<Api>,
    actor: Actor,
    Id(comment): Id<CommentId>,
) -> Result<Response, Problem> {
    done(&api.commands.delete_comment(&Origin::now(actor.user), comment).await?)
}
