//! The contract, and what only this adapter can be asked: damage, and several processes on one file.

use std::path::{Path, PathBuf};

use domain::Lane;
use domain::stream::BEFORE_FIRST;
use tempfile::TempDir;

use super::*;
use crate::event_log::canary::Canary;
use crate::event_log::contract::{AT_ONCE, LONG, all_of, record};
use crate::sqlite::{Durability, Sharing, TRUTH};

fn file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("truth.db");
    (directory, path)
}

async fn open(path: &Path) -> SqliteEventLog {
    let db = Database::open(path, &TRUTH, Durability::Process).unwrap();
    SqliteEventLog::open(db, 4).await.unwrap()
}

async fn place() -> (impl AsyncFn() -> Arc<dyn EventLog>, TempDir) {
    let (directory, path) = file();
    (async move || Arc::new(open(&path).await) as Arc<dyn EventLog>, directory)
}

crate::event_log::contract::stamp!(contract, super::place);

/// Several processes at work on one file.
async fn shared_place() -> (impl AsyncFn() -> Arc<dyn EventLog>, TempDir) {
    let (directory, path) = file();
    let open = async move || {
        let db = Database::open_as(&path, &TRUTH, Durability::Process, Sharing::Shared).unwrap();
        Arc::new(SqliteEventLog::open(db, 4).await.unwrap()) as Arc<dyn EventLog>
    };
    (open, directory)
}

crate::event_log::contract::stamp!(shared, super::shared_place);
crate::event_log::contract::membership::stamp!(membership, super::shared_place);

#[tokio::test]
async fn a_damaged_record_is_told_of_and_stops_nothing() {
    let (_directory, path) = file();
    let log = open(&path).await;
    let records: Vec<_> = (0..6).map(|_| record(Topic::Posts, "lane")).collect();
    let positions = log.append(records.clone()).await.unwrap();
    let damage = [
        "actor = x'00'",
        "version = 70000",
        "sequence = -1",
        "data = CAST(x'ff' AS TEXT)",
        "lane = CAST(x'ff' AS TEXT)",
    ];
    let by_hand = rusqlite::Connection::open(&path).unwrap();
    for (position, damage) in positions.iter().zip(damage) {
        let sql = format!(r#"UPDATE events SET {damage} WHERE topic = 1 AND partition_number = ?1 AND "offset" = ?2"#);
        assert_eq!(by_hand.execute(&sql, (position.partition, position.offset)).unwrap(), 1);
    }
    let read = log.read(Topic::Posts, positions[0].partition, BEFORE_FIRST, 10, AT_ONCE).await.unwrap();
    assert_eq!(read.iter().map(|logged| logged.position).collect::<Vec<_>>(), positions);
    for (logged, damage) in read.iter().zip(damage) {
        let (column, _) = damage.split_once(' ').unwrap();
        let wrong = logged.record.as_ref().unwrap_err();
        assert!(wrong.starts_with(column), "{wrong}");
    }
    assert_eq!(read[5].record.as_ref(), Ok(&records[5]));
    assert!(read.iter().take(4).all(|logged| logged.lane == Lane::new("lane")));
}

#[tokio::test]
async fn a_log_keeps_its_partitions_and_needs_one() {
    let (_directory, path) = file();
    let db = Database::open(&path, &TRUTH, Durability::Process).unwrap();
    assert!(SqliteEventLog::open(db.clone(), 0).await.is_err());
    let first = SqliteEventLog::open(db.clone(), 3).await.unwrap();
    let second = SqliteEventLog::open(db, 9).await.unwrap();
    assert_eq!((second.id(), second.partitions()), (first.id(), 3));
    assert!(first.read(Topic::Posts, 3, BEFORE_FIRST, 1, LONG).await.is_err(), "there is no partition to wait for");
    assert!(first.head(Topic::Posts, 3).await.is_err());

    let (_directory, path) = file();
    assert_ne!(open(&path).await.id(), first.id(), "every log is another");
}

#[tokio::test]
async fn another_process_appends_and_readers_wake() {
    let (_directory, path) = file();
    let (ours, theirs) = (open(&path).await, open(&path).await);
    let expected = record(Topic::Posts, "lane");
    let partition = partition_of(&expected.lane, 4);
    let mut read = ours.read(Topic::Posts, partition, BEFORE_FIRST, 10, LONG);
    assert!(futures::poll!(&mut read).is_pending());
    theirs.append(vec![expected.clone()]).await.unwrap();
    let read = read.await.unwrap();
    assert_eq!(read[0].record, Ok(expected));

    // Both append at once, and every record has a place of its own.
    let both = (0..50).flat_map(|_| [&ours, &theirs]).map(|log| log.append(vec![record(Topic::Posts, "lane")]));
    let appended = futures::future::join_all(both).await.into_iter().flat_map(Result::unwrap);
    let mut offsets: Vec<_> = appended.map(|position| position.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=100).collect::<Vec<_>>(), "offsets have no gaps here");
    assert_eq!(all_of(&theirs, Topic::Posts, partition, 1000).await.len(), 101);
    assert_eq!(ours.head(Topic::Posts, partition).await.unwrap(), 100);
}

#[tokio::test]
async fn an_append_wakes_readers_without_anybody_looking() {
    let (_directory, path) = file();
    let db = Database::open(&path, &TRUTH, Durability::Process).unwrap();
    let log = SqliteEventLog::open_deaf(db, 1).await.unwrap();
    let mut read = log.read(Topic::Posts, 0, BEFORE_FIRST, 10, LONG);
    assert!(futures::poll!(&mut read).is_pending());
    log.append(vec![record(Topic::Posts, "lane")]).await.unwrap();
    assert_eq!(read.await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_read_takes_little_into_memory() {
    let (_directory, path) = file();
    let log = open(&path).await;
    let large = |_| Record { data: "x".repeat(100_000), ..record(Topic::Posts, "lane") };
    let records: Vec<_> = (0..100).map(large).collect();
    let partition = log.append(records.clone()).await.unwrap()[0].partition;
    let read = log.read(Topic::Posts, partition, BEFORE_FIRST, 1000, AT_ONCE).await.unwrap();
    let bytes: usize = read.iter().map(|logged| logged.record.as_ref().unwrap().data.len()).sum();
    assert!(bytes > 0 && bytes <= READ_BYTES + 100_000, "{bytes} bytes");
    assert_eq!(all_of(&log, Topic::Posts, partition, 1000).await.len(), 100);
}

#[tokio::test]
async fn nobody_looks_once_the_log_is_dropped() {
    let (_directory, path) = file();
    let log = open(&path).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    drop(log);
    assert!(!path.with_extension("db-wal").exists(), "a connection is still open");
    let ended = async {
        while tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, ended).await.unwrap();
}

#[test]
fn places_are_ordered_and_read_back() {
    let log = LogId(1);
    let places = [(Topic::Posts, 0, 0), (Topic::Posts, 0, 7), (Topic::Posts, 1, 0), (Topic::Posts, u16::MAX, 5)];
    let more = [(Topic::Relations, 0, 0), (Topic::Users, u16::MAX, (1 << 44) - 1)];
    let positions = places.into_iter().chain(more);
    let positions: Vec<_> =
        positions.map(|(topic, partition, offset)| Position { log, topic, partition, offset }).collect();
    let places: Vec<_> = positions.iter().map(|it| Place::of(it.topic, it.partition, it.offset)).collect();
    assert!(places.is_sorted_by(|one, other| one < other));
    assert_eq!(places.iter().filter_map(|place| place.position(log)).collect::<Vec<_>>(), positions);
    assert_eq!(Place(5).position(log), None);
}

#[tokio::test]
async fn of_canaries_the_newest_are_kept() {
    let (_directory, path) = file();
    let log = open(&path).await;
    let place = Canary::partition(4);
    for _ in 0..250 {
        let attributes = record(Topic::Canaries, "").attributes;
        let canary = Canary { id: attributes.id, sender: attributes.correlation };
        log.append(vec![canary.record(attributes.time)]).await.unwrap();
    }
    let kept = all_of(&log, place.topic, place.number, 1000).await;
    assert_eq!((kept.len(), kept[0].position.offset, kept[99].position.offset), (100, 150, 249));
}
