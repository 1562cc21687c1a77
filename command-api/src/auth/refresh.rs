//! Refresh tokens: `<user>.<session>.<secret>`, opaque to clients, each good for one use.
//!
//! The secret ends with a keyed digest of the rest. So a token that was issued and used is told from one that somebody
//! made up, without a list of all that ever were: only the former ends the session.

use std::fmt::Write as _;

use adapters::secrets::Secrets;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use domain::{SessionId, UserId};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Bytes of chance, and of the digest.
const PART: usize = 24;
/// Longer than any token that is issued.
const LONGEST: usize = 256;

/// A token that was issued here, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    /// Whose.
    pub(crate) user: UserId,
    /// Of which log-in.
    pub(crate) session: SessionId,
    /// What is stored of it.
    pub(crate) fingerprint: String,
}

/// A new token as the client gets it, and what is stored of it.
pub(crate) fn issue(secrets: &Secrets, user: UserId, session: SessionId) -> (String, RefreshToken) {
    let chance: [u8; PART] = rand::random();
    let mut secret = [0; 2 * PART];
    secret[..PART].copy_from_slice(&chance);
    secret[PART..].copy_from_slice(&digest(secrets, user, session, &chance));
    let text = format!("{user}.{session}.{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
    let fingerprint = fingerprint(&text);
    (text, RefreshToken { user, session, fingerprint })
}

/// Reads a token; `None` if it was not issued here.
pub(crate) fn parse(secrets: &Secrets, text: &str) -> Option<RefreshToken> {
    if text.len() > LONGEST {
        return None;
    }
    let mut parts = text.split('.');
    let (user, session, secret) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let secret = BASE64_URL_SAFE_NO_PAD.decode(secret).ok().filter(|secret| secret.len() == 2 * PART)?;
    let (chance, found) = secret.split_at(PART);
    let expected = digest(secrets, user, session, chance);
    bool::from(expected.ct_eq(found)).then(|| RefreshToken { user, session, fingerprint: fingerprint(text) })
}

/// Whether a stored fingerprint is this token's.
pub(crate) fn is(stored: &str, token: &RefreshToken) -> bool {
    stored.as_bytes().ct_eq(token.fingerprint.as_bytes()).into()
}

fn digest(secrets: &Secrets, user: UserId, session: SessionId, chance: &[u8]) -> [u8; PART] {
    let whole = secrets.digest("refresh token", &[user.as_bytes(), session.as_bytes(), chance]);
    let mut digest = [0; PART];
    digest.copy_from_slice(&whole[..PART]);
    digest
}

/// SHA-256 is enough at rest: there is nothing to guess in a token.
fn fingerprint(text: &str) -> String {
    let mut hexadecimal = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing into a string does not fail.
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    hexadecimal
}
