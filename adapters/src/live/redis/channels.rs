//! Who listens to what in this process, and what waits for them.
//!
//! What the server sends is handled here under one lock, in the order of the connection, by [`Channels::pushed`]; it never
//! waits. Wishes go the other way: a channel that somebody begins or ceases to listen to is noted, and the link's keeper
//! fetches the notes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use crate::live::{Delivery, Message, Subscription};

/// All channels that are listened to here.
pub(super) struct Channels {
    state: Mutex<State>,
    /// Messages that wait for one listener, at most.
    capacity: usize,
    changed: Notify,
}

#[derive(Default)]
struct State {
    entries: HashMap<Arc<str>, Entry>,
    /// Channels that may have to be subscribed to, or not any more.
    changed: HashSet<Arc<str>>,
    listeners: u64,
    /// What an older link says does not count.
    link: u64,
    /// Why there is no link, while there is none.
    trouble: Option<String>,
    is_closed: bool,
}

/// What there is to be done about subscriptions.
pub(super) struct Changes {
    /// Channels to subscribe to.
    pub(super) wanted: Vec<Arc<str>>,
    /// Channels that nobody listens to any more.
    pub(super) unwanted: Vec<Arc<str>>,
    /// Channels that are subscribed to, and that more listen to now.
    joined: Vec<Arc<str>>,
    /// The last listener who is meant.
    last: u64,
}

impl Changes {
    pub(super) fn has_joined(&self) -> bool {
        !self.joined.is_empty()
    }
}

#[derive(Default)]
struct Entry {
    /// Whether the present link's server has confirmed the channel.
    is_confirmed: bool,
    /// The last of the listeners that the channel was asked for. Who came later may not be confirmed by the answer: it may
    /// be followed by what was published before they came.
    asked_for: u64,
    listeners: HashMap<u64, Arc<Mailbox>>,
}

impl Channels {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), capacity: capacity.max(1), changed: Notify::new() }
    }

    /// How many channels are listened to.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.values().filter(|entry| !entry.listeners.is_empty()).count()
    }

    /// Begins to listen; what is published is heard once it is confirmed.
    pub(super) fn listen(self: &Arc<Self>, name: Arc<str>) -> Listener {
        let mut state = self.lock();
        let is_closed = state.is_closed;
        state.listeners += 1;
        let number = state.listeners;
        let entry = state.entries.entry(Arc::clone(&name)).or_default();
        let mailbox = Arc::new(Mailbox::new(self.capacity, is_closed));
        entry.listeners.insert(number, Arc::clone(&mailbox));
        state.changed.insert(Arc::clone(&name));
        self.changed.notify_one();
        Listener { channels: Arc::clone(self), name, number, mailbox }
    }

    fn leave(&self, name: &Arc<str>, number: u64) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(name) else { return };
        entry.listeners.remove(&number);
        if entry.listeners.is_empty() {
            state.changed.insert(Arc::clone(name));
            self.changed.notify_one();
        }
    }

    /// The number of a link that is about to be opened. Only what it says counts from now on.
    pub(super) fn next_link(&self) -> u64 {
        let mut state = self.lock();
        state.link += 1;
        for entry in state.entries.values_mut() {
            entry.is_confirmed = false;
        }
        state.link
    }

    /// There is no link at the moment.
    pub(super) fn lose_link(&self, why: String) {
        self.next_link();
        self.lock().trouble = Some(why);
    }

    /// The link has everything.
    pub(super) fn is_fine(&self) {
        self.lock().trouble = None;
    }

    /// Why there is no link, if there is none.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// All that a new link must subscribe to.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        let mut state = self.lock();
        state.changed.clear();
        state.entries.retain(|_, entry| !entry.listeners.is_empty());
        let last = state.listeners;
        let asked = state.entries.iter_mut().map(|(name, entry)| {
            entry.asked_for = last;
            Arc::clone(name)
        });
        asked.collect()
    }

    /// Returns when there are changes.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What is to be done. To be carried out, and confirmed, before the next call.
    pub(super) fn changes(&self) -> Changes {
        let mut state = self.lock();
        let last = state.listeners;
        let mut changes = Changes { wanted: Vec::new(), unwanted: Vec::new(), joined: Vec::new(), last };
        for name in std::mem::take(&mut state.changed) {
            let Some(entry) = state.entries.get_mut(&name) else { continue };
            match (entry.listeners.is_empty(), entry.is_confirmed) {
                (true, is_confirmed) => {
                    state.entries.remove(&name);
                    if is_confirmed {
                        changes.unwanted.push(name);
                    }
                }
                (false, true) => changes.joined.push(name),
                (false, false) => {
                    entry.asked_for = last;
                    changes.wanted.push(name);
                }
            }
        }
        changes
    }

    /// What was on its way has arrived: who joined a channel before hears what is published from now on.
    pub(super) fn have_joined(&self, changes: &Changes) {
        let state = self.lock();
        for entry in changes.joined.iter().filter_map(|name| state.entries.get(name)) {
            let joined = entry.listeners.iter().filter(|(number, _)| **number <= changes.last);
            joined.for_each(|(_, listener)| listener.begin());
        }
    }

    /// Takes what the server says on a link; answers whether the link is still good.
    pub(super) fn pushed(&self, link: u64, push: &PushInfo) -> bool {
        let (Some(name), content) = two(&push.data) else { return true };
        match push.kind {
            PushKind::Subscribe | PushKind::SSubscribe => self.confirm(link, name),
            PushKind::Message | PushKind::SMessage => self.deliver(link, name, content),
            // Of itself, a server ends the subscriptions of a slot that moves to another node.
            PushKind::Unsubscribe | PushKind::SUnsubscribe => return !self.is_heard(link, name),
            _ => {}
        }
        true
    }

    fn is_heard(&self, link: u64, name: &str) -> bool {
        let state = self.lock();
        state.link == link && state.entries.get(name).is_some_and(|entry| entry.is_confirmed)
    }

    fn confirm(&self, link: u64, name: &str) {
        let mut state = self.lock();
        if state.link != link {
            return;
        }
        let Some(entry) = state.entries.get_mut(name) else { return };
        entry.is_confirmed = true;
        for (number, listener) in &entry.listeners {
            listener.lose();
            if *number <= entry.asked_for {
                listener.begin();
            }
        }
    }

    fn deliver(&self, link: u64, name: &str, content: &[u8]) {
        let message = match serde_json::from_slice(content) {
            Ok(message) => Some(Arc::new(message)),
            Err(error) => {
                // Not louder: during an upgrade it may be every second one.
                tracing::debug!(channel = name, %error, "a live message cannot be read");
                None
            }
        };
        let state = self.lock();
        if state.link != link {
            return;
        }
        let Some(entry) = state.entries.get(name).filter(|entry| entry.is_confirmed) else { return };
        for listener in entry.listeners.values() {
            listener.put(message.clone());
        }
    }

    /// Ends every subscription, once what waits has been given out.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        for listener in state.entries.values().flat_map(|entry| entry.listeners.values()) {
            listener.close();
        }
    }

    // Nothing that can panic happens under the lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel's name and what comes with it.
fn two(data: &[Value]) -> (Option<&str>, &[u8]) {
    let name = match data.first() {
        Some(Value::BulkString(name)) => std::str::from_utf8(name).ok(),
        _ => None,
    };
    let content = match data.get(1) {
        Some(Value::BulkString(content)) => content.as_slice(),
        _ => &[],
    };
    (name, content)
}

/// What waits for one listener.
struct Mailbox {
    waiting: Mutex<Waiting>,
    capacity: usize,
    arrived: Notify,
}

struct Waiting {
    /// Whether `subscribe` has returned, or may.
    is_confirmed: bool,
    /// Whether something is missing before the oldest.
    is_lost: bool,
    /// `None` stands where messages are missing.
    deliveries: VecDeque<Option<Arc<Message>>>,
    is_closed: bool,
}

impl Mailbox {
    fn new(capacity: usize, is_closed: bool) -> Self {
        let waiting = Waiting { is_confirmed: false, is_lost: false, deliveries: VecDeque::new(), is_closed };
        Self { waiting: Mutex::new(waiting), capacity, arrived: Notify::new() }
    }

    /// The channel is subscribed to, for this listener, too.
    fn begin(&self) {
        self.lock().is_confirmed = true;
        self.arrived.notify_one();
    }

    /// The channel is subscribed to again: who knows what has been missed.
    fn lose(&self) {
        self.put(None);
    }

    /// Adds a message, or the word that one is missing, for whoever has subscribed already.
    fn put(&self, message: Option<Arc<Message>>) {
        let mut waiting = self.lock();
        if waiting.is_confirmed {
            waiting.put(self.capacity, message);
            self.arrived.notify_one();
        }
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, capacity: usize, delivery: Option<Arc<Message>>) {
        let is_said = match self.deliveries.back() {
            Some(last) => last.is_none(),
            None => self.is_lost,
        };
        if delivery.is_none() && is_said {
            return;
        }
        while self.deliveries.len() >= capacity {
            self.deliveries.pop_front();
            self.is_lost = true;
        }
        self.deliveries.push_back(delivery);
    }

    fn take(&mut self) -> Option<Delivery> {
        if std::mem::take(&mut self.is_lost) {
            // One word is enough for gaps that touch.
            if self.deliveries.front().is_some_and(Option::is_none) {
                self.deliveries.pop_front();
            }
            return Some(Delivery::Lost);
        }
        let delivery = self.deliveries.pop_front()?;
        if self.deliveries.is_empty() {
            // A burst's room is given back: thousands of listeners wait for little most of the time.
            self.deliveries = VecDeque::new();
        }
        Some(match delivery {
            // The only listener takes the message as it is.
            Some(message) => Delivery::Message(Arc::unwrap_or_clone(message)),
            None => Delivery::Lost,
        })
    }
}

/// An open subscription.
pub(super) struct Listener {
    channels: Arc<Channels>,
    name: Arc<str>,
    number: u64,
    mailbox: Arc<Mailbox>,
}

impl Listener {
    /// Returns once the server has confirmed the channel.
    pub(super) async fn confirmed(&self) {
        while !self.mailbox.lock().is_confirmed {
            self.mailbox.arrived.notified().await;
        }
    }
}

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            {
                let mut waiting = self.mailbox.lock();
                if let Some(delivery) = waiting.take() {
                    return Some(delivery);
                }
                if waiting.is_closed {
                    return None;
                }
            }
            // A permit is kept for what arrives between the look and the wait.
            self.mailbox.arrived.notified().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.channels.leave(&self.name, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::News;

    fn waiting() -> Waiting {
        Waiting { is_confirmed: true, is_lost: false, deliveries: VecDeque::new(), is_closed: false }
    }

    fn message(position: i64) -> Option<Arc<Message>> {
        Some(Arc::new(Message { position, news: News::PostDeleted }))
    }

    /// Positions, and 0 where something is missing.
    fn taken(waiting: &mut Waiting) -> Vec<i64> {
        let take = || waiting.take();
        std::iter::from_fn(take)
            .map(|delivery| match delivery {
                Delivery::Message(message) => message.position,
                Delivery::Lost => 0,
            })
            .collect()
    }

    fn push(kind: PushKind, content: &str) -> PushInfo {
        let data = ["channel", content].map(|text| Value::BulkString(text.as_bytes().to_vec()));
        PushInfo { kind, data: data.to_vec() }
    }

    fn news(position: i64) -> PushInfo {
        push(PushKind::Message, &serde_json::to_string(&*message(position).unwrap()).unwrap())
    }

    fn heard(listener: &Listener) -> Vec<i64> {
        taken(&mut listener.mailbox.lock())
    }

    #[test]
    fn what_an_older_link_says_does_not_count() {
        let channels = Arc::new(Channels::new(8));
        let listener = channels.listen("channel".into());
        let old = channels.next_link();
        assert_eq!(channels.all().len(), 1);
        channels.pushed(old, &push(PushKind::Subscribe, "1"));
        channels.pushed(old, &news(1));
        let new = channels.next_link();
        channels.pushed(old, &news(2));
        channels.pushed(old, &push(PushKind::Subscribe, "1"));
        channels.pushed(new, &news(3));
        assert_eq!(heard(&listener), [1], "nothing is heard on a link that has not confirmed the channel");
        channels.pushed(new, &push(PushKind::Subscribe, "1"));
        channels.pushed(new, &news(4));
        channels.pushed(old, &news(5));
        assert_eq!(heard(&listener), [0, 4]);
    }

    /// What follows the answer may have been published before who came last came.
    #[test]
    fn who_comes_while_a_channel_is_asked_for_waits_for_another_answer() {
        let channels = Arc::new(Channels::new(8));
        let link = channels.next_link();
        let first = channels.listen("channel".into());
        assert_eq!(channels.changes().wanted.len(), 1);
        let second = channels.listen("channel".into());
        channels.pushed(link, &push(PushKind::Subscribe, "1"));
        channels.pushed(link, &news(1));
        let changes = channels.changes();
        assert!(changes.has_joined() && changes.wanted.is_empty());
        let third = channels.listen("channel".into());
        channels.pushed(link, &news(2));
        channels.have_joined(&changes);
        channels.pushed(link, &news(3));
        assert_eq!((heard(&first), heard(&second), heard(&third)), (vec![1, 2, 3], vec![3], vec![]));
        assert!(channels.changes().has_joined(), "the third's turn");
    }

    #[test]
    fn a_subscription_that_the_server_ends_breaks_the_link() {
        let channels = Arc::new(Channels::new(8));
        let link = channels.next_link();
        let listener = channels.listen("channel".into());
        channels.changes();
        assert!(channels.pushed(link, &push(PushKind::SSubscribe, "1")));
        assert!(!channels.pushed(link, &push(PushKind::SUnsubscribe, "0")));
        drop(listener);
        assert_eq!(channels.changes().unwanted.len(), 1);
        assert!(channels.pushed(link, &push(PushKind::SUnsubscribe, "0")), "it was asked for");
    }

    #[test]
    fn the_oldest_goes_and_its_place_is_marked() {
        let mut waiting = waiting();
        for position in 1..=5 {
            waiting.put(2, message(position));
        }
        assert_eq!(taken(&mut waiting), [0, 4, 5]);
        waiting.put(2, message(6));
        assert_eq!(taken(&mut waiting), [6]);
    }

    #[test]
    fn a_gap_is_marked_where_it_is_and_once() {
        let mut waiting = waiting();
        waiting.put(4, None);
        waiting.put(4, None);
        waiting.put(4, message(1));
        waiting.put(4, None);
        waiting.put(4, message(2));
        assert_eq!(taken(&mut waiting), [0, 1, 0, 2]);
        for delivery in [message(3), None, message(4), message(5), message(6)] {
            waiting.put(4, delivery);
        }
        assert_eq!(taken(&mut waiting), [0, 4, 5, 6], "the two gaps touch");
    }

    #[test]
    fn one_place_is_enough() {
        let mut waiting = waiting();
        for delivery in [message(1), None, message(2), None] {
            waiting.put(1, delivery);
        }
        assert_eq!(taken(&mut waiting), [0], "the last word is that something is missing");
    }
}
