//! Logging in, staying in, and keeping others out.

use adapters::http::tokens::AccessTokens;
use adapters::secrets::Secrets;
use domain::{SessionId, Timestamp};
use harness::{Answer, Client, PASSWORD, Person, Server};
use http::Method;
use serde_json::{Value, json};

async fn refresh(client: &Client, token: &Value) -> Answer {
    client.post("/v1/sessions/refresh", &json!({ "refresh_token": token })).await
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_stolen_one_ends_the_session() {
    let mut server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    let client = server.client();
    let first = &ada.session["refresh_token"];
    let renewed = refresh(&client, first).await.expect(200).json();
    assert_eq!((&renewed["session_id"], &renewed["user"]), (&ada.session["session_id"], &ada.session["user"]));
    assert_eq!((&renewed["token_type"], &renewed["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_ne!(&renewed["refresh_token"], first);
    let me = client.bearer(renewed["access_token"].as_str().expect("a token")).get("/v1/me").await.expect(200);
    assert_eq!(me.json(), json!({ "id": ada.id, "username": "ada", "display_name": "ada", "bio": "" }));

    // Rotation is on disk before it is answered.
    server.kill().await;
    server.start_again().await;
    let client = server.client();
    let third = refresh(&client, &renewed["refresh_token"]).await.expect(200).json();

    // Somebody comes with the first: they or ada have it from the other, so nobody goes on with this session.
    let stolen = refresh(&client, first).await.expect(401);
    assert_eq!(stolen.problem().code, "refresh_token_reused");
    let newest = refresh(&client, &third["refresh_token"]).await.expect(401);
    assert_eq!(newest.problem().code, "invalid_refresh_token", "the session has ended");
    // Other log-ins of hers are not affected.
    let other = Person::log_in(&client, "ada").await;
    assert_ne!(other.session["session_id"], ada.session["session_id"]);
    let _ = refresh(&client, &other.session["refresh_token"]).await.expect(200);
    server.verify().await;
}

#[tokio::test]
async fn of_two_refreshes_at_once_one_token_goes_on_or_none() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    let client = server.client();
    let answers = futures::future::join_all((0..8).map(|_| refresh(&client, &ada.session["refresh_token"]))).await;
    let renewed: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(renewed.len() <= 1, "one token becomes one token: {answers:#?}");
    assert!(answers.iter().all(|answer| [200, 401, 409].contains(&answer.status)), "{answers:#?}");
}

#[tokio::test]
async fn logging_out_ends_the_session_for_good() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    let _ = ada.client.delete("/v1/sessions/current").await.expect(204);
    let ended = refresh(&server.client(), &ada.session["refresh_token"]).await.expect(401);
    assert_eq!(ended.problem().code, "invalid_refresh_token");
    let _ = Person::log_in(&server.client(), "ADA").await;
}

#[tokio::test]
async fn forged_refresh_tokens_are_refused() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let client = server.client();
    let of_ada = ada.session["refresh_token"].as_str().expect("a token");
    let of_ben = ben.session["refresh_token"].as_str().expect("a token");
    let half = of_ada.len() / 2;
    let mut altered = of_ada.to_owned();
    altered.replace_range(half..=half, if &of_ada[half..=half] == "A" { "B" } else { "A" });
    let grafted = format!("{}{}", &of_ada[..half], &of_ben[half..]);
    for forged in ["", "x", "..", &altered, &grafted, &of_ada[1..], &"A".repeat(5000)] {
        let refused = refresh(&client, &json!(forged)).await;
        assert!([401, 422].contains(&refused.status), "{forged}: {}", refused.shown());
        let _ = refused.problem();
    }
    let _ = refresh(&client, &ada.session["refresh_token"]).await;
    // No token at all.
    let nothing = client.post("/v1/sessions/refresh", &json!({})).await.expect(401);
    let _ = nothing.problem();
    let _ = refresh(&client, &ben.session["refresh_token"]).await.expect(200);
}

#[tokio::test]
async fn who_has_an_account_is_told_to_nobody() {
    let server = Server::start().await;
    let [_ada] = server.people(["ada"]).await;
    let client = server.client();
    let mut said = Vec::new();
    for (username, password) in
        [("ada", "not her password"), ("nobody", PASSWORD), ("no such name!", PASSWORD), ("ada", "")]
    {
        let refused =
            client.post("/v1/sessions", &json!({ "username": username, "password": password })).await.expect(401);
        assert_eq!(refused.problem().code, "invalid_credentials");
        let mut body = refused.json();
        body["trace_id"] = Value::Null;
        said.push(body);
    }
    assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "{said:#?}");
}

#[tokio::test]
async fn access_tokens_expire_and_are_signed_by_our_key() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    let user = ada.id.parse().expect("an id");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let now = i64::try_from(now).expect("not that far in the future");
    let session = SessionId::from_parts(Timestamp::from_millis(now), [7; 10]);
    let ours = Secrets::load_or_create(&server.secrets_file()).expect("the server's keys");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let theirs = Secrets::load_or_create(&elsewhere.path().join("secrets.toml")).expect("other keys");
    let issue = |secrets: &Secrets, at: i64| {
        let tokens = AccessTokens::new(secrets.signing_keys().clone());
        tokens.issue(user, session, Timestamp::from_millis(at)).expect("a token")
    };
    let hour = 60 * 60 * 1000;
    let _ = server.client().bearer(&issue(&ours, now)).get("/v1/me").await.expect(200);
    for (what, token) in [("expired", issue(&ours, now - hour)), ("another key", issue(&theirs, now))] {
        let refused = server.client().bearer(&token).get("/v1/me").await.expect(401);
        assert_eq!(refused.problem().code, "invalid_token", "{what}");
        let refused = server.client().bearer(&token).put(&format!("/v1/users/{}/follow", ada.id)).await.expect(401);
        assert_eq!(refused.problem().code, "invalid_token", "{what}");
    }
}

/// A browser: keeps cookies, and says from which page a request comes.
struct Browser {
    client: Client,
    cookies: Vec<(String, String)>,
    attributes: Vec<String>,
}

impl Browser {
    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("a text");
            let (pair, attributes) = cookie.split_once(';').expect("a cookie with attributes");
            let (name, value) = pair.split_once('=').expect("a cookie");
            self.cookies.retain(|(known, _)| known != name);
            let gone = value.is_empty() || attributes.to_ascii_lowercase().contains("max-age=0");
            if !gone {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
            self.attributes.push(format!("{name}:{}", attributes.to_ascii_lowercase()));
        }
    }

    async fn send(&self, method: Method, path: &str, origin: Option<&str>, body: Option<Value>) -> Answer {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut request = self.client.request(method, path).header("cookie", cookies);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Client::send(request).await
    }
}

#[tokio::test]
async fn the_page_logs_in_by_cookie_and_other_sites_cannot_use_it() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut browser = Browser { client: server.client(), cookies: Vec::new(), attributes: Vec::new() };
    let ours = server.client().base().to_owned();
    let body = json!({ "username": "ada", "password": PASSWORD, "delivery": "cookie" });
    let session = browser.send(Method::POST, "/v1/sessions", Some(&ours), Some(body)).await.expect(201);
    assert!(session.json().get("access_token").is_none() && session.json().get("refresh_token").is_none());
    browser.keep(&session);
    let names: Vec<&str> = browser.cookies.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["hybrid_live_access", "hybrid_live_refresh"]);
    for attributes in &browser.attributes {
        assert!(attributes.contains("httponly") && attributes.contains("samesite=strict"), "{attributes}");
        assert!(!attributes.contains("; secure"), "over the loopback there is no TLS: {attributes}");
    }
    assert!(browser.attributes[1].contains("path=/v1/sessions"), "only where it is needed: {:?}", browser.attributes);

    // Reading needs no origin, changing something needs ours.
    let me = browser.send(Method::GET, "/v1/me", None, None).await.expect(200);
    assert_eq!(me.json()["id"], ada.id);
    let follow = format!("/v1/users/{}/follow", ben.id);
    let before = server.settled().await;
    let elsewhere =
        ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "", &format!("{ours}.evil.example")];
    for origin in elsewhere.into_iter().map(Some).chain([None]) {
        let refused = browser.send(Method::PUT, &follow, origin, None).await.expect(403);
        assert_eq!(refused.problem().code, "origin_mismatch", "{origin:?}");
        let refused = browser.send(Method::DELETE, "/v1/sessions/current", origin, None).await.expect(403);
        assert_eq!(refused.problem().code, "origin_mismatch", "{origin:?}");
        let refused = browser.send(Method::POST, "/v1/sessions/refresh", origin, Some(json!({}))).await.expect(403);
        assert_eq!(refused.problem().code, "origin_mismatch", "{origin:?}");
    }
    assert_eq!(server.heads().await, before);
    let _ = browser.send(Method::PUT, &follow, Some(&ours), None).await.expect(204);

    // Refreshing, and logging out.
    let old = browser.cookies.clone();
    let renewed = browser.send(Method::POST, "/v1/sessions/refresh", Some(&ours), Some(json!({}))).await.expect(200);
    browser.keep(&renewed);
    assert_ne!(browser.cookies, old);
    let ended = browser.send(Method::DELETE, "/v1/sessions/current", Some(&ours), None).await.expect(204);
    browser.keep(&ended);
    assert_eq!(browser.cookies, [], "both cookies are taken back");
    let refused = browser.send(Method::GET, "/v1/me", None, None).await.expect(401);
    assert_eq!(refused.problem().code, "unauthenticated");
}
