//! [`Live`] within one process: a `tokio` broadcast per channel that somebody listens to.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Channel, Delivery, Live, Message, Subscription};
use crate::StoreError;

/// The adapter. When the last handle is dropped, subscriptions deliver what is under way and end.
#[derive(Clone, Debug)]
pub struct BroadcastLive {
    channels: Arc<Channels>,
    capacity: usize,
}

/// Only channels with subscribers have an entry, so telling nobody costs a look-up.
#[derive(Debug, Default)]
struct Channels {
    // Shared pointers: a buffer's places are small while it is empty, and many streams have one.
    senders: RwLock<HashMap<Channel, broadcast::Sender<Arc<Message>>>>,
}

impl BroadcastLive {
    /// A subscriber who is more than `capacity` messages behind (rounded up to a power of two, at least 1) loses the
    /// oldest.
    pub fn new(capacity: usize) -> Self {
        Self { channels: Arc::default(), capacity: capacity.max(1) }
    }

    /// Channels that somebody listens to.
    pub fn channels(&self) -> usize {
        self.channels.read().len()
    }
}

impl Channels {
    // Nothing that can panic happens under the lock, so a poisoned one is whole.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Channel, broadcast::Sender<Arc<Message>>>> {
        self.senders.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Channel, broadcast::Sender<Arc<Message>>>> {
        self.senders.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Live for BroadcastLive {
    async fn publish(&self, channel: Channel, messages: Vec<Message>) -> Result<(), StoreError> {
        let senders = self.channels.read();
        if let Some(sender) = senders.get(&channel) {
            for message in messages {
                // Refused only where the last subscriber has just gone.
                let _ = sender.send(Arc::new(message));
            }
        }
        Ok(())
    }

    async fn publish_to_each(&self, channels: Vec<Channel>, message: Message) -> Result<(), StoreError> {
        let senders = self.channels.read();
        // Most homes have nobody looking at them.
        if senders.is_empty() {
            return Ok(());
        }
        let message = Arc::new(message);
        for sender in channels.iter().filter_map(|channel| senders.get(channel)) {
            let _ = sender.send(Arc::clone(&message));
        }
        Ok(())
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, StoreError> {
        let mut senders = self.channels.write();
        let sender = senders.entry(channel).or_insert_with(|| broadcast::Sender::new(self.capacity));
        let receiver = Some(sender.subscribe());
        Ok(Box::new(Listener { channel, receiver, channels: Arc::downgrade(&self.channels) }))
    }
}

struct Listener {
    channel: Channel,
    /// There until the listener is dropped.
    receiver: Option<broadcast::Receiver<Arc<Message>>>,
    channels: Weak<Channels>,
}

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Option<Delivery> {
        match self.receiver.as_mut()?.recv().await {
            // The only listener takes the message as it is.
            Ok(message) => Some(Delivery::Message(Arc::unwrap_or_clone(message))),
            Err(RecvError::Lagged(_)) => Some(Delivery::Lost),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(channels) = self.channels.upgrade() else { return };
        let mut senders = channels.write();
        // Under the lock, so that nobody subscribes between the count and the removal.
        self.receiver = None;
        if senders.get(&self.channel).is_some_and(|sender| sender.receiver_count() == 0) {
            senders.remove(&self.channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::{PostId, Timestamp};

    use super::*;
    use crate::live::{News, contract};

    async fn open() -> (Arc<dyn Live>, ()) {
        (Arc::new(BroadcastLive::new(contract::MOST_BUFFERED as usize)), ())
    }

    contract::stamp!(open);

    fn channel(number: u8) -> Channel {
        Channel::Post(PostId::from_parts(Timestamp::from_millis(1), [number; 10]))
    }

    #[tokio::test]
    async fn only_channels_with_subscribers_are_kept() {
        let live = BroadcastLive::new(1);
        live.publish(channel(1), vec![Message { position: 1, news: News::PostDeleted }]).await.unwrap();
        assert_eq!(live.channels(), 0);
        let first = live.subscribe(channel(1)).await.unwrap();
        let second = live.subscribe(channel(1)).await.unwrap();
        let other = live.subscribe(channel(2)).await.unwrap();
        assert_eq!(live.channels(), 2);
        drop(first);
        assert_eq!(live.channels(), 2);
        drop(second);
        assert_eq!(live.channels(), 1);
        drop(other);
        assert_eq!(live.channels(), 0);
    }

    /// Whoever has subscribed gets what is published then, whatever others do with the channel meanwhile.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn coming_and_going_of_others_loses_nothing() {
        let live = Arc::new(BroadcastLive::new(4));
        let rounds = (0..4).map(|task| {
            let live = Arc::clone(&live);
            tokio::spawn(async move {
                for round in 0..500 {
                    let position = task * 1_000 + round;
                    let mut subscription = live.subscribe(channel(1)).await.unwrap();
                    live.publish(channel(1), vec![Message { position, news: News::PostDeleted }]).await.unwrap();
                    loop {
                        let next = tokio::time::timeout(Duration::from_secs(30), subscription.next()).await;
                        match next.expect("a delivery").unwrap() {
                            Delivery::Message(message) if message.position != position => {}
                            // With so small a buffer the others may have pushed it out; then that is said.
                            Delivery::Message(_) | Delivery::Lost => break,
                        }
                    }
                }
            })
        });
        for round in rounds.collect::<Vec<_>>() {
            round.await.unwrap();
        }
        assert_eq!(live.channels(), 0);
    }
}
