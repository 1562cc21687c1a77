//! What every adapter of [`Live`] must do. `stamp!(open)` makes a test of each rule; `open` is an async function that
//! answers a [`Live`] whose subscribers may be at most [`MOST_BUFFERED`] messages behind, and what must outlive it.

use std::sync::Arc;
use std::time::Duration;

use domain::{PostId, Timestamp, UserId};

use super::{Channel, Delivery, Live, Message, News, Subscription};

/// The buffer that adapters are opened with has at most so many places.
pub(crate) const MOST_BUFFERED: u64 = 64;

macro_rules! stamp {
    ($open:path) => {
        $crate::live::contract::stamp! { $open =>
            what_is_published_arrives_in_order,
            every_subscriber_gets_every_message,
            what_was_published_before_does_not_arrive,
            channels_are_independent,
            one_message_goes_to_many_channels,
            whoever_is_too_slow_is_told_and_goes_on,
            whoever_leaves_takes_nothing_along,
            subscriptions_end_with_the_port,
        }
    };
    ($open:path => $($rule:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let (live, _outlives) = $open().await;
                $crate::live::contract::$rule(live).await;
            }
        )+
    };
}
pub(crate) use stamp;

/// Something that does arrive, arrives within this time, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn post(number: u8) -> Channel {
    Channel::Post(PostId::from_parts(Timestamp::from_millis(1), [number; 10]))
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

pub(crate) async fn what_is_published_arrives_in_order(live: Arc<dyn Live>) {
    let mut subscription = live.subscribe(post(1)).await.unwrap();
    live.publish(post(1), vec![message(1), message(2)]).await.unwrap();
    live.publish(post(1), Vec::new()).await.unwrap();
    live.publish(post(1), vec![message(3)]).await.unwrap();
    expect(subscription.as_mut(), 1..=3).await;
}

pub(crate) async fn every_subscriber_gets_every_message(live: Arc<dyn Live>) {
    let mut first = live.subscribe(post(1)).await.unwrap();
    live.publish(post(1), vec![message(1)]).await.unwrap();
    let mut second = live.subscribe(post(1)).await.unwrap();
    live.publish(post(1), vec![message(2)]).await.unwrap();
    expect(first.as_mut(), 1..=2).await;
    expect(second.as_mut(), 2..=2).await;
}

pub(crate) async fn what_was_published_before_does_not_arrive(live: Arc<dyn Live>) {
    live.publish(post(1), vec![message(1)]).await.unwrap();
    let mut subscription = live.subscribe(post(1)).await.unwrap();
    live.publish(post(1), vec![message(2)]).await.unwrap();
    expect(subscription.as_mut(), [2]).await;
}

pub(crate) async fn channels_are_independent(live: Arc<dyn Live>) {
    // Of the same sixteen bytes, too: a person's channel is not a post's.
    let same_bytes = Channel::Viewer(UserId::from_parts(Timestamp::from_millis(1), [1; 10]));
    let mut one = live.subscribe(post(1)).await.unwrap();
    let mut other = live.subscribe(post(2)).await.unwrap();
    let mut viewer = live.subscribe(same_bytes).await.unwrap();
    let mut home = live.subscribe(Channel::Home(UserId::from_parts(Timestamp::from_millis(1), [1; 10]))).await.unwrap();
    for (channel, position) in [(post(3), 0), (same_bytes, 1), (post(2), 2), (post(1), 3)] {
        live.publish(channel, vec![message(position)]).await.unwrap();
    }
    live.publish(Channel::Home(UserId::from_parts(Timestamp::from_millis(1), [1; 10])), vec![message(4)])
        .await
        .unwrap();
    expect(viewer.as_mut(), [1]).await;
    expect(home.as_mut(), [4]).await;
    expect(other.as_mut(), [2]).await;
    expect(one.as_mut(), [3]).await;
}

pub(crate) async fn one_message_goes_to_many_channels(live: Arc<dyn Live>) {
    let mut one = live.subscribe(post(1)).await.unwrap();
    let mut other = live.subscribe(post(2)).await.unwrap();
    let mut third = live.subscribe(post(3)).await.unwrap();
    live.publish_to_each(vec![post(1), post(9), post(2)], message(1)).await.unwrap();
    live.publish_to_each(Vec::new(), message(2)).await.unwrap();
    live.publish_to_each(vec![post(3), post(2)], message(3)).await.unwrap();
    expect(one.as_mut(), [1]).await;
    expect(other.as_mut(), [1, 3]).await;
    expect(third.as_mut(), [3]).await;
}

pub(crate) async fn whoever_is_too_slow_is_told_and_goes_on(live: Arc<dyn Live>) {
    let mut slow = live.subscribe(post(1)).await.unwrap();
    let last = i64::try_from(MOST_BUFFERED).unwrap() * 4;
    for position in 0..last {
        live.publish(post(1), vec![message(position)]).await.unwrap();
    }

    let mut expected = 0;
    let mut losses = 0;
    let mut is_lost = false;
    while expected < last {
        match next(slow.as_mut()).await {
            Some(Delivery::Lost) => {
                losses += 1;
                is_lost = true;
            }
            Some(Delivery::Message(message)) => {
                assert!(message.position == expected || (is_lost && message.position > expected), "a silent gap");
                expected = message.position + 1;
                is_lost = false;
            }
            None => panic!("the subscription ended"),
        }
    }
    assert!(losses > 0, "so many messages cannot have been kept");

    live.publish(post(1), vec![message(last)]).await.unwrap();
    expect(slow.as_mut(), [last]).await;
}

pub(crate) async fn whoever_leaves_takes_nothing_along(live: Arc<dyn Live>) {
    let gone = live.subscribe(post(1)).await.unwrap();
    let mut stays = live.subscribe(post(1)).await.unwrap();
    drop(gone);
    live.publish(post(1), vec![message(1)]).await.unwrap();
    expect(stays.as_mut(), [1]).await;

    drop(stays);
    live.publish(post(1), vec![message(2)]).await.unwrap();
    let mut comes_back = live.subscribe(post(1)).await.unwrap();
    live.publish(post(1), vec![message(3)]).await.unwrap();
    expect(comes_back.as_mut(), [3]).await;
}

pub(crate) async fn subscriptions_end_with_the_port(live: Arc<dyn Live>) {
    let mut subscription = live.subscribe(post(1)).await.unwrap();
    live.publish(post(1), vec![message(1)]).await.unwrap();
    drop(live);
    // What was published before still arrives.
    expect(subscription.as_mut(), [1]).await;
    assert_eq!(next(subscription.as_mut()).await, None);
    assert_eq!(next(subscription.as_mut()).await, None);
}
