//! Who asks: by `Authorization: Bearer`, as programs do, or by cookie, as the web page does.
//!
//! Browsers add cookies to requests that other sites' pages make. So a request that changes something by cookie must
//! name the page's origin, and it must be ours; `SameSite=Strict` alone is the browser's promise.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, Request};
use domain::{SessionId, Timestamp, UserId};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};

use super::clock;
use super::problem::{Code, Problem};
pub use super::tokens::{AccessTokens, Claims};

/// The cookie that holds the access token.
pub const ACCESS_COOKIE: &str = "hybrid_live_access";

/// Somebody; the extractor refuses requests of nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub user: UserId,
    /// By which log-in.
    pub session: SessionId,
}

/// Somebody or nobody. A token that is not valid is refused all the same: its owner would take what everybody may see
/// for what they may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer(pub Option<Claims>);

impl Viewer {
    /// Who, if anybody.
    pub fn user(&self) -> Option<UserId> {
        self.0.map(|claims| claims.user)
    }

    /// Until when this is known.
    pub fn expires(&self) -> Option<Timestamp> {
        self.0.map(|claims| claims.expires)
    }
}

impl<S> FromRequestParts<S> for Viewer
where
    S: Send + Sync,
    Arc<AccessTokens>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some(Recognised(known)) = parts.extensions.get() {
            return known.clone().map(Self);
        }
        authenticate(&Arc::from_ref(state), parts, clock::now()).map(Self)
    }
}

impl<S> FromRequestParts<S> for Actor
where
    S: Send + Sync,
    Arc<AccessTokens>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Viewer(claims) = Viewer::from_request_parts(parts, state).await?;
        let Claims { user, session, .. } = claims.ok_or(Code::Unauthenticated)?;
        Ok(Self { user, session })
    }
}

/// What was found out at the door, so that the handler need not find it out again.
#[derive(Clone)]
struct Recognised(Result<Option<Claims>, Problem>);

/// Who makes a request, before any handler asks; nobody, too, where the token is not valid, which the handler refuses.
pub(super) fn recognise(tokens: &AccessTokens, request: &mut Request) -> Option<UserId> {
    let (mut parts, body) = std::mem::take(request).into_parts();
    let known = authenticate(tokens, &parts, clock::now());
    let user = known.as_ref().ok().and_then(|claims| claims.map(|claims| claims.user));
    parts.extensions.insert(Recognised(known));
    *request = Request::from_parts(parts, body);
    user
}

fn authenticate(tokens: &AccessTokens, parts: &Parts, now: Timestamp) -> Result<Option<Claims>, Problem> {
    let verify = |token: &str| tokens.verify(token, now).map_err(|_| Problem::from(Code::InvalidToken));
    // A header is meant, a cookie just comes along: so the header decides where both are there.
    if parts.headers.contains_key(header::AUTHORIZATION) {
        let token = bearer(&parts.headers).ok_or(Code::InvalidToken)?;
        return verify(token).map(Some);
    }
    let Some(token) = cookie(&parts.headers, ACCESS_COOKIE) else { return Ok(None) };
    let claims = verify(token)?;
    check_origin(tokens, &parts.method, &parts.uri, &parts.headers)?;
    Ok(Some(claims))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_matches(' '))
}

/// A cookie's value. Of several with one name, the first: the most specific path comes first.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// Refuses a request that was authenticated by cookie, changes something, and does not say that a page of ours made it.
///
/// # Errors
/// [`Code::OriginMismatch`]
pub fn check_origin(tokens: &AccessTokens, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let is_ours = |origin: &str| tokens.is_public_origin(origin) || is_of_host(origin, uri, headers);
    if origin.is_some_and(is_ours) { Ok(()) } else { Err(Problem::from(Code::OriginMismatch)) }
}

/// Whether `origin` is this host's: the browser writes both with the same port, or both without.
fn is_of_host(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = request_host(uri, headers);
    let of_origin = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    matches!((of_origin, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host))
}

/// The host and port that the client wanted to reach.
pub fn request_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) => uri.authority().map(|authority| authority.as_str()),
        // Two answers are none.
        (Some(_), Some(_)) => None,
    }
}
