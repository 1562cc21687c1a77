//! What a link does with channels.
//!
//! In a cluster, channels are sharded: each lives on the node that has its slot, and messages go nowhere else.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, TryStreamExt as _};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};

use crate::redis::Link;

/// Messages that are sent as one pipeline, and channels that are subscribed to by one command, at most.
const BATCH: usize = 1_024;
/// Subscriptions under way at a time where each is a command of its own.
const SUBSCRIPTIONS: usize = 64;

impl Link {
    /// Publishes in order.
    pub(super) async fn publish(&self, messages: &[(Arc<str>, Arc<[u8]>)]) -> Result<(), RedisError> {
        let command = if self.is_cluster() { "SPUBLISH" } else { "PUBLISH" };
        for batch in messages.chunks(BATCH) {
            let by_node = self.by_node(batch.iter(), |(name, _)| self.node_of(name));
            let sent = by_node.into_iter().map(|(mut node, messages)| async move {
                let mut pipeline = redis::pipe();
                for (name, message) in messages {
                    pipeline.cmd(command).arg(&**name).arg(&**message).ignore();
                }
                pipeline.exec_async(&mut node).await
            });
            futures::future::try_join_all(sent).await?;
        }
        Ok(())
    }

    /// Subscribes; returns once all is confirmed.
    pub(super) async fn subscribe(&self, names: &[Arc<str>]) -> Result<(), RedisError> {
        if self.is_cluster() {
            return self.each_sharded("SSUBSCRIBE", names).await;
        }
        for batch in names.chunks(BATCH) {
            let names: Vec<&str> = batch.iter().map(|name| &**name).collect();
            self.nodes()[0].clone().subscribe(names).await?;
        }
        Ok(())
    }

    /// Ends subscriptions; returns once all is confirmed.
    pub(super) async fn unsubscribe(&self, names: &[Arc<str>]) -> Result<(), RedisError> {
        if self.is_cluster() {
            return self.each_sharded("SUNSUBSCRIBE", names).await;
        }
        for batch in names.chunks(BATCH) {
            let names: Vec<&str> = batch.iter().map(|name| &**name).collect();
            self.nodes()[0].clone().unsubscribe(names).await?;
        }
        Ok(())
    }

    /// A command per channel, for one command's channels would have to share a slot.
    fn each_sharded(&self, command: &'static str, names: &[Arc<str>]) -> BoxFuture<'static, Result<(), RedisError>> {
        let of = |name: &Arc<str>| sharded(self.nodes()[self.node_of(name)].clone(), command, Arc::clone(name));
        let commands: Vec<_> = names.iter().map(of).collect();
        stream::iter(commands.into_iter().map(Ok)).try_buffer_unordered(SUBSCRIPTIONS).try_collect().boxed()
    }
}

async fn sharded(mut node: MultiplexedConnection, command: &str, name: Arc<str>) -> Result<(), RedisError> {
    redis::cmd(command).arg(&*name).query_async::<Value>(&mut node).await.map(drop)
}
