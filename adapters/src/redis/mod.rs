//! What every adapter over Redis needs: where the server is, connections to it, and a task that opens them again.
//!
//! `redis://user:password@host:port/prefix`, with `tls=true` and its files, `database=N` and `cluster=true|false` (asked
//! of the server if left out). All names begin with the prefix; what stands in braces in a name decides its slot in a
//! cluster.

use std::time::Duration;

mod kept;
mod link;
mod server;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use kept::{Connection, Kept, Pauses, ended, ticks};
pub(crate) use link::Link;
pub(crate) use server::Server;

/// How long the server has for an answer.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
