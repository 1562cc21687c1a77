//! [`Views`] in the read models' file. Every call is one transaction or one look at one moment, so the steps that the
//! port allows to be apart never are here.

use std::sync::Arc;

use async_trait::async_trait;
use domain::text::Username;
use domain::{CommentId, PostId, StreamId, Timestamp, UserId};
use rusqlite::Connection;

use super::{
    CommentRow, Counts, Edge, EdgeChange, EdgeList, EngagementLookup, EngagementRows, EngagementUpdate, FollowList,
    FollowRow, PostRow, ProfileChange, ProfileRow, ReactionRow, RelationView, VersionRow, Views,
};
use crate::StoreError;
use crate::checkpoints::{Generation, Owner};
use crate::sqlite::Database;
use crate::sqlite::remembered::Remembered;

mod edges;
mod engagement;
mod profiles;
mod versions;

/// Of pairs of people, and of people and posts: what is remembered of each.
const PAIRS: usize = 32_768;
/// People of whom something is remembered.
const PEOPLE: usize = 4_096;

/// The adapter. It remembers what a page of a home asks for.
#[derive(Clone, Debug)]
pub struct SqliteViews {
    db: Arc<Database>,
    /// From the first to the second.
    relations: Remembered<(Generation, UserId, UserId), RelationView>,
    stamps: Remembered<(Generation, UserId), i64>,
    hot_followed: Remembered<(Generation, UserId), Arc<[UserId]>>,
    liked: Remembered<(Generation, UserId, PostId), bool>,
}

impl SqliteViews {
    /// In the read models' file ([`READ_MODELS`](crate::sqlite::READ_MODELS)).
    pub fn new(db: Arc<Database>) -> Self {
        Self {
            relations: Remembered::new(&db, PAIRS),
            stamps: Remembered::new(&db, PEOPLE),
            hot_followed: Remembered::new(&db, PEOPLE),
            liked: Remembered::new(&db, PAIRS),
            db,
        }
    }
}

#[async_trait]
impl Views for SqliteViews {
    async fn engagement_rows(
        &self,
        generation: Generation,
        lookups: &[EngagementLookup],
    ) -> Result<Vec<EngagementRows>, StoreError> {
        self.db.read(|connection| engagement::rows(connection, generation, lookups)).await
    }

    async fn write_engagement(&self, generation: Generation, updates: Vec<EngagementUpdate>) -> Result<(), StoreError> {
        let reactions = updates.iter().flat_map(|update| &update.reactions);
        let writing = self.liked.writing(reactions.map(|row| (generation, row.user, row.post)));
        self.db.write_holding(writing, move |connection| engagement::write(connection, generation, &updates)).await
    }

    async fn counts(&self, generation: Generation, posts: &[PostId]) -> Result<Vec<Counts>, StoreError> {
        self.db.read(|connection| engagement::counts(connection, generation, posts)).await
    }

    async fn liked(&self, generation: Generation, user: UserId, posts: &[PostId]) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<_> = posts.iter().map(|post| (generation, user, *post)).collect();
        let read = |connection: &Connection, keys: &[(Generation, UserId, PostId)]| {
            let posts: Vec<PostId> = keys.iter().map(|(.., post)| *post).collect();
            engagement::liked(connection, generation, user, &posts)
        };
        self.liked.read(&keys, read).await
    }

    async fn post_row(&self, generation: Generation, post: PostId) -> Result<PostRow, StoreError> {
        self.db.read(|connection| engagement::post(connection, generation, post)).await
    }

    async fn comments(
        &self,
        generation: Generation,
        post: PostId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        self.db.read(|connection| engagement::comments(connection, generation, post, before, limit)).await
    }

    async fn comments_changed(
        &self,
        generation: Generation,
        post: PostId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        self.db.read(|connection| engagement::comments_changed(connection, generation, post, after, limit)).await
    }

    async fn likes(
        &self,
        generation: Generation,
        post: PostId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<ReactionRow>, StoreError> {
        self.db.read(|connection| engagement::likes(connection, generation, post, before, limit)).await
    }

    async fn versions(
        &self,
        generation: Generation,
        stream: StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<VersionRow>, StoreError> {
        self.db.read(|connection| versions::newest(connection, generation, stream, before, limit)).await
    }

    async fn write_edges(&self, generation: Generation, changes: &[EdgeChange]) -> Result<(), StoreError> {
        let changes = changes.to_vec();
        // Each relation has both directions in it.
        let both = |change: &EdgeChange| [(generation, change.from, change.to), (generation, change.to, change.from)];
        let relations = self.relations.writing(changes.iter().flat_map(both));
        let hot = self.hot_followed.writing(changes.iter().map(|change| (generation, change.from)));
        let write = move |connection: &Connection| edges::write(connection, generation, &changes);
        self.db.write_holding((relations, hot), write).await
    }

    async fn relations(
        &self,
        generation: Generation,
        viewer: UserId,
        others: &[UserId],
    ) -> Result<Vec<RelationView>, StoreError> {
        let keys: Vec<_> = others.iter().map(|other| (generation, viewer, *other)).collect();
        let read = |connection: &Connection, keys: &[(Generation, UserId, UserId)]| {
            let others: Vec<UserId> = keys.iter().map(|(.., other)| *other).collect();
            edges::relations(connection, generation, viewer, &others)
        };
        self.relations.read(&keys, read).await
    }

    async fn followers(
        &self,
        generation: Generation,
        author: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        self.db.read(|connection| edges::followers(connection, generation, author, after, limit)).await
    }

    async fn following(
        &self,
        generation: Generation,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        self.db.read(|connection| edges::following(connection, generation, user, after, limit)).await
    }

    async fn blocked_with(&self, generation: Generation, user: UserId) -> Result<Vec<UserId>, StoreError> {
        self.db.read(|connection| edges::blocked_with(connection, generation, user)).await
    }

    async fn relations_stamp(&self, generation: Generation, user: UserId) -> Result<i64, StoreError> {
        let read = |connection: &Connection| edges::stamp(connection, generation, user);
        self.stamps.read_one((generation, user), read).await
    }

    async fn renew_stamps(&self, generation: Generation, users: &[UserId]) -> Result<(), StoreError> {
        let writing = self.stamps.writing(users.iter().map(|user| (generation, *user)));
        let users = users.to_vec();
        self.db.write_holding(writing, move |connection| edges::renew_stamps(connection, generation, &users)).await
    }

    async fn edge_list(
        &self,
        generation: Generation,
        user: UserId,
        list: EdgeList,
        before: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        self.db.read(|connection| edges::list(connection, generation, user, list, before, limit)).await
    }

    async fn mark_hot(&self, generation: Generation, authors: &[UserId]) -> Result<(), StoreError> {
        // Whoever follows one of them.
        let (writing, authors) = (self.hot_followed.writing_all(), authors.to_vec());
        self.db.write_holding(writing, move |connection| edges::mark_hot(connection, generation, &authors)).await
    }

    async fn hot(&self, generation: Generation, authors: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        self.db.read(|connection| edges::hot(connection, generation, authors)).await
    }

    async fn hot_followed(&self, generation: Generation, user: UserId) -> Result<Vec<UserId>, StoreError> {
        let read = |connection: &Connection| edges::hot_followed(connection, generation, user).map(Arc::from);
        Ok(self.hot_followed.read_one((generation, user), read).await?.to_vec())
    }

    async fn write_profiles(&self, owner: Owner, changes: Vec<ProfileChange>) -> Result<(), StoreError> {
        self.db.write(move |connection| profiles::write(connection, owner.generation, &changes)).await
    }

    async fn profiles(&self, generation: Generation, users: &[UserId]) -> Result<Vec<Option<ProfileRow>>, StoreError> {
        self.db.read(|connection| profiles::rows(connection, generation, users)).await
    }

    async fn users_named(
        &self,
        generation: Generation,
        usernames: &[Username],
    ) -> Result<Vec<Option<UserId>>, StoreError> {
        self.db.read(|connection| profiles::users_named(connection, generation, usernames)).await
    }

    async fn newest_follows(
        &self,
        generation: Generation,
        list: FollowList,
        before: Option<(Timestamp, UserId)>,
        limit: usize,
    ) -> Result<Vec<FollowRow>, StoreError> {
        self.db.read(|connection| profiles::newest_follows(connection, generation, list, before, limit)).await
    }

    async fn scan_posts(
        &self,
        generation: Generation,
        after: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<(PostId, PostRow)>, StoreError> {
        self.db.read(|connection| engagement::scan_posts(connection, generation, after, limit)).await
    }

    async fn scan_comments(
        &self,
        generation: Generation,
        after: Option<(PostId, CommentId)>,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        self.db.read(|connection| engagement::scan_comments(connection, generation, after, limit)).await
    }

    async fn scan_reactions(
        &self,
        generation: Generation,
        after: Option<(PostId, UserId)>,
        limit: usize,
    ) -> Result<Vec<ReactionRow>, StoreError> {
        self.db.read(|connection| engagement::scan_reactions(connection, generation, after, limit)).await
    }

    async fn scan_edges(
        &self,
        generation: Generation,
        after: Option<(UserId, UserId)>,
        limit: usize,
    ) -> Result<Vec<Edge>, StoreError> {
        self.db.read(|connection| edges::scan(connection, generation, after, limit)).await
    }

    async fn scan_profiles(
        &self,
        generation: Generation,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<ProfileRow>, StoreError> {
        self.db.read(|connection| profiles::scan(connection, generation, after, limit)).await
    }

    async fn scan_follows(
        &self,
        generation: Generation,
        after: Option<(UserId, UserId)>,
        limit: usize,
    ) -> Result<Vec<FollowRow>, StoreError> {
        self.db.read(|connection| profiles::scan_follows(connection, generation, after, limit)).await
    }

    async fn scan_versions(
        &self,
        generation: Generation,
        after: Option<(StreamId, u64)>,
        limit: usize,
    ) -> Result<Vec<VersionRow>, StoreError> {
        self.db.read(|connection| versions::scan(connection, generation, after, limit)).await
    }
}

#[cfg(test)]
mod tests;
