//! Things that are not there, or belong to others; paths and methods that nobody serves.

use http::Method;
use serde_json::{Value, json};

use super::{Case, House, UNKNOWN_ID, Who};

#[tokio::test]
async fn things_that_are_not_there_or_not_theirs() {
    let house = House::new().await;
    let mut cases = Vec::new();
    let text = json!({ "text": "T" });
    let markdown = json!({ "markdown": "M" });
    let upper = house.post.id.to_ascii_uppercase();
    let version_4 = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
    let nil = "00000000-0000-0000-0000-000000000000";
    let max = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let bare = house.post.id.replace('-', "");
    let ids = [
        UNKNOWN_ID,
        "7",
        "%00",
        "%ff%fe",
        "..%2f..",
        "null",
        nil,
        max,
        version_4,
        upper.as_str(),
        bare.as_str(),
        "'%20OR%201=1--",
    ];
    for id in ids {
        let what = format!("the id {id}");
        let mut call = |method: Method, path: String, body: Option<&Value>, edits: bool| {
            let case = Case::new(&what, Who::Cleo, method, &path, 404, "not_found");
            let case = if edits { case.header("if-match", "\"1\"") } else { case };
            cases.push(match body {
                Some(body) => case.json(body),
                None => case,
            });
        };
        call(Method::PUT, format!("/v1/users/{id}/follow"), None, false);
        call(Method::PUT, format!("/v1/users/{id}/block"), None, false);
        call(Method::PUT, format!("/v1/users/{id}/mute"), None, false);
        call(Method::GET, format!("/v1/users/{id}"), None, false);
        call(Method::GET, format!("/v1/users/{id}/posts"), None, false);
        call(Method::GET, format!("/v1/users/{id}/followers"), None, false);
        call(Method::GET, format!("/v1/users/{id}/following"), None, false);
        call(Method::GET, format!("/v1/posts/{id}"), None, false);
        call(Method::PUT, format!("/v1/posts/{id}"), Some(&markdown), true);
        call(Method::DELETE, format!("/v1/posts/{id}"), None, false);
        call(Method::GET, format!("/v1/posts/{id}/comments"), None, false);
        call(Method::GET, format!("/v1/posts/{id}/likes"), None, false);
        call(Method::GET, format!("/v1/posts/{id}/history"), None, false);
        call(Method::GET, format!("/v1/posts/{id}/stream"), None, false);
        call(Method::POST, format!("/v1/posts/{id}/comments"), Some(&text), false);
        call(Method::PUT, format!("/v1/posts/{id}/like"), None, false);
        call(Method::GET, format!("/v1/comments/{id}"), None, false);
        call(Method::GET, format!("/v1/comments/{id}/history"), None, false);
        call(Method::PUT, format!("/v1/comments/{id}"), Some(&text), true);
        call(Method::DELETE, format!("/v1/comments/{id}"), None, false);
    }

    // Gone, kept apart, or not for strangers: as if it were not there.
    let unseen = [
        (Who::Cleo, &house.gone.id),
        (Who::Dora, &house.post.id),
        (Who::Cleo, &house.secret.id),
        (Who::Ada, &house.gone.id),
    ];
    for (who, id) in unseen {
        let path = format!("/v1/posts/{id}");
        for path in ["", "/comments", "/likes", "/history", "/stream"].map(|rest| format!("{path}{rest}")) {
            cases.push(Case::new("a post that one may not see", who, Method::GET, &path, 404, "not_found"));
        }
        cases.push(Case::new("a like of it", who, Method::PUT, &format!("{path}/like"), 404, "not_found"));
        cases.push(
            Case::new("a comment on it", who, Method::POST, &format!("{path}/comments"), 404, "not_found").json(&text),
        );
    }
    for path in ["", "/posts", "/followers", "/following"] {
        let path = format!("/v1/users/{}{path}", house.people[0].id);
        cases.push(Case::new("a blocker", Who::Dora, Method::GET, &path, 404, "not_found"));
    }
    for path in [house.comment_path(), format!("{}/history", house.comment_path())] {
        let what = "a comment on a post that one may not see";
        cases.push(Case::new(what, Who::Dora, Method::GET, &path, 404, "not_found"));
    }
    let gone = format!("/v1/comments/{}", house.gone_comment);
    for path in [gone.clone(), format!("{gone}/history")] {
        cases.push(Case::new("a comment that is gone", Who::Ben, Method::GET, &path, 404, "not_found"));
    }
    cases.push(Case::new("a comment that is gone", Who::Ben, Method::DELETE, &gone, 404, "not_found"));
    cases.push(
        Case::new("a comment that is gone", Who::Ben, Method::PUT, &gone, 404, "not_found")
            .json(&text)
            .header("if-match", "\"1\""),
    );

    // Others' things.
    let (post, comment) = (house.post_path(), house.comment_path());
    cases.push(
        Case::new("another's post", Who::Cleo, Method::PUT, &post, 403, "not_yours")
            .json(&markdown)
            .header("if-match", "\"1\""),
    );
    cases.push(Case::new("another's post", Who::Cleo, Method::DELETE, &post, 403, "not_yours"));
    cases.push(
        Case::new("another's comment", Who::Cleo, Method::PUT, &comment, 403, "not_yours")
            .json(&text)
            .header("if-match", "\"1\""),
    );
    cases.push(Case::new("another's comment", Who::Cleo, Method::DELETE, &comment, 403, "not_yours"));
    // The post's author may delete a comment, and not put words into another's mouth.
    cases.push(
        Case::new("a guest's comment", Who::Ada, Method::PUT, &comment, 403, "not_yours")
            .json(&text)
            .header("if-match", "\"1\""),
    );

    // Oneself, blocked, taken.
    let ada = &house.people[0].id;
    cases.push(Case::new("oneself", Who::Ada, Method::PUT, &format!("/v1/users/{ada}/follow"), 422, "oneself"));
    cases.push(Case::new("oneself", Who::Ada, Method::PUT, &format!("/v1/users/{ada}/block"), 422, "oneself"));
    cases.push(Case::new("oneself", Who::Ada, Method::PUT, &format!("/v1/users/{ada}/mute"), 422, "oneself"));
    cases.push(Case::new("a blocker", Who::Dora, Method::PUT, &format!("/v1/users/{ada}/follow"), 409, "blocked"));
    cases.push(Case::new(
        "one whom one blocks",
        Who::Ada,
        Method::PUT,
        &format!("/v1/users/{}/follow", house.people[3].id),
        409,
        "blocked",
    ));
    for name in ["ada", "ADA"] {
        let body = json!({ "username": name, "password": "long enough" });
        cases.push(
            Case::new("a taken name", Who::Nobody, Method::POST, "/v1/accounts", 409, "username_taken").json(&body),
        );
    }

    // People who cannot be asked for.
    let too_many = vec![ada.as_str(); 101].join(",");
    for (query, field) in [
        (String::new(), "ids"),
        ("?ids=".to_owned(), "ids"),
        ("?ids=7".to_owned(), "ids"),
        (format!("?ids={ada},"), "ids"),
        (format!("?ids={too_many}"), "ids"),
        (format!("?ids={ada}&usernames=ada"), "usernames"),
        ("?usernames=a%20b".to_owned(), "usernames"),
        ("?names=ada".to_owned(), "names"),
    ] {
        let path = format!("/v1/users{query}");
        cases.push(
            Case::new("people who cannot be asked for", Who::Ada, Method::GET, &path, 422, "invalid_field")
                .field(field),
        );
    }

    // Paths and methods.
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/feed",
        "/v1/feed/",
        "/v1/posts/",
        "/v1//feed",
        "/v1/feed%2f",
        "/.git/config",
        "/v1/users/",
        "/%ff",
    ] {
        cases.push(Case::new("no such path", Who::Ada, Method::GET, path, 404, "not_found"));
    }
    for (method, path) in [
        (Method::DELETE, "/v1/feed"),
        (Method::PATCH, post.as_str()),
        (Method::POST, "/v1/me"),
        (Method::PUT, "/v1/posts"),
        (Method::POST, "/health/live"),
    ] {
        cases.push(Case::new("no such method", Who::Ada, method, path, 405, "method_not_allowed"));
    }
    house.refuse(cases).await;
    house.stands().await;
}
