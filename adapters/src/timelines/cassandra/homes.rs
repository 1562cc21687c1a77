//! Homes and their marks.

use std::ops::ControlFlow;
use std::sync::PoisonError;

use domain::stream::BEFORE_FIRST;
use domain::{PostId, UserId};
use futures::{StreamExt, TryStreamExt, stream};
use scylla::statement::batch::BatchType;
use scylla::statement::prepared::PreparedStatement;
use uuid::Uuid;

use super::statements::{batch_of, each_row, first_row, limit as rows, run};
use super::{CassandraTimelines, WRITES, damaged, guards, of_post, of_user, post_of, user_of};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::timelines::{Entry, Home, Order, Span};

/// Rows in one batch: one home is one partition, and a batch one mutation of it.
const FILLED_AT_ONCE: usize = 100;

/// The home's mark, and a row of it; none where there is a mark alone.
pub(super) type Row = (Option<Uuid>, Option<Uuid>, Option<Uuid>, Option<i32>, Option<i64>);

/// One post into many homes. See the first lines of the module above for the order of its steps.
pub(super) async fn write(
    timelines: &CassandraTimelines,
    generation: Generation,
    owners: &[UserId],
    entry: Entry,
) -> Result<Vec<UserId>, StoreError> {
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    stream::iter(owners.iter().copied())
        .map(|owner| {
            let row = row(generation, owner, entry);
            timelines.in_turn(run(&timelines.session, &timelines.statements.insert_home, row))
        })
        .buffer_unordered(WRITES)
        .try_collect::<()>()
        .await?;
    if entry.post > greatest_mark(timelines, generation).await? {
        return Ok(Vec::new());
    }
    let without = stream::iter(owners.iter().copied())
        .map(|owner| async move {
            let mark = timelines.in_turn(mark(timelines, generation, owner)).await?;
            Ok((mark >= entry.post).then_some(owner))
        })
        .buffered(WRITES)
        .try_filter_map(|owner| std::future::ready(Ok(owner)));
    without.try_collect().await
}

/// Many posts into one home. What is below its mark is below a deletion as well, or ignored.
pub(super) async fn fill(
    timelines: &CassandraTimelines,
    generation: Generation,
    owner: UserId,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let insert = &timelines.statements.insert_home;
    let rows: Vec<_> = entries.iter().map(|entry| row(generation, owner, *entry)).collect();
    let batches = rows.chunks(FILLED_AT_ONCE).map(<[_]>::to_vec).collect::<Vec<_>>();
    let writes = stream::iter(batches).map(|rows| {
        let batch = batch_of(BatchType::Unlogged, &vec![insert; rows.len()]);
        timelines.in_turn(async move { timelines.batch(&batch, rows).await })
    });
    writes.buffer_unordered(WRITES).try_collect().await
}

fn row(Generation(generation): Generation, owner: UserId, entry: Entry) -> (i64, Uuid, Uuid, Uuid, i32, i64, i64) {
    let Entry { post, author, partition, offset } = entry;
    let guard = guards::home_row(offset);
    let (owner, post, author) = (of_user(owner), of_post(post), of_user(author));
    (i64::from(generation), owner, post, author, i32::from(partition), offset, guard)
}

/// T2: the greater mark wins, whatever comes first. What it leaves behind is deleted by the same mutation.
pub(super) async fn raise_mark(
    timelines: &CassandraTimelines,
    generation: Generation,
    owner: UserId,
    mark: PostId,
) -> Result<(), StoreError> {
    raise_greatest_mark(timelines, generation, mark).await?;
    let statements = &timelines.statements;
    let Generation(generation) = generation;
    let (generation, owner, guard, mark) = (i64::from(generation), of_user(owner), guards::mark(mark), of_post(mark));
    let batch = batch_of(BatchType::Logged, &[&statements.set_mark, &statements.delete_below]);
    let values = ((guard, mark, generation, owner), (guards::BELOW_MARK, generation, owner, mark));
    timelines.in_turn(timelines.batch(&batch, values)).await
}

pub(super) async fn trim(
    timelines: &CassandraTimelines,
    generation: Generation,
    owner: UserId,
    at: usize,
    to: usize,
) -> Result<(), StoreError> {
    let Generation(number) = generation;
    let needed = at.max(to).saturating_add(1);
    let values = (i64::from(number), of_user(owner), rows(needed));
    let mut mark = PostId::MIN;
    let mut posts: Vec<PostId> = Vec::new();
    each_row(&timelines.session, &timelines.statements.home_posts, values, |row: (Option<Uuid>, Option<Uuid>)| {
        mark = mark.max(row.0.map_or(PostId::MIN, post_of));
        posts.extend(row.1.map(post_of));
        ControlFlow::Continue(())
    })
    .await?;
    posts.retain(|post| *post > mark);
    match posts.get(to) {
        Some(first_left_out) if posts.len() > at => raise_mark(timelines, generation, owner, *first_left_out).await,
        _ => Ok(()),
    }
}

pub(super) async fn read(
    timelines: &CassandraTimelines,
    generation: Generation,
    owner: UserId,
    span: Span,
    limit: usize,
) -> Result<Home, StoreError> {
    let statements = &timelines.statements;
    let Generation(number) = generation;
    let (key, count) = ((i64::from(number), of_user(owner)), rows(limit));
    let mut above = span.above;
    loop {
        let below = span.below;
        let mut seen = Seen::of(owner);
        if limit > 0 && above < below {
            let keep_all = |row: Row| {
                seen.see(row);
                ControlFlow::Continue(())
            };
            seen.answers = if span.order == Order::NewestFirst && below == PostId::MAX {
                // No span for Cassandra, so that even an empty home answers with its mark. No more rows are read for it.
                each_row(&timelines.session, &statements.home_top, (key.0, key.1, count), keep_all).await?
            } else {
                let statement = match span.order {
                    Order::NewestFirst => &statements.home_newest_first,
                    Order::OldestFirst => &statements.home_oldest_first,
                };
                let values = (key.0, key.1, of_post(above), of_post(below), count);
                each_row(&timelines.session, statement, values, keep_all).await?
            };
        }
        let rows_read = seen.entries.len();
        let mut home = seen.into_home(timelines, generation).await?;
        home.entries.retain(|entry| entry.post > above);
        let are_missing = span.order == Order::OldestFirst && home.entries.len() < rows_read && rows_read >= limit;
        if !are_missing || home.mark <= above {
            return Ok(home);
        }
        // Rows that were left behind below the mark have taken the place of some above it.
        above = home.mark;
    }
}

/// A home has so few rows that looking at each costs less than a table of pointers that every fan-out would have to write.
pub(super) async fn since(
    timelines: &CassandraTimelines,
    generation: Generation,
    owner: UserId,
    after: &[i64],
    limit: usize,
) -> Result<Home, StoreError> {
    let Generation(number) = generation;
    let after = |partition: u16| after.get(usize::from(partition)).copied().unwrap_or(BEFORE_FIRST);
    let mut seen = Seen::of(owner);
    let mut news = Vec::new();
    let values = (i64::from(number), of_user(owner), i32::MAX);
    seen.answers = each_row(&timelines.session, &timelines.statements.home_top, values, |row: Row| {
        seen.see(row);
        let Some(entry) = seen.entries.pop() else { return ControlFlow::Continue(()) };
        if entry.offset > after(entry.partition).max(BEFORE_FIRST) {
            news.push(entry);
        }
        let is_enough = news.len() >= limit || seen.mark >= Some(entry.post);
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    news.truncate(limit);
    seen.entries = news;
    seen.into_home(timelines, generation).await
}

/// What answers about one home have held so far.
struct Seen {
    owner: UserId,
    answers: usize,
    mark: Option<PostId>,
    entries: Vec<Entry>,
    /// Whether there was a row, with a post or for the mark alone, that would have shown a mark.
    any: bool,
}

impl Seen {
    fn of(owner: UserId) -> Self {
        Self { owner, answers: 0, mark: None, entries: Vec::new(), any: false }
    }

    fn see(&mut self, row: Row) {
        self.any = true;
        self.mark = self.mark.max(row.0.map(post_of));
        self.entries.extend(entry_of(self.owner, row));
    }

    /// Rows that one answer held came with their mark. Else the mark is read now, after them: it can only claim less.
    async fn into_home(self, timelines: &CassandraTimelines, generation: Generation) -> Result<Home, StoreError> {
        let mut mark = self.mark.unwrap_or(PostId::MIN);
        if !self.any || self.answers != 1 {
            mark = mark.max(self::mark(timelines, generation, self.owner).await?);
        }
        let mut entries = self.entries;
        entries.retain(|entry| entry.post > mark);
        Ok(Home { mark, entries })
    }
}

/// A row's entry; none of the row that is there for the mark alone.
pub(super) fn entry_of(owner: UserId, row: Row) -> Option<Entry> {
    let post = row.1?;
    let (_, _, Some(author), Some(partition), Some(offset)) = row else { return damaged(owner, post) };
    let Ok(partition) = u16::try_from(partition) else { return damaged(owner, post) };
    Some(Entry { post: post_of(post), author: user_of(author), partition, offset })
}

async fn mark(
    timelines: &CassandraTimelines,
    Generation(generation): Generation,
    owner: UserId,
) -> Result<PostId, StoreError> {
    one_mark(timelines, &timelines.statements.mark, (i64::from(generation), of_user(owner))).await
}

async fn greatest_mark(
    timelines: &CassandraTimelines,
    Generation(generation): Generation,
) -> Result<PostId, StoreError> {
    one_mark(timelines, &timelines.statements.greatest_mark, (i64::from(generation),)).await
}

async fn one_mark(
    timelines: &CassandraTimelines,
    statement: &PreparedStatement,
    key: impl scylla::serialize::row::SerializeRow,
) -> Result<PostId, StoreError> {
    let found: Option<(Option<Uuid>,)> = first_row(&timelines.session, statement, key).await?;
    Ok(found.and_then(|(mark,)| mark).map_or(PostId::MIN, post_of))
}

/// Before any home's mark. What this process has raised it to already, or has seen it to be, costs nothing: as marks
/// trail behind, most are below it.
async fn raise_greatest_mark(
    timelines: &CassandraTimelines,
    generation: Generation,
    mark: PostId,
) -> Result<(), StoreError> {
    let known = || timelines.greatest_marks.lock().unwrap_or_else(PoisonError::into_inner);
    if known().get(&generation).is_some_and(|known| *known >= mark) {
        return Ok(());
    }
    let Generation(number) = generation;
    let values = (guards::mark(mark), of_post(mark), i64::from(number));
    timelines.in_turn(run(&timelines.session, &timelines.statements.set_greatest_mark, values)).await?;
    // Only now that it is acknowledged.
    let mut known = known();
    let newest = known.entry(generation).or_insert(mark);
    *newest = (*newest).max(mark);
    Ok(())
}
