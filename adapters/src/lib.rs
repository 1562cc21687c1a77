//! Every outside system, one folder each: the port (a trait) in its `mod.rs`, the adapters beside it, and in
//! `contract.rs` the tests that every adapter of the port must pass.
//!
//! `http` is the outside that calls us: the conventions that the command API and the query API share.

pub mod cache;
pub mod checkpoints;
pub mod codec;
pub mod content;
#[cfg(feature = "decorated")]
pub mod decorated;
pub mod event_log;
pub mod http;
pub mod live;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "redis")]
mod redis;
pub mod secrets;
pub mod sqlite;
pub mod stores;
pub mod timelines;
pub mod url;
pub mod views;

mod error;
#[cfg(test)]
mod property;
#[cfg(any(feature = "kafka", feature = "mongodb", feature = "cassandra", feature = "redis"))]
#[cfg(test)]
mod secured;

pub use error::StoreError;
