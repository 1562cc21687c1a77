//! `GET /v1/me`: who is asking.

use adapters::http::auth::Actor;
use adapters::http::openapi::{CONSISTENT, ConsistencyToken, OF_SOMEBODY, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;

use crate::api::Api;
use crate::hydrate::People;
use crate::items::Person;

/// Who is asking
///
/// Answers from the truth, which is never behind.
#[utoipa::path(
    get,
    path = "/v1/me",
    operation_id = "me",
    tag = "users",
    params(ConsistencyToken),
    responses(
        (status = 200, body = Person, description = "Oneself.", headers(("Consistency"))),
        Refused<{ OF_SOMEBODY | CONSISTENT | these(&[Code::NotFound]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn me(State(api): State<Api>, actor: Actor, headers: HeaderMap) -> Result<Response, Problem> {
    let consistency = api.wait(&headers, &[]).await?;
    let people = People::read(api.ports.content.as_ref(), [actor.user]).await?;
    let person = people.person(actor.user).ok_or(Code::NotFound)?;
    Ok(api.uncached(axum::Json(person).into_response(), consistency))
}
