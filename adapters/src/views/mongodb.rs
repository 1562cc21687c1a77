//! Read models in MongoDB, or in what speaks its protocol.
//!
//! Nothing is asked of the server but that a change of one document is atomic. So what is one transaction in SQLite is
//! a row of steps here, each with its own guard, in an order in which a crash between any two leaves what the same
//! events mend when they come again, and in which an owner who was overtaken can do no harm. The reasoning is with the
//! steps: `engagement` (counts that one lane feeds), `counted` (numbers that many lanes feed), `versions`, `edges`.

use std::fmt;

use async_trait::async_trait;
use domain::text::Username;
use domain::{CommentId, PostId, StreamId, Timestamp, UserId};

use self::schema::SCHEMA;
use self::store::Store;
use super::{
    CommentRow, Counts, Edge, EdgeChange, EdgeList, EngagementLookup, EngagementRows, EngagementUpdate, FollowList,
    FollowRow, PostRow, ProfileChange, ProfileRow, ReactionRow, RelationView, VersionRow, Views,
};
use crate::StoreError;
use crate::checkpoints::{Generation, Owner};
use crate::stores::Migration;
use crate::url::StoreUrl;

mod counted;
mod edges;
mod engagement;
mod profiles;
mod schema;
mod store;
mod versions;

/// The adapter.
#[derive(Clone)]
pub struct MongoViews {
    store: Store,
}

impl MongoViews {
    /// Brings the schema of a database to the version that this program knows.
    ///
    /// # Errors
    /// The server cannot be reached, or the schema is of a newer program.
    pub async fn migrate(url: &StoreUrl) -> Result<Migration, StoreError> {
        let (database, from) = SCHEMA.begin(url).await?;
        schema::make_indexes(&database).await?;
        SCHEMA.finish(&database, from).await
    }

    /// Read models in a database whose schema is of this version.
    ///
    /// # Errors
    /// The server cannot be reached, or the schema is of another version.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        Ok(Self { store: Store::new(SCHEMA.open(url).await?) })
    }
}

/// Without the connection: the driver shows its options with it.
impl fmt::Debug for MongoViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoViews").field("database", &self.store.database.name()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Views for MongoViews {
    async fn engagement_rows(
        &self,
        generation: Generation,
        lookups: &[EngagementLookup],
    ) -> Result<Vec<EngagementRows>, StoreError> {
        engagement::rows(&self.store, generation, lookups).await
    }

    async fn write_engagement(&self, generation: Generation, updates: Vec<EngagementUpdate>) -> Result<(), StoreError> {
        engagement::write(&self.store, generation, updates).await
    }

    async fn counts(&self, generation: Generation, posts: &[PostId]) -> Result<Vec<Counts>, StoreError> {
        engagement::counts(&self.store, generation, posts).await
    }

    async fn liked(&self, generation: Generation, user: UserId, posts: &[PostId]) -> Result<Vec<bool>, StoreError> {
        engagement::liked(&self.store, generation, user, posts).await
    }

    async fn post_row(&self, generation: Generation, post: PostId) -> Result<PostRow, StoreError> {
        engagement::post(&self.store, generation, post).await
    }

    async fn comments(
        &self,
        generation: Generation,
        post: PostId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        engagement::comments(&self.store, generation, post, before, limit).await
    }

    async fn comments_changed(
        &self,
        generation: Generation,
        post: PostId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        engagement::comments_changed(&self.store, generation, post, after, limit).await
    }

    async fn likes(
        &self,
        generation: Generation,
        post: PostId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<ReactionRow>, StoreError> {
        engagement::likes(&self.store, generation, post, before, limit).await
    }

    async fn versions(
        &self,
        generation: Generation,
        stream: StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<VersionRow>, StoreError> {
        versions::newest(&self.store, generation, stream, before, limit).await
    }

    async fn write_edges(&self, generation: Generation, changes: &[EdgeChange]) -> Result<(), StoreError> {
        edges::write(&self.store, generation, changes).await
    }

    async fn relations(
        &self,
        generation: Generation,
        viewer: UserId,
        others: &[UserId],
    ) -> Result<Vec<RelationView>, StoreError> {
        edges::relations(&self.store, generation, viewer, others).await
    }

    async fn followers(
        &self,
        generation: Generation,
        author: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        edges::followers(&self.store, generation, author, after, limit).await
    }

    async fn following(
        &self,
        generation: Generation,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        edges::following(&self.store, generation, user, after, limit).await
    }

    async fn blocked_with(&self, generation: Generation, user: UserId) -> Result<Vec<UserId>, StoreError> {
        edges::blocked_with(&self.store, generation, user).await
    }

    async fn relations_stamp(&self, generation: Generation, user: UserId) -> Result<i64, StoreError> {
        edges::stamp(&self.store, generation, user).await
    }

    async fn renew_stamps(&self, generation: Generation, users: &[UserId]) -> Result<(), StoreError> {
        edges::renew_stamps(&self.store, generation, users).await
    }

    async fn edge_list(
        &self,
        generation: Generation,
        user: UserId,
        list: EdgeList,
        before: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        edges::list(&self.store, generation, user, list, before, limit).await
    }

    async fn mark_hot(&self, generation: Generation, authors: &[UserId]) -> Result<(), StoreError> {
        edges::mark_hot(&self.store, generation, authors).await
    }

    async fn hot(&self, generation: Generation, authors: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        edges::hot(&self.store, generation, authors).await
    }

    async fn hot_followed(&self, generation: Generation, user: UserId) -> Result<Vec<UserId>, StoreError> {
        edges::hot_followed(&self.store, generation, user).await
    }

    async fn write_profiles(&self, owner: Owner, changes: Vec<ProfileChange>) -> Result<(), StoreError> {
        counted::write(&self.store, owner, changes).await
    }

    async fn profiles(&self, generation: Generation, users: &[UserId]) -> Result<Vec<Option<ProfileRow>>, StoreError> {
        profiles::rows(&self.store, generation, users).await
    }

    async fn users_named(
        &self,
        generation: Generation,
        usernames: &[Username],
    ) -> Result<Vec<Option<UserId>>, StoreError> {
        profiles::users_named(&self.store, generation, usernames).await
    }

    async fn newest_follows(
        &self,
        generation: Generation,
        list: FollowList,
        before: Option<(Timestamp, UserId)>,
        limit: usize,
    ) -> Result<Vec<FollowRow>, StoreError> {
        profiles::newest_follows(&self.store, generation, list, before, limit).await
    }

    async fn scan_posts(
        &self,
        generation: Generation,
        after: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<(PostId, PostRow)>, StoreError> {
        engagement::scan_posts(&self.store, generation, after, limit).await
    }

    async fn scan_comments(
        &self,
        generation: Generation,
        after: Option<(PostId, CommentId)>,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        engagement::scan_comments(&self.store, generation, after, limit).await
    }

    async fn scan_reactions(
        &self,
        generation: Generation,
        after: Option<(PostId, UserId)>,
        limit: usize,
    ) -> Result<Vec<ReactionRow>, StoreError> {
        engagement::scan_reactions(&self.store, generation, after, limit).await
    }

    async fn scan_edges(
        &self,
        generation: Generation,
        after: Option<(UserId, UserId)>,
        limit: usize,
    ) -> Result<Vec<Edge>, StoreError> {
        edges::scan(&self.store, generation, after, limit).await
    }

    async fn scan_profiles(
        &self,
        generation: Generation,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<ProfileRow>, StoreError> {
        profiles::scan(&self.store, generation, after, limit).await
    }

    async fn scan_follows(
        &self,
        generation: Generation,
        after: Option<(UserId, UserId)>,
        limit: usize,
    ) -> Result<Vec<FollowRow>, StoreError> {
        profiles::scan_follows(&self.store, generation, after, limit).await
    }

    async fn scan_versions(
        &self,
        generation: Generation,
        after: Option<(StreamId, u64)>,
        limit: usize,
    ) -> Result<Vec<VersionRow>, StoreError> {
        versions::scan(&self.store, generation, after, limit).await
    }
}

#[cfg(test)]
mod tests;
