//! Sharded channels on servers in cluster mode.

use super::*;
use crate::redis::testing::OwnServer;

fn node() -> OwnServer {
    OwnServer::spawn(|_| vec!["--cluster-enabled".into(), "yes".into(), "--cluster-node-timeout".into(), "2000".into()])
}

async fn is_whole(node: &OwnServer) {
    until("a whole cluster", || async {
        node.ask::<String>("CLUSTER INFO").await.is_ok_and(|info| info.contains("cluster_state:ok"))
    })
    .await;
}

async fn one_node() -> OwnServer {
    let node = node();
    node.answers().await;
    node.ask::<()>("CLUSTER ADDSLOTSRANGE 0 16383").await.unwrap();
    is_whole(&node).await;
    node
}

mod sharded {
    use super::*;

    async fn open() -> (Arc<dyn Live>, OwnServer) {
        let node = one_node().await;
        (Arc::new(opened(&node.url()).await), node)
    }

    contract::stamp!(open);
}

#[tokio::test]
async fn channels_are_sharded_and_share_connections() {
    let node = one_node().await;
    let live = opened(&node.url()).await;
    let mut subscriptions = Vec::new();
    for number in 0..200 {
        subscriptions.push(live.subscribe(channel(number)).await.unwrap());
    }
    assert_eq!(shards(&node).await.len(), 200);
    assert!(node.ask::<Vec<String>>("PUBSUB CHANNELS").await.unwrap().is_empty());
    live.publish_to_each((0..200).map(channel).collect(), message(1)).await.unwrap();
    for subscription in &mut subscriptions {
        expect(subscription.as_mut(), [1]).await;
    }
    node.ask::<i64>("CLIENT KILL TYPE pubsub").await.unwrap();
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription.as_mut()).await, Some(Delivery::Lost));
    }
}

async fn shards(node: &OwnServer) -> Vec<String> {
    node.ask("PUBSUB SHARDCHANNELS").await.unwrap()
}

/// Two nodes with half of the slots each; then a slot moves, and takes its channel along.
#[tokio::test]
async fn a_channel_moves_with_its_slot() {
    let (one, other) = (node(), node());
    one.answers().await;
    other.answers().await;
    one.ask::<()>("CLUSTER ADDSLOTSRANGE 0 8191").await.unwrap();
    other.ask::<()>("CLUSTER ADDSLOTSRANGE 8192 16383").await.unwrap();
    other.ask::<()>("CLUSTER SET-CONFIG-EPOCH 2").await.unwrap();
    one.ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", other.port)).await.unwrap();
    is_whole(&one).await;
    is_whole(&other).await;

    let live = opened(&one.url()).await;
    let mut subscriptions = Vec::new();
    for number in 0..50 {
        subscriptions.push(live.subscribe(channel(number)).await.unwrap());
    }
    let (here, there) = (shards(&one).await, shards(&other).await);
    assert!(here.len() + there.len() == 50 && !here.is_empty() && !there.is_empty());
    live.publish_to_each((0..50).map(channel).collect(), message(1)).await.unwrap();
    for subscription in &mut subscriptions {
        expect(subscription.as_mut(), [1]).await;
    }

    let moves = here[0].clone();
    let slot: i64 = one.ask(&format!("CLUSTER KEYSLOT {moves}")).await.unwrap();
    let receiver: String = other.ask("CLUSTER MYID").await.unwrap();
    for node in [&other, &one] {
        node.ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {receiver}")).await.unwrap();
    }
    until("the channel on the other node", || async { shards(&other).await.contains(&moves) }).await;
    for (number, subscription) in (0..).zip(&mut subscriptions) {
        assert_eq!(next(subscription.as_mut()).await, Some(Delivery::Lost));
        until("a published message", || async { live.publish(channel(number), vec![message(2)]).await.is_ok() }).await;
        while next(subscription.as_mut()).await != Some(Delivery::Message(message(2))) {}
    }
}
