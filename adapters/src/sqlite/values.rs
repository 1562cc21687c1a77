//! How values go into SQLite and come out again.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::StoreError;

/// A number that is stored as an integer, which SQLite signs, and never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsigned(pub(crate) u64);

impl ToSql for Unsigned {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let stored = i64::try_from(self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::from(stored))
    }
}

impl FromSql for Unsigned {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let stored = value.as_i64()?;
        u64::try_from(stored).map(Self).map_err(|_| FromSqlError::OutOfRange(stored))
    }
}

/// The first `limit` rows that can be read. A damaged row drops out and the page is filled from further on (R1): what
/// follows it must stay reachable. Queries that end here need no `LIMIT`, for rows are fetched as they are taken.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn page<T>(rows: impl Iterator<Item = rusqlite::Result<T>>, limit: usize) -> Result<Vec<T>, StoreError> {
    let readable = rows.filter_map(|row| match row {
        Err(error) if is_of_one_row(&error) => {
            tracing::error!(%error, "a damaged row is passed over");
            None
        }
        row => Some(row),
    });
    Ok(readable.take(limit).collect::<Result<_, _>>()?)
}

/// Whether an error is a value that is not what was written, and not a failure of the file.
pub(crate) fn is_of_one_row(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code().is_none()
}
