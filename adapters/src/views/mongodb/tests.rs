//! The contract, and what is true of this adapter beyond it: what remains of writes that end half-way, and of owners
//! who do not know that they are none any more.

use std::sync::Arc;

use mongodb::bson::{Document, doc};
use tokio::runtime::Handle;

use super::*;
use crate::views::contract;

mod engagement_steps;
pub(super) mod gate;
mod number_steps;
mod world;

/// A database of one test's own; it goes with this.
struct Own(mongodb::Database);

impl Drop for Own {
    fn drop(&mut self) {
        // What cannot be dropped is left to whoever runs the server.
        let dropped = tokio::task::block_in_place(|| Handle::current().block_on(self.0.drop().into_future()));
        drop(dropped);
    }
}

fn fresh_url() -> StoreUrl {
    let server = std::env::var("HYBRID_LIVE_TEST_MONGODB")
        .expect("HYBRID_LIVE_TEST_MONGODB is not set: run `eval \"$(tests/services/up)\"` first");
    StoreUrl::parse(&format!("{server}/views_{:016x}", rand::random::<u64>())).unwrap()
}

async fn open_own() -> (MongoViews, Own) {
    let url = fresh_url();
    MongoViews::migrate(&url).await.unwrap();
    let views = MongoViews::open(&url).await.unwrap();
    let own = Own(views.store.database.clone());
    (views, own)
}

async fn open() -> (Arc<dyn Views>, Own) {
    let (views, own) = open_own().await;
    (Arc::new(views), own)
}

contract::stamp!(open);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_made_once_and_a_newer_one_is_refused() {
    let url = fresh_url();
    let refused = MongoViews::open(&url).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unfit(how) if how.contains("hybrid-live migrate")), "{refused}");
    let (one, other) = tokio::join!(MongoViews::migrate(&url), MongoViews::migrate(&url));
    assert_eq!((one.unwrap().to, other.unwrap().to), (1, 1));
    assert_eq!(MongoViews::migrate(&url).await.unwrap(), Migration { from: 1, to: 1 });
    let views = MongoViews::open(&url).await.unwrap();
    let own = Own(views.store.database.clone());
    assert!(!format!("{views:?}").contains("127.0.0.1"));

    let raise = doc! { "$set": { "version": 2 } };
    own.0.collection::<Document>("schema").update_one(doc! { "_id": "views" }, raise).await.unwrap();
    for refused in [MongoViews::open(&url).await.map(drop), MongoViews::migrate(&url).await.map(drop)] {
        assert!(matches!(refused, Err(StoreError::Unfit(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let url = StoreUrl::parse("mongodb://127.0.0.1:1/views?serverSelectionTimeoutMS=200").unwrap();
    let refused = MongoViews::open(&url).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

/// R1: a damaged row drops out, and what follows it is still reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_filled_from_beyond_a_damaged_row() {
    let (views, own) = open_own().await;
    let generation = Generation::FIRST;
    let post = |number| PostId::from_parts(Timestamp::from_millis(number), [0; 10]);
    let user = |number| UserId::from_parts(Timestamp::from_millis(number), [0; 10]);
    let reaction = |by| ReactionRow { post: post(1), user: user(by), liked: true, sequence: 1, position: by };
    let liked = |number, reactions: Vec<ReactionRow>| EngagementUpdate {
        post: post(number),
        expected_position: -1,
        row: PostRow { likes: 4, position: 4, listed: 4, ..PostRow::default() },
        comments: Vec::new(),
        reactions,
        versions: Vec::new(),
        forgotten: Vec::new(),
    };
    let updates = vec![liked(1, (1..=4).map(reaction).collect()), liked(2, Vec::new())];
    views.write_engagement(generation, updates).await.unwrap();
    let documents = |name| own.0.collection::<Document>(name);
    documents("reactions").update_one(doc! { "position": 3 }, doc! { "$set": { "sequence": -1 } }).await.unwrap();
    let first = doc! { "key.post": store::uuid(post(1).as_bytes()) };
    documents("posts").update_one(first, doc! { "$set": { "likes": "many" } }).await.unwrap();

    let page = views.likes(generation, post(1), None, 2).await.unwrap();
    assert_eq!(page.into_iter().map(|row| row.user).collect::<Vec<_>>(), [user(4), user(2)]);
    let counts = views.counts(generation, &[post(1), post(2)]).await.unwrap();
    assert_eq!(counts.iter().map(|counts| counts.likes).collect::<Vec<_>>(), [0, 4]);
    let scanned = views.scan_posts(generation, None, 1).await.unwrap();
    assert_eq!(scanned.into_iter().map(|(post, _)| post).collect::<Vec<_>>(), [post(2)]);
    // One row alone is not passed over in silence: whoever computes from it must know.
    let row = views.post_row(generation, post(1)).await;
    assert!(matches!(row, Err(StoreError::Damaged(_))), "{row:?}");
}
