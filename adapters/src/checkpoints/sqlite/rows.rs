//! The tables of checkpoints and parked lanes. Every write looks at the owner's epoch in its own transaction (P2).

use domain::{Lane, LogId, Position, Topic};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::StoreError;
use crate::checkpoints::{Build, OwnerEpoch, ParkedLane, Partition, Suspicion, Taken, Trial};
use crate::sqlite::values::Unsigned;

pub(super) fn take(connection: &Connection, build: Build, partition: Partition) -> Result<Taken, StoreError> {
    let mut raise = connection.prepare_cached(
        r#"INSERT INTO checkpoints (generation, projection, topic, partition, epoch, starts) VALUES (?1, ?2, ?3, ?4, ?5 + 1, 1)
        ON CONFLICT (generation, projection, topic, partition) DO UPDATE SET epoch = epoch + 1, starts = starts + 1
        RETURNING epoch, log, "offset", starts, careful_until, trial_until, trial_starts"#,
    )?;
    let first = Unsigned(OwnerEpoch::before_the_first().0);
    let key = params![build.generation.0, build.projection, partition.topic.name(), partition.number, first];
    let (epoch, position, suspicion) = raise.query_row(key, |row| {
        let epoch: Unsigned = row.get(0)?;
        let trial = match row.get(5)? {
            Some(until) => Some(Trial { until, starts: row.get(6)? }),
            None => None,
        };
        let suspicion = Suspicion { starts: row.get(3)?, careful_until: row.get(4)?, trial };
        Ok((OwnerEpoch(epoch.0), position_at(row, 1, partition)?, suspicion))
    })?;
    let parked = parked(connection, build, Some(partition))?;
    Ok(Taken { epoch, position, parked: parked.into_iter().map(|(_, lane)| lane).collect(), suspicion })
}

pub(super) fn save(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    position: Position,
) -> Result<(), StoreError> {
    let partition = Partition { topic: position.topic, number: position.partition };
    check_owner(connection, build, partition, epoch)?;
    if let Some(other) = other_log(connection, build, position.log)? {
        return Err(StoreError::Damaged(format!(
            "generation {} of {} was built from log {other}, and {position} is of another",
            build.generation.0, build.projection
        )));
    }
    // P1: never backwards.
    let mut write = connection.prepare_cached(
        r#"UPDATE checkpoints SET log = ?5, "offset" = ?6, starts = 1, trial_until = NULL, trial_starts = 0,
            careful_until = CASE WHEN careful_until > ?6 THEN careful_until END
        WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4
            AND ("offset" IS NULL OR "offset" < ?6)"#,
    )?;
    write.execute(params![
        build.generation.0,
        build.projection,
        partition.topic.name(),
        partition.number,
        position.log.to_string(),
        position.offset,
    ])?;
    Ok(())
}

/// Another log that the build has seen, if it has: offsets of two logs do not compare.
fn other_log(connection: &Connection, build: Build, log: LogId) -> Result<Option<String>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT log FROM checkpoints WHERE generation = ?1 AND projection = ?2 AND log <> ?3 LIMIT 1",
    )?;
    let values = params![build.generation.0, build.projection, log.to_string()];
    Ok(statement.query_row(values, |row| row.get(0)).optional()?)
}

pub(super) fn check_owner(
    connection: &Connection,
    build: Build,
    partition: Partition,
    epoch: OwnerEpoch,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM checkpoints
        WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4 AND epoch = ?5",
    )?;
    let (topic, number) = (partition.topic.name(), partition.number);
    if statement.exists(params![build.generation.0, build.projection, topic, number, Unsigned(epoch.0)])? {
        return Ok(());
    }
    Err(StoreError::Overtaken(format!("epoch {} of {} in partition {number} of {topic}", epoch.0, build.projection)))
}

pub(super) fn park(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    partition: Partition,
    lane: &Lane,
    offsets: &[i64],
    reason: &str,
) -> Result<(), StoreError> {
    check_owner(connection, build, partition, epoch)?;
    let (generation, projection) = (build.generation.0, build.projection);
    let (topic, number) = (partition.topic.name(), partition.number);
    connection
        .prepare_cached(
            "INSERT INTO parked_lanes (generation, projection, topic, partition, lane, reason)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )?
        .execute(params![generation, projection, topic, number, lane.as_str(), reason])?;
    let mut queue = connection.prepare_cached(
        r#"INSERT INTO parked_events (generation, projection, topic, partition, lane, "offset")
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING"#,
    )?;
    for offset in offsets {
        queue.execute(params![generation, projection, topic, number, lane.as_str(), offset])?;
    }
    Ok(())
}

pub(super) fn parked_offsets(
    connection: &Connection,
    build: Build,
    partition: Partition,
    lane: &Lane,
    limit: usize,
) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached(
        r#"SELECT "offset" FROM parked_events
        WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4 AND lane = ?5
        ORDER BY "offset""#,
    )?;
    let (topic, number) = (partition.topic.name(), partition.number);
    let rows = statement
        .query_map(params![build.generation.0, build.projection, topic, number, lane.as_str()], |row| row.get(0))?;
    // An event that cannot be read out of the queue must not be passed over: those behind it would overtake it (P3).
    Ok(rows.take(limit).collect::<Result<_, _>>()?)
}

/// What came of taking events out of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unparked {
    /// Whether the queue is empty, and so closed: also when asked again after an answer that was lost.
    pub(super) closed: bool,
    /// How many drains the build has had, if this was one.
    pub(super) drains: Option<u64>,
}

pub(super) fn unpark(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    partition: Partition,
    lane: &Lane,
    offset: i64,
) -> Result<Unparked, StoreError> {
    check_owner(connection, build, partition, epoch)?;
    let (generation, projection) = (build.generation.0, build.projection);
    let (topic, number) = (partition.topic.name(), partition.number);
    let left = connection
        .prepare_cached(
            r#"DELETE FROM parked_events
            WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4 AND lane = ?5
                AND "offset" <= ?6"#,
        )?
        .execute(params![generation, projection, topic, number, lane.as_str(), offset])?;
    let drains = if left > 0 { Some(count_drain(connection, build)?) } else { None };
    if !parked_offsets(connection, build, partition, lane, 1)?.is_empty() {
        return Ok(Unparked { closed: false, drains });
    }
    connection
        .prepare_cached(
            "DELETE FROM parked_lanes
            WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4 AND lane = ?5",
        )?
        .execute(params![generation, projection, topic, number, lane.as_str()])?;
    Ok(Unparked { closed: true, drains })
}

fn count_drain(connection: &Connection, build: Build) -> Result<u64, StoreError> {
    let mut count = connection.prepare_cached(
        "INSERT INTO drains (generation, projection, drains) VALUES (?1, ?2, 1)
        ON CONFLICT (generation, projection) DO UPDATE SET drains = drains + 1
        RETURNING drains",
    )?;
    Ok(count.query_row(params![build.generation.0, build.projection], |row| row.get::<_, Unsigned>(0))?.0)
}

/// The parked lanes of a build, in all partitions or in one, by partition and lane.
pub(super) fn parked(
    connection: &Connection,
    build: Build,
    partition: Option<Partition>,
) -> Result<Vec<(Partition, ParkedLane)>, StoreError> {
    let mut statement = connection.prepare_cached(
        r#"SELECT topic, partition, lane, reason, min("offset"), count(*), unfinished_drains
        FROM parked_lanes JOIN parked_events USING (generation, projection, topic, partition, lane)
        WHERE generation = ?1 AND projection = ?2 AND topic = coalesce(?3, topic)
            AND partition = coalesce(?4, partition)
        GROUP BY topic, partition, lane"#,
    )?;
    let (topic, number) =
        (partition.map(|partition| partition.topic.name()), partition.map(|partition| partition.number));
    let rows = statement.query_map(params![build.generation.0, build.projection, topic, number], |row| {
        let partition = Partition { topic: topic_at(row, 0)?, number: row.get(1)? };
        let lane = ParkedLane {
            lane: Lane::new(row.get::<_, String>(2)?),
            reason: row.get(3)?,
            first: row.get(4)?,
            waiting: row.get::<_, Unsigned>(5)?.0,
            unfinished_drains: row.get(6)?,
        };
        Ok((partition, lane))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn positions(connection: &Connection, build: Build) -> Result<Vec<Position>, StoreError> {
    let mut statement = connection.prepare_cached(
        r#"SELECT topic, partition, log, "offset" FROM checkpoints
        WHERE generation = ?1 AND projection = ?2 ORDER BY topic, partition"#,
    )?;
    let rows = statement.query_map(params![build.generation.0, build.projection], |row| {
        position_at(row, 2, Partition { topic: topic_at(row, 0)?, number: row.get(1)? })
    })?;
    // Taken but never saved: no position yet.
    Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

fn position_at(row: &Row<'_>, first: usize, partition: Partition) -> rusqlite::Result<Option<Position>> {
    let (log, offset): (Option<String>, Option<i64>) = (row.get(first)?, row.get(first + 1)?);
    let Some((log, offset)) = log.zip(offset) else { return Ok(None) };
    let log = log.parse().map_err(|error| unreadable(first, error))?;
    Ok(Some(Position { log, topic: partition.topic, partition: partition.number, offset }))
}

pub(super) fn topic_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Topic> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: domain::stream::Malformed) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
