//! Like, unlike. Both can be repeated without harm. The hot path: two small reads, one load, one commit.

use adapters::http::consistency::Token;
use domain::reaction::{Command, Reaction, Subject};
use domain::{PostId, StreamId};

use super::{Commands, access};
use crate::write_path::{Origin, WriteError};

impl Commands {
    /// Likes a post.
    ///
    /// # Errors
    /// There is no such post for the actor.
    pub async fn like(&self, origin: &Origin<'_>, post: PostId) -> Result<Token, WriteError> {
        self.react(origin, post, Command::Like).await
    }

    /// Likes it no longer.
    ///
    /// # Errors
    /// There is no such post for the actor.
    pub async fn unlike(&self, origin: &Origin<'_>, post: PostId) -> Result<Token, WriteError> {
        self.react(origin, post, Command::Unlike).await
    }

    async fn react(
        &self,
        origin: &Origin<'_>,
        post: PostId,
        command: impl FnOnce(Subject) -> Command,
    ) -> Result<Token, WriteError> {
        access::author_of_visible_post(self.content(), origin.actor, post).await?;
        let command = command(Subject { post, user: origin.actor });
        let stream = StreamId::Reaction(post, origin.actor);
        Ok(self.write_path.execute::<Reaction>(stream, origin, &command).await?.token)
    }
}
