//! What scenarios and benches share: systems of one process or many on any mix of stores, people who use them over
//! HTTP, streams that are recorded, a look into the stores, and the servers that stores are on.
//!
//! Nothing here waits for a time to pass: [`eventually`] asks until something is so, and a deadline only fails.

#![expect(clippy::print_stdout, reason = "libtest shows it where a test fails")]

mod client;
mod cluster;
mod command;
mod condition;
mod document;
mod files;
mod look;
mod people;
mod process;
mod random;
mod server;
mod servers;
mod service;
mod stores;
mod stream;
mod system;

pub use client::{Answer, Client, Problem};
pub use cluster::{Cluster, Role};
pub use command::{Outcome, run};
pub use condition::{PATIENCE, eventually};
pub use document::{Document, Operation, Seen};
pub use files::{EventRow, TruthFiles, id_bytes};
pub use look::{Event, Heads, Look};
pub use people::{PASSWORD, Person, Post, Tokens, get_current, walk};
pub use random::{random, seed};
pub use server::Server;
pub use servers::Servers;
pub use service::Service;
pub use stores::Stores;
pub use stream::{Told, Watching};
pub use system::{Setup, System};
