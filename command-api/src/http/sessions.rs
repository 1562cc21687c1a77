//! `POST /v1/sessions`, `POST /v1/sessions/refresh`, `DELETE /v1/sessions/current`
//!
//! Programs get their tokens in the body. The web page gets them as cookies that no script can read, and that no other
//! site's page can use.

use adapters::http::auth::{ACCESS_COOKIE, Actor, check_origin, cookie, request_host};
use adapters::http::clock::now;
use adapters::http::extract::Body;
use adapters::http::openapi::{BODY, COMMAND, Refused, these};
use adapters::http::problem::{Code, Problem};
use adapters::http::tokens::LIFETIME_SECONDS;
use axum::Json;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use domain::SessionId;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::headers::NotRepeatable;
use crate::auth::private::SESSION_LIFE_MILLIS;
use crate::auth::sessions::Opened;
use crate::commands::Account;

/// The cookie that holds the refresh token.
const REFRESH_COOKIE: &str = "hybrid_live_refresh";

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    username: String,
    #[schema(format = "password")]
    password: String,
    #[serde(default)]
    delivery: Delivery,
}

/// How the tokens travel: in the answer's body, or as cookies that no script can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Delivery {
    #[default]
    Body,
    Cookie,
}

/// What is exchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// Without one, the cookie's is taken.
    refresh_token: Option<String>,
}

/// A log-in with its tokens, which are in the body or in cookies.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    access_token: Option<String>,
    /// `Bearer`.
    token_type: &'static str,
    /// After how many seconds the access token expires.
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
    session_id: SessionId,
    user: Account,
}

/// Log in
///
/// User name and password give an access token of fifteen minutes and a refresh token for the next one.
#[utoipa::path(
    post,
    path = "/v1/sessions",
    operation_id = "log_in",
    tag = "sessions",
    request_body = LogIn,
    responses(
        (status = 201, body = SessionAnswer, description = "The new session.", headers(("Set-Cookie"))),
        Refused<{ BODY | these(&[Code::InvalidCredentials, Code::OriginMismatch, Code::Conflict]) }>,
    ),
    security(()),
)]
pub(super) async fn log_in(
    State(api): State<Api>,
    _: NotRepeatable,
    (method, uri, headers): (Method, Uri, HeaderMap),
    Body(LogIn { username, password, delivery }): Body<LogIn>,
) -> Result<Response, Problem> {
    // Another site's page must not log its visitors in as somebody of its choice. Programs send no origin.
    if delivery == Delivery::Cookie && headers.contains_key(header::ORIGIN) {
        check_origin(&api.tokens, &method, &uri, &headers)?;
    }
    // Before anything is looked up: who is told to wait learns nothing of whether there is such an account.
    if let Err(refusal) = api.limits.log_in_as(&username) {
        return Ok(*refusal);
    }
    let opened = api.sessions.log_in(&username, &password).await?;
    issue(&api, opened, delivery, StatusCode::CREATED, is_secure(&uri, &headers))
}

/// Exchange a refresh token for new tokens
///
/// A refresh token works once. Used again, it ends the session: somebody has stolen it.
#[utoipa::path(
    post,
    path = "/v1/sessions/refresh",
    operation_id = "refresh_session",
    tag = "sessions",
    request_body = Refresh,
    responses(
        (
            status = 200,
            body = SessionAnswer,
            description = "The session with new tokens.",
            headers(("Set-Cookie")),
        ),
        Refused<{
            BODY | these(&[
                Code::Unauthenticated,
                Code::InvalidRefreshToken,
                Code::RefreshTokenReused,
                Code::OriginMismatch,
                Code::Conflict,
            ])
        }>,
    ),
    security(()),
)]
pub(super) async fn refresh(
    State(api): State<Api>,
    _: NotRepeatable,
    (method, uri, headers): (Method, Uri, HeaderMap),
    Body(Refresh { refresh_token }): Body<Refresh>,
) -> Result<Response, Problem> {
    let (token, delivery) = match refresh_token {
        Some(token) => (token, Delivery::Body),
        None => {
            let token = cookie(&headers, REFRESH_COOKIE).ok_or(Code::Unauthenticated)?;
            check_origin(&api.tokens, &method, &uri, &headers)?;
            (token.to_owned(), Delivery::Cookie)
        }
    };
    let opened = api.sessions.refresh(&token).await?;
    issue(&api, opened, delivery, StatusCode::OK, is_secure(&uri, &headers))
}

/// Log out
///
/// Ends the session; its access token works until it expires.
#[utoipa::path(
    delete,
    path = "/v1/sessions/current",
    operation_id = "log_out",
    tag = "sessions",
    responses(
        (status = 204, description = "The session has ended.", headers(("Set-Cookie"))),
        Refused<COMMAND>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn log_out(
    State(api): State<Api>,
    actor: Actor,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.sessions.log_out(actor.user, actor.session).await?;
    let cookies = set_cookies("", "", 0, 0, is_secure(&uri, &headers));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(cookies)).into_response())
}

fn issue(api: &Api, opened: Opened, delivery: Delivery, status: StatusCode, secure: bool) -> Result<Response, Problem> {
    let Opened { account, session, refresh_token } = opened;
    let access_token = api.tokens.issue(account.id, session, now()).map_err(|error| Problem::internal(&error))?;
    let mut answer = SessionAnswer {
        access_token: None,
        token_type: "Bearer",
        expires_in: LIFETIME_SECONDS,
        refresh_token: None,
        session_id: session,
        user: account,
    };
    let uncached = [(header::CACHE_CONTROL, "no-store")];
    Ok(match delivery {
        Delivery::Body => {
            answer.access_token = Some(access_token);
            answer.refresh_token = Some(refresh_token);
            (status, uncached, Json(answer)).into_response()
        }
        Delivery::Cookie => {
            let life = SESSION_LIFE_MILLIS / 1000;
            let cookies = set_cookies(&access_token, &refresh_token, LIFETIME_SECONDS, life, secure);
            (status, uncached, AppendHeaders(cookies), Json(answer)).into_response()
        }
    })
}

/// Both cookies. The refresh token goes where it is used and nowhere else.
fn set_cookies(
    access: &str,
    refresh: &str,
    access_life: i64,
    refresh_life: i64,
    secure: bool,
) -> [(header::HeaderName, String); 2] {
    let secure = if secure { "; Secure" } else { "" };
    let attributes =
        |path: &str, life: i64| format!("; Path={path}; Max-Age={life}; HttpOnly; SameSite=Strict{secure}");
    [
        (header::SET_COOKIE, format!("{ACCESS_COOKIE}={access}{}", attributes("/", access_life))),
        (header::SET_COOKIE, format!("{REFRESH_COOKIE}={refresh}{}", attributes("/v1/sessions", refresh_life))),
    ]
}

/// Whether cookies may go through TLS only: everywhere but on the machine itself, which speaks plain HTTP to itself.
fn is_secure(uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(host) = request_host(uri, headers) else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_local_name = name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_local_name && !is_loopback
}
