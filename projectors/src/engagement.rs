//! What people do with a post: counts, comments, who reacted, what was said before; and telling open streams of it.
//!
//! All events about a post are in its lane, so its counts can be guarded by one position. Order of effects, also when
//! events are delivered again: counts and rows, then the cache, then live messages. A repeat in the log changes nothing
//! (C2) and is not published; an event that is *delivered* again is published again, since the process may have died in
//! between, and streams drop what they have sent already.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use adapters::cache::{Cache, Item};
use adapters::checkpoints::{Checkpoints, ENGAGEMENT, Owner};
use adapters::content::Content;
use adapters::live::{Channel, Live, Message, News};
use adapters::views::{
    CommentRow, EngagementLookup, EngagementRows, EngagementUpdate, PostRow, ReactionRow, VersionRow, Views,
};
use async_trait::async_trait;
use domain::stream::BEFORE_FIRST;
use domain::{CommentId, Envelope, Event, PostId, StreamId, Topic, UserId, comment, post, reaction};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::caching::{CacheKeeper, Changes};
use crate::projection::{ApplyError, Projection, Recorded};
use crate::telling::Teller;

/// Posts whose streams are told at a time.
const TOLD_AT_ONCE: usize = 32;

/// The projection.
pub struct Engagement {
    views: Arc<dyn Views>,
    keeper: CacheKeeper,
    teller: Teller,
}

/// What [`Engagement`] reads and writes.
#[derive(Clone)]
pub struct EngagementPorts {
    /// What posts say: the master of previews.
    pub content: Arc<dyn Content>,
    /// Counts, comments, versions, reactions.
    pub views: Arc<dyn Views>,
    /// What is cached of all these.
    pub cache: Arc<dyn Cache>,
    /// Open streams.
    pub live: Arc<dyn Live>,
    /// Told what neither cache nor streams could be told.
    pub checkpoints: Arc<dyn Checkpoints>,
}

impl Engagement {
    /// The projection's name.
    pub const NAME: &str = ENGAGEMENT;
    /// What it reads.
    pub const TOPICS: &[Topic] = &[Topic::Posts];

    /// A projection over these stores.
    pub fn new(ports: EngagementPorts) -> Self {
        let EngagementPorts { content, views, cache, live, checkpoints } = ports;
        let keeper = CacheKeeper::new(cache, content, Arc::clone(&checkpoints));
        Self { views, keeper, teller: Teller::new(live, checkpoints) }
    }
}

#[async_trait]
impl Projection for Engagement {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn topics(&self) -> &'static [Topic] {
        Self::TOPICS
    }

    fn opens_text(&self, _: Topic) -> bool {
        true
    }

    async fn apply(&self, owner: Owner, events: &[Recorded]) -> Result<(), ApplyError> {
        let generation = owner.generation;
        let lanes = by_post(events);
        let lookups: Vec<EngagementLookup> = lanes.iter().map(|(post, events)| lookup(*post, events)).collect();
        let stored = self.views.engagement_rows(generation, &lookups).await?;

        let mut updates = Vec::with_capacity(lanes.len());
        let mut messages = Vec::with_capacity(lanes.len());
        let mut changes = Changes::default();
        for ((post, events), rows) in lanes.iter().zip(stored) {
            let mut lane = LaneState::from_stored(*post, rows);
            for event in events {
                lane.apply(event.position.offset, &event.envelope)?;
            }
            lane.note_cached(events, &mut changes);
            let (update, news) = lane.finish();
            updates.push(update);
            messages.push((*post, news));
        }
        let Some(log) = events.first().map(|event| event.position.log) else { return Ok(()) };

        self.views.write_engagement(generation, updates).await?;
        self.keeper.tell(log, generation, changes).await?;
        let telling = self.teller.begin();
        messages.retain(|(_, news)| !news.is_empty());
        stream::iter(messages)
            .map(|(post, news)| telling.tell(Channel::Post(post), news))
            .buffer_unordered(TOLD_AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(telling.settle().await?)
    }
}

/// The events of each post, in order; posts in the order of their first event.
fn by_post(events: &[Recorded]) -> Vec<(PostId, Vec<&Recorded>)> {
    let mut places: HashMap<PostId, usize> = HashMap::new();
    let mut lanes: Vec<(PostId, Vec<&Recorded>)> = Vec::new();
    for event in events {
        let Some(post) = post_of(&event.envelope.event) else { continue };
        match places.entry(post) {
            Entry::Occupied(place) => lanes[*place.get()].1.push(event),
            Entry::Vacant(place) => {
                place.insert(lanes.len());
                lanes.push((post, vec![event]));
            }
        }
    }
    lanes
}

fn post_of(event: &Event) -> Option<PostId> {
    match event {
        Event::Post(
            post::Event::Published(post::Published { post, .. })
            | post::Event::Edited(post::Edited { post, .. })
            | post::Event::Deleted(post::Deleted { post, .. }),
        ) => Some(*post),
        Event::Comment(event) => Some(event.post()),
        Event::Reaction(event) => Some(event.subject().post),
        Event::User(_) | Event::Relation(_) => None,
    }
}

pub(crate) fn lookup(post: PostId, events: &[&Recorded]) -> EngagementLookup {
    let mut comments: Vec<CommentId> = Vec::new();
    let mut users: Vec<UserId> = Vec::new();
    for event in events {
        match &event.envelope.event {
            Event::Comment(event) => comments.push(event.comment()),
            Event::Reaction(event) => users.push(event.subject().user),
            Event::Post(_) | Event::User(_) | Event::Relation(_) => {}
        }
    }
    comments.sort_unstable();
    comments.dedup();
    users.sort_unstable();
    users.dedup();
    EngagementLookup { post, comments, users }
}

/// One post's rows while a batch is applied to them in memory.
pub(crate) struct LaneState {
    post: PostId,
    /// The counts' position as stored: what the write is guarded by.
    expected_position: i64,
    /// Offset of the newest event of the batch: the rows are written up to there. The counts may be further, if the
    /// process died between them and the rows of a longer batch.
    reached: i64,
    row: PostRow,
    comments: HashMap<CommentId, CommentRow>,
    reactions: HashMap<UserId, ReactionRow>,
    changed_comments: Vec<CommentId>,
    changed_reactions: Vec<UserId>,
    /// What the batch's events say, by stream and sequence, whether the rows have them already or not: the process may
    /// have died between the rows and the versions.
    versions: Vec<VersionRow>,
    messages: Vec<Message>,
    /// Offset of the newest reaction to tell of: one message with the final count says it all.
    likes_moved: Option<i64>,
}

/// What an event is to the row of its stream.
enum Arrival {
    /// The next of its stream.
    New,
    /// The row has it, from this very place in the log: delivered again.
    Again,
    /// The row has it from an earlier place, or has moved on since.
    Known,
}

/// Tells news, redeliveries and repeats apart. `places` are the offsets that the row remembers.
fn arrival(offset: i64, envelope: &Envelope, stored: u64, places: &[i64]) -> Result<Arrival, ApplyError> {
    if envelope.sequence <= stored {
        return Ok(if places.contains(&offset) { Arrival::Again } else { Arrival::Known });
    }
    if envelope.sequence == stored + 1 {
        return Ok(Arrival::New);
    }
    let reason = format!("{} goes from {stored} to {}: events are missing", envelope.stream, envelope.sequence);
    Err(ApplyError::Permanent { offset, reason })
}

impl LaneState {
    pub(crate) fn from_stored(post: PostId, rows: EngagementRows) -> Self {
        Self {
            post,
            expected_position: rows.post.position,
            reached: BEFORE_FIRST,
            row: rows.post,
            comments: rows.comments.into_iter().map(|row| (row.comment, row)).collect(),
            reactions: rows.reactions.into_iter().map(|row| (row.user, row)).collect(),
            changed_comments: Vec::new(),
            changed_reactions: Vec::new(),
            versions: Vec::new(),
            messages: Vec::new(),
            likes_moved: None,
        }
    }

    pub(crate) fn apply(&mut self, offset: i64, envelope: &Envelope) -> Result<(), ApplyError> {
        match &envelope.event {
            Event::Post(event) => self.post(offset, envelope, event)?,
            Event::Comment(event) => self.comment(offset, envelope, event)?,
            Event::Reaction(event) => self.reaction(offset, envelope, *event)?,
            Event::User(_) | Event::Relation(_) => {}
        }
        self.versions.extend(version(envelope));
        self.reached = self.reached.max(offset);
        self.row.position = self.row.position.max(offset);
        Ok(())
    }

    /// Whether the counts do not contain the event yet. They are written before the rows, so after a crash a count
    /// may have what a row has not.
    fn counts(&self, offset: i64) -> bool {
        offset > self.expected_position
    }

    fn post(&mut self, offset: i64, envelope: &Envelope, event: &post::Event) -> Result<(), ApplyError> {
        match arrival(offset, envelope, self.row.sequence, &[self.row.changed])? {
            Arrival::Known => return Ok(()),
            Arrival::Again => {}
            Arrival::New => {
                self.row.sequence = envelope.sequence;
                self.row.changed = offset;
                self.row.deleted = matches!(event, post::Event::Deleted(_));
            }
        }
        match event {
            post::Event::Published(_) => {}
            post::Event::Edited(_) => {
                self.tell(offset, News::PostEdited { edited_at: envelope.time, version: envelope.sequence });
            }
            post::Event::Deleted(_) => self.tell(offset, News::PostDeleted),
        }
        Ok(())
    }

    fn comment(&mut self, offset: i64, envelope: &Envelope, event: &comment::Event) -> Result<(), ApplyError> {
        let id = event.comment();
        let counts = self.counts(offset);
        let row = self.comments.get_mut(&id);
        let places = row.as_ref().map(|row| [row.created, row.position]);
        let stored = row.as_ref().map_or(0, |row| row.sequence);
        match arrival(offset, envelope, stored, places.as_ref().map_or(&[], |places| places))? {
            Arrival::Known => return Ok(()),
            Arrival::Again => {}
            Arrival::New => {
                match (event, row) {
                    (comment::Event::Added(added), None) => {
                        let row = CommentRow {
                            comment: id,
                            post: self.post,
                            author: added.author,
                            parent: added.parent,
                            text: added.text.open().cloned(),
                            edited_at: None,
                            sequence: envelope.sequence,
                            created: offset,
                            position: offset,
                        };
                        self.comments.insert(id, row);
                        self.row.comments += u64::from(counts);
                    }
                    (comment::Event::Edited(edited), Some(row)) => {
                        row.text = edited.text.open().cloned();
                        row.edited_at = Some(envelope.time);
                        row.sequence = envelope.sequence;
                        row.position = offset;
                    }
                    (comment::Event::Deleted(_), Some(row)) => {
                        row.text = None;
                        row.sequence = envelope.sequence;
                        row.position = offset;
                        self.row.comments -= u64::from(counts && self.row.comments > 0);
                    }
                    (comment::Event::Added(_), Some(_)) => return Err(out_of_order(offset, "added twice")),
                    (comment::Event::Edited(_) | comment::Event::Deleted(_), None) => {
                        return Err(out_of_order(offset, "changed before it was added"));
                    }
                }
                self.changed_comments.push(id);
            }
        }
        self.tell_of_comment(offset, envelope, event);
        Ok(())
    }

    fn tell_of_comment(&mut self, offset: i64, envelope: &Envelope, event: &comment::Event) {
        let comment = event.comment();
        let Some(row) = self.comments.get(&comment) else { return };
        let author = row.author;
        let news = match (event, &row.text) {
            (comment::Event::Added(_), Some(text)) => {
                News::NewComment { comment, author, parent: row.parent, text: text.clone() }
            }
            (comment::Event::Edited(_), Some(text)) => {
                News::CommentEdited { comment, author, text: text.clone(), edited_at: envelope.time }
            }
            (comment::Event::Deleted(_), _) => News::CommentDeleted { comment, author },
            // Deleted or erased by now: the message of that says so.
            (comment::Event::Added(_) | comment::Event::Edited(_), None) => return,
        };
        self.tell(offset, news);
    }

    fn reaction(&mut self, offset: i64, envelope: &Envelope, event: reaction::Event) -> Result<(), ApplyError> {
        let reaction::Subject { post, user } = event.subject();
        let counts = self.counts(offset);
        let absent = ReactionRow { post, user, liked: false, sequence: 0, position: BEFORE_FIRST };
        let row = self.reactions.entry(user).or_insert(absent);
        match arrival(offset, envelope, row.sequence, &[row.position])? {
            Arrival::Known => return Ok(()),
            Arrival::Again => {}
            Arrival::New => {
                let liked = matches!(event, reaction::Event::Liked(_));
                if counts && liked != row.liked {
                    self.row.likes = if liked { self.row.likes + 1 } else { self.row.likes.saturating_sub(1) };
                }
                *row = ReactionRow { post, user, liked, sequence: envelope.sequence, position: offset };
                self.changed_reactions.push(user);
            }
        }
        self.likes_moved = Some(offset);
        Ok(())
    }

    /// What of the batch may be cached. Everything, whether the rows have had it before or not: the process may have died
    /// between the rows and the cache, and what is told twice changes nothing.
    fn note_cached(&self, events: &[&Recorded], changes: &mut Changes) {
        changes.counts.push((self.post, self.row.into()));
        let (mut added, mut changed, mut is_dropped) = (Vec::new(), None, false);
        for event in events {
            match &event.envelope.event {
                Event::Post(_) => changed = changed.max(Some(event.envelope.sequence)),
                Event::Comment(comment::Event::Added(comment::Added { comment, .. })) => {
                    // As it is now. One that is gone by now drops the list when that is told.
                    added.extend(self.comments.get(comment).and_then(Item::of));
                }
                Event::Comment(comment::Event::Edited(_) | comment::Event::Deleted(_)) => is_dropped = true,
                Event::Reaction(_) | Event::User(_) | Event::Relation(_) => {}
            }
        }
        changes.posts.extend(changed.map(|sequence| (self.post, sequence)));
        if is_dropped {
            changes.dropped.push(self.post);
        } else if !added.is_empty() {
            changes.added.push((self.post, added));
        }
    }

    fn tell(&mut self, position: i64, news: News) {
        self.messages.push(Message { position, news });
    }

    pub(crate) fn finish(mut self) -> (EngagementUpdate, Vec<Message>) {
        if let Some(position) = self.likes_moved {
            self.tell(position, News::NewLike { likes: self.row.likes });
        }
        self.messages.sort_by_key(|message| message.position);
        self.row.listed = self.row.listed.max(self.reached);
        self.changed_comments.sort_unstable();
        self.changed_comments.dedup();
        self.changed_reactions.sort_unstable();
        self.changed_reactions.dedup();
        let comments = self.changed_comments.iter().filter_map(|id| self.comments.get(id).cloned()).collect();
        let reactions = self.changed_reactions.iter().filter_map(|user| self.reactions.get(user).copied()).collect();
        let forgotten = self.forgotten();
        let update = EngagementUpdate {
            post: self.post,
            expected_position: self.expected_position,
            row: self.row,
            comments,
            reactions,
            versions: self.versions,
            forgotten,
        };
        (update, self.messages)
    }

    /// Which of the batch's streams are gone. A repeat of what a post or comment said before it was deleted finds its
    /// tombstone, and so brings nothing back.
    fn forgotten(&self) -> Vec<StreamId> {
        let mut forgotten = Vec::new();
        if self.row.deleted {
            forgotten.push(StreamId::Post(self.post));
        }
        let gone = self.comments.values().filter(|row| row.text.is_none());
        forgotten.extend(gone.map(|row| StreamId::Comment(row.comment)));
        forgotten.sort_unstable();
        forgotten
    }
}

/// What an event says, if it says anything that can be read.
fn version(envelope: &Envelope) -> Option<VersionRow> {
    let (title, text) = match &envelope.event {
        Event::Post(
            post::Event::Published(post::Published { text, .. }) | post::Event::Edited(post::Edited { text, .. }),
        ) => {
            let post::Text { title, markdown } = text.open()?;
            (title.clone(), markdown.to_string())
        }
        Event::Comment(
            comment::Event::Added(comment::Added { text, .. }) | comment::Event::Edited(comment::Edited { text, .. }),
        ) => (None, text.open()?.to_string()),
        Event::Post(post::Event::Deleted(_))
        | Event::Comment(comment::Event::Deleted(_))
        | Event::Reaction(_)
        | Event::User(_)
        | Event::Relation(_) => return None,
    };
    Some(VersionRow { stream: envelope.stream, sequence: envelope.sequence, at: envelope.time, title, text })
}

fn out_of_order(offset: i64, what: &str) -> ApplyError {
    ApplyError::Permanent { offset, reason: format!("the comment was {what}") }
}
