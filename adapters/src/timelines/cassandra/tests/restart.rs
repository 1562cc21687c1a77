//! A server that goes and comes back, by hand: `… a_server_that_goes_and_comes_back -- --ignored --nocapture` against a
//! server of one's own, which is killed and started again meanwhile.

use std::time::{Duration, Instant};

use domain::Timestamp;

use super::*;
use crate::timelines::Order;

const POSTS: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "somebody must kill the server meanwhile"]
async fn a_server_that_goes_and_comes_back() {
    let timelines = open_shared().await;
    let generation = Generation(own_generations());
    let owner = UserId::from_parts(Timestamp::from_millis(1), [0; 10]);
    let (mut refused, mut longest, begin) = (0, Duration::ZERO, Instant::now());
    let mut last_error = String::new();
    for number in 1..=POSTS {
        let post = PostId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10]);
        let entry = Entry { post, author: owner, partition: 0, offset: i64::from(number) };
        loop {
            let call = Instant::now();
            let outcome = timelines.write_homes(generation, &[owner], entry).await;
            longest = longest.max(call.elapsed());
            match outcome {
                Ok(_) => break,
                Err(StoreError::Unavailable(text)) => {
                    refused += 1;
                    last_error = text;
                }
                Err(other) => panic!("{other}"),
            }
            assert!(begin.elapsed() < Duration::from_secs(180), "{last_error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{refused} calls refused, the longest took {longest:?}; the last error: {last_error}");
    let all = Span { above: PostId::MIN, below: PostId::MAX, order: Order::OldestFirst };
    assert_eq!(timelines.home(generation, owner, all, 1_000).await.unwrap().entries.len(), POSTS as usize);
}
