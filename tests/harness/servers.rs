//! The servers that a mix of stores needs, and what one system under test has on them: names of its own, which are
//! given back when it goes.
//!
//! A database, a set of topics and a prefix of channels are made and removed within a moment, so every system has new
//! ones. A keyspace is not: on a machine with two busy cores it takes 1.5 to 2.5 seconds with its tables to make, 3 to 5 to
//! drop, and 0.3 to empty. So keyspaces are lent out of a pool: they are emptied when they come back, beside the next
//! scenario, and lent again. There are a few more than systems that run at the same time. Isolation by ids alone, which
//! are random, would not do: `verify` reads whole tables.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "cluster")]
mod cleaning;

/// The replication of what tests make: one server is all there is.
const KAFKA_OPTIONS: &str = "replication_factor=1&min_insync_replicas=1";
const CASSANDRA_OPTIONS: &str = "replication=SimpleStrategy:1";

/// Where the servers are: `scheme://host:port`, without a name at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// Of the log.
    pub kafka: Option<String>,
    /// Of documents.
    pub mongodb: Option<String>,
    /// Of timelines.
    pub cassandra: Option<String>,
    /// Of what is live.
    pub redis: Option<String>,
}

impl Servers {
    /// Those that the environment names: `HYBRID_LIVE_TEST_KAFKA`, `…_MONGODB`, `…_CASSANDRA`, `…_REDIS`.
    pub fn of_this_run() -> Self {
        let of = |name: &str| std::env::var(variable(name)).ok().filter(|url| !url.is_empty());
        Self { kafka: of("kafka"), mongodb: of("mongodb"), cassandra: of("cassandra"), redis: of("redis") }
    }

    /// The same, but for one server that is at `url`.
    ///
    /// # Panics
    /// When no server is called so.
    #[must_use]
    pub fn with(mut self, server: &str, url: &str) -> Self {
        let place = match server {
            "kafka" => &mut self.kafka,
            "mongodb" => &mut self.mongodb,
            "cassandra" => &mut self.cassandra,
            "redis" => &mut self.redis,
            other => panic!("no server is called {other}"),
        };
        *place = Some(url.to_owned());
        self
    }
}

/// The environment variable that says where a server is.
pub(crate) fn variable(server: &str) -> String {
    format!("HYBRID_LIVE_TEST_{}", server.to_ascii_uppercase())
}

fn there<'a>(url: Option<&'a String>, server: &str) -> &'a str {
    let missing = || panic!("{} is not set: run `eval \"$(tests/services/up)\"` first", variable(server));
    url.map_or_else(missing, |url| url.trim_end_matches('/'))
}

/// What one system calls its own on the servers. What it made there is removed when this goes.
#[derive(Debug)]
pub(crate) struct Names {
    /// In every name: nobody else has it.
    own: String,
    /// The servers that it stands on, and no others.
    servers: Servers,
    /// The keyspace, which is only lent.
    keyspace: Option<Keyspace>,
    /// Whether anything can be there.
    used: AtomicBool,
}

/// A keyspace out of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyspace {
    /// Where it is.
    pub(crate) server: String,
    /// What it is called.
    pub(crate) name: String,
}

impl Names {
    /// For a system that stands on these servers; nothing is made yet.
    pub(crate) fn new(servers: Servers) -> Self {
        let mut own = "hl_test_".to_owned();
        for byte in rand::random::<[u8; 6]>() {
            // Writing to a string does not fail.
            let _ = write!(own, "{byte:02x}");
        }
        let keyspace = servers.cassandra.as_ref().map(|server| lend_keyspace(server, &own));
        Self { own, servers, keyspace, used: AtomicBool::new(false) }
    }

    /// From now on something is there.
    pub(crate) fn are_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    pub(crate) fn kafka(&self) -> String {
        format!("{}/{}?{KAFKA_OPTIONS}", there(self.servers.kafka.as_ref(), "kafka"), self.own)
    }

    pub(crate) fn mongodb(&self) -> String {
        format!("{}/{}", there(self.servers.mongodb.as_ref(), "mongodb"), self.own)
    }

    pub(crate) fn cassandra(&self) -> String {
        let keyspace = self.keyspace.as_ref().map_or("", |keyspace| &keyspace.name);
        format!("{}/{keyspace}?{CASSANDRA_OPTIONS}", there(self.servers.cassandra.as_ref(), "cassandra"))
    }

    pub(crate) fn redis(&self) -> String {
        format!("{}/{}", there(self.servers.redis.as_ref(), "redis"), self.own)
    }
}

#[cfg(feature = "cluster")]
fn lend_keyspace(server: &str, fresh: &str) -> Keyspace {
    cleaning::lend_keyspace(server, fresh)
}

/// Nothing opens it: stores are refused that were not built in, by their features.
#[cfg(not(feature = "cluster"))]
fn lend_keyspace(server: &str, fresh: &str) -> Keyspace {
    Keyspace { server: server.to_owned(), name: fresh.to_owned() }
}

impl Drop for Names {
    fn drop(&mut self) {
        #[cfg(feature = "cluster")]
        {
            let (own, keyspace) = (std::mem::take(&mut self.own), self.keyspace.take());
            if *self.used.get_mut() {
                cleaning::give_back(std::mem::take(&mut self.servers), own, keyspace);
            } else {
                cleaning::give_back_unused(keyspace);
            }
        }
    }
}
