//! What all queries share: the stores, the waiting for consistency, and how answers are sent.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use adapters::checkpoints::{ENGAGEMENT, PROFILES, TIMELINES};
use adapters::http::auth::AccessTokens;
use adapters::http::consistency::{Consistency, Token, wait};
use adapters::http::cursor::Cursors;
use adapters::http::problem::Problem;
use axum::extract::FromRef;
use axum::response::{IntoResponse, Response};
use domain::Topic;
use http::{HeaderMap, HeaderValue, header};
use tokio_util::sync::CancellationToken;

use crate::Ports;
use crate::feed::Feed;
use crate::stream::Streams;

/// What a query reads: projections, each with the topics that matter.
pub(crate) type Reads = &'static [(&'static str, &'static [Topic])];

/// Posts and relations.
pub(crate) const TIMELINES_WHOLE: (&str, &[Topic]) = (TIMELINES, &[Topic::Posts, Topic::Relations]);
/// Who is what to whom.
pub(crate) const TIMELINES_OF_RELATIONS: (&str, &[Topic]) = (TIMELINES, &[Topic::Relations]);
/// Numbers, comments, reactions.
pub(crate) const ENGAGEMENT_OF_POSTS: (&str, &[Topic]) = (ENGAGEMENT, &[Topic::Posts]);

/// What people show of themselves, and their numbers.
pub(crate) const PROFILES_WHOLE: (&str, &[Topic]) = (PROFILES, &[Topic::Users, Topic::Relations, Topic::Posts]);
/// Names, and who follows whom.
pub(crate) const PROFILES_OF_FOLLOWS: (&str, &[Topic]) = (PROFILES, &[Topic::Users, Topic::Relations]);
/// Names.
pub(crate) const PROFILES_OF_USERS: (&str, &[Topic]) = (PROFILES, &[Topic::Users]);

/// How long a query waits for projections to pass what its consistency token names.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the query API needs besides stores.
pub struct Settings {
    /// Verifies who asks.
    pub tokens: Arc<AccessTokens>,
    /// Seals cursors, so that those from elsewhere are recognised.
    pub cursors: Cursors,
    /// Streams open at one time, at most.
    pub streams: usize,
    /// Ends the streams.
    pub shutdown: CancellationToken,
}

/// The state of the router: shared by all requests.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

/// See [`Api`].
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) feed: Feed,
    pub(crate) streams: Arc<Streams>,
    pub(crate) cursors: Cursors,
    tokens: Arc<AccessTokens>,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl FromRef<Api> for Arc<AccessTokens> {
    fn from_ref(api: &Api) -> Self {
        api.tokens.clone()
    }
}

impl Api {
    pub(crate) fn new(ports: Ports, settings: Settings) -> Self {
        let feed = Feed::new(&ports);
        let Settings { tokens, cursors, streams, shutdown } = settings;
        let streams = Arc::new(Streams::new(&ports, feed.clone(), cursors.clone(), streams, shutdown));
        Self(Arc::new(Shared { ports, feed, streams, cursors, tokens }))
    }

    /// Waits, bounded, until what is read contains what the client's consistency token names (W7), if it sent one.
    pub(crate) async fn wait(&self, headers: &HeaderMap, reads: Reads) -> Result<Option<Consistency>, Problem> {
        let Some(token) = Token::from_headers(headers) else { return Ok(None) };
        let progress = self.ports.checkpoints.progress();
        let (content, log) = (self.ports.content.as_ref(), self.ports.event_log.id());
        Ok(Some(wait(&token?, reads, progress, content, log, PATIENCE).await?))
    }

    /// An answer of JSON that is written already.
    pub(crate) fn json(&self, body: Vec<u8>, consistency: Option<Consistency>) -> Response {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        self.uncached((headers, body).into_response(), consistency)
    }

    /// An answer that is for this viewer, at this moment. Nobody keeps it: a browser that revalidated a post by its
    /// `ETag`, which is the version of the text, would show old numbers.
    pub(crate) fn uncached(&self, mut answer: Response, consistency: Option<Consistency>) -> Response {
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        if let Some(consistency) = consistency {
            answer.headers_mut().insert("consistency", HeaderValue::from_static(consistency.as_str()));
        }
        answer
    }
}
