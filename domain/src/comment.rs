//! A comment on a post, possibly in reply to another comment of the same post.
//!
//! Whether the post is there and may be commented on spans streams: it is checked by the caller at the command,
//! eventually, and always enforced when reading.

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Rejection};
use crate::event::Event as AnyEvent;
use crate::ids::{CommentId, PostId, UserId};
use crate::sealed::Sealed;
use crate::text::CommentText;
use crate::time::Timestamp;

/// The comment's present state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum Comment {
    /// No comment has this id.
    #[default]
    Absent,
    /// It can be read.
    Added {
        /// What it is about.
        post: PostId,
        /// Who wrote it.
        author: UserId,
        /// What it answers, if not the post itself.
        parent: Option<CommentId>,
        /// The present text.
        text: CommentText,
        /// When the text was last changed.
        edited_at: Option<Timestamp>,
    },
    /// It was there. Nothing of its text is left here.
    Deleted {
        /// What it was about.
        post: PostId,
        /// Who wrote it.
        author: UserId,
    },
}

/// What can be wanted of a comment.
#[derive(Clone, Debug)]
pub enum Command {
    /// Say something.
    Add {
        /// The new comment.
        comment: CommentId,
        /// What it is about.
        post: PostId,
        /// Who writes.
        author: UserId,
        /// What it answers.
        parent: Option<CommentId>,
        /// What it says.
        text: CommentText,
    },
    /// Replace the text.
    Edit {
        /// The comment.
        comment: CommentId,
        /// Who wants it: only its author may.
        actor: UserId,
        /// The new text.
        text: CommentText,
    },
    /// Take it away.
    Delete {
        /// The comment.
        comment: CommentId,
        /// Who wants it: its author, or the author of the post.
        actor: UserId,
        /// The author of the post, if the post is there.
        post_author: Option<UserId>,
    },
}

/// What happens to comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `comment.added`
    Added(Added),
    /// `comment.edited`
    Edited(Edited),
    /// `comment.deleted`
    Deleted(Deleted),
}

/// The data of `comment.added`, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Added {
    /// The comment.
    pub comment: CommentId,
    /// What it is about.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// What it answers. Always written, if only as `null`: what is missing is damage.
    #[serde(deserialize_with = "Option::deserialize")]
    pub parent: Option<CommentId>,
    /// What it says.
    pub text: Sealed<CommentText>,
}

/// The data of `comment.edited`, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edited {
    /// The comment.
    pub comment: CommentId,
    /// What it is about.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// What it says now.
    pub text: Sealed<CommentText>,
}

/// The data of `comment.deleted`, version 1. Who did it is the envelope's `actor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deleted {
    /// The comment.
    pub comment: CommentId,
    /// What it was about.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
}

impl Event {
    /// What the comment is about: its lane.
    pub fn post(&self) -> PostId {
        match self {
            Self::Added(Added { post, .. })
            | Self::Edited(Edited { post, .. })
            | Self::Deleted(Deleted { post, .. }) => *post,
        }
    }

    /// Which comment it happened to.
    pub fn comment(&self) -> CommentId {
        match self {
            Self::Added(Added { comment, .. })
            | Self::Edited(Edited { comment, .. })
            | Self::Deleted(Deleted { comment, .. }) => *comment,
        }
    }
}

impl From<Event> for AnyEvent {
    fn from(event: Event) -> AnyEvent {
        AnyEvent::Comment(event)
    }
}

impl Comment {
    /// What the comment is or was about.
    pub fn post(&self) -> Option<PostId> {
        match self {
            Self::Absent => None,
            Self::Added { post, .. } | Self::Deleted { post, .. } => Some(*post),
        }
    }
}

impl Aggregate for Comment {
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        match (command, self) {
            (Command::Add { comment, post, author, parent, text }, Self::Absent) => Ok(vec![Event::Added(Added {
                comment: *comment,
                post: *post,
                author: *author,
                parent: *parent,
                text: Sealed::Open(text.clone()),
            })]),
            (Command::Add { .. }, _) => Err(Rejection::AlreadyExists("comment")),
            (_, Self::Absent | Self::Deleted { .. }) => Err(Rejection::NotFound("comment")),
            (Command::Edit { comment, actor, text }, Self::Added { post, author, text: present, .. }) => {
                if author != actor {
                    return Err(Rejection::NotYours("comment"));
                }
                if present == text {
                    return Ok(Vec::new());
                }
                let text = Sealed::Open(text.clone());
                Ok(vec![Event::Edited(Edited { comment: *comment, post: *post, author: *author, text })])
            }
            (Command::Delete { comment, actor, post_author }, Self::Added { post, author, .. }) => {
                if author != actor && *post_author != Some(*actor) {
                    return Err(Rejection::NotYours("comment"));
                }
                Ok(vec![Event::Deleted(Deleted { comment: *comment, post: *post, author: *author })])
            }
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Added(added) => {
                if let Some(text) = added.text.open() {
                    *self = Self::Added {
                        post: added.post,
                        author: added.author,
                        parent: added.parent,
                        text: text.clone(),
                        edited_at: None,
                    };
                }
            }
            Event::Edited(edited) => {
                if let (Self::Added { text, edited_at, .. }, Some(new)) = (&mut *self, edited.text.open()) {
                    text.clone_from(new);
                    *edited_at = Some(at);
                }
            }
            Event::Deleted(deleted) => *self = Self::Deleted { post: deleted.post, author: deleted.author },
        }
    }
}
