//! The port of the cache: post previews, counts and comment lists, and the leases by which readers fill it.
//!
//! The cache is disposable: whatever is in it can be gone at any moment, and is then read from its master. What is in it is
//! the master's at the version that it names, never goes back (K1), and is brought up to date by `engagement`, after the
//! master and before the checkpoint (K2). A reader that finds nothing takes a *lease* before it loads, and its fill counts
//! only while the lease is still its own; what `engagement` tells of meanwhile waits with the lease and is applied to the
//! fill (K3). So no fill overwrites what is newer, one reader of many loads (K4), and what is read all the time is filled
//! at last.
//!
//! [`cell`] says what each call does to one key, and nothing else does: the adapter in memory calls it, the scripts of the
//! one in Redis are held against it, and the model checker runs it. Leases go back to "Scaling Memcache at Facebook"
//! (Nishtala et al., NSDI 2013), section 3.2.1; theirs hold nothing, and an update deletes them.

use std::time::Duration;

use async_trait::async_trait;
use domain::{LogId, PostId};
use rand::RngExt as _;

use crate::StoreError;
use crate::checkpoints::Generation;

pub mod cell;
#[cfg(test)]
mod contract;
mod counters;
mod memory;
#[cfg(test)]
mod model;
mod none;
#[cfg(feature = "redis")]
mod redis;
mod stored;

pub use cell::{Comments, Item, Token, Value};
pub use memory::MemoryCache;
pub use none::NoCache;
#[cfg(feature = "redis")]
pub use redis::RedisCache;
pub use stored::{Shown, load_previews};

/// Where keys live: what is cached in one space says nothing in another.
///
/// A space ends when the cache could not be told of a change (its epoch is raised; see
/// [`Checkpoints`](crate::checkpoints::Checkpoints)), and when the log begins another life. What is left in it expires. An
/// adapter whose server can come back with older data (Redis, restored or replaced by a replica) adds what tells one life
/// of the server from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Space {
    /// The log that versions are positions of.
    pub log: LogId,
    /// How often the cache was given up.
    pub epoch: u64,
}

/// What has a value, under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// What `content` shows of a post in lists; its version is the sequence of the post's stream, 0 of a post that does not
    /// exist. Without bytes: nothing is shown. Whoever asks for it makes it live on.
    Preview(PostId),
    /// A post's counts in `views`; their version is the position that they are as of.
    Counts(Generation, PostId),
}

/// A list of comments, under a key: the newest of a post in `views`. Its version is the position that it is as of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListKey(pub Generation, pub PostId);

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<V> {
    /// This.
    Found(V),
    /// Nothing, and whoever asked has the lease: they load the value, from now on, and fill it in.
    Granted(Token),
    /// Nothing, and somebody else has the lease.
    Taken,
}

/// How long things live, and how much of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A preview, since it was filled in, changed or last asked for.
    pub preview: Duration,
    /// Counts, since they were filled in or changed.
    pub counts: Duration,
    /// A list of comments, since it was filled in or added to.
    pub comments: Duration,
    /// A lease. Whoever needs longer than this to load fills nothing.
    pub lease: Duration,
    /// Up to this part of each of them is taken off at random, so that what was filled at one moment does not end at one.
    pub jitter_percent: u8,
    /// Comments that a list has at most: the same for all who share a cache, since a shorter list counts as whole.
    pub kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR: u64 = 60 * 60;
        Self {
            preview: Duration::from_secs(24 * HOUR),
            counts: Duration::from_secs(24 * HOUR),
            comments: Duration::from_secs(4 * HOUR),
            lease: Duration::from_secs(3),
            jitter_percent: 10,
            kept: 50,
        }
    }
}

impl Limits {
    /// How long a value of `key` lives from now on.
    fn of(&self, key: Key) -> Duration {
        self.jittered(match key {
            Key::Preview(_) => self.preview,
            Key::Counts(..) => self.counts,
        })
    }

    /// How long a list lives from now on.
    fn of_list(&self) -> Duration {
        self.jittered(self.comments)
    }

    /// How long a lease lives.
    fn of_lease(&self) -> Duration {
        within_reason(self.lease)
    }

    fn jittered(&self, whole: Duration) -> Duration {
        let most = f64::from(self.jitter_percent.min(100)) / 100.0;
        let part = if most > 0.0 { rand::rng().random_range(0.0..=most) } else { 0.0 };
        within_reason(whole.mul_f64(1.0 - part))
    }
}

/// What no store counts differently: at least a millisecond, at most a century.
fn within_reason(life: Duration) -> Duration {
    life.clamp(Duration::from_millis(1), Duration::from_secs(100 * 365 * 24 * 60 * 60))
}

/// The cache.
///
/// Every call is one round trip for all its keys (asking for leases may be another), and each key's part of it happens at
/// once or, if the call fails, perhaps not at all. Answers are in the order of the keys; keys are distinct.
///
/// # Errors
/// All calls: [`StoreError::Unavailable`] when the cache cannot be reached in time. A reader goes to the master then. An
/// updater must raise the epoch before it goes on: what it could not tell would stay old for ever.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// How long things live here, and how much of them.
    fn limits(&self) -> Limits;

    /// What is there, without asking for leases.
    async fn values(&self, space: Space, keys: &[Key]) -> Result<Vec<Option<Value>>, StoreError>;

    /// What is there, or a lease: [`cell::look_up`].
    async fn look_up(&self, space: Space, keys: &[Key]) -> Result<Vec<Lookup<Value>>, StoreError>;

    /// Fills in what was loaded under a lease: [`cell::fill`]. Answers whether each fill counted.
    async fn fill(&self, space: Space, fills: Vec<(Key, Token, Value)>) -> Result<Vec<bool>, StoreError>;

    /// Tells of newer values: [`cell::update`].
    async fn update(&self, space: Space, updates: Vec<(Key, Value)>) -> Result<(), StoreError>;

    /// The list that is there, without asking for a lease.
    async fn comments(&self, space: Space, key: ListKey) -> Result<Option<Comments>, StoreError>;

    /// The list that is there, or a lease: [`cell::look_up`].
    async fn look_up_comments(&self, space: Space, key: ListKey) -> Result<Lookup<Comments>, StoreError>;

    /// Fills in a list that was loaded under a lease: [`cell::fill_comments`]. Answers whether there is a list now.
    ///
    /// `list` has as many of the post's comments as [`Limits::kept`] says, or all; its version was read *before* its items.
    async fn fill_comments(&self, space: Space, key: ListKey, token: Token, list: Comments)
    -> Result<bool, StoreError>;

    /// Adds comments to lists, in order of their positions: [`cell::add`].
    async fn add_comments(&self, space: Space, additions: Vec<(ListKey, Vec<Item>)>) -> Result<(), StoreError>;

    /// Drops lists of which a comment was changed or deleted, with their leases.
    async fn drop_comments(&self, space: Space, keys: Vec<ListKey>) -> Result<(), StoreError>;
}
