//! Rows about people: what they show of themselves, their numbers, and who follows them since when.

use domain::text::{Bio, DisplayName, Username};
use domain::{PostId, Timestamp, UserId};

/// What a person shows of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileNames {
    /// Unique in the whole system.
    pub username: Username,
    /// What the person wants to be called.
    pub display_name: DisplayName,
    /// What the person says of themselves.
    pub bio: Bio,
}

/// A person and their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// The person.
    pub user: UserId,
    /// What they show; `None` before their account is known, and of erased people.
    pub names: Option<ProfileNames>,
    /// Sequence of the newest event of the account's stream; 0 before the first.
    pub sequence: u64,
    /// How many follow them.
    pub followers: u64,
    /// How many they follow.
    pub following: u64,
    /// Posts of theirs that are not deleted, of every visibility.
    pub posts: u64,
}

/// One event's change of profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileChange {
    /// Somebody shows something else of themselves, or anything at all.
    Named {
        /// Who.
        user: UserId,
        /// All that they show from now on.
        names: Option<ProfileNames>,
        /// The event's sequence in the account's stream.
        sequence: u64,
    },
    /// A follow began or ended.
    Follow(FollowRow),
    /// A post came or went.
    Post {
        /// Whose.
        author: UserId,
        /// Which.
        post: PostId,
        /// It came; else it went.
        listed: bool,
        /// The event's sequence in the post's stream.
        sequence: u64,
    },
}

/// A follow, present or past: the guard of the two numbers that it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowRow {
    /// Who follows.
    pub from: UserId,
    /// Whom.
    pub to: UserId,
    /// Whether it holds; if not, the row is a tombstone.
    pub following: bool,
    /// Sequence, in the pair's stream, of the event that began or ended it.
    pub sequence: u64,
    /// When that event was.
    pub since: Timestamp,
}

/// Which list of follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowList {
    /// Those who follow this person.
    FollowersOf(UserId),
    /// Those whom this person follows.
    FollowedBy(UserId),
}

impl FollowList {
    /// The one of a follow's two people whom the list is made of.
    pub fn other(self, follow: &FollowRow) -> UserId {
        match self {
            Self::FollowersOf(_) => follow.from,
            Self::FollowedBy(_) => follow.to,
        }
    }
}
