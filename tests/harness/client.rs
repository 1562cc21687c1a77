//! HTTP as a program that uses the server speaks it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::document::Document;

/// Speaks to a system, with or without an access token.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    places: Arc<Places>,
    /// Shared by all clones: who logs in again does so for all of them.
    bearer: Option<Arc<Mutex<String>>>,
}

/// Where a system serves what. Where several processes do the same, requests go to them in turn, as through a balancer
/// that does not know which of them are well.
#[derive(Debug)]
pub(crate) struct Places {
    /// What changes something.
    pub(crate) commands: Vec<String>,
    /// What only reads.
    pub(crate) queries: Vec<String>,
    /// Streams.
    pub(crate) streams: Vec<String>,
    next: AtomicUsize,
}

impl Places {
    pub(crate) fn new(commands: Vec<String>, queries: Vec<String>, streams: Vec<String>) -> Self {
        Self { commands, queries, streams, next: AtomicUsize::new(0) }
    }

    fn of(&self, method: &Method, path: &str) -> &[String] {
        match *method {
            Method::GET if path.split('?').next().is_some_and(|path| path.ends_with("/stream")) => &self.streams,
            // Administration goes with what changes something.
            Method::GET | Method::HEAD if !path.starts_with("/v1/admin/") => &self.queries,
            _ => &self.commands,
        }
    }
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An `application/problem+json` body, checked for what every one of them has.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The stable code.
    pub code: String,
    /// The field at fault.
    pub field: Option<String>,
}

impl Client {
    /// For `base`, for example `http://127.0.0.1:8080`.
    ///
    /// # Panics
    /// When no client can be made at all.
    pub fn new(base: &str) -> Self {
        let everywhere = || vec![base.to_owned()];
        Self::of(Places::new(everywhere(), everywhere(), everywhere()))
    }

    /// For a system that serves at these places.
    pub(crate) fn of(places: Places) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self { http, places: Arc::new(places), bearer: None }
    }

    /// The same with an access token.
    #[must_use]
    pub fn bearer(&self, token: &str) -> Self {
        Self { bearer: Some(Arc::new(Mutex::new(token.to_owned()))), ..self.clone() }
    }

    /// Has this client, and all its clones, go on with another token.
    pub(crate) fn renew(&self, token: &str) {
        if let Some(bearer) = &self.bearer {
            token.clone_into(&mut bearer.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The server's address; of several, the first that is asked.
    ///
    /// # Panics
    /// When nobody is asked.
    pub fn base(&self) -> &str {
        self.places.queries.first().expect("somebody is asked")
    }

    /// A request to be filled in; the token is in it already. Where several answer to it, to the next of them.
    ///
    /// # Panics
    /// When nobody does.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let places = self.places.of(&method, path);
        let turn = self.places.next.fetch_add(1, Ordering::Relaxed);
        let base = places.get(turn % places.len().max(1)).unwrap_or_else(|| panic!("nobody serves {method} {path}"));
        let request = self.http.request(method, format!("{base}{path}"));
        match &self.bearer {
            Some(token) => request.bearer_auth(token.lock().unwrap_or_else(PoisonError::into_inner)),
            None => request,
        }
    }

    /// Sends a request and reads the whole answer, which must be one that the API's document promises.
    ///
    /// # Errors
    /// The connection broke.
    ///
    /// # Panics
    /// When the document does not promise it.
    pub async fn try_send(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let (http, request) = request.build_split();
        let request = request?;
        let (method, url) = (request.method().clone(), request.url().clone());
        let response = http.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, body: response.bytes().await? };
        Document::check(&method, &url, &answer);
        Ok(answer)
    }

    /// Sends a request to a server that must be there.
    ///
    /// # Panics
    /// When the connection breaks.
    pub async fn send(request: reqwest::RequestBuilder) -> Answer {
        Self::try_send(request).await.expect("an answer")
    }

    /// Sends a request that was made by hand; its body is not read yet.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, reqwest::Error> {
        self.http.execute(request).await
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path)).await
    }

    /// `GET` once the server has passed what `tokens` name.
    pub async fn get_after(&self, path: &str, tokens: &str) -> Answer {
        Self::send(self.request(Method::GET, path).header("consistency-token", tokens)).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Self::send(self.request(Method::POST, path).json(body)).await
    }

    /// `POST` of JSON with an `Idempotency-Key`.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answer {
        Self::send(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// `PUT` without a body.
    pub async fn put(&self, path: &str) -> Answer {
        Self::send(self.request(Method::PUT, path)).await
    }

    /// `PUT` of JSON with `If-Match`.
    pub async fn edit(&self, path: &str, etag: &str, body: &Value) -> Answer {
        Self::send(self.request(Method::PUT, path).header("if-match", etag).json(body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        Self::send(self.request(Method::DELETE, path)).await
    }
}

impl Answer {
    /// The same, if it has this status.
    ///
    /// # Panics
    /// With the answer, if not.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.shown());
        self
    }

    /// A header, where it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.shown()))
    }

    /// A text field of the body.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn text(&self, field: &str) -> String {
        let text = self.json()[field].as_str().map(str::to_owned);
        text.unwrap_or_else(|| panic!("no text {field:?}: {}", self.shown()))
    }

    /// The `Consistency-Token` that every command answers with.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn token(&self) -> String {
        self.header("consistency-token").unwrap_or_else(|| panic!("no token: {}", self.shown())).to_owned()
    }

    /// The body as a problem, with all that a problem must have.
    ///
    /// # Panics
    /// When it is none, or lacks something.
    #[track_caller]
    pub fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.shown());
        let body = self.json();
        for field in ["type", "title", "code", "detail", "trace_id"] {
            let filled = body[field].as_str().is_some_and(|text| !text.is_empty());
            assert!(filled, "a problem has {field:?}: {}", self.shown());
        }
        assert_eq!(body["status"], self.status, "{}", self.shown());
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        Problem { code: text("code").unwrap_or_default(), field: text("field") }
    }

    /// All of it, for messages.
    pub fn shown(&self) -> String {
        format!("{} {:?}\n{}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}
