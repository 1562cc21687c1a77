//! Members as rows, beside the contract: how the dead and the sleeping are dealt with.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::event_log::contract::LONG;
use crate::sqlite::{Durability, TRUTH};

const PARTITIONS: u16 = 4;
const GROUP: &str = "group";

/// A process that shares the file.
async fn process(path: &Path) -> SqliteEventLog {
    let db = Database::open_as(path, &TRUTH, Durability::Process, Sharing::Shared).unwrap();
    SqliteEventLog::open(db, PARTITIONS).await.unwrap()
}

fn file() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("truth.db");
    (directory, path)
}

async fn member(log: &SqliteEventLog) -> Box<dyn Membership> {
    log.join(GROUP, &[Topic::Posts]).await.unwrap()
}

fn all() -> BTreeSet<Partition> {
    (0..PARTITIONS).map(|number| Partition { topic: Topic::Posts, number }).collect()
}

async fn has(member: &dyn Membership, expected: &BTreeSet<Partition>) {
    let mut assigned = member.assigned();
    let reached = tokio::time::timeout(LONG, assigned.wait_for(|assigned| assigned == expected)).await;
    assert!(matches!(reached, Ok(Ok(_))), "has {:?} and not {expected:?}", member.assigned().borrow());
}

/// Waits until each partition is at one of the members, and answers whose are which.
async fn divided(members: &[&dyn Membership]) -> Vec<BTreeSet<Partition>> {
    let agreed = async {
        loop {
            let shares: Vec<BTreeSet<Partition>> =
                members.iter().map(|member| member.assigned().borrow().clone()).collect();
            let union: BTreeSet<Partition> = shares.iter().flatten().copied().collect();
            let is_even = shares.iter().all(|share| share.len() == usize::from(PARTITIONS) / members.len());
            if union == all() && is_even {
                return shares;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, agreed).await.expect("the members agree")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_goes_without_a_word_is_missed() {
    let (_directory, path) = file();
    let (ours, theirs) = (process(&path).await, process(&path).await);
    let (first, second) = (member(&ours).await, member(&theirs).await);
    divided(&[&*first, &*second]).await;
    drop(second);
    has(&*first, &all()).await;
    let count = |connection: &Connection| {
        let sql = "SELECT count(*) FROM group_members";
        Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    };
    let swept = async {
        while ours.database().read(count).await.unwrap() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, swept).await.expect("the row of the dead goes, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_taken_for_dead_comes_back() {
    let (_directory, path) = file();
    let (ours, theirs) = (process(&path).await, process(&path).await);
    let (first, second) = (member(&ours).await, member(&theirs).await);
    divided(&[&*first, &*second]).await;
    // As the others do with a process that slept for longer than its row counts.
    theirs.database().write(|connection| Ok(connection.execute("DELETE FROM group_members", [])?)).await.unwrap();
    divided(&[&*first, &*second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_from_before_the_clock_was_set_back_do_not_count() {
    let (_directory, path) = file();
    let log = process(&path).await;
    let in_an_hour = clock::now().plus_millis(3_600_000).as_millis();
    let sql =
        "INSERT INTO group_members VALUES ('group', 7, 'hybrid-live.posts', ?1), ('group', 8, 'hybrid-live.posts', 1)";
    let stale = move |connection: &Connection| Ok(connection.execute(sql, (in_an_hour,))?);
    log.database().write(stale).await.unwrap();
    let only = member(&log).await;
    assert_eq!(*only.assigned().borrow(), all());
}

#[tokio::test]
async fn who_is_alone_writes_nothing() {
    let (_directory, path) = file();
    // What a process that shared the file has left.
    let other = process(&path).await;
    let left = member(&other).await;
    drop((left, other));
    let db = Database::open(&path, &TRUTH, Durability::Process).unwrap();
    let log = SqliteEventLog::open(db, PARTITIONS).await.unwrap();
    let only = member(&log).await;
    assert_eq!(*only.assigned().borrow(), all(), "nobody else can be alive");
    only.leave().await;
    assert!(only.assigned().borrow().is_empty());
}
