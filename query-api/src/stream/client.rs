//! One client's end of a post's stream: what it has been told, and what it may see.
//!
//! There is no task for it: the connection asks for the next text and is the only one to change this state. L1 what
//! it missed (before it came, while it was slow, or upstream) it reads from the views. L2 what is not newer than what
//! it was told it is not told. R3 whom a block keeps apart from it it does not hear.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::TIMELINES;
use adapters::live::{Channel, Delivery, Subscription};
use bytes::{Bytes, BytesMut};
use domain::post::Visibility;
use domain::{PostId, UserId};
use futures::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Sleep;

use crate::access::{Found, find_post, may_see, relation};
use crate::place::{Place, Reset};

use super::Streams;
use super::event::{HEARTBEAT, Told, bookmark, opening};
use super::hub::{Batch, Watch};
use super::missed::{Present, missed};

/// Who watches, and what makes that end.
pub(crate) struct Watcher {
    /// Nobody, for those who have not signed in.
    pub(crate) user: Option<UserId>,
    /// How much longer the access token is good.
    pub(crate) remaining: Option<Duration>,
}

/// A client that is connected.
pub(super) struct Client {
    streams: Arc<Streams>,
    place: Place,
    viewer: Option<Viewer>,
    watch: Watch,
    /// Who wrote the post.
    author: UserId,
    /// Who may see it; `None` of a deleted post, of which only the deletion is still told.
    visibility: Option<Visibility>,
    /// Everything up to here has been told, or lies before the client's time.
    told: i64,
    /// The likes told last and the position that they are as of.
    likes: Option<(u64, i64)>,
    /// Goes out before anything else.
    first: Option<Bytes>,
    expires: Option<Pin<Box<Sleep>>>,
    ended: bool,
    _one_of_many: OwnedSemaphorePermit,
}

/// Somebody who has signed in, and what they may not see any more at any moment.
struct Viewer {
    user: UserId,
    signals: Box<dyn Subscription>,
    blocked: HashSet<UserId>,
}

/// What a client waits for.
enum Happened {
    Batch(Result<Arc<Batch>, RecvError>),
    Relations(Option<Delivery>),
    Expired,
}

impl Client {
    /// Connects a client, from the position that it gives if it gives one; `None` if there is nothing for it to see.
    pub(super) async fn connect(
        streams: Arc<Streams>,
        permit: OwnedSemaphorePermit,
        watcher: Watcher,
        post: PostId,
        last_event_id: Option<&str>,
    ) -> Result<Option<Self>, StoreError> {
        let place = Place::of(post, streams.ports.event_log.as_ref());
        // Listen for changes of relations before looking at them, or one could slip between.
        let signals = match watcher.user {
            Some(user) => Some((user, streams.ports.live.subscribe(Channel::Viewer(user)).await?)),
            None => None,
        };
        let generation = streams.ports.checkpoints.serving(TIMELINES).await?;
        let (content, views) = (streams.ports.content.as_ref(), streams.ports.views.as_ref());
        let (author, visibility) = match find_post(content, views, generation, watcher.user, post).await? {
            Found::Post(found) => (found.author, Some(found.visibility)),
            // Whoever resumes has seen the post and is told that it is gone.
            Found::Deleted { author } if last_event_id.is_some() => (author, None),
            Found::Deleted { .. } | Found::Nothing => return Ok(None),
        };
        let viewer = match signals {
            Some((user, signals)) => {
                let blocked = views.blocked_with(generation, user).await?.into_iter().collect();
                Some(Viewer { user, signals, blocked })
            }
            None => None,
        };
        // Subscribe first, then look at what is there: nothing falls between.
        let watch = streams.hub.watch(place).await?;
        metrics::gauge!("hybrid_live_streams_open").increment(1);
        let mut client = Self {
            streams,
            place,
            viewer,
            watch,
            author,
            visibility,
            told: domain::stream::BEFORE_FIRST,
            likes: None,
            first: None,
            expires: watcher.remaining.map(|remaining| Box::pin(tokio::time::sleep(remaining))),
            ended: false,
            _one_of_many: permit,
        };
        let since = last_event_id.map(|text| place.offset(text));
        let blocked = client.viewer.as_ref().map(|viewer| &viewer.blocked);
        let present = missed(&client.streams.sources(), place, since, blocked).await?;
        // Of a deleted post there is one thing to tell, once; then it is not there.
        let told_already = match (since, present.deleted) {
            (Some(Ok(since)), Some(deleted)) => since >= deleted,
            (Some(Err(_)), _) => visibility.is_none(),
            _ => false,
        };
        if told_already {
            return Ok(None);
        }
        let mut text = BytesMut::from(opening());
        client.catch_up(&mut text, since, present);
        client.first = Some(text.freeze());
        Ok(Some(client))
    }

    /// What to send next; `None` when the stream is over.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while !self.ended {
            let happened = tokio::select! {
                // What ends a stream goes before what it would still show.
                biased;
                () = expiry(&mut self.expires) => Happened::Expired,
                signal = signal(&mut self.viewer) => Happened::Relations(signal),
                batch = self.watch.ring.recv() => Happened::Batch(batch),
            };
            let text = match happened {
                Happened::Batch(Ok(batch)) if !matches!(*batch, Batch::Lost) => Ok(self.show(&batch)),
                // The ring ran over, or upstream lost something.
                Happened::Batch(Ok(_) | Err(RecvError::Lagged(_))) => Box::pin(self.read_missed()).await,
                Happened::Relations(Some(_)) => Box::pin(self.look_again()).await,
                Happened::Batch(Err(RecvError::Closed)) | Happened::Relations(None) | Happened::Expired => break,
            };
            match text {
                Ok(Some(text)) => return Some(text),
                Ok(None) => {}
                // Closed, the client comes back and resumes; kept open, it would miss something.
                Err(error) => {
                    tracing::warn!(post = %self.place.post, %error, "a stream cannot go on");
                    break;
                }
            }
        }
        self.ended = true;
        None
    }

    /// What of a batch is for this client.
    fn show(&mut self, batch: &Batch) -> Option<Bytes> {
        match batch {
            Batch::Heartbeat => Some(HEARTBEAT),
            Batch::Lost => None,
            Batch::Likes { likes, position, text } => {
                // What was read of the views may be newer than what was gathered.
                let news = self.likes.is_none_or(|(told, as_of)| *position > as_of && *likes != told);
                news.then(|| {
                    self.likes = Some((*likes, *position));
                    text.clone()
                })
            }
            Batch::News(pieces) => {
                let mut shown = Vec::new();
                for piece in pieces {
                    if piece.position <= self.told || self.ended {
                        continue;
                    }
                    self.told = piece.position;
                    let apart = |viewer: &Viewer| piece.author.is_some_and(|author| viewer.blocked.contains(&author));
                    if !self.viewer.as_ref().is_some_and(apart) {
                        shown.push(piece.text.clone());
                    }
                    self.ended = piece.ends;
                }
                // Mostly there is one, shared by all watchers as it is.
                if shown.len() > 1 { Some(shown.concat().into()) } else { shown.pop() }
            }
        }
    }

    /// Reads what has happened since what was told last.
    async fn read_missed(&mut self) -> Result<Option<Bytes>, StoreError> {
        // Everything in the ring is in the views already: what is left of it, L2 drops.
        let since = Some(Ok(self.told));
        let blocked = self.viewer.as_ref().map(|viewer| &viewer.blocked);
        let present = missed(&self.streams.sources(), self.place, since, blocked).await?;
        let mut text = BytesMut::new();
        self.catch_up(&mut text, since, present);
        Ok((!text.is_empty()).then(|| text.freeze()))
    }

    /// Takes the client to the present.
    fn catch_up(&mut self, text: &mut BytesMut, since: Option<Result<i64, Reset>>, present: Present) {
        self.told = self.told.max(present.position);
        let here = self.place.at(self.told);
        text.extend_from_slice(&present.events);
        match (present.reset, since) {
            // With an id, so that the client does not come back with the one that was of no use.
            (Some(reset), _) => {
                metrics::counter!("hybrid_live_stream_resets_total", "reason" => reset.reason()).increment(1);
                text.extend_from_slice(&Told::Reset { reason: reset.reason() }.written(Some(here)));
            }
            (None, Some(Ok(since))) if since == self.told => {}
            (None, _) => text.extend_from_slice(&bookmark(here)),
        }
        let (likes, as_of) = present.likes;
        if self.likes.is_none_or(|(told, _)| told != likes) {
            text.extend_from_slice(&Told::Likes { likes }.written(None));
        }
        self.likes = Some((likes, as_of));
        if present.deleted.is_some() {
            // Whoever did not resume has not been told by the events.
            if !matches!((present.reset, since), (None, Some(Ok(_)))) {
                text.extend_from_slice(&Told::PostDeleted { id: self.place.post }.written(Some(here)));
            }
            self.ended = true;
        }
    }

    /// Relations have changed: the stream ends, or some people are heard again, or no longer.
    async fn look_again(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(viewer) = &mut self.viewer else { return Ok(None) };
        // One look answers all that has been said until now: much-followed people hear of many changes.
        while let Some(Some(_)) = viewer.signals.next().now_or_never() {}
        let generation = self.streams.ports.checkpoints.serving(TIMELINES).await?;
        let views = self.streams.ports.views.as_ref();
        let allowed = match self.visibility {
            Some(visibility) => may_see(views, generation, Some(viewer.user), self.author, visibility).await?,
            None => !relation(views, generation, Some(viewer.user), self.author).await?.is_blocked(),
        };
        viewer.blocked = views.blocked_with(generation, viewer.user).await?.into_iter().collect();
        self.ended = !allowed;
        Ok(None)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        metrics::gauge!("hybrid_live_streams_open").decrement(1);
    }
}

pub(super) async fn expiry(expires: &mut Option<Pin<Box<Sleep>>>) {
    match expires {
        Some(expires) => expires.await,
        None => std::future::pending().await,
    }
}

/// The next word on the viewer's relations; never, without a viewer.
async fn signal(viewer: &mut Option<Viewer>) -> Option<Delivery> {
    match viewer {
        Some(viewer) => viewer.signals.next().await,
        None => std::future::pending().await,
    }
}
