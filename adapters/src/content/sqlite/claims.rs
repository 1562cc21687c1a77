//! Claims: on commands that may be repeated, and on user names.

use domain::text::Username;
use domain::{StreamId, Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::key::{StoredStream, StreamKey};
use crate::StoreError;
use crate::content::{Answer, CLAIM_LIFE_MILLIS, ClaimOutcome, CommandClaim};

/// Claims a command, unless a claim on it is alive.
pub(super) fn command(connection: &Connection, claim: &CommandClaim) -> Result<ClaimOutcome, StoreError> {
    // The condition is part of the insertion, so that of two that find it expired one gets it.
    let mut insert = connection.prepare_cached(
        "INSERT INTO command_claims (actor, key, digest, stream, claimed_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (actor, key) DO UPDATE SET digest = excluded.digest, stream = excluded.stream,
             claimed_at = excluded.claimed_at, answer_status = NULL, answer_body = NULL, answer_etag = NULL
         WHERE claimed_at < ?6",
    )?;
    let CommandClaim { actor, key, digest, stream, at } = claim;
    let expired = at.plus_millis(-CLAIM_LIFE_MILLIS).as_millis();
    let claimed = insert.execute((actor, key, digest, StreamKey::of(*stream), at.as_millis(), expired))?;
    if claimed == 1 {
        return Ok(ClaimOutcome::New);
    }
    let mut select = connection.prepare_cached(
        "SELECT digest, stream, claimed_at, answer_status, answer_body, answer_etag FROM command_claims
         WHERE actor = ?1 AND key = ?2",
    )?;
    let existing = |row: &Row<'_>| {
        let claim = CommandClaim {
            actor: actor.clone(),
            key: key.clone(),
            digest: row.get(0)?,
            stream: row.get::<_, StoredStream>(1)?.0,
            at: Timestamp::from_millis(row.get(2)?),
        };
        let status: Option<u16> = row.get(3)?;
        let answer =
            status.map(|status| Ok::<_, rusqlite::Error>(Answer { status, body: row.get(4)?, etag: row.get(5)? }));
        Ok(ClaimOutcome::Existing(claim, answer.transpose()?))
    };
    Ok(select.query_row((actor, key), existing)?)
}

/// Records an answer, unless there is one.
pub(super) fn answer(connection: &Connection, actor: &str, key: &str, answer: &Answer) -> Result<(), StoreError> {
    let mut update = connection.prepare_cached(
        "UPDATE command_claims SET answer_status = ?3, answer_body = ?4, answer_etag = ?5
         WHERE actor = ?1 AND key = ?2 AND answer_status IS NULL",
    )?;
    update.execute((actor, key, answer.status, &answer.body, &answer.etag))?;
    Ok(())
}

/// Removes old claims and answers how many.
pub(super) fn forget(connection: &Connection, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM command_claims WHERE (actor, key) IN
             (SELECT actor, key FROM command_claims WHERE claimed_at < ?1 ORDER BY claimed_at LIMIT ?2)",
    )?;
    Ok(delete.execute((before.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)))?)
}

/// Claims a user name and answers whether it is `owner`'s (W5).
pub(super) fn username(
    connection: &Connection,
    name: &Username,
    owner: UserId,
    now: Timestamp,
    expired: Timestamp,
) -> Result<bool, StoreError> {
    let find = "SELECT owner, claimed_at FROM usernames WHERE name = ?1";
    let found = connection
        .prepare_cached(find)?
        .query_row((name.as_str(),), |row| Ok((UserId::from_bytes(row.get(0)?), Timestamp::from_millis(row.get(1)?))));
    // Nobody writes between this look and the claim: it is the one transaction that may.
    if let Some((holder, claimed_at)) = found.optional()?
        && holder != owner
        && (claimed_at >= expired || exists(connection, StreamId::User(holder))?)
    {
        return Ok(false);
    }
    // Also where it was the owner's: a registration that is tried again is not overtaken meanwhile.
    let mut claim = connection.prepare_cached(
        "INSERT INTO usernames (name, owner, claimed_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, claimed_at = max(claimed_at, excluded.claimed_at)",
    )?;
    claim.execute((name.as_str(), owner.as_bytes(), now.as_millis()))?;
    Ok(true)
}

/// Who has claimed a user name.
pub(super) fn username_owner(connection: &Connection, name: &Username) -> Result<Option<UserId>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT owner FROM usernames WHERE name = ?1")?;
    let owner = statement.query_row((name.as_str(),), |row| row.get(0).map(UserId::from_bytes));
    Ok(owner.optional()?)
}

fn exists(connection: &Connection, stream: StreamId) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM documents WHERE stream = ?1")?;
    Ok(statement.exists((StreamKey::of(stream),))?)
}
