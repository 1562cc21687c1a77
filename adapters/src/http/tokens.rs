//! Access tokens: who somebody is, signed, for a quarter of an hour. Nothing is stored and nothing is asked.
//!
//! JWTs with HS256 and a key id. The header's other fields decide nothing: the algorithm is ours, and a key id that is
//! not ours is refused, so neither `alg: none` nor a key of the client's choice gets anywhere.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{SessionId, Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use lru::LruCache;
use serde::{Deserialize, Serialize};

use crate::secrets::{SigningKey, SigningKeys};

/// How long a token lasts, in seconds. A log-out or a ban takes this long to reach everyone.
pub const LIFETIME_SECONDS: i64 = 900;

/// Longer than any token that is issued: what is longer is not parsed.
const LONGEST: usize = 1024;

/// Parts of the memory of verified tokens: two requests rarely meet at one.
const PARTS: usize = 16;
/// Verified tokens that are remembered in a part.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub user: UserId,
    /// By which log-in.
    pub session: SessionId,
    /// Until when.
    pub expires: Timestamp,
}

impl Claims {
    /// These, if they have not expired.
    fn at(self, now: Timestamp) -> Result<Self, InvalidToken> {
        if self.expires > now { Ok(self) } else { Err(InvalidToken) }
    }
}

/// A token that is not accepted. Why is told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is not valid")]
pub struct InvalidToken;

/// What is signed. A newer version may say more.
#[derive(Serialize, Deserialize)]
struct Wire {
    sub: UserId,
    sid: SessionId,
    exp: i64,
}

/// Issues and verifies tokens; also knows from which web pages they may come along as cookies.
#[derive(Debug)]
pub struct AccessTokens {
    keys: SigningKeys,
    validation: Validation,
    origins: Vec<String>,
    /// What was verified says the same until it expires, and clients send the same token with every request.
    verified: [Mutex<LruCache<Box<str>, Claims>>; PARTS],
}

impl AccessTokens {
    /// With these keys: the first signs, all verify.
    pub fn new(keys: SigningKeys) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // Against our own clock, below: tests must be able to stand at any moment.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self {
            keys,
            validation,
            origins: Vec::new(),
            verified: std::array::from_fn(|_| Mutex::new(LruCache::new(REMEMBERED))),
        }
    }

    /// Also accepts cookies from pages of these origins, for example `https://social.example`.
    #[must_use]
    pub fn with_public_origins(self, origins: impl IntoIterator<Item = String>) -> Self {
        Self { origins: origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect(), ..self }
    }

    /// Whether pages of `origin` are ours by configuration.
    pub(super) fn is_public_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|ours| ours.eq_ignore_ascii_case(origin))
    }

    /// A token that lasts from `now`.
    ///
    /// # Errors
    /// The signing key cannot be used.
    pub fn issue(&self, user: UserId, session: SessionId, now: Timestamp) -> Result<String, SigningFailed> {
        let SigningKey { id, key } = self.keys.first();
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::HS256) };
        let wire = Wire { sub: user, sid: session, exp: now.as_millis().div_euclid(1000) + LIFETIME_SECONDS };
        encode(&header, &wire, &EncodingKey::from_secret(key.as_bytes()))
            .map_err(|error| SigningFailed(error.to_string()))
    }

    /// What a token says, if it is ours and has not expired.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, InvalidToken> {
        if token.len() > LONGEST {
            return Err(InvalidToken);
        }
        if let Some(claims) = self.verified(token).get(token).copied() {
            return claims.at(now);
        }
        let kid = decode_header(token).map_err(|_| InvalidToken)?.kid.ok_or(InvalidToken)?;
        let SigningKey { key, .. } = self.keys.get(&kid).ok_or(InvalidToken)?;
        let key = DecodingKey::from_secret(key.as_bytes());
        let Wire { sub, sid, exp } = decode(token, &key, &self.validation).map_err(|_| InvalidToken)?.claims;
        let expires = Timestamp::from_millis(exp.saturating_mul(1000));
        let claims = Claims { user: sub, session: sid, expires }.at(now)?;
        self.verified(token).put(token.into(), claims);
        Ok(claims)
    }

    fn verified(&self, token: &str) -> MutexGuard<'_, LruCache<Box<str>, Claims>> {
        // A character of the signature, but the last, which has fewer bits.
        let part = token.as_bytes().iter().rev().nth(1).map_or(0, |byte| usize::from(*byte));
        self.verified[part % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No token can be issued: a defect of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no access token can be signed: {0}")]
pub struct SigningFailed(String);
