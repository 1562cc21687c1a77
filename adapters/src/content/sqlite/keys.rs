//! People's wrapped keys.

use domain::UserId;
use rusqlite::{Connection, OptionalExtension};

use crate::StoreError;
use crate::content::StoredKey;

/// A person's key.
pub(super) fn of(connection: &Connection, person: UserId) -> Result<Option<StoredKey>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT wrapped FROM person_keys WHERE person = ?1")?;
    let stored = statement.query_row((person.as_bytes(),), |row| row.get::<_, Option<Vec<u8>>>(0)).optional()?;
    Ok(stored.map(|wrapped| wrapped.map_or(StoredKey::Tombstone, StoredKey::Wrapped)))
}

/// Stores a first key and answers what is stored: of two writers, the later gets the earlier's.
pub(super) fn create(connection: &Connection, person: UserId, wrapped: &[u8]) -> Result<StoredKey, StoreError> {
    let insert = "INSERT INTO person_keys (person, wrapped) VALUES (?1, ?2) ON CONFLICT (person) DO NOTHING";
    connection.prepare_cached(insert)?.execute((person.as_bytes(), wrapped))?;
    of(connection, person)?.ok_or_else(|| StoreError::Damaged(format!("the key of {person} was not stored")))
}
