//! [`Cache`] in Redis, for all processes.
//!
//! `redis://user:password@host:port/prefix`, with `tls=true` and its files, `database=N` and `cluster=true|false` (asked
//! of the server if left out). Keys are
//!
//! ```text
//! prefix:<log>:<epoch>:<run>:{post:<id>}:preview
//! prefix:<log>:<epoch>:<run>:{post:<id>}:<generation>:counts
//! prefix:<log>:<epoch>:<run>:{post:<id>}:<generation>:comments
//! ```
//!
//! What stands in braces decides a key's slot in a cluster, so that all of a post is on one node. `<run>` begins the run id
//! of the server that the connection is to, which is drawn when a server starts. It is read on every connect, for a server
//! that starts again from a snapshot, or a replica that takes over, has forgotten what it was told last: old values, K1
//! says, must never be read again, and nobody is there to remove them. Under another `<run>` they are not found, by any
//! process, without a word among them; they expire. A connection does not outlive its server, so within one the run is
//! the same. (A server that is made a replica, and then the primary again, has not started again: caches need no
//! replicas.)
//!
//! A value is a string and a list is a Redis list, whose last element says what it is; a lease is the same, with a token
//! in the version's place, and what waits with it behind (see `cells.lua`). What [`cell`](super::cell) says happens in one
//! script per key and call, so it happens at once. Readers run none for what is there: they read strings, in one pipeline
//! per node, and only for what is missing there is a second one, of scripts. Whatever else is found under a key is nothing,
//! and is replaced by the next lease.
//!
//! A call without a connection fails at once, and one whose answer does not come in time fails and has the connection opened
//! anew: both as [`StoreError::Unavailable`]. What such a call was to do may have been done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{CommentId, LogId, PostId};
use redis::RedisError;

use super::{Cache, Comments, Item, Key, Limits, ListKey, Lookup, Space, Token, Value, counters};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::redis::{Connection as _, Kept, Server};
use crate::url::StoreUrl;

mod form;
mod lists;
mod nodes;
mod scripts;
#[cfg(test)]
mod tests;
mod values;

use nodes::Nodes;

/// The adapter.
pub struct RedisCache {
    nodes: Kept<Nodes>,
    limits: Limits,
}

impl RedisCache {
    /// Connects, or begins without a connection where the server cannot be reached: nobody waits for a cache.
    ///
    /// # Errors
    /// The URL is wrong, or the server refuses what is needed ([`StoreError::Unfit`]).
    pub async fn open(url: &StoreUrl, limits: Limits) -> Result<Self, StoreError> {
        let server = Arc::new(Server::from_url(url)?);
        let opened = async {
            server.learn_mode().await?;
            let opened = async {
                let nodes = Nodes::open(&server).await?;
                may_do_what_it_must(&nodes).await?;
                Ok(nodes)
            };
            opened.await.map_err(|error| server.refusal(&error))
        };
        let first = match opened.await {
            Ok(nodes) => Ok(nodes),
            Err(StoreError::Unavailable(why)) => {
                tracing::warn!(%server, why, "the cache cannot be reached");
                Err(why)
            }
            Err(error) => return Err(error),
        };
        Ok(Self { nodes: Kept::keep(server, first), limits })
    }

    fn told<T>(&self, nodes: &Nodes, outcome: Result<T, RedisError>) -> Result<T, StoreError> {
        outcome.map_err(|error| self.nodes.failure(nodes, &error))
    }
}

#[async_trait]
impl Cache for RedisCache {
    fn limits(&self) -> Limits {
        self.limits
    }

    async fn values(&self, space: Space, keys: &[Key]) -> Result<Vec<Option<Value>>, StoreError> {
        let nodes = self.nodes.present()?;
        let answers = self.told(&nodes, nodes.values(&self.limits, space, keys).await)?;
        counters::values(keys, &answers);
        Ok(answers)
    }

    async fn look_up(&self, space: Space, keys: &[Key]) -> Result<Vec<Lookup<Value>>, StoreError> {
        let nodes = self.nodes.present()?;
        let answers = self.told(&nodes, nodes.look_up(&self.limits, space, keys).await)?;
        counters::look_up(keys, &answers);
        Ok(answers)
    }

    async fn fill(&self, space: Space, fills: Vec<(Key, Token, Value)>) -> Result<Vec<bool>, StoreError> {
        let nodes = self.nodes.present()?;
        let answers = self.told(&nodes, nodes.fill(&self.limits, space, &fills).await)?;
        counters::fill(fills.iter().map(|(key, ..)| *key).zip(answers.iter().copied()));
        Ok(answers)
    }

    async fn update(&self, space: Space, updates: Vec<(Key, Value)>) -> Result<(), StoreError> {
        let nodes = self.nodes.present()?;
        self.told(&nodes, nodes.update(&self.limits, space, &updates).await)
    }

    async fn comments(&self, space: Space, key: ListKey) -> Result<Option<Comments>, StoreError> {
        let nodes = self.nodes.present()?;
        let list = self.told(&nodes, nodes.comments(space, key).await)?;
        counters::comments(list.as_ref());
        Ok(list)
    }

    async fn look_up_comments(&self, space: Space, key: ListKey) -> Result<Lookup<Comments>, StoreError> {
        let nodes = self.nodes.present()?;
        let lookup = self.told(&nodes, nodes.look_up_comments(&self.limits, space, key).await)?;
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
        let nodes = self.nodes.present()?;
        let is_filled = self.told(&nodes, nodes.fill_comments(&self.limits, space, key, token, &list).await)?;
        counters::fill_comments(is_filled);
        Ok(is_filled)
    }

    async fn add_comments(&self, space: Space, additions: Vec<(ListKey, Vec<Item>)>) -> Result<(), StoreError> {
        let nodes = self.nodes.present()?;
        self.told(&nodes, nodes.add_comments(&self.limits, space, &additions).await)
    }

    async fn drop_comments(&self, space: Space, keys: Vec<ListKey>) -> Result<(), StoreError> {
        let nodes = self.nodes.present()?;
        self.told(&nodes, nodes.drop_comments(space, &keys).await)
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisCache({})", self.nodes)
    }
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX)
}

/// Rights that are missing are told at the start, not when the first reader comes: every call, once, on keys of nobody.
async fn may_do_what_it_must(nodes: &Nodes) -> Result<(), RedisError> {
    const BRIEFLY: Duration = Duration::from_secs(10);
    let limits =
        Limits { preview: BRIEFLY, counts: BRIEFLY, comments: BRIEFLY, lease: BRIEFLY, jitter_percent: 0, kept: 1 };
    let space = Space { log: LogId(0), epoch: rand::random() };
    let post = PostId::from_bytes([0; 16]);
    let (key, list) = (Key::Preview(post), ListKey(Generation(0), post));
    let value = |version| Value { version, bytes: Bytes::new() };
    let item = |number| Item {
        comment: CommentId::from_bytes([number; 16]),
        position: i64::from(number),
        bytes: Bytes::new(),
    };

    if let [Lookup::Granted(token)] = nodes.look_up(&limits, space, &[key]).await?[..] {
        nodes.update(&limits, space, &[(key, value(1))]).await?;
        nodes.fill(&limits, space, &[(key, token, value(0))]).await?;
    }
    // Older than it can be, so that it is touched.
    nodes.values(&Limits { preview: BRIEFLY * 2, ..limits }, space, &[key]).await?;
    if let Lookup::Granted(token) = nodes.look_up_comments(&limits, space, list).await? {
        nodes.add_comments(&limits, space, &[(list, vec![item(1)])]).await?;
        nodes.fill_comments(&limits, space, list, token, &Comments::default()).await?;
        nodes.add_comments(&limits, space, &[(list, vec![item(3)]), (list, vec![item(2), item(4)])]).await?;
    }
    nodes.drop_comments(space, &[list]).await
}
