//! What readers have read, kept in memory until somebody writes there.
//!
//! A look into a tree of the file costs a microsecond or so, and a page of a feed takes some hundred. What is read again
//! and again is remembered by its key. Whoever writes to a key forgets it first, and until the commit is done nothing new
//! is remembered near it: so nobody finds what is older than a write that was answered, nor than what they have found
//! before.
//!
//! A reader may be overtaken: it reads, somebody writes, and the reader remembers what it has read before. So a part of the
//! memory counts what was forgotten there, and what was read before the count moved is not remembered.
//!
//! Where other processes write, or are at work while this one looks, nothing is remembered. What one may change that comes
//! along for a moment ([`Sharing::Alone`]) is remembered for a second at most.

use std::hash::{BuildHasher as _, Hash};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::{DefaultHasher, LruCache};
use rusqlite::Connection;

use super::{Database, Sharing};
use crate::StoreError;

/// Parts with a lock each: two calls rarely meet at one.
const PARTS: usize = 256;
/// How long what other processes may change is remembered.
const BRIEFLY: Duration = Duration::from_secs(1);

/// A bounded memory of what `K`s are in one file; the least recently used goes first. Clones share it.
#[derive(Debug)]
pub(crate) struct Remembered<K: Eq + Hash, V> {
    db: Arc<Database>,
    /// `None` where nothing can be remembered.
    memory: Option<Arc<Memory<K, V>>>,
}

#[derive(Debug)]
struct Memory<K: Eq + Hash, V> {
    hasher: DefaultHasher,
    parts: Vec<Mutex<Part<K, V>>>,
    life: Option<Duration>,
}

#[derive(Debug)]
struct Part<K: Eq + Hash, V> {
    values: LruCache<K, Read<V>>,
    /// How often something was forgotten here.
    forgotten: u64,
    /// Writes to something here that are not done.
    writes: u32,
}

#[derive(Debug)]
struct Read<V> {
    value: V,
    /// Before it was read; of what ends by itself.
    at: Option<Instant>,
}

impl<K: Copy + Eq + Hash, V: Clone> Remembered<K, V> {
    /// At most about `most` values that only this process writes.
    pub(crate) fn new(db: &Arc<Database>, most: usize) -> Self {
        Self::with(db, most, None)
    }

    /// At most about `most` values that another process may write, too.
    pub(crate) fn briefly(db: &Arc<Database>, most: usize) -> Self {
        Self::with(db, most, Some(BRIEFLY))
    }

    fn with(db: &Arc<Database>, most: usize, life: Option<Duration>) -> Self {
        let each = NonZeroUsize::new(most.div_ceil(PARTS)).unwrap_or(NonZeroUsize::MIN);
        let part = |_| Mutex::new(Part { values: LruCache::new(each), forgotten: 0, writes: 0 });
        let memory = Memory { hasher: DefaultHasher::default(), parts: (0..PARTS).map(part).collect(), life };
        let memory = (db.sharing() == Sharing::Alone).then(|| Arc::new(memory));
        Self { db: Arc::clone(db), memory }
    }

    /// The values of `keys`, in their order: what is not remembered by one `read`, which answers in the order of the keys
    /// that it is given.
    ///
    /// # Errors
    /// What `read` answers.
    pub(crate) async fn read(
        &self,
        keys: &[K],
        read: impl FnOnce(&Connection, &[K]) -> Result<Vec<V>, StoreError> + Send,
    ) -> Result<Vec<V>, StoreError>
    where
        K: Sync,
    {
        let Some(memory) = &self.memory else {
            return self.db.read(|connection| read(connection, keys)).await;
        };
        let now = memory.life.map(|_| Instant::now());
        let mut values: Vec<Option<V>> = Vec::with_capacity(keys.len());
        let (mut lacking, mut counts) = (Vec::new(), Vec::new());
        for key in keys {
            let mut part = memory.part(memory.number(key));
            let value = part.values.get(key).filter(|read| memory.lasts(read, now)).map(|read| read.value.clone());
            if value.is_none() {
                lacking.push(*key);
                counts.push((part.writes == 0).then_some(part.forgotten));
            }
            values.push(value);
        }
        if lacking.is_empty() {
            return Ok(values.into_iter().flatten().collect());
        }
        let found = self.db.read(|connection| read(connection, &lacking)).await?;
        for ((key, count), value) in lacking.iter().zip(counts).zip(&found) {
            let mut part = memory.part(memory.number(key));
            if Some(part.forgotten) == count {
                part.values.put(*key, Read { value: value.clone(), at: now });
            }
        }
        let mut found = found.into_iter();
        Ok(values.into_iter().filter_map(|value| value.or_else(|| found.next())).collect())
    }

    /// The value of `key`, as [`Self::read`] reads many.
    pub(crate) async fn read_one(
        &self,
        key: K,
        read: impl FnOnce(&Connection) -> Result<V, StoreError> + Send,
    ) -> Result<V, StoreError>
    where
        K: Sync,
    {
        let found = self.read(&[key], |connection, _| Ok(vec![read(connection)?])).await?;
        found.into_iter().next().ok_or_else(|| StoreError::Damaged("what was read is not there".to_owned()))
    }

    /// Forgets what is about to be written to. To be dropped once the write is committed, or is not, and before it is
    /// answered: for [`Database::write_holding`].
    pub(crate) fn writing(&self, keys: impl IntoIterator<Item = K>) -> Writing<K, V> {
        let Some(memory) = &self.memory else { return Writing { memory: None, numbers: Vec::new() } };
        let forget = |key: K| {
            let number = memory.number(&key);
            let mut part = memory.part(number);
            part.values.pop(&key);
            part.begin();
            number
        };
        Writing { numbers: keys.into_iter().map(forget).collect(), memory: self.memory.clone() }
    }

    /// Forgets everything, for what may be written to anything.
    pub(crate) fn writing_all(&self) -> Writing<K, V> {
        let forget = |memory: &Arc<Memory<K, V>>| {
            for number in 0..PARTS {
                let mut part = memory.part(number);
                part.values.clear();
                part.begin();
            }
            (0..PARTS).collect()
        };
        Writing { numbers: self.memory.as_ref().map(forget).unwrap_or_default(), memory: self.memory.clone() }
    }
}

impl<K: Eq + Hash, V> Clone for Remembered<K, V> {
    fn clone(&self) -> Self {
        Self { db: Arc::clone(&self.db), memory: self.memory.clone() }
    }
}

impl<K: Eq + Hash, V> Memory<K, V> {
    fn number(&self, key: &K) -> usize {
        // Not the bits that decide within the part.
        (self.hasher.hash_one(key) >> 24) as usize % PARTS
    }

    fn part(&self, number: usize) -> MutexGuard<'_, Part<K, V>> {
        self.parts[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lasts(&self, read: &Read<V>, now: Option<Instant>) -> bool {
        match (self.life, read.at, now) {
            (Some(life), Some(at), Some(now)) => now.duration_since(at) < life,
            _ => true,
        }
    }
}

impl<K: Eq + Hash, V> Part<K, V> {
    fn begin(&mut self) {
        self.forgotten += 1;
        self.writes += 1;
    }
}

/// A write that is under way, and the parts of the memory that it concerns, as often as it does: see
/// [`Remembered::writing`].
#[must_use]
pub(crate) struct Writing<K: Eq + Hash, V> {
    memory: Option<Arc<Memory<K, V>>>,
    numbers: Vec<usize>,
}

impl<K: Eq + Hash, V> Drop for Writing<K, V> {
    fn drop(&mut self) {
        let Some(memory) = &self.memory else { return };
        for number in &self.numbers {
            memory.part(*number).writes -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rusqlite::OptionalExtension as _;

    use super::*;
    use crate::sqlite::{Durability, Schema};

    const SCHEMA: Schema = Schema {
        application_id: 0x7e57,
        migrations: &["CREATE TABLE numbers (name INTEGER PRIMARY KEY, number INTEGER) STRICT"],
    };

    struct World {
        db: Arc<Database>,
        remembered: Remembered<i64, Option<i64>>,
        reads: AtomicUsize,
        _directory: tempfile::TempDir,
    }

    impl World {
        fn new(sharing: Sharing, most: usize) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file.db");
            let db = Database::open_as(&path, &SCHEMA, Durability::Process, sharing).unwrap();
            let remembered = Remembered::new(&db, most);
            Self { db, remembered, reads: AtomicUsize::new(0), _directory: directory }
        }

        fn query(connection: &Connection, names: &[i64]) -> Result<Vec<Option<i64>>, StoreError> {
            let mut statement = connection.prepare_cached("SELECT number FROM numbers WHERE name = ?1")?;
            let number = |name: &i64| Ok(statement.query_row([name], |row| row.get(0)).optional()?);
            names.iter().map(number).collect()
        }

        async fn read(&self, names: &[i64]) -> Vec<Option<i64>> {
            let read = |connection: &Connection, lacking: &[i64]| {
                self.reads.fetch_add(lacking.len(), Ordering::Relaxed);
                Self::query(connection, lacking)
            };
            self.remembered.read(names, read).await.unwrap()
        }

        async fn write(&self, name: i64, number: i64) {
            let writing = self.remembered.writing([name]);
            let write = move |connection: &Connection| {
                Ok(connection.execute("INSERT OR REPLACE INTO numbers VALUES (?1, ?2)", (name, number))?)
            };
            self.db.write_holding(writing, write).await.unwrap();
        }

        fn reads(&self) -> usize {
            self.reads.swap(0, Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn what_was_read_is_read_once_until_it_is_written() {
        let world = World::new(Sharing::Alone, 1000);
        world.write(1, 10).await;
        assert_eq!((world.read(&[1, 2, 3]).await, world.reads()), (vec![Some(10), None, None], 3));
        assert_eq!((world.read(&[3, 1, 2]).await, world.reads()), (vec![None, Some(10), None], 0));
        world.write(2, 20).await;
        assert_eq!((world.read(&[2, 4, 1]).await, world.reads()), (vec![Some(20), None, Some(10)], 2));
        drop(world.remembered.writing_all());
        assert_eq!((world.read(&[1, 2]).await, world.reads()), (vec![Some(10), Some(20)], 2));
    }

    #[tokio::test]
    async fn memory_is_bounded_and_nothing_is_remembered_where_others_write() {
        let world = World::new(Sharing::Alone, 512);
        let many: Vec<i64> = (0..10_000).collect();
        world.read(&many).await;
        world.reads();
        world.read(&many).await;
        assert!(world.reads() > 9_400);

        for sharing in [Sharing::Shared, Sharing::Visiting] {
            let world = World::new(sharing, 128);
            assert_eq!((world.read(&[1]).await, world.read(&[1]).await, world.reads()), (vec![None], vec![None], 2));
        }
    }

    #[tokio::test]
    async fn what_was_overtaken_is_not_remembered() {
        let world = World::new(Sharing::Alone, 1000);
        let overtaken = |_: &Connection, _: &[i64]| {
            // Somebody writes, and is done, before this reader remembers.
            drop(world.remembered.writing([1]));
            Ok(vec![Some(-1)])
        };
        assert_eq!(world.remembered.read(&[1], overtaken).await.unwrap(), [Some(-1)]);
        assert_eq!((world.read(&[1]).await, world.reads()), (vec![None], 1));

        // Nor what is read while somebody writes: it may be from before or after.
        let writing = world.remembered.writing([2]);
        assert_eq!((world.read(&[2]).await, world.read(&[2]).await, world.reads()), (vec![None], vec![None], 2));
        drop(writing);
        assert_eq!((world.read(&[2]).await, world.read(&[2]).await, world.reads()), (vec![None], vec![None], 1));
    }

    /// Whoever was told of a write finds it, whatever others read meanwhile.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_finds_less_than_what_was_answered() {
        let world = Arc::new(World::new(Sharing::Alone, 8));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let world = Arc::clone(&world);
                tokio::spawn(async move {
                    let mut newest = [0; 4];
                    while newest != [500; 4] {
                        for (name, found) in world.read(&[0, 1, 2, 3]).await.into_iter().enumerate() {
                            let found = found.unwrap_or(0);
                            assert!(found >= newest[name], "{name} went back from {} to {found}", newest[name]);
                            newest[name] = found;
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for number in 1..=500 {
            for name in 0..4 {
                world.write(name, number).await;
                assert_eq!(world.read(&[name]).await, [Some(number)]);
            }
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }
}
