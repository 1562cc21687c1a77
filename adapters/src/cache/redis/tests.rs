//! The contract on a real server, and what only servers and connections can do wrong.

use std::sync::Arc;

use super::*;
use crate::cache::contract::{self, Tested};
use crate::redis::testing::{PATIENCE, shared_url, until};

mod cluster;
mod faults;
mod foreign;
mod secured;

async fn opened_with(url: &str, limits: Limits) -> RedisCache {
    RedisCache::open(&StoreUrl::parse(url).expect("a good URL"), limits).await.expect("opens")
}

async fn opened(url: &str) -> RedisCache {
    opened_with(url, contract::long()).await
}

async fn refusal(url: &str) -> StoreError {
    let url = StoreUrl::parse(url).expect("a good URL");
    RedisCache::open(&url, contract::long()).await.expect_err("refused")
}

async fn open(limits: Limits) -> (Arc<dyn Tested>, ()) {
    (Arc::new(opened_with(&shared_url(), limits).await), ())
}

contract::stamp!(open);

#[async_trait]
impl Tested for RedisCache {
    async fn forget(&self, space: Space, key: Key) {
        let nodes = self.nodes.present().unwrap();
        let place = nodes.place(space, key);
        let mut delete = redis::cmd("DEL");
        delete.arg(&place.name);
        nodes.ask(vec![place.order(delete)]).await.unwrap();
    }
}

impl RedisCache {
    /// Whatever command, on a key; `name` stands for the key's.
    async fn on(&self, space: Space, key: Key, words: &[&[u8]]) -> redis::Value {
        let nodes = self.nodes.present().unwrap();
        self.on_place(&nodes, nodes.place(space, key), words).await
    }

    async fn on_list(&self, space: Space, key: ListKey, words: &[&[u8]]) -> redis::Value {
        let nodes = self.nodes.present().unwrap();
        self.on_place(&nodes, nodes.list_place(space, key), words).await
    }

    async fn on_place(&self, nodes: &Nodes, place: nodes::Place, words: &[&[u8]]) -> redis::Value {
        let mut command = redis::Cmd::new();
        for word in words {
            if *word == b"name" {
                command.arg(&place.name)
            } else {
                command.arg(*word)
            };
        }
        nodes.ask(vec![place.order(command)]).await.unwrap().remove(0)
    }
}

#[tokio::test]
async fn processes_share_it() {
    let url = shared_url();
    let (one, other) = (opened(&url).await, opened(&url).await);
    let (space, key) = (contract::space(), contract::preview(1));
    let token = contract::granted(&one, space, key).await;
    assert_eq!(contract::look_up(&other, space, key).await, Lookup::Taken);
    other.update(space, vec![(key, contract::value(2, "two"))]).await.unwrap();
    assert!(contract::fill(&one, space, key, token, contract::value(1, "one")).await);
    assert_eq!(contract::look_up(&other, space, key).await, Lookup::Found(contract::value(2, "two")));
    assert_eq!(one.values(space, &[key]).await.unwrap(), [Some(contract::value(2, "two"))]);
}

#[tokio::test]
async fn prefixes_keep_installations_apart() {
    let (one, other) = (opened(&shared_url()).await, opened(&shared_url()).await);
    let (space, key) = (contract::space(), contract::preview(1));
    contract::filled(&one, space, key, contract::value(1, "one")).await;
    assert_eq!(other.values(space, &[key]).await.unwrap(), [None]);
}

/// Everything that is written ends some day.
#[tokio::test]
async fn nothing_is_kept_for_ever() {
    let limits = Limits { jitter_percent: 10, ..Limits::default() };
    let cache = opened_with(&shared_url(), limits).await;
    let space = contract::space();
    let left = async |key| match cache.on(space, key, &[b"PTTL", b"name"]).await {
        redis::Value::Int(left) => left,
        other => panic!("{other:?}"),
    };
    let (key, counts, list) = (contract::preview(1), contract::counts(1), contract::list(1));
    let is_within = |left: i64, life: Duration| {
        let whole = i64::try_from(life.as_millis()).unwrap();
        // Some seconds for the machine.
        left <= whole && left >= whole - whole / 10 - 60_000
    };
    let token = contract::granted(&cache, space, key).await;
    assert!(left(key).await <= 3_000);
    cache.update(space, vec![(key, contract::value(1, "told"))]).await.unwrap();
    assert!(left(key).await <= 3_000, "what waits makes no lease live longer");
    contract::fill(&cache, space, key, token, contract::value(0, "loaded")).await;
    contract::filled(&cache, space, counts, contract::value(0, "loaded")).await;
    assert!(is_within(left(key).await, limits.preview) && is_within(left(counts).await, limits.counts));
    for key in [key, counts] {
        cache.on(space, key, &[b"PEXPIRE", b"name", b"100000"]).await;
        cache.update(space, vec![(key, contract::value(2, "told"))]).await.unwrap();
        assert!(is_within(left(key).await, limits.preview));
        cache.on(space, key, &[b"PEXPIRE", b"name", b"100000"]).await;
        cache.values(space, &[key]).await.unwrap();
        assert_eq!(is_within(left(key).await, limits.preview), key != counts, "only previews live by being read");
    }

    let list_left = async || match cache.on_list(space, list, &[b"PTTL", b"name"]).await {
        redis::Value::Int(left) => left,
        other => panic!("{other:?}"),
    };
    let token = contract::list_granted(&cache, space, list).await;
    cache.add_comments(space, vec![(list, vec![contract::item(1, 1)])]).await.unwrap();
    assert!(list_left().await <= 3_000);
    assert!(cache.fill_comments(space, list, token, Comments::default()).await.unwrap());
    assert!(is_within(list_left().await, limits.comments));
    cache.on_list(space, list, &[b"PEXPIRE", b"name", b"100000"]).await;
    cache.add_comments(space, vec![(list, vec![contract::item(2, 2)])]).await.unwrap();
    assert!(is_within(list_left().await, limits.comments));
}

/// What lives at one moment does not end at one.
#[tokio::test]
async fn lives_are_of_different_length() {
    let cache = opened_with(&shared_url(), Limits::default()).await;
    let space = contract::space();
    let mut lives = std::collections::HashSet::new();
    for number in 0..20 {
        let key = contract::counts(number);
        contract::filled(&cache, space, key, contract::value(0, "")).await;
        let redis::Value::Int(left) = cache.on(space, key, &[b"PTTL", b"name"]).await else { panic!("no life") };
        lives.insert(left / 60_000);
    }
    assert!(lives.len() > 5, "{lives:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_url_is_said() {
    let url = shared_url();
    assert!(refusal(&format!("{url}?spede=1")).await.to_string().contains("`redis` has no option `spede`"));
    assert!(refusal(&format!("{url}%7B")).await.to_string().contains("prefix"));
    // Nobody waits for a cache: it begins without.
    let cache = opened("redis://ada:secret@127.0.0.1:1/x").await;
    let error = cache.values(contract::space(), &[contract::preview(1)]).await.expect_err("nobody is there");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!format!("{error} {error:?} {cache:?}").contains("secret"));
}
