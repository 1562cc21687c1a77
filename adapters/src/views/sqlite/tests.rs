//! The contract, and what is true of this adapter beyond it.

use domain::Timestamp;
use rusqlite::params;
use tempfile::TempDir;

use super::*;
use crate::sqlite::{Durability, READ_MODELS, Schema};
use crate::views::contract;

async fn open() -> (Arc<dyn Views>, TempDir) {
    let (views, folder) = open_file();
    (Arc::new(views), folder)
}

fn open_file() -> (SqliteViews, TempDir) {
    let folder = TempDir::new().unwrap();
    let db = Database::open(&folder.path().join("read_models.db"), &READ_MODELS, Durability::Process).unwrap();
    (SqliteViews::new(db), folder)
}

contract::stamp!(open);

fn post(number: i64) -> PostId {
    PostId::from_parts(Timestamp::from_millis(number), [0; 10])
}

fn user(number: i64) -> UserId {
    UserId::from_parts(Timestamp::from_millis(number), [0; 10])
}

fn liked(number: i64, by: &[i64]) -> EngagementUpdate {
    let position = i64::try_from(by.len()).unwrap() - 1;
    let reactions = (0..).zip(by).map(|(position, by)| ReactionRow {
        post: post(number),
        user: user(*by),
        liked: true,
        sequence: 1,
        position,
    });
    EngagementUpdate {
        post: post(number),
        expected_position: -1,
        row: PostRow { likes: by.len() as u64, position, listed: position, ..PostRow::default() },
        comments: Vec::new(),
        reactions: reactions.collect(),
        versions: Vec::new(),
        forgotten: Vec::new(),
    }
}

/// The guard is the whole call's: posts of one call are written together or not at all.
#[tokio::test]
async fn an_overtaken_post_undoes_the_whole_call() {
    let (views, _folder) = open_file();
    views.write_engagement(Generation::FIRST, vec![liked(2, &[1])]).await.unwrap();
    let refused = views.write_engagement(Generation::FIRST, vec![liked(1, &[1, 2]), liked(2, &[2, 3])]).await;
    assert!(matches!(refused, Err(StoreError::Overtaken(_))), "{refused:?}");
    assert_eq!(views.post_row(Generation::FIRST, post(1)).await.unwrap(), PostRow::default());
    assert_eq!(views.likes(Generation::FIRST, post(1), None, 10).await.unwrap(), []);
    assert_eq!(views.likes(Generation::FIRST, post(2), None, 10).await.unwrap().len(), 1);
}

/// R1: a damaged row drops out, and what follows it is still reached.
#[tokio::test]
async fn a_page_is_filled_from_beyond_a_damaged_row() {
    let (views, _folder) = open_file();
    let generation = Generation::FIRST;
    views.write_engagement(generation, vec![liked(1, &[1, 2, 3, 4]), liked(2, &[1])]).await.unwrap();
    views
        .db
        .write(|connection| {
            connection.execute("UPDATE reactions SET sequence = -1 WHERE user = ?1", params![user(3).as_bytes()])?;
            connection.execute("UPDATE posts SET likes = -5 WHERE post = ?1", params![post(1).as_bytes()])?;
            Ok(())
        })
        .await
        .unwrap();
    let page = views.likes(generation, post(1), None, 2).await.unwrap();
    assert_eq!(page.into_iter().map(|row| row.user).collect::<Vec<_>>(), [user(4), user(2)]);
    let counts = views.counts(generation, &[post(1), post(2)]).await.unwrap();
    assert_eq!(counts.iter().map(|counts| counts.likes).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(views.liked(generation, user(1), &[post(1), post(2)]).await.unwrap(), [true, true]);
    let scanned = views.scan_posts(generation, None, 1).await.unwrap();
    assert_eq!(scanned.into_iter().map(|(post, _)| post).collect::<Vec<_>>(), [post(2)]);
    // One row alone is not passed over in silence: whoever computes from it must know.
    let row = views.post_row(generation, post(1)).await;
    assert!(matches!(row, Err(StoreError::Damaged(_))), "{row:?}");
}

/// What version 1 wrote stays, but for what `engagement` must build again to know of versions.
#[tokio::test]
async fn read_models_of_version_1_are_brought_up_to_date() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("read_models.db");
    let first = Schema { migrations: &READ_MODELS.migrations[..1], ..READ_MODELS };
    let db = Database::open(&path, &first, Durability::Process).unwrap();
    db.write(|connection| {
        let [ada, ben] = [user(1), user(2)].map(|user| *user.as_bytes());
        connection.execute("INSERT INTO edges VALUES (1, ?1, ?2, 1, 0, 3)", params![ada, ben])?;
        connection.execute("INSERT INTO posts VALUES (1, ?1, 0, 0, 5, 5, 1, 5, 0)", params![post(1).as_bytes()])?;
        for projection in ["timelines", "engagement"] {
            let values = "VALUES (1, ?1, 'hybrid-live.posts', 0, 7, '00000000000000ab', 5)";
            connection.execute(&format!("INSERT INTO checkpoints {values}"), params![projection])?;
            let values = "VALUES (1, ?1, 'hybrid-live.posts', 0, 'lane', 'reason')";
            connection.execute(&format!("INSERT INTO parked_lanes {values}"), params![projection])?;
            let values = "VALUES (1, ?1, 'hybrid-live.posts', 0, 'lane', 5)";
            connection.execute(&format!("INSERT INTO parked_events {values}"), params![projection])?;
        }
        Ok(())
    })
    .await
    .unwrap();
    drop(db);

    let db = Database::open(&path, &READ_MODELS, Durability::Process).unwrap();
    let views = SqliteViews::new(Arc::clone(&db));
    // Both projections have to tell more than their rows of version 1 do: they build them again.
    assert_eq!(views.scan_edges(Generation::FIRST, None, 10).await.unwrap(), []);
    assert_eq!(views.scan_posts(Generation::FIRST, None, 10).await.unwrap(), []);
    for table in ["checkpoints", "parked_lanes", "parked_events"] {
        let query = format!("SELECT count(*) FROM {table}");
        let kept: i64 = db.read(|connection| Ok(connection.query_row(&query, [], |row| row.get(0))?)).await.unwrap();
        assert_eq!(kept, 0, "{table}");
    }
}
