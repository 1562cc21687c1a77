//! `GET /v1/me`: who is asking.

use adapters::http::auth::Actor;
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;

use crate::api::Api;
use crate::hydrate::People;

/// Answers from the truth, which is never behind.
pub(crate) async fn me(State(api): State<Api>, actor: Actor, headers: HeaderMap) -> Result<Response, Problem> {
    let consistency = api.wait(&headers, &[]).await?;
    let people = People::read(api.ports.content.as_ref(), [actor.user]).await?;
    let person = people.person(actor.user).ok_or(Code::NotFound)?;
    Ok(api.uncached(axum::Json(person).into_response(), consistency))
}
