//! What one person thinks of one post. Liking twice is liking once.

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Rejection};
use crate::event::Event as AnyEvent;
use crate::ids::{PostId, UserId};
use crate::time::Timestamp;

/// The reaction's present state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reaction {
    /// Whether the person likes the post.
    pub liked: bool,
}

/// Whose reaction to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The post.
    pub post: PostId,
    /// Who reacts.
    pub user: UserId,
}

/// What can be wanted of a reaction. Both are idempotent.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Like the post.
    Like(Subject),
    /// No longer.
    Unlike(Subject),
}

/// What happens to reactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `reaction.liked`
    Liked(Subject),
    /// `reaction.unliked`
    Unliked(Subject),
}

impl Event {
    /// Whose reaction to what.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Liked(subject) | Self::Unliked(subject) => *subject,
        }
    }
}

impl From<Event> for AnyEvent {
    fn from(event: Event) -> AnyEvent {
        AnyEvent::Reaction(event)
    }
}

impl Aggregate for Reaction {
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        Ok(match (command, self.liked) {
            (Command::Like(subject), false) => vec![Event::Liked(*subject)],
            (Command::Unlike(subject), true) => vec![Event::Unliked(*subject)],
            (Command::Like(_), true) | (Command::Unlike(_), false) => Vec::new(),
        })
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        self.liked = matches!(event, Event::Liked(_));
    }
}
