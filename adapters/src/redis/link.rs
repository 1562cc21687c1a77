//! Connections to the server: one, or one to every node of a cluster that has slots.
//!
//! A link to a cluster is whole or broken: when one node is lost, or a slot has moved, all is opened anew, by the new map.

use std::collections::HashMap;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, PushInfo, PushKind, RedisError, Value};
use tokio::sync::Notify;

use super::{ANSWERS_WITHIN, Server};

/// Slots of a cluster.
const SLOTS: u16 = 16_384;
/// Commands that wait to be written, per connection; more wait in their callers.
const WAITING: usize = 256;

/// An open link; its clones are the same one.
#[derive(Clone)]
pub(crate) struct Link {
    nodes: Arc<[MultiplexedConnection]>,
    /// Which node has a slot, in a cluster.
    slots: Option<Arc<[u16]>>,
    broken: Arc<Notify>,
}

impl Link {
    /// Connects. `pushed` gets what the server sends unasked, and says whether the link is still good; it is called where
    /// the connection is read, and must not wait.
    pub(crate) async fn open(
        server: &Server,
        pushed: impl Fn(PushInfo) -> bool + Clone + Send + Sync + 'static,
    ) -> Result<Self, RedisError> {
        let broken = Arc::new(Notify::new());
        let config = || {
            let (broken, pushed) = (Arc::clone(&broken), pushed.clone());
            config().set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection || !pushed(push) {
                    broken.notify_one();
                }
                Ok::<(), ()>(())
            })
        };
        if !server.is_cluster() {
            let node = server.first_that_answers(&config()).await?;
            return Ok(Self { nodes: Arc::from([node]), slots: None, broken });
        }

        let mut seed = server.first_that_answers(&self::config()).await?;
        let map = redis::cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut seed).await?;
        let (addresses, slots) = read_map(&map, server.first_host())?;
        let mut nodes = Vec::with_capacity(addresses.len());
        for (host, port) in addresses {
            let client = server.client(&host, port)?;
            nodes.push(client.get_multiplexed_async_connection_with_config(&config()).await?);
        }
        Ok(Self { nodes: nodes.into(), slots: Some(slots.into()), broken })
    }

    /// One connection, or one per node.
    pub(crate) fn nodes(&self) -> &[MultiplexedConnection] {
        &self.nodes
    }

    /// Whether it is to a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.slots.is_some()
    }

    /// Returns once the link has broken or was given up.
    pub(crate) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Has the link's keeper open another one.
    pub(crate) fn give_up(&self) {
        self.broken.notify_one();
    }

    /// Whether every node answers. Whatever it sent before has been handled then.
    pub(crate) async fn ping(&self) -> Result<(), RedisError> {
        let pings = self.nodes.iter().map(|node| async { redis::cmd("PING").exec_async(&mut node.clone()).await });
        futures::future::try_join_all(pings).await.map(drop)
    }

    /// What goes to which node, in order.
    pub(crate) fn by_node<T>(
        &self,
        items: impl Iterator<Item = T>,
        node: impl Fn(&T) -> usize,
    ) -> Vec<(MultiplexedConnection, Vec<T>)> {
        if self.slots.is_none() {
            return vec![(self.nodes[0].clone(), items.collect())];
        }
        let mut nodes: HashMap<usize, Vec<T>> = HashMap::new();
        for item in items {
            nodes.entry(node(&item)).or_default().push(item);
        }
        nodes.into_iter().map(|(node, items)| (self.nodes[node].clone(), items)).collect()
    }

    /// Which of [`Self::nodes`] has a name.
    pub(crate) fn node_of(&self, name: &str) -> usize {
        self.slots.as_ref().map_or(0, |slots| slots[usize::from(slot(name))].into())
    }
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWERS_WITHIN))
        .set_response_timeout(Some(ANSWERS_WITHIN))
        .set_pipeline_buffer_size(WAITING)
}

/// A name's slot: the CRC-16 (XMODEM) of what stands in its braces.
fn slot(name: &str) -> u16 {
    let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or(name, |(tag, _)| tag);
    let crc = tag.bytes().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}

/// The nodes that have slots, and which has which, as `CLUSTER SLOTS` answers.
#[expect(clippy::type_complexity, reason = "two lists, taken apart at once by the only caller")]
fn read_map(map: &Value, asked: &str) -> Result<(Vec<(String, u16)>, Vec<u16>), RedisError> {
    let unreadable = || RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS answered something else"));
    let mut nodes: Vec<(String, u16)> = Vec::new();
    let mut slots = vec![None; usize::from(SLOTS)];
    let Value::Array(ranges) = map else { return Err(unreadable()) };
    for range in ranges {
        // From, to, the primary, its replicas.
        let Value::Array(range) = range else { return Err(unreadable()) };
        let [Value::Int(from), Value::Int(to), Value::Array(primary), ..] = range.as_slice() else {
            return Err(unreadable());
        };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return Err(unreadable()) };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() => String::from_utf8_lossy(host).into_owned(),
            Value::SimpleString(host) if !host.is_empty() => host.clone(),
            // It knows no name of its own: the one that we have asked by.
            _ => asked.to_owned(),
        };
        let node = (host, u16::try_from(*port).map_err(|_| unreadable())?);
        let place = nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            nodes.push(node);
            nodes.len() - 1
        });
        let place = u16::try_from(place).map_err(|_| unreadable())?;
        let (from, to) =
            (usize::try_from(*from).map_err(|_| unreadable())?, usize::try_from(*to).map_err(|_| unreadable())?);
        slots.get_mut(from..=to).ok_or_else(unreadable)?.fill(Some(place));
    }
    let slots: Option<Vec<u16>> = slots.into_iter().collect();
    let slots =
        slots.ok_or_else(|| RedisError::from((ErrorKind::ClusterConnectionNotFound, "slots without a node")))?;
    Ok((nodes, slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from the cluster specification and from `CLUSTER KEYSLOT`.
    #[test]
    fn slots_are_those_of_the_server() {
        assert_eq!(slot("123456789"), 0x31C3 % SLOTS);
        assert_eq!(slot("prefix:{123456789}"), 0x31C3 % SLOTS);
        assert_eq!(slot("foo"), 12_182);
    }

    #[test]
    fn a_map_with_a_hole_is_no_map() {
        let node = |host: &[u8], port| Value::Array(vec![Value::BulkString(host.to_vec()), Value::Int(port)]);
        let range = |from, to, node| Value::Array(vec![Value::Int(from), Value::Int(to), node]);
        let whole = Value::Array(vec![range(0, 99, node(b"one", 1)), range(100, 16_383, node(b"", 2))]);
        let (nodes, slots) = read_map(&whole, "seed").unwrap();
        assert_eq!(nodes, [("one".to_owned(), 1), ("seed".to_owned(), 2)]);
        assert_eq!((slots[99], slots[100], slots.len()), (0, 1, 16_384));
        assert!(read_map(&Value::Array(vec![range(0, 99, node(b"one", 1))]), "seed").is_err());
        assert!(read_map(&Value::Array(vec![range(5, 70_000, node(b"one", 1))]), "seed").is_err());
        assert!(read_map(&Value::Nil, "seed").is_err());
    }
}
