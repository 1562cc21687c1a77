//! What handlers take: a JSON body, a query string, an id in the path; each refused with its code and its field.

use std::str::FromStr;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize as _;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::problem::{Code, Problem};
use super::query_string;

/// What a body may have, in bytes, for `axum::extract::DefaultBodyLimit::max`.
pub const BODY_LIMIT: usize = 256 * 1024;

/// A JSON body. `T` should deny unknown fields.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = json_bytes(request, state).await?;
        parse_json(&bytes).map(Self)
    }
}

/// A JSON body with the bytes it came as: for those who must know whether two bodies are the same.
#[derive(Clone, Debug)]
pub struct BodyWithBytes<T>(pub T, pub Bytes);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for BodyWithBytes<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = json_bytes(request, state).await?;
        Ok(Self(parse_json(&bytes)?, bytes))
    }
}

/// A query string. `T` should deny unknown fields; a name that is given twice is refused.
#[derive(Clone, Copy, Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query_string::parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// The one id in the path. What is not an id names nothing: it is not found.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let not_found = || Problem::from(Code::NotFound);
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| not_found())?;
        let (_, text) = params.iter().next().ok_or_else(not_found)?;
        text.parse().map(Self).map_err(|_| not_found())
    }
}

async fn json_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::from(Code::UnsupportedMediaType));
    }
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(failed) if failed.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::from(Code::BodyTooLarge)
        }
        // The connection broke, or the chunks are malformed.
        _ => Problem::new(Code::MalformedJson, "the body could not be read"),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::new(Code::MalformedJson, "the body is not UTF-8"))?;
    // serde would take an array for a struct as well, by position: nobody means that.
    let is_object = text.trim_start().starts_with('{');
    let mut deserializer = serde_json::Deserializer::from_str(text);
    if !is_object {
        IgnoredAny::deserialize(&mut deserializer).map_err(|error| malformed(&error))?;
        deserializer.end().map_err(|error| malformed(&error))?;
        return Err(Problem::new(Code::InvalidField, "must be a JSON object"));
    }
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // A field can be wrong in what turns out to be no JSON at all further on: then that is what is wrong. In what
        // is JSON, it is always a field; serde_json has an enum that is no string for an error of syntax.
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => invalid_field(&error),
            Err(error) => malformed(&error),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::MalformedJson, error.to_string())
}

/// Names the field, and says what is wrong with it without the parser's own "at line 1 column 7".
pub(super) fn invalid_field<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> Problem {
    let message = error.inner().to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    // That a field is missing, or twice there, is the fault of what contains it: serde's path ends there, and only its
    // message names the field.
    let named = ["missing field `", "duplicate field `"].iter().find_map(|fault| message.strip_prefix(fault));
    let named = named.and_then(|rest| rest.strip_suffix('`'));
    let parent = error.path().to_string();
    let field = match (parent.as_str(), named) {
        (".", Some(named)) => named.to_owned(),
        (parent, Some(named)) => format!("{parent}.{named}"),
        (".", None) => return Problem::new(Code::InvalidField, message),
        (parent, None) => parent.to_owned(),
    };
    Problem::invalid(field, message)
}
