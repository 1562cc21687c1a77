//! What every projection must come to: sets, recomputed from the log, with no cleverness.
//!
//! The judge of `verify` and of the property tests, so it shares no code with the projections. It also folds every
//! stream, because the documents in `content` must be what folding the log gives.
//!
//! It keeps the present states and, of how they came about, only what is shown: the versions of texts that are there.
//! So its size follows what there is, not what happened.

use std::collections::{BTreeMap, BTreeSet};

use crate::aggregate::Aggregate;
use crate::comment::{self, Comment};
use crate::event::{Envelope, Event};
use crate::ids::{CommentId, PostId, UserId};
use crate::post::{self, Post};
use crate::reaction::{self, Reaction};
use crate::relation::{self, Relation};
use crate::stream::StreamId;
use crate::time::Timestamp;
use crate::user::User;

mod answers;
mod people;
mod versions;

pub use answers::{CommentAnswer, EdgeAnswer, PostAnswer, ReactionAnswer};
pub use people::{FollowAnswer, ProfileAnswer};
pub use versions::Version;

/// The model. Starts empty, as the log does; feed it every event of every topic, each partition in order.
///
/// Partitions may be read one after the other: nothing here depends on the order between streams.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    users: BTreeMap<UserId, Folded<User>>,
    relations: BTreeMap<(UserId, UserId), Folded<Relation>>,
    posts: BTreeMap<PostId, Folded<Post>>,
    comments: BTreeMap<CommentId, Folded<Comment>>,
    reactions: BTreeMap<(PostId, UserId), Folded<Reaction>>,

    /// Whom each user follows now.
    following: BTreeMap<UserId, BTreeSet<UserId>>,
    /// Who follows each user now.
    followers: BTreeMap<UserId, BTreeSet<UserId>>,
    /// Whom each user blocks now.
    blocking: BTreeMap<UserId, BTreeSet<UserId>>,
    /// Whom each user mutes now.
    muting: BTreeMap<UserId, BTreeSet<UserId>>,
    /// Per direction, number and time of the newest event that began or ended a follow.
    follows: BTreeMap<(UserId, UserId), (u64, Timestamp)>,
    /// Per direction, the sequence in the pair's stream of the newest event that changed it.
    direction_sequences: BTreeMap<(UserId, UserId), u64>,
    /// Each author's posts that are not deleted.
    posts_by_author: BTreeMap<UserId, BTreeSet<PostId>>,
    /// Each post's comments that are not deleted.
    comments_by_post: BTreeMap<PostId, BTreeSet<CommentId>>,
    /// All that each post and each comment that is not deleted ever said, oldest first.
    versions: BTreeMap<StreamId, Vec<Version>>,
}

/// A stream, folded so far.
#[derive(Clone, Debug, Default)]
struct Folded<A> {
    /// The newest event's.
    sequence: u64,
    /// Offset of the first event.
    first: i64,
    /// Offset of the newest event, in its first occurrence.
    newest: i64,
    state: A,
}

/// Something that no log may hold. The event that shows it has changed nothing in the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// W3 is broken: a number of the stream is missing before this one. Stays reported for every later event of the
    /// stream, none of which can be folded.
    #[error("{stream}: event {found} at offset {offset} follows event {last}: what is between is missing")]
    Gap {
        /// The stream.
        stream: StreamId,
        /// The newest event that was folded; 0 where there was none.
        last: u64,
        /// The event that came instead of the next.
        found: u64,
        /// Where it is in its partition.
        offset: i64,
    },
    /// Sequences count from 1.
    #[error("{stream}: event 0 at offset {offset}")]
    Zero {
        /// The stream.
        stream: StreamId,
        /// Where it is in its partition.
        offset: i64,
    },
    /// The event carries text, and it was not opened before.
    #[error("{stream}: the text of event {sequence} at offset {offset} is not open")]
    Unopened {
        /// The stream.
        stream: StreamId,
        /// The event's number in it.
        sequence: u64,
        /// Where it is in its partition.
        offset: i64,
    },
    /// The envelope names one stream and the data another.
    #[error("{stream}: the data of event {sequence} at offset {offset} is about {about}")]
    WrongStream {
        /// The stream that the envelope names.
        stream: StreamId,
        /// The event's number in it.
        sequence: u64,
        /// Where it is in its partition.
        offset: i64,
        /// The stream that the data belongs to.
        about: StreamId,
    },
}

impl Reference {
    /// Takes in the event at `offset` of its partition. What the model has already (C2) changes nothing.
    ///
    /// # Errors
    /// What is wrong with the log. The model is as before.
    pub fn apply(&mut self, envelope: &Envelope, offset: i64) -> Result<(), Inconsistency> {
        let Envelope { stream, sequence, event, time, .. } = envelope;
        let (stream, sequence) = (*stream, *sequence);
        if event.stream() != stream {
            return Err(Inconsistency::WrongStream { stream, sequence, offset, about: event.stream() });
        }
        if sequence == 0 {
            return Err(Inconsistency::Zero { stream, offset });
        }
        let last = self.sequence(stream);
        if sequence <= last {
            return Ok(());
        }
        if sequence > last + 1 {
            return Err(Inconsistency::Gap { stream, last, found: sequence, offset });
        }
        if event.sealed_box().is_some() {
            return Err(Inconsistency::Unopened { stream, sequence, offset });
        }
        match event {
            Event::User(event) => fold(&mut self.users, event.user(), event, offset, *time),
            Event::Relation(event) => {
                let pair = event.pair();
                let key = (pair.from.min(pair.to), pair.from.max(pair.to));
                fold(&mut self.relations, key, event, offset, *time);
                self.direction_sequences.insert((pair.from, pair.to), sequence);
                self.collect_relation(event);
                self.collect_follow(event, sequence, *time);
            }
            Event::Post(event) => {
                fold(&mut self.posts, event.post(), event, offset, *time);
                self.collect_post(event);
                self.collect_post_version(event, sequence, *time);
            }
            Event::Comment(event) => {
                fold(&mut self.comments, event.comment(), event, offset, *time);
                self.collect_comment(event);
                self.collect_comment_version(event, sequence, *time);
            }
            Event::Reaction(event) => {
                let reaction::Subject { post, user } = event.subject();
                fold(&mut self.reactions, (post, user), event, offset, *time);
            }
        }
        Ok(())
    }

    /// The number of the newest event of a stream; 0 where there is none.
    pub fn sequence(&self, stream: StreamId) -> u64 {
        let sequence = match stream {
            StreamId::User(user) => self.users.get(&user).map(|folded| folded.sequence),
            StreamId::Relation(low, high) => self.relations.get(&(low, high)).map(|folded| folded.sequence),
            StreamId::Post(post) => self.posts.get(&post).map(|folded| folded.sequence),
            StreamId::Comment(comment) => self.comments.get(&comment).map(|folded| folded.sequence),
            StreamId::Reaction(post, user) => self.reactions.get(&(post, user)).map(|folded| folded.sequence),
        };
        sequence.unwrap_or(0)
    }

    fn collect_relation(&mut self, event: &relation::Event) {
        let relation::Pair { from, to } = event.pair();
        match event {
            relation::Event::Followed(_) => self.following.entry(from).or_default().insert(to),
            relation::Event::Unfollowed(_) => self.following.entry(from).or_default().remove(&to),
            relation::Event::Blocked(_) => self.blocking.entry(from).or_default().insert(to),
            relation::Event::Unblocked(_) => self.blocking.entry(from).or_default().remove(&to),
            relation::Event::Muted(_) => self.muting.entry(from).or_default().insert(to),
            relation::Event::Unmuted(_) => self.muting.entry(from).or_default().remove(&to),
        };
    }

    fn collect_post(&mut self, event: &post::Event) {
        match event {
            post::Event::Published(published) => {
                self.posts_by_author.entry(published.author).or_default().insert(published.post);
            }
            post::Event::Edited(_) => {}
            post::Event::Deleted(deleted) => {
                self.posts_by_author.entry(deleted.author).or_default().remove(&deleted.post);
            }
        }
    }

    fn collect_comment(&mut self, event: &comment::Event) {
        match event {
            comment::Event::Added(added) => {
                self.comments_by_post.entry(added.post).or_default().insert(added.comment);
            }
            comment::Event::Edited(_) => {}
            comment::Event::Deleted(deleted) => {
                self.comments_by_post.entry(deleted.post).or_default().remove(&deleted.comment);
            }
        }
    }
}

fn fold<K: Ord, A: Aggregate>(
    streams: &mut BTreeMap<K, Folded<A>>,
    key: K,
    event: &A::Event,
    offset: i64,
    time: Timestamp,
) {
    let first = || Folded { first: offset, ..Folded::default() };
    let folded = streams.entry(key).or_insert_with(first);
    folded.sequence += 1;
    folded.newest = offset;
    folded.state.evolve(event, time);
}
