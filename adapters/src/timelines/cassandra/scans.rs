//! Every row once, for `verify`, in the order of the partitions' tokens.
//!
//! Partitions are listed by token, a few at a time, and the rows of each are read in the order of posts. Where a scan goes
//! on is told by the last row's key alone, whether or not that row is still there. Tokens are 64 bits: of two partitions
//! with one token, Cassandra lists the lesser key first.

use std::ops::ControlFlow;

use domain::{PostId, UserId};
use futures::{StreamExt, TryStreamExt, stream};
use scylla::statement::prepared::PreparedStatement;
use uuid::Uuid;

use super::homes::{Row as HomeRow, entry_of};
use super::statements::{LISTED, each_row, limit as rows};
use super::{CassandraTimelines, damaged, of_post, of_user, post_of, user_of};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::timelines::{AuthorEntry, Entry};

/// Partitions that are read ahead: few, as one may fill the page.
const AHEAD: usize = 8;

/// A partition of a generation, as it is listed.
type Listed = (i64, Uuid, i64);

type AuthorRow = (Uuid, Option<bool>, Option<bool>, Option<i64>, Option<i32>, Option<i64>);

pub(super) async fn authors(
    timelines: &CassandraTimelines,
    generation: Generation,
    after: Option<(UserId, PostId)>,
    limit: usize,
) -> Result<Vec<AuthorEntry>, StoreError> {
    let statements = &timelines.statements;
    let scan = Scan { timelines, generation, list: &statements.list_authors, read: &statements.scan_author };
    scan.run(after, limit, |author, row: AuthorRow| {
        let (id, Some(deleted), Some(imported), Some(sequence), Some(partition), Some(offset)) = row else {
            return damaged(author, row.0);
        };
        let (Ok(sequence), Ok(partition)) = (u64::try_from(sequence), u16::try_from(partition)) else {
            return damaged(author, id);
        };
        Some(AuthorEntry { author, post: post_of(id), deleted, imported, sequence, partition, offset })
    })
    .await
}

pub(super) async fn homes(
    timelines: &CassandraTimelines,
    generation: Generation,
    after: Option<(UserId, PostId)>,
    limit: usize,
) -> Result<Vec<(UserId, Entry)>, StoreError> {
    let statements = &timelines.statements;
    let scan = Scan { timelines, generation, list: &statements.list_owners, read: &statements.scan_home };
    scan.run(after, limit, |owner, row: HomeRow| entry_of(owner, row).map(|entry| (owner, entry))).await
}

struct Scan<'a> {
    timelines: &'a CassandraTimelines,
    generation: Generation,
    list: &'a PreparedStatement,
    read: &'a PreparedStatement,
}

impl Scan<'_> {
    async fn run<R, T>(
        &self,
        after: Option<(UserId, PostId)>,
        limit: usize,
        convert: impl Fn(UserId, R) -> Option<T> + Copy,
    ) -> Result<Vec<T>, StoreError>
    where
        R: for<'frame> scylla::deserialize::row::DeserializeRow<'frame, 'frame>,
    {
        let mut found = Vec::new();
        let mut after_key = None;
        if let Some((key, post)) = after {
            found = self.partition(key, post, limit, convert).await?;
            after_key = Some((self.token(key)?, key));
        }
        while found.len() < limit {
            let listed = self.listed(after_key).await?;
            let Some(last) = listed.last() else { break };
            after_key = Some(*last);
            let missing = limit - found.len();
            let mut partitions =
                stream::iter(listed).map(|(_, key)| self.partition(key, PostId::MIN, missing, convert)).buffered(AHEAD);
            while found.len() < limit
                && let Some(some) = partitions.try_next().await?
            {
                found.extend(some);
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Rows of one partition above a post.
    async fn partition<R, T>(
        &self,
        key: UserId,
        above: PostId,
        limit: usize,
        convert: impl Fn(UserId, R) -> Option<T>,
    ) -> Result<Vec<T>, StoreError>
    where
        R: for<'frame> scylla::deserialize::row::DeserializeRow<'frame, 'frame>,
    {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let values = (self.number(), of_user(key), of_post(above), rows(limit));
        each_row(&self.timelines.session, self.read, values, |row: R| {
            found.extend(convert(key, row));
            ControlFlow::Continue(())
        })
        .await?;
        Ok(found)
    }

    /// The next partitions of the generation, by token and key: none at the end.
    async fn listed(&self, after: Option<(i64, UserId)>) -> Result<Vec<(i64, UserId)>, StoreError> {
        let from = after.map_or(i64::MIN, |(token, _)| token);
        let mut listed: Vec<(i64, UserId)> = Vec::new();
        each_row(&self.timelines.session, self.list, (from,), |(generation, key, token): Listed| {
            let partition = (token, user_of(key));
            if generation == self.number() && after.is_none_or(|after| partition > after) {
                listed.push(partition);
            }
            if listed.len() >= LISTED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        Ok(listed)
    }

    fn token(&self, key: UserId) -> Result<i64, StoreError> {
        let token = self.read.calculate_token(&(self.number(), of_user(key), of_post(PostId::MIN), 1));
        let unfit = |what: String| StoreError::Unfit(format!("Cassandra: no token of a partition: {what}"));
        let token = token.map_err(|error| unfit(error.to_string()))?;
        token.map(|token| token.value()).ok_or_else(|| unfit("the key is not known".to_owned()))
    }

    fn number(&self) -> i64 {
        let Generation(generation) = self.generation;
        i64::from(generation)
    }
}
