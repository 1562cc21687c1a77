//! [`Live`] over Redis: publish and subscribe between processes.
//!
//! `redis://user:password@host:port/prefix`, with `tls=true` and its files, `database=N` and `cluster=true|false` (asked
//! of the server if left out). All channels are named `prefix:{kind:id}`; what stands in braces decides a channel's slot in
//! a cluster, so that whatever else is kept of one post under the same tag lies on the same node.
//!
//! A process has two connections (in a cluster: to every node that has slots): one to publish on, pipelined, and one for all
//! its subscriptions, one per channel however many listen here. Redis forgets a message that it has handed out, so the
//! port's promise is kept on this side:
//!
//! - `subscribe` returns once the server has confirmed the channel on the present connection. Who joins others on a channel
//!   waits for an answer on that connection, too: by then whatever was published before has arrived, and is not theirs.
//! - A lost connection is noticed by its end or, if it is only half open, by a ping that is not answered. It is opened again
//!   (with growing, jittered pauses), and all channels are subscribed to again. With the confirmation of its channel, and
//!   before any message that came after it, each listener gets [`Lost`](super::Delivery::Lost): what it re-reads then holds what was
//!   published while nobody listened, and nothing newer was given out before.
//! - A confirmation is handled where the connection is read, in order with the messages, and so is everything else;
//!   nothing there waits for a listener.
//! - A message that cannot be read (a newer version's) is delivered as [`Lost`](super::Delivery::Lost), too.
//!
//! Publishing without a connection fails at once, and an answer that does not come in time fails: both as
//! [`StoreError::Unavailable`], and whoever publishes must try again, or the invariant is theirs to keep. A message that is
//! published twice does no harm.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::RedisError;
use tokio::sync::watch;

use super::{Channel, Live, Message, Subscription};
use crate::StoreError;
use crate::redis::{Connection, Kept, Link, Server};
use crate::url::StoreUrl;

mod channels;
mod keepers;
mod link;
#[cfg(test)]
mod tests;

use channels::Channels;

/// How long a subscription waits for its confirmation, a new connection included.
const SUBSCRIBES_WITHIN: Duration = Duration::from_secs(5);

/// The adapter. When it is dropped, subscriptions deliver what is under way and end.
pub struct RedisLive {
    server: Arc<Server>,
    channels: Arc<Channels>,
    publisher: Kept<Link>,
    /// Its end ends the task that keeps the subscriptions.
    _open: watch::Sender<()>,
}

impl RedisLive {
    /// Connects. A subscriber who is more than `buffer` messages behind (at least 1) loses the oldest.
    ///
    /// # Errors
    /// The URL is wrong, or the server refuses what is needed ([`StoreError::Unfit`]); or it cannot be reached.
    pub async fn open(url: &StoreUrl, buffer: usize) -> Result<Self, StoreError> {
        let server = Arc::new(Server::from_url(url)?);
        server.learn_mode().await?;
        let channels = Arc::new(Channels::new(buffer));
        let publisher = <Link as Connection>::open(&server).await.map_err(|error| server.refusal(&error))?;
        let subscriber = keepers::subscribing_link(&server, &channels).await;
        let subscriber = subscriber.map_err(|error| server.refusal(&error))?;
        may_do_what_it_must(&server, &publisher, &subscriber).await?;

        let (open, is_open) = watch::channel(());
        let publisher = Kept::keep(Arc::clone(&server), Ok(publisher));
        tokio::spawn(keepers::keep_subscribing(Arc::clone(&server), Arc::clone(&channels), subscriber, is_open));
        Ok(Self { server, channels, publisher, _open: open })
    }

    /// Channels that somebody listens to here.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    async fn send(&self, messages: &[(Arc<str>, Arc<[u8]>)]) -> Result<(), StoreError> {
        if messages.is_empty() {
            return Ok(());
        }
        let link = self.publisher.present()?;
        link.publish(messages).await.map_err(|error| self.publisher.failure(&link, &error))
    }

    /// What a channel is called on the wire.
    fn name_of(&self, channel: Channel) -> Arc<str> {
        Arc::from(format!("{}:{{{channel}}}", self.server.prefix()))
    }
}

impl Connection for Link {
    const PURPOSE: &'static str = "publishing live messages";

    async fn open(server: &Server) -> Result<Self, RedisError> {
        Self::open(server, |_| true).await
    }

    fn link(&self) -> &Link {
        self
    }
}

#[async_trait]
impl Live for RedisLive {
    async fn publish(&self, channel: Channel, messages: Vec<Message>) -> Result<(), StoreError> {
        let name = self.name_of(channel);
        let written = messages.iter().map(|message| Ok((Arc::clone(&name), written(message)?)));
        self.send(&written.collect::<Result<Vec<_>, StoreError>>()?).await
    }

    async fn publish_to_each(&self, channels: Vec<Channel>, message: Message) -> Result<(), StoreError> {
        let message = written(&message)?;
        let messages = channels.into_iter().map(|channel| (self.name_of(channel), Arc::clone(&message)));
        self.send(&messages.collect::<Vec<_>>()).await
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, StoreError> {
        let listener = self.channels.listen(self.name_of(channel));
        match tokio::time::timeout(SUBSCRIBES_WITHIN, listener.confirmed()).await {
            Ok(()) => Ok(Box::new(listener)),
            Err(_) => {
                let why = self.channels.trouble().unwrap_or_else(|| "no confirmation in time".to_owned());
                Err(StoreError::Unavailable(format!("{} cannot be subscribed to: {why}", self.server)))
            }
        }
    }
}

impl fmt::Debug for RedisLive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisLive({})", self.server)
    }
}

fn written(message: &Message) -> Result<Arc<[u8]>, StoreError> {
    let text = serde_json::to_vec(message);
    text.map(Arc::from).map_err(|error| StoreError::Damaged(format!("a live message cannot be written: {error}")))
}

/// Rights that are missing are told at the start, not when the first reader comes.
async fn may_do_what_it_must(server: &Server, publisher: &Link, subscriber: &Link) -> Result<(), StoreError> {
    // Nobody listens to it.
    let name: Arc<str> = Arc::from(format!("{}:{{probe}}", server.prefix()));
    let tried = async {
        subscriber.subscribe(std::slice::from_ref(&name)).await?;
        subscriber.unsubscribe(std::slice::from_ref(&name)).await?;
        publisher.publish(&[(Arc::clone(&name), Arc::from(&b"{}"[..]))]).await
    };
    tried.await.map_err(|error| server.refusal(&error))
}
