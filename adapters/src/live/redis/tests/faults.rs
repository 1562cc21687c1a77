//! Connections that are cut, servers that end, that come back, that stand still.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, StreamExt as _};

use super::*;
use crate::redis::testing::OwnServer;

/// Publishes as projections do: again and again until it is taken.
async fn insist(live: &RedisLive, channel: Channel, position: i64) {
    until("a published message", || async { live.publish(channel, vec![message(position)]).await.is_ok() }).await;
}

/// Subscribes; on a busy machine a server may not be back within the patience of one call.
async fn insist_on_hearing(live: &RedisLive, channel: Channel) -> Box<dyn Subscription> {
    loop {
        match live.subscribe(channel).await {
            Ok(subscription) => return subscription,
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
        }
    }
}

/// Reads up to `last`, and checks that nothing is missing without a word. Answers how often something was said to be.
async fn read_all(subscription: &mut dyn Subscription, last: i64) -> usize {
    let (mut seen, mut is_lost, mut losses) = (0, false, 0);
    while seen < last {
        match next(subscription).await.expect("it goes on") {
            Delivery::Lost => {
                is_lost = true;
                losses += 1;
            }
            // Published twice, for the publisher had no answer.
            Delivery::Message(message) if message.position <= seen => {}
            Delivery::Message(message) => {
                assert!(is_lost || message.position == seen + 1, "a silent gap: {seen}, {}", message.position);
                seen = message.position;
                is_lost = false;
            }
        }
    }
    losses
}

async fn cut_connections_lose_nothing_silently(kind: &str) {
    const LAST: i64 = 2_000;
    const CHANNELS: u64 = 4;
    // Cut whenever so many more were published, not by the clock: on a slow machine nobody would get anywhere.
    const CUT_EVERY: u64 = 400;
    let server = OwnServer::start().await;
    let publisher = Arc::new(opened(&server.url()).await);
    // With room for all, so that nothing is lost by being slow.
    let listening = RedisLive::open(&StoreUrl::parse(&server.url()).unwrap(), 10_000).await.unwrap();
    let mut readers = Vec::new();
    for number in 0..CHANNELS * 2 {
        let mut subscription = listening.subscribe(channel(number % CHANNELS)).await.unwrap();
        readers.push(tokio::spawn(async move { read_all(subscription.as_mut(), LAST + 1).await }));
    }
    let published = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..CHANNELS)
        .map(|number| {
            let (publisher, published) = (Arc::clone(&publisher), Arc::clone(&published));
            tokio::spawn(async move {
                for position in 1..=LAST {
                    insist(&publisher, channel(number), position).await;
                    published.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let (mut cuts, mut next_cut) = (0, CUT_EVERY);
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        if published.load(Ordering::Relaxed) >= next_cut {
            cuts += server.ask::<i64>(&format!("CLIENT KILL TYPE {kind} SKIPME yes")).await.unwrap();
            next_cut += CUT_EVERY;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(cuts > 2, "{cuts} connections were cut");
    // The last may be what was lost: one more, once all is well.
    for number in 0..CHANNELS {
        until("all channels again", || async {
            let heard: (String, i64) = server.ask(&format!("PUBSUB NUMSUB own:{{{}}}", channel(number))).await.unwrap();
            heard.1 == 1
        })
        .await;
        insist(&publisher, channel(number), LAST + 1).await;
    }
    let mut losses = 0;
    for reader in readers {
        losses += reader.await.unwrap();
    }
    assert_eq!(losses > 0, kind == "pubsub", "{losses} losses");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_subscription_is_made_again_and_said_to_have_been_cut() {
    cut_connections_lose_nothing_silently("pubsub").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_publisher_comes_back() {
    cut_connections_lose_nothing_silently("normal").await;
}

/// What is lost is said before anything newer: whoever was told something newer first would not read the older again.
#[tokio::test]
async fn the_loss_is_said_before_what_follows_it() {
    let server = OwnServer::start().await;
    let publisher = opened(&server.url()).await;
    let listening = opened(&server.url()).await;
    let mut subscription = listening.subscribe(channel(1)).await.unwrap();
    for round in 0..20 {
        let position = round * 10;
        insist(&publisher, channel(1), position + 1).await;
        expect(subscription.as_mut(), [position + 1]).await;
        server.ask::<i64>("CLIENT KILL TYPE pubsub").await.unwrap();
        until("the channel again", || async {
            // Published all the time, so that the first after the confirmation may come right behind it.
            insist(&publisher, channel(1), position + 2).await;
            server.ask::<(String, i64)>(&format!("PUBSUB NUMSUB own:{{{}}}", channel(1))).await.unwrap().1 == 1
        })
        .await;
        insist(&publisher, channel(1), position + 3).await;
        assert_eq!(next(subscription.as_mut()).await, Some(Delivery::Lost));
        while next(subscription.as_mut()).await != Some(Delivery::Message(message(position + 3))) {}
    }
}

#[tokio::test]
async fn an_outage_is_bridged() {
    let mut server = OwnServer::start().await;
    let live = opened(&server.url()).await;
    let mut before = live.subscribe(channel(1)).await.unwrap();
    live.publish(channel(1), vec![message(1)]).await.unwrap();
    expect(before.as_mut(), [1]).await;
    server.kill();
    until("the loss of the server", || async { live.publish(channel(1), vec![message(2)]).await.is_err() }).await;
    until("the loss of the subscriptions", || async { live.channels.trouble().is_some() }).await;
    let error = live.publish(channel(1), vec![message(2)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");

    // Both wait for the server: a channel that is known and one that is not.
    let known = insist_on_hearing(&live, channel(1));
    let unknown = insist_on_hearing(&live, channel(2));
    let comes_back = async {
        server.start_again();
        server.answers().await;
    };
    let (mut known, mut unknown, ()) = tokio::join!(known, unknown, comes_back);
    insist(&live, channel(1), 3).await;
    insist(&live, channel(2), 4).await;
    expect(known.as_mut(), [3]).await;
    expect(unknown.as_mut(), [4]).await;
    assert_eq!(next(before.as_mut()).await, Some(Delivery::Lost));
    expect(before.as_mut(), [3]).await;
}

#[tokio::test]
async fn without_a_server_subscribing_ends_and_so_do_subscriptions() {
    let mut server = OwnServer::start().await;
    let live = opened(&server.url()).await;
    let mut before = live.subscribe(channel(1)).await.unwrap();
    server.kill();
    until("the loss of the server", || async { live.channels.trouble().is_some() }).await;
    let error = live.subscribe(channel(1)).await.err().expect("no confirmation");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(live.channels(), 1, "who was refused is forgotten");
    drop(live);
    expect_end(before.as_mut()).await;
}

/// The connections stand, but nobody answers: only a ping finds out.
#[tokio::test]
async fn a_server_that_stands_still_is_noticed() {
    let server = OwnServer::start().await;
    let live = opened(&server.url()).await;
    let mut subscription = live.subscribe(channel(1)).await.unwrap();
    server.signal("STOP");
    until("the loss of the subscriptions", || async { live.channels.trouble().is_some() }).await;
    assert!(live.publish(channel(1), vec![message(1)]).await.is_err());
    server.signal("CONT");
    assert_eq!(next(subscription.as_mut()).await, Some(Delivery::Lost));
    insist(&live, channel(1), 2).await;
    while next(subscription.as_mut()).await != Some(Delivery::Message(message(2))) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_channels_share_a_connection() {
    const CHANNELS: u64 = 10_000;
    let server = OwnServer::start().await;
    let live = opened(&server.url()).await;
    let subscribe = |number| live.subscribe(channel(number));
    let subscriptions = stream::iter(0..CHANNELS).map(subscribe).buffered(1_000);
    let mut subscriptions: Vec<_> = subscriptions.map(Result::unwrap).collect().await;
    let connections = || async { server.ask::<String>("CLIENT LIST TYPE pubsub").await.unwrap() };
    let list = connections().await;
    assert_eq!((list.lines().count(), list.contains(" sub=10000 ")), (1, true), "{list}");

    let all = || (0..CHANNELS).map(channel).collect::<Vec<_>>();
    live.publish_to_each(all(), message(1)).await.unwrap();
    for subscription in &mut subscriptions {
        expect(subscription.as_mut(), [1]).await;
    }
    server.ask::<i64>("CLIENT KILL TYPE pubsub").await.unwrap();
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription.as_mut()).await, Some(Delivery::Lost));
    }
    live.publish_to_each(all(), message(2)).await.unwrap();
    for subscription in &mut subscriptions {
        expect(subscription.as_mut(), [2]).await;
    }
    drop(subscriptions);
    assert_eq!(live.channels(), 0);
    until("the end of the subscriptions", || async { connections().await.is_empty() }).await;
}
