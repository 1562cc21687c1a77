//! The contract, with the log in the same file and elsewhere, and what only this adapter can be asked.

use std::path::Path;

use domain::{Position, Topic};
use tempfile::TempDir;

use super::*;
use crate::content::contract::Stores;
use crate::event_log::contract::{AT_ONCE, LONG, all_of, record};
use crate::event_log::{EventLog, partition_of};
use crate::sqlite::{Durability, TRUTH};

fn database(directory: &Path, name: &str) -> Arc<Database> {
    Database::open(&directory.join(name), &TRUTH, Durability::Process).unwrap()
}

async fn log_in(db: &Arc<Database>) -> Arc<SqliteEventLog> {
    Arc::new(SqliteEventLog::open(db.clone(), 4).await.unwrap())
}

async fn together() -> (impl AsyncFn() -> Stores, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let open = async move || {
        let db = database(&path, "truth.db");
        let log = log_in(&db).await;
        Stores { content: Arc::new(SqliteContent::open(db, Some(log.clone())).unwrap()), log }
    };
    (open, directory)
}

async fn apart() -> (impl AsyncFn() -> Stores, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let open = async move || Stores {
        content: Arc::new(SqliteContent::open(database(&path, "content.db"), None).unwrap()),
        log: log_in(&database(&path, "log.db")).await,
    };
    (open, directory)
}

crate::content::contract::stamp!(with_the_log, super::super::together, together);
crate::content::contract::stamp!(without_the_log, super::super::apart, apart);

fn a_commit(stream: StreamId, revision: u64, at: i64) -> Commit {
    let mut event = record(Topic::Posts, "lane");
    event.attributes.sequence = revision + 1;
    Commit {
        stream,
        expected_revision: revision,
        state: "{}".to_owned(),
        private: None,
        rendered: None,
        records: vec![event],
        recent_commands: None,
        at: Timestamp::from_millis(at),
    }
}

#[tokio::test]
async fn what_waits_moves_to_a_log_in_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    let db = database(directory.path(), "truth.db");
    let stream = |number: u8| StreamId::Post(PostId::from_bytes([number; 16]));
    let without = SqliteContent::open(db.clone(), None).unwrap();
    let mut expected = Vec::new();
    for revision in 0..2 {
        for number in 0..100 {
            let commit = a_commit(stream(number), revision, i64::from(number));
            expected.push((number, revision, commit.records[0].clone()));
            without.commit(commit).await.unwrap();
        }
    }
    // Streams one after the other, the oldest first, and each in its own order.
    expected.sort_by_key(|(number, revision, _)| (*number, *revision));

    let log = log_in(&db).await;
    let with = SqliteContent::open(db.clone(), Some(log.clone())).unwrap();
    let partition = partition_of(&expected[0].2.lane, log.partitions());
    let logged = all_of(&*log, Topic::Posts, partition, 1000).await;
    let records: Vec<_> = logged.into_iter().map(|logged| logged.record.unwrap()).collect();
    assert_eq!(records, expected.into_iter().map(|(_, _, record)| record).collect::<Vec<_>>());
    assert_eq!(with.pending_outboxes(Timestamp::from_millis(i64::MAX), 10).await.unwrap(), []);
    assert_eq!(with.outbox(stream(0)).await.unwrap(), []);
    let position = Position { log: log.id(), topic: Topic::Posts, partition, offset: 1 };
    assert_eq!(with.published(stream(0)).await.unwrap(), Some(Published { sequence: 2, position }));

    SqliteContent::open(db, Some(log.clone())).unwrap();
    assert_eq!(log.head(Topic::Posts, partition).await.unwrap(), 199, "moved twice");
}

#[tokio::test]
async fn readers_of_the_log_are_woken_without_anybody_looking() {
    let directory = tempfile::tempdir().unwrap();
    let db = database(directory.path(), "truth.db");
    let stream = StreamId::Post(PostId::from_bytes([1; 16]));
    SqliteContent::open(db.clone(), None).unwrap().commit(a_commit(stream, 0, 0)).await.unwrap();

    let log = Arc::new(SqliteEventLog::open_deaf(db.clone(), 1).await.unwrap());
    let mut read = log.read(Topic::Posts, 0, -1, 10, LONG);
    assert!(futures::poll!(&mut read).is_pending());
    let content = SqliteContent::open(db, Some(log.clone())).unwrap();
    assert_eq!(read.await.unwrap().len(), 1, "what had waited in the outbox");

    let mut read = log.read(Topic::Posts, 0, 0, 10, LONG);
    assert!(futures::poll!(&mut read).is_pending());
    content.commit(a_commit(stream, 1, 0)).await.unwrap();
    assert_eq!(read.await.unwrap().len(), 1, "what was committed");
}

#[tokio::test]
async fn a_log_in_another_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = log_in(&database(directory.path(), "log.db")).await;
    assert!(SqliteContent::open(database(directory.path(), "content.db"), Some(log)).is_err());
}

#[tokio::test]
async fn a_damaged_outbox_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let db = database(directory.path(), "content.db");
    let content = SqliteContent::open(db.clone(), None).unwrap();
    let stream = |number: u8| StreamId::Post(PostId::from_bytes([number; 16]));
    for number in 0..3 {
        content.commit(a_commit(stream(number), 0, i64::from(number))).await.unwrap();
    }
    let damage = "UPDATE outbox SET actor = x'00' WHERE recorded_at = 0";
    db.write(|connection| Ok(connection.execute(damage, [])?)).await.unwrap();
    let pending = content.pending_outboxes(Timestamp::from_millis(10), 2).await.unwrap();
    assert_eq!(pending.iter().map(|outbox| outbox.stream).collect::<Vec<_>>(), [stream(1), stream(2)]);
    assert!(matches!(content.outbox(stream(0)).await, Err(StoreError::Damaged(_))));

    // Where the log comes into the file, the damaged one stays and the others move.
    let log = log_in(&db).await;
    SqliteContent::open(db, Some(log.clone())).unwrap();
    let partition = partition_of(&domain::Lane::new("lane"), log.partitions());
    assert_eq!(log.read(Topic::Posts, partition, -1, 10, AT_ONCE).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_damaged_row_drops_out_of_pages_and_stops_scans() {
    let (open, directory) = together().await;
    let Stores { content, .. } = open().await;
    let post = |number: u8| PostId::from_bytes([number; 16]);
    for number in 0..3 {
        let preview = Some(number.to_string());
        let rendered = Some(Rendered { renderer: 1, html: String::new(), preview });
        content.commit(Commit { rendered, ..a_commit(StreamId::Post(post(number)), 0, 0) }).await.unwrap();
    }
    let by_hand = rusqlite::Connection::open(directory.path().join("truth.db")).unwrap();
    by_hand.execute("UPDATE previews SET preview = CAST(x'ff' AS TEXT) WHERE preview = '1'", []).unwrap();
    by_hand
        .execute("UPDATE documents SET sequence = -1 WHERE stream = ?1", (key::StreamKey::of(StreamId::Post(post(2))),))
        .unwrap();

    let previews = content.previews(&[post(0), post(1), post(2)]).await.unwrap();
    let previews: Vec<_> = previews.into_iter().map(|stored| stored.and_then(|stored| stored.preview)).collect();
    assert_eq!(previews, [Some("0".to_owned()), None, None]);
    let states = content.states(&[StreamId::Post(post(2)), StreamId::Post(post(1))]).await.unwrap();
    assert_eq!(states.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    assert!(matches!(content.load(StreamId::Post(post(2))).await, Err(StoreError::Damaged(_))));
    assert!(matches!(content.scan(None, 10).await, Err(StoreError::Damaged(_))), "a scan is for finding this");
}

#[tokio::test]
async fn an_erased_person_has_a_tombstone() {
    let (open, directory) = apart().await;
    let Stores { content, .. } = open().await;
    let person = UserId::from_bytes([1; 16]);
    content.create_key(person, vec![1]).await.unwrap();
    let by_hand = rusqlite::Connection::open(directory.path().join("content.db")).unwrap();
    by_hand.execute("UPDATE person_keys SET wrapped = NULL", []).unwrap();
    assert_eq!(content.key(person).await.unwrap(), Some(StoredKey::Tombstone));
    assert_eq!(content.create_key(person, vec![2]).await.unwrap(), StoredKey::Tombstone, "erased is for ever");
}
