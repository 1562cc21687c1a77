//! [`Cache`] in the memory of one process.
//!
//! A bounded map with the least recently used going first, so that what a reader has just loaded is not the first to go. A
//! value that is there costs a look into the map and a count of its bytes' owners; only what changes a key goes through
//! its lock, where [`cell`] says what becomes of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::PostId;
use lru::DefaultHasher;
use moka::Expiry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync;

use super::cell::{Cell, Filled, ListCell, ValueCell};
use super::{Cache, Comments, Item, Key, Limits, ListKey, Lookup, Space, Token, Value, cell, counters};
use crate::StoreError;
use crate::checkpoints::Generation;

/// What an entry takes beside its bytes: its key, its cell, and its places in the map, in the order of use and in that of
/// expiry.
const ENTRY: usize = 320;
/// A preview that is read lives on once less than this part of its life is left.
const RENEWED: f64 = 0.8;
/// What a comment takes in a list beside its bytes.
const ITEM: usize = 96;

/// The adapter.
pub struct MemoryCache {
    limits: Limits,
    entries: sync::Cache<Place, Entry, DefaultHasher>,
}

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    space: Space,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Preview(PostId),
    Counts(Generation, PostId),
    Comments(Generation, PostId),
}

#[derive(Clone)]
struct Entry {
    held: Held,
    until: Instant,
}

#[derive(Clone)]
enum Held {
    Value(ValueCell),
    // Behind a pointer: whoever looks is handed a copy of the entry.
    List(Arc<ListCell>),
}

impl Entry {
    fn value(&self) -> Option<&ValueCell> {
        match &self.held {
            Held::Value(cell) => Some(cell),
            Held::List(_) => None,
        }
    }

    fn list(&self) -> Option<&ListCell> {
        match &self.held {
            Held::List(cell) => Some(cell),
            Held::Value(_) => None,
        }
    }

    fn is_preview(&self) -> bool {
        matches!(self.held, Held::Value(Cell::Holds(_)))
    }

    /// Bytes of memory, about.
    fn weight(&self) -> usize {
        let of_items = |items: &[Item]| items.iter().map(|item| item.bytes.len() + ITEM).sum();
        let content = match &self.held {
            Held::Value(Cell::Holds(value) | Cell::Leased { pending: Some(value), .. }) => value.bytes.len(),
            Held::Value(Cell::Leased { pending: None, .. }) => 0,
            Held::List(cell) => match &**cell {
                Cell::Holds(list) => of_items(&list.items),
                Cell::Leased { pending, .. } => of_items(&pending.items),
            },
        };
        content + ENTRY
    }
}

/// Entries end when they say. A preview that is read lives on.
struct Ends(Limits);

impl Expiry<Place, Entry> for Ends {
    fn expire_after_create(&self, _: &Place, entry: &Entry, now: Instant) -> Option<Duration> {
        Some(entry.until.saturating_duration_since(now))
    }

    fn expire_after_read(
        &self,
        place: &Place,
        entry: &Entry,
        _: Instant,
        left: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        match place.what {
            // Not with every read: a page has twenty, and each new end is put in order.
            What::Preview(post)
                if entry.is_preview() && left.is_none_or(|left| left < self.0.preview.mul_f64(RENEWED)) =>
            {
                Some(self.0.of(Key::Preview(post)))
            }
            _ => left,
        }
    }

    fn expire_after_update(&self, _: &Place, entry: &Entry, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.until.saturating_duration_since(now))
    }
}

impl MemoryCache {
    /// A cache of about `capacity_bytes`.
    pub fn new(limits: Limits, capacity_bytes: u64) -> Self {
        let weigh = |_: &Place, entry: &Entry| u32::try_from(entry.weight()).unwrap_or(u32::MAX);
        let entries = sync::Cache::builder()
            .eviction_policy(EvictionPolicy::lru())
            .max_capacity(capacity_bytes)
            .weigher(weigh)
            .expire_after(Ends(limits))
            .build_with_hasher(DefaultHasher::default());
        Self { limits, entries }
    }

    /// What is there; where nothing is, the lease.
    fn look_up_one<V: Clone, P: Default>(
        &self,
        place: Place,
        cell: impl Fn(&Entry) -> Option<&Cell<V, P>>,
        hold: impl FnOnce(Cell<V, P>) -> Held,
    ) -> Lookup<V> {
        if let Some(seen) = self.entries.get(&place).and_then(|entry| cell(&entry).map(seen)) {
            return seen;
        }
        let token = Token(rand::random());
        let mut answer = Lookup::Granted(token);
        self.change(place, |entry| {
            let held = entry.and_then(&cell);
            if let Some(held) = held {
                answer = seen(held);
            }
            let leased = cell::look_up(held, token)?;
            Some(Some(self.entry(hold(leased), self.limits.of_lease())))
        });
        answer
    }

    fn fill_one(&self, space: Space, key: Key, token: Token, value: Value) -> bool {
        let mut is_filled = false;
        self.change(place(space, key), |entry| {
            let filled = cell::fill(entry.and_then(Entry::value), token, value)?;
            is_filled = true;
            Some(Some(self.entry(Held::Value(filled), self.limits.of(key))))
        });
        is_filled
    }

    fn update_one(&self, space: Space, key: Key, value: Value) {
        self.change(place(space, key), |entry| {
            let updated = cell::update(entry.and_then(Entry::value), value)?;
            Some(Some(match updated {
                Cell::Holds(_) => self.entry(Held::Value(updated), self.limits.of(key)),
                Cell::Leased { .. } => Entry { held: Held::Value(updated), until: entry?.until },
            }))
        });
    }

    fn add_one(&self, space: Space, key: ListKey, items: &[Item]) {
        self.change(list_place(space, key), |entry| {
            let updated = cell::add(entry.and_then(Entry::list), items, self.limits.kept)?;
            Some(Some(match updated {
                Cell::Holds(_) => self.entry(Held::List(Arc::new(updated)), self.limits.of_list()),
                Cell::Leased { .. } => Entry { held: Held::List(Arc::new(updated)), until: entry?.until },
            }))
        });
    }

    /// Applies `change` to an entry, alone: `None` leaves it, `Some(None)` removes it.
    fn change(&self, place: Place, change: impl FnOnce(Option<&Entry>) -> Option<Option<Entry>>) {
        self.entries.entry(place).and_compute_with(|entry| match change(entry.as_ref().map(moka::Entry::value)) {
            None => Op::Nop,
            Some(None) => Op::Remove,
            Some(Some(entry)) => Op::Put(entry),
        });
    }

    fn entry(&self, held: Held, life: Duration) -> Entry {
        Entry { held, until: Instant::now() + life }
    }
}

fn place(space: Space, key: Key) -> Place {
    let what = match key {
        Key::Preview(post) => What::Preview(post),
        Key::Counts(generation, post) => What::Counts(generation, post),
    };
    Place { space, what }
}

fn list_place(space: Space, ListKey(generation, post): ListKey) -> Place {
    Place { space, what: What::Comments(generation, post) }
}

fn seen<V: Clone, P>(cell: &Cell<V, P>) -> Lookup<V> {
    match cell {
        Cell::Holds(value) => Lookup::Found(value.clone()),
        Cell::Leased { .. } => Lookup::Taken,
    }
}

#[async_trait]
impl Cache for MemoryCache {
    fn limits(&self) -> Limits {
        self.limits
    }

    async fn values(&self, space: Space, keys: &[Key]) -> Result<Vec<Option<Value>>, StoreError> {
        let look = |key: &Key| match self.entries.get(&place(space, *key))?.held {
            Held::Value(Cell::Holds(value)) => Some(value),
            _ => None,
        };
        let answers: Vec<Option<Value>> = keys.iter().map(look).collect();
        counters::values(keys, &answers);
        Ok(answers)
    }

    async fn look_up(&self, space: Space, keys: &[Key]) -> Result<Vec<Lookup<Value>>, StoreError> {
        let answers: Vec<Lookup<Value>> =
            keys.iter().map(|key| self.look_up_one(place(space, *key), Entry::value, Held::Value)).collect();
        counters::look_up(keys, &answers);
        Ok(answers)
    }

    async fn fill(&self, space: Space, fills: Vec<(Key, Token, Value)>) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<Key> = fills.iter().map(|(key, ..)| *key).collect();
        let fill = |(key, token, value)| self.fill_one(space, key, token, value);
        let answers: Vec<bool> = fills.into_iter().map(fill).collect();
        counters::fill(keys.into_iter().zip(answers.iter().copied()));
        Ok(answers)
    }

    async fn update(&self, space: Space, updates: Vec<(Key, Value)>) -> Result<(), StoreError> {
        for (key, value) in updates {
            self.update_one(space, key, value);
        }
        Ok(())
    }

    async fn comments(&self, space: Space, key: ListKey) -> Result<Option<Comments>, StoreError> {
        let entry = self.entries.get(&list_place(space, key));
        let list = match entry.as_ref().and_then(Entry::list) {
            Some(Cell::Holds(list)) => Some(list.clone()),
            _ => None,
        };
        counters::comments(list.as_ref());
        Ok(list)
    }

    async fn look_up_comments(&self, space: Space, key: ListKey) -> Result<Lookup<Comments>, StoreError> {
        let hold = |cell| Held::List(Arc::new(cell));
        let lookup = self.look_up_one(list_place(space, key), Entry::list, hold);
        counters::look_up_comments(&lookup);
        Ok(lookup)
    }

    async fn fill_comments(
        &self,
        space: Space,
        key: ListKey,
        token: Token,
        list: Comments,
    ) -> Result<bool, StoreError> {
        let mut is_filled = false;
        self.change(list_place(space, key), |entry| {
            match cell::fill_comments(entry.and_then(Entry::list), token, list, self.limits.kept)? {
                Filled::Nothing => Some(None),
                Filled::Holds(list) => {
                    is_filled = true;
                    Some(Some(self.entry(Held::List(Arc::new(Cell::Holds(list))), self.limits.of_list())))
                }
            }
        });
        counters::fill_comments(is_filled);
        Ok(is_filled)
    }

    async fn add_comments(&self, space: Space, additions: Vec<(ListKey, Vec<Item>)>) -> Result<(), StoreError> {
        for (key, items) in additions {
            self.add_one(space, key, &items);
        }
        Ok(())
    }

    async fn drop_comments(&self, space: Space, keys: Vec<ListKey>) -> Result<(), StoreError> {
        for key in keys {
            // In order with changes that are under way, which an invalidation from outside would not be.
            self.change(list_place(space, key), |_| Some(None));
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryCache({} entries)", self.entries.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::contract::{self, Tested};

    async fn open(limits: Limits) -> (Arc<dyn Tested>, ()) {
        (Arc::new(MemoryCache::new(limits, 1 << 30)), ())
    }

    contract::stamp!(open);

    #[async_trait]
    impl Tested for MemoryCache {
        async fn forget(&self, space: Space, key: Key) {
            self.entries.invalidate(&place(space, key));
        }
    }

    /// What is too much goes, and what has just been filled is there.
    #[tokio::test]
    async fn memory_is_bounded_and_the_oldest_goes() {
        const KIB: usize = 1_024;
        let cache = MemoryCache::new(Limits::default(), 64 * KIB as u64);
        let space = contract::space();
        let value = Value { version: 1, bytes: vec![7; KIB].into() };
        for number in 0..500 {
            let key = contract::preview(number);
            let Lookup::Granted(token) = cache.look_up(space, &[key]).await.unwrap().remove(0) else {
                panic!("it was never there");
            };
            assert_eq!(cache.fill(space, vec![(key, token, value.clone())]).await.unwrap(), [true]);
            assert_eq!(cache.values(space, &[key]).await.unwrap(), [Some(value.clone())]);
        }
        cache.entries.run_pending_tasks();
        assert!(cache.entries.weighted_size() <= 64 * KIB as u64);
        let keys: Vec<Key> = (0..500).map(contract::preview).collect();
        let there = cache.values(space, &keys).await.unwrap().iter().flatten().count();
        assert!((20..64).contains(&there), "{there}");
    }

    /// What waits with a lease does not let it live longer, nor what takes an expired one's place less long.
    #[tokio::test]
    async fn a_lease_ends_when_it_would_have() {
        let limits = Limits { lease: Duration::from_millis(200), ..Limits::default() };
        let cache = MemoryCache::new(limits, 1 << 20);
        let (space, key) = (contract::space(), contract::preview(1));
        let until = |cache: &MemoryCache| cache.entries.get(&place(space, key)).map(|entry| entry.until);
        cache.look_up(space, &[key]).await.unwrap();
        let first = until(&cache);
        cache.update(space, vec![(key, Value { version: 1, bytes: "x".into() })]).await.unwrap();
        assert!(until(&cache) == first || until(&cache).is_none());
    }
}
