//! What people show of themselves, how many follow them and whom they follow, and how much they wrote.
//!
//! A profile is fed by many lanes: the account's own, one for each other person, one for each post. What an account
//! shows is guarded by the sequence of its stream; each number by the rows that it counts, which the store changes
//! together with it (C2, C4). So nothing has to be known here but what the names were before.

use std::collections::HashMap;
use std::sync::Arc;

use adapters::checkpoints::{Generation, Owner, PROFILES};
use adapters::views::{FollowRow, ProfileChange, ProfileNames, ProfileRow, Views};
use async_trait::async_trait;
use domain::text::Bio;
use domain::{Envelope, Event, Topic, UserId, post, relation, user};

use crate::projection::{ApplyError, Projection, Recorded};

/// The projection.
pub struct Profiles {
    views: Arc<dyn Views>,
}

impl Profiles {
    /// The projection's name.
    pub const NAME: &str = PROFILES;
    /// What it reads.
    pub const TOPICS: &[Topic] = &[Topic::Users, Topic::Relations, Topic::Posts];

    /// A projection that writes `views`.
    pub fn new(views: Arc<dyn Views>) -> Self {
        Self { views }
    }

    /// What the accounts that a batch is about show so far.
    async fn shown(&self, generation: Generation, events: &[Recorded]) -> Result<HashMap<UserId, Shown>, ApplyError> {
        let mut users: Vec<UserId> = events
            .iter()
            .filter_map(|event| match &event.envelope.event {
                Event::User(event) => Some(event.user()),
                _ => None,
            })
            .collect();
        if users.is_empty() {
            return Ok(HashMap::new());
        }
        users.sort_unstable();
        users.dedup();
        let rows = self.views.profiles(generation, &users).await?;
        let shown = rows.into_iter().map(|row| match row {
            Some(ProfileRow { names, sequence, .. }) => Shown { names, sequence },
            None => Shown::default(),
        });
        Ok(users.into_iter().zip(shown).collect())
    }
}

#[async_trait]
impl Projection for Profiles {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn topics(&self) -> &'static [Topic] {
        Self::TOPICS
    }

    fn opens_text(&self, topic: Topic) -> bool {
        topic == Topic::Users
    }

    async fn apply(&self, owner: Owner, events: &[Recorded]) -> Result<(), ApplyError> {
        let mut shown = self.shown(owner.generation, events).await?;
        let mut changes = Vec::new();
        for Recorded { position, envelope } in events {
            let change = match &envelope.event {
                Event::User(event) => shown.entry(event.user()).or_default().apply(position.offset, envelope, event)?,
                Event::Relation(event) => follow(envelope, event).map(ProfileChange::Follow),
                Event::Post(event) => written(envelope, event),
                Event::Comment(_) | Event::Reaction(_) => None,
            };
            changes.extend(change);
        }
        if !changes.is_empty() {
            self.views.write_profiles(owner, changes).await?;
        }
        Ok(())
    }
}

/// What an account shows, while a batch is applied to it in memory.
#[derive(Default)]
struct Shown {
    names: Option<ProfileNames>,
    sequence: u64,
}

impl Shown {
    /// The account after this event; `None` if it has the event already.
    fn apply(
        &mut self,
        offset: i64,
        envelope: &Envelope,
        event: &user::Event,
    ) -> Result<Option<ProfileChange>, ApplyError> {
        if envelope.sequence <= self.sequence {
            return Ok(None);
        }
        if envelope.sequence != self.sequence + 1 {
            let (stream, stored, found) = (envelope.stream, self.sequence, envelope.sequence);
            let reason = format!("{stream} goes from {stored} to {found}: events are missing");
            return Err(ApplyError::Permanent { offset, reason });
        }
        self.sequence = envelope.sequence;
        // The text of erased people stays closed, and then nothing of them is shown.
        self.names = match event {
            user::Event::Registered(registered) => registered.names.open().map(|names| ProfileNames {
                username: names.username.clone(),
                display_name: names.display_name.clone(),
                bio: Bio::default(),
            }),
            user::Event::ProfileEdited(edited) => {
                let username = self.names.take().map(|names| names.username);
                username.zip(edited.profile.open()).map(|(username, profile)| ProfileNames {
                    username,
                    display_name: profile.display_name.clone(),
                    bio: profile.bio.clone(),
                })
            }
        };
        let (names, sequence) = (self.names.clone(), self.sequence);
        Ok(Some(ProfileChange::Named { user: event.user(), names, sequence }))
    }
}

fn follow(envelope: &Envelope, event: &relation::Event) -> Option<FollowRow> {
    let following = match event {
        relation::Event::Followed(_) => true,
        relation::Event::Unfollowed(_) => false,
        // A block's decision ends follows by events of their own.
        relation::Event::Blocked(_)
        | relation::Event::Unblocked(_)
        | relation::Event::Muted(_)
        | relation::Event::Unmuted(_) => return None,
    };
    let relation::Pair { from, to } = event.pair();
    Some(FollowRow { from, to, following, sequence: envelope.sequence, since: envelope.time })
}

fn written(envelope: &Envelope, event: &post::Event) -> Option<ProfileChange> {
    let sequence = envelope.sequence;
    match event {
        post::Event::Published(post::Published { post, author, .. }) => {
            Some(ProfileChange::Post { author: *author, post: *post, listed: true, sequence })
        }
        post::Event::Edited(_) => None,
        post::Event::Deleted(post::Deleted { post, author }) => {
            Some(ProfileChange::Post { author: *author, post: *post, listed: false, sequence })
        }
    }
}
