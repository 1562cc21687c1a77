//! One client's end of its feed's stream: which posts it has been told of, and which it still lacks.
//!
//! Live messages are hints, so they may come late, twice or not at all: what there is to tell is read from the
//! timelines. From time to time the stream *moves its base*: it reads the present checkpoint, *then* the rows, tells
//! those that it has not told, and only then claims everything up to that checkpoint. So an id never says more than what
//! was read, and L1 a resumed stream tells every post once, in any order, or says `reset`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::checkpoints::{Build, Generation, Progress, TIMELINES};
use adapters::live::{Channel, Delivery, News, Subscription};
use adapters::timelines::Entry;
use bytes::{Bytes, BytesMut};
use domain::{PostId, Topic, UserId};
use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at};

use crate::hydrate::WrittenPosts;
use crate::place::Reset;

use super::Streams;
use super::client::expiry;
use super::event::{HEARTBEAT, Told, bookmark, event, opening};
use super::hub::HEARTBEAT_EVERY;
use hot::HotListener;
pub(crate) use position::{FeedPosition, MOST_HELD};

pub(super) mod hot;
mod position;

/// Rows that are told above the base, at most: then the stream waits for the checkpoint.
pub(super) const MOST_TOLD: usize = 64;
/// With so many rows told above it, the base is moved.
const MOVE_AT: usize = 48;
/// Posts that are told one by one after a cut, at most.
const MISSED: usize = 200;
/// Hints that are looked at together, at most.
const HINTS: usize = 256;

/// What is so at one moment, read before any rows.
pub(crate) struct Present {
    /// The build that serves.
    pub(crate) generation: Generation,
    drains: u64,
    stamp: i64,
    /// Up to where the rows of each partition are there.
    done: Vec<i64>,
}

/// A client that is connected.
pub(super) struct FeedClient {
    streams: Arc<Streams>,
    viewer: UserId,
    position: FeedPosition,
    relations: Box<dyn Subscription>,
    home: Box<dyn Subscription>,
    hot: HotListener,
    drains: watch::Receiver<u64>,
    progress: watch::Receiver<Progress>,
    /// Whether there is more to tell than can be told before the checkpoint moves.
    is_full: bool,
    heartbeat: Interval,
    /// Goes out before anything else.
    first: Option<Bytes>,
    expires: Option<Pin<Box<Sleep>>>,
    ended: bool,
    _one_of_many: OwnedSemaphorePermit,
}

/// How a connection begins.
enum Began {
    /// From the present on.
    Now,
    /// Where another ended.
    Resumed,
    /// From the present on, because the client's position is of no use.
    Reset(Reset),
}

/// What a client waits for.
enum Happened {
    Ended,
    Relations(Option<Delivery>),
    Drained,
    Home(Option<Delivery>),
    HotAuthor,
    Progress,
    Heartbeat,
}

impl Present {
    /// Of a viewer.
    pub(crate) async fn of(streams: &Streams, viewer: UserId) -> Result<Self, StoreError> {
        let ports = &streams.ports;
        loop {
            let generation = ports.checkpoints.serving(TIMELINES).await?;
            let (done, drains) = {
                let progress = ports.checkpoints.progress();
                let progress = progress.borrow();
                let done = progress.offsets(TIMELINES, Topic::Posts, ports.event_log.partitions());
                (done, progress.drains(TIMELINES))
            };
            let stamp = ports.views.relations_stamp(generation, viewer).await?;
            // Progress is the serving build's. It may have become another one's in between.
            if ports.checkpoints.serving(TIMELINES).await? == generation {
                return Ok(Self { generation, drains, stamp, done });
            }
        }
    }

    /// Where a stream is that has shown `entries` of a home that was read after this, and ended at `mark`.
    pub(crate) fn position<'a>(
        self,
        streams: &Streams,
        mark: PostId,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> FeedPosition {
        let Self { generation, drains, stamp, done } = self;
        let log = streams.ports.event_log.id();
        let told = std::collections::BTreeSet::new();
        let mut position = FeedPosition { log, generation, drains, stamp, mark, base: done, told };
        entries.into_iter().take(MOST_HELD).for_each(|entry| position.add(entry));
        position
    }

    /// Why a stream cannot go on from `position`, if it cannot.
    fn refuses(&self, position: &FeedPosition) -> Option<Reset> {
        if position.generation != self.generation || position.base.len() != self.done.len() {
            Some(Reset::Rebuilt)
        } else if position.drains != self.drains {
            Some(Reset::LateEffects)
        } else if position.stamp != self.stamp {
            Some(Reset::RelationsChanged)
        } else {
            None
        }
    }
}

impl FeedClient {
    /// Connects a client, from the position that it gives if it gives one.
    pub(super) async fn connect(
        streams: Arc<Streams>,
        permit: OwnedSemaphorePermit,
        viewer: UserId,
        remaining: Option<Duration>,
        last_event_id: Option<&str>,
    ) -> Result<Self, StoreError> {
        // Subscribe first, then look at what is there: nothing falls between.
        let live = &streams.ports.live;
        let relations = live.subscribe(Channel::Viewer(viewer)).await?;
        let home = live.subscribe(Channel::Home(viewer)).await?;
        let (drains, progress) = (streams.drains(), streams.ports.checkpoints.progress());
        let (position, hot, began) = match last_event_id {
            Some(id) => match resumable(&streams, viewer, id).await? {
                Ok(position) => (position, Vec::new(), Began::Resumed),
                Err(reset) => {
                    present_position(&streams, viewer).await.map(|(at, hot)| (at, hot, Began::Reset(reset)))?
                }
            },
            None => present_position(&streams, viewer).await.map(|(at, hot)| (at, hot, Began::Now))?,
        };
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT_EVERY, HEARTBEAT_EVERY);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        metrics::gauge!("hybrid_live_streams_open").increment(1);
        let mut client = Self {
            hot: streams.hot.listener(),
            streams,
            viewer,
            position,
            relations,
            home,
            drains,
            progress,
            is_full: false,
            heartbeat,
            first: None,
            expires: remaining.map(|remaining| Box::pin(tokio::time::sleep(remaining))),
            ended: false,
            _one_of_many: permit,
        };
        client.hot.listen_to(hot);
        let mut text = BytesMut::from(opening());
        match began {
            Began::Resumed => {
                let news = client.move_base().await?;
                text.extend_from_slice(&news.unwrap_or_else(|| bookmark(client.id())));
            }
            Began::Reset(reset) => text.extend_from_slice(&client.reset(reset)),
            Began::Now => text.extend_from_slice(&bookmark(client.id())),
        }
        client.first = Some(text.freeze());
        Ok(client)
    }

    /// What to send next; `None` when the stream is over.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while !self.ended {
            let happened = tokio::select! {
                // What ends a stream, or makes it wrong, goes before what it would still show.
                biased;
                () = expiry(&mut self.expires) => Happened::Ended,
                () = self.streams.shutdown.cancelled() => Happened::Ended,
                signal = self.relations.next() => Happened::Relations(signal),
                drained = self.drains.changed() => if drained.is_ok() { Happened::Drained } else { Happened::Ended },
                moved = self.progress.changed(), if self.is_full => {
                    if moved.is_ok() { Happened::Progress } else { Happened::Ended }
                }
                hint = self.home.next(), if !self.is_full => Happened::Home(hint),
                () = self.hot.nudged(), if !self.is_full => Happened::HotAuthor,
                _ = self.heartbeat.tick() => Happened::Heartbeat,
            };
            let text = match happened {
                Happened::Relations(Some(_)) => Box::pin(self.look_again()).await,
                Happened::Drained => Box::pin(self.move_base()).await,
                Happened::Home(Some(hint)) => Box::pin(self.follow_hints(Some(hint))).await,
                Happened::HotAuthor => Box::pin(self.follow_hints(None)).await,
                Happened::Progress if self.has_moved() => Box::pin(self.move_base()).await,
                Happened::Progress => Ok(None),
                Happened::Heartbeat => Box::pin(self.beat()).await.map(Some),
                Happened::Ended | Happened::Relations(None) | Happened::Home(None) => break,
            };
            match text {
                Ok(Some(text)) => return Some(text),
                Ok(None) => {}
                // Closed, the client comes back and resumes; kept open, it would miss something.
                Err(error) => {
                    tracing::warn!(viewer = %self.viewer, %error, "a feed's stream cannot go on");
                    break;
                }
            }
        }
        self.ended = true;
        None
    }

    /// Whether the checkpoint is beyond the base.
    fn has_moved(&mut self) -> bool {
        let partitions = self.streams.ports.event_log.partitions();
        let done = self.progress.borrow_and_update().offsets(TIMELINES, Topic::Posts, partitions);
        done.iter().zip(&self.position.base).any(|(done, base)| done > base)
    }

    fn id(&self) -> String {
        self.position.seal(&self.streams.cursors, self.viewer)
    }

    /// A sign of life; with a new id, where there is one.
    async fn beat(&mut self) -> Result<Bytes, StoreError> {
        if !self.has_moved() && self.position.told.is_empty() {
            return Ok(HEARTBEAT);
        }
        Ok(self.move_base().await?.unwrap_or(HEARTBEAT))
    }

    /// Somebody's relations have changed: the viewer's, or another's to the viewer.
    async fn look_again(&mut self) -> Result<Option<Bytes>, StoreError> {
        // One look answers all that has been said until now: much-followed people hear of many changes.
        while let Some(Some(_)) = self.relations.next().now_or_never() {}
        let views = &self.streams.ports.views;
        if views.relations_stamp(self.position.generation, self.viewer).await? == self.position.stamp {
            return Ok(None);
        }
        self.move_base().await
    }

    /// Looks where a hint, and all that wait behind it, point. Without a hint, at hot authors.
    async fn follow_hints(&mut self, first: Option<Delivery>) -> Result<Option<Bytes>, StoreError> {
        let mut least = None;
        let mut next = first;
        for _ in 0..HINTS {
            match next {
                Some(Delivery::Message(message)) => {
                    if let News::NewPost { post, .. } = message.news {
                        least = Some(least.map_or(post, |least: PostId| least.min(post)));
                    }
                }
                Some(Delivery::Lost) => return self.move_base().await,
                None => break,
            }
            // The end is met again at the next call.
            next = self.home.next().now_or_never().flatten();
        }
        let (generation, feed) = (self.position.generation, &self.streams.feed);
        let hot = self.hot.authors();
        let mut entries = feed.hinted(generation, self.viewer, &self.position.base, least, hot).await?;
        entries.retain(|entry| self.position.lacks(entry));
        if entries.is_empty() {
            return Ok(None);
        }
        if self.position.told.len() + entries.len() > MOVE_AT {
            return self.move_base().await;
        }
        // The base stays: these rows are some of those above it, and there may be others.
        let base = self.position.base.clone();
        let mut text = BytesMut::new();
        self.tell(&mut text, entries, &base).await?;
        Ok((!text.is_empty()).then(|| text.freeze()))
    }

    /// Reads what is above the base, tells what has not been told, and moves the base to the checkpoint. Nothing, where
    /// the position stays as it was.
    async fn move_base(&mut self) -> Result<Option<Bytes>, StoreError> {
        let present = Present::of(&self.streams, self.viewer).await?;
        if let Some(reset) = present.refuses(&self.position) {
            return self.begin_anew(reset).await.map(Some);
        }
        let before = self.position.clone();
        let most = MISSED + before.told.len() + 1;
        let news = self.streams.feed.news(before.generation, self.viewer, &before.base, before.mark, most).await?;
        self.hot.listen_to(news.hot);
        let lacking: Vec<Entry> = news.entries.into_iter().filter(|entry| before.lacks(entry)).collect();
        if lacking.len() > MISSED {
            return self.begin_anew(Reset::TooManyChanges).await.map(Some);
        }
        let mut text = BytesMut::new();
        self.tell(&mut text, lacking, &present.done).await?;
        // Rows that are still to be told may be below the new mark: whoever resumes must notice that it is another one.
        if !self.is_full && self.position.mark != news.mark {
            self.position.mark = news.mark;
            text.extend_from_slice(&bookmark(self.id()));
        } else if text.is_empty() && self.position != before {
            text.extend_from_slice(&bookmark(self.id()));
        }
        Ok((!text.is_empty()).then(|| text.freeze()))
    }

    /// Tells those of `lacking` that the home shows, with ids that say exactly what has been told at each. `done` is a
    /// checkpoint that was read before the rows, and `lacking` is all that has not been told up to there.
    async fn tell(&mut self, text: &mut BytesMut, lacking: Vec<Entry>, done: &[i64]) -> Result<(), StoreError> {
        let listed = self.streams.feed.shown(self.position.generation, self.viewer, lacking).await?;
        let mut written = WrittenPosts::default();
        written.add(&self.streams.ports, self.streams.feed.cached(), Some(self.viewer), &listed).await?;
        let mut posts: Vec<(Entry, &[u8])> = written
            .items()
            .filter_map(|(post, item)| {
                let listed = listed.iter().find(|listed| listed.entry.post == post)?;
                Some((listed.entry, item))
            })
            .collect();
        let is_above = |entry: &Entry| done.get(usize::from(entry.partition)).is_none_or(|done| entry.offset > *done);
        if self.position.told.len() + posts.len() > MOST_TOLD {
            // In the order of the log the base follows at each step, and few rows are ever above it.
            posts.sort_unstable_by_key(|(entry, _)| (is_above(entry), entry.partition, entry.offset));
        } else {
            posts.sort_unstable_by_key(|(entry, _)| entry.post);
        }
        self.is_full = false;
        self.advance(&posts, done);
        for told in 0..posts.len() {
            let (entry, item) = &posts[told];
            if is_above(entry) && self.position.told.len() >= MOST_TOLD {
                self.is_full = true;
                return Ok(());
            }
            self.position.add(entry);
            self.advance(&posts[told + 1..], done);
            text.extend_from_slice(&event("NEW_POST", Some(&self.id()), item));
        }
        Ok(())
    }

    /// Moves the base as far as `done` says, but not past what is still to be told.
    fn advance(&mut self, to_tell: &[(Entry, &[u8])], done: &[i64]) {
        for (partition, done) in (0u16..).zip(done) {
            let waiting = to_tell.iter().filter(|(entry, _)| entry.partition == partition);
            let before_first = waiting.map(|(entry, _)| entry.offset - 1).min();
            self.position.advance(partition, before_first.map_or(*done, |offset| offset.min(*done)));
        }
    }

    /// Says that the client must load afresh, and goes on from the present.
    async fn begin_anew(&mut self, reset: Reset) -> Result<Bytes, StoreError> {
        let (position, hot) = present_position(&self.streams, self.viewer).await?;
        self.position = position;
        self.hot.listen_to(hot);
        Ok(self.reset(reset))
    }

    fn reset(&mut self, reset: Reset) -> Bytes {
        self.is_full = false;
        metrics::counter!("hybrid_live_stream_resets_total", "reason" => reset.reason()).increment(1);
        let told = Told::Reset { reason: reset.reason() };
        // With an id, so that the client does not come back with the one that was of no use.
        event(told.name(), Some(&self.id()), &told.data())
    }
}

impl Drop for FeedClient {
    fn drop(&mut self) {
        metrics::gauge!("hybrid_live_streams_open").decrement(1);
    }
}

/// Where a stream begins that has told nothing: what is in the home now, others have shown. And the hot authors whom the
/// viewer follows.
async fn present_position(streams: &Streams, viewer: UserId) -> Result<(FeedPosition, Vec<UserId>), StoreError> {
    let present = Present::of(streams, viewer).await?;
    let news = streams.feed.present_news(present.generation, viewer, &present.done, MOST_HELD).await?;
    Ok((present.position(streams, news.mark, &news.entries), news.hot))
}

/// The position of an id, if a stream can go on from there.
async fn resumable(streams: &Streams, viewer: UserId, id: &str) -> Result<Result<FeedPosition, Reset>, StoreError> {
    let position = match FeedPosition::open(&streams.cursors, viewer, id) {
        Ok(position) => position,
        Err(reset) => return Ok(Err(reset)),
    };
    if position.log != streams.ports.event_log.id() {
        return Ok(Err(Reset::AnotherLog));
    }
    let mut present = Present::of(streams, viewer).await?;
    if let Some(reset) = present.refuses(&position) {
        return Ok(Err(reset));
    }
    let is_beyond = |done: &[i64]| position.base.iter().zip(done).any(|(base, done)| base > done);
    if is_beyond(&present.done) {
        // The id may come from another process, of whose progress this one has not heard yet.
        let build = Build { projection: TIMELINES, generation: present.generation };
        for at in streams.ports.checkpoints.positions(build).await? {
            if at.topic == Topic::Posts
                && let Some(done) = present.done.get_mut(usize::from(at.partition))
            {
                *done = at.offset.max(*done);
            }
        }
        if is_beyond(&present.done) {
            return Ok(Err(Reset::BeyondPresent));
        }
    }
    Ok(Ok(position))
}
