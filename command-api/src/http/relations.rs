//! `PUT` and `DELETE` of `/v1/users/{id}/follow`, `/v1/users/{id}/block` and `/v1/users/{id}/mute`

use adapters::http::auth::Actor;
use adapters::http::extract::Id;
use adapters::http::openapi::{COMMAND, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::Response;
use domain::UserId;

use super::Api;
use super::answers::done;
use crate::write_path::Origin;

type Answer = Result<Response, Problem>;

/// Follow somebody
///
/// Their posts are in the home feed from now on, the older ones included.
#[utoipa::path(
    put,
    path = "/v1/users/{id}/follow",
    operation_id = "follow",
    tag = "relations",
    params(("id" = UserId, Path, description = "Whom.")),
    responses(
        (status = 204, description = "They are followed.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound, Code::Oneself, Code::Blocked]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn follow(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.follow(&Origin::now(actor.user), to).await?)
}

/// Follow somebody no longer
#[utoipa::path(
    delete,
    path = "/v1/users/{id}/follow",
    operation_id = "unfollow",
    tag = "relations",
    params(("id" = UserId, Path, description = "Whom.")),
    responses(
        (status = 204, description = "They are not followed.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound, Code::Oneself]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn unfollow(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.unfollow(&Origin::now(actor.user), to).await?)
}

/// Block somebody
///
/// It ends follows both ways; for each other, the two are not there.
#[utoipa::path(
    put,
    path = "/v1/users/{id}/block",
    operation_id = "block",
    tag = "relations",
    params(("id" = UserId, Path, description = "Whom.")),
    responses(
        (status = 204, description = "They are blocked.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound, Code::Oneself]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn block(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.block(&Origin::now(actor.user), to).await?)
}

/// End a block
///
/// It restores no follow.
#[utoipa::path(
    delete,
    path = "/v1/users/{id}/block",
    operation_id = "unblock",
    tag = "relations",
    params(("id" = UserId, Path, description = "Whom.")),
    responses(
        (status = 204, description = "They are not blocked.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound, Code::Oneself]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn unblock(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.unblock(&Origin::now(actor.user), to).await?)
}

/// Mute somebody
///
/// Their posts are not in one's own home feed any more; nothing else changes, and they never learn of it.
#[utoipa::path(
    put,
    path = "/v1/users/{id}/mute",
    operation_id = "mute",
    tag = "relations",
    params(("id" = UserId, Path, description = "Whom.")),
    responses(
        (status = 204, description = "They are muted.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound, Code::Oneself]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn mute(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.mute(&Origin::now(actor.user), to).await?)
}

/// Mute somebody no longer
///
/// If they are followed, their posts are in the home feed again.
#[utoipa::path(
    delete,
    path = "/v1/users/{id}/mute",
    operation_id = "unmute",
    tag = "relations",
    params(("id" = UserId, Path, description = "Whom.")),
    responses(
        (status = 204, description = "They are not muted.", headers(("Consistency-Token"))),
        Refused<{ COMMAND | these(&[Code::NotFound, Code::Oneself]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn unmute(State(api): State<Api>, actor: Actor, Id(to): Id<UserId>) -> Answer {
    done(&api.commands.unmute(&Origin::now(actor.user), to).await?)
}
