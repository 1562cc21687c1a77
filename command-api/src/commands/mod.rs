//! What people can do, one module per area: the rules that span streams, checked in `content` before the write path
//! decides. Used by the HTTP handlers, and without HTTP by whoever fills a community or imports one.

use adapters::StoreError;
use adapters::content::{Answer, Content};
use adapters::http::consistency::Token;
use domain::StreamId;
use http::StatusCode;
use serde::Serialize;

use crate::write_path::{Begun, InLane, Once, WriteError, WritePath};

mod access;
mod accounts;
mod comments;
mod posts;
mod reactions;
mod relations;

pub(crate) use accounts::{Account, account_of};
pub use accounts::{ProfileEdit, Registration};
pub(crate) use comments::{AddedComment, EditedComment};
pub use comments::{CommentEdit, NewComment};
pub(crate) use posts::{EditedPost, PublishedPost};
pub use posts::{PostEdit, Publication};

/// All commands, over one write path.
#[derive(Clone, Debug)]
pub struct Commands {
    write_path: WritePath,
}

/// What a command that brings something into being, or changes its text, has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What it wrote.
    pub stream: StreamId,
    /// What is answered: now, and whenever the command is repeated with its key (W4).
    pub answer: Answer,
    /// What a reader must have passed to see it.
    pub token: Token,
}

/// Which versions of a thing its editor has seen: `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenVersions {
    /// Any will do.
    Any,
    /// These.
    These(Vec<u64>),
}

impl SeenVersions {
    /// Whether `version` is among them.
    pub fn include(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::These(versions) => versions.contains(&version),
        }
    }
}

impl Commands {
    /// Over this write path.
    pub fn new(write_path: WritePath) -> Self {
        Self { write_path }
    }

    fn content(&self) -> &dyn Content {
        self.write_path.content().as_ref()
    }

    /// The stream that a command with a key is to write, or its answer if it is done.
    async fn begin(&self, once: Option<&Once>, proposed: StreamId) -> Result<Result<StreamId, Answered>, WriteError> {
        let Some(once) = once else { return Ok(Ok(proposed)) };
        match self.write_path.begin(once, proposed).await? {
            Begun::Decide(stream) => Ok(Ok(stream)),
            Begun::Done(stream, answer) => {
                let token = self.write_path.token_after(stream).await?;
                Ok(Err(Answered { stream, answer, token }))
            }
        }
    }

    /// The answer of a former attempt that was committed and did not get to answer its claim. Asked before any rule
    /// that spans streams, and before anything slow: those have changed since then, perhaps.
    async fn repeated<A: InLane>(&self, once: Option<&Once>, stream: StreamId) -> Result<Option<Answered>, WriteError> {
        let Some(once) = once else { return Ok(None) };
        let Some((answer, token)) = self.write_path.repeated::<A>(once, stream).await? else { return Ok(None) };
        self.finish(Some(once), stream, Some(answer), token).await.map(Some)
    }

    /// The answer of what is committed; the claim gets it, too.
    async fn finish(
        &self,
        once: Option<&Once>,
        stream: StreamId,
        answer: Option<Answer>,
        token: Token,
    ) -> Result<Answered, WriteError> {
        let answer = answer.ok_or_else(|| StoreError::Damaged(format!("a change of {stream} has no answer")))?;
        if let Some(once) = once {
            self.write_path.finish(once, &answer).await;
        }
        Ok(Answered { stream, answer, token })
    }
}

/// An answer with a body.
fn answer(status: StatusCode, body: &impl Serialize, version: Option<u64>) -> Result<Answer, WriteError> {
    let body = serde_json::to_string(body).map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(Answer { status: status.as_u16(), body, etag: version.map(|version| format!("\"{version}\"")) })
}
