//! One upstream subscription per post and process, for all who watch the post here.
//!
//! A post's task subscribes, turns messages into written events (names are looked up once, not for every watcher),
//! gathers likes, and hands all to a ring that the watchers read at their own pace. Whoever falls behind the ring is
//! told so and reads what it missed from the views: memory is bounded, and no gap is silent (L1).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapters::StoreError;
use adapters::content::Content;
use adapters::live::{Channel, Delivery, Live, Message, News, Subscription};
use bytes::Bytes;
use domain::{PostId, UserId};
use futures::FutureExt as _;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::hydrate::People;
use crate::items::CommentItem;
use crate::place::Place;

use super::event::Told;

/// Batches that a watcher may be behind before it reads the views instead.
const RING: usize = 64;
/// Messages that become one batch, at most.
const BATCH: usize = 64;
/// Likes are gathered this long.
const LIKES_EVERY: Duration = Duration::from_secs(2);
/// A sign of life this often.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// What watchers get.
#[derive(Debug)]
pub(super) enum Batch {
    /// What happened, in order of position.
    News(Vec<Piece>),
    /// The post's likes and the position that they are as of.
    Likes { likes: u64, position: i64, text: Bytes },
    /// A sign of life.
    Heartbeat,
    /// Messages were lost: what they said is in the views.
    Lost,
}

/// One event, written.
#[derive(Debug)]
pub(super) struct Piece {
    /// Watchers drop what is not newer than what they have sent (L2).
    pub(super) position: i64,
    /// Whose comment it is about: watchers whom a block keeps apart from them do not get it (R3).
    pub(super) author: Option<UserId>,
    /// As it goes over the wire.
    pub(super) text: Bytes,
    /// Whether nothing can follow.
    pub(super) ends: bool,
}

/// All posts that are watched here.
pub(super) struct Hub {
    content: Arc<dyn Content>,
    live: Arc<dyn Live>,
    shutdown: CancellationToken,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    posts: HashMap<PostId, WatchedPost>,
    /// Tells a post's present task from a former one.
    tasks: u64,
}

struct WatchedPost {
    task: u64,
    watchers: usize,
    ring: broadcast::Sender<Arc<Batch>>,
    subscribed: watch::Receiver<bool>,
    abort: AbortHandle,
}

/// A watcher's end. While one is there, the post's subscription stays.
pub(super) struct Watch {
    hub: Arc<Hub>,
    post: PostId,
    task: u64,
    /// Everything since the subscription, in order, or the word that it fell behind.
    pub(super) ring: broadcast::Receiver<Arc<Batch>>,
}

impl Hub {
    pub(super) fn new(content: Arc<dyn Content>, live: Arc<dyn Live>, shutdown: CancellationToken) -> Self {
        Self { content, live, shutdown, watched: Mutex::default() }
    }

    /// Begins to watch a post. When this returns, the subscription stands: what is read of the views afterwards and
    /// what comes through the ring leave no gap between them.
    pub(super) async fn watch(self: &Arc<Self>, place: Place) -> Result<Watch, StoreError> {
        let (watch, mut subscribed) = self.register(place);
        match subscribed.wait_for(|subscribed| *subscribed).await {
            Ok(_) => Ok(watch),
            Err(_) => Err(StoreError::Unavailable("live messages cannot be subscribed to".to_owned())),
        }
    }

    fn register(self: &Arc<Self>, place: Place) -> (Watch, watch::Receiver<bool>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Watched { posts, tasks } = &mut *watched;
        let entry = posts.entry(place.post).or_insert_with(|| {
            *tasks += 1;
            let (ring, _) = broadcast::channel(RING);
            let (ready, subscribed) = watch::channel(false);
            let task = PostTask { hub: self.clone(), place, task: *tasks, ring: ring.clone() };
            // The task cannot end before it is in the map: it takes the lock to leave it.
            let abort = tokio::spawn(task.run(ready)).abort_handle();
            WatchedPost { task: *tasks, watchers: 0, ring, subscribed, abort }
        });
        entry.watchers += 1;
        let watch = Watch { hub: self.clone(), post: place.post, task: entry.task, ring: entry.ring.subscribe() };
        (watch, entry.subscribed.clone())
    }

    /// How many posts are watched.
    #[cfg(test)]
    pub(super) fn posts(&self) -> usize {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).posts.len()
    }

    /// Takes a post out if it is still this task's.
    fn end(&self, post: PostId, task: u64) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(entry) = watched.posts.entry(post)
            && entry.get().task == task
        {
            entry.remove();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.hub.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut entry) = watched.posts.entry(self.post) else { return };
        if entry.get().task != self.task {
            return;
        }
        entry.get_mut().watchers -= 1;
        if entry.get().watchers == 0 {
            entry.remove().abort.abort();
        }
    }
}

/// Works for all watchers of one post.
struct PostTask {
    hub: Arc<Hub>,
    place: Place,
    task: u64,
    ring: broadcast::Sender<Arc<Batch>>,
}

impl PostTask {
    async fn run(self, ready: watch::Sender<bool>) {
        match self.hub.live.subscribe(Channel::Post(self.place.post)).await {
            Ok(upstream) => {
                ready.send_replace(true);
                self.forward(upstream).await;
            }
            Err(error) => tracing::warn!(post = %self.place.post, %error, "live messages cannot be subscribed to"),
        }
        // With the post's entry the ring's last sender goes, and with it the watchers' streams end.
        self.hub.end(self.place.post, self.task);
    }

    async fn forward(&self, mut upstream: Box<dyn Subscription>) {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT_EVERY, HEARTBEAT_EVERY);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut likes: Option<GatheredLikes> = None;
        loop {
            let deliveries = tokio::select! {
                () = self.hub.shutdown.cancelled() => return,
                _ = heartbeat.tick() => {
                    self.tell(Batch::Heartbeat);
                    continue;
                }
                () = until(likes.as_ref().map(|likes| likes.due)) => {
                    if let Some(GatheredLikes { likes, position, .. }) = likes.take() {
                        // Told even if it is what was told last: some watcher may have read another number since.
                        let text = Told::Likes { likes }.written(None);
                        self.tell(Batch::Likes { likes, position, text });
                    }
                    continue;
                }
                deliveries = waiting(upstream.as_mut()) => deliveries,
            };
            let Some(deliveries) = deliveries else { return };
            for delivery in &deliveries {
                if let Delivery::Message(Message { position, news: News::NewLike { likes: now } }) = delivery {
                    let due = likes.map_or_else(|| Instant::now() + LIKES_EVERY, |likes| likes.due);
                    likes = Some(GatheredLikes { likes: *now, position: *position, due });
                }
            }
            match self.pieces(deliveries).await {
                Ok(Some(pieces)) if pieces.is_empty() => {}
                Ok(Some(pieces)) => self.tell(Batch::News(pieces)),
                Ok(None) => self.tell(Batch::Lost),
                // Watchers may have better luck with the views; those that have not end, and their clients resume.
                Err(error) => {
                    tracing::warn!(post = %self.place.post, %error, "live messages cannot be completed");
                    self.tell(Batch::Lost);
                }
            }
        }
    }

    fn tell(&self, batch: Batch) {
        // Nobody may be listening at the moment: the last watcher is just leaving.
        let _ = self.ring.send(Arc::new(batch));
    }

    /// What there is to tell of deliveries, but for likes; `None` if some were lost. Those beside them need not be
    /// told then: what was published is in the views already.
    async fn pieces(&self, deliveries: Vec<Delivery>) -> Result<Option<Vec<Piece>>, StoreError> {
        let mut messages = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            match delivery {
                Delivery::Message(message) => messages.push(message),
                Delivery::Lost => return Ok(None),
            }
        }
        let authors = messages.iter().filter_map(|message| match message.news {
            News::NewComment { author, .. } => Some(author),
            _ => None,
        });
        let people = People::read(self.hub.content.as_ref(), authors).await?;
        Ok(Some(messages.into_iter().filter_map(|message| self.piece(message, &people)).collect()))
    }

    fn piece(&self, Message { position, news }: Message, people: &People) -> Option<Piece> {
        let post = self.place.post;
        let (author, told) = match news {
            News::NewComment { comment, author, parent, text } => {
                let item = CommentItem {
                    id: comment,
                    post_id: post,
                    author: people.person(author)?,
                    parent_id: parent,
                    text,
                    created_at: comment.timestamp(),
                    edited_at: None,
                    version: 1,
                };
                (Some(author), Told::NewComment(item))
            }
            News::CommentEdited { comment, author, text, edited_at } => {
                let edited_at = Some(edited_at);
                (Some(author), Told::CommentEdited { id: comment, post_id: post, text, edited_at })
            }
            News::CommentDeleted { comment, author } => {
                (Some(author), Told::CommentDeleted { id: comment, post_id: post })
            }
            News::PostEdited { edited_at, version } => {
                (None, Told::PostEdited { id: post, version, edited_at: Some(edited_at) })
            }
            News::PostDeleted => (None, Told::PostDeleted { id: post }),
            // Likes are gathered; relations and homes concern readers, not posts.
            News::NewLike { .. } | News::RelationChanged | News::NewPost { .. } | News::Canary { .. } => return None,
        };
        let ends = matches!(told, Told::PostDeleted { .. });
        Some(Piece { position, author, text: told.written(Some(self.place.at(position))), ends })
    }
}

/// Likes that wait to be told.
#[derive(Clone, Copy)]
struct GatheredLikes {
    likes: u64,
    position: i64,
    due: Instant,
}

/// The next delivery and those that wait behind it; `None` when there will be no more.
async fn waiting(upstream: &mut dyn Subscription) -> Option<Vec<Delivery>> {
    let mut deliveries = vec![upstream.next().await?];
    while deliveries.len() < BATCH {
        match upstream.next().now_or_never() {
            Some(Some(delivery)) => deliveries.push(delivery),
            // The end is met again at the next call.
            Some(None) | None => break,
        }
    }
    Some(deliveries)
}

/// Waits until `due`; for ever if nothing is.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
