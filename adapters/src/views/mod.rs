//! The port of read models in documents: counts, comments by post, versions, who reacted, edges, profiles. Every row carries the
//! generation it belongs to, and the sequence and offset of what it was last changed by.
//!
//! All rows about a post come from one lane, so their offsets are of one partition and compare. They are offsets of
//! the log that the generation was built from (`checkpoints` knows which).

use async_trait::async_trait;
use domain::text::{CommentText, Title, Username};
use domain::{CommentId, PostId, StreamId, Timestamp, UserId};

use crate::StoreError;
use crate::checkpoints::{Generation, Owner};

#[cfg(test)]
mod contract;
#[cfg(feature = "mongodb")]
mod mongodb;
mod profiles;
mod sqlite;

pub use profiles::{FollowList, FollowRow, ProfileChange, ProfileNames, ProfileRow};
pub use sqlite::SqliteViews;

#[cfg(feature = "mongodb")]
pub use self::mongodb::MongoViews;

/// What is counted about a post, and up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostRow {
    /// Reactions that are likes.
    pub likes: u64,
    /// Comments that are not deleted.
    pub comments: u64,
    /// Offset of the newest event that the counts contain.
    pub position: i64,
    /// Offset up to which the rows of comments and reactions are written: what live streams start from.
    pub listed: i64,
    /// Sequence of the newest event of the post's own stream.
    pub sequence: u64,
    /// Offset of the newest event of the post's own stream: a resumed stream tells of edits and deletion by it.
    pub changed: i64,
    /// Whether that event is the post's deletion.
    pub deleted: bool,
}

impl Default for PostRow {
    fn default() -> Self {
        use domain::stream::BEFORE_FIRST;
        Self {
            likes: 0,
            comments: 0,
            position: BEFORE_FIRST,
            listed: BEFORE_FIRST,
            sequence: 0,
            changed: BEFORE_FIRST,
            deleted: false,
        }
    }
}

/// A comment, or what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommentRow {
    /// The comment.
    pub comment: CommentId,
    /// What it is about.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// What it answers.
    pub parent: Option<CommentId>,
    /// The text; `None` once deleted: the row stays as a tombstone.
    pub text: Option<CommentText>,
    /// When the text was last changed.
    pub edited_at: Option<Timestamp>,
    /// Sequence of the newest event in the row.
    pub sequence: u64,
    /// Offset of `comment.added`.
    pub created: i64,
    /// Offset of the newest event in the row.
    pub position: i64,
}

/// Somebody's reaction to a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReactionRow {
    /// The post.
    pub post: PostId,
    /// Who reacted.
    pub user: UserId,
    /// Whether it is a like now; if not, the row is a tombstone.
    pub liked: bool,
    /// Sequence of the newest event in the row.
    pub sequence: u64,
    /// Offset of the newest event in the row.
    pub position: i64,
}

/// What a post or a comment said from one event to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// The post or comment.
    pub stream: StreamId,
    /// The event's sequence in it: the version's number.
    pub sequence: u64,
    /// When the event was.
    pub at: Timestamp,
    /// The title, of posts that have one.
    pub title: Option<Title>,
    /// Markdown of a post, plain text of a comment.
    pub text: String,
}

/// Which rows a batch of one post's lane needs.
#[derive(Clone, Debug)]
pub struct EngagementLookup {
    /// The post.
    pub post: PostId,
    /// Comments touched.
    pub comments: Vec<CommentId>,
    /// People whose reactions are touched.
    pub users: Vec<UserId>,
}

/// The rows that were asked for; absent ones are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngagementRows {
    /// The post's counts; default where there is no row.
    pub post: PostRow,
    /// Comments found.
    pub comments: Vec<CommentRow>,
    /// Reactions found.
    pub reactions: Vec<ReactionRow>,
}

/// What a batch of one post's lane makes of the rows.
#[derive(Clone, Debug)]
pub struct EngagementUpdate {
    /// The post.
    pub post: PostId,
    /// The counts' `position` that this was computed from: the guard.
    pub expected_position: i64,
    /// The new counts.
    pub row: PostRow,
    /// New comment rows.
    pub comments: Vec<CommentRow>,
    /// New reaction rows.
    pub reactions: Vec<ReactionRow>,
    /// Versions to keep; those that are kept already stay.
    pub versions: Vec<VersionRow>,
    /// Posts and comments that are gone, and their versions with them: also those that stand beside this.
    pub forgotten: Vec<StreamId>,
}

/// A post's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Likes.
    pub likes: u64,
    /// Comments.
    pub comments: u64,
    /// Offset of the newest event that they contain.
    pub position: i64,
}

/// Of a post without a row.
impl Default for Counts {
    fn default() -> Self {
        PostRow::default().into()
    }
}

impl From<PostRow> for Counts {
    fn from(PostRow { likes, comments, position, .. }: PostRow) -> Self {
        Self { likes, comments, position }
    }
}

/// What one person does about another, with the sequence of their pair's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Who acts.
    pub from: UserId,
    /// Whom it is about.
    pub to: UserId,
    /// Reads their posts.
    pub following: bool,
    /// Wants nothing of them.
    pub blocking: bool,
    /// Wants their posts out of the home.
    pub muting: bool,
    /// Sequence, in the pair's stream, of the newest event in this direction.
    pub sequence: u64,
}

/// One event's change of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeChange {
    /// Who acts.
    pub from: UserId,
    /// Whom it is about.
    pub to: UserId,
    /// What changes.
    pub what: EdgeField,
    /// The event's sequence in the pair's stream.
    pub sequence: u64,
}

/// The part of a direction that an event changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeField {
    /// Following, or no longer.
    Following(bool),
    /// Blocking, or no longer.
    Blocking(bool),
    /// Muting, or no longer.
    Muting(bool),
}

/// Which list of what one person does about others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeList {
    /// Whom they block.
    Blocking,
    /// Whom they mute.
    Muting,
}

/// What a viewer and another are to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelationView {
    /// The viewer follows the other.
    pub following: bool,
    /// The other follows the viewer.
    pub followed_by: bool,
    /// The viewer has blocked the other.
    pub blocking: bool,
    /// The other has blocked the viewer.
    pub blocked_by: bool,
    /// The viewer mutes the other. The other way round is nobody's business but the other's.
    pub muting: bool,
}

impl RelationView {
    /// Whether a block either way keeps the two apart.
    pub fn is_blocked(&self) -> bool {
        self.blocking || self.blocked_by
    }
}

/// The read models in documents.
///
/// Invariants: a row never goes back to an older sequence; `write_engagement` changes a post's counts only from the
/// position that they were computed from, then rows and versions, then `listed`, so that a crash between the steps is
/// mended by writing the same batch again (in SQLite all is one transaction); removed things stay as tombstones.
/// Versions need none: whoever writes a batch knows from the tombstone what to forget.
#[async_trait]
pub trait Views: Send + Sync + 'static {
    // Engagement: written by the projection of that name alone.

    /// The rows that batches need, in the order asked for.
    async fn engagement_rows(
        &self,
        generation: Generation,
        lookups: &[EngagementLookup],
    ) -> Result<Vec<EngagementRows>, StoreError>;

    /// Writes what batches came to. Rows that are not newer (by `sequence`) than what is stored stay as stored.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] where a post's position is not the expected one.
    async fn write_engagement(&self, generation: Generation, updates: Vec<EngagementUpdate>) -> Result<(), StoreError>;

    /// The counts of many posts, in the order asked for; none where there is no row, or an unreadable one.
    async fn counts(&self, generation: Generation, posts: &[PostId]) -> Result<Vec<Counts>, StoreError>;

    /// Whether `user` likes each of the posts, in the order asked for.
    async fn liked(&self, generation: Generation, user: UserId, posts: &[PostId]) -> Result<Vec<bool>, StoreError>;

    /// A post's counts and positions; default where there is no row.
    async fn post_row(&self, generation: Generation, post: PostId) -> Result<PostRow, StoreError>;

    /// Comments of a post that are not deleted, newest first, below `before`.
    async fn comments(
        &self,
        generation: Generation,
        post: PostId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError>;

    /// Comment rows, tombstones too, whose `created` or `position` is above `after`, in any order, at most `limit`.
    async fn comments_changed(
        &self,
        generation: Generation,
        post: PostId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError>;

    /// Likes of a post, newest first by `position`, below `before`.
    async fn likes(
        &self,
        generation: Generation,
        post: PostId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<ReactionRow>, StoreError>;

    /// What a post or comment said, newest first, below the version `before`.
    async fn versions(
        &self,
        generation: Generation,
        stream: StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<VersionRow>, StoreError>;

    // Edges: written by `timelines` alone.

    /// Applies each change whose sequence is above that of its direction's row; makes rows that are not there.
    async fn write_edges(&self, generation: Generation, changes: &[EdgeChange]) -> Result<(), StoreError>;

    /// What `viewer` and each of `others` are to each other, in the order asked for.
    async fn relations(
        &self,
        generation: Generation,
        viewer: UserId,
        others: &[UserId],
    ) -> Result<Vec<RelationView>, StoreError>;

    /// Those who follow `author`, by id, above `after`.
    async fn followers(
        &self,
        generation: Generation,
        author: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError>;

    /// Those whom `user` follows, by id, above `after`.
    async fn following(
        &self,
        generation: Generation,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError>;

    /// Everybody whom a block, either way, keeps apart from `user`.
    async fn blocked_with(&self, generation: Generation, user: UserId) -> Result<Vec<UserId>, StoreError>;

    /// The number that [`Self::renew_stamps`] gave `user` last; 0 where it never did.
    async fn relations_stamp(&self, generation: Generation, user: UserId) -> Result<i64, StoreError>;

    /// Gives each of `users` another number than they ever had. Called *after* the change that it stands for: whoever
    /// reads number and feed in this order and finds the same number later has missed no change.
    async fn renew_stamps(&self, generation: Generation, users: &[UserId]) -> Result<(), StoreError>;

    /// Whom `user` blocks or mutes, the greatest id first, below `before`.
    async fn edge_list(
        &self,
        generation: Generation,
        user: UserId,
        list: EdgeList,
        before: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError>;

    /// Marks authors as hot: their posts are merged by readers from now on, and for ever.
    async fn mark_hot(&self, generation: Generation, authors: &[UserId]) -> Result<(), StoreError>;

    /// Which of `authors` are hot.
    async fn hot(&self, generation: Generation, authors: &[UserId]) -> Result<Vec<UserId>, StoreError>;

    /// The hot authors whom `user` follows.
    async fn hot_followed(&self, generation: Generation, user: UserId) -> Result<Vec<UserId>, StoreError>;

    // Profiles: written by the projection of that name alone.

    /// Applies each change whose sequence is above that of its own row: the profile for names, the follow, the post.
    /// The numbers of a profile change with the follow or post that they count and at no other time, whatever is
    /// written again, in whichever order lanes come (C2, C4). In SQLite all is one transaction.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] where a later owner of the partition has written; some of the changes may be done.
    /// An adapter whose write is one transaction need not compare: what it reads is what it changes.
    async fn write_profiles(&self, owner: Owner, changes: Vec<ProfileChange>) -> Result<(), StoreError>;

    /// People, in the order asked for; `None` where there is no row.
    async fn profiles(&self, generation: Generation, users: &[UserId]) -> Result<Vec<Option<ProfileRow>>, StoreError>;

    /// Who has each user name, in the order asked for.
    async fn users_named(
        &self,
        generation: Generation,
        usernames: &[Username],
    ) -> Result<Vec<Option<UserId>>, StoreError>;

    /// Follows that hold, newest first by time and then by the other person's id, below `before`.
    async fn newest_follows(
        &self,
        generation: Generation,
        list: FollowList,
        before: Option<(Timestamp, UserId)>,
        limit: usize,
    ) -> Result<Vec<FollowRow>, StoreError>;

    // Scans for `verify`: at most `limit` rows in key order above `after`.

    /// Posts with counts.
    async fn scan_posts(
        &self,
        generation: Generation,
        after: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<(PostId, PostRow)>, StoreError>;

    /// Comments, by post and comment.
    async fn scan_comments(
        &self,
        generation: Generation,
        after: Option<(PostId, CommentId)>,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError>;

    /// Reactions, by post and user.
    async fn scan_reactions(
        &self,
        generation: Generation,
        after: Option<(PostId, UserId)>,
        limit: usize,
    ) -> Result<Vec<ReactionRow>, StoreError>;

    /// Edges, by from and to.
    async fn scan_edges(
        &self,
        generation: Generation,
        after: Option<(UserId, UserId)>,
        limit: usize,
    ) -> Result<Vec<Edge>, StoreError>;

    /// People, by id.
    async fn scan_profiles(
        &self,
        generation: Generation,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<ProfileRow>, StoreError>;

    /// Follows, past ones too, by from and to.
    async fn scan_follows(
        &self,
        generation: Generation,
        after: Option<(UserId, UserId)>,
        limit: usize,
    ) -> Result<Vec<FollowRow>, StoreError>;

    /// Versions, by the stream's text and the number.
    async fn scan_versions(
        &self,
        generation: Generation,
        after: Option<(StreamId, u64)>,
        limit: usize,
    ) -> Result<Vec<VersionRow>, StoreError>;
}
