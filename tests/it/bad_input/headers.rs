//! Tokens, conditions, keys and cursors that are not valid, or come from elsewhere.

use http::Method;
use serde_json::{Value, json};

use super::{Case, House, Who};

#[tokio::test]
async fn tokens_that_are_not_valid() {
    let house = House::new().await;
    let token = house.people[0].session["access_token"].as_str().expect("a token").to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("a token has three parts") };
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let mut flipped = signature.to_owned();
    flipped.replace_range(0..1, if signature.starts_with('A') { "B" } else { "A" });
    let forged = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer nonsense".to_owned(),
        format!("Basic {token}"),
        token.clone(),
        format!("Bearer {header}.{claims}.{flipped}"),
        format!("Bearer {header}.{claims}."),
        format!("Bearer {header}.{claims}"),
        format!("Bearer {none}.{claims}."),
        format!("Bearer {none}.{claims}.{signature}"),
        format!("Bearer {}", "x".repeat(4000)),
        "Bearer \u{fc}ml\u{e4}ut".to_owned(),
    ];
    let mut cases = Vec::new();
    let mut calls = house.calls_of_somebody();
    for (method, path, body) in &calls {
        let case = Case::new("nobody", Who::Nobody, method.clone(), path, 401, "unauthenticated");
        cases.push(body.iter().fold(case.header("if-match", "\"1\""), Case::json));
    }
    // Where anybody may read, a bad token is refused all the same.
    calls.extend(house.lists().into_iter().map(|list| (Method::GET, list, None)));
    calls.push((Method::GET, house.post_path(), None));
    calls.push((Method::GET, format!("{}/stream", house.post_path()), None));
    for (method, path, body) in &calls {
        for header in &forged {
            let case =
                Case::new(&format!("authorization: {header}"), Who::Nobody, method.clone(), path, 401, "invalid_token");
            cases.push(
                body.iter()
                    .fold(case.header("authorization", header.as_bytes()).header("if-match", "\"1\""), Case::json),
            );
        }
    }
    house.refuse(cases).await;
    house.stands().await;
}

#[tokio::test]
async fn headers_and_cursors_from_elsewhere() {
    let house = House::new().await;
    let mut cases = Vec::new();
    let (post, comment) = (house.post_path(), house.comment_path());

    // Edits name the version that they were made on.
    let edits = [(Who::Ada, &post, json!({ "markdown": "M" })), (Who::Ben, &comment, json!({ "text": "T" }))];
    for (who, path, body) in &edits {
        cases.push(Case::new("no If-Match", *who, Method::PUT, path, 428, "precondition_required").json(body));
        for etag in ["\"0\"", "\"2\"", "\"18446744073709551615\""] {
            cases.push(
                Case::new(&format!("If-Match: {etag}"), *who, Method::PUT, path, 412, "stale")
                    .json(body)
                    .header("if-match", etag),
            );
        }
    }

    // Idempotency-Key.
    for call in house.calls().into_iter().filter(|call| call.method == Method::POST) {
        let issues_tokens = call.path.starts_with("/v1/sessions");
        let good = issues_tokens.then(|| ("on a call that issues tokens", b"key".to_vec()));
        let bad = [
            ("empty", Vec::new()),
            ("too long", vec![b'k'; 129]),
            ("with a space", b"a key".to_vec()),
            ("not ASCII", "schl\u{fc}ssel".as_bytes().to_vec()),
            ("no text", vec![0xff, 0xfe]),
        ];
        for (what, key) in bad.into_iter().chain(good) {
            let case = Case::new(
                &format!("an Idempotency-Key {what}"),
                call.who,
                Method::POST,
                &call.path,
                422,
                "invalid_field",
            );
            cases.push(case.json(&call.good).header("idempotency-key", key).field("idempotency-key"));
        }
    }

    // Pages.
    for list in house.lists() {
        let mut page = |what: &str, query: &str, status, code, field: Option<&str>| {
            let case = Case::new(what, Who::Ada, Method::GET, &format!("{list}?{query}"), status, code);
            cases.push(Case { field: field.map(str::to_owned), ..case });
        };
        for limit in ["0", "101", "-1", "abc", "", "1e2", "99999999999999999999", "%00"] {
            page("a limit", &format!("limit={limit}"), 422, "invalid_field", Some("limit"));
        }
        page("an unknown parameter", "colour=red", 422, "invalid_field", Some("colour"));
        page("a parameter twice", "limit=5&limit=6", 422, "invalid_field", Some("limit"));
        for cursor in ["nonsense", "%00", "AAAA", "", &"A".repeat(3000)] {
            page("a cursor", &format!("before={cursor}"), 400, "invalid_cursor", None);
        }
        page("a cursor that is no text", "before=%ff", 422, "invalid_field", Some("before"));
    }
    let feed = house.people[0].client.get("/v1/feed?limit=1").await.expect(200).text("next");
    let posts = format!("/v1/users/{}/posts", house.people[0].id);
    let of_author = house.people[0].client.get(&format!("{posts}?limit=1")).await.expect(200).text("next");
    let elsewhere = [
        (Who::Ada, posts.clone(), &feed),
        (Who::Ada, format!("{post}/comments"), &feed),
        (Who::Ada, format!("{post}/likes"), &feed),
        (Who::Ada, "/v1/feed".to_owned(), &of_author),
        (Who::Ben, "/v1/feed".to_owned(), &feed),
        (Who::Cleo, format!("/v1/users/{}/posts", house.people[1].id), &of_author),
    ];
    for (who, list, cursor) in elsewhere {
        cases.push(Case::new(
            "another list's cursor",
            who,
            Method::GET,
            &format!("{list}?before={cursor}"),
            400,
            "invalid_cursor",
        ));
    }
    let mut altered = feed.clone();
    altered.replace_range(0..1, if feed.starts_with('A') { "B" } else { "A" });
    cases.push(Case::new(
        "an altered cursor",
        Who::Ada,
        Method::GET,
        &format!("/v1/feed?before={altered}"),
        400,
        "invalid_cursor",
    ));
    let both = format!("/v1/feed?before={feed}&after={feed}");
    cases.push(Case::new("both ends", Who::Ada, Method::GET, &both, 422, "invalid_field"));
    let one_way = format!("{post}/comments?after={feed}");
    cases.push(
        Case::new("a way that the list does not go", Who::Ada, Method::GET, &one_way, 422, "invalid_field")
            .field("after"),
    );

    // Consistency tokens.
    for token in ["nonsense", "AAAA", "%", &"A".repeat(6000)] {
        let case = Case::new("a consistency token", Who::Ada, Method::GET, "/v1/feed", 422, "invalid_field");
        cases.push(case.header("consistency-token", token).field("consistency-token"));
    }
    house.refuse(cases).await;

    // W4: another body under a used key.
    let [ada, ..] = &house.people;
    let _ = ada.client.post_once("/v1/posts", "used", &json!({ "markdown": "once" })).await.expect(201);
    let again = |path: &str, body: Value| {
        let case = Case::new("a used key", Who::Ada, Method::POST, path, 422, "idempotency_key_reused");
        case.json(&body).header("idempotency-key", "used")
    };
    let comments = format!("{post}/comments");
    house
        .refuse(vec![again("/v1/posts", json!({ "markdown": "twice" })), again(&comments, json!({ "text": "once" }))])
        .await;
    house.stands().await;
}
