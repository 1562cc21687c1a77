//! What people do: HTTP commands, authentication, and the write path that makes events of them.
//!
//! [`router`] is what is served. [`commands::Commands`] does the same without HTTP, with times and ids that are given:
//! for filling a community and for imports.

pub mod auth;
pub mod commands;
pub mod relay;
pub mod rendering;
pub mod write_path;

mod http;

pub use http::{CommandState, document, router};

#[cfg(test)]
mod tests;
