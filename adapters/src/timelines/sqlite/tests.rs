//! The contract, and what is true of this adapter beyond it.

use domain::Timestamp;
use rusqlite::params;
use tempfile::TempDir;

use super::*;
use crate::sqlite::{Durability, READ_MODELS};
use crate::timelines::{Order, contract};

async fn open() -> (Arc<dyn Timelines>, TempDir) {
    let (timelines, folder) = open_file();
    (Arc::new(timelines), folder)
}

fn open_file() -> (SqliteTimelines, TempDir) {
    let folder = TempDir::new().unwrap();
    let db = Database::open(&folder.path().join("read_models.db"), &READ_MODELS, Durability::Process).unwrap();
    (SqliteTimelines::new(db), folder)
}

contract::stamp!(open);

const ALL: Span = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };

fn user(number: i64) -> UserId {
    UserId::from_parts(Timestamp::from_millis(number), [0; 10])
}

fn entry(number: i64) -> Entry {
    let post = PostId::from_parts(Timestamp::from_millis(number), [0; 10]);
    Entry { post, author: user(9), partition: 0, offset: number }
}

/// T2 twice over: what is at or below the mark is not kept, and would not be read if it were.
#[tokio::test]
async fn rows_at_or_below_the_mark_are_neither_kept_nor_read() {
    let (timelines, _folder) = open_file();
    let (generation, owner) = (Generation::FIRST, user(1));
    let posts: Vec<Entry> = (1..=6).map(entry).collect();
    timelines.fill_home(generation, owner, &posts).await.unwrap();
    timelines.raise_mark(generation, owner, posts[3].post).await.unwrap();
    timelines.fill_home(generation, owner, &posts).await.unwrap();
    for post in &posts {
        timelines.write_homes(generation, &[owner], *post).await.unwrap();
    }
    let kept = timelines.scan_homes(generation, None, 10).await.unwrap();
    assert_eq!(kept, [(owner, posts[4]), (owner, posts[5])]);

    timelines
        .db
        .write(move |connection| {
            // As if the row had been written before the mark was raised, and left behind.
            let lower = "UPDATE homes SET post = ?1 WHERE post = ?2";
            Ok(connection.execute(lower, params![entry(2).post.as_bytes(), entry(5).post.as_bytes()])?)
        })
        .await
        .unwrap();
    let home = timelines.home(generation, owner, ALL, 10).await.unwrap();
    assert_eq!(home, Home { mark: posts[3].post, entries: vec![posts[5]] });
}
