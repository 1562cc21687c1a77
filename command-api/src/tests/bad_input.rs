//! What bad input gets: the stated 4xx with the field and the reason, and no effect at all.

use adapters::http::clock::{entropy, now};
use adapters::http::extract::BODY_LIMIT;
use axum::body::Body;
use domain::{CommentId, PostId};
use http::Request;
use serde_json::{Value, json};

use super::world::{PASSWORD, Person, Reply, World, request};

/// Every call that takes a body, with one that would be accepted.
async fn calls(ada: &Person) -> Vec<(&'static str, String, Option<&'static str>, Value)> {
    let post = ada.publish("hello").await;
    let comment = ada.comment(post, "hi").await;
    vec![
        ("POST", "/v1/accounts".to_owned(), None, json!({ "username": "grace", "password": PASSWORD })),
        ("POST", "/v1/sessions".to_owned(), None, json!({ "username": "ada", "password": PASSWORD })),
        ("POST", "/v1/sessions/refresh".to_owned(), None, json!({ "refresh_token": "x" })),
        ("POST", "/v1/posts".to_owned(), None, json!({ "markdown": "hello" })),
        ("PUT", format!("/v1/posts/{post}"), Some("\"1\""), json!({ "markdown": "bye" })),
        ("POST", format!("/v1/posts/{post}/comments"), None, json!({ "text": "hi" })),
        ("PUT", format!("/v1/comments/{comment}"), Some("\"1\""), json!({ "text": "bye" })),
    ]
}

async fn raw(ada: &Person, method: &str, path: &str, etag: Option<&str>, kind: Option<&str>, body: Vec<u8>) -> Reply {
    let mut request = Request::builder().method(method).uri(path).header("authorization", &ada.bearer);
    if let Some(etag) = etag {
        request = request.header("if-match", etag);
    }
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    ada.world.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let calls = calls(&ada).await;
    let before = world.everything().await;
    for (method, path, etag, body) in calls {
        let send = async |kind: Option<&str>, body: Vec<u8>| raw(&ada, method, &path, etag, kind, body).await;
        let good = body.to_string().into_bytes();
        let json_type = Some("application/json");
        send(None, good.clone()).await.refused(415, "unsupported_media_type");
        send(Some("text/plain"), good.clone()).await.refused(415, "unsupported_media_type");
        send(Some("application/x-www-form-urlencoded"), b"a=b".to_vec()).await.refused(415, "unsupported_media_type");
        send(json_type, vec![b' '; BODY_LIMIT + 1]).await.refused(413, "body_too_large");
        for malformed in [b"".as_slice(), b"{", b"\xff\xfe\xfd", b"{\"x\": \"\xc3\"}", &good[..good.len() - 1]] {
            send(json_type, malformed.to_vec()).await.refused(400, "malformed_json");
        }
        send(json_type, [&good[..], b"x"].concat()).await.refused(400, "malformed_json");
        let by_position: Value = body.as_object().unwrap().values().cloned().collect();
        for wrong in [by_position, json!([]), json!("x"), json!(null), json!(1)] {
            send(json_type, wrong.to_string().into_bytes()).await.refused(422, "invalid_field");
        }
        let mut unknown = body.clone();
        unknown["colour"] = "red".into();
        send(json_type, unknown.to_string().into_bytes()).await.refused(422, "invalid_field").at("colour");
        for (field, _) in body.as_object().unwrap() {
            let mut wrong = body.clone();
            wrong[field] = json!({ "a": 1 });
            send(json_type, wrong.to_string().into_bytes()).await.refused(422, "invalid_field").at(field);
            wrong.as_object_mut().unwrap().remove(field);
            if field != "refresh_token" {
                send(json_type, wrong.to_string().into_bytes()).await.refused(422, "invalid_field").at(field);
            }
        }
        let with_query = raw(&ada, method, &format!("{path}?force=1"), etag, json_type, good).await;
        with_query.refused(422, "invalid_field").at("force");
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn texts_that_are_not_allowed() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let calls = calls(&ada).await;
    let before = world.everything().await;
    let long = |length: usize| "x".repeat(length);
    let texts = |limit: usize| {
        vec![
            String::new(),
            " \n\t ".to_owned(),
            "a\u{0}b".to_owned(),
            "a\u{1b}[2J".to_owned(),
            "a\u{7f}".to_owned(),
            long(limit + 1),
        ]
    };
    let line = |limit: usize| [texts(limit), vec!["a\nb".to_owned(), "a\u{202e}b".to_owned()]].concat();
    let cases: Vec<(&str, &str, Vec<String>)> = vec![
        (
            "/v1/accounts",
            "username",
            vec!["ab".into(), long(31), "1ab".into(), "a b".into(), "ä_bc".into(), String::new(), "a\u{0}bc".into()],
        ),
        ("/v1/accounts", "password", vec!["1234567".into(), long(257), String::new(), "12345678\u{0}".into()]),
        ("/v1/accounts", "display_name", line(50)),
        ("/v1/sessions", "delivery", vec!["carrier pigeon".into(), String::new()]),
        ("/v1/posts", "title", line(200)),
        ("/v1/posts", "markdown", texts(64 * 1024)),
        ("/v1/posts", "visibility", vec!["secret".into(), "Public".into(), String::new()]),
    ];
    for (method, path, etag, body) in &calls {
        let mut wanted: Vec<(&str, Vec<String>)> =
            cases.iter().filter(|(at, ..)| at == path).map(|(_, field, texts)| (*field, texts.clone())).collect();
        if path.starts_with("/v1/posts/") && *method == "PUT" {
            wanted.extend([("title", line(200)), ("markdown", texts(64 * 1024))]);
        }
        if path.contains("comments") {
            wanted.push(("text", texts(8 * 1024)));
        }
        for (field, texts) in wanted {
            for text in texts {
                let mut wrong = body.clone();
                wrong[field] = text.clone().into();
                let reply =
                    raw(&ada, method, path, *etag, Some("application/json"), wrong.to_string().into_bytes()).await;
                assert_eq!(reply.status, 422, "{path} {field} {text:.20?}: {reply:?}");
                let reply = reply.refused(422, "invalid_field").at(field);
                assert!(!reply.text("detail").is_empty());
            }
        }
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn the_longest_that_is_allowed_is_accepted() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    // 64 KiB of what JSON has to escape is six times as much on the wire, and above the limit of bodies.
    let post = ada.publish(&"x".repeat(64 * 1024)).await;
    ada.comment(post, &"é".repeat(4 * 1024)).await;
    let body = json!({ "username": "a".repeat(30), "password": "p".repeat(256), "display_name": "é".repeat(50) });
    world.post("/v1/accounts", &[], body).await.expect(201);
    let body = json!({ "title": "é".repeat(200), "markdown": "\u{202e}x\u{200d}" });
    ada.post("/v1/posts", body).await.expect(201);
}

#[tokio::test]
async fn keys_that_are_no_keys() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let post = ada.publish("hello").await;
    let before = world.everything().await;
    let long = "k".repeat(129);
    for path in ["/v1/posts".to_owned(), format!("/v1/posts/{post}/comments"), "/v1/accounts".to_owned()] {
        let body = match path.as_str() {
            "/v1/posts" => json!({ "markdown": "x" }),
            "/v1/accounts" => json!({ "username": "grace", "password": PASSWORD }),
            _ => json!({ "text": "x" }),
        };
        for key in ["", " ", "a b", "\u{e9}", long.as_str()] {
            let reply = ada.post_once(&path, key, body.clone()).await;
            reply.refused(422, "invalid_field").at("Idempotency-Key");
        }
        let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
        ada.send("POST", &path, &twice, Some(body)).await.refused(422, "invalid_field").at("Idempotency-Key");
    }
    assert_eq!(world.everything().await, before);
    // Where nothing can be done twice, a key means nothing.
    let reply = ada.send("PUT", &format!("/v1/posts/{post}/like"), &[("idempotency-key", "")], None).await;
    reply.expect(204);
    ada.post_once("/v1/posts", &"k".repeat(128), json!({ "markdown": "x" })).await.expect(201);
}

#[tokio::test]
async fn who_is_nobody_or_not_who_they_say() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let post = ada.publish("hello").await;
    let comment = ada.comment(post, "hi").await;
    let expired = {
        let session = domain::SessionId::from_parts(now(), entropy());
        world.tokens.issue(ada.id, session, now().plus_millis(-3_600_000)).unwrap()
    };
    let elsewhere = World::together().await.person("ada").await;
    let before = world.everything().await;
    let calls = [
        ("POST", "/v1/posts".to_owned(), Some(json!({ "markdown": "x" }))),
        ("PUT", format!("/v1/posts/{post}"), Some(json!({ "markdown": "x" }))),
        ("DELETE", format!("/v1/posts/{post}"), None),
        ("POST", format!("/v1/posts/{post}/comments"), Some(json!({ "text": "x" }))),
        ("PUT", format!("/v1/comments/{comment}"), Some(json!({ "text": "x" }))),
        ("DELETE", format!("/v1/comments/{comment}"), None),
        ("PUT", format!("/v1/posts/{post}/like"), None),
        ("DELETE", format!("/v1/posts/{post}/like"), None),
        ("PUT", format!("/v1/users/{}/follow", ada.id), None),
        ("DELETE", format!("/v1/users/{}/follow", ada.id), None),
        ("PUT", format!("/v1/users/{}/block", ada.id), None),
        ("DELETE", format!("/v1/users/{}/block", ada.id), None),
        ("PUT", format!("/v1/users/{}/mute", ada.id), None),
        ("DELETE", format!("/v1/users/{}/mute", ada.id), None),
        ("PUT", "/v1/me".to_owned(), Some(json!({ "display_name": "x", "bio": "" }))),
        ("DELETE", "/v1/sessions/current".to_owned(), None),
    ];
    for (method, path, body) in calls {
        let send = async |token: Option<&str>| {
            let headers: Vec<_> = token.map(|token| ("authorization", token)).into_iter().collect();
            world.send(request(method, &path, &headers, body.clone())).await
        };
        assert_eq!(send(None).await.refused(401, "unauthenticated").header("www-authenticate"), Some("Bearer"));
        send(Some(&format!("Bearer {expired}"))).await.refused(401, "invalid_token");
        send(Some(&elsewhere.bearer)).await.refused(401, "invalid_token");
        send(Some("Bearer x.y.z")).await.refused(401, "invalid_token");
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn things_that_are_not_there() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let before = world.everything().await;
    let (post, comment) = (PostId::from_parts(now(), entropy()), CommentId::from_parts(now(), entropy()));
    let upper = post.to_string().to_uppercase();
    for post in [post.to_string(), upper, "1".to_owned(), "%00".to_owned(), "..".to_owned()] {
        let path = format!("/v1/posts/{post}");
        ada.edit(&path, "\"1\"", json!({ "markdown": "x" })).await.refused(404, "not_found");
        ada.delete(&path).await.refused(404, "not_found");
        ada.put(&format!("{path}/like")).await.refused(404, "not_found");
        ada.delete(&format!("{path}/like")).await.refused(404, "not_found");
        ada.post(&format!("{path}/comments"), json!({ "text": "x" })).await.refused(404, "not_found");
    }
    for comment in [comment.to_string(), "x".to_owned()] {
        let path = format!("/v1/comments/{comment}");
        ada.edit(&path, "\"1\"", json!({ "text": "x" })).await.refused(404, "not_found");
        ada.delete(&path).await.refused(404, "not_found");
    }
    ada.post("/v1/nowhere", json!({})).await.refused(404, "not_found");
    ada.send("PATCH", "/v1/posts", &[], None).await.refused(405, "method_not_allowed");
    ada.put("/v1/sessions").await.refused(405, "method_not_allowed");
    assert_eq!(world.everything().await, before);
}
