//! One upstream subscription per hot author and process, for all feeds here that follow the author.
//!
//! What comes is a hint, so all that listeners get is a nudge: they read the author's timeline. A nudge that is lost is
//! made up for when they move their base.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use adapters::live::{Channel, Live};
use domain::UserId;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// The hot authors that are listened to here.
pub(in crate::stream) struct HotAuthors {
    live: Arc<dyn Live>,
    shutdown: CancellationToken,
    listened: Mutex<Listened>,
}

#[derive(Default)]
struct Listened {
    authors: HashMap<UserId, Author>,
    /// Tells listeners, and an author's present task from a former one.
    numbers: u64,
}

struct Author {
    task: u64,
    listeners: HashMap<u64, Arc<Notify>>,
    abort: AbortHandle,
}

/// A feed's end.
pub(super) struct HotListener {
    hub: Arc<HotAuthors>,
    number: u64,
    authors: Vec<UserId>,
    nudge: Arc<Notify>,
}

impl HotAuthors {
    pub(in crate::stream) fn new(live: Arc<dyn Live>, shutdown: CancellationToken) -> Self {
        Self { live, shutdown, listened: Mutex::default() }
    }

    /// Somebody who listens to nobody yet.
    pub(super) fn listener(self: &Arc<Self>) -> HotListener {
        let mut listened = self.listened.lock().unwrap_or_else(PoisonError::into_inner);
        listened.numbers += 1;
        HotListener { hub: self.clone(), number: listened.numbers, authors: Vec::new(), nudge: Arc::default() }
    }

    /// How many authors are listened to.
    #[cfg(test)]
    pub(in crate::stream) fn authors(&self) -> usize {
        self.listened.lock().unwrap_or_else(PoisonError::into_inner).authors.len()
    }

    async fn forward(self: Arc<Self>, author: UserId, task: u64) {
        match self.live.subscribe(Channel::Author(author)).await {
            Ok(mut upstream) => loop {
                let delivery = tokio::select! {
                    () = self.shutdown.cancelled() => break,
                    delivery = upstream.next() => delivery,
                };
                if delivery.is_none() {
                    break;
                }
                let listened = self.listened.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(author) = listened.authors.get(&author) else { break };
                author.listeners.values().for_each(|nudge| nudge.notify_one());
            },
            Err(error) => tracing::warn!(%author, %error, "live messages cannot be subscribed to"),
        }
        // Whoever listens finds out when it next looks whom to listen to.
        let mut listened = self.listened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(entry) = listened.authors.entry(author)
            && entry.get().task == task
        {
            entry.remove();
        }
    }
}

impl HotListener {
    /// Listens to these authors from now on, and to nobody else.
    pub(super) fn listen_to(&mut self, authors: Vec<UserId>) {
        if authors.is_empty() && self.authors.is_empty() {
            return;
        }
        let mut listened = self.hub.listened.lock().unwrap_or_else(PoisonError::into_inner);
        let Listened { authors: present, numbers } = &mut *listened;
        for gone in self.authors.iter().filter(|author| !authors.contains(author)) {
            leave(present, *gone, self.number);
        }
        for &author in &authors {
            let entry = present.entry(author).or_insert_with(|| {
                *numbers += 1;
                let abort = tokio::spawn(self.hub.clone().forward(author, *numbers)).abort_handle();
                Author { task: *numbers, listeners: HashMap::new(), abort }
            });
            entry.listeners.insert(self.number, self.nudge.clone());
        }
        drop(listened);
        self.authors = authors;
    }

    /// Whom it listens to.
    pub(super) fn authors(&self) -> &[UserId] {
        &self.authors
    }

    /// Waits until one of them has published, or may have.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }
}

impl Drop for HotListener {
    fn drop(&mut self) {
        if self.authors.is_empty() {
            return;
        }
        let mut listened = self.hub.listened.lock().unwrap_or_else(PoisonError::into_inner);
        for author in &self.authors {
            leave(&mut listened.authors, *author, self.number);
        }
    }
}

fn leave(authors: &mut HashMap<UserId, Author>, author: UserId, listener: u64) {
    let Entry::Occupied(mut entry) = authors.entry(author) else { return };
    entry.get_mut().listeners.remove(&listener);
    if entry.get().listeners.is_empty() {
        entry.remove().abort.abort();
    }
}
