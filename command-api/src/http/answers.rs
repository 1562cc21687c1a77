//! How answers look.

use adapters::content::Answer;
use adapters::http::consistency::{self, Token};
use adapters::http::problem::Problem;
use axum::response::{IntoResponse, Response};
use domain::StreamId;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::commands::Answered;

/// An answer with a body, the same whenever the command is repeated.
pub(super) fn answered(answered: Answered) -> Result<Response, Problem> {
    let Answered { stream, answer: Answer { status, body, etag }, token } = answered;
    let status = StatusCode::from_u16(status).map_err(|error| Problem::internal(&error))?;
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::CREATED
        && let Some(location) = location(stream)
    {
        set(&mut headers, header::LOCATION, &location)?;
    }
    if let Some(etag) = etag {
        set(&mut headers, header::ETAG, &etag)?;
    }
    set_token(&mut headers, &token)?;
    Ok((status, headers, body).into_response())
}

/// Done, and there is nothing to say of it.
pub(super) fn done(token: &Token) -> Result<Response, Problem> {
    let mut headers = HeaderMap::with_capacity(1);
    set_token(&mut headers, token)?;
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

fn set_token(headers: &mut HeaderMap, token: &Token) -> Result<(), Problem> {
    if token.is_empty() { Ok(()) } else { set(headers, consistency::HEADER, &token.to_string()) }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Problem> {
    headers.insert(name, HeaderValue::from_str(value).map_err(|error| Problem::internal(&error))?);
    Ok(())
}

/// Where what was made can be found.
fn location(stream: StreamId) -> Option<String> {
    match stream {
        StreamId::User(user) => Some(format!("/v1/users/{user}")),
        StreamId::Post(post) => Some(format!("/v1/posts/{post}")),
        StreamId::Comment(comment) => Some(format!("/v1/comments/{comment}")),
        StreamId::Relation(..) | StreamId::Reaction(..) => None,
    }
}
