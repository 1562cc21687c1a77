//! Many readers of one master, through one cache: who loads, who waits, and what they get. K4, W7.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use adapters::cache::{Cache as _, Key, Limits, MemoryCache, Value};
use adapters::checkpoints::Generation;
use domain::{LogId, PostId, Timestamp};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

const SPACE: Space = Space { log: LogId(7), epoch: 0 };
/// Longer than anything takes.
const FOREVER: Duration = Duration::from_secs(60);

fn key(number: u8) -> Key {
    Key::Counts(Generation::FIRST, PostId::from_parts(Timestamp::from_millis(1), [number; 10]))
}

fn value(version: i64) -> Value {
    Value { version, bytes: version.to_string().into() }
}

/// A master of one version, which is raised as events are applied, and a cache before it.
struct Master {
    cache: Arc<MemoryCache>,
    version: AtomicI64,
    /// Loads begin while this is true.
    open: watch::Sender<bool>,
    begun: watch::Sender<usize>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    keys_loaded: AtomicUsize,
    fails: AtomicBool,
    is_unreachable: AtomicBool,
}

impl Master {
    fn new(lease: Duration) -> Arc<Reader<Self>> {
        let limits = Limits { lease, ..Limits::default() };
        Reader::new(Self {
            cache: Arc::new(MemoryCache::new(limits, 1 << 24)),
            version: AtomicI64::new(1),
            open: watch::Sender::new(true),
            begun: watch::Sender::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            keys_loaded: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
            is_unreachable: AtomicBool::new(false),
        })
    }

    fn reach(&self) -> Result<&MemoryCache, StoreError> {
        match self.is_unreachable.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("cut off".to_owned())),
            false => Ok(&self.cache),
        }
    }

    async fn begun(&self, loads: usize) {
        let reached = self.begun.subscribe().wait_for(|begun| *begun >= loads).await.map(drop);
        reached.expect("the master is there");
    }

    /// What a projection does with an event.
    async fn apply(&self, version: i64, keys: &[Key]) {
        self.version.store(version, Ordering::SeqCst);
        let updates = keys.iter().map(|key| (*key, value(version))).collect();
        self.cache.update(SPACE, updates).await.expect("reaches the cache");
    }
}

#[async_trait]
impl Shelf for Master {
    type Key = Key;
    type Found = Value;

    async fn get(&self, space: Space, keys: &[Key]) -> Result<Vec<Option<Value>>, StoreError> {
        self.reach()?.values(space, keys).await
    }

    async fn look_up(&self, space: Space, keys: &[Key]) -> Result<Vec<Lookup<Value>>, StoreError> {
        self.reach()?.look_up(space, keys).await
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Value>, StoreError> {
        let loaded = value(self.version.load(Ordering::SeqCst));
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        self.keys_loaded.fetch_add(keys.len(), Ordering::SeqCst);
        self.begun.send_modify(|begun| *begun += 1);
        self.open.subscribe().wait_for(|open| *open).await.expect("the master is there");
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the master is away".to_owned()));
        }
        Ok(vec![loaded; keys.len()])
    }

    async fn fill(&self, space: Space, fills: Vec<(Key, Token, Value)>) -> Result<(), StoreError> {
        self.reach()?.fill(space, fills).await.map(drop)
    }

    fn lease(&self) -> Duration {
        self.cache.limits().lease
    }
}

fn versions(read: Result<Vec<Value>, StoreError>) -> Vec<i64> {
    read.expect("answers").iter().map(|value| value.version).collect()
}

fn read(reader: &Arc<Reader<Master>>, keys: &[Key]) -> impl Future<Output = Vec<i64>> + Send + 'static {
    let (reader, keys) = (Arc::clone(reader), keys.to_vec());
    async move { versions(timeout(FOREVER, reader.read(SPACE, &keys)).await.expect("in time")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_readers_of_cold_keys_load_each_once() {
    let reader = Master::new(FOREVER);
    let all: Vec<Key> = (0..40).map(key).collect();
    let mut readers = JoinSet::new();
    for number in 0..1_000 {
        // Pages that overlap.
        let (first, length) = (number % 21, 20);
        readers.spawn(read(&reader, &all[first..first + length]));
    }
    for versions in readers.join_all().await {
        assert_eq!(versions, [1; 20]);
    }
    assert_eq!(reader.shelf.keys_loaded.load(Ordering::SeqCst), all.len());
    assert!(reader.flights.lock().unwrap().is_empty());
}

/// W7: what was loaded before somebody asked may lack what they have seen already.
#[tokio::test]
async fn whoever_asks_while_others_load_gets_what_was_told_before() {
    let reader = Master::new(FOREVER);
    reader.shelf.open.send_replace(false);
    let first = tokio::spawn(read(&reader, &[key(1)]));
    reader.shelf.begun(1).await;
    reader.shelf.apply(2, &[key(1)]).await;
    let second = tokio::spawn(read(&reader, &[key(1)]));
    reader.shelf.open.send_replace(true);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (vec![1], vec![2]));
    assert_eq!(reader.shelf.keys_loaded.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn whoever_finds_a_lease_of_another_process_waits_for_the_fill() {
    let reader = Master::new(FOREVER);
    let looked_up = reader.shelf.cache.look_up(SPACE, &[key(1)]).await.unwrap();
    let [Lookup::Granted(token)] = looked_up[..] else { panic!("{looked_up:?}") };
    let waiting = tokio::spawn(read(&reader, &[key(1), key(2)]));
    reader.shelf.begun(1).await;
    reader.shelf.cache.fill(SPACE, vec![(key(1), token, value(9))]).await.unwrap();
    assert_eq!(waiting.await.unwrap(), [9, 1]);
    assert_eq!(reader.shelf.keys_loaded.load(Ordering::SeqCst), 1, "only what nobody else loads");
}

#[tokio::test]
async fn a_lease_that_nobody_fills_keeps_nobody_from_reading() {
    let reader = Master::new(Duration::from_millis(40));
    reader.shelf.cache.look_up(SPACE, &[key(1)]).await.unwrap();
    assert_eq!(read(&reader, &[key(1)]).await, [1]);
    assert_eq!(reader.shelf.keys_loaded.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_somebody_who_has_gone_was_loading_lands_all_the_same() {
    let reader = Master::new(FOREVER);
    reader.shelf.open.send_replace(false);
    let gone = tokio::spawn(read(&reader, &[key(1)]));
    reader.shelf.begun(1).await;
    let waiting = tokio::spawn(read(&reader, &[key(1)]));
    gone.abort();
    assert!(gone.await.is_err());
    reader.shelf.open.send_replace(true);
    assert_eq!(waiting.await.unwrap(), [1]);
    assert_eq!(reader.shelf.keys_loaded.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_master_that_fails_is_asked_again_by_the_next() {
    let reader = Master::new(Duration::from_millis(40));
    reader.shelf.fails.store(true, Ordering::SeqCst);
    assert!(reader.read(SPACE, &[key(1)]).await.is_err());
    reader.shelf.fails.store(false, Ordering::SeqCst);
    assert_eq!(read(&reader, &[key(1)]).await, [1]);
    assert!(reader.flights.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_cache_everybody_loads_but_not_all_at_once() {
    let reader = Master::new(FOREVER);
    reader.shelf.is_unreachable.store(true, Ordering::SeqCst);
    reader.shelf.open.send_replace(false);
    let mut readers = JoinSet::new();
    for _ in 0..200 {
        readers.spawn(read(&reader, &[key(1), key(2)]));
    }
    reader.shelf.begun(LOADS).await;
    reader.shelf.open.send_replace(true);
    for versions in readers.join_all().await {
        assert_eq!(versions, [1, 1]);
    }
    assert_eq!(reader.shelf.keys_loaded.load(Ordering::SeqCst), 400);
    assert_eq!(reader.shelf.most_under_way.load(Ordering::SeqCst), LOADS);
}

/// In another epoch nothing is known of what was cached before, nor of what is being loaded for it.
#[tokio::test]
async fn another_epoch_is_another_cache() {
    let reader = Master::new(FOREVER);
    assert_eq!(read(&reader, &[key(1)]).await, [1]);
    reader.shelf.version.store(2, Ordering::SeqCst);
    assert_eq!(read(&reader, &[key(1)]).await, [1], "nobody has told the cache");
    let next = Space { epoch: SPACE.epoch + 1, ..SPACE };
    assert_eq!(versions(reader.read(next, &[key(1)]).await), [2]);
}
