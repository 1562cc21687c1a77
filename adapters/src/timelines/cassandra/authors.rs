//! Authors' own timelines and their merge.
//!
//! A row of `author_news` only points: it is written together with the author's row, as one mutation, and what it points
//! at is read before it is believed. So it needs no guard against deletions and repeats of its own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use domain::stream::BEFORE_FIRST;
use domain::{PostId, UserId};
use futures::{StreamExt, TryStreamExt, stream};
use scylla::statement::batch::BatchType;
use scylla::statement::prepared::PreparedStatement;
use uuid::Uuid;

use super::statements::{batch_of, each_row, first_row, limit as rows, run};
use super::{CassandraTimelines, READS, damaged, guards, of_post, of_user, post_of};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::timelines::nearest::Nearest;
use crate::timelines::{AuthorEntry, Entry, Order, Span};

/// Rows of one author that a merge reads at a time, at least: authors whose posts are among the nearest have several.
const FEW: usize = 4;
/// And at most.
const MANY: usize = 1_000;
/// Posts that are looked up at a time.
const LOOKED_UP: usize = 100;

/// What a row of `author_posts` says, apart from its key.
type Row = (Uuid, Option<bool>, Option<bool>, Option<i32>, Option<i64>);

pub(super) async fn write(
    timelines: &CassandraTimelines,
    generation: Generation,
    entries: &[AuthorEntry],
) -> Result<(), StoreError> {
    let writes =
        stream::iter(entries.iter().copied()).map(|entry| timelines.in_turn(write_one(timelines, generation, entry)));
    writes.buffer_unordered(super::WRITES).try_collect().await
}

/// Row and pointers are of one partition key, so they are one mutation: there together or not at all.
async fn write_one(
    timelines: &CassandraTimelines,
    Generation(generation): Generation,
    entry: AuthorEntry,
) -> Result<(), StoreError> {
    let statements = &timelines.statements;
    let generation = i64::from(generation);
    let (author, post) = (of_user(entry.author), of_post(entry.post));
    let (partition, offset) = (i32::from(entry.partition), entry.offset);
    let guard = guards::author_row(&entry)?;
    // The guard has made sure that it is one.
    let sequence = i64::try_from(entry.sequence).unwrap_or(i64::MAX);
    let row = (generation, author, post, entry.deleted, entry.imported, sequence, partition, offset, guard);
    if entry.deleted || entry.imported {
        return run(&timelines.session, &statements.insert_author, row).await;
    }
    let pointer = guards::pointer(offset);
    let values =
        (row, (generation, author, partition, offset, post, pointer), (pointer, partition, offset, generation, author));
    let batch =
        batch_of(BatchType::Logged, &[&statements.insert_author, &statements.insert_news, &statements.raise_newest]);
    timelines.batch(&batch, values).await
}

pub(super) async fn merge(
    timelines: &CassandraTimelines,
    generation: Generation,
    authors: &[UserId],
    span: Span,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let nearest = Mutex::new(Nearest::new(span, limit));
    // An even share and as much again; whose posts lie nearest is read on.
    let first = (2 * limit / authors.len().max(1)).clamp(FEW, MANY).min(limit);
    stream::iter(authors.iter().copied())
        .map(|author| merge_one(timelines, generation, author, &nearest, first))
        .buffer_unordered(READS)
        .try_collect::<()>()
        .await?;
    Ok(nearest.into_inner().unwrap_or_else(PoisonError::into_inner).into_entries())
}

/// Reads one author's timeline as far as it has entries that are among the nearest of all.
async fn merge_one(
    timelines: &CassandraTimelines,
    Generation(generation): Generation,
    author: UserId,
    nearest: &Mutex<Nearest>,
    first: usize,
) -> Result<(), StoreError> {
    let statements = &timelines.statements;
    let mut size = first;
    let mut last: Option<PostId> = None;
    loop {
        // As narrow as the others have made it meanwhile.
        let Span { mut above, mut below, order } = nearest.lock().unwrap_or_else(PoisonError::into_inner).span();
        let statement = match order {
            Order::NewestFirst => {
                below = last.unwrap_or(below);
                &statements.author_newest_first
            }
            Order::OldestFirst => {
                above = last.unwrap_or(above);
                &statements.author_oldest_first
            }
        };
        if above >= below {
            return Ok(());
        }
        let (mut found, mut is_far) = (0, false);
        let values = (i64::from(generation), of_user(author), of_post(above), of_post(below), rows(size));
        each_row(&timelines.session, statement, values, |row: Row| {
            found += 1;
            last = Some(post_of(row.0));
            let Some(Found { entry, deleted: false, imported }) = found_of(author, row) else {
                return ControlFlow::Continue(());
            };
            let offset = if imported { BEFORE_FIRST } else { entry.offset };
            is_far = !nearest.lock().unwrap_or_else(PoisonError::into_inner).keep(Entry { offset, ..entry });
            // The rest of this author's posts are farther still.
            if is_far { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        if is_far || found < size {
            return Ok(());
        }
        size = (2 * size).min(MANY);
    }
}

pub(super) async fn since(
    timelines: &CassandraTimelines,
    generation: Generation,
    authors: &[UserId],
    after: &[i64],
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    if limit == 0 {
        return Ok(entries);
    }
    let mut found = stream::iter(authors.iter().copied())
        .map(|author| since_one(timelines, generation, author, after, limit))
        .buffer_unordered(READS);
    while let Some(some) = found.try_next().await? {
        entries.extend(some);
        if entries.len() >= limit {
            entries.truncate(limit);
            break;
        }
    }
    Ok(entries)
}

/// One author's news, of the partitions alone in which there are any.
async fn since_one(
    timelines: &CassandraTimelines,
    Generation(generation): Generation,
    author: UserId,
    after: &[i64],
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let key = (i64::from(generation), of_user(author));
    let session = &timelines.session;
    let newest: Option<(Option<BTreeMap<i32, i64>>,)> = first_row(session, &timelines.statements.newest, key).await?;
    let mut entries = Vec::new();
    for (partition, newest) in newest.and_then(|(newest,)| newest).unwrap_or_default() {
        let after = usize::try_from(partition).ok().and_then(|partition| after.get(partition));
        let after = after.copied().unwrap_or(BEFORE_FIRST);
        if newest <= after {
            continue;
        }
        let mut pointers: Vec<(Uuid, i64)> = Vec::new();
        let values = (key.0, key.1, partition, after);
        each_row(session, &timelines.statements.news, values, |(post, offset): (Option<Uuid>, i64)| {
            pointers.extend(post.map(|post| (post, offset)));
            ControlFlow::Continue(())
        })
        .await?;
        for some in pointers.chunks(LOOKED_UP) {
            entries.extend(pointed_at(timelines, key, author, partition, some).await?);
            if entries.len() >= limit {
                return Ok(entries);
            }
        }
    }
    Ok(entries)
}

/// The rows that are where the pointers say: not the deleted, and not where the log has a post once more.
async fn pointed_at(
    timelines: &CassandraTimelines,
    (generation, id): (i64, Uuid),
    author: UserId,
    partition: i32,
    pointers: &[(Uuid, i64)],
) -> Result<Vec<Entry>, StoreError> {
    let posts: Vec<Uuid> = pointers.iter().map(|(post, _)| *post).collect();
    let statement: &PreparedStatement = &timelines.statements.author_some;
    let mut entries = Vec::new();
    each_row(&timelines.session, statement, (generation, id, posts), |row: Row| {
        let place = (row.0, row.4.unwrap_or(BEFORE_FIRST));
        if row.3 == Some(partition)
            && pointers.contains(&place)
            && let Some(Found { entry, deleted: false, imported: false }) = found_of(author, row)
        {
            entries.push(entry);
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(entries)
}

struct Found {
    entry: Entry,
    deleted: bool,
    imported: bool,
}

fn found_of(author: UserId, row: Row) -> Option<Found> {
    let (id, Some(deleted), Some(imported), Some(partition), Some(offset)) = row else { return damaged(author, row.0) };
    let Ok(partition) = u16::try_from(partition) else { return damaged(author, id) };
    Some(Found { entry: Entry { post: post_of(id), author, partition, offset }, deleted, imported })
}
