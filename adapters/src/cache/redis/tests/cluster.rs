//! On a cluster of three nodes.

use super::*;
use crate::redis::testing::OwnServer;

struct Cluster(Vec<OwnServer>);

impl Cluster {
    async fn start() -> Self {
        const RANGES: [&str; 3] = ["0 5460", "5461 10922", "10923 16383"];
        let nodes: Vec<OwnServer> = RANGES
            .iter()
            .map(|_| {
                OwnServer::spawn(|_| {
                    ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"].map(Into::into).into()
                })
            })
            .collect();
        for (number, (node, range)) in nodes.iter().zip(RANGES).enumerate() {
            node.answers().await;
            node.ask::<()>(&format!("CLUSTER ADDSLOTSRANGE {range}")).await.unwrap();
            node.ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).await.unwrap();
            if number > 0 {
                node.ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[0].port)).await.unwrap();
            }
        }
        let cluster = Self(nodes);
        cluster.is_whole().await;
        cluster
    }

    async fn is_whole(&self) {
        for node in &self.0 {
            until("a whole cluster", || async {
                node.ask::<String>("CLUSTER INFO").await.is_ok_and(|info| info.contains("cluster_state:ok"))
            })
            .await;
        }
    }
}

async fn open(limits: Limits) -> (Arc<dyn Tested>, Cluster) {
    let cluster = Cluster::start().await;
    (Arc::new(opened_with(&cluster.0[0].url(), limits).await), cluster)
}

contract::stamp! { open =>
    a_cold_key_is_leased_to_one,
    a_fill_takes_what_was_told_meanwhile,
    keys_and_spaces_are_apart,
    batches_may_be_empty_or_huge,
    one_of_a_thousand_gets_the_lease,
    an_addition_has_its_place,
    what_was_added_meanwhile_is_in_the_fill,
    what_is_found_is_the_masters,
}

#[tokio::test]
async fn posts_are_spread_and_what_is_of_one_is_together() {
    let cluster = Cluster::start().await;
    let cache = opened(&cluster.0[1].url()).await;
    let space = contract::space();
    for number in 0..60 {
        contract::filled(&cache, space, contract::preview(number), contract::value(1, "one")).await;
        contract::filled(&cache, space, contract::counts(number), contract::value(1, "one")).await;
        contract::list_filled(&cache, space, contract::list(number), contract::comments(1, [(1, 1)])).await;
    }
    let mut all = 0;
    for node in &cluster.0 {
        let keys: Vec<String> = node.ask(&format!("KEYS own:{:.8}:*", space.log.to_string())).await.unwrap();
        assert!(!keys.is_empty());
        all += keys.len();
        let tag = |key: &String| key[key.find('{').unwrap()..=key.find('}').unwrap()].to_owned();
        for key in &keys {
            assert_eq!(keys.iter().filter(|other| tag(other) == tag(key)).count(), 3, "{key}");
        }
    }
    assert_eq!(all, 180);
}

/// A slot that moves takes its keys along or not: on the other node they are in another life.
#[tokio::test]
async fn a_slot_that_moves_is_found_again() {
    let cluster = Cluster::start().await;
    let cache = opened(&cluster.0[0].url()).await;
    let space = contract::space();
    let keys: Vec<Key> = (0..60).map(contract::preview).collect();
    for key in &keys {
        contract::filled(&cache, space, *key, contract::value(1, "one")).await;
    }
    let receiver: String = cluster.0[1].ask("CLUSTER MYID").await.unwrap();
    let names: Vec<String> = cluster.0[0].ask("KEYS *{post:*").await.unwrap();
    let slot: i64 = cluster.0[0].ask(&format!("CLUSTER KEYSLOT {}", names[0])).await.unwrap();
    cluster.0[0].ask::<()>(&format!("DEL {}", names[0])).await.unwrap();
    for node in [1, 0, 2] {
        cluster.0[node].ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {receiver}")).await.unwrap();
    }
    cluster.is_whole().await;
    until("the new map", || async { cache.values(space, &keys).await.is_ok() }).await;
    let mut there = 0;
    for lookup in cache.look_up(space, &keys).await.unwrap() {
        match lookup {
            Lookup::Found(value) => {
                assert_eq!(value, contract::value(1, "one"));
                there += 1;
            }
            Lookup::Granted(_) => {}
            Lookup::Taken => panic!("nobody asked"),
        }
    }
    assert_eq!(there, keys.len() - 1);
}

/// One node starts again: what is on the others is still there, what is on it is not.
#[tokio::test]
async fn a_node_that_starts_again_has_lost_what_it_had() {
    let mut cluster = Cluster::start().await;
    let cache = opened(&cluster.0[0].url()).await;
    let space = contract::space();
    let keys: Vec<Key> = (0..60).map(contract::preview).collect();
    for key in &keys {
        contract::filled(&cache, space, *key, contract::value(1, "old")).await;
    }
    cluster.0[2].ask::<()>("SAVE").await.unwrap();
    let lost: Vec<String> = cluster.0[2].ask("KEYS *{post:*").await.unwrap();
    cluster.0[2].kill();
    until("the loss of the node", || async { cache.values(space, &keys).await.is_err() }).await;
    cluster.0[2].start_again();
    cluster.0[2].answers().await;
    cluster.is_whole().await;
    until("the node's return", || async { cache.values(space, &keys).await.is_ok() }).await;
    let restored: Vec<String> = cluster.0[2].ask("KEYS *{post:*").await.unwrap();
    assert!(lost.iter().all(|name| restored.contains(name)), "the snapshot was loaded");
    let found = cache.values(space, &keys).await.unwrap();
    assert_eq!(found.iter().flatten().count(), keys.len() - lost.len());
}
