//! `Idempotency-Key` and `If-Match`.

use adapters::http::openapi::header_parameter;
use adapters::http::problem::{Code, Problem};
use adapters::secrets::Secrets;
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::commands::SeenVersions;
use crate::write_path::Once;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key, in characters.
const LONGEST_KEY: usize = 128;

/// What makes a repeated call the same call, if it carries a key.
#[derive(Clone, Debug)]
pub(super) struct Repeatable {
    key: Option<String>,
    method: String,
    path: String,
}

impl Repeatable {
    /// The use of the key by `actor`, with this body.
    pub(super) fn once(self, secrets: &Secrets, actor: String, body: &[u8]) -> Option<Once> {
        let Self { key, method, path } = self;
        // Keyed: a body can hold a password, and a plain digest of it could be guessed at.
        let digest = |_: &String| secrets.digest("idempotency key", &[method.as_bytes(), path.as_bytes(), body]);
        let digest = key.as_ref().map(digest);
        key.zip(digest).map(|(key, digest)| Once { actor, key, digest })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Repeatable {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let key = key(&parts.headers)?;
        Ok(Self { key, method: parts.method.to_string(), path: parts.uri.path().to_owned() })
    }
}

impl IntoParams for Repeatable {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "1 to 128 visible ASCII characters of the client's choice: the same call with the same key \
                           within 24 hours gets the same answer and has no second effect.";
        vec![header_parameter("Idempotency-Key", Required::False, description)]
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid("Idempotency-Key", "must be given once"));
    }
    let visible = |key: &&str| key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = std::str::from_utf8(value.as_bytes()).ok().filter(visible);
    let key = key.filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let rule = format!("must be 1 to {LONGEST_KEY} visible ASCII characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(|| Problem::invalid("Idempotency-Key", rule))
}

/// Calls that issue tokens take no key: an answer that is kept would keep the tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotRepeatable;

impl<S: Send + Sync> FromRequestParts<S> for NotRepeatable {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if parts.headers.contains_key(IDEMPOTENCY_KEY) {
            return Err(Problem::invalid("Idempotency-Key", "calls that issue tokens cannot be repeated"));
        }
        Ok(Self)
    }
}

/// `If-Match`, which every edit must have.
#[derive(Clone, Debug)]
pub(super) struct IfMatch(pub(super) SeenVersions);

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The `ETag`s of the versions that may be replaced, or `*` for any.";
        vec![header_parameter("If-Match", Required::True, description)]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter().peekable();
        if values.peek().is_none() {
            return Err(Problem { field: Some("If-Match".to_owned()), ..Problem::from(Code::PreconditionRequired) });
        }
        let malformed = || Problem::invalid("If-Match", "must be * or ETags in double quotes");
        let mut versions = Vec::new();
        for value in values {
            for etag in value.to_str().map_err(|_| malformed())?.split(',').map(str::trim) {
                if etag == "*" {
                    return Ok(Self(SeenVersions::Any));
                }
                // A weak one never matches here, and what is no version of ours is a version of nothing.
                let (weak, opaque) = etag.strip_prefix("W/").map_or((false, etag), |opaque| (true, opaque));
                let opaque = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(malformed)?;
                versions.extend(opaque.parse::<u64>().ok().filter(|version| !weak && version.to_string() == opaque));
            }
        }
        Ok(Self(SeenVersions::These(versions)))
    }
}
