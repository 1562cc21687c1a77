//! Events that the log has not acknowledged, and up to where streams are published.

use domain::{LogId, StreamId, Timestamp};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::key::{StoredStream, StreamKey};
use crate::StoreError;
use crate::content::{Acknowledgement, Commit, Outbox, Published};
use crate::event_log::rows::{self, Place};
use crate::event_log::{Appender, Record};
use crate::sqlite::Database;
use crate::sqlite::values::Unsigned;

/// Outboxes that are moved to the log in one transaction.
const MOVED_AT_ONCE: usize = 64;

/// Puts a commit's events at the end of its stream's outbox; answers whether nothing waits there but them.
pub(super) fn push(connection: &Connection, commit: &Commit) -> Result<bool, StoreError> {
    let mut others = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM outbox WHERE stream = ?1)")?;
    let others_wait: bool = others.query_row((StreamKey::of(commit.stream),), |row| row.get(0))?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO outbox (stream, sequence, recorded_at, topic, lane, event_id, type, version, subject, time, actor,
             correlation_id, causation_id, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    for record in &commit.records {
        let attributes = &record.attributes;
        statement.execute((
            StreamKey::of(commit.stream),
            Unsigned(attributes.sequence),
            commit.at.as_millis(),
            rows::topic_code(record.topic),
            record.lane.as_str(),
            attributes.id.as_bytes(),
            &attributes.schema.kind,
            attributes.schema.version,
            &attributes.subject,
            attributes.time.as_millis(),
            attributes.actor.as_bytes(),
            attributes.correlation.as_bytes(),
            attributes.causation.as_ref().map(|id| id.as_bytes()),
            &record.data,
        ))?;
    }
    Ok(!others_wait)
}

/// A stream's outbox, in order.
pub(super) fn of(connection: &Connection, stream: StreamId) -> Result<Vec<Record>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT lane, event_id, type, version, subject, sequence, time, actor, correlation_id, causation_id, data, topic
         FROM outbox WHERE stream = ?1 ORDER BY sequence",
    )?;
    let mut rows = statement.query((StreamKey::of(stream),))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let topic = rows::topic_of(row.get(11)?).ok_or_else(|| "topic".to_owned());
        let record = topic.and_then(|topic| rows::read(row, topic));
        records.push(record.map_err(|wrong| StoreError::Damaged(format!("outbox of {stream}: {wrong}")))?);
    }
    Ok(records)
}

/// Outboxes whose oldest event was recorded before `before`, oldest first.
pub(super) fn pending(connection: &Connection, before: Timestamp, limit: usize) -> Result<Vec<Outbox>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT stream FROM documents WHERE outbox_since < ?1 ORDER BY outbox_since, stream")?;
    let mut streams = statement.query((before.as_millis(),))?;
    let mut pending = Vec::new();
    while pending.len() < limit
        && let Some(row) = streams.next()?
    {
        let StoredStream(stream) = row.get(0)?;
        match of(connection, stream) {
            Ok(records) => pending.push(Outbox { stream, records }),
            // It stays where it is, and holds up no other stream.
            Err(StoreError::Damaged(error)) => tracing::error!(error, "an outbox cannot be published"),
            Err(error) => return Err(error),
        }
    }
    Ok(pending)
}

/// Takes acknowledged events out of their outbox.
pub(super) fn acknowledge(connection: &Connection, acknowledgement: &Acknowledgement) -> Result<(), StoreError> {
    let Acknowledgement { stream, events, published } = acknowledgement;
    let stream = StreamKey::of(*stream);
    let mut delete = connection.prepare_cached("DELETE FROM outbox WHERE stream = ?1 AND event_id = ?2")?;
    for event in events {
        delete.execute((stream, event.as_bytes()))?;
    }
    let mut update = connection.prepare_cached(
        "UPDATE documents SET outbox_since =
             (SELECT recorded_at FROM outbox WHERE outbox.stream = ?1 ORDER BY outbox.sequence LIMIT 1)
         WHERE stream = ?1",
    )?;
    update.execute((stream,))?;
    // An event that was published twice is where it was first.
    let mut raise = connection.prepare_cached(
        "UPDATE documents SET published_sequence = ?2, published_log = ?3, published_place = ?4
         WHERE stream = ?1 AND (published_sequence IS NULL OR published_sequence < ?2)",
    )?;
    let (log, place) = stored(published);
    raise.execute((stream, Unsigned(published.sequence), log, place))?;
    Ok(())
}

/// A position as the columns `published_log` and `published_place`.
pub(super) fn stored(published: &Published) -> (i64, i64) {
    let position = published.position;
    (position.log.0.cast_signed(), Place::of(position.topic, position.partition, position.offset).0)
}

/// Up to where a stream is in the log.
pub(super) fn published(connection: &Connection, stream: StreamId) -> Result<Option<Published>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT published_sequence, published_log, published_place FROM documents
         WHERE stream = ?1 AND published_sequence IS NOT NULL",
    )?;
    let found = statement.query_row((StreamKey::of(stream),), |row| {
        Ok((row.get::<_, Unsigned>(0)?.0, row.get::<_, i64>(1)?, Place(row.get(2)?)))
    });
    let Some((sequence, log, place)) = found.optional()? else { return Ok(None) };
    let position = place.position(LogId(log.cast_unsigned()));
    let position = position.ok_or_else(|| StoreError::Damaged(format!("{stream} is published at no topic")))?;
    Ok(Some(Published { sequence, position }))
}

/// Moves all outboxes to the log of the same file.
pub(super) fn move_to_log(db: &Database, log: &Appender) -> Result<(), StoreError> {
    let mut connection = db.connect()?;
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outboxes = pending(&transaction, Timestamp::from_millis(i64::MAX), MOVED_AT_ONCE)?;
        if outboxes.is_empty() {
            return Ok(());
        }
        let mut moved = Vec::new();
        for Outbox { stream, records } in outboxes {
            let positions = log.append_in(&transaction, &records)?;
            let (Some(newest), Some(position)) = (records.last(), positions.last()) else { continue };
            acknowledge(
                &transaction,
                &Acknowledgement {
                    stream,
                    events: records.iter().map(|record| record.attributes.id).collect(),
                    published: Published { sequence: newest.attributes.sequence, position: *position },
                },
            )?;
            moved.extend(positions);
        }
        transaction.commit()?;
        db.written_elsewhere();
        log.announce(&moved);
    }
}
