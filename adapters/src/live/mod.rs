//! The port of publish and subscribe for live streams. Messages are ephemeral: whoever missed one reads the source
//! of truth again, so delivery is at most once and in order per publisher.

use async_trait::async_trait;
use domain::text::CommentText;
use domain::{CommentId, CorrelationId, EventId, PostId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::StoreError;

mod broadcast;
#[cfg(test)]
mod contract;
mod loss_aware;
#[cfg(feature = "redis")]
mod redis;

pub use broadcast::BroadcastLive;
pub use loss_aware::LossAware;
#[cfg(feature = "redis")]
pub use redis::RedisLive;

/// What one can listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// What happens to a post and its comments.
    Post(PostId),
    /// What changes for a person as a reader: their relations.
    Viewer(UserId),
    /// What comes into a person's home.
    Home(UserId),
    /// What an author publishes who is not fanned out.
    Author(UserId),
    /// [Canaries](crate::event_log::canary) that a process has sent to itself.
    Canary(CorrelationId),
}

impl std::fmt::Display for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Post(post) => write!(f, "post:{post}"),
            Self::Viewer(user) => write!(f, "viewer:{user}"),
            Self::Home(user) => write!(f, "home:{user}"),
            Self::Author(user) => write!(f, "author:{user}"),
            Self::Canary(sender) => write!(f, "canary:{sender}"),
        }
    }
}

/// A message and the offset, in the lane's partition, of the event that caused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Offset of the event; streams drop what is not newer than what they have sent.
    pub position: i64,
    /// What happened.
    pub news: News,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum News {
    /// The post's likes, absolute: after a like (`NEW_LIKE`) or its withdrawal.
    NewLike {
        /// Likes now.
        likes: u64,
    },
    /// Somebody commented.
    NewComment {
        /// The comment.
        comment: CommentId,
        /// Who wrote it.
        author: UserId,
        /// What it answers.
        parent: Option<CommentId>,
        /// What it says.
        text: CommentText,
    },
    /// A comment says something else now.
    CommentEdited {
        /// The comment.
        comment: CommentId,
        /// Who wrote it.
        author: UserId,
        /// What it says now.
        text: CommentText,
        /// Since when.
        edited_at: Timestamp,
    },
    /// A comment is gone.
    CommentDeleted {
        /// The comment.
        comment: CommentId,
        /// Who wrote it.
        author: UserId,
    },
    /// The post says something else now.
    PostEdited {
        /// Since when.
        edited_at: Timestamp,
        /// The new version, as in the `ETag`.
        version: u64,
    },
    /// The post is gone.
    PostDeleted,
    /// The person's follows or blocks have changed.
    RelationChanged,
    /// Somebody published. A hint: whether and what there is to tell is in the timelines.
    NewPost {
        /// The post.
        post: PostId,
        /// Who wrote it.
        author: UserId,
    },
    /// A canary came through the log.
    Canary {
        /// Which one.
        id: EventId,
    },
}

/// What a subscription yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message(Message),
    /// Messages were lost: the buffer ran over or the connection broke. Re-read, then go on.
    Lost,
}

/// An open subscription; dropping it ends it.
#[async_trait]
pub trait Subscription: Send {
    /// The next delivery; `None`, again and again, once the port has shut down and what waited has been given out. Safe
    /// to cancel: a call that is dropped takes nothing along.
    async fn next(&mut self) -> Option<Delivery>;
}

/// Publish and subscribe.
///
/// Invariant: whoever has subscribed (the call has returned) gets every message published afterwards, or
/// [`Delivery::Lost`] in its place. Of what a slow subscriber misses, the oldest goes; the newest always arrives.
#[async_trait]
pub trait Live: Send + Sync + 'static {
    /// Tells whoever listens now.
    async fn publish(&self, channel: Channel, messages: Vec<Message>) -> Result<(), StoreError>;

    /// Tells whoever listens to any of `channels` now.
    async fn publish_to_each(&self, channels: Vec<Channel>, message: Message) -> Result<(), StoreError>;

    /// Begins to listen.
    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, StoreError>;
}
