//! Who may see what: visibility and blocks, applied when read (R3). What a viewer may not see is, to them, not there.

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::content::Content;
use adapters::views::{RelationView, Views};
use domain::post::{Post, Text, Visibility};
use domain::{PostId, StreamId, Timestamp, UserId};
use serde::de::DeserializeOwned;

/// Whether someone who is `relation` to the author may read what the author shows to `visibility`.
fn may_read(visibility: Visibility, relation: RelationView) -> bool {
    !relation.is_blocked()
        && match visibility {
            Visibility::Public => true,
            Visibility::Followers => relation.following,
        }
}

/// Whether `viewer` may read what `author` shows to `visibility`.
pub(crate) async fn may_see(
    views: &dyn Views,
    generation: Generation,
    viewer: Option<UserId>,
    author: UserId,
    visibility: Visibility,
) -> Result<bool, StoreError> {
    if viewer == Some(author) {
        return Ok(true);
    }
    Ok(may_read(visibility, relation(views, generation, viewer, author).await?))
}

/// What the viewer and one other are to each other; strangers, without a viewer.
pub(crate) async fn relation(
    views: &dyn Views,
    generation: Generation,
    viewer: Option<UserId>,
    other: UserId,
) -> Result<RelationView, StoreError> {
    let Some(viewer) = viewer else { return Ok(RelationView::default()) };
    Ok(views.relations(generation, viewer, &[other]).await?.into_iter().next().unwrap_or_default())
}

/// A post that the viewer may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VisiblePost {
    /// Who wrote it.
    pub(crate) author: UserId,
    /// Who may read it.
    pub(crate) visibility: Visibility,
    /// The present text.
    pub(crate) text: Text,
    /// When the text was last changed.
    pub(crate) edited_at: Option<Timestamp>,
    /// The stream's sequence.
    pub(crate) version: u64,
}

/// What a viewer finds under a post's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A post.
    Post(VisiblePost),
    /// It was there; nobody but a stream that has shown it needs to know.
    Deleted {
        /// Who wrote it.
        author: UserId,
    },
    /// Nothing, or nothing for this viewer.
    Nothing,
}

impl Found {
    /// The post, if there is one.
    pub(crate) fn post(self) -> Option<VisiblePost> {
        match self {
            Self::Post(post) => Some(post),
            Self::Deleted { .. } | Self::Nothing => None,
        }
    }
}

/// The state of a stream in the truth, and its version; `None` where there is no document.
pub(crate) async fn state<A: DeserializeOwned>(
    content: &dyn Content,
    stream: StreamId,
) -> Result<Option<(A, u64)>, StoreError> {
    let Some(stored) = content.states(&[stream]).await?.into_iter().next().flatten() else { return Ok(None) };
    // Without what serde quotes: states hold what people wrote.
    let unreadable = |error: serde_json::Error| format!("{stream} is not readable ({:?})", error.classify());
    let state = serde_json::from_str(&stored.state).map_err(|error| StoreError::Damaged(unreadable(error)))?;
    Ok(Some((state, stored.sequence)))
}

/// Looks a post up for a viewer.
pub(crate) async fn find_post(
    content: &dyn Content,
    views: &dyn Views,
    generation: Generation,
    viewer: Option<UserId>,
    post: PostId,
) -> Result<Found, StoreError> {
    let Some((state, version)) = state(content, StreamId::Post(post)).await? else { return Ok(Found::Nothing) };
    match state {
        Post::Absent => Ok(Found::Nothing),
        Post::Published { author, visibility, text, edited_at } => {
            if !may_see(views, generation, viewer, author, visibility).await? {
                return Ok(Found::Nothing);
            }
            Ok(Found::Post(VisiblePost { author, visibility, text, edited_at, version }))
        }
        Post::Deleted { author } => {
            // Who could see it is no longer known; those whom a block keeps apart learn nothing.
            if relation(views, generation, viewer, author).await?.is_blocked() {
                return Ok(Found::Nothing);
            }
            Ok(Found::Deleted { author })
        }
    }
}
