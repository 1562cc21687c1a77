//! People's wrapped keys.

use domain::UserId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::Raw;
use crate::StoreError;
use crate::content::StoredKey;
use crate::mongodb::{failed, is_duplicate, read};

/// Without a key, it is a tombstone.
#[derive(Deserialize)]
struct Stored {
    wrapped: Option<Binary>,
}

/// A person's key.
pub(super) async fn of(keys: &Raw, person: UserId) -> Result<Option<StoredKey>, StoreError> {
    keys.find_one(doc! { "_id": person.to_string() }).await.map_err(failed)?.as_ref().map(stored).transpose()
}

/// Stores a first key and answers what is stored: of two writers, the later gets the earlier's, once a majority has it.
pub(super) async fn create(keys: &Raw, person: UserId, wrapped: Vec<u8>) -> Result<StoredKey, StoreError> {
    let wrapped = Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: wrapped });
    loop {
        let kept = keys
            .find_one_and_update(
                doc! { "_id": person.to_string() },
                doc! { "$setOnInsert": { "wrapped": wrapped.clone() } },
            )
            .upsert(true)
            .return_document(ReturnDocument::After)
            .await;
        match kept {
            Ok(Some(kept)) => return stored(&kept),
            Ok(None) => return Err(StoreError::Damaged(format!("the key of {person} was not stored"))),
            // Two inserted at one moment: now it is there.
            Err(error) if is_duplicate(&error) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

fn stored(raw: &RawDocumentBuf) -> Result<StoredKey, StoreError> {
    Ok(read::<Stored>(raw)?.wrapped.map_or(StoredKey::Tombstone, |wrapped| StoredKey::Wrapped(wrapped.bytes)))
}
