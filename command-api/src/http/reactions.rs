//! `PUT` and `DELETE` of `/v1/posts/{id}/like`

use adapters::http::auth::Actor;
use adapters::http::extract::Id;
use adapters::http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use domain::PostId;

use super::Api;
use super::answers::done;
use crate::write_path::Origin;

type Answer = Result<Response, Problem>;

pub(super) async fn like(State(api): State<Api>, actor: Actor, Id(post): Id<PostId>) -> Answer {
    done(&api.commands.like(&Origin::now(actor.user), post).await?)
}

pub(super) async fn unlike(State(api): State<Api>, actor: Actor, Id(post): Id<PostId>) -> Answer {
    done(&api.commands.unlike(&Origin::now(actor.user), post).await?)
}
