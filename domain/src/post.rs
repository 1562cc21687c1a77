//! A post. Its rendered HTML is no part of it: it follows from the text and the renderer.

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Rejection};
use crate::event::Event as AnyEvent;
use crate::ids::{PostId, UserId};
use crate::sealed::Sealed;
use crate::text::{Markdown, Title};
use crate::time::Timestamp;

/// Who may read a post, besides its author. Fixed when it is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everyone whom no block keeps out.
    #[default]
    Public,
    /// Those who follow the author when they read.
    Followers,
}

/// What an author writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Posts may do without one.
    pub title: Option<Title>,
    /// As written.
    pub markdown: Markdown,
}

/// The post's present state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum Post {
    /// No post has this id.
    #[default]
    Absent,
    /// It can be read.
    Published {
        /// Who wrote it.
        author: UserId,
        /// Who may read it.
        visibility: Visibility,
        /// The present text.
        text: Text,
        /// When the text was last changed.
        edited_at: Option<Timestamp>,
    },
    /// It was there. Nothing of its text is left here.
    Deleted {
        /// Who wrote it.
        author: UserId,
    },
}

/// What can be wanted of a post.
#[derive(Clone, Debug)]
pub enum Command {
    /// Bring it into being.
    Publish {
        /// The new post; its id carries the time it shall have.
        post: PostId,
        /// Who writes.
        author: UserId,
        /// Who may read it.
        visibility: Visibility,
        /// What it says.
        text: Text,
        /// It comes from elsewhere and keeps its original time; nobody is told that it is new.
        imported: bool,
    },
    /// Replace the text.
    Edit {
        /// The post.
        post: PostId,
        /// Who wants it.
        actor: UserId,
        /// The new text.
        text: Text,
    },
    /// Take it away.
    Delete {
        /// The post.
        post: PostId,
        /// Who wants it.
        actor: UserId,
    },
}

/// What happens to posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `post.published`
    Published(Published),
    /// `post.edited`
    Edited(Edited),
    /// `post.deleted`
    Deleted(Deleted),
}

/// The data of `post.published`, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The post.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// Who may read it.
    pub visibility: Visibility,
    /// It was imported with its original time.
    pub imported: bool,
    /// What it says.
    pub text: Sealed<Text>,
}

/// The data of `post.edited`, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edited {
    /// The post.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// What it says now.
    pub text: Sealed<Text>,
}

/// The data of `post.deleted`, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deleted {
    /// The post.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
}

impl Event {
    /// Which post it happened to.
    pub fn post(&self) -> PostId {
        match self {
            Self::Published(Published { post, .. })
            | Self::Edited(Edited { post, .. })
            | Self::Deleted(Deleted { post, .. }) => *post,
        }
    }
}

impl From<Event> for AnyEvent {
    fn from(event: Event) -> AnyEvent {
        AnyEvent::Post(event)
    }
}

impl Post {
    /// Whose post it is or was.
    pub fn author(&self) -> Option<UserId> {
        match self {
            Self::Absent => None,
            Self::Published { author, .. } | Self::Deleted { author } => Some(*author),
        }
    }

    fn owned_by(&self, actor: UserId) -> Result<(UserId, &Text), Rejection> {
        match self {
            Self::Published { author, text, .. } if *author == actor => Ok((*author, text)),
            Self::Published { .. } => Err(Rejection::NotYours("post")),
            Self::Absent | Self::Deleted { .. } => Err(Rejection::NotFound("post")),
        }
    }
}

impl Aggregate for Post {
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Publish { post, author, visibility, text, imported } => match self {
                Self::Absent => Ok(vec![Event::Published(Published {
                    post: *post,
                    author: *author,
                    visibility: *visibility,
                    imported: *imported,
                    text: Sealed::Open(text.clone()),
                })]),
                Self::Published { .. } | Self::Deleted { .. } => Err(Rejection::AlreadyExists("post")),
            },
            Command::Edit { post, actor, text } => {
                let (author, present) = self.owned_by(*actor)?;
                if present == text {
                    return Ok(Vec::new());
                }
                Ok(vec![Event::Edited(Edited { post: *post, author, text: Sealed::Open(text.clone()) })])
            }
            Command::Delete { post, actor } => {
                let (author, _) = self.owned_by(*actor)?;
                Ok(vec![Event::Deleted(Deleted { post: *post, author })])
            }
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Published(published) => {
                if let Some(text) = published.text.open() {
                    *self = Self::Published {
                        author: published.author,
                        visibility: published.visibility,
                        text: text.clone(),
                        edited_at: None,
                    };
                }
            }
            Event::Edited(edited) => {
                if let (Self::Published { text, edited_at, .. }, Some(new)) = (&mut *self, edited.text.open()) {
                    text.clone_from(new);
                    *edited_at = Some(at);
                }
            }
            Event::Deleted(deleted) => *self = Self::Deleted { author: deleted.author },
        }
    }
}
