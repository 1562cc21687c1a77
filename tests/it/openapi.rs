//! The document says nothing that is not so: every call is made, and every refusal that it promises is met.
//!
//! That nothing else is answered than what it says, the harness checks in every scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use harness::{Client, Document, Operation, PASSWORD, Person, Seen, Server, Tokens};
use http::Method;
use serde_json::{Value, json};

const UNKNOWN_ID: &str = "01890000-0000-7000-8000-000000000000";

/// Refusals that no request can bring about by itself, and why.
const NOT_ON_DEMAND: [(&str, &str); 5] = [
    ("internal", "takes a defect, or damaged data: see faults::damage"),
    ("unavailable", "takes a store that does not answer: see the crates' own tests"),
    ("overloaded", "takes too much at once: see lifecycle and the crates' own tests"),
    ("conflict", "takes many at once: see commands"),
    ("rate_limited", "takes limits, which this server has off: see rate_limits"),
];

/// A good request for a call.
#[derive(Clone)]
struct Good {
    client: Client,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Good {
    fn new(client: &Client, method: Method, path: &str) -> Self {
        Self { client: client.clone(), method, path: path.to_owned(), headers: Vec::new(), body: None }
    }

    fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    fn by(self, client: &Client) -> Self {
        Self { client: client.clone(), ..self }
    }

    fn at(self, path: String) -> Self {
        Self { path, ..self }
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let mut request = self.client.request(self.method.clone(), &self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        match &self.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    async fn send(&self) -> u16 {
        Client::send(self.request()).await.status
    }
}

/// People, and something for every call to be about.
struct Town {
    server: Server,
    ada: Person,
    ben: Person,
    post: String,
    comment: String,
    newcomers: AtomicU32,
}

impl Town {
    async fn new() -> Self {
        let server = Server::start().await;
        let [ada, ben] = server.people(["ada", "ben"]).await;
        let mut tokens = Tokens::default();
        let post = ada.publish("a post", &mut tokens).await.id;
        let comment = ada.comment(&post, "a comment", &mut tokens).await;
        let _ = ada.feed(10, &tokens).await;
        Self { server, ada, ben, post, comment, newcomers: AtomicU32::new(0) }
    }

    /// A request for a call that is answered well; those that take something away come with something of their own.
    async fn good(&self, operation: &str) -> Good {
        let (ada, nobody) = (&self.ada.client, &self.server.client());
        let (post, comment) = (format!("/v1/posts/{}", self.post), format!("/v1/comments/{}", self.comment));
        let ben = format!("/v1/users/{}", self.ben.id);
        let get = |path: &str| Good::new(ada, Method::GET, path);
        let put = |path: &str| Good::new(ada, Method::PUT, path);
        let delete = |path: &str| Good::new(ada, Method::DELETE, path);
        let ada_logs_in = json!({ "username": "ada", "password": PASSWORD });
        let mut tokens = Tokens::default();
        match operation {
            "register" => {
                let username = format!("newcomer_{}", self.newcomers.fetch_add(1, Ordering::Relaxed));
                let body = json!({ "username": username, "password": PASSWORD });
                Good::new(nobody, Method::POST, "/v1/accounts").body(body)
            }
            "log_in" => Good::new(nobody, Method::POST, "/v1/sessions").body(ada_logs_in),
            "refresh_session" => {
                let session = nobody.post("/v1/sessions", &ada_logs_in).await.expect(201);
                let body = json!({ "refresh_token": session.text("refresh_token") });
                Good::new(nobody, Method::POST, "/v1/sessions/refresh").body(body)
            }
            "log_out" => {
                let ada = Person::log_in(nobody, "ada").await;
                Good::new(&ada.client, Method::DELETE, "/v1/sessions/current")
            }
            "follow" => put(&format!("{ben}/follow")),
            "unfollow" => delete(&format!("{ben}/follow")),
            "block" => put(&format!("{ben}/block")),
            "unblock" => delete(&format!("{ben}/block")),
            "publish_post" => Good::new(ada, Method::POST, "/v1/posts").body(json!({ "markdown": "a post" })),
            "edit_post" => put(&post).header("if-match", "*").body(json!({ "title": "T", "markdown": "edited" })),
            "delete_post" => delete(&format!("/v1/posts/{}", self.ada.publish("to go", &mut tokens).await.id)),
            "add_comment" => {
                Good::new(ada, Method::POST, &format!("{post}/comments")).body(json!({ "text": "a comment" }))
            }
            "edit_comment" => put(&comment).header("if-match", "*").body(json!({ "text": "edited" })),
            "delete_comment" => {
                delete(&format!("/v1/comments/{}", self.ada.comment(&self.post, "to go", &mut tokens).await))
            }
            "like" => put(&format!("{post}/like")),
            "unlike" => delete(&format!("{post}/like")),
            "home_feed" => get("/v1/feed"),
            "me" => get("/v1/me"),
            "posts_of_user" => get(&format!("/v1/users/{}/posts", self.ada.id)),
            "post" => get(&post),
            "comments_of_post" => get(&format!("{post}/comments")),
            "likes_of_post" => get(&format!("{post}/likes")),
            "watch_post" => get(&format!("{post}/stream")),
            "live" => get("/health/live"),
            "ready" => get("/health/ready"),
            "metrics" => get("/metrics"),
            "openapi" => get("/openapi.json"),
            other => panic!("say here how {other} is called well"),
        }
    }

    /// What makes a good request meet `code`.
    async fn spoil(&self, operation: &Operation, good: Good, code: &str) -> u16 {
        let ben = &self.ben.client;
        let nobody = self.server.client();
        match code {
            // Whoever refreshes comes with a token in the body, or a cookie.
            "unauthenticated" if operation.id == "refresh_session" => good.body(json!({})).send().await,
            "unauthenticated" => good.by(&nobody).send().await,
            "invalid_token" => good.by(&nobody.bearer("made up")).send().await,
            "origin_mismatch" if operation.id == "log_in" => {
                let body = json!({ "username": "ada", "password": PASSWORD, "delivery": "cookie" });
                good.body(body).header("origin", "https://elsewhere.example").send().await
            }
            "origin_mismatch" if operation.id == "refresh_session" => {
                good.body(json!({})).header("cookie", "hybrid_live_refresh=x").send().await
            }
            "origin_mismatch" => {
                let token = self.ada.session["access_token"].as_str().expect("a token");
                good.by(&nobody).header("cookie", &format!("hybrid_live_access={token}")).send().await
            }
            "malformed_json" => {
                let request = Good { body: None, ..good }.header("content-type", "application/json").request();
                Client::send(request.body("{")).await.status
            }
            "body_too_large" => {
                let request = Good { body: None, ..good }.header("content-type", "application/json").request();
                Client::send(request.body(" ".repeat(300 * 1024))).await.status
            }
            "unsupported_media_type" => {
                let request = Good { body: None, ..good }.header("content-type", "text/plain").request();
                Client::send(request.body("{}")).await.status
            }
            "invalid_field" if takes(operation, "Consistency-Token") => {
                good.header("consistency-token", "no token").send().await
            }
            "invalid_field" => {
                let path = format!("{}?nobody_asked=1", good.path);
                good.at(path).send().await
            }
            "invalid_cursor" => {
                let path = format!("{}?before=AAAA", good.path);
                good.at(path).send().await
            }
            "not_found" => {
                let id = good.path.split('/').nth(3).expect("an id").to_owned();
                let path = good.path.replace(&id, UNKNOWN_ID);
                good.at(path).send().await
            }
            "precondition_required" => good.without("if-match").send().await,
            "stale" => good.header("if-match", "\"99\"").send().await,
            "not_yours" => good.by(ben).send().await,
            "oneself" => {
                let path = good.path.replace(&self.ben.id, &self.ada.id);
                good.at(path).send().await
            }
            "blocked" => {
                let path = format!("/v1/users/{}/block", self.ben.id);
                let _ = self.ada.client.put(&path).await.expect(204);
                let status = good.send().await;
                let _ = self.ada.client.delete(&path).await.expect(204);
                status
            }
            "username_taken" => good.body(json!({ "username": "ada", "password": PASSWORD })).send().await,
            "idempotency_key_reused" => {
                let good = good.header("idempotency-key", "walked");
                let _ = good.send().await;
                let mut other = good.clone();
                match (operation.id.as_str(), &mut other.body) {
                    ("register", Some(body)) => body["display_name"] = json!("Another"),
                    ("add_comment", Some(body)) => body["text"] = json!("another"),
                    (_, Some(body)) => body["markdown"] = json!("another"),
                    (_, None) => panic!("say here how {} is made another command", operation.id),
                }
                other.send().await
            }
            "invalid_credentials" => good.body(json!({ "username": "ada", "password": "not this" })).send().await,
            "invalid_refresh_token" => good.body(json!({ "refresh_token": "made up" })).send().await,
            "refresh_token_reused" => {
                let _ = good.send().await;
                good.send().await
            }
            other => panic!("say here how {} meets {other}", operation.id),
        }
    }
}

fn takes(operation: &Operation, parameter: &str) -> bool {
    let parameters = operation.facts["parameters"].as_array();
    parameters.is_some_and(|parameters| parameters.iter().any(|one| one["name"] == parameter))
}

/// What the document promises and this test cannot bring about, call by call.
fn excused(seen: &Seen) -> Option<&'static str> {
    match (seen.operation.as_str(), seen.status, seen.code.as_str()) {
        ("me", 404, _) => Some("takes an account that is gone while its token lives"),
        ("ready", 503, _) => Some("takes a dependency that is gone: see health in query-api"),
        (_, _, code) => NOT_ON_DEMAND.iter().find(|(named, _)| *named == code).map(|(_, why)| *why),
    }
}

#[tokio::test]
async fn every_call_is_answered_as_the_document_says_and_refused_as_it_says() {
    let town = Town::new().await;
    let document = Document::kept();
    let promised = document.promised();
    // Refusals first: what they leave undone, the good call then does.
    let mut by_operation: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in promised.iter().filter(|seen| excused(seen).is_none()) {
        by_operation.entry(&seen.operation).or_default().push(seen);
    }
    for operation in document.operations() {
        let wanted = by_operation.remove(operation.id.as_str()).unwrap_or_default();
        for seen in wanted.iter().filter(|seen| !seen.code.is_empty()) {
            let good = town.good(&operation.id).await;
            let status = town.spoil(operation, good, &seen.code).await;
            assert_eq!(status, seen.status, "{}: {}", operation.id, seen.code);
        }
        for seen in wanted.iter().filter(|seen| seen.code.is_empty()) {
            let mut good = town.good(&operation.id).await;
            if seen.status == 304 {
                let answer = Client::send(good.request()).await.expect(200);
                good = good.header("if-none-match", answer.header("etag").expect("an ETag"));
            }
            if operation.id == "watch_post" {
                let mut watching = harness::Watching::post(&good.client, &town.post, None).await;
                watching.cut();
                continue;
            }
            assert_eq!(good.send().await, seen.status, "{}", operation.id);
        }
    }
    let seen = Document::seen_at(town.server.client().base());
    let missing: BTreeSet<&Seen> =
        promised.iter().filter(|one| !seen.contains(one) && excused(one).is_none()).collect();
    assert!(missing.is_empty(), "promised and never met: {missing:#?}");
    town.server.verify().await;
}
