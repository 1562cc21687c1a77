//! The port of timelines: ids only. An author's timeline holds all that they published; a home holds, ahead of time,
//! a prefix of what its owner reads.
//!
//! A home *declares its coverage*: it is complete above its mark, which is read together with its rows. The mark
//! only rises, and rows at or below it are ignored by readers.

use async_trait::async_trait;
use domain::{PostId, UserId};

use crate::StoreError;
use crate::checkpoints::Generation;

#[cfg(feature = "cassandra")]
mod cassandra;
#[cfg(test)]
mod contract;
mod nearest;
mod sqlite;

#[cfg(feature = "cassandra")]
pub use cassandra::CassandraTimelines;
pub use sqlite::SqliteTimelines;

/// A post in its author's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorEntry {
    /// Whose timeline.
    pub author: UserId,
    /// The post.
    pub post: PostId,
    /// Whether it was deleted: the row stays as a tombstone.
    pub deleted: bool,
    /// Whether it comes from elsewhere with its original time: nobody is told that it is new. Not known of a deletion.
    pub imported: bool,
    /// Sequence, in the post's stream, of the newest event in the row (`post.published` or `post.deleted`).
    pub sequence: u64,
    /// Where that event is in the posts topic.
    pub partition: u16,
    /// Where that event is in the partition.
    pub offset: i64,
}

/// A post in a home or in a merge of authors' timelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The post.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// Where `post.published` is in the posts topic.
    pub partition: u16,
    /// Where `post.published` is in the partition; [`BEFORE_FIRST`](domain::stream::BEFORE_FIRST) of an imported post,
    /// which is news to nobody.
    pub offset: i64,
}

/// A part of a timeline, exclusive at its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Only posts above this id; [`PostId::MIN`] for all.
    pub above: PostId,
    /// Only posts below this id; [`PostId::MAX`] for all.
    pub below: PostId,
    /// From which end the limit counts, and the order of the answer.
    pub order: Order,
}

/// The order of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Descending ids.
    NewestFirst,
    /// Ascending ids.
    OldestFirst,
}

/// A home as far as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The home is complete above this id; [`PostId::MIN`] where it is complete altogether.
    pub mark: PostId,
    /// Its rows in the span that was asked for, those at or below the mark left out.
    pub entries: Vec<Entry>,
}

/// The timelines.
///
/// Invariants: a home's mark never falls, and mark and rows are read at one moment; an author's row never goes back
/// to an older sequence; every write is idempotent. The log may hold an event twice: of a home's row, and of an author's
/// row of one sequence, the lesser offset stays, whichever came first. So (partition, offset) names a row, whatever is
/// delivered again.
#[async_trait]
pub trait Timelines: Send + Sync + 'static {
    /// Writes rows of authors' timelines; one of a lesser sequence than what is stored changes nothing.
    async fn write_authors(&self, generation: Generation, entries: &[AuthorEntry]) -> Result<(), StoreError>;

    /// Authors' timelines merged, without the deleted, at most `limit` entries of the span.
    async fn authors(
        &self,
        generation: Generation,
        authors: &[UserId],
        span: Span,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// What the authors have published above the offsets `after`, by partition (a partition that it does not reach
    /// counts from the beginning), without the deleted and the imported: at most `limit` entries, in any order.
    async fn authors_since(
        &self,
        generation: Generation,
        authors: &[UserId],
        after: &[i64],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Puts one post into many homes. Answers the owners whose homes did without, because they end above it.
    async fn write_homes(
        &self,
        generation: Generation,
        owners: &[UserId],
        entry: Entry,
    ) -> Result<Vec<UserId>, StoreError>;

    /// Puts many posts into one home.
    async fn fill_home(&self, generation: Generation, owner: UserId, entries: &[Entry]) -> Result<(), StoreError>;

    /// Raises a home's mark to `mark` if it is lower.
    async fn raise_mark(&self, generation: Generation, owner: UserId, mark: PostId) -> Result<(), StoreError>;

    /// If the home has more than `at` rows above its mark, raises the mark so that the newest `to` stay above it, and
    /// deletes the rows at or below it, in one step.
    async fn trim(&self, generation: Generation, owner: UserId, at: usize, to: usize) -> Result<(), StoreError>;

    /// The home's mark and at most `limit` of its rows in the span.
    async fn home(&self, generation: Generation, owner: UserId, span: Span, limit: usize) -> Result<Home, StoreError>;

    /// The home's mark and, newest first, at most `limit` of its rows above the offsets `after`, by partition (a
    /// partition that it does not reach counts from the beginning).
    async fn home_since(
        &self,
        generation: Generation,
        owner: UserId,
        after: &[i64],
        limit: usize,
    ) -> Result<Home, StoreError>;

    /// For `verify`: every row of authors' timelines once, tombstones too, at most `limit` of those behind `after`. The
    /// rows of one author are together, by post; authors are in an order of the store's own, so that a store that
    /// spreads its keys is walked through as it is. `after` need not be there: (author, id just below a post) finds a post.
    async fn scan_authors(
        &self,
        generation: Generation,
        after: Option<(UserId, PostId)>,
        limit: usize,
    ) -> Result<Vec<AuthorEntry>, StoreError>;

    /// For `verify`: every row of homes once, in the same way.
    async fn scan_homes(
        &self,
        generation: Generation,
        after: Option<(UserId, PostId)>,
        limit: usize,
    ) -> Result<Vec<(UserId, Entry)>, StoreError>;
}
