//! An account. What must not be in the log (password hash, sessions) is in the document's `private` part, outside
//! of this state.

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Rejection};
use crate::event::Event as AnyEvent;
use crate::ids::UserId;
use crate::sealed::Sealed;
use crate::text::{Bio, DisplayName, Username};
use crate::time::Timestamp;

/// The account's present state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum User {
    /// Nobody has this id.
    #[default]
    Absent,
    /// Somebody has.
    Registered {
        /// Unique in the whole system.
        username: Username,
        /// What the person wants to be called.
        display_name: DisplayName,
        /// What the person says of themselves. Not written where it is empty: so it was before there were any.
        #[serde(default, skip_serializing_if = "Bio::is_empty")]
        bio: Bio,
    },
}

/// What can be wanted of an account.
#[derive(Clone, Debug)]
pub enum Command {
    /// Come into being. That the name is free was claimed before.
    Register {
        /// The new account.
        user: UserId,
        /// Its unique name.
        username: Username,
        /// What the person wants to be called.
        display_name: DisplayName,
    },
    /// Show something else of oneself.
    EditProfile {
        /// Whose profile.
        user: UserId,
        /// What it shall say.
        profile: Profile,
    },
}

/// What happens to accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `user.registered`
    Registered(Registered),
    /// `user.profile_edited`
    ProfileEdited(ProfileEdited),
}

/// The data of `user.registered`, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// The new account.
    pub user: UserId,
    /// The person's names.
    pub names: Sealed<Names>,
}

/// What a person is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// Unique in the whole system.
    pub username: Username,
    /// What the person wants to be called.
    pub display_name: DisplayName,
}

/// The data of `user.profile_edited`, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileEdited {
    /// The account.
    pub user: UserId,
    /// What it shows from now on.
    pub profile: Sealed<Profile>,
}

/// What a person shows of themselves and may change at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the person wants to be called.
    pub display_name: DisplayName,
    /// What the person says of themselves; may be empty.
    pub bio: Bio,
}

impl Event {
    /// Whose account it happened to.
    pub fn user(&self) -> UserId {
        match self {
            Self::Registered(Registered { user, .. }) | Self::ProfileEdited(ProfileEdited { user, .. }) => *user,
        }
    }
}

impl From<Event> for AnyEvent {
    fn from(event: Event) -> AnyEvent {
        AnyEvent::User(event)
    }
}

impl Aggregate for User {
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        match (self, command) {
            (Self::Absent, Command::Register { user, username, display_name }) => {
                let names = Names { username: username.clone(), display_name: display_name.clone() };
                Ok(vec![Event::Registered(Registered { user: *user, names: Sealed::Open(names) })])
            }
            (Self::Registered { .. }, Command::Register { .. }) => Err(Rejection::AlreadyExists("user")),
            (Self::Absent, Command::EditProfile { .. }) => Err(Rejection::NotFound("user")),
            (Self::Registered { display_name, bio, .. }, Command::EditProfile { user, profile }) => {
                if *display_name == profile.display_name && *bio == profile.bio {
                    return Ok(Vec::new());
                }
                let profile = Sealed::Open(profile.clone());
                Ok(vec![Event::ProfileEdited(ProfileEdited { user: *user, profile })])
            }
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        match event {
            Event::Registered(registered) => {
                if let Some(names) = registered.names.open() {
                    *self = Self::Registered {
                        username: names.username.clone(),
                        display_name: names.display_name.clone(),
                        bio: Bio::default(),
                    };
                }
            }
            Event::ProfileEdited(edited) => {
                if let (Self::Registered { display_name, bio, .. }, Some(profile)) = (&mut *self, edited.profile.open())
                {
                    display_name.clone_from(&profile.display_name);
                    bio.clone_from(&profile.bio);
                }
            }
        }
    }
}
