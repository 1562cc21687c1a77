//! Live streams (`text/event-stream`) of posts and of feeds: what happens is told at once, and resumed exactly.
//!
//! Of a post: `hub` has one subscription per post, `client` one state per connection, `missed` reads what a client has
//! missed. Of a feed: `feed` has one state per connection, `feed::position` is what its ids are made of, `feed::hot` has
//! one subscription per hot author. `event` is how it all looks on the wire. L1 a resumed stream gets every later change
//! once, or `reset`. L2 a stream never sends what is not newer than what it has sent.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{TIMELINES, part_of};
use adapters::http::cursor::Cursors;
use adapters::live::{Live, LossAware};
use bytes::Bytes;
use domain::{PostId, UserId};
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::Ports;
use crate::feed::Feed;
use client::Client;
pub(crate) use client::Watcher;
use feed::FeedClient;
#[cfg(test)]
pub(crate) use feed::FeedPosition;
pub(crate) use feed::Present;
use feed::hot::HotAuthors;
use hub::Hub;
use missed::Sources;

mod client;
mod event;
mod feed;
mod hub;
mod missed;

/// All that streams of this process share.
pub(crate) struct Streams {
    ports: Ports,
    feed: Feed,
    cursors: Cursors,
    shutdown: CancellationToken,
    hub: Arc<Hub>,
    hot: Arc<HotAuthors>,
    /// Told when a parked lane of `timelines` drains: one task looks at all progress, not every stream.
    drains: OnceLock<watch::Receiver<u64>>,
    places: Arc<Semaphore>,
}

impl Streams {
    /// Over these stores, at most `limit` at a time, until `shutdown`.
    pub(crate) fn new(ports: &Ports, feed: Feed, cursors: Cursors, limit: usize, shutdown: CancellationToken) -> Self {
        let live: Arc<dyn Live> = Arc::new(LossAware::new(ports.live.clone(), ports.checkpoints.progress()));
        let ports = Ports { live: live.clone(), ..ports.clone() };
        Self {
            feed,
            cursors,
            hub: Arc::new(Hub::new(ports.content.clone(), live.clone(), shutdown.clone())),
            hot: Arc::new(HotAuthors::new(live, shutdown.clone())),
            ports,
            shutdown,
            drains: OnceLock::new(),
            places: Arc::new(Semaphore::new(limit)),
        }
    }

    /// The right to be one of the open streams; `None` when there are too many.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Opens a post's stream, from `last_event_id` if the client has seen one; `None` if there is nothing for it to see.
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

    /// Opens the stream of `viewer`'s feed, from `last_event_id` if the client has seen one.
    pub(crate) async fn open_feed(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        viewer: UserId,
        remaining: Option<Duration>,
        last_event_id: Option<&str>,
    ) -> Result<impl Stream<Item = Bytes> + Send + 'static, StoreError> {
        let connect = FeedClient::connect(self.clone(), permit, viewer, remaining, last_event_id);
        let client = Box::new(Box::pin(connect).await?);
        Ok(futures::stream::unfold(client, |mut client| async move { client.next().await.map(|text| (text, client)) }))
    }

    fn sources(&self) -> Sources<'_> {
        let Ports { content, views, checkpoints, .. } = &self.ports;
        Sources { content: content.as_ref(), views: views.as_ref(), checkpoints: checkpoints.as_ref() }
    }

    fn drains(&self) -> watch::Receiver<u64> {
        let begin =
            || part_of(self.ports.checkpoints.progress(), Duration::ZERO, |progress| progress.drains(TIMELINES));
        self.drains.get_or_init(begin).clone()
    }
}

#[cfg(test)]
impl Streams {
    /// How many posts are watched here.
    pub(crate) fn watched_posts(&self) -> usize {
        self.hub.posts()
    }

    /// How many hot authors are listened to here.
    pub(crate) fn hot_authors(&self) -> usize {
        self.hot.authors()
    }
}
