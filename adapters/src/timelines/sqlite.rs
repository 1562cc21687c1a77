//! [`Timelines`] in the read models' file.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{PostId, UserId};
use rusqlite::Connection;

use super::{AuthorEntry, Entry, Home, Order, Span, Timelines};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::sqlite::Database;
use crate::sqlite::remembered::Remembered;

mod authors;
mod homes;

/// Authors whose timelines are merged in one look at the file: bounds how long it keeps the caller's thread.
const AUTHORS_AT_ONCE: usize = 256;
/// Rows of a home that are remembered: more than a page.
const NEWEST: usize = 64;
/// Homes that are remembered.
const HOMES: usize = 2_048;

/// The adapter.
#[derive(Clone, Debug)]
pub struct SqliteTimelines {
    db: Arc<Database>,
    /// The newest rows of homes.
    homes: Remembered<(Generation, UserId), Arc<Home>>,
}

impl SqliteTimelines {
    /// In the read models' file ([`READ_MODELS`](crate::sqlite::READ_MODELS)).
    pub fn new(db: Arc<Database>) -> Self {
        Self { homes: Remembered::new(&db, HOMES), db }
    }
}

#[async_trait]
impl Timelines for SqliteTimelines {
    async fn write_authors(&self, generation: Generation, entries: &[AuthorEntry]) -> Result<(), StoreError> {
        let entries = entries.to_vec();
        self.db.write(move |connection| authors::write(connection, generation, &entries)).await
    }

    async fn authors(
        &self,
        generation: Generation,
        authors: &[UserId],
        span: Span,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        // Each once, or a post would be in the merge twice; in the order in which they are stored.
        let mut authors = authors.to_vec();
        authors.sort_unstable();
        authors.dedup();
        let mut merge = authors::Merge::new(span, limit);
        for some in authors.chunks(AUTHORS_AT_ONCE) {
            self.db.read(|connection| merge.add(connection, generation, some)).await?;
        }
        Ok(merge.into_entries())
    }

    async fn authors_since(
        &self,
        generation: Generation,
        authors: &[UserId],
        after: &[i64],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut authors = authors.to_vec();
        authors.sort_unstable();
        authors.dedup();
        let mut entries = Vec::new();
        for some in authors.chunks(AUTHORS_AT_ONCE) {
            let missing = limit - entries.len();
            let found = self.db.read(|connection| authors::since(connection, generation, some, after, missing)).await?;
            entries.extend(found);
            if entries.len() == limit {
                break;
            }
        }
        Ok(entries)
    }

    async fn write_homes(
        &self,
        generation: Generation,
        owners: &[UserId],
        entry: Entry,
    ) -> Result<Vec<UserId>, StoreError> {
        let writing = self.homes.writing(owners.iter().map(|owner| (generation, *owner)));
        let owners = owners.to_vec();
        self.db.write_holding(writing, move |connection| homes::write(connection, generation, &owners, entry)).await
    }

    async fn fill_home(&self, generation: Generation, owner: UserId, entries: &[Entry]) -> Result<(), StoreError> {
        let (writing, entries) = (self.homes.writing([(generation, owner)]), entries.to_vec());
        self.db.write_holding(writing, move |connection| homes::fill(connection, generation, owner, &entries)).await
    }

    async fn raise_mark(&self, generation: Generation, owner: UserId, mark: PostId) -> Result<(), StoreError> {
        let writing = self.homes.writing([(generation, owner)]);
        self.db.write_holding(writing, move |connection| homes::raise_mark(connection, generation, owner, mark)).await
    }

    async fn trim(&self, generation: Generation, owner: UserId, at: usize, to: usize) -> Result<(), StoreError> {
        // Most looks find nothing to do, and a look takes no turn at the writer. What comes in meanwhile is for the
        // next look.
        if self.db.read(|connection| homes::has_more_than(connection, generation, owner, at)).await? {
            let writing = self.homes.writing([(generation, owner)]);
            let trim = move |connection: &Connection| homes::trim(connection, generation, owner, at, to);
            self.db.write_holding(writing, trim).await?;
        }
        Ok(())
    }

    async fn home(&self, generation: Generation, owner: UserId, span: Span, limit: usize) -> Result<Home, StoreError> {
        let is_newest = span == (Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst });
        if !is_newest || limit > NEWEST {
            return self.db.read(|connection| homes::read(connection, generation, owner, span, limit)).await;
        }
        let read = |connection: &Connection| homes::read(connection, generation, owner, span, NEWEST).map(Arc::new);
        let newest = self.homes.read_one((generation, owner), read).await?;
        let entries = newest.entries[..limit.min(newest.entries.len())].to_vec();
        Ok(Home { mark: newest.mark, entries })
    }

    async fn home_since(
        &self,
        generation: Generation,
        owner: UserId,
        after: &[i64],
        limit: usize,
    ) -> Result<Home, StoreError> {
        self.db.read(|connection| homes::since(connection, generation, owner, after, limit)).await
    }

    async fn scan_authors(
        &self,
        generation: Generation,
        after: Option<(UserId, PostId)>,
        limit: usize,
    ) -> Result<Vec<AuthorEntry>, StoreError> {
        self.db.read(|connection| authors::scan(connection, generation, after, limit)).await
    }

    async fn scan_homes(
        &self,
        generation: Generation,
        after: Option<(UserId, PostId)>,
        limit: usize,
    ) -> Result<Vec<(UserId, Entry)>, StoreError> {
        self.db.read(|connection| homes::scan(connection, generation, after, limit)).await
    }
}

#[cfg(test)]
mod tests;
