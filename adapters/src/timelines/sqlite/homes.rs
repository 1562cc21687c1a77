//! Homes and their marks.

use domain::stream::BEFORE_FIRST;
use domain::{PostId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::StoreError;
use crate::checkpoints::Generation;
use crate::sqlite::values::page;
use crate::timelines::{Entry, Home, Order, Span};

/// Of two occurrences of `post.published` in the log, the first is where the post is. It may come second: a repeat can
/// be fanned out to a new follower before the author's posts are copied.
const INSERT: &str = r#"INSERT INTO homes (generation, owner, post, author, partition, "offset")
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO UPDATE SET "offset" = excluded."offset" WHERE excluded."offset" < homes."offset""#;

const MARK: &str = "SELECT mark FROM home_marks WHERE generation = ?1 AND owner = ?2";

/// One post into many homes. Homes that end above it do without, and are answered.
pub(super) fn write(
    connection: &Connection,
    Generation(generation): Generation,
    owners: &[UserId],
    entry: Entry,
) -> Result<Vec<UserId>, StoreError> {
    let mut without = Vec::new();
    let mut ends_above =
        connection.prepare_cached("SELECT 1 FROM home_marks WHERE generation = ?1 AND owner = ?2 AND mark >= ?3")?;
    ends_above.raw_bind_parameter(1, generation)?;
    ends_above.raw_bind_parameter(3, entry.post.as_bytes())?;
    let mut insert = connection.prepare_cached(INSERT)?;
    insert.raw_bind_parameter(1, generation)?;
    insert.raw_bind_parameter(3, entry.post.as_bytes())?;
    insert.raw_bind_parameter(4, entry.author.as_bytes())?;
    insert.raw_bind_parameter(5, entry.partition)?;
    insert.raw_bind_parameter(6, entry.offset)?;
    for owner in owners {
        ends_above.raw_bind_parameter(2, owner.as_bytes())?;
        if ends_above.raw_query().next()?.is_none() {
            insert.raw_bind_parameter(2, owner.as_bytes())?;
            insert.raw_execute()?;
        } else {
            without.push(*owner);
        }
    }
    Ok(without)
}

/// Many posts into one home, those above its mark.
pub(super) fn fill(
    connection: &Connection,
    generation: Generation,
    owner: UserId,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let mark = mark(connection, generation, owner)?;
    let Generation(generation) = generation;
    let mut insert = connection.prepare_cached(INSERT)?;
    for entry in entries.iter().filter(|entry| entry.post > mark) {
        let (owner, post, author) = (owner.as_bytes(), entry.post.as_bytes(), entry.author.as_bytes());
        insert.execute(params![generation, owner, post, author, entry.partition, entry.offset])?;
    }
    Ok(())
}

/// T2: the greater mark wins. What it leaves behind is of no use to anybody.
pub(super) fn raise_mark(
    connection: &Connection,
    Generation(generation): Generation,
    owner: UserId,
    mark: PostId,
) -> Result<(), StoreError> {
    let values = params![generation, owner.as_bytes(), mark.as_bytes()];
    let mut raise = connection.prepare_cached(
        "INSERT INTO home_marks (generation, owner, mark) VALUES (?1, ?2, ?3)
        ON CONFLICT (generation, owner) DO UPDATE SET mark = excluded.mark WHERE excluded.mark > home_marks.mark",
    )?;
    if raise.execute(values)? > 0 {
        connection
            .prepare_cached("DELETE FROM homes WHERE generation = ?1 AND owner = ?2 AND post <= ?3")?
            .execute(values)?;
    }
    Ok(())
}

pub(super) fn has_more_than(
    connection: &Connection,
    generation: Generation,
    owner: UserId,
    rows: usize,
) -> Result<bool, StoreError> {
    Ok(newest(connection, generation, owner, rows)?.is_some())
}

pub(super) fn trim(
    connection: &Connection,
    generation: Generation,
    owner: UserId,
    at: usize,
    to: usize,
) -> Result<(), StoreError> {
    if !has_more_than(connection, generation, owner, at)? {
        return Ok(());
    }
    match newest(connection, generation, owner, to)? {
        Some(first_left_out) => raise_mark(connection, generation, owner, first_left_out),
        None => Ok(()),
    }
}

/// The post with `newer` posts above it, if the home has so many above its mark.
fn newest(
    connection: &Connection,
    generation: Generation,
    owner: UserId,
    newer: usize,
) -> Result<Option<PostId>, StoreError> {
    let mark = mark(connection, generation, owner)?;
    let Generation(generation) = generation;
    let newer = i64::try_from(newer).unwrap_or(i64::MAX);
    let found = connection
        .prepare_cached(
            "SELECT post FROM homes WHERE generation = ?1 AND owner = ?2 AND post > ?3
            ORDER BY post DESC LIMIT 1 OFFSET ?4",
        )?
        .query_row(params![generation, owner.as_bytes(), mark.as_bytes(), newer], |row| row.get(0))
        .optional()?;
    Ok(found.map(PostId::from_bytes))
}

pub(super) fn read(
    connection: &Connection,
    generation: Generation,
    owner: UserId,
    span: Span,
    limit: usize,
) -> Result<Home, StoreError> {
    let mark = mark(connection, generation, owner)?;
    let Generation(generation) = generation;
    let mut statement = match span.order {
        Order::NewestFirst => connection.prepare_cached(
            r#"SELECT post, author, partition, "offset" FROM homes
            WHERE generation = ?1 AND owner = ?2 AND post > ?3 AND post < ?4 ORDER BY post DESC"#,
        )?,
        Order::OldestFirst => connection.prepare_cached(
            r#"SELECT post, author, partition, "offset" FROM homes
            WHERE generation = ?1 AND owner = ?2 AND post > ?3 AND post < ?4 ORDER BY post"#,
        )?,
    };
    let above = span.above.max(mark);
    let values = params![generation, owner.as_bytes(), above.as_bytes(), span.below.as_bytes()];
    let rows = statement.query_map(values, |row| entry_at(row, 0))?;
    Ok(Home { mark, entries: page(rows, limit)? })
}

/// A home has so few rows that looking at each costs less than an index that every fan-out would have to write.
pub(super) fn since(
    connection: &Connection,
    generation: Generation,
    owner: UserId,
    after: &[i64],
    limit: usize,
) -> Result<Home, StoreError> {
    let mark = mark(connection, generation, owner)?;
    let Generation(generation) = generation;
    let mut statement = connection.prepare_cached(
        r#"SELECT post, author, partition, "offset" FROM homes
        WHERE generation = ?1 AND owner = ?2 AND post > ?3 AND "offset" > ?4 ORDER BY post DESC"#,
    )?;
    let after = |partition: u16| after.get(usize::from(partition)).copied().unwrap_or(BEFORE_FIRST);
    let values = params![generation, owner.as_bytes(), mark.as_bytes(), BEFORE_FIRST];
    let rows = statement.query_map(values, |row| entry_at(row, 0))?;
    let since = rows.filter(|row| row.as_ref().map_or(true, |entry| entry.offset > after(entry.partition)));
    Ok(Home { mark, entries: page(since, limit)? })
}

fn mark(connection: &Connection, Generation(generation): Generation, owner: UserId) -> Result<PostId, StoreError> {
    let mut statement = connection.prepare_cached(MARK)?;
    let found = statement.query_row(params![generation, owner.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map_or(PostId::MIN, PostId::from_bytes))
}

pub(super) fn scan(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<(UserId, PostId)>,
    limit: usize,
) -> Result<Vec<(UserId, Entry)>, StoreError> {
    let mut statement = connection.prepare_cached(
        r#"SELECT owner, post, author, partition, "offset"
        FROM homes WHERE generation = ?1 AND (owner, post) > (?2, ?3) ORDER BY owner, post"#,
    )?;
    let (owner, post) = after.unwrap_or((UserId::MIN, PostId::MIN));
    let rows = statement.query_map(params![generation, owner.as_bytes(), post.as_bytes()], |row| {
        Ok((UserId::from_bytes(row.get(0)?), entry_at(row, 1)?))
    })?;
    page(rows, limit)
}

fn entry_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Entry> {
    Ok(Entry {
        post: PostId::from_bytes(row.get(first)?),
        author: UserId::from_bytes(row.get(first + 1)?),
        partition: row.get(first + 2)?,
        offset: row.get(first + 3)?,
    })
}
