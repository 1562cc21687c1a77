//! Comment, edit a comment, delete one.

use adapters::http::consistency::Token;
use domain::comment::{Command, Comment};
use domain::text::CommentText;
use domain::{CommentId, PostId, Rejection, StreamId, Timestamp, UserId};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answered, Commands, SeenVersions, access, answer};
use crate::write_path::{Found, Once, Origin, WriteError};

/// A new comment.
#[derive(Clone, Debug)]
pub struct NewComment {
    /// Its id, which carries the time it shall have. A repeated command keeps the id of its first attempt.
    pub comment: CommentId,
    /// What it is about.
    pub post: PostId,
    /// What it answers, if not the post itself.
    pub parent: Option<CommentId>,
    /// What it says.
    pub text: CommentText,
}

/// A comment's new text.
#[derive(Clone, Debug)]
pub struct CommentEdit {
    /// Which comment.
    pub comment: CommentId,
    /// The versions that the editor has seen.
    pub seen: SeenVersions,
    /// What it shall say.
    pub text: CommentText,
}

/// What commenting answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct AddedComment {
    id: CommentId,
    post_id: PostId,
    version: u64,
    created_at: Timestamp,
}

/// What an edit of a comment answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct EditedComment {
    id: CommentId,
    post_id: PostId,
    version: u64,
    /// When the text was last changed; null where this edit was the same text and there was none before.
    #[schema(required)]
    edited_at: Option<Timestamp>,
}

impl Commands {
    /// Comments on a post.
    ///
    /// # Errors
    /// There is no such post for the actor, or no such comment of it to answer; and see [`WriteError`].
    pub async fn comment(
        &self,
        origin: &Origin<'_>,
        new: NewComment,
        once: Option<&Once>,
    ) -> Result<Answered, WriteError> {
        let NewComment { comment, post, parent, text } = new;
        let stream = match self.begin(once, StreamId::Comment(comment)).await? {
            Ok(stream) => stream,
            Err(answered) => return Ok(answered),
        };
        let StreamId::Comment(comment) = stream else { return Err(WriteError::KeyReused) };
        // What was done before is answered before any rule is asked: the post may have gone since then.
        if let Some(answered) = self.repeated::<Comment>(once, stream).await? {
            return Ok(answered);
        }
        access::author_of_visible_post(self.content(), origin.actor, post).await?;
        if let Some(parent) = parent {
            self.check_parent(origin.actor, post, parent).await?;
        }
        let command = Command::Add { comment, post, author: origin.actor, parent, text };
        let decide = |found: &Found<Comment>| {
            let mut change = found.decide(&command, origin.at)?;
            let version = found.sequence + change.events.len() as u64;
            let body = AddedComment { id: comment, post_id: post, version, created_at: comment.timestamp() };
            change.answer = Some(answer(StatusCode::CREATED, &body, Some(version))?);
            Ok::<_, WriteError>(change)
        };
        let executed = self.write_path.change(stream, origin, once, decide).await?;
        self.finish(once, stream, executed.answer, executed.token).await
    }

    /// Replaces a comment's text.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn edit_comment(&self, origin: &Origin<'_>, edit: CommentEdit) -> Result<Answered, WriteError> {
        let CommentEdit { comment, seen, text } = edit;
        let post = match access::comment(self.content(), comment).await? {
            Comment::Added { post, author, .. } => {
                access::author_of_visible_post(self.content(), origin.actor, post).await?;
                self.check_not_apart(origin.actor, author).await?;
                post
            }
            Comment::Absent | Comment::Deleted { .. } => return Err(Rejection::NotFound("comment").into()),
        };
        let stream = StreamId::Comment(comment);
        let command = Command::Edit { comment, actor: origin.actor, text };
        let decide = |found: &Found<Comment>| {
            let mut change = found.decide(&command, origin.at)?;
            found.expect_version(|version| seen.include(version))?;
            let version = found.sequence + change.events.len() as u64;
            let Comment::Added { edited_at, .. } = change.state else {
                return Err(Rejection::NotFound("comment").into());
            };
            let body = EditedComment { id: comment, post_id: post, version, edited_at };
            change.answer = Some(answer(StatusCode::OK, &body, Some(version))?);
            Ok::<_, WriteError>(change)
        };
        let executed = self.write_path.change(stream, origin, None, decide).await?;
        self.finish(None, stream, executed.answer, executed.token).await
    }

    /// Takes a comment away. Its author may always do so, whatever has become of the post.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn delete_comment(&self, origin: &Origin<'_>, comment: CommentId) -> Result<Token, WriteError> {
        let mut post_author = None;
        match access::comment(self.content(), comment).await? {
            Comment::Added { author, .. } if author == origin.actor => {}
            Comment::Added { post, author, .. } => {
                let of_post = access::author_of_visible_post(self.content(), origin.actor, post).await?;
                if of_post != origin.actor {
                    self.check_not_apart(origin.actor, author).await?;
                }
                post_author = Some(of_post);
            }
            Comment::Absent | Comment::Deleted { .. } => return Err(Rejection::NotFound("comment").into()),
        }
        let command = Command::Delete { comment, actor: origin.actor, post_author };
        Ok(self.write_path.execute::<Comment>(StreamId::Comment(comment), origin, &command).await?.token)
    }

    /// Whether `parent` can be answered: it is there, on this post, and no block hides it from the actor.
    async fn check_parent(&self, actor: UserId, post: PostId, parent: CommentId) -> Result<(), WriteError> {
        match access::comment(self.content(), parent).await? {
            Comment::Added { post: of, author, .. } if of == post => {
                let hidden = self.check_not_apart(actor, author).await;
                hidden.map_err(|error| match error {
                    WriteError::Rejected(_) => WriteError::NoSuchParent,
                    other => other,
                })
            }
            Comment::Added { .. } | Comment::Absent | Comment::Deleted { .. } => Err(WriteError::NoSuchParent),
        }
    }

    /// What somebody wrote is not there for those whom a block keeps apart from them.
    async fn check_not_apart(&self, actor: UserId, author: UserId) -> Result<(), WriteError> {
        let apart = actor != author && access::relation(self.content(), actor, author).await?.is_blocked();
        if apart { Err(Rejection::NotFound("comment").into()) } else { Ok(()) }
    }
}
