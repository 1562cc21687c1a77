//! Publish, edit, delete.

use adapters::StoreError;
use adapters::content::Rendered;
use adapters::http::consistency::Token;
use domain::post::{Command, Post, Text, Visibility};
use domain::{PostId, Rejection, StreamId, Timestamp};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answered, Commands, SeenVersions, access, answer};
use crate::rendering::{self, Facts, RenderedText};
use crate::write_path::{Change, Found, Once, Origin, WriteError};

/// A new post.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its id, which carries the time it shall have. A repeated command keeps the id of its first attempt.
    pub post: PostId,
    /// Who may read it.
    pub visibility: Visibility,
    /// What it says.
    pub text: Text,
    /// It comes from elsewhere and keeps its original time.
    pub imported: bool,
}

/// A post's new text.
#[derive(Clone, Debug)]
pub struct PostEdit {
    /// Which post.
    pub post: PostId,
    /// The versions that the editor has seen.
    pub seen: SeenVersions,
    /// What it shall say.
    pub text: Text,
}

/// What publishing answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct PublishedPost {
    id: PostId,
    version: u64,
    created_at: Timestamp,
}

/// What an edit of a post answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct EditedPost {
    id: PostId,
    version: u64,
    /// When the text was last changed; null where this edit was the same text and there was none before.
    #[schema(required)]
    edited_at: Option<Timestamp>,
}

impl Commands {
    /// Publishes a post.
    ///
    /// # Errors
    /// See [`WriteError`]; an id that is taken is [`Rejection::AlreadyExists`].
    pub async fn publish(
        &self,
        origin: &Origin<'_>,
        publication: Publication,
        once: Option<&Once>,
    ) -> Result<Answered, WriteError> {
        let Publication { post, visibility, text, imported } = publication;
        let stream = match self.begin(once, StreamId::Post(post)).await? {
            Ok(stream) => stream,
            Err(answered) => return Ok(answered),
        };
        let StreamId::Post(post) = stream else { return Err(WriteError::KeyReused) };
        let rendered = rendering::prepare(&text.markdown).await?;
        let command = Command::Publish { post, author: origin.actor, visibility, text, imported };
        let decide = |found: &Found<Post>| {
            let mut change = found.decide(&command, origin.at)?;
            let version = found.sequence + change.events.len() as u64;
            change.rendered = show(post, &change.state, version, &rendered)?;
            let body = PublishedPost { id: post, version, created_at: post.timestamp() };
            change.answer = Some(answer(StatusCode::CREATED, &body, Some(version))?);
            Ok::<_, WriteError>(change)
        };
        let executed = self.write_path.change(stream, origin, once, decide).await?;
        self.finish(once, stream, executed.answer, executed.token).await
    }

    /// Replaces a post's text.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn edit_post(&self, origin: &Origin<'_>, edit: PostEdit) -> Result<Answered, WriteError> {
        let PostEdit { post, seen, text } = edit;
        // Others' posts are others', but only if they can be seen at all.
        access::author_of_visible_post(self.content(), origin.actor, post).await?;
        let rendered = rendering::prepare(&text.markdown).await?;
        let command = Command::Edit { post, actor: origin.actor, text };
        let stream = StreamId::Post(post);
        let decide = |found: &Found<Post>| {
            let mut change = found.decide(&command, origin.at)?;
            found.expect_version(|version| seen.include(version))?;
            let version = found.sequence + change.events.len() as u64;
            change.rendered = show(post, &change.state, version, &rendered)?;
            let Post::Published { edited_at, .. } = change.state else {
                return Err(Rejection::NotFound("post").into());
            };
            let body = EditedPost { id: post, version, edited_at };
            change.answer = Some(answer(StatusCode::OK, &body, Some(version))?);
            Ok::<_, WriteError>(change)
        };
        let executed = self.write_path.change(stream, origin, None, decide).await?;
        self.finish(None, stream, executed.answer, executed.token).await
    }

    /// Takes a post away.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn delete_post(&self, origin: &Origin<'_>, post: PostId) -> Result<Token, WriteError> {
        access::author_of_visible_post(self.content(), origin.actor, post).await?;
        let command = Command::Delete { post, actor: origin.actor };
        let decide = |found: &Found<Post>| {
            let change: Change<Post> = found.decide(&command, origin.at)?;
            // Nothing of it is shown any more.
            Ok::<_, WriteError>(Change { rendered: Some(rendering::nothing()), ..change })
        };
        Ok(self.write_path.change(StreamId::Post(post), origin, None, decide).await?.token)
    }
}

/// What is shown of a post in this state.
fn show(post: PostId, state: &Post, version: u64, rendered: &RenderedText) -> Result<Option<Rendered>, WriteError> {
    let Post::Published { author, visibility, text, edited_at } = state else { return Ok(None) };
    let facts = Facts { post, author: *author, visibility: *visibility, edited_at: *edited_at, version };
    let rendered = rendered.of(facts, text.title.as_ref());
    Ok(Some(rendered.map_err(|error| StoreError::Damaged(error.to_string()))?))
}
