//! `PUT` and `DELETE` of `/v1/posts/{id}/like`

use adapters::http::auth::Actor;
use adapters::http::extract::Id;
use adapters::http::openapi::{COMMAND, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::Response;
use domain::PostId;

use super::Api;
use super::answers::done;
use crate::write_path::Origin;

type Answer = Result<Response, Problem>;

/// Like a post
///
/// Again does nothing.
#[utoipa::path(
    put,
    path = "/v1/posts/{id}/like",
    operation_id = "like",
    tag = "reactions",
    params(("id" = PostId, Path, description = "The post.")),
    responses(
        (status = 204, description = "It is liked.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn like(State(api): State<Api>, actor: Actor, Id(post): Id<PostId>) -> Answer {
    done(&api.commands.like(&Origin::now(actor.user), post).await?)
}

/// Take a like back
///
/// Without one, this does nothing.
#[utoipa::path(
    delete,
    path = "/v1/posts/{id}/like",
    operation_id = "unlike",
    tag = "reactions",
    params(("id" = PostId, Path, description = "The post.")),
    responses(
        (status = 204, description = "It is not liked.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn unlike(State(api): State<Api>, actor: Actor, Id(post): Id<PostId>) -> Answer {
    done(&api.commands.unlike(&Origin::now(actor.user), post).await?)
}
