//! People's keys, unwrapped: the few that are in use, for as long as they are.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use domain::UserId;
use lru::LruCache;

use super::cipher;
use crate::StoreError;
use crate::content::{Content, StoredKey};
use crate::secrets::SecretKey;

/// Keys that are kept unwrapped, about 1 MiB.
const KEPT: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// What there is for a person.
pub(super) enum Found {
    /// Their key.
    Key(SecretKey),
    /// They were erased.
    Tombstone,
    /// Nobody has ever made a key for them.
    Nothing,
}

pub(super) struct Keys {
    content: Arc<dyn Content>,
    wrapping: SecretKey,
    kept: Mutex<LruCache<UserId, SecretKey>>,
}

impl Keys {
    pub(super) fn new(content: Arc<dyn Content>, wrapping: SecretKey) -> Self {
        Self { content, wrapping, kept: Mutex::new(LruCache::new(KEPT)) }
    }

    /// A person's key.
    pub(super) async fn find(&self, person: UserId) -> Result<Found, StoreError> {
        if let Some(key) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&person) {
            return Ok(Found::Key(key.clone()));
        }
        match self.content.key(person).await? {
            Some(stored) => self.unwrap(person, stored),
            None => Ok(Found::Nothing),
        }
    }

    /// A person's key, made if there is none.
    pub(super) async fn find_or_make(&self, person: UserId) -> Result<Found, StoreError> {
        match self.find(person).await? {
            Found::Nothing => {
                let wrapped = cipher::close(&self.wrapping, person.as_bytes(), SecretKey::random().as_bytes())?;
                // What is stored is the key, be it ours or that of another who was first.
                let stored = self.content.create_key(person, wrapped).await?;
                self.unwrap(person, stored)
            }
            found => Ok(found),
        }
    }

    /// Whether a person's key, made if there is none, opens with this wrapping key.
    pub(super) async fn opens(&self, person: UserId) -> Result<bool, StoreError> {
        match self.find_or_make(person).await {
            Ok(_) => Ok(true),
            Err(StoreError::Damaged(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unwrap(&self, person: UserId, stored: StoredKey) -> Result<Found, StoreError> {
        let StoredKey::Wrapped(wrapped) = stored else { return Ok(Found::Tombstone) };
        let key = cipher::open(&self.wrapping, person.as_bytes(), &wrapped).and_then(|key| SecretKey::from_slice(&key));
        let key = key.ok_or_else(|| {
            StoreError::Damaged(format!("the key of {person} does not open with this server's wrapping key"))
        })?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(person, key.clone());
        Ok(Found::Key(key))
    }
}
