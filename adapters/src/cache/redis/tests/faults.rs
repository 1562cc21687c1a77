//! Servers that forget, end, come back, stand still.

use super::*;
use crate::redis::testing::OwnServer;

async fn is_answered(cache: &RedisCache, space: Space) -> bool {
    cache.values(space, &[contract::preview(99)]).await.is_ok()
}

#[tokio::test]
async fn scripts_that_are_forgotten_are_told_again() {
    let server = OwnServer::start().await;
    let cache = opened(&server.url()).await;
    let space = contract::space();
    let flush = async || server.ask::<()>("SCRIPT FLUSH").await.unwrap();
    let (key, list) = (contract::preview(1), contract::list(1));
    flush().await;
    // Of a batch, too: whatever its commands, each happens once.
    let keys: Vec<Key> = (0..50).map(contract::counts).collect();
    let lookups = cache.look_up(space, &keys).await.unwrap();
    assert!(lookups.iter().all(|lookup| matches!(lookup, Lookup::Granted(_))), "{lookups:?}");
    let token = contract::granted(&cache, space, key).await;
    flush().await;
    cache.update(space, vec![(key, contract::value(2, "two"))]).await.unwrap();
    flush().await;
    assert!(contract::fill(&cache, space, key, token, contract::value(1, "one")).await);
    assert_eq!(cache.values(space, &[key]).await.unwrap(), [Some(contract::value(2, "two"))]);
    cache.on(space, key, &[b"PEXPIRE", b"name", b"60000"]).await;
    flush().await;
    assert_eq!(cache.values(space, &[key]).await.unwrap(), [Some(contract::value(2, "two"))]);
    flush().await;
    let token = contract::list_granted(&cache, space, list).await;
    flush().await;
    let items = |range: std::ops::Range<u8>| range.map(|number| contract::item(number, number.into())).collect();
    cache.add_comments(space, vec![(list, items(1..2)), (list, items(2..3))]).await.unwrap();
    flush().await;
    assert!(cache.fill_comments(space, list, token, Comments::default()).await.unwrap());
    let found = cache.comments(space, list).await.unwrap().unwrap();
    assert_eq!(found, contract::comments(2, [(2, 2), (1, 1)]));
}

/// A server that starts again from a snapshot has old values, and nobody has told it of what happened since.
#[tokio::test]
async fn values_of_a_former_life_are_never_seen() {
    let mut server = OwnServer::start().await;
    let cache = opened(&server.url()).await;
    let space = contract::space();
    let (key, counts, list) = (contract::preview(1), contract::counts(1), contract::list(1));
    let fill_all = async |version: i64| {
        contract::filled(&cache, space, key, contract::value(version, "old")).await;
        contract::filled(&cache, space, counts, contract::value(version, "old")).await;
        contract::list_filled(&cache, space, list, contract::comments(version, [])).await;
    };
    fill_all(1).await;
    let late = contract::granted(&cache, space, contract::preview(2)).await;
    server.ask::<()>("SAVE").await.unwrap();
    // What is told after the snapshot is lost with the server.
    cache.update(space, vec![(key, contract::value(2, "new")), (counts, contract::value(2, "new"))]).await.unwrap();
    cache.drop_comments(space, vec![list]).await.unwrap();
    let names = async |server: &OwnServer| server.ask::<Vec<String>>("KEYS own:*:{post:*").await.unwrap();
    let before = names(&server).await;

    server.kill();
    until("the loss of the server", || async { !is_answered(&cache, space).await }).await;
    server.start_again();
    server.answers().await;
    until("the server's return", || async { is_answered(&cache, space).await }).await;
    let restored = names(&server).await;
    assert!(restored.len() >= 4 && before.iter().all(|name| restored.contains(name)), "the snapshot was loaded");
    assert_eq!(cache.values(space, &[key, counts]).await.unwrap(), [None, None]);
    assert_eq!(cache.comments(space, list).await.unwrap(), None);
    assert!(!contract::fill(&cache, space, contract::preview(2), late, contract::value(1, "late")).await);
    fill_all(2).await;
    assert_eq!(cache.values(space, &[key]).await.unwrap(), [Some(contract::value(2, "old"))]);

    // For others, too, whenever they come: the new life's is theirs.
    let another = opened(&server.url()).await;
    assert_eq!(another.values(space, &[counts]).await.unwrap(), [Some(contract::value(2, "old"))]);
    assert_eq!(another.comments(space, list).await.unwrap(), Some(contract::comments(2, [])));
}

#[tokio::test]
async fn an_outage_is_an_error_at_once_and_ends() {
    let mut server = OwnServer::start().await;
    let cache = opened(&server.url()).await;
    let space = contract::space();
    let (key, list) = (contract::preview(1), contract::list(1));
    let token = contract::granted(&cache, space, key).await;
    for _ in 0..3 {
        server.kill();
        until("the loss of the server", || async { !is_answered(&cache, space).await }).await;
        let value = || contract::value(1, "one");
        let errors = [
            cache.values(space, &[key]).await.err(),
            cache.look_up(space, &[key]).await.err(),
            cache.fill(space, vec![(key, token, value())]).await.err(),
            cache.update(space, vec![(key, value())]).await.err(),
            cache.comments(space, list).await.err(),
            cache.look_up_comments(space, list).await.err(),
            cache.fill_comments(space, list, token, Comments::default()).await.err(),
            cache.add_comments(space, vec![(list, vec![contract::item(1, 1)])]).await.err(),
            cache.drop_comments(space, vec![list]).await.err(),
        ];
        for error in errors {
            assert!(matches!(error, Some(StoreError::Unavailable(_))), "{error:?}");
        }
        server.start_again();
        server.answers().await;
        until("the server's return", || async { is_answered(&cache, space).await }).await;
        contract::filled(&cache, space, key, value()).await;
    }
}

/// The connection stands, but nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_holds_nobody_up() {
    let server = OwnServer::start().await;
    let cache = Arc::new(opened(&server.url()).await);
    let space = contract::space();
    contract::filled(&*cache, space, contract::preview(1), contract::value(1, "one")).await;
    server.signal("STOP");
    // Many more than there is room for.
    let calls: Vec<_> = (0..2_000)
        .map(|number| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move {
                let outcome = match number % 3 {
                    0 => cache.values(space, &[contract::preview(1)]).await.map(drop),
                    1 => cache.look_up_comments(space, contract::list(number)).await.map(drop),
                    _ => cache.update(space, vec![(contract::counts(1), contract::value(1, "x"))]).await,
                };
                assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
            })
        })
        .collect();
    let all = async {
        for call in calls {
            call.await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("answers");
    server.signal("CONT");
    until("the server's return", || async { is_answered(&cache, space).await }).await;
    // It has not started again: what it holds is what was told.
    assert_eq!(cache.values(space, &[contract::preview(1)]).await.unwrap(), [Some(contract::value(1, "one"))]);
}

/// Connections that are cut all the time: calls fail, but what is found is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_opened_again() {
    let server = OwnServer::start().await;
    let cache = opened(&server.url()).await;
    let space = contract::space();
    for round in 0..10 {
        server.ask::<i64>("CLIENT KILL TYPE normal SKIPME yes").await.unwrap();
        let key = contract::preview(round);
        until("a lease", || async { cache.look_up(space, &[key]).await.is_ok() }).await;
        // Whether the lease was ours is not known: the answer may have been lost. So it is never filled.
        assert_eq!(cache.values(space, &[key]).await.unwrap_or_else(|_| vec![None]), [None]);
    }
    contract::filled(&cache, space, contract::preview(100), contract::value(1, "one")).await;
}

/// The server is out of memory and may not evict: a cache that cannot be told is not there.
#[tokio::test]
async fn a_server_without_room_is_unavailable() {
    let server = OwnServer::start().await;
    let cache = opened(&server.url()).await;
    let space = contract::space();
    server.ask::<()>("CONFIG SET maxmemory 1").await.unwrap();
    let error = cache.look_up(space, &[contract::preview(1)]).await.expect_err("no room");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    server.ask::<()>("CONFIG SET maxmemory 0").await.unwrap();
    until("room again", || async { cache.look_up(space, &[contract::preview(2)]).await.is_ok() }).await;
}

/// With room for little, whatever goes, what is found is right.
#[tokio::test]
async fn eviction_loses_values_and_nothing_else() {
    let server = OwnServer::start().await;
    let cache = opened(&server.url()).await;
    let space = contract::space();
    let used: String = server.ask("INFO memory").await.unwrap();
    let used: u64 = used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    server.ask::<()>(&format!("CONFIG SET maxmemory {}", used + 2_000_000)).await.unwrap();
    server.ask::<()>("CONFIG SET maxmemory-policy allkeys-lru").await.unwrap();
    let text = "x".repeat(10_000);
    let keys: Vec<Key> = (0..1_000).map(contract::preview).collect();
    for (number, key) in (0..).zip(&keys) {
        if let Lookup::Granted(token) = contract::look_up(&cache, space, *key).await {
            contract::fill(&cache, space, *key, token, contract::value(number, &text)).await;
        }
    }
    let found = cache.values(space, &keys).await.unwrap();
    let there = found.iter().flatten().count();
    assert!(there > 0 && there < keys.len(), "{there}");
    for (number, found) in (0..).zip(found) {
        assert!(found.is_none_or(|found| found == contract::value(number, &text)));
    }
}
