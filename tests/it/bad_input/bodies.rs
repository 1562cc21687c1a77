//! Bodies and texts that a call does not take.

use http::Method;
use serde_json::{Value, json};

use super::{Case, House, UNKNOWN_ID, Who};

#[tokio::test]
async fn bodies_that_are_not_what_a_call_takes() {
    let house = House::new().await;
    let mut cases = Vec::new();
    for call in house.calls() {
        let case = |what: &str, status, code| {
            let case = Case::new(what, call.who, call.method.clone(), &call.path, status, code);
            call.headers.iter().fold(case, |case, (name, value)| case.header(name, *value))
        };
        let with = |field: &str, value: Value| {
            let mut body = call.good.clone();
            body[field] = value;
            body
        };
        let huge = format!("{{\"markdown\":\"{}\"}}", "x".repeat(300 * 1024));
        cases.push(case("a body over the limit", 413, "body_too_large").raw(huge));
        let xml = case("another content type", 415, "unsupported_media_type").header("content-type", "text/xml");
        cases.push(Case { body: Some(call.good.to_string().into_bytes()), ..xml });
        let bare = case("no content type", 415, "unsupported_media_type");
        cases.push(Case { body: Some(call.good.to_string().into_bytes()), ..bare });
        cases.push(case("no body", 400, "malformed_json").raw(""));
        cases.push(case("broken JSON", 400, "malformed_json").raw("{\"a"));
        cases.push(case("more after the JSON", 400, "malformed_json").raw(format!("{} {{}}", call.good)));
        let first = call.good.as_object().and_then(|good| good.keys().next()).expect("a field");
        let bytes = |value: &[u8]| [format!("{{\"{first}\":\"").as_bytes(), value, b"\"}"].concat();
        cases.push(case("invalid UTF-8", 400, "malformed_json").raw(bytes(b"\xff\xfe")));
        cases.push(case("half a surrogate", 400, "malformed_json").raw(bytes(b"\\ud800")));
        cases.push(case("deep nesting", 400, "malformed_json").raw("[".repeat(100_000)));
        cases.push(case("an array of what belongs into its fields", 422, "invalid_field").json(&call.positional));
        cases.push(case("an array", 422, "invalid_field").json(&json!([1, 2])));
        cases.push(case("a text", 422, "invalid_field").json(&json!("text")));
        cases.push(
            case("an unknown field", 422, "invalid_field").json(&with("is_admin", json!(true))).field("is_admin"),
        );
        let doubled = call.good.to_string().replacen('{', &format!("{{\"{}\":\"x\",", first), 1);
        cases.push(case("a field twice", 422, "invalid_field").raw(doubled));
        for &field in call.required {
            let mut body = call.good.clone();
            body.as_object_mut().expect("an object").remove(field);
            cases.push(case(&format!("without {field}"), 422, "invalid_field").json(&body).field(field));
            cases.push(
                case(&format!("null as {field}"), 422, "invalid_field").json(&with(field, json!(null))).field(field),
            );
        }
        for field in call.good.as_object().expect("an object").keys() {
            cases.push(
                case(&format!("a number as {field}"), 422, "invalid_field").json(&with(field, json!(7))).field(field),
            );
            cases.push(
                case(&format!("an object as {field}"), 422, "invalid_field").json(&with(field, json!({}))).field(field),
            );
        }
    }
    house.refuse(cases).await;
    house.stands().await;
}

#[tokio::test]
async fn texts_that_are_not_allowed() {
    let house = House::new().await;
    let mut cases = Vec::new();
    let texts = |limit: usize| {
        [
            ("nothing", String::new()),
            ("white space", " \n\t ".to_owned()),
            ("invisible", "\u{200b}\u{2060}".to_owned()),
            ("a NUL", "a\0b".to_owned()),
            ("an escape", "a\u{1b}[31m".to_owned()),
            ("a C1 control character", "a\u{85}b\u{9b}".to_owned()),
            ("too long", "x".repeat(limit + 1)),
        ]
    };
    let fields: [(&'static str, usize); 5] =
        [("display_name", 50), ("title", 200), ("markdown", 64 * 1024), ("text", 8 * 1024), ("username", 30)];
    for call in house.calls() {
        for (field, limit) in fields {
            // A user name that nobody can have is, at the log-in, no more than wrong.
            if call.good.get(field).is_none() || (field == "username" && call.path == "/v1/sessions") {
                continue;
            }
            for (what, text) in texts(limit) {
                let mut body = call.good.clone();
                body[field] = json!(text);
                let what = format!("{field} with {what}");
                let case = Case::new(&what, call.who, call.method.clone(), &call.path, 422, "invalid_field");
                let case = call.headers.iter().fold(case, |case, (name, value)| case.header(name, *value));
                cases.push(case.json(&body).field(field));
            }
        }
    }
    let account = |what: &str, field: &'static str, value: Value| {
        let mut body = json!({ "username": "newcomer", "password": "long enough" });
        body[field] = value;
        Case::new(what, Who::Nobody, Method::POST, "/v1/accounts", 422, "invalid_field").json(&body).field(field)
    };
    for name in ["ab", "1abc", "_abc", "a-b", "a b", "ad\u{e4}", "a/b", "\u{430}da", "abc\n"] {
        cases.push(account(&format!("the user name {name:?}"), "username", json!(name)));
    }
    cases.push(account("a short password", "password", json!("1234567")));
    cases.push(account("a long password", "password", json!("x".repeat(257))));
    let profile = |what: &str, field: &'static str, value: Value| {
        let mut body = json!({ "display_name": "Ada", "bio": "B" });
        body[field] = value;
        let case = Case::new(what, Who::Ada, Method::PUT, "/v1/me", 422, "invalid_field").header("if-match", "*");
        case.json(&body).field(field)
    };
    cases.push(profile("a long bio", "bio", json!("x".repeat(501))));
    cases.push(profile("a NUL in a bio", "bio", json!("a\0b")));
    cases.push(profile("an escape in a bio", "bio", json!("a\u{1b}[31m")));
    cases.push(profile("a C1 control character in a bio", "bio", json!("a\u{85}b")));
    cases.push(profile("another user name", "username", json!("ada_2")));
    cases.push(account("a direction in a name", "display_name", json!("a\u{202e}b")));
    cases.push(account("lines in a name", "display_name", json!("a\nb")));

    let post = |what: &str, body: Value, field: &'static str| {
        Case::new(what, Who::Ada, Method::POST, "/v1/posts", 422, "invalid_field").json(&body).field(field)
    };
    cases.push(post("an unknown visibility", json!({ "markdown": "M", "visibility": "secret" }), "visibility"));
    cases.push(post("lines in a title", json!({ "markdown": "M", "title": "a\nb" }), "title"));
    let session = json!({ "username": "ada", "password": "x", "delivery": "pigeon" });
    let sessions = Case::new("an unknown delivery", Who::Nobody, Method::POST, "/v1/sessions", 422, "invalid_field");
    cases.push(sessions.json(&session).field("delivery"));

    let comments = format!("{}/comments", house.post_path());
    let reply = |what: &str, parent: &str, status, code| {
        let body = json!({ "text": "T", "parent_id": parent });
        Case::new(what, Who::Cleo, Method::POST, &comments, status, code).json(&body)
    };
    cases.push(reply("a parent that is no id", "7", 422, "invalid_field").field("parent_id"));
    cases.push(reply("a parent that is not there", UNKNOWN_ID, 404, "not_found"));
    cases.push(reply("a parent that is gone", &house.gone_comment, 404, "not_found"));
    let elsewhere = format!("/v1/posts/{}/comments", house.other_post.id);
    let body = json!({ "text": "T", "parent_id": house.comment });
    cases
        .push(Case::new("a parent on another post", Who::Cleo, Method::POST, &elsewhere, 404, "not_found").json(&body));
    house.refuse(cases).await;
    house.stands().await;
}
