//! Publish and subscribe in the test's hands: what is published arrives at once, and what shall be lost is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use adapters::StoreError;
use adapters::live::{Channel, Delivery, Live, Message, Subscription};
use async_trait::async_trait;
use tokio::sync::mpsc;

#[derive(Default)]
pub(super) struct ManualLive {
    channels: Mutex<HashMap<Channel, Vec<mpsc::UnboundedSender<Delivery>>>>,
    subscribed: Mutex<Vec<Channel>>,
    losing: AtomicBool,
}

impl ManualLive {
    /// Delivers to all who listen; answers how many do.
    pub(super) fn deliver(&self, channel: Channel, delivery: Delivery) -> usize {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners = channels.entry(channel).or_default();
        listeners.retain(|listener| listener.send(delivery.clone()).is_ok());
        listeners.len()
    }

    /// From now on what is published is lost, or no longer.
    pub(super) fn lose(&self, losing: bool) {
        self.losing.store(losing, Ordering::Relaxed);
    }

    /// How often a channel was subscribed to.
    pub(super) fn subscriptions(&self, channel: Channel) -> usize {
        let subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        subscribed.iter().filter(|at| **at == channel).count()
    }

    /// Ends every subscription, as the port does when it shuts down.
    pub(super) fn shut_down(&self) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

struct Listener(mpsc::UnboundedReceiver<Delivery>);

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Option<Delivery> {
        self.0.recv().await
    }
}

#[async_trait]
impl Live for ManualLive {
    async fn publish(&self, channel: Channel, messages: Vec<Message>) -> Result<(), StoreError> {
        if self.losing.load(Ordering::Relaxed) {
            return Ok(());
        }
        for message in messages {
            self.deliver(channel, Delivery::Message(message));
        }
        Ok(())
    }

    async fn publish_to_each(&self, channels: Vec<Channel>, message: Message) -> Result<(), StoreError> {
        for channel in channels {
            self.publish(channel, vec![message.clone()]).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, StoreError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).entry(channel).or_default().push(sender);
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        Ok(Box::new(Listener(receiver)))
    }
}
