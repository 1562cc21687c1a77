//! The outside that calls us: what the command API and the query API have in common at the door.
//!
//! Problems with their codes, strict extractors, access tokens and who holds them, consistency tokens, cursors, and
//! the trace of a request. What a request *does* is the APIs' own.

pub mod auth;
pub mod client_address;
pub mod clock;
pub mod conditional;
pub mod consistency;
pub mod cursor;
pub mod extract;
pub mod openapi;
pub mod problem;
pub mod rate_limits;
pub mod tokens;
pub mod trace;

mod query_string;

#[cfg(test)]
mod tests;

pub use problem::{Code, Problem};
