//! `PUT` and `DELETE` of `/v1/users/{id}/follow`, `/v1/users/{id}/block` and `/v1/users/{id}/mute`

use adapters::http::auth::Actor;
use adapters::http::extract::Id;
use adapters::http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use domain::UserId;

use super::Api;
use super::answers::done;
use crate::write_path::Origin;

type Answer = Result<Response, Problem>;

pub(super) async fn follow(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.follow(&Origin::now(actor.user), to).await?)
}

pub(super) async fn unfollow(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.unfollow(&Origin::now(actor.user), to).await?)
}

pub(super) async fn block(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.block(&Origin::now(actor.user), to).await?)
}

pub(super) async fn unblock(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.unblock(&Origin::now(actor.user), to).await?)
}

pub(super) async fn mute(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.mute(&Origin::now(actor.user), to).await?)
}

pub(super) async fn unmute(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.unmute(&Origin::now(actor.user), to).await?)
}
