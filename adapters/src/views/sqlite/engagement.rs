//! Counts, comments and reactions. Queries that need another index than the key's name it, as those of [`super::edges`]
//! do.

use domain::stream::BEFORE_FIRST;
use domain::text::CommentText;
use domain::{CommentId, PostId, Timestamp, UserId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::StoreError;
use crate::checkpoints::Generation;
use crate::sqlite::values::{Unsigned, is_of_one_row, page};
use crate::views::{CommentRow, Counts, EngagementLookup, EngagementRows, EngagementUpdate, PostRow, ReactionRow};

const POST: &str = "SELECT likes, comments, position, listed, sequence, changed, deleted
    FROM posts WHERE generation = ?1 AND post = ?2";

const COMMENT: &str = "SELECT post, comment, author, parent, text, edited_at, sequence, created, position
    FROM comments WHERE generation = ?1 AND post = ?2 AND comment = ?3";

const REACTION: &str = "SELECT post, user, liked, sequence, position
    FROM reactions WHERE generation = ?1 AND post = ?2 AND user = ?3";

/// What batches need to know before they are applied.
pub(super) fn rows(
    connection: &Connection,
    Generation(generation): Generation,
    lookups: &[EngagementLookup],
) -> Result<Vec<EngagementRows>, StoreError> {
    let mut posts = connection.prepare_cached(POST)?;
    let mut comments = connection.prepare_cached(COMMENT)?;
    let mut reactions = connection.prepare_cached(REACTION)?;
    lookups
        .iter()
        .map(|lookup| {
            let post = lookup.post.as_bytes();
            let mut found = EngagementRows {
                post: posts.query_row(params![generation, post], |row| post_at(row, 0)).optional()?.unwrap_or_default(),
                ..EngagementRows::default()
            };
            for comment in &lookup.comments {
                let key = params![generation, post, comment.as_bytes()];
                found.comments.extend(comments.query_row(key, comment_at).optional()?);
            }
            for user in &lookup.users {
                let key = params![generation, post, user.as_bytes()];
                found.reactions.extend(reactions.query_row(key, reaction_at).optional()?);
            }
            Ok(found)
        })
        .collect()
}

/// Writes batches; an error leaves it to the caller's transaction to undo those before it.
pub(super) fn write(
    connection: &Connection,
    generation: Generation,
    updates: &[EngagementUpdate],
) -> Result<(), StoreError> {
    for update in updates {
        write_counts(connection, generation, update)?;
        write_comments(connection, generation, &update.comments)?;
        write_reactions(connection, generation, &update.reactions)?;
        super::versions::write(connection, generation, update)?;
    }
    Ok(())
}

fn write_counts(
    connection: &Connection,
    Generation(generation): Generation,
    update: &EngagementUpdate,
) -> Result<(), StoreError> {
    let row = &update.row;
    // C3: besides being the one that the counts were computed from, a position is only left for a later one.
    let mut replace = connection.prepare_cached(
        "UPDATE posts
        SET likes = ?4, comments = ?5, position = ?6, listed = ?7, sequence = ?8, changed = ?9, deleted = ?10
        WHERE generation = ?1 AND post = ?2 AND position = ?3 AND position <= ?6",
    )?;
    let values = params![
        generation,
        update.post.as_bytes(),
        update.expected_position,
        Unsigned(row.likes),
        Unsigned(row.comments),
        row.position,
        row.listed,
        Unsigned(row.sequence),
        row.changed,
        row.deleted,
    ];
    if replace.execute(values)? == 1 {
        return Ok(());
    }
    if update.expected_position == BEFORE_FIRST {
        let mut insert = connection.prepare_cached(
            "INSERT INTO posts
            (generation, post, likes, comments, position, listed, sequence, changed, deleted)
            SELECT ?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE ?3 <= ?6
            ON CONFLICT DO NOTHING",
        )?;
        if insert.execute(values)? == 1 {
            return Ok(());
        }
    }
    let (post, expected, position) = (update.post, update.expected_position, row.position);
    Err(StoreError::Overtaken(format!("the counts of post {post} do not go from {expected} to {position}")))
}

fn write_comments(
    connection: &Connection,
    Generation(generation): Generation,
    rows: &[CommentRow],
) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO comments
        (generation, post, comment, author, parent, text, edited_at, sequence, created, position)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (generation, post, comment) DO UPDATE
        SET author = excluded.author, parent = excluded.parent, text = excluded.text, edited_at = excluded.edited_at,
            sequence = excluded.sequence, created = excluded.created, position = excluded.position
        WHERE excluded.sequence > comments.sequence",
    )?;
    for row in rows {
        write.execute(params![
            generation,
            row.post.as_bytes(),
            row.comment.as_bytes(),
            row.author.as_bytes(),
            row.parent.as_ref().map(CommentId::as_bytes),
            row.text.as_ref().map(CommentText::as_str),
            row.edited_at.map(Timestamp::as_millis),
            Unsigned(row.sequence),
            row.created,
            row.position,
        ])?;
    }
    Ok(())
}

fn write_reactions(
    connection: &Connection,
    Generation(generation): Generation,
    rows: &[ReactionRow],
) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO reactions (generation, post, user, liked, sequence, position)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (generation, post, user) DO UPDATE
        SET liked = excluded.liked, sequence = excluded.sequence, position = excluded.position
        WHERE excluded.sequence > reactions.sequence",
    )?;
    for row in rows {
        let (post, user) = (row.post.as_bytes(), row.user.as_bytes());
        write.execute(params![generation, post, user, row.liked, Unsigned(row.sequence), row.position])?;
    }
    Ok(())
}

/// The counts of many posts. What is the same for all of them is bound once.
pub(super) fn counts(
    connection: &Connection,
    Generation(generation): Generation,
    posts: &[PostId],
) -> Result<Vec<Counts>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT likes, comments, position FROM posts WHERE generation = ?1 AND post = ?2")?;
    statement.raw_bind_parameter(1, generation)?;
    let mut answer = Vec::with_capacity(posts.len());
    for post in posts {
        statement.raw_bind_parameter(2, post.as_bytes())?;
        let mut found = statement.raw_query();
        let read = found
            .next()?
            .map(|row| Ok(Counts { likes: unsigned(row, 0)?, comments: unsigned(row, 1)?, position: row.get(2)? }));
        answer.push(match read.transpose() {
            Ok(read) => read.unwrap_or_default(),
            // Numbers that cannot be read must not take the page along (R1).
            Err(error) if is_of_one_row(&error) => {
                tracing::error!(%error, %post, "damaged counts are shown as none");
                Counts::default()
            }
            Err(error) => return Err(error.into()),
        });
    }
    Ok(answer)
}

/// Which of many posts somebody likes.
pub(super) fn liked(
    connection: &Connection,
    Generation(generation): Generation,
    user: UserId,
    posts: &[PostId],
) -> Result<Vec<bool>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM reactions WHERE generation = ?1 AND post = ?2 AND user = ?3 AND liked = 1")?;
    statement.raw_bind_parameter(1, generation)?;
    statement.raw_bind_parameter(3, user.as_bytes())?;
    let mut answer = Vec::with_capacity(posts.len());
    for post in posts {
        statement.raw_bind_parameter(2, post.as_bytes())?;
        answer.push(statement.raw_query().next()?.is_some());
    }
    Ok(answer)
}

pub(super) fn post(
    connection: &Connection,
    Generation(generation): Generation,
    post: PostId,
) -> Result<PostRow, StoreError> {
    let mut statement = connection.prepare_cached(POST)?;
    let found = statement.query_row(params![generation, post.as_bytes()], |row| post_at(row, 0)).optional()?;
    Ok(found.unwrap_or_default())
}

pub(super) fn comments(
    connection: &Connection,
    Generation(generation): Generation,
    post: PostId,
    before: Option<CommentId>,
    limit: usize,
) -> Result<Vec<CommentRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT post, comment, author, parent, text, edited_at, sequence, created, position
        FROM comments INDEXED BY comments_shown
        WHERE generation = ?1 AND post = ?2 AND comment < ?3 AND text IS NOT NULL
        ORDER BY comment DESC",
    )?;
    let before = before.unwrap_or(CommentId::MAX);
    let values = params![generation, post.as_bytes(), before.as_bytes()];
    let rows = statement.query_map(values, comment_at)?;
    page(rows, limit)
}

pub(super) fn comments_changed(
    connection: &Connection,
    Generation(generation): Generation,
    post: PostId,
    after: i64,
    limit: usize,
) -> Result<Vec<CommentRow>, StoreError> {
    // `position` is never below `created`, so it alone finds both.
    let mut statement = connection.prepare_cached(
        "SELECT post, comment, author, parent, text, edited_at, sequence, created, position
        FROM comments INDEXED BY comments_changed
        WHERE generation = ?1 AND post = ?2 AND position > ?3
        ORDER BY position",
    )?;
    let rows = statement.query_map(params![generation, post.as_bytes(), after], comment_at)?;
    page(rows, limit)
}

pub(super) fn likes(
    connection: &Connection,
    Generation(generation): Generation,
    post: PostId,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<ReactionRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT post, user, liked, sequence, position
        FROM reactions INDEXED BY reactions_liked
        WHERE generation = ?1 AND post = ?2 AND position < ?3 AND liked = 1
        ORDER BY position DESC",
    )?;
    let values = params![generation, post.as_bytes(), before.unwrap_or(i64::MAX)];
    let rows = statement.query_map(values, reaction_at)?;
    page(rows, limit)
}

pub(super) fn scan_posts(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<PostId>,
    limit: usize,
) -> Result<Vec<(PostId, PostRow)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT post, likes, comments, position, listed, sequence, changed, deleted
        FROM posts WHERE generation = ?1 AND post > ?2 ORDER BY post",
    )?;
    let after = after.unwrap_or(PostId::MIN);
    let rows = statement.query_map(params![generation, after.as_bytes()], |row| {
        Ok((PostId::from_bytes(row.get(0)?), post_at(row, 1)?))
    })?;
    page(rows, limit)
}

pub(super) fn scan_comments(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<(PostId, CommentId)>,
    limit: usize,
) -> Result<Vec<CommentRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT post, comment, author, parent, text, edited_at, sequence, created, position
        FROM comments WHERE generation = ?1 AND (post, comment) > (?2, ?3) ORDER BY post, comment",
    )?;
    let (post, comment) = after.unwrap_or((PostId::MIN, CommentId::MIN));
    let values = params![generation, post.as_bytes(), comment.as_bytes()];
    let rows = statement.query_map(values, comment_at)?;
    page(rows, limit)
}

pub(super) fn scan_reactions(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<(PostId, UserId)>,
    limit: usize,
) -> Result<Vec<ReactionRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT post, user, liked, sequence, position
        FROM reactions WHERE generation = ?1 AND (post, user) > (?2, ?3) ORDER BY post, user",
    )?;
    let (post, user) = after.unwrap_or((PostId::MIN, UserId::MIN));
    let rows = statement.query_map(params![generation, post.as_bytes(), user.as_bytes()], reaction_at)?;
    page(rows, limit)
}

fn post_at(row: &Row<'_>, first: usize) -> rusqlite::Result<PostRow> {
    Ok(PostRow {
        likes: unsigned(row, first)?,
        comments: unsigned(row, first + 1)?,
        position: row.get(first + 2)?,
        listed: row.get(first + 3)?,
        sequence: unsigned(row, first + 4)?,
        changed: row.get(first + 5)?,
        deleted: row.get(first + 6)?,
    })
}

fn comment_at(row: &Row<'_>) -> rusqlite::Result<CommentRow> {
    let text: Option<String> = row.get(4)?;
    // Stored as it was checked once; checked again, so that damage is seen and not shown.
    let text = text
        .map(CommentText::try_from)
        .transpose()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(4, Type::Text, error.into()))?;
    Ok(CommentRow {
        post: PostId::from_bytes(row.get(0)?),
        comment: CommentId::from_bytes(row.get(1)?),
        author: UserId::from_bytes(row.get(2)?),
        parent: row.get::<_, Option<[u8; 16]>>(3)?.map(CommentId::from_bytes),
        text,
        edited_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
        sequence: unsigned(row, 6)?,
        created: row.get(7)?,
        position: row.get(8)?,
    })
}

fn reaction_at(row: &Row<'_>) -> rusqlite::Result<ReactionRow> {
    Ok(ReactionRow {
        post: PostId::from_bytes(row.get(0)?),
        user: UserId::from_bytes(row.get(1)?),
        liked: row.get(2)?,
        sequence: unsigned(row, 3)?,
        position: row.get(4)?,
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|Unsigned(number)| number)
}
