//! What clients are told when something is wrong: `application/problem+json` (RFC 9457) with a stable code.
//!
//! The only place that maps errors to HTTP statuses. What a store says is logged; the client gets a text that names
//! no table, file or host.

use std::fmt::Display;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use domain::Rejection;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::trace;
use crate::StoreError;

/// Why a request was refused: a closed set, on which clients may rely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The body is no JSON, or not UTF-8.
    MalformedJson,
    /// A cursor that this server did not give out for this list. A code of its own: the client starts the list again.
    InvalidCursor,
    /// The call needs somebody, and the request says nothing of who it is.
    Unauthenticated,
    /// The access token is forged, expired or no token: the client refreshes it.
    InvalidToken,
    /// User name and password do not belong together. Which of the two is wrong is told to nobody.
    InvalidCredentials,
    /// The refresh token is forged, expired or its session was ended: the client logs in again.
    InvalidRefreshToken,
    /// A refresh token that was used before. Apart from the above, because it means that somebody has stolen it: the
    /// session is ended.
    RefreshTokenReused,
    /// A cookie came along from another site's page.
    OriginMismatch,
    /// Somebody else's.
    NotYours,
    /// The call is for people with a role, and this person has not got it.
    Forbidden,
    /// There is no such thing, or no longer, or not for this person.
    NotFound,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// Somebody has this user name.
    UsernameTaken,
    /// One of the two has blocked the other.
    Blocked,
    /// A new thing's id is taken.
    AlreadyExists,
    /// Too many changed the same thing at once, or the same command is under way: it may be tried again as it is.
    Conflict,
    /// The client decided on an older version than the present one: it loads afresh.
    Stale,
    /// The body is above the limit.
    BodyTooLarge,
    /// The body's content type is not JSON.
    UnsupportedMediaType,
    /// A field of the body, a query parameter or a header is unknown, missing or not allowed as it is; `field` names it.
    InvalidField,
    /// Nobody follows or blocks themselves.
    Oneself,
    /// The `Idempotency-Key` was used with another command.
    IdempotencyKeyReused,
    /// An edit without `If-Match`: it would overwrite what its author has not seen.
    PreconditionRequired,
    /// Somebody calls too often: the same request may succeed after `Retry-After`.
    RateLimited,
    /// Too much is under way: the same request may succeed after `Retry-After`.
    Overloaded,
    /// A store does not answer: the same request may succeed after `Retry-After`.
    Unavailable,
    /// A defect, or damaged data. The log has the rest under the trace id.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 27] = [
        Self::MalformedJson,
        Self::InvalidCursor,
        Self::Unauthenticated,
        Self::InvalidToken,
        Self::InvalidCredentials,
        Self::InvalidRefreshToken,
        Self::RefreshTokenReused,
        Self::OriginMismatch,
        Self::NotYours,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UsernameTaken,
        Self::Blocked,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Stale,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidField,
        Self::Oneself,
        Self::IdempotencyKeyReused,
        Self::PreconditionRequired,
        Self::RateLimited,
        Self::Overloaded,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Status, stable name and title, in one place.
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedJson => (StatusCode::BAD_REQUEST, "malformed_json", "the body is not valid JSON"),
            Self::InvalidCursor => (StatusCode::BAD_REQUEST, "invalid_cursor", "the cursor is not of this list"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "an access token is needed"),
            Self::InvalidToken => (StatusCode::UNAUTHORIZED, "invalid_token", "the access token is not valid"),
            Self::InvalidCredentials => {
                (StatusCode::UNAUTHORIZED, "invalid_credentials", "user name or password is wrong")
            }
            Self::InvalidRefreshToken => {
                (StatusCode::UNAUTHORIZED, "invalid_refresh_token", "the refresh token is not valid")
            }
            Self::RefreshTokenReused => {
                (StatusCode::UNAUTHORIZED, "refresh_token_reused", "the refresh token was used before")
            }
            Self::OriginMismatch => (StatusCode::FORBIDDEN, "origin_mismatch", "the request comes from another site"),
            Self::NotYours => (StatusCode::FORBIDDEN, "not_yours", "this is somebody else's"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "this needs a role that you have not got"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "there is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the path does not know this method")
            }
            Self::UsernameTaken => (StatusCode::CONFLICT, "username_taken", "somebody has this user name"),
            Self::Blocked => (StatusCode::CONFLICT, "blocked", "one of you has blocked the other"),
            Self::AlreadyExists => (StatusCode::CONFLICT, "already_exists", "this exists already"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "others are changing the same thing"),
            Self::Stale => (StatusCode::PRECONDITION_FAILED, "stale", "this has been changed meanwhile"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "the body must be application/json")
            }
            Self::InvalidField => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", "a field is not valid"),
            Self::Oneself => (StatusCode::UNPROCESSABLE_ENTITY, "oneself", "you cannot do this to yourself"),
            Self::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "the Idempotency-Key was used with another command",
            ),
            Self::PreconditionRequired => {
                (StatusCode::PRECONDITION_REQUIRED, "precondition_required", "If-Match is needed")
            }
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests in a minute"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too much is under way"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "a store does not answer"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "something is broken here"),
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.facts().0
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        self.facts().1
    }

    /// What it means, in words that never change with the case.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which kind.
    pub code: Code,
    /// What is wrong in this case. It is sent.
    pub detail: String,
    /// The field, query parameter or header at fault.
    pub field: Option<String>,
    /// After how many seconds the same request may succeed.
    pub retry_after: Option<u32>,
}

impl Problem {
    /// A problem with words for this case.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        // What is only too much for the moment should come again, and not at once.
        let retry_after = matches!(code, Code::RateLimited | Code::Overloaded | Code::Unavailable).then_some(1);
        Self { code, detail: detail.into(), field: None, retry_after }
    }

    /// A field, query parameter or header that is not allowed as it is.
    pub fn invalid(field: impl Into<String>, detail: impl Display) -> Self {
        Self { field: Some(field.into()), ..Self::new(Code::InvalidField, detail.to_string()) }
    }

    /// The same, and when it may come again.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        // At least a second: 0 would mean at once.
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1);
        Self { retry_after: Some(seconds), ..self }
    }

    /// A defect: `cause` is logged and not sent.
    pub fn internal(cause: &dyn Display) -> Self {
        tracing::error!(%cause, trace_id = %trace::current(), "a request failed");
        Self::from(Code::Internal)
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code, code.title())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, trace_id = %trace::current(), "a request met a store that does not answer");
                Self::from(Code::Unavailable)
            }
            StoreError::Damaged(_) | StoreError::Unfit(_) | StoreError::Overtaken(_) => Self::internal(&error),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let code = match rejection {
            Rejection::NotFound(_) => Code::NotFound,
            Rejection::AlreadyExists(_) => Code::AlreadyExists,
            Rejection::NotYours(_) => Code::NotYours,
            Rejection::Oneself => Code::Oneself,
            Rejection::Blocked => Code::Blocked,
            Rejection::Stale { .. } => Code::Stale,
        };
        Self::new(code, rejection.to_string())
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    trace_id: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title) = self.code.facts();
        let wire = Wire {
            r#type: format!("urn:hybrid-live:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: &self.detail,
            field: self.field.as_deref(),
            trace_id: trace::current().to_string(),
        };
        // Nothing in it can fail to be written; an empty body would still have its status.
        let body = serde_json::to_vec(&wire).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: HeaderValue| headers.insert(name, value);
        set(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            set(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::BodyTooLarge {
            // What is left of the body is not read, so nothing can follow it on this connection.
            set(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            set(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// For a router's `fallback`: a path that is not there.
pub async fn no_such_path() -> Problem {
    Problem::from(Code::NotFound)
}

/// For a router's `method_not_allowed_fallback`.
pub async fn no_such_method() -> Problem {
    Problem::from(Code::MethodNotAllowed)
}
