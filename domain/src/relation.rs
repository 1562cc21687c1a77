//! What two people are to each other: one stream per unordered pair, so that a block and the follows that it ends
//! are one decision. Each event changes one direction.

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Rejection};
use crate::event::Event as AnyEvent;
use crate::ids::UserId;
use crate::time::Timestamp;

/// Both directions of a pair; low is the lesser id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// From the lesser id to the greater.
    pub low_to_high: Direction,
    /// From the greater id to the lesser.
    pub high_to_low: Direction,
}

/// What one person does about another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Direction {
    /// Reads the other's posts in the home feed.
    pub following: bool,
    /// Wants nothing of the other, and shows the other nothing.
    pub blocking: bool,
    /// Wants the other's posts out of what is put together for them. Not written where it does not hold: so it was
    /// before one could.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub muting: bool,
}

/// Who does it to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Who acts.
    pub from: UserId,
    /// Whom it is about.
    pub to: UserId,
}

/// What can be wanted of a relation. All are idempotent.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Read the other's posts from now on.
    Follow(Pair),
    /// No longer.
    Unfollow(Pair),
    /// End follows both ways and keep them ended.
    Block(Pair),
    /// Allow follows again; restores none.
    Unblock(Pair),
    /// Find no posts of the other in one's home any more. What one opens is shown all the same, follows stay as they
    /// are, and the other does not learn of it.
    Mute(Pair),
    /// Find them again.
    Unmute(Pair),
}

/// What happens between two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `relation.followed`
    Followed(Pair),
    /// `relation.unfollowed`
    Unfollowed(Pair),
    /// `relation.blocked`
    Blocked(Pair),
    /// `relation.unblocked`
    Unblocked(Pair),
    /// `relation.muted`
    Muted(Pair),
    /// `relation.unmuted`
    Unmuted(Pair),
}

impl Event {
    /// Who did it to whom.
    pub fn pair(&self) -> Pair {
        match self {
            Self::Followed(pair)
            | Self::Unfollowed(pair)
            | Self::Blocked(pair)
            | Self::Unblocked(pair)
            | Self::Muted(pair)
            | Self::Unmuted(pair) => *pair,
        }
    }
}

impl Command {
    /// Who wants it, of whom.
    pub fn pair(&self) -> Pair {
        match self {
            Self::Follow(pair)
            | Self::Unfollow(pair)
            | Self::Block(pair)
            | Self::Unblock(pair)
            | Self::Mute(pair)
            | Self::Unmute(pair) => *pair,
        }
    }
}

impl From<Event> for AnyEvent {
    fn from(event: Event) -> AnyEvent {
        AnyEvent::Relation(event)
    }
}

impl Relation {
    /// What `pair.from` does about `pair.to`.
    pub fn direction(&self, pair: Pair) -> Direction {
        if pair.from < pair.to { self.low_to_high } else { self.high_to_low }
    }

    fn direction_mut(&mut self, pair: Pair) -> &mut Direction {
        if pair.from < pair.to { &mut self.low_to_high } else { &mut self.high_to_low }
    }

    /// Whether either has blocked the other.
    pub fn is_blocked(&self) -> bool {
        self.low_to_high.blocking || self.high_to_low.blocking
    }
}

impl Pair {
    fn reversed(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

impl Aggregate for Relation {
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        let pair = command.pair();
        if pair.from == pair.to {
            return Err(Rejection::Oneself);
        }
        let there = self.direction(pair);
        let back = self.direction(pair.reversed());
        let mut events = Vec::new();
        match command {
            Command::Follow(_) => {
                if self.is_blocked() {
                    return Err(Rejection::Blocked);
                }
                if !there.following {
                    events.push(Event::Followed(pair));
                }
            }
            Command::Unfollow(_) => {
                if there.following {
                    events.push(Event::Unfollowed(pair));
                }
            }
            Command::Block(_) => {
                if there.following {
                    events.push(Event::Unfollowed(pair));
                }
                if back.following {
                    events.push(Event::Unfollowed(pair.reversed()));
                }
                if !there.blocking {
                    events.push(Event::Blocked(pair));
                }
            }
            Command::Unblock(_) => {
                if there.blocking {
                    events.push(Event::Unblocked(pair));
                }
            }
            Command::Mute(_) => {
                if !there.muting {
                    events.push(Event::Muted(pair));
                }
            }
            Command::Unmute(_) => {
                if there.muting {
                    events.push(Event::Unmuted(pair));
                }
            }
        }
        Ok(events)
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        let direction = self.direction_mut(event.pair());
        match event {
            Event::Followed(_) => direction.following = true,
            Event::Unfollowed(_) => direction.following = false,
            Event::Blocked(_) => direction.blocking = true,
            Event::Unblocked(_) => direction.blocking = false,
            Event::Muted(_) => direction.muting = true,
            Event::Unmuted(_) => direction.muting = false,
        }
    }
}
