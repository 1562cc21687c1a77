//! A small world: real stores in a directory of their own, people who have accounts, and what there is to look at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adapters::codec::Codec;
use adapters::content::{Content, SqliteContent};
use adapters::event_log::{EventLog, Record, SqliteEventLog};
use adapters::http::auth::AccessTokens;
use adapters::http::extract::BODY_LIMIT;
use adapters::http::problem::{no_such_method, no_such_path};
use adapters::http::trace;
use adapters::secrets::Secrets;
use adapters::sqlite::{Database, Durability, TRUTH};
use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use domain::{PostId, StreamId, Topic, UserId};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::auth::passwords::{PasswordSettings, Passwords};
use crate::write_path::WritePath;
use crate::{CommandState, router};

pub(super) const PASSWORD: &str = "correct horse battery staple";

/// As cheap as Argon2 allows.
pub(super) const CHEAP: PasswordSettings =
    PasswordSettings { memory_kib: 8, passes: 1, at_once: 4, patience: Duration::from_secs(60) };

#[derive(Clone)]
pub(super) struct World {
    pub(super) content: Arc<dyn Content>,
    pub(super) event_log: Arc<dyn EventLog>,
    pub(super) secrets: Secrets,
    pub(super) tokens: Arc<AccessTokens>,
    pub(super) write_path: WritePath,
    pub(super) router: Router,
    _directory: Arc<TempDir>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Null if there is none.
    pub(super) body: Value,
}

/// Somebody with an account who has logged in.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) world: World,
    pub(super) id: UserId,
    pub(super) bearer: String,
}

impl World {
    /// Content and log in one file.
    pub(super) async fn together() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::open(&directory.path().join("truth.db"), &TRUTH, Durability::Process).unwrap();
        let log = Arc::new(SqliteEventLog::open(db.clone(), 4).await.unwrap());
        let content = Arc::new(SqliteContent::open(db, Some(log.clone())).unwrap());
        Self::over(directory, content, log, CHEAP)
    }

    /// Content and log in two files: the outbox does the work.
    pub(super) async fn apart() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| Database::open(&directory.path().join(name), &TRUTH, Durability::Process).unwrap();
        let log = Arc::new(SqliteEventLog::open(open("log.db"), 4).await.unwrap());
        let content = Arc::new(SqliteContent::open(open("content.db"), None).unwrap());
        Self::over(directory, content, log, CHEAP)
    }

    fn over(
        directory: TempDir,
        content: Arc<dyn Content>,
        event_log: Arc<dyn EventLog>,
        passwords: PasswordSettings,
    ) -> Self {
        let secrets = Secrets::load_or_create(&directory.path().join("secrets.toml")).unwrap();
        let tokens = AccessTokens::new(secrets.signing_keys().clone());
        let tokens = Arc::new(tokens.with_public_origins(["https://social.example".to_owned()]));
        Self::assembled(Arc::new(directory), content, event_log, secrets, tokens, passwords)
    }

    fn assembled(
        directory: Arc<TempDir>,
        content: Arc<dyn Content>,
        event_log: Arc<dyn EventLog>,
        secrets: Secrets,
        tokens: Arc<AccessTokens>,
        passwords: PasswordSettings,
    ) -> Self {
        let codec = Arc::new(Codec::new(content.clone(), &secrets));
        let write_path = WritePath::new(content.clone(), event_log.clone(), codec);
        let passwords = Passwords::new(passwords).unwrap();
        let state = CommandState::new(write_path.clone(), tokens.clone(), secrets.clone(), passwords);
        let router = router(state)
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(from_fn(trace::layer));
        Self { content, event_log, secrets, tokens, write_path, router, _directory: directory }
    }

    /// Another process over the same data, whose stores are these.
    pub(super) fn with(&self, content: Arc<dyn Content>, event_log: Arc<dyn EventLog>) -> Self {
        let (secrets, tokens) = (self.secrets.clone(), self.tokens.clone());
        Self::assembled(self._directory.clone(), content, event_log, secrets, tokens, CHEAP)
    }

    /// The same with other costs of passwords.
    pub(super) fn with_passwords(&self, passwords: PasswordSettings) -> Self {
        let (secrets, tokens) = (self.secrets.clone(), self.tokens.clone());
        let (content, event_log) = (self.content.clone(), self.event_log.clone());
        Self::assembled(self._directory.clone(), content, event_log, secrets, tokens, passwords)
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Reply { status, headers, body }
    }

    /// Somebody who has registered and logged in.
    pub(super) async fn person(&self, username: &str) -> Person {
        self.register(username).await.expect(201);
        let reply = self.log_in(username, PASSWORD).await.expect(201);
        let id = reply.body["user"]["id"].as_str().unwrap().parse().unwrap();
        Person { world: self.clone(), id, bearer: format!("Bearer {}", reply.text("access_token")) }
    }

    pub(super) async fn register(&self, username: &str) -> Reply {
        self.post("/v1/accounts", &[], json!({ "username": username, "password": PASSWORD })).await
    }

    pub(super) async fn log_in(&self, username: &str, password: &str) -> Reply {
        self.post("/v1/sessions", &[], json!({ "username": username, "password": password })).await
    }

    pub(super) async fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        self.send(request("POST", path, headers, Some(body))).await
    }

    /// All records of the log, partition by partition.
    pub(super) async fn log(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for topic in Topic::ALL {
            for partition in 0..self.event_log.partitions() {
                let page = self.event_log.read(topic, partition, -1, 100_000, Duration::ZERO).await.unwrap();
                records.extend(page.into_iter().map(|logged| logged.record.unwrap()));
            }
        }
        records
    }

    /// The types of the log's events, with how often each is there.
    pub(super) async fn events(&self) -> BTreeMap<String, usize> {
        let mut events = BTreeMap::new();
        for record in self.log().await {
            *events.entry(record.attributes.schema.kind).or_default() += 1;
        }
        events
    }

    /// Everything that a command without effect leaves as it is: heads of the log, states, and what is private.
    pub(super) async fn everything(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let mut documents = Vec::new();
        for (stream, _) in self.content.scan(None, 100_000).await.unwrap() {
            documents.push((stream, self.content.load(stream).await.unwrap()));
        }
        (self.log().await, documents)
    }

    /// The sequence of a stream's document; 0 without one.
    pub(super) async fn sequence(&self, stream: StreamId) -> u64 {
        self.content.load(stream).await.unwrap().map_or(0, |document| document.sequence)
    }
}

impl Person {
    /// The same person at another process.
    pub(super) fn at(&self, world: &World) -> Self {
        Self { world: world.clone(), ..self.clone() }
    }

    pub(super) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Reply {
        let mut all = vec![("authorization", self.bearer.as_str())];
        all.extend_from_slice(headers);
        self.world.send(request(method, path, &all, body)).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[], Some(body)).await
    }

    pub(super) async fn post_once(&self, path: &str, key: &str, body: Value) -> Reply {
        self.send("POST", path, &[("idempotency-key", key)], Some(body)).await
    }

    pub(super) async fn put(&self, path: &str) -> Reply {
        self.send("PUT", path, &[], None).await
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], None).await
    }

    pub(super) async fn edit(&self, path: &str, etag: &str, body: Value) -> Reply {
        self.send("PUT", path, &[("if-match", etag)], Some(body)).await
    }

    pub(super) async fn publish(&self, markdown: &str) -> PostId {
        self.publish_to("public", markdown).await
    }

    pub(super) async fn publish_to(&self, visibility: &str, markdown: &str) -> PostId {
        let reply = self.post("/v1/posts", json!({ "markdown": markdown, "visibility": visibility })).await;
        reply.expect(201).text("id").parse().unwrap()
    }

    /// A comment's id.
    pub(super) async fn comment(&self, post: PostId, text: &str) -> String {
        self.post(&format!("/v1/posts/{post}/comments"), json!({ "text": text })).await.expect(201).text("id")
    }

    pub(super) async fn follow(&self, other: &Self) -> Reply {
        self.put(&format!("/v1/users/{}/follow", other.id)).await
    }

    pub(super) async fn block(&self, other: &Self) -> Reply {
        self.put(&format!("/v1/users/{}/block", other.id)).await
    }
}

impl Reply {
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts a problem's status and code.
    #[track_caller]
    pub(super) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        self
    }

    /// Asserts which field is at fault.
    #[track_caller]
    pub(super) fn at(self, field: &str) -> Self {
        assert_eq!(self.body["field"].as_str(), Some(field), "{self:?}");
        self
    }

    /// A text in the body.
    #[track_caller]
    pub(super) fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// What a repeat answers again.
    pub(super) fn answer(&self) -> (u16, Value, Option<String>, Option<String>) {
        let header = |name: &str| self.header(name).map(str::to_owned);
        (self.status, self.body.clone(), header("etag"), header("location"))
    }
}

pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(body.to_string().into()).unwrap(),
        None => request.body(Body::empty()).unwrap(),
    }
}

/// Polls `condition` until it holds; others run in between.
pub(super) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let patience = Duration::from_secs(120);
    let holds = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, holds).await.unwrap_or_else(|_| panic!("not within {patience:?}: {what}"))
}
