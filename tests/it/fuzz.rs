//! Whatever anybody sends to any endpoint: never a 5xx, and the server stays.

use std::sync::Arc;

use harness::{Answer, Client, Document, Server, Tokens, get_current};
use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

/// A request that somebody made up.
#[derive(Clone, Debug)]
struct Hostile {
    method: Method,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    signed_in: bool,
}

/// What is really there, so that some requests get past the first door.
#[derive(Clone, Debug)]
struct Known {
    user: String,
    post: String,
    comment: String,
    cursor: String,
    token: String,
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => format!("{text}{}", char::from(*byte)),
        _ => format!("{text}%{byte:02x}"),
    })
}

fn segment(known: String) -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(known),
        1 => Just("01890000-0000-7000-8000-000000000000".to_owned()),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| percent_encoded(&bytes)),
    ]
}

fn path(known: &Known) -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "/v1/accounts",
        "/v1/sessions",
        "/v1/sessions/refresh",
        "/v1/sessions/current",
        "/v1/posts",
        "/v1/feed",
        "/v1/feed/count",
        "/v1/feed/explain",
        "/v1/feed/stream",
        "/v1/me",
        "/v1/me/blocked",
        "/v1/me/muted",
        "/v1/users",
        "/health/live",
        "/health/ready",
        "/metrics",
    ]);
    let of_user = prop::sample::select(vec!["follow", "block", "mute", "posts", "followers", "following", ""]);
    let of_post = prop::sample::select(vec!["", "/comments", "/likes", "/like", "/history", "/stream"]);
    let path = prop_oneof![
        4 => fixed.prop_map(str::to_owned),
        2 => (segment(known.user.clone()), of_user).prop_map(|(user, rest)| format!("/v1/users/{user}/{rest}")),
        5 => (segment(known.post.clone()), of_post).prop_map(|(post, rest)| format!("/v1/posts/{post}{rest}")),
        2 => (segment(known.comment.clone()), prop::sample::select(vec!["", "/history"]))
            .prop_map(|(comment, rest)| format!("/v1/comments/{comment}{rest}")),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| format!("/{}", percent_encoded(&bytes))),
    ];
    let name = prop::sample::select(vec!["limit", "before", "after", "ids", "usernames", "post", "last_event_id", "x"]);
    let value = prop_oneof![
        2 => Just(known.cursor.clone()),
        2 => (-5i64..200).prop_map(|number| number.to_string()),
        2 => prop::collection::vec(any::<u8>(), 0..50).prop_map(|bytes| percent_encoded(&bytes)),
    ];
    let query = prop::collection::vec((name, value), 0..3).prop_map(|pairs| {
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    });
    (path, query).prop_map(|(path, query)| if query.is_empty() { path } else { format!("{path}?{query}") })
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9_ ]{0,20}",
        2 => any::<String>(),
        2 => prop::sample::select(vec![
            "<script>alert(1)</script>", "[x](javascript:alert(1))", "![](data:text/html,x)", "\u{202e}", "\0", "\u{feff}",
            "**", "```", "| a |\n|--|\n", "[^1]", "&#x0;", "> > > > ", "* * * ", "<!--", "]]>", "\u{1f469}\u{200d}\u{1f680}",
        ]).prop_map(str::to_owned),
        1 => (1..3000usize).prop_map(|length| "[".repeat(length)),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn value(known: &Known) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => text().prop_map(Value::from),
        2 => prop::sample::select(vec![json!("public"), json!("followers"), json!("body"), json!("cookie"), json!("ada")]),
        2 => prop::sample::select(vec![json!(known.comment), json!(known.post), json!(known.user)]),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn body(known: &Known) -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec![
        "username",
        "password",
        "display_name",
        "bio",
        "delivery",
        "refresh_token",
        "title",
        "markdown",
        "visibility",
        "text",
        "parent_id",
        "id",
    ]);
    let likely = prop_oneof![
        text().prop_map(|text| json!({ "markdown": text })),
        (text(), text()).prop_map(|(title, markdown)| json!({ "title": title, "markdown": markdown })),
        text().prop_map(|text| json!({ "text": text })),
        (text(), text()).prop_map(|(name, word)| json!({ "username": name, "password": word })),
        ("[a-z]{3,12}", text())
            .prop_map(|(name, word)| json!({ "username": name, "password": "long enough", "display_name": word })),
    ];
    let object = prop::collection::btree_map(field.prop_map(str::to_owned), value(known), 0..4);
    let json = prop_oneof![
        5 => likely,
        4 => object.prop_map(|map| Value::Object(map.into_iter().collect())),
        1 => value(known),
    ];
    prop_oneof![
        6 => json.clone().prop_map(|json| json.to_string().into_bytes()),
        // A byte of it is another.
        2 => (json, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(json, index, byte)| {
            let mut bytes = json.to_string().into_bytes();
            let at = index.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => Just(Vec::new()),
    ]
}

fn headers(known: &Known) -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let name = prop::sample::select(vec![
        "authorization",
        "cookie",
        "origin",
        "idempotency-key",
        "if-match",
        "consistency-token",
        "last-event-id",
        "accept",
        "accept-encoding",
        "content-type",
        "content-encoding",
        "range",
        "x-forwarded-for",
        "x-trace-id",
        "traceparent",
        "if-none-match",
        "expect",
    ]);
    let known = vec![
        known.cursor.clone(),
        known.token.clone(),
        "\"1\"".to_owned(),
        "*".to_owned(),
        "W/\"1\"".to_owned(),
        format!("hybrid_live_access={}", known.token),
        "hybrid_live_refresh=x".to_owned(),
        "0000000000000000-p0-0".to_owned(),
        "http://127.0.0.1".to_owned(),
        "gzip".to_owned(),
        "text/event-stream".to_owned(),
        "key".to_owned(),
    ];
    let value = prop_oneof![
        3 => prop::sample::select(known).prop_map(String::into_bytes),
        2 => "[ -~]{0,60}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ];
    // "100-continue" would wait for a server that has no reason to answer it: not a matter of bad input.
    let filled = (name, value).prop_filter("a header", |(name, value)| {
        HeaderValue::from_bytes(value).is_ok() && !(*name == "expect" && value.to_ascii_lowercase().starts_with(b"100"))
    });
    prop::collection::vec(filled, 0..4)
}

fn hostile(known: &Known) -> impl Strategy<Value = Hostile> {
    let method = prop::sample::select(vec![
        Method::GET,
        Method::GET,
        Method::POST,
        Method::POST,
        Method::POST,
        Method::PUT,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::HEAD,
        Method::OPTIONS,
    ]);
    (method, path(known), headers(known), body(known), prop::bool::weighted(0.8))
        .prop_map(|(method, path, headers, body, signed_in)| Hostile { method, path, headers, body, signed_in })
}

async fn send(client: &Client, hostile: &Hostile) -> Result<(), TestCaseError> {
    // A session that a request ends would make the rest of the run a run of strangers: the token lives on anyway.
    let client = if hostile.signed_in { client.clone() } else { Client::new(client.base()) };
    let mut request = client.request(hostile.method.clone(), &hostile.path);
    let typed = hostile.headers.iter().any(|(name, _)| *name == "content-type");
    if !typed && hostile.method != Method::GET && !hostile.body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in &hostile.headers {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_bytes(value));
        request = request.header(name, value.expect("filtered"));
    }
    if hostile.method != Method::GET && hostile.method != Method::HEAD {
        request = request.body(hostile.body.clone());
    }
    let Ok(request) = request.build() else { return Ok(()) };
    let url = request.url().clone();
    let response = client.execute(request).await;
    let response = response.map_err(|error| TestCaseError::fail(format!("the connection broke: {error:?}")))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let kind = response.headers().get("content-type").map(|kind| kind.as_bytes().to_vec()).unwrap_or_default();
    if kind.starts_with(b"text/event-stream") {
        return Ok(());
    }
    let body = response.bytes().await.map_err(|error| TestCaseError::fail(format!("half an answer: {error:?}")))?;
    let answer = Answer { status, headers, body };
    let text = String::from_utf8_lossy(&answer.body);
    let promised = Document::kept().judge(&hostile.method, url.path(), &answer);
    prop_assert!(promised.is_ok(), "not as the document says: {promised:?}\n{}", answer.shown());
    prop_assert!(status < 500, "{} {}", status, text);
    if status >= 400 && hostile.method != Method::HEAD {
        prop_assert_eq!(kind.as_slice(), b"application/problem+json".as_slice(), "{} {}", status, text);
        let problem: Value = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(problem["code"].is_string() && problem["trace_id"].is_string(), "{}", problem);
    }
    Ok(())
}

#[test]
fn nothing_that_is_sent_is_answered_by_5xx() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (server, client, known) = runtime.block_on(async {
        let server = Server::start().await;
        let [ada] = server.people(["ada"]).await;
        let mut tokens = Tokens::default();
        let post = ada.publish("a post", &mut tokens).await.id;
        ada.publish("another", &mut tokens).await;
        let comment = ada.comment(&post, "a comment", &mut tokens).await;
        let cursor = get_current(&ada.client, "/v1/feed?limit=1", &tokens).await.expect(200).text("next");
        let token = ada.session["access_token"].as_str().expect("a token").to_owned();
        let known = Known { user: ada.id.clone(), post, comment, cursor, token };
        (server, ada.client, known)
    });

    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&harness::seed().to_le_bytes());
    let config = Config { cases: crate::cases(6_000), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let client = Arc::new(client);
    let outcome = runner.run(&hostile(&known), |hostile| runtime.block_on(send(&client, &hostile)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    runtime.block_on(async {
        let _ = server.client().get("/health/ready").await.expect(200);
        server.verify().await;
    });
    assert!(!server.log().contains("panicked"), "a handler panicked");
}
