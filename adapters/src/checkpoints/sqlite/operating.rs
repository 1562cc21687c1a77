//! The tables of what operators want and what workers tell them.

use domain::{Lane, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{Unparked, check_owner, topic_at, unpark};
use crate::StoreError;
use crate::checkpoints::{
    Activity, Build, Dropped, Epoch, Epochs, LaneOrder, LaneRequest, Outcome, OwnerEpoch, Partition, RequestId,
    WorkerError, WorkerState,
};
use crate::sqlite::values::Unsigned;

/// How long what came of a request is kept, in milliseconds.
const OUTCOME_LIFE_MILLIS: i64 = 60 * 60 * 1000;

pub(super) fn settle(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    partition: Partition,
    starts: u32,
) -> Result<(), StoreError> {
    check_owner(connection, build, partition, epoch)?;
    let mut write = connection.prepare_cached(
        "UPDATE checkpoints SET starts = ?5, trial_starts = max(0, trial_starts - (?5 = 0))
        WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4",
    )?;
    write.execute(params![build.generation.0, build.projection, partition.topic.name(), partition.number, starts])?;
    Ok(())
}

pub(super) fn begin_trial(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    partition: Partition,
    until: i64,
    careful_until: i64,
) -> Result<(), StoreError> {
    check_owner(connection, build, partition, epoch)?;
    let mut write = connection.prepare_cached(
        "UPDATE checkpoints SET careful_until = ?6, trial_until = ?5,
            trial_starts = CASE WHEN trial_until = ?5 THEN trial_starts + 1 ELSE 1 END
        WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4",
    )?;
    let (topic, number) = (partition.topic.name(), partition.number);
    write.execute(params![build.generation.0, build.projection, topic, number, until, careful_until])?;
    Ok(())
}

pub(super) fn note_drains(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    partition: Partition,
    lane: &Lane,
    unfinished: u32,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    check_owner(connection, build, partition, epoch)?;
    let mut write = connection.prepare_cached(
        "UPDATE parked_lanes SET unfinished_drains = ?6, reason = coalesce(?7, reason)
        WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4 AND lane = ?5",
    )?;
    let (topic, number) = (partition.topic.name(), partition.number);
    write.execute(params![build.generation.0, build.projection, topic, number, lane.as_str(), unfinished, reason])?;
    Ok(())
}

/// Remembering and taking out are one transaction: an event is never in neither.
pub(super) fn drop_parked(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    partition: Partition,
    lane: &Lane,
    up_to: i64,
    at: Timestamp,
) -> Result<Unparked, StoreError> {
    check_owner(connection, build, partition, epoch)?;
    let mut remember = connection.prepare_cached(
        r#"INSERT INTO dropped_events (generation, projection, topic, partition, "offset", lane, reason, dropped_at)
        SELECT generation, projection, topic, partition, "offset", lane, reason, ?7
        FROM parked_lanes JOIN parked_events USING (generation, projection, topic, partition, lane)
        WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4 AND lane = ?5 AND "offset" <= ?6
        ON CONFLICT DO NOTHING"#,
    )?;
    let (topic, number) = (partition.topic.name(), partition.number);
    let generation = build.generation.0;
    remember.execute(params![generation, build.projection, topic, number, lane.as_str(), up_to, at.as_millis()])?;
    unpark(connection, build, epoch, partition, lane, up_to)
}

pub(super) fn dropped(connection: &Connection, build: Build, limit: usize) -> Result<Vec<Dropped>, StoreError> {
    let mut statement = connection.prepare_cached(
        r#"SELECT topic, partition, "offset", lane, reason, dropped_at FROM dropped_events
        WHERE generation = ?1 AND projection = ?2 ORDER BY topic, partition, "offset""#,
    )?;
    let rows = statement.query_map(params![build.generation.0, build.projection], |row| {
        Ok(Dropped {
            partition: Partition { topic: topic_at(row, 0)?, number: row.get(1)? },
            offset: row.get(2)?,
            lane: Lane::new(row.get::<_, String>(3)?),
            reason: row.get(4)?,
            at: Timestamp::from_millis(row.get(5)?),
        })
    })?;
    Ok(rows.take(limit).collect::<Result<_, _>>()?)
}

pub(super) fn set_paused(
    connection: &Connection,
    projection: &str,
    paused: bool,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let changed = if paused {
        let insert = "INSERT INTO paused_projections (projection, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        connection.execute(insert, params![projection, at.as_millis()])?
    } else {
        connection.execute("DELETE FROM paused_projections WHERE projection = ?1", params![projection])?
    };
    Ok(changed > 0)
}

/// Answers the epoch's new number.
pub(super) fn raise(connection: &Connection, epoch: Epoch) -> Result<u64, StoreError> {
    let raise = "INSERT INTO epochs (kind, epoch) VALUES (?1, 1)
        ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch";
    let raised: Unsigned = connection.query_row(raise, params![epoch.name()], |row| row.get(0))?;
    Ok(raised.0)
}

/// All epochs; 0 where none was ever raised.
pub(super) fn epochs(connection: &Connection) -> Result<Epochs, StoreError> {
    let mut statement = connection.prepare_cached("SELECT epoch FROM epochs WHERE kind = ?1")?;
    let mut epochs = Epochs::default();
    for epoch in [Epoch::Cache, Epoch::Live] {
        let number: Option<Unsigned> = statement.query_row(params![epoch.name()], |row| row.get(0)).optional()?;
        *epochs.of(epoch) = number.map_or(0, |number| number.0);
    }
    Ok(epochs)
}

/// Answers the request as it is in the file.
pub(super) fn request(
    connection: &Connection,
    build: Build,
    partition: Partition,
    lane: &Lane,
    order: LaneOrder,
    at: Timestamp,
) -> Result<Option<LaneRequest>, StoreError> {
    let forget = "DELETE FROM lane_requests WHERE outcome IS NOT NULL AND requested_at < ?1";
    connection.execute(forget, params![at.as_millis() - OUTCOME_LIFE_MILLIS])?;
    let (topic, number) = (partition.topic.name(), partition.number);
    let mut insert = connection.prepare_cached(
        "INSERT INTO lane_requests
            (generation, projection, topic, partition, lane, drop_up_to, requested_at, begun)
        SELECT generation, projection, topic, partition, lane, ?6, ?7, 0 FROM parked_lanes
        WHERE generation = ?1 AND projection = ?2 AND topic = ?3 AND partition = ?4 AND lane = ?5
        RETURNING id",
    )?;
    let up_to = match order {
        LaneOrder::Retry => None,
        LaneOrder::Drop { up_to } => Some(up_to),
    };
    let values = params![build.generation.0, build.projection, topic, number, lane.as_str(), up_to, at.as_millis()];
    let id = insert.query_row(values, |row| row.get(0)).optional()?;
    Ok(id.map(|id| LaneRequest {
        id: RequestId(id),
        projection: build.projection.to_owned(),
        generation: build.generation,
        partition,
        lane: lane.clone(),
        order,
    }))
}

/// Requests that are not done yet, oldest first.
pub(super) fn requests(connection: &Connection) -> Result<Vec<LaneRequest>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, generation, projection, topic, partition, lane, drop_up_to FROM lane_requests
        WHERE outcome IS NULL ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(LaneRequest {
            id: RequestId(row.get(0)?),
            generation: crate::checkpoints::Generation(row.get(1)?),
            projection: row.get(2)?,
            partition: Partition { topic: topic_at(row, 3)?, number: row.get(4)? },
            lane: Lane::new(row.get::<_, String>(5)?),
            order: match row.get(6)? {
                Some(up_to) => LaneOrder::Drop { up_to },
                None => LaneOrder::Retry,
            },
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn begin_request(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    partition: Partition,
    request: RequestId,
) -> Result<bool, StoreError> {
    check_owner(connection, build, partition, epoch)?;
    let begin = "UPDATE lane_requests SET begun = 1 WHERE id = ?1 AND begun = 0";
    Ok(connection.execute(begin, params![request.0])? > 0)
}

pub(super) fn end_request(
    connection: &Connection,
    build: Build,
    epoch: OwnerEpoch,
    partition: Partition,
    request: RequestId,
    outcome: Outcome,
) -> Result<(), StoreError> {
    check_owner(connection, build, partition, epoch)?;
    let end = "UPDATE lane_requests SET outcome = ?2 WHERE id = ?1 AND outcome IS NULL";
    connection.execute(end, params![request.0, outcome.name()])?;
    Ok(())
}

pub(super) fn withdraw_request(connection: &Connection, request: RequestId) -> Result<bool, StoreError> {
    let withdraw = "DELETE FROM lane_requests WHERE id = ?1 AND begun = 0 AND outcome IS NULL";
    Ok(connection.execute(withdraw, params![request.0])? > 0)
}

pub(super) fn outcome(connection: &Connection, request: RequestId) -> Result<Option<Outcome>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT outcome FROM lane_requests WHERE id = ?1")?;
    let stored: Option<Option<String>> = statement.query_row(params![request.0], |row| row.get(0)).optional()?;
    let Some(name) = stored.flatten() else { return Ok(None) };
    let outcome = Outcome::from_name(&name);
    outcome.map(Some).ok_or_else(|| StoreError::Damaged(format!("request {} came to `{name}`", request.0)))
}

pub(super) fn note_state(
    connection: &Connection,
    build: Build,
    partition: Partition,
    state: &WorkerState,
) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO worker_states
            (generation, projection, topic, partition, state, since, error, error_offset, error_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (generation, projection, topic, partition) DO UPDATE SET state = excluded.state,
            since = excluded.since,
            error_offset = iif(excluded.error IS NULL, error_offset, excluded.error_offset),
            error_at = coalesce(excluded.error_at, error_at),
            error = coalesce(excluded.error, error)",
    )?;
    let error = state.error.as_ref();
    write.execute(params![
        build.generation.0,
        build.projection,
        partition.topic.name(),
        partition.number,
        state.activity.name(),
        state.since.as_millis(),
        error.map(|error| error.reason.as_str()),
        error.and_then(|error| error.offset),
        error.map(|error| error.at.as_millis()),
    ])?;
    Ok(())
}

pub(super) fn states(connection: &Connection, build: Build) -> Result<Vec<(Partition, WorkerState)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT topic, partition, state, since, error, error_offset, error_at FROM worker_states
        WHERE generation = ?1 AND projection = ?2 ORDER BY topic, partition",
    )?;
    let rows = statement.query_map(params![build.generation.0, build.projection], |row| {
        let partition = Partition { topic: topic_at(row, 0)?, number: row.get(1)? };
        Ok((partition, state_at(row)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn state_at(row: &Row<'_>) -> rusqlite::Result<WorkerState> {
    let name: String = row.get(2)?;
    let activity = Activity::from_name(&name).ok_or_else(|| {
        let unknown = format!("no worker is ever `{name}`");
        rusqlite::Error::FromSqlConversionFailure(2, Type::Text, unknown.into())
    })?;
    let error = match (row.get(4)?, row.get::<_, Option<i64>>(6)?) {
        (Some(reason), Some(at)) => Some(WorkerError { reason, offset: row.get(5)?, at: Timestamp::from_millis(at) }),
        _ => None,
    };
    Ok(WorkerState { activity, since: Timestamp::from_millis(row.get(3)?), error })
}
