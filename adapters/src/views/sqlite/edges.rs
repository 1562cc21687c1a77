//! Who follows, blocks and mutes whom, and which authors are hot.
//!
//! Queries name the index that they were written for: without statistics SQLite thinks that all rows of a generation
//! are a few, and would rather walk through them than use another index than the key's.

use domain::UserId;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::StoreError;
use crate::checkpoints::Generation;
use crate::sqlite::values::{Unsigned, page};
use crate::views::{Edge, EdgeChange, EdgeField, EdgeList, RelationView};

pub(super) fn write(
    connection: &Connection,
    Generation(generation): Generation,
    changes: &[EdgeChange],
) -> Result<(), StoreError> {
    // T3: each part of a direction keeps what it is, and none changes for an older sequence.
    let mut following = connection.prepare_cached(
        "INSERT INTO edges (generation, from_user, to_user, following, blocking, sequence)
        VALUES (?1, ?2, ?3, ?4, 0, ?5)
        ON CONFLICT (generation, from_user, to_user) DO UPDATE
        SET following = excluded.following, sequence = excluded.sequence
        WHERE excluded.sequence > edges.sequence",
    )?;
    let mut blocking = connection.prepare_cached(
        "INSERT INTO edges (generation, from_user, to_user, following, blocking, sequence)
        VALUES (?1, ?2, ?3, 0, ?4, ?5)
        ON CONFLICT (generation, from_user, to_user) DO UPDATE
        SET blocking = excluded.blocking, sequence = excluded.sequence
        WHERE excluded.sequence > edges.sequence",
    )?;
    let mut muting = connection.prepare_cached(
        "INSERT INTO edges (generation, from_user, to_user, following, blocking, muting, sequence)
        VALUES (?1, ?2, ?3, 0, 0, ?4, ?5)
        ON CONFLICT (generation, from_user, to_user) DO UPDATE
        SET muting = excluded.muting, sequence = excluded.sequence
        WHERE excluded.sequence > edges.sequence",
    )?;
    for change in changes {
        let (write, value) = match change.what {
            EdgeField::Following(value) => (&mut following, value),
            EdgeField::Blocking(value) => (&mut blocking, value),
            EdgeField::Muting(value) => (&mut muting, value),
        };
        let (from, to) = (change.from.as_bytes(), change.to.as_bytes());
        write.execute(params![generation, from, to, value, Unsigned(change.sequence)])?;
    }
    Ok(())
}

/// Every home asks for it about all authors on the page, so the viewer is bound once.
pub(super) fn relations(
    connection: &Connection,
    Generation(generation): Generation,
    viewer: UserId,
    others: &[UserId],
) -> Result<Vec<RelationView>, StoreError> {
    // Each direction's truth values as one number, so that one row holds both directions.
    let mut statement = connection.prepare_cached(
        "SELECT
            (SELECT following | (blocking << 1) | (muting << 2)
                FROM edges WHERE generation = ?1 AND from_user = ?2 AND to_user = ?3),
            (SELECT following | (blocking << 1) FROM edges WHERE generation = ?1 AND from_user = ?3 AND to_user = ?2)",
    )?;
    statement.raw_bind_parameter(1, generation)?;
    statement.raw_bind_parameter(2, viewer.as_bytes())?;
    let mut answer = Vec::with_capacity(others.len());
    for other in others {
        statement.raw_bind_parameter(3, other.as_bytes())?;
        let mut found = statement.raw_query();
        let (mine, theirs) = match found.next()? {
            Some(row) => (row.get::<_, Option<i64>>(0)?.unwrap_or(0), row.get::<_, Option<i64>>(1)?.unwrap_or(0)),
            None => (0, 0),
        };
        answer.push(RelationView {
            following: mine & 1 != 0,
            followed_by: theirs & 1 != 0,
            blocking: mine & 2 != 0,
            blocked_by: theirs & 2 != 0,
            muting: mine & 4 != 0,
        });
    }
    Ok(answer)
}

pub(super) fn followers(
    connection: &Connection,
    Generation(generation): Generation,
    author: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT from_user FROM edges INDEXED BY edges_followers
        WHERE generation = ?1 AND to_user = ?2 AND from_user > ?3 AND following = 1 ORDER BY from_user",
    )?;
    let after = after.unwrap_or(UserId::MIN);
    let rows = statement.query_map(params![generation, author.as_bytes(), after.as_bytes()], user_at)?;
    page(rows, limit)
}

pub(super) fn following(
    connection: &Connection,
    Generation(generation): Generation,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT to_user FROM edges
        WHERE generation = ?1 AND from_user = ?2 AND to_user > ?3 AND following = 1 ORDER BY to_user",
    )?;
    let after = after.unwrap_or(UserId::MIN);
    let rows = statement.query_map(params![generation, user.as_bytes(), after.as_bytes()], user_at)?;
    page(rows, limit)
}

pub(super) fn blocked_with(
    connection: &Connection,
    Generation(generation): Generation,
    user: UserId,
) -> Result<Vec<UserId>, StoreError> {
    // UNION: who blocks each other is one person all the same.
    let mut statement = connection.prepare_cached(
        "SELECT to_user FROM edges INDEXED BY edges_blocking
        WHERE generation = ?1 AND from_user = ?2 AND blocking = 1
        UNION
        SELECT from_user FROM edges INDEXED BY edges_blocked
        WHERE generation = ?1 AND to_user = ?2 AND blocking = 1",
    )?;
    let rows = statement.query_map(params![generation, user.as_bytes()], user_at)?;
    page(rows, usize::MAX)
}

pub(super) fn stamp(
    connection: &Connection,
    Generation(generation): Generation,
    user: UserId,
) -> Result<i64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT stamp FROM relation_stamps WHERE generation = ?1 AND user = ?2")?;
    let stamp = statement.query_row(params![generation, user.as_bytes()], |row| row.get(0)).optional()?;
    Ok(stamp.unwrap_or(0))
}

/// Random and not counted: after a loss of power, or when all is built again, the same changes may come in another
/// order, and a count would come to the same.
pub(super) fn renew_stamps(
    connection: &Connection,
    Generation(generation): Generation,
    users: &[UserId],
) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO relation_stamps (generation, user, stamp) VALUES (?1, ?2, random())
        ON CONFLICT (generation, user) DO UPDATE SET stamp = excluded.stamp",
    )?;
    for user in users {
        write.execute(params![generation, user.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn list(
    connection: &Connection,
    Generation(generation): Generation,
    user: UserId,
    list: EdgeList,
    before: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let mut statement = connection.prepare_cached(match list {
        EdgeList::Blocking => {
            "SELECT to_user FROM edges INDEXED BY edges_blocking
            WHERE generation = ?1 AND from_user = ?2 AND to_user < ?3 AND blocking = 1 ORDER BY to_user DESC"
        }
        EdgeList::Muting => {
            "SELECT to_user FROM edges INDEXED BY edges_muting
            WHERE generation = ?1 AND from_user = ?2 AND to_user < ?3 AND muting = 1 ORDER BY to_user DESC"
        }
    })?;
    let before = before.unwrap_or(UserId::MAX);
    let rows = statement.query_map(params![generation, user.as_bytes(), before.as_bytes()], user_at)?;
    page(rows, limit)
}

pub(super) fn mark_hot(
    connection: &Connection,
    Generation(generation): Generation,
    authors: &[UserId],
) -> Result<(), StoreError> {
    let mut write = connection
        .prepare_cached("INSERT INTO hot_authors (generation, author) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for author in authors {
        write.execute(params![generation, author.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn hot(
    connection: &Connection,
    Generation(generation): Generation,
    authors: &[UserId],
) -> Result<Vec<UserId>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM hot_authors WHERE generation = ?1 AND author = ?2")?;
    let mut hot = Vec::new();
    for author in authors {
        if statement.exists(params![generation, author.as_bytes()])? {
            hot.push(*author);
        }
    }
    Ok(hot)
}

pub(super) fn hot_followed(
    connection: &Connection,
    Generation(generation): Generation,
    user: UserId,
) -> Result<Vec<UserId>, StoreError> {
    // CROSS JOIN keeps the order of the tables: hot authors are few, and a user may follow thousands.
    let mut statement = connection.prepare_cached(
        "SELECT hot_authors.author
        FROM hot_authors CROSS JOIN edges
        WHERE hot_authors.generation = ?1 AND edges.generation = ?1 AND edges.from_user = ?2
            AND edges.to_user = hot_authors.author AND edges.following = 1",
    )?;
    let rows = statement.query_map(params![generation, user.as_bytes()], user_at)?;
    page(rows, usize::MAX)
}

pub(super) fn scan(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<(UserId, UserId)>,
    limit: usize,
) -> Result<Vec<Edge>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT from_user, to_user, following, blocking, muting, sequence
        FROM edges WHERE generation = ?1 AND (from_user, to_user) > (?2, ?3) ORDER BY from_user, to_user",
    )?;
    let (from, to) = after.unwrap_or((UserId::MIN, UserId::MIN));
    let rows = statement.query_map(params![generation, from.as_bytes(), to.as_bytes()], |row| {
        Ok(Edge {
            from: user_at(row)?,
            to: UserId::from_bytes(row.get(1)?),
            following: row.get(2)?,
            blocking: row.get(3)?,
            muting: row.get(4)?,
            sequence: row.get::<_, Unsigned>(5)?.0,
        })
    })?;
    page(rows, limit)
}

fn user_at(row: &Row<'_>) -> rusqlite::Result<UserId> {
    row.get(0).map(UserId::from_bytes)
}
