//! Who asks: bearer and cookie, and from which page a cookie may come.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, put};
use domain::{SessionId, UserId};
use http::{Request, header};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::http::auth::{AccessTokens, Actor, Viewer, cookie};
use crate::http::clock::now;
use crate::secrets::{SecretKey, SigningKey, SigningKeys};

struct Door {
    router: Router,
    token: String,
    expired: String,
    user: UserId,
}

impl Door {
    fn new() -> Self {
        let key = SigningKey { id: "a".to_owned(), key: SecretKey::random() };
        let tokens = AccessTokens::new(SigningKeys::new(key, []));
        let tokens = Arc::new(tokens.with_public_origins(["https://social.example".to_owned()]));
        let (user, session) = (UserId::from_parts(now(), [1; 10]), SessionId::from_parts(now(), [2; 10]));
        let token = tokens.issue(user, session, now()).unwrap();
        let expired = tokens.issue(user, session, now().plus_millis(-3_600_000)).unwrap();
        let name = |user: Option<UserId>| user.map_or("nobody".to_owned(), |user| user.to_string());
        let router = Router::new()
            .route("/actor", get(move |actor: Actor| async move { name(Some(actor.user)) }))
            .route("/actor", put(move |actor: Actor| async move { name(Some(actor.user)) }))
            .route("/viewer", get(move |viewer: Viewer| async move { name(viewer.user()) }))
            .with_state(tokens);
        Self { router, token, expired, user }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<String, (u16, String)> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        if status.is_success() {
            return Ok(String::from_utf8(bytes.to_vec()).unwrap());
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        Err((status.as_u16(), body["code"].as_str().unwrap().to_owned()))
    }
}

fn refused(status: u16, code: &str) -> Result<String, (u16, String)> {
    Err((status, code.to_owned()))
}

#[tokio::test]
async fn a_bearer_token_says_who() {
    let door = Door::new();
    let bearer = format!("Bearer {}", door.token);
    for path in ["/actor", "/viewer"] {
        assert_eq!(door.ask("GET", path, &[("authorization", &bearer)]).await, Ok(door.user.to_string()));
        let lower = bearer.replace("Bearer", "bearer");
        assert_eq!(door.ask("GET", path, &[("authorization", &lower)]).await, Ok(door.user.to_string()));
    }
    assert_eq!(door.ask("GET", "/actor", &[]).await, refused(401, "unauthenticated"));
    assert_eq!(door.ask("GET", "/viewer", &[]).await, Ok("nobody".to_owned()));
}

#[tokio::test]
async fn a_bad_token_is_refused_even_where_nobody_would_do() {
    let door = Door::new();
    let (good, expired) = (format!("Bearer {}", door.token), format!("Bearer {}", door.expired));
    for path in ["/actor", "/viewer"] {
        for bad in [expired.as_str(), "Bearer x", "Bearer", "Bearer ", "Basic YTpi", "", &door.token] {
            assert_eq!(door.ask("GET", path, &[("authorization", bad)]).await, refused(401, "invalid_token"), "{bad}");
        }
        let twice = [("authorization", good.as_str()), ("authorization", good.as_str())];
        assert_eq!(door.ask("GET", path, &twice).await, refused(401, "invalid_token"));
        let cookie = format!("hybrid_live_access={}", door.expired);
        assert_eq!(door.ask("GET", path, &[("cookie", &cookie)]).await, refused(401, "invalid_token"));
    }
    // The header is meant, the cookie came along: the header decides.
    let cookie = format!("hybrid_live_access={}", door.token);
    let both = [("authorization", expired.as_str()), ("cookie", cookie.as_str())];
    assert_eq!(door.ask("GET", "/actor", &both).await, refused(401, "invalid_token"));
}

#[tokio::test]
async fn a_cookie_changes_something_only_from_our_own_pages() {
    let door = Door::new();
    let cookie = format!("theme=dark; hybrid_live_access={}; x=y", door.token);
    let ask = async |method: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str()), ("host", "live.example:8080")];
        all.extend_from_slice(headers);
        door.ask(method, "/actor", &all).await
    };
    // What only reads needs no origin: browsers send none.
    assert_eq!(ask("GET", &[]).await, Ok(door.user.to_string()));
    for origin in ["http://live.example:8080", "https://LIVE.example:8080", "https://social.example"] {
        assert_eq!(ask("PUT", &[("origin", origin)]).await, Ok(door.user.to_string()), "{origin}");
    }
    for origin in [
        "http://live.example",
        "http://live.example:80800",
        "http://evil.example",
        "http://evil.live.example:8080",
        "http://live.example:8080.evil.example",
        "https://social.example.evil.example",
        "http://social.example",
        "ftp://live.example:8080",
        "live.example:8080",
        "null",
        "",
    ] {
        assert_eq!(ask("PUT", &[("origin", origin)]).await, refused(403, "origin_mismatch"), "{origin}");
    }
    assert_eq!(ask("PUT", &[]).await, refused(403, "origin_mismatch"), "no origin");
    // Two hosts are none.
    let two = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(ask("PUT", &two).await, refused(403, "origin_mismatch"));
    // A program that sends its token as a header has no page.
    let bearer = format!("Bearer {}", door.token);
    let headers = [("authorization", bearer.as_str()), ("origin", "http://evil.example")];
    assert_eq!(door.ask("PUT", "/actor", &headers).await, Ok(door.user.to_string()));
}

#[test]
fn cookies_are_found_among_others() {
    let mut headers = http::HeaderMap::new();
    headers.append(header::COOKIE, "a=1; bb=2;c=3=4".parse().unwrap());
    headers.append(header::COOKIE, "d=; a=9".parse().unwrap());
    for (name, value) in
        [("a", Some("1")), ("b", None), ("bb", Some("2")), ("c", Some("3=4")), ("d", Some("")), ("e", None)]
    {
        assert_eq!(cookie(&headers, name), value, "{name}");
    }
}
