//! Access tokens: whatever is changed about one, it is not accepted.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use domain::{SessionId, Timestamp, UserId};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use crate::http::tokens::{AccessTokens, Claims, InvalidToken, LIFETIME_SECONDS};
use crate::secrets::{SecretKey, SigningKey, SigningKeys};

fn key(id: &str) -> SigningKey {
    SigningKey { id: id.to_owned(), key: SecretKey::random() }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn ids() -> (UserId, SessionId) {
    (UserId::from_parts(now(), [1; 10]), SessionId::from_parts(now(), [2; 10]))
}

#[test]
fn a_token_says_who_until_it_expires() {
    let tokens = AccessTokens::new(SigningKeys::new(key("a"), []));
    let (user, session) = ids();
    let token = tokens.issue(user, session, now()).unwrap();
    let expires = now().plus_millis(LIFETIME_SECONDS * 1000);
    assert_eq!(tokens.verify(&token, now()), Ok(Claims { user, session, expires }));
    assert!(tokens.verify(&token, expires.plus_millis(-1)).is_ok());
    assert_eq!(tokens.verify(&token, expires), Err(InvalidToken));
}

#[test]
fn every_changed_character_is_noticed() {
    let tokens = AccessTokens::new(SigningKeys::new(key("a"), []));
    let (user, session) = ids();
    let token = tokens.issue(user, session, now()).unwrap();
    for index in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        // Another letter, also in the two bits of a last character that base64 would not read.
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(tokens.verify(&changed, now()), Err(InvalidToken), "character {index}");
    }
    for length in 0..token.len() {
        assert_eq!(tokens.verify(&token[..length], now()), Err(InvalidToken), "{length} characters");
    }
    assert_eq!(tokens.verify(&format!("{token}."), now()), Err(InvalidToken));
    assert_eq!(tokens.verify(&"x".repeat(100_000), now()), Err(InvalidToken));
}

#[test]
fn keys_rotate_and_unknown_ones_are_refused() {
    let (old, new) = (key("old"), key("new"));
    let (user, session) = ids();
    let before = AccessTokens::new(SigningKeys::new(old.clone(), []));
    let during = AccessTokens::new(SigningKeys::new(new.clone(), [old]));
    let after = AccessTokens::new(SigningKeys::new(new, []));
    let of_old = before.issue(user, session, now()).unwrap();
    let of_new = during.issue(user, session, now()).unwrap();
    assert!(during.verify(&of_old, now()).is_ok());
    assert_eq!(after.verify(&of_old, now()), Err(InvalidToken), "its key is gone");
    assert!(after.verify(&of_new, now()).is_ok());
    assert_eq!(before.verify(&of_new, now()), Err(InvalidToken));
    // A key of the same name is not the same key.
    let other = AccessTokens::new(SigningKeys::new(key("old"), []));
    assert_eq!(other.verify(&of_old, now()), Err(InvalidToken));
}

#[test]
fn the_header_does_not_choose_the_algorithm() {
    let signing = key("a");
    let tokens = AccessTokens::new(SigningKeys::new(signing.clone(), []));
    let (user, session) = ids();
    let claims = json!({ "sub": user, "sid": session, "exp": now().as_millis() / 1000 + 60 });
    let part = |value: &serde_json::Value| BASE64.encode(value.to_string());
    for algorithm in ["none", "None", "NONE", "HS512", "RS256"] {
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": "a" });
        for signature in ["", "AAAA"] {
            let token = format!("{}.{}.{signature}", part(&header), part(&claims));
            assert_eq!(tokens.verify(&token, now()), Err(InvalidToken), "{algorithm}");
        }
    }
    // Properly signed, but with another algorithm, without a key id, or with something else in it.
    let secret = EncodingKey::from_secret(signing.key.as_bytes());
    let signed = |algorithm, kid: Option<&str>, claims: &serde_json::Value| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        encode(&header, claims, &secret).unwrap()
    };
    assert!(tokens.verify(&signed(Algorithm::HS256, Some("a"), &claims), now()).is_ok());
    assert_eq!(tokens.verify(&signed(Algorithm::HS512, Some("a"), &claims), now()), Err(InvalidToken));
    assert_eq!(tokens.verify(&signed(Algorithm::HS256, None, &claims), now()), Err(InvalidToken));
    for broken in
        [json!({ "sub": user, "sid": session }), json!({ "sub": "me", "sid": session, "exp": 9_999_999_999_i64 })]
    {
        assert_eq!(tokens.verify(&signed(Algorithm::HS256, Some("a"), &broken), now()), Err(InvalidToken), "{broken}");
    }
}
