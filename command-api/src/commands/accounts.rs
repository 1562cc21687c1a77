//! Register, and edit what one shows of oneself.

use adapters::StoreError;
use adapters::http::clock;
use domain::text::{Bio, DisplayName, Username};
use domain::user::{Command, Profile, User};
use domain::{Rejection, StreamId, UserId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, Commands, SeenVersions, access, answer};
use crate::auth::private::Private;
use crate::write_path::{Found, Once, Origin, WriteError};

/// How long a name is kept for an account that does not come into being, in milliseconds.
const NAME_KEPT_MILLIS: i64 = 10 * 60 * 1000;

/// A new account. Who comes into being is the origin's actor.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Unique in the whole system.
    pub username: Username,
    /// What the person wants to be called.
    pub display_name: DisplayName,
    /// Hash of the password, in PHC form; without one, nobody can log in.
    pub password_hash: Option<String>,
}

/// What somebody wants to show of themselves.
#[derive(Clone, Debug)]
pub struct ProfileEdit {
    /// The versions that the editor has seen.
    pub seen: SeenVersions,
    /// What it shall say.
    pub profile: Profile,
}

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Account {
    /// The account.
    pub(crate) id: UserId,
    /// Its name.
    pub(crate) username: Username,
    /// What the person wants to be called.
    pub(crate) display_name: DisplayName,
    /// What the person says of themselves; may be empty.
    pub(crate) bio: Bio,
}

/// The account in a state, if there is one.
pub(crate) fn account_of(id: UserId, user: &User) -> Option<Account> {
    match user {
        User::Absent => None,
        User::Registered { username, display_name, bio } => {
            Some(Account { id, username: username.clone(), display_name: display_name.clone(), bio: bio.clone() })
        }
    }
}

/// A registration that has claimed its key and goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registering<'a> {
    once: Option<&'a Once>,
    pub(crate) user: UserId,
}

impl Commands {
    /// Registers the origin's actor.
    ///
    /// # Errors
    /// [`WriteError::UsernameTaken`], and see [`WriteError`].
    pub async fn register(&self, origin: &Origin<'_>, registration: Registration) -> Result<Answered, WriteError> {
        self.register_begun(Registering { once: None, user: origin.actor }, origin, registration).await
    }

    /// The first half of a registration by HTTP: what is repeated is answered, and a name that is taken is refused,
    /// before the costly hash. `proposed` comes into being if nobody has tried yet.
    pub(crate) async fn begin_registration<'a>(
        &self,
        once: Option<&'a Once>,
        proposed: UserId,
        username: &Username,
    ) -> Result<Result<Registering<'a>, Answered>, WriteError> {
        let stream = match self.begin(once, StreamId::User(proposed)).await? {
            Ok(stream) => stream,
            Err(answered) => return Ok(Err(answered)),
        };
        let StreamId::User(user) = stream else { return Err(WriteError::KeyReused) };
        if let Some(answered) = self.repeated::<User>(once, stream).await? {
            return Ok(Err(answered));
        }
        match self.content().username_owner(username).await? {
            Some(owner) if owner != user && access::user_exists(self.content(), owner).await? => {
                Err(WriteError::UsernameTaken)
            }
            Some(_) | None => Ok(Ok(Registering { once, user })),
        }
    }

    /// The second half: claims the name and writes the account.
    pub(crate) async fn register_begun(
        &self,
        registering: Registering<'_>,
        origin: &Origin<'_>,
        registration: Registration,
    ) -> Result<Answered, WriteError> {
        let Registering { once, user } = registering;
        let Registration { username, display_name, password_hash } = registration;
        // W5: the claim before the account. Right before it, so that nothing slow can make the claim old.
        let now = clock::now();
        let expired = now.plus_millis(-NAME_KEPT_MILLIS);
        if !self.content().claim_username(&username, user, now, expired).await? {
            return Err(WriteError::UsernameTaken);
        }
        let origin = Origin { actor: user, ..*origin };
        let stream = StreamId::User(user);
        let private = Private::new(password_hash).to_json()?;
        let command = Command::Register { user, username, display_name };
        let decide = |found: &Found<User>| {
            // A process that was stopped for minutes must not go on with a claim that others may have taken over.
            if clock::now() > now.plus_millis(NAME_KEPT_MILLIS / 2) {
                return Err(WriteError::Conflict);
            }
            let mut change = found.decide(&command, origin.at)?;
            change.private = Some(private.clone());
            let account = account_of(user, &change.state);
            let account = account.ok_or_else(|| StoreError::Damaged(format!("{stream} did not come into being")))?;
            change.answer = Some(answer(StatusCode::CREATED, &account, None)?);
            Ok::<_, WriteError>(change)
        };
        let executed = self.write_path.change(stream, &origin, once, decide).await?;
        self.finish(once, stream, executed.answer, executed.token).await
    }

    /// Replaces what the origin's actor shows of themselves.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn edit_profile(&self, origin: &Origin<'_>, edit: ProfileEdit) -> Result<Answered, WriteError> {
        let ProfileEdit { seen, profile } = edit;
        let user = origin.actor;
        let stream = StreamId::User(user);
        let command = Command::EditProfile { user, profile };
        let decide = |found: &Found<User>| {
            let mut change = found.decide(&command, origin.at)?;
            found.expect_version(|version| seen.include(version))?;
            let version = found.sequence + change.events.len() as u64;
            let account = account_of(user, &change.state).ok_or(Rejection::NotFound("user"))?;
            change.answer = Some(answer(StatusCode::OK, &account, Some(version))?);
            Ok::<_, WriteError>(change)
        };
        let executed = self.write_path.change(stream, origin, None, decide).await?;
        self.finish(None, stream, executed.answer, executed.token).await
    }
}
