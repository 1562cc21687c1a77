//! How records and places stand in the truth's file: in the log, and in the outbox of a log that is elsewhere.

use domain::event::Schema;
use domain::stream::BEFORE_FIRST;
use domain::{CorrelationId, EventId, Lane, LogId, Position, Timestamp, Topic, UserId};
use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};

use crate::StoreError;
use crate::event_log::{Attributes, Record};
use crate::sqlite::values::Unsigned;

const OFFSET_BITS: u32 = 44;
const PARTITION_BITS: u32 = 16;
const MAX_OFFSET: i64 = (1 << OFFSET_BITS) - 1;
/// Of a partition: more than are ever on their way.
const KEPT_CANARIES: i64 = 100;

/// Topic, partition and offset in one number, in that order: the log is one tree in one order, and a reader of a
/// partition walks along its leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) i64);

impl Place {
    /// Where `position` is. Offsets beyond what can be stored stand for the end of their partition.
    pub(crate) fn of(topic: Topic, partition: u16, offset: i64) -> Self {
        let offset = offset.clamp(BEFORE_FIRST, MAX_OFFSET);
        Self((topic_code(topic) << (PARTITION_BITS + OFFSET_BITS)) + (i64::from(partition) << OFFSET_BITS) + offset)
    }

    /// Where this is in the log `log`; `None` for a number that names no topic.
    pub(crate) fn position(self, log: LogId) -> Option<Position> {
        let topic = topic_of(self.0 >> (PARTITION_BITS + OFFSET_BITS))?;
        let partition = ((self.0 >> OFFSET_BITS) & i64::from(u16::MAX)) as u16;
        Some(Position { log, topic, partition, offset: self.0 & MAX_OFFSET })
    }
}

/// Stored for ever: a topic keeps its number.
pub(crate) fn topic_code(topic: Topic) -> i64 {
    match topic {
        Topic::Posts => 1,
        Topic::Relations => 2,
        Topic::Users => 3,
        Topic::Canaries => 4,
    }
}

pub(crate) fn topic_of(code: i64) -> Option<Topic> {
    Topic::WITH_CANARIES.into_iter().find(|topic| topic_code(*topic) == code)
}

/// Appends a record to its partition and answers where it is now.
pub(crate) fn append(connection: &Connection, partition: u16, record: &Record) -> Result<Place, StoreError> {
    // One writer at a time, so the greatest offset is the newest, and no reader sees it before all of the transaction.
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (place, lane, event_id, type, version, subject, sequence, time, actor, correlation_id,
             causation_id, data)
         VALUES (coalesce((SELECT place FROM events WHERE place BETWEEN ?1 AND ?2 ORDER BY place DESC LIMIT 1), ?1 - 1)
             + 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    let Attributes { id, schema, subject, sequence, time, actor, correlation, causation } = &record.attributes;
    statement.execute((
        Place::of(record.topic, partition, 0).0,
        Place::of(record.topic, partition, MAX_OFFSET).0,
        record.lane.as_str(),
        id.as_bytes(),
        &schema.kind,
        schema.version,
        subject,
        Unsigned(*sequence),
        time.as_millis(),
        actor.as_bytes(),
        correlation.as_bytes(),
        causation.as_ref().map(EventId::as_bytes),
        &record.data,
    ))?;
    let place = Place(connection.last_insert_rowid());
    if record.topic == Topic::Canaries {
        let mut forget = connection.prepare_cached("DELETE FROM events WHERE place BETWEEN ?1 AND ?2")?;
        forget.execute((Place::of(record.topic, partition, 0).0, place.0 - KEPT_CANARIES))?;
    }
    Ok(place)
}

/// The offset of a partition's newest record.
pub(crate) fn head(connection: &Connection, topic: Topic, partition: u16) -> Result<i64, StoreError> {
    let first = Place::of(topic, partition, 0).0;
    let mut statement = connection.prepare_cached(
        "SELECT coalesce((SELECT place FROM events WHERE place BETWEEN ?1 AND ?2 ORDER BY place DESC LIMIT 1), ?1 - 1)",
    )?;
    let last: i64 = statement.query_row((first, Place::of(topic, partition, MAX_OFFSET).0), |row| row.get(0))?;
    Ok(last - first)
}

/// A record from a row that begins with `lane, event_id, type, version, subject, sequence, time, actor, correlation_id,
/// causation_id, data`.
///
/// # Errors
/// What is wrong with it. The lane alone is then known: see [`lane`].
pub(crate) fn read(row: &Row<'_>, topic: Topic) -> Result<Record, String> {
    Ok(Record {
        topic,
        lane: Lane::new(column::<String>(row, 0, "lane")?),
        attributes: Attributes {
            id: EventId::from_bytes(column(row, 1, "event_id")?),
            schema: Schema { kind: column(row, 2, "type")?, version: column(row, 3, "version")? },
            subject: column(row, 4, "subject")?,
            sequence: column::<Unsigned>(row, 5, "sequence")?.0,
            time: Timestamp::from_millis(column(row, 6, "time")?),
            actor: UserId::from_bytes(column(row, 7, "actor")?),
            correlation: CorrelationId::from_bytes(column(row, 8, "correlation_id")?),
            causation: column::<Option<[u8; 16]>>(row, 9, "causation_id")?.map(EventId::from_bytes),
        },
        data: column(row, 10, "data")?,
    })
}

/// The lane of such a row, whatever else is wrong with it.
pub(crate) fn lane(row: &Row<'_>) -> rusqlite::Result<Lane> {
    let bytes = row.get_ref(0)?.as_bytes_or_null().ok().flatten().unwrap_or_default();
    Ok(Lane::new(String::from_utf8_lossy(bytes)))
}

fn column<T: FromSql>(row: &Row<'_>, index: usize, name: &str) -> Result<T, String> {
    row.get(index).map_err(|error| format!("{name}: {error}"))
}
