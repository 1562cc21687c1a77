//! What a stream has missed since a position, from the views: the source of truth for resuming (L1), so that
//! publish and subscribe may stay ephemeral.
//!
//! The present P is read before the rows. What is told has an id of at most P, and P is where the stream goes on
//! from: rows may already show more, but perhaps not all of it, and whatever is newer than P is published after P
//! was read, so it comes by the subscription, which stood before.

use std::collections::HashSet;

use adapters::StoreError;
use adapters::checkpoints::{Checkpoints, ENGAGEMENT, Generation};
use adapters::content::Content;
use adapters::views::{CommentRow, PostRow, Views};
use bytes::{Bytes, BytesMut};
use domain::post::Post;
use domain::{StreamId, UserId};

use crate::access::state;
use crate::hydrate::People;
use crate::items::CommentItem;
use crate::place::{Place, Reset};

use super::event::Told;

/// Changed rows that are told one by one, at most.
const CHANGES: usize = 1_000;

/// A post's present, and what has happened since.
#[derive(Debug)]
pub(super) struct Present {
    /// Where the stream goes on from.
    pub(super) position: i64,
    /// The post's likes and the position that they are as of.
    pub(super) likes: (u64, i64),
    /// Events to send, written, in order of id.
    pub(super) events: Bytes,
    /// Why the client must load afresh instead, if it must.
    pub(super) reset: Option<Reset>,
    /// Since when the post is deleted, if it is.
    pub(super) deleted: Option<i64>,
}

/// The stores that it is read from.
pub(super) struct Sources<'a> {
    pub(super) content: &'a dyn Content,
    pub(super) views: &'a dyn Views,
    pub(super) checkpoints: &'a dyn Checkpoints,
}

/// The present, and what a stream that has told everything up to `since` has to tell. With a reset in place of a
/// position, or without any position, only the present.
pub(super) async fn missed(
    sources: &Sources<'_>,
    place: Place,
    since: Option<Result<i64, Reset>>,
    blocked: Option<&HashSet<UserId>>,
) -> Result<Present, StoreError> {
    let generation = sources.checkpoints.serving(ENGAGEMENT).await?;
    let row = sources.views.post_row(generation, place.post).await?;
    let (events, reset) = match since {
        None => (Bytes::new(), None),
        Some(Ok(since)) if since > row.listed => (Bytes::new(), Some(Reset::BeyondPresent)),
        Some(Ok(since)) => match events(sources, generation, place, since, &row, blocked).await? {
            Some(events) => (events, None),
            None => (Bytes::new(), Some(Reset::TooManyChanges)),
        },
        Some(Err(reset)) => (Bytes::new(), Some(reset)),
    };
    Ok(Present {
        position: row.listed,
        likes: (row.likes, row.position),
        events,
        reset,
        deleted: (row.deleted && row.changed <= row.listed).then_some(row.changed),
    })
}

/// The events above `since`; `None` if there are too many.
async fn events(
    sources: &Sources<'_>,
    generation: Generation,
    place: Place,
    since: i64,
    row: &PostRow,
    blocked: Option<&HashSet<UserId>>,
) -> Result<Option<Bytes>, StoreError> {
    let mut comments = sources.views.comments_changed(generation, place.post, since, CHANGES + 1).await?;
    if comments.len() > CHANGES {
        return Ok(None);
    }
    comments.retain(|comment| !blocked.is_some_and(|blocked| blocked.contains(&comment.author)));
    let is_new = |comment: &CommentRow| comment.created > since && comment.text.is_some();
    let authors = comments.iter().filter(|comment| is_new(comment)).map(|comment| comment.author);
    let people = People::read(sources.content, authors).await?;

    let mut told: Vec<(i64, Told)> =
        comments.iter().filter_map(|comment| told_of_comment(comment, since, &people)).collect();
    // The first event of the post's stream is its publication, which no stream tells of.
    if row.changed > since && row.sequence > 1 {
        told.extend(told_of_post(sources.content, place, row).await?);
    }
    told.retain(|(position, _)| *position <= row.listed);
    told.sort_by_key(|(position, _)| *position);

    let mut text = BytesMut::new();
    for (position, told) in &told {
        text.extend_from_slice(&told.written(Some(place.at(*position))));
    }
    Ok(Some(text.freeze()))
}

fn told_of_comment(comment: &CommentRow, since: i64, people: &People) -> Option<(i64, Told)> {
    if comment.created > since {
        // With its present text; nothing if it is gone already, or if nobody can be named as its author.
        let item = CommentItem::new(comment, people.person(comment.author)?)?;
        return Some((comment.created, Told::NewComment(item)));
    }
    let told = match &comment.text {
        Some(text) => Told::CommentEdited {
            id: comment.comment,
            post_id: comment.post,
            text: text.clone(),
            edited_at: comment.edited_at,
        },
        None => Told::CommentDeleted { id: comment.comment, post_id: comment.post },
    };
    Some((comment.position, told))
}

async fn told_of_post(content: &dyn Content, place: Place, row: &PostRow) -> Result<Option<(i64, Told)>, StoreError> {
    let id = place.post;
    if row.deleted {
        return Ok(Some((row.changed, Told::PostDeleted { id })));
    }
    // Version and time from the truth, together: it may be ahead of the row, and then the newer is what counts.
    let Some((state, version)) = state(content, StreamId::Post(id)).await? else { return Ok(None) };
    Ok(match state {
        Post::Published { edited_at, .. } => Some((row.changed, Told::PostEdited { id, version, edited_at })),
        // Deleted just now: the deletion comes by the subscription.
        Post::Absent | Post::Deleted { .. } => None,
    })
}
