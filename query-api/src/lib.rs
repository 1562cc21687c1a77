//! HTTP queries, hydration and the event streams: everything that is read, from the read models and the truth, and
//! nothing written.
//!
//! [`router`] is what is served, [`health::router`] what operators ask; [`feed`] is used without HTTP by `verify` and
//! by tests, too.

use std::sync::Arc;

use adapters::checkpoints::Checkpoints;
use adapters::content::Content;
use adapters::event_log::EventLog;
use adapters::live::Live;
use adapters::timelines::Timelines;
use adapters::views::Views;
use axum::Router;
use axum::routing::get;

pub use api::Settings;

pub mod explain;
pub mod feed;
pub mod health;
pub mod items;

mod access;
mod api;
mod hydrate;
mod lists;
mod me;
mod place;
mod post;
mod posts;
mod readers;
mod stream;
mod watch;

#[cfg(test)]
mod tests;

/// The stores that are read.
#[derive(Clone)]
pub struct Ports {
    /// The truth: texts and names.
    pub content: Arc<dyn Content>,
    /// Asked for its id and its partitions only: what positions are made of.
    pub event_log: Arc<dyn EventLog>,
    /// Counts, comments, reactions and relations.
    pub views: Arc<dyn Views>,
    /// Homes and authors' posts.
    pub timelines: Arc<dyn Timelines>,
    /// How far the projections are.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// What happens now.
    pub live: Arc<dyn Live>,
}

/// The queries and the streams. Paths that it does not know are for whoever merges it with other routers to answer.
pub fn router(ports: Ports, settings: Settings) -> Router {
    Router::new()
        .route("/v1/feed", get(posts::home))
        .route("/v1/feed/count", get(posts::count))
        .route("/v1/feed/explain", get(explain::explain))
        .route("/v1/feed/stream", get(watch::feed))
        .route("/v1/me", get(me::me))
        .route("/v1/users/{id}/posts", get(posts::by_author))
        .route("/v1/posts/{id}", get(post::whole))
        .route("/v1/posts/{id}/comments", get(post::comments))
        .route("/v1/posts/{id}/likes", get(post::likes))
        .route("/v1/posts/{id}/stream", get(watch::post))
        .with_state(api::Api::new(ports, settings))
}
