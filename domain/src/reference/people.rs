//! What the model answers about people: what they show of themselves, and who began to follow whom when.

use std::collections::BTreeSet;

use super::Reference;
use crate::ids::UserId;
use crate::relation;
use crate::stream::StreamId;
use crate::text::{Bio, DisplayName, Username};
use crate::time::Timestamp;
use crate::user::User;

/// A person as a profile shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileAnswer<'a> {
    /// The person.
    pub user: UserId,
    /// User name, display name and bio; `None` of somebody who is followed, or writes, and has no account in the log.
    pub names: Option<(&'a Username, &'a DisplayName, &'a Bio)>,
    /// The number of the newest event of the account's stream.
    pub sequence: u64,
    /// How many follow them now.
    pub followers: u64,
    /// How many they follow now.
    pub following: u64,
    /// How many posts of theirs are not deleted, whoever may read them.
    pub posts: u64,
}

/// A follow, present or past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowAnswer {
    /// Who follows.
    pub from: UserId,
    /// Whom.
    pub to: UserId,
    /// Whether it holds now.
    pub following: bool,
    /// The number, in the pair's stream, of the event that began or ended it.
    pub sequence: u64,
    /// When that was.
    pub since: Timestamp,
}

impl Reference {
    /// A person; all zeros where the log knows nothing of them.
    pub fn profile(&self, user: UserId) -> ProfileAnswer<'_> {
        let names = self.users.get(&user).and_then(|folded| match &folded.state {
            User::Absent => None,
            User::Registered { username, display_name, bio } => Some((username, display_name, bio)),
        });
        let size = |set: Option<&BTreeSet<UserId>>| set.map_or(0, |set| set.len() as u64);
        ProfileAnswer {
            user,
            names,
            sequence: self.sequence(StreamId::User(user)),
            followers: size(self.followers.get(&user)),
            following: size(self.following.get(&user)),
            posts: self.posts_by_author.get(&user).map_or(0, |posts| posts.len() as u64),
        }
    }

    /// Everybody who has an account, follows or is followed, or wrote something, now or once, by id.
    pub fn profiles(&self) -> impl Iterator<Item = ProfileAnswer<'_>> {
        let mut people: BTreeSet<UserId> = self.users.keys().copied().collect();
        people.extend(self.follows.keys().flat_map(|(from, to)| [*from, *to]));
        people.extend(self.posts_by_author.keys());
        people.into_iter().map(|user| self.profile(user))
    }

    /// What became of `from` following `to`, if that ever began.
    pub fn follow(&self, from: UserId, to: UserId) -> Option<FollowAnswer> {
        let (sequence, since) = *self.follows.get(&(from, to))?;
        Some(FollowAnswer { from, to, following: self.edge(from, to).following, sequence, since })
    }

    /// Every follow there ever was, by who follows and whom.
    pub fn follows(&self) -> impl Iterator<Item = FollowAnswer> {
        self.follows.keys().filter_map(|(from, to)| self.follow(*from, *to))
    }

    pub(super) fn collect_follow(&mut self, event: &relation::Event, sequence: u64, at: Timestamp) {
        let relation::Pair { from, to } = event.pair();
        match event {
            relation::Event::Followed(_) => self.followers.entry(to).or_default().insert(from),
            relation::Event::Unfollowed(_) => self.followers.entry(to).or_default().remove(&from),
            relation::Event::Blocked(_)
            | relation::Event::Unblocked(_)
            | relation::Event::Muted(_)
            | relation::Event::Unmuted(_) => return,
        };
        self.follows.insert((from, to), (sequence, at));
    }
}
