//! The events of streams as they go over the wire (`text/event-stream`).

use std::fmt::Display;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
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
    pub(super) fn name(&self) -> &'static str {
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
        let id = id.map(|id| id.to_string());
        event(self.name(), id.as_deref(), &self.data())
    }

    /// As JSON. Ids and checked texts always serialise.
    pub(super) fn data(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// An event whose data is JSON, which has no line feed inside, so that one `data:` line holds it.
pub(super) fn event(name: &str, id: Option<&str>, data: &[u8]) -> Bytes {
    let mut text = BytesMut::with_capacity(data.len() + 64 + id.map_or(0, str::len));
    if let Some(id) = id {
        for part in ["id: ", id, "\n"] {
            text.extend_from_slice(part.as_bytes());
        }
    }
    for part in ["event: ", name, "\ndata: "] {
        text.extend_from_slice(part.as_bytes());
    }
    text.extend_from_slice(data);
    text.extend_from_slice(b"\n\n");
    text.freeze()
}

/// The first thing that a client gets.
pub(super) fn opening() -> Bytes {
    format!("retry: {}\n\n", RETRY.as_millis()).into()
}

/// Tells a client where it is without telling it anything else: browsers remember the id and raise no event. A
/// client that was cut off before its first event can so go on exactly.
pub(super) fn bookmark(id: impl Display) -> Bytes {
    format!("id: {id}\n\n").into()
}

/// Keeps the connection from being taken for dead.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
