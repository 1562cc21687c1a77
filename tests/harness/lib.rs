//! What scenarios and benches share: a server as a child process, people who use it over HTTP, streams that are
//! recorded, and a look into the files that it leaves.
//!
//! Nothing here waits for a time to pass: [`eventually`] asks until something is so, and a deadline only fails.

#![expect(clippy::print_stdout, reason = "libtest shows it where a test fails")]

mod client;
mod command;
mod condition;
mod document;
mod files;
mod people;
mod random;
mod server;
mod stores;
mod stream;

pub use client::{Answer, Client, Problem};
pub use command::{Outcome, run};
pub use condition::{PATIENCE, eventually};
pub use document::{Document, Operation, Seen};
pub use files::{EventRow, Heads, TruthFiles, id_bytes};
pub use people::{PASSWORD, Person, Post, Tokens, get_current, walk};
pub use random::{random, seed};
pub use server::{Server, Setup};
pub use stores::Stores;
pub use stream::{Told, Watching};
