//! The events of a post's stream as they go over the wire (`text/event-stream`).

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use domain::text::CommentText;
use domain::{CommentId, Position, PostId, Timestamp};
use serde::Serialize;

use crate::items::CommentItem;

/// How long a client waits before it connects again.
const RETRY: Duration = Duration::from_secs(3);

/// What clients are told.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Told {
    /// Somebody commented.
    NewComment(CommentItem),
    /// A comment says something else now.
    CommentEdited { id: CommentId, post_id: PostId, text: CommentText, edited_at: Option<Timestamp> },
    /// A comment is gone.
    CommentDeleted { id: CommentId, post_id: PostId },
    /// The post says something else now.
    PostEdited { id: PostId, version: u64, edited_at: Option<Timestamp> },
    /// The post is gone.
    PostDeleted { id: PostId },
    /// How many like the post, absolute.
    Likes { likes: u64 },
    /// What the client has may be wrong: it must load afresh.
    Reset { reason: &'static str },
}

impl Told {
    fn name(&self) -> &'static str {
        match self {
            Self::NewComment(_) => "NEW_COMMENT",
            Self::CommentEdited { .. } => "COMMENT_EDITED",
            Self::CommentDeleted { .. } => "COMMENT_DELETED",
            Self::PostEdited { .. } => "POST_EDITED",
            Self::PostDeleted { .. } => "POST_DELETED",
            Self::Likes { .. } => "LIKES",
            Self::Reset { .. } => "reset",
        }
    }

    /// The event with the id from which a client that has seen it can go on; likes have none.
    pub(super) fn written(&self, id: Option<Position>) -> Bytes {
        let mut text = String::with_capacity(256);
        if let Some(id) = id {
            // Writing to a string does not fail.
            let _ = writeln!(text, "id: {id}");
        }
        let _ = write!(text, "event: {}\ndata: ", self.name());
        // JSON has no line feed inside, so that one `data:` line holds it. Ids and checked texts always serialise.
        text.push_str(&serde_json::to_string(self).unwrap_or_default());
        text.push_str("\n\n");
        text.into()
    }
}

/// The first thing that a client gets.
pub(super) fn opening() -> Bytes {
    format!("retry: {}\n\n", RETRY.as_millis()).into()
}

/// Tells a client where it is without telling it anything else: browsers remember the id and raise no event. A
/// client that was cut off before its first event can so go on exactly.
pub(super) fn bookmark(id: Position) -> Bytes {
    format!("id: {id}\n\n").into()
}

/// Keeps the connection from being taken for dead.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
