//! HTTP queries, hydration and the event streams: everything that is read, from the read models and the truth, and
//! nothing written.
//!
//! [`router`] is what is served, [`health::router`] what operators ask; [`feed`] is used without HTTP by `verify` and
//! by tests, too.

use std::sync::Arc;

use adapters::cache::Cache;
use adapters::checkpoints::Checkpoints;
use adapters::content::Content;
use adapters::event_log::EventLog;
use adapters::live::Live;
use adapters::timelines::Timelines;
use adapters::views::Views;
use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use api::Settings;

pub mod canary;
pub mod explain;
pub mod feed;
pub mod health;
pub mod items;

mod access;
mod api;
mod cached;
mod comment;
mod history;
mod hydrate;
mod lists;
mod me;
mod place;
mod post;
mod posts;
mod readers;
mod stream;
mod users;
mod watch;

#[cfg(test)]
mod tests;

/// The stores that are read.
#[derive(Clone)]
pub struct Ports {
    /// The truth: texts and names.
    pub content: Arc<dyn Content>,
    /// Asked for its id and its partitions: what positions are made of.
    pub event_log: Arc<dyn EventLog>,
    /// Counts, comments, reactions and relations.
    pub views: Arc<dyn Views>,
    /// Homes and authors' posts.
    pub timelines: Arc<dyn Timelines>,
    /// How far the projections are.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// What is read all the time.
    pub cache: Arc<dyn Cache>,
    /// What happens now.
    pub live: Arc<dyn Live>,
}

/// What of it a process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Queries and streams.
    Everything,
    /// What answers and is done.
    Queries,
    /// What stays open.
    Streams,
}

/// The queries and the streams. Paths that it does not know are for whoever merges it with other routers to answer.
pub fn router(ports: Ports, settings: Settings) -> Router {
    part(Part::Everything, ports, settings)
}

/// A part of them.
pub fn part(part: Part, ports: Ports, settings: Settings) -> Router {
    let calls = match part {
        Part::Everything => calls(),
        Part::Queries => queries(),
        Part::Streams => streams(),
    };
    Router::from(calls).with_state(api::Api::new(ports, settings))
}

/// What the queries and streams are, for the OpenAPI document.
pub fn document() -> OpenApi {
    calls().into_openapi()
}

/// Every call with its description; how a handler is documented is told beside the command API's `calls`.
fn calls() -> OpenApiRouter<api::Api> {
    queries().merge(streams())
}

fn streams() -> OpenApiRouter<api::Api> {
    OpenApiRouter::new().routes(routes!(watch::feed)).routes(routes!(watch::post))
}

fn queries() -> OpenApiRouter<api::Api> {
    OpenApiRouter::new()
        .routes(routes!(posts::home))
        .routes(routes!(posts::count))
        .routes(routes!(explain::explain))
        .routes(routes!(me::me))
        .routes(routes!(me::blocked))
        .routes(routes!(me::muted))
        .routes(routes!(users::some))
        .routes(routes!(users::profile))
        .routes(routes!(users::followers))
        .routes(routes!(users::following))
        .routes(routes!(posts::by_author))
        .routes(routes!(post::whole))
        .routes(routes!(post::comments))
        .routes(routes!(post::likes))
        .routes(routes!(history::of_post))
        .routes(routes!(comment::whole))
        .routes(routes!(history::of_comment))
}
