//! The keyspace and its tables, by numbered versions.

use std::time::{Duration, Instant};

use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Statement;
use uuid::Uuid;

use super::connection::{Options, failed};
use crate::StoreError;
use crate::stores::Migration;
use crate::url::StoreUrl;

/// One script per version.
const MIGRATIONS: [&str; 1] = [include_str!("../../../../schemas/cassandra/timelines.1.cql")];
const SCHEMA_VERSION: &str = include_str!("../../../../schemas/cassandra/schema_version.cql");

/// What every row of `schema_version` is about so far.
const PART: &str = "timelines";
/// Making a table, until all nodes have it.
const PATIENCE: Duration = Duration::from_secs(60);
/// For so long a migration has the tables for itself. Longer than any takes; as short as waiting for a dead one may be.
const TURN_SECONDS: u32 = 120;
const PAUSE: Duration = Duration::from_millis(200);
/// Until a keyspace whose name is known is there.
const ENTERS_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn migrate(url: &StoreUrl, options: &Options) -> Result<Migration, StoreError> {
    let connection = options.connect(url, Some(PATIENCE)).await?;
    let session = &connection.session;
    let keyspace = &options.keyspace;
    // Every statement that changes the schema ends when the nodes agree on it; the driver waits for that.
    if session.get_cluster_state().get_keyspace(keyspace).is_none() {
        let replication = options.replication(&connection)?.to_cql();
        query(session, &format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}"), ())
            .await?;
    }
    enter(session, keyspace).await?;
    for statement in statements(SCHEMA_VERSION) {
        query(session, &statement, ()).await?;
    }
    applied(session, "INSERT INTO schema_version (part, version) VALUES (?, 0) IF NOT EXISTS", (PART,)).await?;

    let turn = Uuid::from_u128(rand::random());
    take_turn(session, turn).await?;
    let outcome = bring_up_to_date(session).await;
    let end = match &outcome {
        Ok(migration) => format!("version = {}, migrating = null", migration.to),
        Err(_) => "migrating = null".to_owned(),
    };
    let end = format!("UPDATE schema_version SET {end} WHERE part = ? IF migrating = ?");
    let in_time = applied(session, &end, (PART, turn)).await;
    let migration = outcome?;
    if in_time? {
        return Ok(migration);
    }
    Err(StoreError::Unavailable("making the tables in Cassandra took too long; it can be begun again".to_owned()))
}

/// Uses a keyspace that another migration may just be making: its name is known a moment before it is there.
async fn enter(session: &Session, keyspace: &str) -> Result<(), StoreError> {
    let deadline = Instant::now() + ENTERS_WITHIN;
    loop {
        match session.use_keyspace(keyspace, false).await {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Refuses tables of another version.
pub(super) async fn check(session: &Session, keyspace: &str) -> Result<(), StoreError> {
    let unfit =
        |what: String| StoreError::Unfit(format!("the keyspace `{keyspace}` {what}; run `hybrid-live migrate`"));
    match session.get_cluster_state().get_keyspace(keyspace) {
        None => return Err(unfit("is not there".to_owned())),
        Some(found) if !found.tables.contains_key("schema_version") => {
            return Err(unfit("has no tables of this program".to_owned()));
        }
        Some(_) => {}
    }
    session.use_keyspace(keyspace, false).await.map_err(failed)?;
    match version(session).await? {
        found if found == MIGRATIONS.len() => Ok(()),
        found if found > MIGRATIONS.len() => Err(newer(found)),
        found => Err(unfit(format!("has version {found} of the tables, and version {} is needed", MIGRATIONS.len()))),
    }
}

async fn bring_up_to_date(session: &Session) -> Result<Migration, StoreError> {
    let from = version(session).await?;
    let missing = MIGRATIONS.get(from..).ok_or_else(|| newer(from))?;
    for script in missing {
        for statement in statements(script) {
            query(session, &statement, ()).await?;
        }
    }
    let number = |version: usize| u32::try_from(version).unwrap_or(u32::MAX);
    Ok(Migration { from: number(from), to: number(MIGRATIONS.len()) })
}

fn newer(found: usize) -> StoreError {
    let newest = MIGRATIONS.len();
    StoreError::Unfit(format!(
        "the tables in Cassandra have version {found}, and this program knows versions up to {newest}"
    ))
}

/// Two migrations at once: one waits. A turn that nobody ends ends by itself.
async fn take_turn(session: &Session, turn: Uuid) -> Result<(), StoreError> {
    let take =
        format!("UPDATE schema_version USING TTL {TURN_SECONDS} SET migrating = ? WHERE part = ? IF migrating = null");
    let limit = Instant::now() + Duration::from_secs(2 * u64::from(TURN_SECONDS));
    while !applied(session, &take, (turn, PART)).await? {
        if Instant::now() > limit {
            return Err(StoreError::Unavailable("another migration of the tables in Cassandra goes on".to_owned()));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn version(session: &Session) -> Result<usize, StoreError> {
    let found = session.query_unpaged("SELECT version FROM schema_version WHERE part = ?", (PART,)).await;
    let rows = found.map_err(failed)?.into_rows_result().map_err(|error| unreadable(&error))?;
    let row = rows.maybe_first_row::<(Option<i32>,)>().map_err(|error| unreadable(&error))?;
    let version = row.and_then(|(version,)| version).unwrap_or(0);
    usize::try_from(version).map_err(|error| unreadable(&error))
}

async fn query(session: &Session, text: &str, values: impl SerializeRow) -> Result<(), StoreError> {
    session.query_unpaged(text, values).await.map_err(failed)?;
    Ok(())
}

/// Whether a conditional statement found its condition true.
async fn applied(session: &Session, text: &str, values: impl SerializeRow) -> Result<bool, StoreError> {
    let answer = session.query_unpaged(Statement::new(text), values).await.map_err(failed)?;
    let rows = answer.into_rows_result().map_err(|error| unreadable(&error))?;
    let row = rows.first_row::<scylla::value::Row>().map_err(|error| unreadable(&error))?;
    let first = row.columns.first().and_then(Option::as_ref);
    first.and_then(scylla::value::CqlValue::as_boolean).ok_or_else(|| unreadable(&"no answer to a condition"))
}

fn unreadable(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("the table `schema_version` in Cassandra: {error}"))
}

/// The statements of a script, without its comments. No text in them holds what ends a statement or begins a comment.
fn statements(script: &str) -> Vec<String> {
    let lines = script.lines().map(|line| line.split_once("--").map_or(line, |(before, _)| before).trim_end());
    let text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    text.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_cut_into_statements() {
        let script =
            "-- for; you;\nCREATE a (\n  b int, -- c;\n  d int\n);\n\n-- more\nCREATE e;\n-- nothing follows\n";
        assert_eq!(statements(script), ["CREATE a (\n  b int,\n  d int\n)", "CREATE e"]);
        for script in MIGRATIONS {
            assert!(statements(script).iter().all(|statement| statement.starts_with("CREATE TABLE IF NOT EXISTS")));
        }
    }
}
