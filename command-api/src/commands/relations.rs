//! Follow, unfollow, block, unblock, mute, unmute. All can be repeated without harm.

use adapters::http::consistency::Token;
use domain::relation::{Command, Pair, Relation};
use domain::{Rejection, StreamId, UserId};

use super::{Commands, access};
use crate::write_path::{Origin, WriteError};

impl Commands {
    /// Reads the posts of `to` from now on.
    ///
    /// # Errors
    /// Unknown, oneself, or blocked.
    pub async fn follow(&self, origin: &Origin<'_>, to: UserId) -> Result<Token, WriteError> {
        self.relate(origin, to, Command::Follow).await
    }

    /// No longer.
    ///
    /// # Errors
    /// Unknown, or oneself.
    pub async fn unfollow(&self, origin: &Origin<'_>, to: UserId) -> Result<Token, WriteError> {
        self.relate(origin, to, Command::Unfollow).await
    }

    /// Ends follows both ways, and what each sees of the other.
    ///
    /// # Errors
    /// Unknown, or oneself.
    pub async fn block(&self, origin: &Origin<'_>, to: UserId) -> Result<Token, WriteError> {
        self.relate(origin, to, Command::Block).await
    }

    /// Restores no follow.
    ///
    /// # Errors
    /// Unknown, or oneself.
    pub async fn unblock(&self, origin: &Origin<'_>, to: UserId) -> Result<Token, WriteError> {
        self.relate(origin, to, Command::Unblock).await
    }

    /// Finds no posts of `to` in the home any more. They do not learn of it.
    ///
    /// # Errors
    /// Unknown, or oneself.
    pub async fn mute(&self, origin: &Origin<'_>, to: UserId) -> Result<Token, WriteError> {
        self.relate(origin, to, Command::Mute).await
    }

    /// Finds them again.
    ///
    /// # Errors
    /// Unknown, or oneself.
    pub async fn unmute(&self, origin: &Origin<'_>, to: UserId) -> Result<Token, WriteError> {
        self.relate(origin, to, Command::Unmute).await
    }

    async fn relate(
        &self,
        origin: &Origin<'_>,
        to: UserId,
        command: impl FnOnce(Pair) -> Command,
    ) -> Result<Token, WriteError> {
        if !access::user_exists(self.content(), to).await? {
            return Err(Rejection::NotFound("user").into());
        }
        let command = command(Pair { from: origin.actor, to });
        let stream = StreamId::relation(origin.actor, to);
        Ok(self.write_path.execute::<Relation>(stream, origin, &command).await?.token)
    }
}
