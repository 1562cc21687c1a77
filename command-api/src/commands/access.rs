//! What an actor may see, as far as `content` knows at this moment. What they may not see is not there for them.
//!
//! Another stream may change right after: it is checked again whenever something is read (R3).

use adapters::StoreError;
use adapters::content::Content;
use domain::comment::Comment;
use domain::post::Visibility;
use domain::relation::{Pair, Relation};
use domain::{CommentId, PostId, Rejection, StreamId, UserId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::write_path::WriteError;

/// What a preview says of a post, without its text: smaller than the post's state by far, and every like reads it.
#[derive(Debug, Deserialize)]
struct PostFacts {
    author_id: UserId,
    visibility: Visibility,
}

/// The author of a post that the actor may see.
pub(super) async fn author_of_visible_post(
    content: &dyn Content,
    actor: UserId,
    post: PostId,
) -> Result<UserId, WriteError> {
    let not_found = || WriteError::Rejected(Rejection::NotFound("post"));
    let stored = content.previews(&[post]).await?.into_iter().next().flatten();
    let preview = stored.and_then(|stored| stored.preview).ok_or_else(not_found)?;
    let PostFacts { author_id: author, visibility } = parse(StreamId::Post(post), &preview)?;
    if author == actor {
        return Ok(author);
    }
    let relation = relation(content, actor, author).await?;
    let follows = relation.direction(Pair { from: actor, to: author }).following;
    let shown = match visibility {
        Visibility::Public => true,
        Visibility::Followers => follows,
    };
    if shown && !relation.is_blocked() { Ok(author) } else { Err(not_found()) }
}

/// What two people are to each other.
pub(super) async fn relation(content: &dyn Content, one: UserId, other: UserId) -> Result<Relation, StoreError> {
    Ok(state(content, StreamId::relation(one, other)).await?.unwrap_or_default())
}

/// A comment, whatever has become of it.
pub(super) async fn comment(content: &dyn Content, comment: CommentId) -> Result<Comment, StoreError> {
    Ok(state(content, StreamId::Comment(comment)).await?.unwrap_or_default())
}

/// Whether there is an account with this id.
pub(super) async fn user_exists(content: &dyn Content, user: UserId) -> Result<bool, StoreError> {
    Ok(content.states(&[StreamId::User(user)]).await?.into_iter().next().flatten().is_some())
}

async fn state<A: DeserializeOwned>(content: &dyn Content, stream: StreamId) -> Result<Option<A>, StoreError> {
    let stored = content.states(&[stream]).await?.into_iter().next().flatten();
    stored.map(|stored| parse(stream, &stored.state)).transpose()
}

fn parse<T: DeserializeOwned>(stream: StreamId, text: &str) -> Result<T, StoreError> {
    // Without what serde quotes: these texts hold what people wrote.
    let unreadable = |error: serde_json::Error| format!("{stream} is not readable ({:?})", error.classify());
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(unreadable(error)))
}
