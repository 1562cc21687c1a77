//! Passwords: Argon2id, on threads of their own, as many at once as there is room for.
//!
//! Hashing is meant to be costly. Without a bound, a flood of log-ins would take all memory and all cores; with one,
//! who waits too long is asked to come again.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::Deserialize;
use tokio::sync::Semaphore;

/// A password that somebody gives. Shown nowhere.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct NewPassword(String);

impl NewPassword {
    /// The text, to be hashed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NewPassword {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.chars().count() {
            0..8 => Err("must be at least 8 characters"),
            257.. => Err("must be at most 256 characters"),
            _ if text.chars().any(char::is_control) => Err("must not contain control characters"),
            _ => Ok(Self(text)),
        }
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

/// What hashing costs, and how much of it there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordSettings {
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Hashes at one time.
    pub at_once: usize,
    /// How long one waits for its turn.
    pub patience: Duration,
}

impl Default for PasswordSettings {
    // OWASP's first choice for Argon2id with one lane.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { memory_kib: 19 * 1024, passes: 2, at_once: cores, patience: Duration::from_secs(2) }
    }
}

/// Why there is no hash and no verdict.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many are waiting.
    #[error("too many passwords are being hashed")]
    Overloaded,
    /// A defect, or a damaged hash. Says nothing of the password.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// Hashes and verifies.
#[derive(Clone, Debug)]
pub struct Passwords {
    argon2: Argon2<'static>,
    turns: Arc<Semaphore>,
    patience: Duration,
    /// What is verified where there is no account, so that it takes as long.
    nobody: Arc<str>,
}

impl Passwords {
    /// With this cost.
    ///
    /// # Errors
    /// The cost is outside of what Argon2 allows.
    pub fn new(settings: PasswordSettings) -> Result<Self, PasswordError> {
        let failed = |error: &dyn std::fmt::Display| PasswordError::Failed(error.to_string());
        let params = Params::new(settings.memory_kib, settings.passes, 1, None).map_err(|error| failed(&error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        // Nobody knows it, and nobody's verdict is ever believed.
        let nobody = hash(&argon2, &format!("{:032x}", rand::random::<u128>()))?;
        let turns = Arc::new(Semaphore::new(settings.at_once.max(1)));
        Ok(Self { argon2, turns, patience: settings.patience, nobody: nobody.into() })
    }

    /// The hash of a password, in PHC form.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`], or a defect.
    pub async fn hash(&self, password: &NewPassword) -> Result<String, PasswordError> {
        let password = password.0.clone();
        self.in_turn(move |argon2| hash(argon2, &password)).await
    }

    /// Whether `password` is the one that was hashed. Without a hash it is not, after the same work.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`], or a defect.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool, PasswordError> {
        let (password, is_somebody) = (password.to_owned(), stored.is_some());
        let stored = stored.unwrap_or(&self.nobody).to_owned();
        let matches = self.in_turn(move |argon2| match argon2.verify_password(password.as_bytes(), stored.as_str()) {
            Ok(()) => Ok(true),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(PasswordError::Failed(error.to_string())),
        });
        Ok(matches.await? && is_somebody)
    }

    async fn in_turn<T, W>(&self, work: W) -> Result<T, PasswordError>
    where
        T: Send + 'static,
        W: FnOnce(&Argon2<'static>) -> Result<T, PasswordError> + Send + 'static,
    {
        let turn = tokio::time::timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| PasswordError::Overloaded)?;
        let turn = turn.map_err(|error| PasswordError::Failed(error.to_string()))?;
        let argon2 = self.argon2.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also if whoever asked for it has gone.
            let _turn = turn;
            work(&argon2)
        });
        hashing.await.map_err(|error| PasswordError::Failed(error.to_string()))?
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, PasswordError> {
    let salt: [u8; 16] = rand::random();
    let hashed = argon2.hash_password_with_salt(password.as_bytes(), &salt);
    hashed.map(|hash| hash.to_string()).map_err(|error| PasswordError::Failed(error.to_string()))
}
