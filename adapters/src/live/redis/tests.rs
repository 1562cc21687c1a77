//! The contract on a real server, and what only connections can do wrong.

use std::sync::Arc;

use domain::{PostId, Timestamp};

use super::*;
use crate::live::{Delivery, News, contract};
use crate::redis::testing::{PATIENCE, shared_url, until};

mod cluster;
mod faults;
mod secured;

const BUFFER: usize = contract::MOST_BUFFERED as usize;

async fn opened(url: &str) -> RedisLive {
    RedisLive::open(&StoreUrl::parse(url).expect("a good URL"), BUFFER).await.expect("opens")
}

async fn refusal(url: &str) -> String {
    let url = StoreUrl::parse(url).expect("a good URL");
    RedisLive::open(&url, BUFFER).await.expect_err("refused").to_string()
}

async fn open() -> (Arc<dyn Live>, ()) {
    (Arc::new(opened(&shared_url()).await), ())
}

contract::stamp!(open);

fn channel(number: u64) -> Channel {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    Channel::Post(PostId::from_parts(Timestamp::from_millis(1), random))
}

fn message(position: i64) -> Message {
    Message { position, news: News::NewLike { likes: position.unsigned_abs() } }
}

async fn next(subscription: &mut dyn Subscription) -> Option<Delivery> {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("a delivery")
}

async fn expect(subscription: &mut dyn Subscription, positions: impl IntoIterator<Item = i64>) {
    for position in positions {
        assert_eq!(next(subscription).await, Some(Delivery::Message(message(position))));
    }
}

#[tokio::test]
async fn processes_hear_each_other() {
    let url = shared_url();
    let (one, other) = (opened(&url).await, opened(&url).await);
    let mut here = one.subscribe(channel(1)).await.unwrap();
    let mut there = other.subscribe(channel(1)).await.unwrap();
    one.publish(channel(1), vec![message(1)]).await.unwrap();
    other.publish_to_each(vec![channel(2), channel(1)], message(2)).await.unwrap();
    expect(here.as_mut(), 1..=2).await;
    expect(there.as_mut(), 1..=2).await;

    drop(other);
    expect_end(there.as_mut()).await;
    one.publish(channel(1), vec![message(3)]).await.unwrap();
    expect(here.as_mut(), [3]).await;
}

async fn expect_end(subscription: &mut dyn Subscription) {
    assert_eq!(next(subscription).await, None);
}

/// A message that has arrived, but was not looked at yet when the port is dropped, was published before.
#[tokio::test]
async fn what_is_under_way_at_the_end_arrives() {
    let url = shared_url();
    let listening = opened(&url).await;
    let mut subscription = listening.subscribe(channel(1)).await.unwrap();
    // By another thread while this one, which all tasks here share, waits and reads nothing.
    let publishing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { opened(&url).await.publish(channel(1), vec![message(1)]).await })
    });
    publishing.join().unwrap().unwrap();
    drop(listening);
    expect(subscription.as_mut(), [1]).await;
    expect_end(subscription.as_mut()).await;
}

#[tokio::test]
async fn prefixes_keep_installations_apart() {
    let (one, other) = (opened(&shared_url()).await, opened(&shared_url()).await);
    let mut here = one.subscribe(channel(1)).await.unwrap();
    other.publish(channel(1), vec![message(1)]).await.unwrap();
    one.publish(channel(1), vec![message(2)]).await.unwrap();
    expect(here.as_mut(), [2]).await;
}

/// What a newer version says is not understood, but neither is it kept silent about.
#[tokio::test]
async fn a_message_that_cannot_be_read_is_a_loss() {
    let live = opened(&shared_url()).await;
    let mut subscription = live.subscribe(channel(1)).await.unwrap();
    let name = live.name_of(channel(1));
    let publisher = Link::open(&live.server, |_| true).await.unwrap();
    publisher.publish(&[(name, Arc::from(&br#"{"position":1,"news":{"news":"NEWER"}}"#[..]))]).await.unwrap();
    live.publish(channel(1), vec![message(2)]).await.unwrap();
    assert_eq!(next(subscription.as_mut()).await, Some(Delivery::Lost));
    expect(subscription.as_mut(), [2]).await;
}

/// However they interleave: whoever has subscribed gets what is published then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn coming_and_going_of_others_loses_nothing() {
    let live = Arc::new(opened(&shared_url()).await);
    let rounds = (0..8).map(|task| {
        let live = Arc::clone(&live);
        tokio::spawn(async move {
            for round in 0..100 {
                let position = task * 1_000 + round;
                let mut subscription = live.subscribe(channel(1)).await.unwrap();
                live.publish(channel(1), vec![message(position)]).await.unwrap();
                loop {
                    match next(subscription.as_mut()).await.unwrap() {
                        Delivery::Message(message) if message.position != position => {}
                        Delivery::Message(_) | Delivery::Lost => break,
                    }
                }
            }
        })
    });
    for round in rounds.collect::<Vec<_>>() {
        round.await.unwrap();
    }
    assert_eq!(live.channels(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_url_is_said() {
    let url = shared_url();
    assert!(refusal(&format!("{url}?spede=1")).await.contains("`redis` has no option `spede`"));
    assert!(refusal(&format!("{url}%7B")).await.contains("prefix"));
    assert!(refusal(&format!("{url}?database=1&cluster=true")).await.contains("database"));
    assert!(refusal(&format!("{url}?tls_ca_file=x")).await.contains("tls=true"));
    let two_hosts = url.replacen("://", "://127.0.0.1:1,", 1);
    assert!(refusal(&two_hosts).await.contains("name one host"));
    assert!(refusal("redis://127.0.0.1:x/y").await.contains("port"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let url = StoreUrl::parse("redis://ada:secret@127.0.0.1:1/x").unwrap();
    let error = RedisLive::open(&url, BUFFER).await.expect_err("refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"));
}
