//! Limits: who calls at the pace is never refused, who calls faster gets no more than the pace and a minute's worth.

use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{get, post};
use domain::{SessionId, UserId};
use http::{StatusCode, header};
use proptest::prelude::*;
use tower::ServiceExt as _;

use crate::http::auth::{AccessTokens, Viewer};
use crate::http::client_address::Peer;
use crate::http::clock::now;
use crate::http::rate_limits::{Caller, LIMIT, Limit, PerMinute, REMAINING, RESET, RateLimits, layer};
use crate::secrets::{SecretKey, SigningKey, SigningKeys};

const SECOND: u64 = 1_000_000_000;

fn somebody(number: u64) -> Caller {
    Caller::Name(number)
}

proptest! {
    #[test]
    fn never_more_than_the_pace_and_a_minutes_worth(
        per_minute in 1u32..200,
        pauses in proptest::collection::vec(0u64..20 * SECOND, 1..400),
    ) {
        let (limit, hasher) = (Limit::new(per_minute).expect("a limit"), RandomState::new());
        let (mut now, mut admitted) = (0, Vec::new());
        for pause in pauses {
            now += pause;
            let standing = limit.count(somebody(1), &hasher, now);
            match standing.wait() {
                None => admitted.push(now),
                Some(wait) => {
                    prop_assert_eq!(standing.remaining(), 0);
                    // It is told the truth: a moment before is too early, and then is not.
                    let then = now + u64::try_from(wait.as_nanos()).expect("a minute at most");
                    let early = limit.count(somebody(1), &hasher, then - 1);
                    prop_assert!(early.wait().is_some());
                    prop_assert!(limit.count(somebody(1), &hasher, then).wait().is_none());
                    admitted.push(then);
                    now = then;
                }
            }
        }
        for (index, from) in admitted.iter().enumerate() {
            for (count, until) in admitted[index..].iter().enumerate() {
                let most = u64::from(per_minute) + (until - from) * u64::from(per_minute) / (60 * SECOND) + 1;
                prop_assert!(count as u64 <= most, "{count} in {} ns", until - from);
            }
        }
    }

    #[test]
    fn who_keeps_the_pace_is_never_refused(per_minute in 1u32..1000, calls in 1u64..2000) {
        let (limit, hasher) = (Limit::new(per_minute).expect("a limit"), RandomState::new());
        let pace = (60 * SECOND).div_ceil(u64::from(per_minute));
        for call in 0..calls {
            prop_assert!(limit.count(somebody(1), &hasher, call * pace).wait().is_none(), "call {call}");
        }
    }
}

#[test]
fn a_minutes_worth_may_come_at_once_and_others_are_others() {
    let (limit, hasher) = (Limit::new(3).expect("a limit"), RandomState::new());
    let remaining: Vec<u32> = (0..3).map(|_| limit.count(somebody(1), &hasher, 5).remaining()).collect();
    assert_eq!(remaining, [2, 1, 0]);
    assert!(limit.count(somebody(1), &hasher, 5).wait().is_some());
    assert!(limit.count(somebody(2), &hasher, 5).wait().is_none());
    assert!(limit.count(somebody(1), &hasher, 5 + 20 * SECOND).wait().is_none(), "a third of a minute, one call");
}

#[test]
fn memory_is_bounded_whoever_comes() {
    let (limit, hasher) = (Limit::new(3).expect("a limit"), RandomState::new());
    for number in 0..200_000 {
        limit.count(somebody(number), &hasher, 5);
    }
    assert!(limit.remembered() <= 16 * 4096, "{}", limit.remembered());
    limit.count(somebody(199_999), &hasher, 5);
    let last = limit.count(somebody(199_999), &hasher, 5);
    assert_eq!(last.remaining(), 0, "the newest are remembered");
}

/// A router with limits, and people with tokens.
struct World {
    router: Router,
    tokens: Arc<AccessTokens>,
}

impl World {
    fn new(per_minute: PerMinute) -> Self {
        let key = SigningKey { id: "a".to_owned(), key: SecretKey::random() };
        let tokens = Arc::new(AccessTokens::new(SigningKeys::new(key, [])));
        let (limits, known) = (Arc::new(RateLimits::new(per_minute, 0)), Arc::clone(&tokens));
        let limited = move |request, next| layer(Arc::clone(&limits), Arc::clone(&known), request, next);
        let router = Router::new()
            .route("/v1/feed", get(async |viewer: Viewer| format!("{:?}", viewer.user())).post(async || "changed"))
            .route("/v1/sessions", post(async || "in"))
            .route("/v1/posts/{id}/stream", get(async || "…"))
            .route_layer(from_fn(limited))
            .with_state(Arc::clone(&tokens));
        Self { router, tokens }
    }

    fn token(&self, number: u8) -> String {
        let user = UserId::from_parts(now(), [number; 10]);
        self.tokens.issue(user, SessionId::from_parts(now(), [1; 10]), now()).expect("a token")
    }

    async fn call(&self, method: &str, path: &str, from: u8, token: Option<&str>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let mut request = request.body(Body::empty()).expect("a request");
        request.extensions_mut().insert(Peer(IpAddr::from([192, 0, 2, from])));
        self.router.clone().oneshot(request).await.expect("an answer")
    }

    async fn statuses<const N: usize>(&self, calls: [(&str, &str, u8, Option<&str>); N]) -> [u16; N] {
        let mut statuses = [0; N];
        for (status, (method, path, from, token)) in statuses.iter_mut().zip(calls) {
            *status = self.call(method, path, from, token).await.status().as_u16();
        }
        statuses
    }
}

#[tokio::test]
async fn an_account_has_its_limit_wherever_it_calls_from() {
    let world = World::new(PerMinute { queries: 2, ..PerMinute::default() });
    let (ada, ben) = (world.token(1), world.token(2));
    let (ada, ben) = (Some(ada.as_str()), Some(ben.as_str()));
    let feed = |from, token| ("GET", "/v1/feed", from, token);
    let calls = [feed(1, ada), feed(2, ada), feed(3, ada), feed(3, ben), feed(3, None), feed(3, None), feed(3, None)];
    assert_eq!(world.statuses(calls).await, [200, 200, 429, 200, 200, 200, 429]);
}

#[tokio::test]
async fn made_up_tokens_are_counted_by_address() {
    let world = World::new(PerMinute { queries: 2, ..PerMinute::default() });
    let feed = |from, token| ("GET", "/v1/feed", from, Some(token));
    assert_eq!(world.statuses([feed(1, "a"), feed(1, "b"), feed(1, "c"), feed(2, "c")]).await, [401, 401, 429, 401]);
}

#[tokio::test]
async fn each_kind_of_call_has_its_own_limit() {
    let world = World::new(PerMinute { queries: 1, commands: 1, streams: 1, log_in: 1, ..PerMinute::default() });
    let ada = world.token(1);
    let ada = Some(ada.as_str());
    for (method, path) in [("GET", "/v1/feed"), ("POST", "/v1/feed"), ("GET", "/v1/posts/1/stream")] {
        assert_eq!(world.statuses([(method, path, 1, ada), (method, path, 1, ada)]).await, [200, 429], "{path}");
    }
    // Before there is an account, a token makes nobody another.
    let log_in = |token| ("POST", "/v1/sessions", 1, token);
    assert_eq!(world.statuses([log_in(None), log_in(ada)]).await, [200, 429]);
}

#[tokio::test]
async fn zero_is_no_limit() {
    let world = World::new(PerMinute { commands: 1, ..PerMinute::default() });
    for _ in 0..500 {
        let answer = world.call("GET", "/v1/feed", 1, None).await;
        assert!(answer.status() == StatusCode::OK && !answer.headers().contains_key(LIMIT));
    }
}

#[tokio::test]
async fn answers_say_where_one_stands() {
    let world = World::new(PerMinute { queries: 2, ..PerMinute::default() });
    let number = |answer: &Response, name| answer.headers()[name].to_str().ok().and_then(|text| text.parse().ok());
    let first = world.call("GET", "/v1/feed", 1, None).await;
    assert_eq!((number(&first, LIMIT), number(&first, REMAINING)), (Some(2), Some(1)));
    assert_eq!(number(&first, RESET), Some(30));
    let _ = world.call("GET", "/v1/feed", 1, None).await;
    let refused = world.call("GET", "/v1/feed", 1, None).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((number(&refused, LIMIT), number(&refused, REMAINING)), (Some(2), Some(0)));
    let wait: Option<u64> = number(&refused, header::RETRY_AFTER);
    assert!(wait.is_some_and(|wait| (1..=30).contains(&wait)), "{wait:?}");
}

#[test]
fn a_name_is_counted_however_it_is_spelt() {
    let limits = RateLimits::new(PerMinute { log_in_name: 2, ..PerMinute::default() }, 0);
    assert!(limits.log_in_as("ada").is_ok() && limits.log_in_as("ADA").is_ok());
    let refused = limits.log_in_as("Ada").expect_err("the third");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key(LIMIT));
    assert!(limits.log_in_as("ben").is_ok());
    assert!(RateLimits::off().log_in_as("ada").is_ok());
}
