//! What bad input gets: the stated 4xx, as a problem that names the field, never a 5xx, and no effect.

mod bodies;
mod headers;
mod places;
mod sockets;

use harness::{Answer, Client, PASSWORD, Person, Post, Server, Tokens};
use http::Method;
use serde_json::{Value, json};

/// An id that nobody has.
const UNKNOWN_ID: &str = "01890000-0000-7000-8000-000000000000";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    /// Wrote the post and lives in the house.
    Ada,
    /// Wrote the comment.
    Ben,
    /// Has nothing to do with either.
    Cleo,
    /// Blocked by ada.
    Dora,
}

/// A bad request, and what it gets.
#[derive(Clone, Debug)]
struct Case {
    what: String,
    who: Who,
    method: Method,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Option<Vec<u8>>,
    status: u16,
    code: &'static str,
    field: Option<String>,
}

impl Case {
    fn new(what: &str, who: Who, method: Method, path: &str, status: u16, code: &'static str) -> Self {
        let (what, path) = (what.to_owned(), path.to_owned());
        Self { what, who, method, path, headers: Vec::new(), body: None, status, code, field: None }
    }

    fn field(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn json(self, body: &Value) -> Self {
        self.raw(body.to_string())
    }

    fn raw(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..self }.header("content-type", "application/json")
    }
}

/// A call that takes a JSON body: what it takes, and the least that it needs.
struct Call {
    who: Who,
    method: Method,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    good: Value,
    required: &'static [&'static str],
    /// The same as an array, which a lenient parser might take for it.
    positional: Value,
}

struct House {
    server: Server,
    people: [Person; 4],
    post: Post,
    other_post: Post,
    secret: Post,
    gone: Post,
    comment: String,
    gone_comment: String,
}

impl House {
    async fn new() -> Self {
        let server = Server::start().await;
        let people = server.people(["ada", "ben", "cleo", "dora"]).await;
        let [ada, ben, _, dora] = &people;
        let mut tokens = Tokens::default();
        let post = ada.publish("a post", &mut tokens).await;
        let other_post = ada.publish("another post", &mut tokens).await;
        let secret = ada.publish_to("followers", "for followers", &mut tokens).await;
        let gone = ada.publish("gone", &mut tokens).await;
        let comment = ben.comment(&post.id, "a comment", &mut tokens).await;
        let gone_comment = ben.comment(&post.id, "gone", &mut tokens).await;
        ada.delete(&format!("/v1/posts/{}", gone.id), &mut tokens).await;
        ben.delete(&format!("/v1/comments/{gone_comment}"), &mut tokens).await;
        ada.block(dora, &mut tokens).await;
        // Everything is in the read models before the first bad request.
        assert_eq!(ada.feed(10, &tokens).await.len(), 3);
        Self { server, post, other_post, secret, gone, comment, gone_comment, people }
    }

    fn client(&self, who: Who) -> Client {
        let [ada, ben, cleo, dora] = &self.people;
        match who {
            Who::Nobody => self.server.client(),
            Who::Ada => ada.client.clone(),
            Who::Ben => ben.client.clone(),
            Who::Cleo => cleo.client.clone(),
            Who::Dora => dora.client.clone(),
        }
    }

    fn post_path(&self) -> String {
        format!("/v1/posts/{}", self.post.id)
    }

    fn comment_path(&self) -> String {
        format!("/v1/comments/{}", self.comment)
    }

    /// Every call that takes a body.
    fn calls(&self) -> Vec<Call> {
        let call = |who, method, path: &str, good, required, positional| {
            let path = path.to_owned();
            Call { who, method, path, headers: Vec::new(), good, required, positional }
        };
        let if_match = |call: Call| Call { headers: vec![("if-match", "\"1\"")], ..call };
        let account = json!({ "username": "newcomer", "password": "long enough", "display_name": "New" });
        let as_array = json!(["newcomer", "long enough", "New"]);
        let accounts = call(Who::Nobody, Method::POST, "/v1/accounts", account, &["username", "password"], as_array);
        let session = json!({ "username": "ada", "password": PASSWORD, "delivery": "body" });
        let as_array = json!(["ada", PASSWORD, "body"]);
        let sessions = call(Who::Nobody, Method::POST, "/v1/sessions", session, &["username", "password"], as_array);
        let token = json!(self.people[0].session["refresh_token"]);
        let body = json!({ "refresh_token": "no token" });
        let refresh = call(Who::Nobody, Method::POST, "/v1/sessions/refresh", body, &[], json!([token]));
        let post = json!({ "title": "T", "markdown": "M", "visibility": "public" });
        let publish = call(Who::Ada, Method::POST, "/v1/posts", post, &["markdown"], json!(["T", "M", "public"]));
        let post = json!({ "title": "T", "markdown": "M" });
        let edit = call(Who::Ada, Method::PUT, &self.post_path(), post, &["markdown"], json!(["T", "M"]));
        let body = json!({ "text": "T", "parent_id": self.comment });
        let path = format!("{}/comments", self.post_path());
        let comment = call(Who::Ben, Method::POST, &path, body, &["text"], json!(["T", self.comment]));
        let body = json!({ "text": "T" });
        let edit_comment = call(Who::Ben, Method::PUT, &self.comment_path(), body, &["text"], json!(["T"]));
        let body = json!({ "display_name": "Ada", "bio": "B" });
        let profile = call(Who::Ada, Method::PUT, "/v1/me", body, &["display_name", "bio"], json!(["Ada", "B"]));
        let edits = [edit, edit_comment, profile].map(if_match);
        [accounts, sessions, refresh, publish, comment].into_iter().chain(edits).collect()
    }

    /// Every call that needs somebody.
    fn calls_of_somebody(&self) -> Vec<(Method, String, Option<Value>)> {
        let (post, comment) = (self.post_path(), self.comment_path());
        let user = format!("/v1/users/{}", self.people[1].id);
        vec![
            (Method::DELETE, "/v1/sessions/current".to_owned(), None),
            (Method::PUT, format!("{user}/follow"), None),
            (Method::DELETE, format!("{user}/follow"), None),
            (Method::PUT, format!("{user}/block"), None),
            (Method::DELETE, format!("{user}/block"), None),
            (Method::PUT, format!("{user}/mute"), None),
            (Method::DELETE, format!("{user}/mute"), None),
            (Method::PUT, "/v1/me".to_owned(), Some(json!({ "display_name": "Ada", "bio": "B" }))),
            (Method::GET, "/v1/me/blocked".to_owned(), None),
            (Method::GET, "/v1/me/muted".to_owned(), None),
            (Method::POST, "/v1/posts".to_owned(), Some(json!({ "markdown": "M" }))),
            (Method::PUT, post.clone(), Some(json!({ "markdown": "M" }))),
            (Method::DELETE, post.clone(), None),
            (Method::POST, format!("{post}/comments"), Some(json!({ "text": "T" }))),
            (Method::PUT, comment.clone(), Some(json!({ "text": "T" }))),
            (Method::DELETE, comment, None),
            (Method::PUT, format!("{post}/like"), None),
            (Method::DELETE, format!("{post}/like"), None),
            (Method::GET, "/v1/feed".to_owned(), None),
            (Method::GET, "/v1/feed/count".to_owned(), None),
            (Method::GET, "/v1/feed/explain".to_owned(), None),
            (Method::GET, "/v1/feed/stream".to_owned(), None),
            (Method::GET, "/v1/me".to_owned(), None),
        ]
    }

    /// Every list.
    fn lists(&self) -> Vec<String> {
        let posts = format!("/v1/users/{}/posts", self.people[0].id);
        let post = self.post_path();
        let user = format!("/v1/users/{}", self.people[0].id);
        let of_posts = ["comments", "likes", "history"].map(|list| format!("{post}/{list}"));
        let of_people = ["followers", "following"].map(|list| format!("{user}/{list}"));
        let own = ["/v1/me/blocked", "/v1/me/muted"].map(str::to_owned);
        let mut lists = vec!["/v1/feed".to_owned(), posts, format!("{}/history", self.comment_path())];
        lists.extend(of_posts.into_iter().chain(of_people).chain(own));
        lists
    }

    async fn send(&self, case: &Case) -> Answer {
        let mut request = self.client(case.who).request(case.method.clone(), &case.path);
        for (name, value) in &case.headers {
            request = request.header(*name, value.as_slice());
        }
        if let Some(body) = &case.body {
            request = request.body(body.clone());
        }
        Client::send(request).await
    }

    /// Who has the name that somebody wants to register.
    async fn name_owner(&self, case: &Case) -> Option<String> {
        if case.path != "/v1/accounts" {
            return None;
        }
        let body: Value = serde_json::from_slice(case.body.as_deref()?).ok()?;
        self.server.look().await.owner(body["username"].as_str()?).await
    }

    /// Sends each and compares, and looks into the stores that nothing was written.
    async fn refuse(&self, cases: Vec<Case>) {
        let before = self.server.settled().await;
        for case in cases {
            let owner = self.name_owner(&case).await;
            let answer = self.send(&case).await;
            let what = format!("{} {}: {}", case.method, case.path, case.what);
            assert_eq!(answer.status, case.status, "{what}: {}", answer.shown());
            let problem = answer.problem();
            assert_eq!(problem.code, case.code, "{what}: {}", answer.shown());
            if case.field.is_some() {
                let named = problem.field.as_deref().map(str::to_ascii_lowercase);
                assert_eq!(named, case.field, "{what}: {}", answer.shown());
            }
            assert_eq!(self.server.heads().await, before, "{what}: it had an effect");
            assert_eq!(self.name_owner(&case).await, owner, "{what}: it took a name");
        }
    }

    /// Nothing is broken after all this.
    async fn stands(&self) {
        let _ = self.server.client().get("/health/ready").await.expect(200);
        self.server.verify().await;
    }
}
