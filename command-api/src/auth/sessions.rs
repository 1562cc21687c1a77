//! Log in, refresh, log out. Each refresh token is good for one use: a second use means that two have it, and ends the
//! session for both.

use adapters::secrets::Secrets;
use domain::text::Username;
use domain::user::User;
use domain::{Rejection, SessionId, StreamId, UserId};

use super::passwords::{PasswordError, Passwords};
use super::private::{Private, Session};
use super::refresh::{self, RefreshToken};
use crate::commands::{Account, account_of};
use crate::write_path::{Found, Origin, WriteError, WritePath};

/// A session that was begun or goes on.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// Whose.
    pub(crate) account: Account,
    /// Which.
    pub(crate) session: SessionId,
    /// The next refresh token.
    pub(crate) refresh_token: String,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// User name and password do not belong together.
    #[error("user name or password is wrong")]
    InvalidCredentials,
    /// Not issued here, or its session has ended.
    #[error("the refresh token is not valid")]
    InvalidRefreshToken,
    /// It was used before: its session is ended.
    #[error("the refresh token was used before")]
    Reused,
    /// No hash.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The write path failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Begins, continues and ends sessions.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    write_path: WritePath,
    passwords: Passwords,
    secrets: Secrets,
}

impl Sessions {
    pub(crate) fn new(write_path: WritePath, passwords: Passwords, secrets: Secrets) -> Self {
        Self { write_path, passwords, secrets }
    }

    /// Begins a session. Takes the same work whether or not there is such an account.
    pub(crate) async fn log_in(&self, username: &str, password: &str) -> Result<Opened, SessionError> {
        let content = self.write_path.content();
        let owner = match Username::parse(username) {
            Ok(username) => content.username_owner(&username).await.map_err(WriteError::from)?,
            Err(_) => None,
        };
        let origin = |user| Origin::now(user);
        let user =
            owner.unwrap_or_else(|| UserId::from_parts(adapters::http::clock::now(), adapters::http::clock::entropy()));
        // Also for nobody: what is loaded then is nothing.
        let document = content.load(StreamId::User(user)).await.map_err(WriteError::from)?;
        let private = document.and_then(|document| document.private);
        let hash = Private::parse(private.as_deref())?.password_hash;
        if !self.passwords.verify(password, hash.as_deref()).await? {
            return Err(SessionError::InvalidCredentials);
        }

        let origin = origin(user);
        let session = SessionId::from_parts(origin.at, adapters::http::clock::entropy());
        let (refresh_token, RefreshToken { fingerprint, .. }) = refresh::issue(&self.secrets, user, session);
        let decide = |found: &Found<User>| {
            let mut private = Private::parse(found.private.as_deref())?;
            // The password may have been changed while this one was verified.
            if private.password_hash != hash {
                return Err(SessionError::InvalidCredentials);
            }
            private.add(Session { id: session, fingerprint: fingerprint.clone(), refreshed_at: origin.at });
            Ok(found.keep(Some(private.to_json()?)))
        };
        let executed = self.write_path.change(StreamId::User(user), &origin, None, decide).await?;
        let account = account_of(user, &executed.state).ok_or(SessionError::InvalidCredentials)?;
        Ok(Opened { account, session, refresh_token })
    }

    /// Gives a new refresh token for one that is good. One that was good once ends its session.
    pub(crate) async fn refresh(&self, token: &str) -> Result<Opened, SessionError> {
        let token = refresh::parse(&self.secrets, token).ok_or(SessionError::InvalidRefreshToken)?;
        let (user, session) = (token.user, token.session);
        let origin = Origin::now(user);
        let (refresh_token, next) = refresh::issue(&self.secrets, user, session);
        let mut reused = false;
        let decide = |found: &Found<User>| {
            let mut private = Private::parse(found.private.as_deref())?;
            let known = private.sessions.iter_mut().find(|known| known.id == session);
            let known = known.filter(|known| known.is_alive(origin.at)).ok_or(SessionError::InvalidRefreshToken)?;
            reused = !refresh::is(&known.fingerprint, &token);
            if reused {
                private.end(session);
            } else {
                known.fingerprint.clone_from(&next.fingerprint);
                known.refreshed_at = origin.at;
            }
            Ok::<_, SessionError>(found.keep(Some(private.to_json()?)))
        };
        let executed = self.write_path.change(StreamId::User(user), &origin, None, decide).await?;
        if reused {
            tracing::warn!(%user, %session, "a refresh token was used twice; its session is ended");
            return Err(SessionError::Reused);
        }
        let account = account_of(user, &executed.state).ok_or(SessionError::InvalidRefreshToken)?;
        Ok(Opened { account, session, refresh_token })
    }

    /// Ends a session. Ending it twice is ending it.
    pub(crate) async fn log_out(&self, user: UserId, session: SessionId) -> Result<(), WriteError> {
        let decide = |found: &Found<User>| {
            if found.sequence == 0 {
                return Err(WriteError::Rejected(Rejection::NotFound("session")));
            }
            let mut private = Private::parse(found.private.as_deref())?;
            let ended = private.end(session);
            Ok(found.keep(if ended { Some(private.to_json()?) } else { None }))
        };
        self.write_path.change(StreamId::User(user), &Origin::now(user), None, decide).await?;
        Ok(())
    }
}
