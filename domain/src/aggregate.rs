//! What every aggregate is: a state, a decision, and a consequence.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::Event;
use crate::time::Timestamp;

/// A decider: `decide` says which events a command causes, `evolve` what an event changes.
///
/// Invariants: `decide` refuses without effect or returns events that `evolve` accepts; a command that changes
/// nothing returns no events; the default state is that of a stream without events; folding a stream's events
/// gives the state that was decided upon.
pub trait Aggregate: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What somebody wants.
    type Command: Send;
    /// What happened.
    type Event: Into<Event> + Clone + Send;

    /// The events that `command` causes in this state; none where it changes nothing.
    ///
    /// # Errors
    /// The rule that forbids it.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Rejection>;

    /// What `event`, recorded at `at`, makes of this state. Text in the event must be open.
    fn evolve(&mut self, event: &Self::Event, at: Timestamp);
}

/// Why a command was refused: a closed set, mapped to HTTP in one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such thing, or no longer, or not for this person: the three are told apart to nobody.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A new aggregate's id is taken. Ids are random, so this is a repeat of an import.
    #[error("this {0} exists already")]
    AlreadyExists(&'static str),
    /// Somebody else's.
    #[error("this {0} is somebody else's")]
    NotYours(&'static str),
    /// Nobody follows or blocks themselves.
    #[error("you cannot do this to yourself")]
    Oneself,
    /// One of the two has blocked the other.
    #[error("one of you has blocked the other")]
    Blocked,
    /// The client decided on an older version than the present one.
    #[error("the present version is {present}")]
    Stale {
        /// The version that the client would have to have seen.
        present: u64,
    },
}
