//! [`Timelines`] in Cassandra.
//!
//! Nothing is read before it is written, and nothing is compared and set: each write's timestamp says which of two writes
//! stays ([`guards`]), so that any number of writers, repeats and late ones come to the same rows. Reads and writes are
//! by local quorum: what was acknowledged is seen by every later read.
//!
//! A home's mark lies in the partition of its rows, and is raised by one mutation together with the deletion below it. Mark
//! and rows come out of one answer wherever Cassandra gives both; where it does not (no row in the span, or rows in
//! several answers) the mark is read *after* the rows. That is as good: marks only rise, so the later one claims less,
//! and what is complete above a mark is complete above a higher one. A mark read before the rows could claim what a trim
//! has deleted since.
//!
//! `write_homes` writes the rows first and asks for the marks afterwards. Whoever could have looked at a home under a mark
//! that hides the new row, and would look at the same mark again and never find it, must be answered: such a mark was there
//! before the row, so a read after the write finds it. A mark that rises later hides nothing from anybody: who saw the home
//! before sees another mark now, and asks the authors' own timelines. With the mark read first, one raised between the
//! two would be missed. A mark that rises between write and read is answered though the row was seen meanwhile; that
//! costs a stream a `reset`, as a repeat of the event would.
//!
//! A mark per home and post would double the work of a fan-out, and nearly all posts are newer than any home's mark. So
//! the greatest mark of a generation is kept beside the homes, raised before any home's. Whether the post is above that is
//! one read per call; only if it is not are the homes asked.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use domain::{PostId, UserId};
use scylla::client::session::Session;
use scylla::serialize::batch::BatchValues;
use scylla::statement::batch::Batch;
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::connection::Options;
use self::statements::Statements;
use super::{AuthorEntry, Entry, Home, Span, Timelines};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::stores::Migration;
use crate::url::StoreUrl;

mod authors;
mod connection;
mod guards;
mod homes;
mod scans;
mod schema;
mod statements;

/// Rows that are written at a time, by all who write through one adapter: enough to keep a cluster busy, and no more
/// than its nodes queue without dropping.
const WRITES: usize = 512;
/// Partitions that one call reads at a time.
const READS: usize = 32;

/// The adapter.
pub struct CassandraTimelines {
    session: Session,
    statements: Statements,
    writes: Semaphore,
    /// Up to where this process knows each generation's greatest mark to be raised.
    greatest_marks: Mutex<HashMap<Generation, PostId>>,
}

impl CassandraTimelines {
    /// Makes the keyspace and its tables, or brings them up to date.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] where the cluster has too few nodes or another version's tables.
    pub async fn migrate(url: &StoreUrl) -> Result<Migration, StoreError> {
        schema::migrate(url, &Options::of(url)?).await
    }

    /// Connects and prepares every statement.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] where [`CassandraTimelines::migrate`] has not been.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        let options = Options::of(url)?;
        let connection = options.connect(url, None).await?;
        schema::check(&connection.session, &options.keyspace).await?;
        let statements = Statements::prepare(&connection).await?;
        Ok(Self {
            session: connection.session,
            statements,
            writes: Semaphore::new(WRITES),
            greatest_marks: Mutex::default(),
        })
    }

    /// Waits for a turn at writing.
    async fn in_turn<T>(&self, write: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let _turn = self.writes.acquire().await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        write.await
    }

    async fn batch(&self, batch: &Batch, values: impl BatchValues) -> Result<(), StoreError> {
        self.session.batch(batch, values).await.map_err(connection::failed)?;
        Ok(())
    }
}

impl std::fmt::Debug for CassandraTimelines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CassandraTimelines").field("keyspace", &self.session.get_keyspace()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Timelines for CassandraTimelines {
    async fn write_authors(&self, generation: Generation, entries: &[AuthorEntry]) -> Result<(), StoreError> {
        authors::write(self, generation, entries).await
    }

    async fn authors(
        &self,
        generation: Generation,
        authors: &[UserId],
        span: Span,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        authors::merge(self, generation, &each_once(authors), span, limit).await
    }

    async fn authors_since(
        &self,
        generation: Generation,
        authors: &[UserId],
        after: &[i64],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        authors::since(self, generation, &each_once(authors), after, limit).await
    }

    async fn write_homes(
        &self,
        generation: Generation,
        owners: &[UserId],
        entry: Entry,
    ) -> Result<Vec<UserId>, StoreError> {
        homes::write(self, generation, owners, entry).await
    }

    async fn fill_home(&self, generation: Generation, owner: UserId, entries: &[Entry]) -> Result<(), StoreError> {
        homes::fill(self, generation, owner, entries).await
    }

    async fn raise_mark(&self, generation: Generation, owner: UserId, mark: PostId) -> Result<(), StoreError> {
        homes::raise_mark(self, generation, owner, mark).await
    }

    async fn trim(&self, generation: Generation, owner: UserId, at: usize, to: usize) -> Result<(), StoreError> {
        homes::trim(self, generation, owner, at, to).await
    }

    async fn home(&self, generation: Generation, owner: UserId, span: Span, limit: usize) -> Result<Home, StoreError> {
        homes::read(self, generation, owner, span, limit).await
    }

    async fn home_since(
        &self,
        generation: Generation,
        owner: UserId,
        after: &[i64],
        limit: usize,
    ) -> Result<Home, StoreError> {
        homes::since(self, generation, owner, after, limit).await
    }

    async fn scan_authors(
        &self,
        generation: Generation,
        after: Option<(UserId, PostId)>,
        limit: usize,
    ) -> Result<Vec<AuthorEntry>, StoreError> {
        scans::authors(self, generation, after, limit).await
    }

    async fn scan_homes(
        &self,
        generation: Generation,
        after: Option<(UserId, PostId)>,
        limit: usize,
    ) -> Result<Vec<(UserId, Entry)>, StoreError> {
        scans::homes(self, generation, after, limit).await
    }
}

/// Each author once, or a post would be in a merge twice.
fn each_once(authors: &[UserId]) -> Vec<UserId> {
    let mut authors = authors.to_vec();
    authors.sort_unstable();
    authors.dedup();
    authors
}

fn of_post(post: PostId) -> Uuid {
    Uuid::from_bytes(*post.as_bytes())
}

fn of_user(user: UserId) -> Uuid {
    Uuid::from_bytes(*user.as_bytes())
}

fn post_of(id: Uuid) -> PostId {
    PostId::from_bytes(id.into_bytes())
}

fn user_of(id: Uuid) -> UserId {
    UserId::from_bytes(id.into_bytes())
}

/// A row without a column that every write fills, or with a number that none writes.
fn damaged<T>(key: UserId, post: Uuid) -> Option<T> {
    tracing::error!(%key, %post, "a damaged row is passed over");
    None
}

#[cfg(test)]
mod tests;
