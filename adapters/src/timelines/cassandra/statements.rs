//! The statements, prepared once, and how they are run.

use std::ops::ControlFlow;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::Statement;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::connection::{Connection, failed, not_prepared};
use crate::StoreError;

/// Rows in one answer: a home is one, and what is longer is read in several.
const PAGE: i32 = 5_000;
/// Partitions of one generation that are listed at a time.
pub(super) const LISTED: usize = 64;
/// And in one answer: those of other generations are among them.
const PARTITIONS: i32 = 512;

/// What is asked of a home.
const ROW_OF_HOME: &str = r#"mark, post, author, partition, "offset""#;

/// All statements.
pub(super) struct Statements {
    pub(super) insert_author: PreparedStatement,
    pub(super) insert_news: PreparedStatement,
    pub(super) raise_newest: PreparedStatement,
    pub(super) author_newest_first: PreparedStatement,
    pub(super) author_oldest_first: PreparedStatement,
    pub(super) author_some: PreparedStatement,
    pub(super) newest: PreparedStatement,
    pub(super) news: PreparedStatement,
    pub(super) insert_home: PreparedStatement,
    pub(super) set_mark: PreparedStatement,
    pub(super) delete_below: PreparedStatement,
    pub(super) mark: PreparedStatement,
    pub(super) home_top: PreparedStatement,
    pub(super) home_newest_first: PreparedStatement,
    pub(super) home_oldest_first: PreparedStatement,
    pub(super) home_posts: PreparedStatement,
    pub(super) set_greatest_mark: PreparedStatement,
    pub(super) greatest_mark: PreparedStatement,
    pub(super) list_authors: PreparedStatement,
    pub(super) scan_author: PreparedStatement,
    pub(super) list_owners: PreparedStatement,
    pub(super) scan_home: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(connection: &Connection) -> Result<Self, StoreError> {
        let read = Preparing { session: &connection.session, profile: &connection.reads };
        let write = Preparing { session: &connection.session, profile: &connection.writes };
        let author = |order| {
            format!(
                r#"SELECT post, deleted, imported, partition, "offset" FROM author_posts
                WHERE generation = ? AND author = ? AND post > ? AND post < ? ORDER BY post {order} LIMIT ?"#
            )
        };
        let home = |order| {
            format!(
                "SELECT {ROW_OF_HOME} FROM homes
                WHERE generation = ? AND owner = ? AND post > ? AND post < ? ORDER BY post {order} LIMIT ?"
            )
        };
        let list = |table, key| {
            format!(
                "SELECT DISTINCT generation, {key}, token(generation, {key}) FROM {table}
                WHERE token(generation, {key}) >= ?"
            )
        };
        Ok(Self {
            insert_author: write
                .prepare(
                    r#"INSERT INTO author_posts
                    (generation, author, post, deleted, imported, sequence, partition, "offset")
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"#,
                )
                .await?,
            insert_news: write
                .prepare(
                    r#"INSERT INTO author_news (generation, author, partition, "offset", post)
                    VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"#,
                )
                .await?,
            raise_newest: write
                .prepare("UPDATE author_news USING TIMESTAMP ? SET newest[?] = ? WHERE generation = ? AND author = ?")
                .await?,
            author_newest_first: read.prepare(&author("DESC")).await?,
            author_oldest_first: read.prepare(&author("ASC")).await?,
            author_some: read
                .prepare(
                    r#"SELECT post, deleted, imported, partition, "offset" FROM author_posts
                    WHERE generation = ? AND author = ? AND post IN ?"#,
                )
                .await?,
            newest: read.prepare("SELECT DISTINCT newest FROM author_news WHERE generation = ? AND author = ?").await?,
            news: read
                .prepare(
                    r#"SELECT post, "offset" FROM author_news
                    WHERE generation = ? AND author = ? AND partition = ? AND "offset" > ?"#,
                )
                .await?,
            insert_home: write
                .prepare(
                    r#"INSERT INTO homes (generation, owner, post, author, partition, "offset")
                    VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"#,
                )
                .await?,
            set_mark: write
                .prepare("UPDATE homes USING TIMESTAMP ? SET mark = ? WHERE generation = ? AND owner = ?")
                .await?,
            delete_below: write
                .prepare("DELETE FROM homes USING TIMESTAMP ? WHERE generation = ? AND owner = ? AND post <= ?")
                .await?,
            mark: read.prepare("SELECT DISTINCT mark FROM homes WHERE generation = ? AND owner = ?").await?,
            home_top: read
                .prepare(&format!(
                    "SELECT {ROW_OF_HOME} FROM homes WHERE generation = ? AND owner = ? ORDER BY post DESC LIMIT ?"
                ))
                .await?,
            home_newest_first: read.prepare(&home("DESC")).await?,
            home_oldest_first: read.prepare(&home("ASC")).await?,
            home_posts: read
                .prepare("SELECT mark, post FROM homes WHERE generation = ? AND owner = ? ORDER BY post DESC LIMIT ?")
                .await?,
            set_greatest_mark: write
                .prepare("UPDATE greatest_marks USING TIMESTAMP ? SET mark = ? WHERE generation = ?")
                .await?,
            greatest_mark: read.prepare("SELECT mark FROM greatest_marks WHERE generation = ?").await?,
            list_authors: read.pages_of(PARTITIONS, &list("author_posts", "author")).await?,
            scan_author: read
                .prepare(
                    r#"SELECT post, deleted, imported, sequence, partition, "offset" FROM author_posts
                    WHERE generation = ? AND author = ? AND post > ? ORDER BY post ASC LIMIT ?"#,
                )
                .await?,
            list_owners: read.pages_of(PARTITIONS, &list("homes", "owner")).await?,
            scan_home: read
                .prepare(&format!(
                    "SELECT {ROW_OF_HOME} FROM homes
                    WHERE generation = ? AND owner = ? AND post > ? ORDER BY post ASC LIMIT ?"
                ))
                .await?,
        })
    }
}

struct Preparing<'a> {
    session: &'a Session,
    profile: &'a ExecutionProfile,
}

impl Preparing<'_> {
    async fn prepare(&self, text: &str) -> Result<PreparedStatement, StoreError> {
        self.pages_of(PAGE, text).await
    }

    async fn pages_of(&self, rows: i32, text: &str) -> Result<PreparedStatement, StoreError> {
        let statement = Statement::new(text).with_page_size(rows);
        let mut prepared = self.session.prepare(statement).await.map_err(|error| not_prepared(&error))?;
        // Every one: reads, and writes that carry their own timestamps.
        prepared.set_is_idempotent(true);
        prepared.set_execution_profile_handle(Some(self.profile.clone().into_handle()));
        Ok(prepared)
    }
}

/// Runs a write.
pub(super) async fn run(
    session: &Session,
    statement: &PreparedStatement,
    values: impl SerializeRow,
) -> Result<(), StoreError> {
    session.execute_unpaged(statement, values).await.map_err(failed)?;
    Ok(())
}

/// A batch of writes to one partition key: one mutation, which is there whole or not at all.
pub(super) fn batch_of(kind: BatchType, statements: &[&PreparedStatement]) -> Batch {
    let mut batch = Batch::new_with_statements(kind, statements.iter().map(|one| (*one).clone().into()).collect());
    batch.set_is_idempotent(true);
    batch
}

/// Hands rows to `each` until it breaks, and says how many answers they came in: what one answer holds is of one moment.
/// A row that cannot be read is named and passed over.
pub(super) async fn each_row<R>(
    session: &Session,
    statement: &PreparedStatement,
    values: impl SerializeRow,
    mut each: impl FnMut(R) -> ControlFlow<()>,
) -> Result<usize, StoreError>
where
    R: for<'frame> DeserializeRow<'frame, 'frame>,
{
    let mut state = PagingState::start();
    for pages in 1.. {
        let (page, next) = session.execute_single_page(statement, &values, state).await.map_err(failed)?;
        let rows = page.into_rows_result().map_err(|error| StoreError::Unavailable(format!("Cassandra: {error}")))?;
        let rows = rows.rows::<R>().map_err(|error| StoreError::Damaged(format!("Cassandra: {error}")))?;
        for row in rows {
            match row {
                Ok(row) => {
                    if each(row).is_break() {
                        return Ok(pages);
                    }
                }
                Err(error) => tracing::error!(%error, "a damaged row is passed over"),
            }
        }
        match next {
            PagingStateResponse::HasMorePages { state: next } => state = next,
            PagingStateResponse::NoMorePages => return Ok(pages),
        }
    }
    Ok(usize::MAX)
}

/// The first row, if there is any.
pub(super) async fn first_row<R>(
    session: &Session,
    statement: &PreparedStatement,
    values: impl SerializeRow,
) -> Result<Option<R>, StoreError>
where
    R: for<'frame> DeserializeRow<'frame, 'frame>,
{
    let mut first = None;
    each_row(session, statement, values, |row| {
        first = Some(row);
        ControlFlow::Break(())
    })
    .await?;
    Ok(first)
}

/// A limit as CQL takes it. Nobody asks for more rows than that.
pub(super) fn limit(rows: usize) -> i32 {
    i32::try_from(rows).unwrap_or(i32::MAX)
}
