//! The part of a user's document that is never in an event: the password's hash, the sessions and the roles.

use std::collections::BTreeSet;

use adapters::StoreError;
use domain::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::roles::Role;
use crate::write_path::WriteError;

/// Sessions of one person, at most: the one that was refreshed the longest ago gives way.
pub(crate) const SESSIONS: usize = 20;
/// How long a session lasts after its last refresh, in milliseconds.
pub(crate) const SESSION_LIFE_MILLIS: i64 = 30 * 24 * 60 * 60 * 1000;

/// See the module.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Private {
    /// In PHC form; `None` where nobody can log in.
    pub(crate) password_hash: Option<String>,
    /// Those that have not ended, by no means all of them alive.
    #[serde(default)]
    pub(crate) sessions: Vec<Session>,
    /// What they may do beyond what everybody may.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) roles: BTreeSet<Role>,
}

/// A log-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// What tokens name.
    pub(crate) id: SessionId,
    /// Fingerprint of the one refresh token that is good, in hexadecimal.
    pub(crate) fingerprint: String,
    /// When that was issued.
    pub(crate) refreshed_at: Timestamp,
}

impl Session {
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        self.refreshed_at.plus_millis(SESSION_LIFE_MILLIS) > now
    }
}

impl Private {
    /// Of a new account.
    pub(crate) fn new(password_hash: Option<String>) -> Self {
        Self { password_hash, ..Self::default() }
    }

    /// As stored; of an account without a private part, an empty one.
    pub(crate) fn parse(json: Option<&str>) -> Result<Self, WriteError> {
        let Some(json) = json else { return Ok(Self::default()) };
        // Nothing of it may get into an error: serde quotes.
        serde_json::from_str(json).map_err(|_| StoreError::Damaged("a private part is not readable".to_owned()).into())
    }

    /// As it is stored.
    pub(crate) fn to_json(&self) -> Result<String, WriteError> {
        serde_json::to_string(self)
            .map_err(|_| StoreError::Damaged("a private part cannot be written".to_owned()).into())
    }

    /// Adds a session. The dead go, and of the living no more than [`SESSIONS`] remain.
    pub(crate) fn add(&mut self, session: Session) {
        let now = session.refreshed_at;
        self.sessions.retain(|session| session.is_alive(now));
        self.sessions.sort_by_key(|session| session.refreshed_at);
        let excess = (self.sessions.len() + 1).saturating_sub(SESSIONS);
        self.sessions.drain(..excess);
        self.sessions.push(session);
    }

    /// Ends a session; false if there was none.
    pub(crate) fn end(&mut self, id: SessionId) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|session| session.id != id);
        self.sessions.len() < before
    }
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Private").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}
