//! Documents and what is shown of posts.

use domain::{Position, PostId, StreamId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::key::{StoredStream, StreamKey};
use super::outbox;
use crate::StoreError;
use crate::content::{
    Answer, Commit, Committed, Document, PublicState, Published, RecentCommand, Rendered, StoredPreview,
};
use crate::event_log::Appender;
use crate::sqlite::values::{Unsigned, is_of_one_row};

/// The document, if there is one.
pub(super) fn load(connection: &Connection, stream: StreamId) -> Result<Option<Document>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT revision, sequence, state, private, recent_commands FROM documents WHERE stream = ?1",
    )?;
    let found = statement.query_row((StreamKey::of(stream),), |row| {
        let document = Document {
            revision: row.get::<_, Unsigned>(0)?.0,
            sequence: row.get::<_, Unsigned>(1)?.0,
            state: row.get(2)?,
            private: row.get(3)?,
            recent_commands: Vec::new(),
        };
        Ok((document, row.get::<_, Option<String>>(4)?))
    });
    let Some((document, recent_commands)) = found.optional()? else { return Ok(None) };
    let recent_commands = recent_commands.as_deref().map_or_else(|| Ok(Vec::new()), unpack)?;
    Ok(Some(Document { recent_commands, ..document }))
}

/// Changes a document. With a log, its events are in the log once this is committed.
///
/// # Errors
/// [`StoreError::Overtaken`] where the document is at another revision (W2).
pub(super) fn commit(
    connection: &Connection,
    log: Option<&Appender>,
    commit: &Commit,
) -> Result<Committed, StoreError> {
    // The log first: the document then takes its position along. Where the revision turns out to be another, the
    // savepoint undoes both.
    let position = match log {
        Some(log) => log.append_in(connection, &commit.records)?.pop(),
        None => None,
    };
    let sequence = write(connection, commit, position)?;
    let newest = commit.records.last().map(|record| record.attributes.sequence);
    if newest.is_some_and(|newest| newest != sequence) {
        return Err(StoreError::Damaged(format!("{} is not at the sequence of its events", commit.stream)));
    }
    let mut whole_outbox = None;
    if log.is_none() && !commit.records.is_empty() {
        let alone = outbox::push(connection, commit)?;
        whole_outbox = alone.then(|| commit.records.clone());
    }
    if let Some(rendered) = &commit.rendered {
        show(connection, commit.stream, rendered)?;
    }
    Ok(Committed { revision: commit.expected_revision + 1, sequence, position, whole_outbox })
}

/// Compares and sets; answers the document's new sequence.
fn write(connection: &Connection, commit: &Commit, position: Option<Position>) -> Result<u64, StoreError> {
    let events = commit.records.len() as u64;
    let recent_commands = commit.recent_commands.as_deref().map(pack).transpose()?;
    let newest = commit.records.last().map(|record| record.attributes.sequence);
    let published = newest.zip(position).map(|(sequence, position)| {
        let (log, place) = outbox::stored(&Published { sequence, position });
        (Unsigned(sequence), log, place)
    });
    let waiting = position.is_none() && events > 0;
    // A new document and a changed one take the same parameters. `coalesce`: what is not given stays as it is.
    let mut statement = connection.prepare_cached(match commit.expected_revision {
        0 => {
            "INSERT INTO documents (stream, revision, sequence, state, private, recent_commands, published_sequence,
                 published_log, published_place, outbox_since)
             VALUES (?1, ?2 + 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (stream) DO NOTHING
             RETURNING sequence"
        }
        _ => {
            "UPDATE documents SET revision = ?2 + 1, sequence = sequence + ?3, state = ?4,
                 private = coalesce(?5, private), recent_commands = coalesce(?6, recent_commands),
                 published_sequence = coalesce(?7, published_sequence), published_log = coalesce(?8, published_log),
                 published_place = coalesce(?9, published_place), outbox_since = coalesce(outbox_since, ?10)
             WHERE stream = ?1 AND revision = ?2
             RETURNING sequence"
        }
    })?;
    let parameters = (
        StreamKey::of(commit.stream),
        Unsigned(commit.expected_revision),
        Unsigned(events),
        &commit.state,
        &commit.private,
        recent_commands,
        published.map(|(sequence, _, _)| sequence),
        published.map(|(_, log, _)| log),
        published.map(|(_, _, place)| place),
        waiting.then_some(commit.at.as_millis()),
    );
    let sequence = statement.query_row(parameters, |row| row.get::<_, Unsigned>(0)).optional()?;
    let Unsigned(sequence) = sequence.ok_or_else(|| {
        StoreError::Overtaken(format!("{} is no longer at revision {}", commit.stream, commit.expected_revision))
    })?;
    Ok(sequence)
}

/// Replaces what is shown of a post.
fn show(connection: &Connection, stream: StreamId, rendered: &Rendered) -> Result<(), StoreError> {
    let StreamId::Post(post) = stream else {
        return Err(StoreError::Damaged(format!("{stream} is not a post and shows nothing")));
    };
    let mut html = connection.prepare_cached(
        "INSERT INTO renderings (post, renderer, html) VALUES (?1, ?2, ?3)
         ON CONFLICT (post) DO UPDATE SET renderer = excluded.renderer, html = excluded.html",
    )?;
    html.execute((post.as_bytes(), rendered.renderer, &rendered.html))?;
    match &rendered.preview {
        Some(preview) => connection
            .prepare_cached(
                "INSERT INTO previews (post, preview) VALUES (?1, ?2)
                 ON CONFLICT (post) DO UPDATE SET preview = excluded.preview",
            )?
            .execute((post.as_bytes(), preview))?,
        None => connection.prepare_cached("DELETE FROM previews WHERE post = ?1")?.execute((post.as_bytes(),))?,
    };
    Ok(())
}

/// The states of many streams, in the order asked for.
pub(super) fn states(connection: &Connection, streams: &[StreamId]) -> Result<Vec<Option<PublicState>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT sequence, state FROM documents WHERE stream = ?1")?;
    let state = |stream: &StreamId| {
        readable(statement.query_row((StreamKey::of(*stream),), |row| {
            Ok(PublicState { sequence: row.get::<_, Unsigned>(0)?.0, state: row.get(1)? })
        }))
    };
    streams.iter().map(state).collect()
}

/// The previews of many posts, in the order asked for.
pub(super) fn previews(connection: &Connection, posts: &[PostId]) -> Result<Vec<Option<StoredPreview>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, (SELECT preview FROM previews WHERE post = ?2) FROM documents WHERE stream = ?1",
    )?;
    let preview =
        |post: &PostId| {
            let keys = (StreamKey::of(StreamId::Post(*post)), post.as_bytes());
            readable(statement.query_row(keys, |row| {
                Ok(StoredPreview { sequence: row.get::<_, Unsigned>(0)?.0, preview: row.get(1)? })
            }))
        };
    posts.iter().map(preview).collect()
}

/// What a post is shown as.
pub(super) fn rendered(connection: &Connection, post: PostId) -> Result<Option<Rendered>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT renderer, html, preview FROM renderings LEFT JOIN previews USING (post) WHERE post = ?1",
    )?;
    readable(statement.query_row((post.as_bytes(),), |row| {
        Ok(Rendered { renderer: row.get(0)?, html: row.get(1)?, preview: row.get(2)? })
    }))
}

/// What cannot be read is as if it were not there (R1): one damaged row must not take a page along.
fn readable<T>(row: rusqlite::Result<T>) -> Result<Option<T>, StoreError> {
    match row {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        Err(error) if is_of_one_row(&error) => {
            tracing::error!(%error, "a damaged row is passed over");
            Ok(None)
        }
        row => Ok(Some(row?)),
    }
}

/// Documents in the order of their streams. A damaged one is an error: who scans wants to know.
pub(super) fn scan(
    connection: &Connection,
    after: Option<StreamId>,
    limit: usize,
) -> Result<Vec<(StreamId, PublicState)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT stream, sequence, state FROM documents WHERE stream > coalesce(?1, x'') ORDER BY stream LIMIT ?2",
    )?;
    let parameters = (after.map(StreamKey::of), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = statement.query_map(parameters, |row| {
        let state = PublicState { sequence: row.get::<_, Unsigned>(1)?.0, state: row.get(2)? };
        Ok((row.get::<_, StoredStream>(0)?.0, state))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A recent command as it is stored, without names: all are rewritten with each command of their stream.
type Packed = (String, String, i64, u16, String, Option<String>);

fn pack(commands: &[RecentCommand]) -> Result<String, StoreError> {
    let packed = |RecentCommand { actor, key, at, answer }: &RecentCommand| -> Packed {
        let Answer { status, body, etag } = answer.clone();
        (actor.clone(), key.clone(), at.as_millis(), status, body, etag)
    };
    serde_json::to_string(&commands.iter().map(packed).collect::<Vec<_>>())
        .map_err(|error| StoreError::Damaged(format!("recent commands: {error}")))
}

fn unpack(json: &str) -> Result<Vec<RecentCommand>, StoreError> {
    let unpacked = |(actor, key, at, status, body, etag): Packed| RecentCommand {
        actor,
        key,
        at: Timestamp::from_millis(at),
        answer: Answer { status, body, etag },
    };
    let commands: Vec<Packed> =
        serde_json::from_str(json).map_err(|error| StoreError::Damaged(format!("recent commands: {error}")))?;
    Ok(commands.into_iter().map(unpacked).collect())
}
