//! Live streams of posts (`text/event-stream`): comments at once, likes gathered, resumed exactly.
//!
//! `hub` has one subscription per post, `client` one state per connection, `missed` reads what a client has missed,
//! `event` is how it looks on the wire. L1 a resumed stream gets every later change once, or `reset`. L2 a stream
//! never sends what is not newer than what it has sent.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Checkpoints;
use adapters::content::Content;
use adapters::event_log::EventLog;
use adapters::live::Live;
use adapters::views::Views;
use bytes::Bytes;
use domain::PostId;
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::Ports;
use client::Client;
pub(crate) use client::Watcher;
use hub::Hub;
use missed::Sources;

mod client;
mod event;
mod hub;
mod missed;

/// All that streams of this process share.
pub(crate) struct Streams {
    content: Arc<dyn Content>,
    event_log: Arc<dyn EventLog>,
    views: Arc<dyn Views>,
    checkpoints: Arc<dyn Checkpoints>,
    live: Arc<dyn Live>,
    hub: Arc<Hub>,
    places: Arc<Semaphore>,
}

impl Streams {
    /// Over these stores, at most `limit` at a time, until `shutdown`.
    pub(crate) fn new(ports: &Ports, limit: usize, shutdown: CancellationToken) -> Self {
        Self {
            content: ports.content.clone(),
            event_log: ports.event_log.clone(),
            views: ports.views.clone(),
            checkpoints: ports.checkpoints.clone(),
            live: ports.live.clone(),
            hub: Arc::new(Hub::new(ports.content.clone(), ports.live.clone(), shutdown)),
            places: Arc::new(Semaphore::new(limit)),
        }
    }

    /// The right to be one of the open streams; `None` when there are too many.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Opens a stream, from `last_event_id` if the client has seen one; `None` if there is nothing for it to see.
    pub(crate) async fn open(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        watcher: Watcher,
        post: PostId,
        last_event_id: Option<&str>,
    ) -> Result<Option<impl Stream<Item = Bytes> + Send + 'static>, StoreError> {
        let client = Client::connect(self.clone(), permit, watcher, post, last_event_id).await?;
        Ok(client.map(|client| {
            futures::stream::unfold(client, |mut client| async move { client.next().await.map(|text| (text, client)) })
        }))
    }

    fn sources(&self) -> Sources<'_> {
        Sources { content: self.content.as_ref(), views: self.views.as_ref(), checkpoints: self.checkpoints.as_ref() }
    }
}

#[cfg(test)]
impl Streams {
    /// How many posts are watched here.
    pub(crate) fn watched_posts(&self) -> usize {
        self.hub.posts()
    }
}
