//! Timelines: who follows whom, what each author published, and homes made ahead of time (fan-out on write).
//!
//! A home declares its coverage: it is complete above its mark (T2), so that trimming loses nothing and a reader who
//! passes the mark goes on in the authors' own timelines. Publishing writes the author's timeline *before* it reads
//! the followers; following writes the edge *before* it copies the author's posts. Whichever of the two comes second
//! sees the other's write, so no interleaving misses a post (T1). Unfollowing and blocking take nothing out of
//! homes: readers filter by the present relations.
//!
//! Open feeds are told afterwards: a post's row is written, then hints go out, then the checkpoint moves. What changes a
//! feed in any other way (relations, posts that came too late for a home) gives its owner a new stamp, after the
//! change. Imported posts are news to nobody: homes hold them at no offset.

use std::collections::HashSet;
use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::{Checkpoints, Generation, Owner, TIMELINES};
use adapters::live::{Channel, Live, Message, News};
use adapters::timelines::{AuthorEntry, Entry, Order, Span, Timelines as Port};
use adapters::views::{EdgeChange, EdgeField, Views};
use async_trait::async_trait;
use domain::relation::Pair;
use domain::stream::BEFORE_FIRST;
use domain::{Event, PostId, Topic, UserId, post, relation};
use futures::{StreamExt, TryStreamExt, stream};

use crate::projection::{ApplyError, Projection, Recorded};
use crate::telling::{Teller, Telling};

/// Followers read at first, and homes written at a time.
const PAGE: usize = 1000;
/// Followers read at a time, at most.
const MOST_ASKED: usize = 10_000;
/// Fan-outs and copies under way at a time, per batch; and looks at homes, per page.
const CONCURRENCY: usize = 8;

/// Where fan-out and homes end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Authors with more followers than this are not fanned out; readers merge their timelines.
    pub hot_author_followers: usize,
    /// A home with more rows than this is trimmed.
    pub trim_at: usize,
    /// How many of its newest rows a trimmed home keeps, and how many posts of an author a new follower gets.
    pub trim_to: usize,
    /// A home is looked at for trimming about once in so many writes, so it may grow that much beyond `trim_at`.
    pub trim_every: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { hot_author_followers: 10_000, trim_at: 1_000, trim_to: 800, trim_every: 32 }
    }
}

/// The projection.
pub struct Timelines {
    views: Arc<dyn Views>,
    timelines: Arc<dyn Port>,
    teller: Teller,
    limits: Limits,
}

/// What a batch asks for, in the order of its steps.
#[derive(Default)]
struct Work {
    edges: Vec<EdgeChange>,
    authors: Vec<AuthorEntry>,
    published: Vec<Entry>,
    followed: Vec<Pair>,
    /// Whose feed is another one than before.
    changed: Vec<UserId>,
    related: Vec<(UserId, i64)>,
}

/// Whether anybody is told of a post as new.
fn is_news(entry: &Entry) -> bool {
    entry.offset > BEFORE_FIRST
}

impl Timelines {
    /// The projection's name.
    pub const NAME: &str = TIMELINES;
    /// What it reads.
    pub const TOPICS: &[Topic] = &[Topic::Posts, Topic::Relations];

    /// A projection that writes edges to `views` and posts to `timelines`, and tells `live` of new posts and of changed
    /// relations, or `checkpoints` that it could not.
    pub fn new(
        views: Arc<dyn Views>,
        timelines: Arc<dyn Port>,
        live: Arc<dyn Live>,
        checkpoints: Arc<dyn Checkpoints>,
        limits: Limits,
    ) -> Self {
        Self { views, timelines, teller: Teller::new(live, checkpoints), limits }
    }

    /// Puts a post into its author's home and, unless the author is hot, into every follower's.
    async fn fan_out(
        &self,
        generation: Generation,
        entry: Entry,
        is_hot: bool,
        telling: &Telling<'_>,
    ) -> Result<(), StoreError> {
        // One's own home has one's own posts whoever else reads them: nobody merges their own timeline above the mark.
        self.write_homes(generation, &[entry.author], entry, telling).await?;
        if is_hot {
            return tell(vec![Channel::Author(entry.author)], entry, telling).await;
        }
        let mut asked = PAGE;
        let mut followers = self.views.followers(generation, entry.author, None, asked).await?;
        let mut reached = 0;
        loop {
            reached += followers.len();
            if reached > self.limits.hot_author_followers {
                // T4: the flag comes before the first follower who is left out.
                self.views.mark_hot(generation, &[entry.author]).await?;
                return tell(vec![Channel::Author(entry.author)], entry, telling).await;
            }
            let write = async {
                for page in followers.chunks(PAGE) {
                    self.write_homes(generation, page, entry, telling).await?;
                }
                Ok(())
            };
            let last = followers.last().filter(|_| followers.len() == asked);
            let Some(last) = last else { return write.await };
            // Read while these are written to, and more each time: few questions, and none that holds up the first write.
            asked = (asked * 4).min(MOST_ASKED);
            let next = self.views.followers(generation, entry.author, Some(*last), asked);
            let ((), next) = tokio::try_join!(write, next)?;
            followers = next;
        }
    }

    async fn write_homes(
        &self,
        generation: Generation,
        owners: &[UserId],
        entry: Entry,
        telling: &Telling<'_>,
    ) -> Result<(), StoreError> {
        if owners.is_empty() {
            return Ok(());
        }
        let without = self.timelines.write_homes(generation, owners, entry).await?;
        if is_news(&entry) && !without.is_empty() {
            // Newer posts have filled these homes already. Streams look above the mark, and would never find this one.
            self.views.renew_stamps(generation, &without).await?;
        }
        tell(owners.iter().copied().map(Channel::Home).collect(), entry, telling).await?;
        let sampled: Vec<UserId> = owners.iter().copied().filter(|owner| self.is_sampled(*owner, entry.post)).collect();
        stream::iter(sampled)
            .map(|owner| self.trim(generation, owner))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn trim(&self, generation: Generation, owner: UserId) -> Result<(), StoreError> {
        self.timelines.trim(generation, owner, self.limits.trim_at, self.limits.trim_to).await
    }

    /// Whether this write looks at the home for trimming. The last bits of ids are random, and the same again when
    /// the event is delivered again.
    fn is_sampled(&self, owner: UserId, post: PostId) -> bool {
        let tail = |bytes: &[u8; 16]| u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        (tail(owner.as_bytes()) ^ tail(post.as_bytes())).is_multiple_of(self.limits.trim_every.max(1))
    }

    /// Copies an author's posts above the mark into a new follower's home. The edge is written already.
    async fn copy(&self, generation: Generation, pair: Pair) -> Result<(), StoreError> {
        let all = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };
        let mark = self.timelines.home(generation, pair.from, all, 1).await?.mark;
        let above = Span { above: mark, ..all };
        let most = self.limits.trim_to;
        let mut entries = self.timelines.authors(generation, &[pair.to], above, most + 1).await?;
        if let Some(beyond) = entries.get(most) {
            // T2: the home is no longer complete from here down, and says so before it gets the rest.
            self.timelines.raise_mark(generation, pair.from, beyond.post).await?;
            entries.truncate(most);
        }
        if !entries.is_empty() {
            self.timelines.fill_home(generation, pair.from, &entries).await?;
            self.trim(generation, pair.from).await?;
        }
        Ok(())
    }

    /// Which of the authors are hot, among those of this batch.
    async fn hot(&self, generation: Generation, work: &Work) -> Result<HashSet<UserId>, StoreError> {
        let published = work.published.iter().map(|entry| entry.author);
        let authors: HashSet<UserId> = published.chain(work.followed.iter().map(|pair| pair.to)).collect();
        if authors.is_empty() {
            return Ok(HashSet::new());
        }
        let authors: Vec<UserId> = authors.into_iter().collect();
        Ok(self.views.hot(generation, &authors).await?.into_iter().collect())
    }
}

async fn tell(channels: Vec<Channel>, entry: Entry, telling: &Telling<'_>) -> Result<(), StoreError> {
    if !is_news(&entry) {
        return Ok(());
    }
    let Entry { post, author, offset, .. } = entry;
    telling.tell_each(channels, Message { position: offset, news: News::NewPost { post, author } }).await
}

#[async_trait]
impl Projection for Timelines {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn topics(&self) -> &'static [Topic] {
        Self::TOPICS
    }

    fn opens_text(&self, _: Topic) -> bool {
        false
    }

    async fn apply(&self, owner: Owner, events: &[Recorded]) -> Result<(), ApplyError> {
        let generation = owner.generation;
        let work = Work::of(events);
        let telling = self.teller.begin();

        // First what others read before they act, edges and authors' timelines; see the module's first lines.
        if !work.edges.is_empty() {
            self.views.write_edges(generation, &work.edges).await?;
        }
        if !work.authors.is_empty() {
            self.timelines.write_authors(generation, &work.authors).await?;
        }

        let hot = self.hot(generation, &work).await?;
        let Work { published, mut followed, mut changed, related, .. } = work;
        stream::iter(published)
            .map(|entry| self.fan_out(generation, entry, hot.contains(&entry.author), &telling))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        followed.retain(|pair| !hot.contains(&pair.to));
        stream::iter(followed)
            .map(|pair| self.copy(generation, pair))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;

        // After the edges and the copies that it stands for.
        if !changed.is_empty() {
            // After what they stand for: a reader who finds the stamp that they saw before has missed no change.
            changed.sort_unstable();
            changed.dedup();
            self.views.renew_stamps(generation, &changed).await?;
        }
        for (person, position) in related {
            let message = Message { position, news: News::RelationChanged };
            telling.tell(Channel::Viewer(person), vec![message]).await?;
        }
        Ok(telling.settle().await?)
    }
}

impl Work {
    fn of(events: &[Recorded]) -> Self {
        let mut work = Self::default();
        for Recorded { position, envelope } in events {
            match &envelope.event {
                Event::Relation(event) => work.relation(event, envelope.sequence, position.offset),
                Event::Post(event) => {
                    let (post, author, deleted, imported) = match event {
                        post::Event::Published(post::Published { post, author, imported, .. }) => {
                            (*post, *author, false, *imported)
                        }
                        post::Event::Deleted(post::Deleted { post, author }) => (*post, *author, true, false),
                        post::Event::Edited(_) => continue,
                    };
                    let (partition, offset) = (position.partition, position.offset);
                    let sequence = envelope.sequence;
                    work.authors.push(AuthorEntry { author, post, deleted, imported, sequence, partition, offset });
                    if !deleted {
                        let offset = if imported { BEFORE_FIRST } else { offset };
                        work.published.push(Entry { post, author, partition, offset });
                    }
                }
                Event::User(_) | Event::Comment(_) | Event::Reaction(_) => {}
            }
        }
        work
    }

    fn relation(&mut self, event: &relation::Event, sequence: u64, offset: i64) {
        let pair = event.pair();
        let what = match event {
            relation::Event::Followed(_) => EdgeField::Following(true),
            relation::Event::Unfollowed(_) => EdgeField::Following(false),
            relation::Event::Blocked(_) => EdgeField::Blocking(true),
            relation::Event::Unblocked(_) => EdgeField::Blocking(false),
            relation::Event::Muted(_) => EdgeField::Muting(true),
            relation::Event::Unmuted(_) => EdgeField::Muting(false),
        };
        self.edges.push(EdgeChange { from: pair.from, to: pair.to, what, sequence });
        self.changed.push(pair.from);
        self.related.push((pair.from, offset));
        // Who is muted is not to notice, not even by an open stream that stirs.
        if !matches!(what, EdgeField::Muting(_)) {
            self.related.push((pair.to, offset));
        }
        if what == EdgeField::Following(true) {
            self.followed.push(pair);
        }
    }
}
