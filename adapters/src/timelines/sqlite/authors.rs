//! Authors' own timelines and their merge.

use domain::{PostId, UserId};
use rusqlite::{Connection, Row, params};

use crate::StoreError;
use crate::checkpoints::Generation;
use crate::sqlite::values::{Unsigned, is_of_one_row, page};
use crate::timelines::nearest::Nearest;
use crate::timelines::{AuthorEntry, Entry, Order, Span};

pub(super) fn write(
    connection: &Connection,
    Generation(generation): Generation,
    entries: &[AuthorEntry],
) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        r#"INSERT INTO author_posts (generation, author, post, deleted, sequence, partition, "offset", imported)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (generation, author, post) DO UPDATE
        SET deleted = excluded.deleted, sequence = excluded.sequence, partition = excluded.partition,
            "offset" = excluded."offset", imported = excluded.imported
        WHERE (excluded.sequence, -excluded."offset") > (author_posts.sequence, -author_posts."offset")"#,
    )?;
    for entry in entries {
        write.execute(params![
            generation,
            entry.author.as_bytes(),
            entry.post.as_bytes(),
            entry.deleted,
            Unsigned(entry.sequence),
            entry.partition,
            entry.offset,
            entry.imported,
        ])?;
    }
    Ok(())
}

/// What authors have published since, each partition from its own offset on.
pub(super) fn since(
    connection: &Connection,
    Generation(generation): Generation,
    authors: &[UserId],
    after: &[i64],
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let mut partition_of_author = connection.prepare_cached(
        r#"SELECT post, partition, "offset" FROM author_posts INDEXED BY author_posts_since
        WHERE generation = ?1 AND author = ?2 AND partition = ?3 AND "offset" > ?4 AND deleted = 0 AND imported = 0"#,
    )?;
    let mut partitions_beyond = connection.prepare_cached(
        r#"SELECT post, partition, "offset" FROM author_posts INDEXED BY author_posts_since
        WHERE generation = ?1 AND author = ?2 AND partition >= ?3 AND deleted = 0 AND imported = 0"#,
    )?;
    let beyond = u16::try_from(after.len()).unwrap_or(u16::MAX);
    let mut entries = Vec::new();
    for author in authors {
        let entry = |row: &Row<'_>| {
            let (post, partition, offset) = (PostId::from_bytes(row.get(0)?), row.get(1)?, row.get(2)?);
            Ok(Entry { post, author: *author, partition, offset })
        };
        for (partition, offset) in (0u16..).zip(after) {
            let values = params![generation, author.as_bytes(), partition, offset];
            let rows = partition_of_author.query_map(values, entry)?;
            entries.extend(page(rows, limit - entries.len())?);
        }
        let rows = partitions_beyond.query_map(params![generation, author.as_bytes(), beyond], entry)?;
        entries.extend(page(rows, limit - entries.len())?);
        if entries.len() == limit {
            break;
        }
    }
    Ok(entries)
}

/// Many timelines merged into one.
pub(super) struct Merge {
    limit: usize,
    nearest: Nearest,
}

impl Merge {
    pub(super) fn new(span: Span, limit: usize) -> Self {
        Self { limit, nearest: Nearest::new(span, limit) }
    }

    /// Adds the timelines of authors that were not added before.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        Generation(generation): Generation,
        authors: &[UserId],
    ) -> Result<(), StoreError> {
        if self.limit == 0 {
            return Ok(());
        }
        let mut statement = match self.nearest.span().order {
            Order::NewestFirst => connection.prepare_cached(
                r#"SELECT post, partition, iif(imported, -1, "offset") FROM author_posts
                WHERE generation = ?1 AND author = ?2 AND post > ?3 AND post < ?4 AND deleted = 0
                ORDER BY post DESC"#,
            )?,
            Order::OldestFirst => connection.prepare_cached(
                r#"SELECT post, partition, iif(imported, -1, "offset") FROM author_posts
                WHERE generation = ?1 AND author = ?2 AND post > ?3 AND post < ?4 AND deleted = 0
                ORDER BY post"#,
            )?,
        };
        for author in authors {
            let Span { above, below, .. } = self.nearest.span();
            let values = params![generation, author.as_bytes(), above.as_bytes(), below.as_bytes()];
            let mut rows = statement.query(values)?;
            while let Some(row) = rows.next()? {
                let read = || {
                    let (post, partition, offset) = (PostId::from_bytes(row.get(0)?), row.get(1)?, row.get(2)?);
                    Ok(Entry { post, author: *author, partition, offset })
                };
                match read() {
                    Ok(entry) if self.nearest.keep(entry) => {}
                    // The rest of this author's posts are farther still.
                    Ok(_) => break,
                    Err(error) if is_of_one_row(&error) => {
                        tracing::error!(%error, %author, "a damaged row is passed over");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.nearest.into_entries()
    }
}

pub(super) fn scan(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<(UserId, PostId)>,
    limit: usize,
) -> Result<Vec<AuthorEntry>, StoreError> {
    let mut statement = connection.prepare_cached(
        r#"SELECT author, post, deleted, sequence, partition, "offset", imported
        FROM author_posts WHERE generation = ?1 AND (author, post) > (?2, ?3) ORDER BY author, post"#,
    )?;
    let (author, post) = after.unwrap_or((UserId::MIN, PostId::MIN));
    let rows = statement.query_map(params![generation, author.as_bytes(), post.as_bytes()], |row| {
        Ok(AuthorEntry {
            author: UserId::from_bytes(row.get(0)?),
            post: PostId::from_bytes(row.get(1)?),
            deleted: row.get(2)?,
            sequence: row.get::<_, Unsigned>(3)?.0,
            partition: row.get(4)?,
            offset: row.get(5)?,
            imported: row.get(6)?,
        })
    })?;
    page(rows, limit)
}
