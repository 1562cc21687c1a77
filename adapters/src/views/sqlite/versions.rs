//! All that posts and comments ever said. Written in the transaction of the counts and rows of the same lane, so their
//! guard is this one's, too.

use domain::text::Title;
use domain::{StreamId, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use crate::StoreError;
use crate::checkpoints::Generation;
use crate::sqlite::values::{Unsigned, page};
use crate::views::{EngagementUpdate, VersionRow};

pub(super) fn write(
    connection: &Connection,
    Generation(generation): Generation,
    update: &EngagementUpdate,
) -> Result<(), StoreError> {
    // What an event said does not change: of a repeat there is nothing to write.
    let mut write = connection.prepare_cached(
        "INSERT INTO versions (generation, stream, sequence, at, title, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (generation, stream, sequence) DO NOTHING",
    )?;
    for VersionRow { stream, sequence, at, title, text } in &update.versions {
        let (stream, title) = (stream.to_string(), title.as_ref().map(Title::as_str));
        write.execute(params![generation, stream, Unsigned(*sequence), at.as_millis(), title, text])?;
    }
    let mut forget = connection.prepare_cached("DELETE FROM versions WHERE generation = ?1 AND stream = ?2")?;
    for stream in &update.forgotten {
        forget.execute(params![generation, stream.to_string()])?;
    }
    Ok(())
}

pub(super) fn newest(
    connection: &Connection,
    Generation(generation): Generation,
    stream: StreamId,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<VersionRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT stream, sequence, at, title, text FROM versions
        WHERE generation = ?1 AND stream = ?2 AND sequence < ?3 ORDER BY sequence DESC",
    )?;
    // Sequences above what SQLite can hold are none that are stored.
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![generation, stream.to_string(), before], version_at)?;
    page(rows, limit)
}

pub(super) fn scan(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<(StreamId, u64)>,
    limit: usize,
) -> Result<Vec<VersionRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT stream, sequence, at, title, text FROM versions
        WHERE generation = ?1 AND (stream, sequence) > (?2, ?3) ORDER BY stream, sequence",
    )?;
    let (stream, sequence) = after.map_or((String::new(), 0), |(stream, sequence)| (stream.to_string(), sequence));
    let rows = statement.query_map(params![generation, stream, Unsigned(sequence)], version_at)?;
    page(rows, limit)
}

fn version_at(row: &Row<'_>) -> rusqlite::Result<VersionRow> {
    let unreadable = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
    };
    let stream: String = row.get(0)?;
    let title: Option<String> = row.get(3)?;
    Ok(VersionRow {
        stream: stream.parse().map_err(|error: domain::stream::Malformed| unreadable(0, error.into()))?,
        sequence: row.get::<_, Unsigned>(1)?.0,
        at: Timestamp::from_millis(row.get(2)?),
        title: title.map(Title::try_from).transpose().map_err(|error| unreadable(3, error.into()))?,
        text: row.get(4)?,
    })
}
