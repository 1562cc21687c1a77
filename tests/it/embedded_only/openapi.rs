//! The document says nothing that is not so: every call is made, and every refusal that it promises is met.
//!
//! That nothing else is answered than what it says, the harness checks in every scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use harness::{
    Client, Document, EventRow, Operation, PASSWORD, Person, Seen, Server, Tokens, TruthFiles, Watching, eventually,
};
use http::Method;
use rusqlite::params;
use serde_json::{Value, json};

const UNKNOWN_ID: &str = "01890000-0000-7000-8000-000000000000";

/// Pauses what parks the town's lane, or resumes it.
const PAUSE: &str = "/v1/admin/projections/engagement/pause";
/// The same for what nothing here waits for.
const PAUSE_ANOTHER: &str = "/v1/admin/projections/profiles/pause";

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

/// People, of whom Ada is an admin, and something for every call to be about.
struct Town {
    server: Server,
    ada: Person,
    ben: Person,
    post: String,
    comment: String,
    /// What keeps the lane of a post of its own parked: two events, so that it is still parked when one was left out.
    unreadable: Vec<EventRow>,
    newcomers: AtomicU32,
}

impl Town {
    async fn new() -> Self {
        let mut server = Server::start().await;
        let [ada, _] = server.people(["ada", "ben"]).await;
        let _ = server.run(&["roles", "grant", "ada", "admin"]).await.expect(0);
        let unreadable = park(&mut server, &ada).await;
        let client = server.client();
        let (ada, ben) = (Person::log_in(&client, "ada").await, Person::log_in(&client, "ben").await);
        let mut tokens = Tokens::default();
        let post = ada.publish("a post", &mut tokens).await.id;
        let comment = ada.comment(&post, "a comment", &mut tokens).await;
        let _ = ada.feed(10, &tokens).await;
        let both = format!("/v1/users?ids={},{}", ada.id, ben.id);
        eventually("both have profiles", async || {
            let found = ada.client.get(&both).await.expect(200).json();
            if found["items"].as_array().is_some_and(|items| items.len() == 2) {
                Ok(())
            } else {
                Err(found.to_string())
            }
        })
        .await;
        Self { server, ada, ben, post, comment, unreadable, newcomers: AtomicU32::new(0) }
    }

    /// What the walk has left undone is done, and what was left out of the read models is made again from the log:
    /// then there is no difference.
    async fn verify(mut self) {
        for pause in [PAUSE, PAUSE_ANOTHER] {
            let _ = self.ada.client.delete(pause).await.expect(204);
        }
        assert!(self.server.terminate().await.success());
        let files = self.server.files();
        for event in &self.unreadable {
            set_version(&files, event, 1);
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut path = files.read_models.clone().into_os_string();
            path.push(suffix);
            let _ = std::fs::remove_file(path);
        }
        self.server.start_again().await;
        self.server.verify().await;
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
            "mute" => put(&format!("{ben}/mute")),
            "unmute" => delete(&format!("{ben}/mute")),
            "publish_post" => Good::new(ada, Method::POST, "/v1/posts").body(json!({ "markdown": "a post" })),
            "edit_post" => put(&post).header("if-match", "*").body(json!({ "title": "T", "markdown": "edited" })),
            "delete_post" => delete(&format!("/v1/posts/{}", self.ada.publish("to go", &mut tokens).await.id)),
            "add_comment" => {
                Good::new(ada, Method::POST, &format!("{post}/comments")).body(json!({ "text": "a comment" }))
            }
            "comment" => get(&comment),
            "edit_comment" => put(&comment).header("if-match", "*").body(json!({ "text": "edited" })),
            "delete_comment" => {
                delete(&format!("/v1/comments/{}", self.ada.comment(&self.post, "to go", &mut tokens).await))
            }
            "like" => put(&format!("{post}/like")),
            "unlike" => delete(&format!("{post}/like")),
            "home_feed" => get("/v1/feed"),
            "watch_feed" => get("/v1/feed/stream"),
            "count_new_posts" => {
                let newest = ada.get("/v1/feed").await.expect(200).text("newest");
                get(&format!("/v1/feed/count?after={newest}"))
            }
            "explain_feed" => get(&format!("/v1/feed/explain?post={}", self.post)),
            "me" => get("/v1/me"),
            "edit_profile" => {
                put("/v1/me").header("if-match", "*").body(json!({ "display_name": "Ada", "bio": "edited" }))
            }
            "blocked" => get("/v1/me/blocked"),
            "muted" => get("/v1/me/muted"),
            "profiles" => get("/v1/users?usernames=ada,ben"),
            "profile" => get(&ben),
            // One's own: whoever is blocked for a moment has none.
            "followers" => get(&format!("/v1/users/{}/followers", self.ada.id)),
            "following" => get(&format!("/v1/users/{}/following", self.ada.id)),
            "posts_of_user" => get(&format!("/v1/users/{}/posts", self.ada.id)),
            "post" => get(&post),
            "post_history" => get(&format!("{post}/history")),
            "comment_history" => get(&format!("{comment}/history")),
            "comments_of_post" => get(&format!("{post}/comments")),
            "likes_of_post" => get(&format!("{post}/likes")),
            "watch_post" => get(&format!("{post}/stream")),
            "live" => get("/health/live"),
            "ready" => get("/health/ready"),
            "metrics" => get("/metrics"),
            "openapi" => get("/openapi.json"),
            other => self.good_for_admins(other).await,
        }
    }

    async fn good_for_admins(&self, operation: &str) -> Good {
        let ada = &self.ada.client;
        let get = |path: &str| Good::new(ada, Method::GET, path);
        let parked = format!("/v1/admin/dead-letters/engagement/{}", self.unreadable[0].lane);
        match operation {
            "projections" => get("/v1/admin/projections"),
            "projection" => get("/v1/admin/projections/timelines"),
            "pause" => Good::new(ada, Method::PUT, PAUSE_ANOTHER),
            "resume" => {
                let _ = ada.put(PAUSE_ANOTHER).await.expect(204);
                Good::new(ada, Method::DELETE, PAUSE_ANOTHER)
            }
            "dead_letters" => get("/v1/admin/dead-letters"),
            "dead_letter" => get(&parked),
            "retry" => Good::new(ada, Method::POST, &format!("{parked}/retry")),
            "drop_events" => Good::new(ada, Method::POST, &format!("{parked}/drop")).body(json!({})),
            "events" => get("/v1/admin/events"),
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
            // Nobody reads it to its end, so nothing else can come over the same connection.
            "body_too_large" => {
                let good = good.header("connection", "close").header("content-type", "application/json");
                let request = Good { body: None, ..good }.request();
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
                let path = good.path.split('?').next().unwrap_or_default();
                let cursor = if takes(operation, "before") { "before" } else { "after" };
                let path = format!("{path}?{cursor}=AAAA");
                good.at(path).send().await
            }
            // What the path names last is not there.
            "not_found" => {
                let named = operation.path.split('/').zip(good.path.split('/'));
                let (_, id) =
                    named.filter(|(part, _)| part.starts_with('{')).last().expect("a path that names something");
                let path = good.path.replace(id, UNKNOWN_ID);
                good.at(path).send().await
            }
            "forbidden" => good.by(ben).send().await,
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
            "conflict" => {
                let _ = self.ada.client.put(PAUSE).await.expect(204);
                let status = good.send().await;
                let _ = self.ada.client.delete(PAUSE).await.expect(204);
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

/// Makes two events of one lane unreadable before the projection comes to them, and waits until that lane is parked.
/// The server is another process then.
async fn park(server: &mut Server, ada: &Person) -> Vec<EventRow> {
    let mut tokens = Tokens::default();
    let _ = ada.client.put(PAUSE).await.expect(204);
    // What the admins' calls show is the order; readiness shows what the workers do.
    eventually("the projection rests", async || {
        let ready = ada.client.get("/health/ready").await.expect(200).json();
        let mut projections = ready["projections"].as_array().expect("projections").iter();
        let engagement = projections.find(|one| one["name"] == "engagement").expect("the projection");
        let mut partitions = engagement["detail"].as_array().expect("partitions").iter();
        if partitions.all(|partition| partition["state"] == "paused") { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
    let post = ada.publish("nobody can read what is said of it", &mut tokens).await.id;
    let mut comments = Vec::new();
    for text in ["first", "second"] {
        comments.push(format!("comment-{}", ada.comment(&post, text, &mut tokens).await));
    }
    let files = server.files();
    let events = eventually("the log has both", async || {
        let events = files.events(Some("comment.added"));
        if events.len() == comments.len() { Ok(events) } else { Err(format!("{events:?}")) }
    })
    .await;
    assert!(server.terminate().await.success());
    for event in &events {
        assert!(comments.contains(&event.subject));
        set_version(&files, event, 9);
    }
    server.start_again().await;
    let ada = Person::log_in(&server.client(), "ada").await;
    let _ = ada.client.delete(PAUSE).await.expect(204);
    eventually("the lane is parked", async || {
        let letters = ada.client.get("/v1/admin/dead-letters").await.expect(200).json();
        let waiting: Vec<&Value> =
            letters["items"].as_array().expect("items").iter().map(|letter| &letter["waiting"]).collect();
        if waiting == [&json!(events.len())] { Ok(()) } else { Err(letters.to_string()) }
    })
    .await;
    events
}

/// Nothing reads version 9.
fn set_version(files: &TruthFiles, event: &EventRow, version: u16) {
    let changed = TruthFiles::changing(&files.event_log)
        .execute("UPDATE events SET version = ?2 WHERE place = ?1", params![event.place, version])
        .expect("SQL");
    assert_eq!(changed, 1);
}

fn takes(operation: &Operation, parameter: &str) -> bool {
    let parameters = operation.facts["parameters"].as_array();
    parameters.is_some_and(|parameters| parameters.iter().any(|one| one["name"] == parameter))
}

/// What the document promises and this test cannot bring about, call by call.
fn excused(seen: &Seen) -> Option<&'static str> {
    match (seen.operation.as_str(), seen.status, seen.code.as_str()) {
        // These are refused by it while the projection is paused.
        ("retry" | "drop_events", _, "conflict") => None,
        ("me" | "edit_profile", 404, _) => Some("takes an account that is gone while its token lives"),
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
            // Streams do not end by themselves.
            match operation.id.as_str() {
                "watch_post" => Watching::post(&good.client, &town.post, None).await.cut(),
                "watch_feed" => Watching::feed(&good.client, None).await.cut(),
                _ => assert_eq!(good.send().await, seen.status, "{}", operation.id),
            }
        }
    }
    let seen = Document::seen_at(town.server.client().base());
    let missing: BTreeSet<&Seen> =
        promised.iter().filter(|one| !seen.contains(one) && excused(one).is_none()).collect();
    assert!(missing.is_empty(), "promised and never met: {missing:#?}");
    town.verify().await;
}
