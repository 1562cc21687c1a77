//! What handlers take: each way of being wrong has its code, and the field where there is one.

use axum::Router;
use axum::body::Body as Bytes;
use axum::extract::DefaultBodyLimit;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use domain::PostId;
use domain::text::Title;
use http::{Request, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::http::extract::{BODY_LIMIT, Body, Id, Params};
use crate::http::problem::{Code, Problem, no_such_method, no_such_path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outer {
    title: Option<Title>,
    count: u8,
    inner: Option<Inner>,
    #[serde(default)]
    list: Vec<Inner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    id: PostId,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Up,
    Down,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    limit: Option<u8>,
    text: Option<String>,
    way: Option<Way>,
}

fn router() -> Router {
    let body = |Body(outer): Body<Outer>| async move {
        let Outer { title, count, inner, list } = outer;
        let ids = inner.into_iter().chain(list).map(|inner| inner.id.to_string()).collect::<Vec<_>>();
        format!("{title:?} {count} {ids:?}")
    };
    let query = |Params(Query { limit, text, way }): Params<Query>| async move {
        let way = way.map(|way| match way {
            Way::Up => "up",
            Way::Down => "down",
        });
        format!("{limit:?} {text:?} {way:?}")
    };
    Router::new()
        .route("/body", post(body))
        .route("/query", get(query))
        .route("/things/{id}/parts", get(|Id(id): Id<PostId>| async move { id.to_string() }))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn(crate::http::trace::layer))
}

async fn send(request: Request<Bytes>) -> (StatusCode, String) {
    let response = router().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[crate::http::trace::HEADER].len(), 32);
    let trace = response.headers()[crate::http::trace::HEADER].to_str().unwrap().to_owned();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    if !status.is_success() {
        assert!(text.contains(&trace), "a problem names the trace: {text}");
    }
    (status, text)
}

/// Status, code and field of a refused request.
async fn refused(request: Request<Bytes>) -> (u16, String, Option<String>) {
    let (status, text) = send(request).await;
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no problem: {status} {text}"));
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    (status.as_u16(), text("code").unwrap(), text("field"))
}

fn with_body(content_type: Option<&str>, body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = Request::post("/body");
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request.body(body.into()).unwrap()
}

fn json(body: impl Into<Bytes>) -> Request<Bytes> {
    with_body(Some("application/json"), body)
}

fn query(query: &str) -> Request<Bytes> {
    Request::get(format!("/query?{query}")).body(Bytes::empty()).unwrap()
}

#[tokio::test]
async fn a_proper_body_is_taken() {
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let (status, text) = send(with_body(Some(content_type), r#"{"count": 3, "title": " t "}"#)).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, r#"Some("t") 3 []"#), "{content_type}");
    }
}

#[tokio::test]
async fn other_content_types_are_415() {
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx")]
    {
        let expected = (415, "unsupported_media_type".to_owned(), None);
        assert_eq!(refused(with_body(content_type, r#"{"count": 3}"#)).await, expected, "{content_type:?}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413() {
    let body = format!(r#"{{"count": 3{}}}"#, " ".repeat(BODY_LIMIT));
    assert_eq!(refused(json(body)).await, (413, "body_too_large".to_owned(), None));
    let answer = Problem::from(Code::BodyTooLarge).into_response();
    assert_eq!(answer.headers()["connection"], "close", "the rest of the body is not read");
    let body = format!(r#"{{"count": 3{}}}"#, " ".repeat(BODY_LIMIT - 12));
    assert_eq!(send(json(body)).await.0, StatusCode::OK, "exactly at the limit");
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 11] = [
        b"",
        b"{",
        b"{\"count\": 3,}",
        b"{\"colour\": 3, \"count\"",
        b"{\"colour\": \"\xff\"}",
        b"{\"count\": 3} {}",
        b"\xff\xfe",
        b"{\"count\": 3, \"title\": \"\xc3\x28\"}",
        b"{\"count\": 3, \"title\": \"\\ud800\"}",
        b"{\"count\": 3, \"title\": \"a\nb\"}",
        deep.as_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(refused(json(body.to_vec())).await, (400, "malformed_json".to_owned(), None), "{shown}");
    }
}

#[tokio::test]
async fn wrong_fields_are_422_and_named() {
    let id = "018f0000-0000-7000-8000-000000000000";
    for (body, field) in [
        (r#"{}"#.to_owned(), Some("count")),
        (r#"{"count": "3"}"#.to_owned(), Some("count")),
        (r#"{"count": 300}"#.to_owned(), Some("count")),
        (r#"{"count": null}"#.to_owned(), Some("count")),
        (r#"{"count": 3, "count": 3}"#.to_owned(), Some("count")),
        (r#"{"count": 3, "colour": 1}"#.to_owned(), Some("colour")),
        (r#"{"count": 3, "title": ""}"#.to_owned(), Some("title")),
        (r#"{"count": 3, "title": "a\u0000b"}"#.to_owned(), Some("title")),
        (format!(r#"{{"count": 3, "title": "{}"}}"#, "x".repeat(201)), Some("title")),
        (r#"{"count": 3, "inner": {}}"#.to_owned(), Some("inner.id")),
        (r#"{"count": 3, "inner": {"id": "x"}}"#.to_owned(), Some("inner.id")),
        (format!(r#"{{"count": 3, "list": [{{"id": "{id}"}}, {{"id": "{id}", "x": 1}}]}}"#), Some("list[1].x")),
        (r#"[]"#.to_owned(), None),
        (r#"["t", 3, null, []]"#.to_owned(), None),
        (r#"3"#.to_owned(), None),
        (r#"null"#.to_owned(), None),
    ] {
        let expected = (422, "invalid_field".to_owned(), field.map(str::to_owned));
        assert_eq!(refused(json(body.clone())).await, expected, "{body:.60}");
    }
    let (_, text) = send(json(r#"{"count": 3, "title": ""}"#)).await;
    assert!(text.contains("must not be empty") && !text.contains("at line"), "{text}");
}

#[tokio::test]
async fn query_strings_are_strict() {
    for (good, expected) in [
        ("", "None None None"),
        ("limit=20&text=a%20b+c%C3%A9&way=down", r#"Some(20) Some("a b cé") Some("down")"#),
        ("text=", r#"None Some("") None"#),
        ("&limit=1&", "Some(1) None None"),
        ("text=up&way=up", r#"None Some("up") Some("up")"#),
    ] {
        assert_eq!(send(query(good)).await, (StatusCode::OK, expected.to_owned()), "{good}");
    }
    for (bad, field) in [
        ("limit=", "limit"),
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("limit=256", "limit"),
        ("limit=1&limit=1", "limit"),
        ("limits=1", "limits"),
        ("way=left", "way"),
        ("text=%ff", "text"),
        ("text=%zz", "text"),
        ("text=%4", "text"),
        ("text=%+1", "text"),
        ("%ff=1", "%ff"),
        ("x", "x"),
    ] {
        let expected = (422, "invalid_field".to_owned(), Some(field.to_owned()));
        assert_eq!(refused(query(bad)).await, expected, "{bad}");
    }
}

#[tokio::test]
async fn what_is_no_id_is_not_found() {
    let id = "018f0000-0000-7000-8000-000000000000";
    let get = |path: String| Request::get(path).body(Bytes::empty()).unwrap();
    assert_eq!(send(get(format!("/things/{id}/parts"))).await, (StatusCode::OK, id.to_owned()));
    let upper = id.to_uppercase();
    let of_version_4 = "018f0000-0000-4000-8000-000000000000";
    for wrong in ["x", upper.as_str(), "018f000000007000800000000000 0000", of_version_4, "%00", "%ff", "..%2f"] {
        let wrong = wrong.replace(' ', "");
        let expected = (404, "not_found".to_owned(), None);
        assert_eq!(refused(get(format!("/things/{wrong}/parts"))).await, expected, "{wrong}");
    }
    assert_eq!(refused(get("/nowhere".to_owned())).await.0, 404);
    let (status, code, _) = refused(Request::delete("/body").body(Bytes::empty()).unwrap()).await;
    assert_eq!((status, code.as_str()), (405, "method_not_allowed"));
}
