//! The decisions of a live social feed, pure: what may happen, what did happen, and what follows.
//!
//! One module per aggregate (`user`, `relation`, `post`, `comment`, `reaction`), each with its
//! commands, events, state, `decide` and `evolve`. No I/O, no async, no clock and no randomness:
//! times and ids come in as arguments. [`mod@reference`] holds the model that `verify` judges by.

pub mod aggregate;
pub mod comment;
pub mod event;
pub mod ids;
pub mod post;
pub mod reaction;
pub mod reference;
pub mod relation;
pub mod sealed;
pub mod stream;
pub mod text;
pub mod time;
pub mod upcast;
pub mod user;

mod schemas;

#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, Rejection};
pub use event::{Envelope, Event};
pub use ids::{CommentId, CorrelationId, EventId, PostId, SessionId, UserId};
pub use sealed::{Sealed, SealedBox};
pub use stream::{Lane, LogId, Position, StreamId, Topic};
pub use time::Timestamp;
