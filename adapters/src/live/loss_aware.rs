//! [`Live`] for those who listen: they hear also of what could not be published.
//!
//! A publisher that cannot reach the server goes on, having raised [`Epoch::Live`](crate::checkpoints::Epoch) before its
//! checkpoint. Here the new number is delivered as [`Delivery::Lost`] to every subscription, and whoever listens reads what
//! it has missed (L1). So streams go on, more slowly, while no message gets through at all.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Channel, Delivery, Live, Message, Subscription};
use crate::StoreError;
use crate::checkpoints::{Progress, part_of};

/// How long it takes, after one loss was delivered, until the next is: every stream reads its store again each time.
const EVERY: Duration = Duration::from_secs(2);

/// Subscriptions to `live` that also deliver what publishers have given up.
pub struct LossAware {
    live: Arc<dyn Live>,
    progress: watch::Receiver<Progress>,
    /// Told when the epoch rises: one task looks at all progress, not every subscription.
    epoch: OnceLock<watch::Receiver<u64>>,
}

impl LossAware {
    /// Of `live`, as long as `progress` is kept up to date.
    pub fn new(live: Arc<dyn Live>, progress: watch::Receiver<Progress>) -> Self {
        Self { live, progress, epoch: OnceLock::new() }
    }

    fn epoch(&self) -> watch::Receiver<u64> {
        let begin = || part_of(self.progress.clone(), EVERY, |progress| progress.epochs.live);
        self.epoch.get_or_init(begin).clone()
    }
}

#[async_trait]
impl Live for LossAware {
    async fn publish(&self, channel: Channel, messages: Vec<Message>) -> Result<(), StoreError> {
        self.live.publish(channel, messages).await
    }

    async fn publish_to_each(&self, channels: Vec<Channel>, message: Message) -> Result<(), StoreError> {
        self.live.publish_to_each(channels, message).await
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, StoreError> {
        // Before the subscription: what is given up from here on is delivered.
        let mut epoch = self.epoch();
        epoch.mark_unchanged();
        let subscription = self.live.subscribe(channel).await?;
        Ok(Box::new(Listener { subscription, epoch }))
    }
}

struct Listener {
    subscription: Box<dyn Subscription>,
    epoch: watch::Receiver<u64>,
}

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Option<Delivery> {
        tokio::select! {
            Ok(()) = self.epoch.changed() => Some(Delivery::Lost),
            delivery = self.subscription.next() => delivery,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{PostId, Timestamp};
    use futures::FutureExt as _;

    use super::*;
    use crate::checkpoints::Epochs;
    use crate::live::{BroadcastLive, News};

    fn raise(progress: &watch::Sender<Progress>) {
        progress.send_modify(|progress| progress.epochs.live += 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_up_is_delivered_as_lost_to_everybody() {
        let (sender, progress) =
            watch::channel(Progress { epochs: Epochs { cache: 0, live: 7 }, ..Progress::default() });
        let live = LossAware::new(Arc::new(BroadcastLive::new(8)), progress);
        let channel = |number| Channel::Post(PostId::from_parts(Timestamp::from_millis(1), [number; 10]));
        let mut first = live.subscribe(channel(1)).await.unwrap();
        let mut second = live.subscribe(channel(2)).await.unwrap();

        sender.send_modify(|progress| progress.epochs.cache += 1);
        let message = Message { position: 1, news: News::PostDeleted };
        live.publish(channel(1), vec![message.clone()]).await.unwrap();
        assert_eq!(first.next().await, Some(Delivery::Message(message)), "what is cached is none of its business");

        raise(&sender);
        assert_eq!((first.next().await, second.next().await), (Some(Delivery::Lost), Some(Delivery::Lost)));
        assert_eq!(first.next().now_or_never(), None, "once");

        // Many are one.
        (0..100).for_each(|_| raise(&sender));
        assert_eq!(first.next().await, Some(Delivery::Lost));
        assert_eq!(first.next().now_or_never(), None);

        let mut late = live.subscribe(channel(3)).await.unwrap();
        assert_eq!(late.next().now_or_never(), None, "what was given up before it came it has not missed");
        raise(&sender);
        assert_eq!(late.next().await, Some(Delivery::Lost));
    }

    #[tokio::test]
    async fn the_end_is_the_end() {
        let (sender, progress) = watch::channel(Progress::default());
        let live = LossAware::new(Arc::new(BroadcastLive::new(8)), progress);
        let channel = Channel::Post(PostId::from_parts(Timestamp::from_millis(1), [1; 10]));
        let mut subscription = live.subscribe(channel).await.unwrap();
        drop(sender);
        drop(live);
        assert_eq!(subscription.next().await, None);
    }
}
