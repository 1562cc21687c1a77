//! `POST /v1/posts`, `PUT` and `DELETE` of `/v1/posts/{id}`

use adapters::http::auth::Actor;
use adapters::http::clock::entropy_in_order;
use adapters::http::extract::{Body, BodyWithBytes, Id};
use adapters::http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use domain::PostId;
use domain::post::{Text, Visibility};
use domain::text::{Markdown, Title};
use serde::Deserialize;

use super::Api;
use super::answers::{answered, done};
use super::headers::{IfMatch, Repeatable};
use crate::commands::{PostEdit, Publication};
use crate::write_path::Origin;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    title: Option<Title>,
    markdown: Markdown,
    #[serde(default)]
    visibility: Visibility,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    title: Option<Title>,
    markdown: Markdown,
}

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

pub(super) async fn delete(State(api): State<Api>, actor: Actor, Id(post): Id<PostId>) -> Result<Response, Problem> {
    done(&api.commands.delete_post(&Origin::now(actor.user), post).await?)
}
