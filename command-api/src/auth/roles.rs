//! Who may do more than others. Roles are granted by an operator at the command line, and kept in the private part of
//! the user's document: they are never in an event, and every request that needs one looks there, so that a revocation
//! works at once.

use std::collections::BTreeSet;

use domain::text::Username;
use domain::user::User;
use domain::{Rejection, StreamId, UserId};
use serde::{Deserialize, Serialize};

use super::private::Private;
use crate::write_path::{Found, Origin, WriteError, WritePath};

/// Documents read at a time when everybody is looked at.
const PAGE: usize = 500;

/// What somebody may do beyond what everybody may. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Operate the projections and read the log.
    Admin,
    /// Moderate what people write.
    Moderator,
    /// Read statistics.
    Analyst,
}

impl Role {
    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Moderator => "moderator",
            Self::Analyst => "analyst",
        }
    }
}

/// Somebody with roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Who.
    pub user: UserId,
    /// Their name.
    pub username: Username,
    /// What they may do.
    pub roles: BTreeSet<Role>,
}

/// Grants, revokes and tells roles.
#[derive(Clone, Debug)]
pub struct Roles {
    write_path: WritePath,
}

impl Roles {
    /// Over a write path.
    pub fn new(write_path: WritePath) -> Self {
        Self { write_path }
    }

    /// What `user` may do now, as the truth says; nothing where there is no such account.
    ///
    /// # Errors
    /// The truth cannot be read.
    pub async fn of(&self, user: UserId) -> Result<BTreeSet<Role>, WriteError> {
        let document = self.write_path.content().load(StreamId::User(user)).await?;
        Ok(Private::parse(document.and_then(|document| document.private).as_deref())?.roles)
    }

    /// Grants a role; false if they had it.
    ///
    /// # Errors
    /// There is no such account, or the truth cannot be written.
    pub async fn grant(&self, user: UserId, role: Role) -> Result<bool, WriteError> {
        self.change(user, |roles| roles.insert(role)).await
    }

    /// Revokes a role; false if they did not have it.
    ///
    /// # Errors
    /// There is no such account, or the truth cannot be written.
    pub async fn revoke(&self, user: UserId, role: Role) -> Result<bool, WriteError> {
        self.change(user, |roles| roles.remove(&role)).await
    }

    async fn change(
        &self,
        user: UserId,
        change: impl Fn(&mut BTreeSet<Role>) -> bool + Send + Sync,
    ) -> Result<bool, WriteError> {
        let mut is_news = false;
        let decide = |found: &Found<User>| {
            if found.sequence == 0 {
                return Err(WriteError::Rejected(Rejection::NotFound("user")));
            }
            let mut private = Private::parse(found.private.as_deref())?;
            is_news = change(&mut private.roles);
            Ok(found.keep(if is_news { Some(private.to_json()?) } else { None }))
        };
        self.write_path.change(StreamId::User(user), &Origin::now(user), None, decide).await?;
        Ok(is_news)
    }

    /// Everybody with a role, by id.
    ///
    /// # Errors
    /// The truth cannot be read.
    pub async fn all(&self) -> Result<Vec<Holder>, WriteError> {
        let content = self.write_path.content();
        // Accounts come last in the order of streams.
        let mut after = StreamId::User(UserId::MIN);
        let mut holders = Vec::new();
        loop {
            let page = content.scan(Some(after), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(holders) };
            after = *last;
            for (stream, state) in page {
                let StreamId::User(user) = stream else { continue };
                let roles = self.of(user).await?;
                let User::Registered { username, .. } =
                    serde_json::from_str(&state.state).map_err(|_| damaged(stream))?
                else {
                    continue;
                };
                if !roles.is_empty() {
                    holders.push(Holder { user, username, roles });
                }
            }
        }
    }

    /// The account that `name` means: a user name or an id.
    ///
    /// # Errors
    /// There is no such account, or the truth cannot be read.
    pub async fn find(&self, name: &str) -> Result<UserId, WriteError> {
        let content = self.write_path.content();
        let user = match (name.parse(), Username::parse(name)) {
            (Ok(user), _) => Some(user),
            (Err(_), Ok(username)) => content.username_owner(&username).await?,
            (Err(_), Err(_)) => None,
        };
        let nobody = WriteError::Rejected(Rejection::NotFound("user"));
        let Some(user) = user else { return Err(nobody) };
        // A name may be claimed by an account that never came into being.
        if content.load(StreamId::User(user)).await?.is_some() { Ok(user) } else { Err(nobody) }
    }
}

fn damaged(stream: StreamId) -> WriteError {
    adapters::StoreError::Damaged(format!("the state of {stream} is not readable")).into()
}
