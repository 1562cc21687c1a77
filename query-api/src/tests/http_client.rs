//! A client of the router, without a network.

use std::sync::Arc;

use adapters::http::auth::AccessTokens;
use adapters::http::clock;
use adapters::http::cursor::Cursors;
use adapters::secrets::Secrets;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use domain::{SessionId, UserId};
use http::{HeaderMap, Method, Request, StatusCode};
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::world::World;
use crate::{Settings, router};

#[derive(Clone)]
pub(super) struct Client {
    router: Router,
    tokens: Arc<AccessTokens>,
    headers: HeaderMap,
    query: String,
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    /// Null if the text is not JSON.
    pub(super) body: Value,
}

impl Client {
    pub(super) fn new(world: &World) -> Self {
        Self::with_stream_limit(world, 1_000)
    }

    pub(super) fn with_stream_limit(world: &World, streams: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let secrets = Secrets::load_or_create(&directory.path().join("secrets")).unwrap();
        let tokens = Arc::new(AccessTokens::new(secrets.signing_keys().clone()));
        let cursors = Cursors::new(&secrets);
        let settings = Settings { tokens: tokens.clone(), cursors, streams, shutdown: CancellationToken::new() };
        let router = router(world.ports.clone(), settings);
        Self { router, tokens, headers: HeaderMap::new(), query: String::new() }
    }

    pub(super) fn anonymous(&self) -> Self {
        Self { headers: HeaderMap::new(), ..self.clone() }
    }

    pub(super) fn by(&self, user: UserId) -> Self {
        let session = SessionId::from_parts(clock::now(), clock::entropy());
        self.with_token(&self.tokens.issue(user, session, clock::now()).unwrap())
    }

    pub(super) fn with_token(&self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.insert(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        client
    }

    pub(super) fn with_query(&self, name: &str, value: &str) -> Self {
        Self { query: format!("?{name}={value}"), ..self.clone() }
    }

    /// The answer as it comes, its body unread.
    pub(super) async fn open(&self, path: &str) -> Response {
        self.send(Method::GET, path).await
    }

    async fn send(&self, method: Method, path: &str) -> Response {
        let mut request = Request::builder().method(method).uri(format!("{path}{}", self.query));
        request.headers_mut().unwrap().extend(self.headers.clone());
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        let response = self.open(path).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Reply { status, headers, text, body }
    }

    pub(super) async fn get_length(&self, path: &str) -> usize {
        self.open(path).await.into_body().collect().await.unwrap().to_bytes().len()
    }

    pub(super) async fn head(&self, path: &str) -> StatusCode {
        self.send(Method::HEAD, path).await.status()
    }

    /// Status, headers and the first text of a stream.
    pub(super) async fn stream(&self, path: &str) -> (StatusCode, HeaderMap, String) {
        let response = self.open(path).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let first = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
        (status, headers, String::from_utf8(first.to_vec()).unwrap())
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}
