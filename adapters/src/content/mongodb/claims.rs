//! Claims: on commands that may be repeated, and on user names.

use domain::text::Username;
use domain::{StreamId, Timestamp, UserId};
use futures::TryStreamExt as _;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{self, Binary, Bson, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::Raw;
use crate::StoreError;
use crate::content::{Answer, CLAIM_LIFE_MILLIS, ClaimOutcome, CommandClaim};
use crate::mongodb::{failed, is_duplicate, read};

/// Claims that are removed at once.
const FORGOTTEN_AT_ONCE: usize = 1000;
/// How often a claim is looked at anew that others change at the same moment.
const TRIES: u32 = 16;

#[derive(Deserialize)]
struct StoredClaim {
    digest: Binary,
    stream: StreamId,
    at: i64,
    answer: Option<Answer>,
}

/// A text, which every server of this protocol indexes alike. The length keeps two actors with two keys apart that read
/// alike one behind the other.
fn id(actor: &str, key: &str) -> String {
    format!("{}:{actor}:{key}", actor.len())
}

/// Claims a command, unless a claim on it is alive.
pub(super) async fn command(claims: &Raw, claim: &CommandClaim) -> Result<ClaimOutcome, StoreError> {
    let CommandClaim { actor, key, digest, stream, at } = claim;
    let id = id(actor, key);
    let digest = Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: digest.to_vec() });
    let ours = doc! { "digest": digest, "stream": stream.to_string(), "at": at.as_millis() };
    let expired = at.plus_millis(-CLAIM_LIFE_MILLIS).as_millis();
    for _ in 0..TRIES {
        let before = claims
            .find_one_and_update(doc! { "_id": &id }, doc! { "$setOnInsert": ours.clone() })
            .upsert(true)
            .return_document(ReturnDocument::Before)
            .await;
        let before: StoredClaim = match before {
            Ok(None) => return Ok(ClaimOutcome::New),
            Ok(Some(before)) => read(&before)?,
            // Two inserted at one moment: now it is there.
            Err(error) if is_duplicate(&error) => continue,
            Err(error) => return Err(failed(error)),
        };
        if before.at >= expired {
            return existing(actor, key, before);
        }
        // Of two that find it expired, one still finds it so.
        let old = doc! { "_id": &id, "at": { "$lt": expired } };
        let renew = doc! { "$set": ours.clone(), "$unset": { "answer": "" } };
        if claims.update_one(old, renew).await.map_err(failed)?.matched_count > 0 {
            return Ok(ClaimOutcome::New);
        }
    }
    Err(StoreError::Unavailable("a claim on a command changes all the time".to_owned()))
}

fn existing(actor: &str, key: &str, stored: StoredClaim) -> Result<ClaimOutcome, StoreError> {
    let StoredClaim { digest, stream, at, answer } = stored;
    let digest = digest.bytes.try_into();
    let digest = digest.map_err(|_| StoreError::Damaged("a claim's digest has not its 32 bytes".to_owned()))?;
    let (actor, key, at) = (actor.to_owned(), key.to_owned(), Timestamp::from_millis(at));
    Ok(ClaimOutcome::Existing(CommandClaim { actor, key, digest, stream, at }, answer))
}

/// Records an answer, unless there is one.
pub(super) async fn answer(claims: &Raw, actor: &str, key: &str, answer: &Answer) -> Result<(), StoreError> {
    let answer =
        bson::serialize_to_bson(answer).map_err(|_| StoreError::Damaged("an answer cannot be stored".to_owned()))?;
    let unanswered = doc! { "_id": id(actor, key), "answer": { "$exists": false } };
    claims.update_one(unanswered, doc! { "$set": { "answer": answer } }).await.map_err(failed)?;
    Ok(())
}

/// Removes old claims and answers how many.
pub(super) async fn forget(claims: &Raw, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    #[derive(Deserialize)]
    struct Old {
        #[serde(rename = "_id")]
        id: String,
    }
    let mut forgotten = 0;
    while forgotten < limit {
        let at_once = (limit - forgotten).min(FORGOTTEN_AT_ONCE);
        let is_old = doc! { "at": { "$lt": before.as_millis() } };
        let found = claims.find(is_old.clone()).sort(doc! { "at": 1 }).projection(doc! { "_id": 1 });
        let found = found.limit(i64::try_from(at_once).unwrap_or(i64::MAX)).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        let ids = found.iter().map(|found| Ok(read::<Old>(found)?.id)).collect::<Result<Vec<_>, StoreError>>()?;
        let count = ids.len();
        if count > 0 {
            // Still old: it may have been claimed anew since.
            let mut these = is_old;
            these.insert("_id", doc! { "$in": ids });
            let deleted = claims.delete_many(these).await.map_err(failed)?.deleted_count;
            forgotten += usize::try_from(deleted).unwrap_or(usize::MAX);
        }
        if count < at_once {
            break;
        }
    }
    Ok(forgotten)
}

#[derive(Deserialize)]
struct Named {
    owner: UserId,
    at: i64,
}

/// Claims a user name and answers whether it is `owner`'s (W5).
///
/// Whether the holder of an old claim has come into being is another document. So it is looked at before the claim is
/// taken over, and again after: a holder who came into being in between gets the name back.
pub(super) async fn username(
    names: &Raw,
    documents: &Raw,
    name: &Username,
    owner: UserId,
    now: Timestamp,
    expired: Timestamp,
) -> Result<bool, StoreError> {
    let (name, ours, now) = (name.as_str(), owner.to_string(), now.as_millis());
    for _ in 0..TRIES {
        let found = names
            .find_one_and_update(doc! { "_id": name }, doc! { "$setOnInsert": { "owner": &ours, "at": now } })
            .upsert(true)
            .return_document(ReturnDocument::Before)
            .await;
        let Named { owner: holder, at } = match found {
            Ok(None) => return Ok(true),
            Ok(Some(found)) => read(&found)?,
            Err(error) if is_duplicate(&error) => continue,
            Err(error) => return Err(failed(error)),
        };
        if holder == owner {
            // A registration that is tried again is not overtaken meanwhile.
            let still_ours = doc! { "_id": name, "owner": &ours };
            let again = names.update_one(still_ours, doc! { "$max": { "at": now } }).await.map_err(failed)?;
            if again.matched_count > 0 {
                return Ok(true);
            }
            continue;
        }
        if at >= expired.as_millis() || exists(documents, holder).await? {
            return Ok(false);
        }
        if take_over(names, documents, name, (holder, at), (owner, now)).await? {
            return Ok(true);
        }
    }
    Err(StoreError::Unavailable("a claim on a user name changes all the time".to_owned()))
}

/// Makes an old claim another's; false if it is not as it was, or its holder is there.
async fn take_over(
    names: &Raw,
    documents: &Raw,
    name: &str,
    (holder, at): (UserId, i64),
    (owner, now): (UserId, i64),
) -> Result<bool, StoreError> {
    let theirs = doc! { "_id": name, "owner": holder.to_string(), "at": at };
    let ours = doc! { "owner": owner.to_string(), "at": now };
    let taken = names.update_one(theirs, doc! { "$set": ours.clone() }).await.map_err(failed)?;
    if taken.matched_count == 0 {
        return Ok(false);
    }
    if !exists(documents, holder).await? {
        return Ok(true);
    }
    let mut ours = ours;
    ours.insert("_id", name);
    let give_back = doc! { "$set": { "owner": holder.to_string(), "at": at } };
    names.update_one(ours, give_back).await.map_err(failed)?;
    Ok(false)
}

/// Who has claimed a user name.
pub(super) async fn username_owner(names: &Raw, name: &Username) -> Result<Option<UserId>, StoreError> {
    let found = names.find_one(doc! { "_id": name.as_str() }).await.map_err(failed)?;
    found.map(|found| Ok(read::<Named>(&found)?.owner)).transpose()
}

async fn exists(documents: &Raw, user: UserId) -> Result<bool, StoreError> {
    let filter = doc! { "_id": StreamId::User(user).to_string() };
    Ok(documents.find_one(filter).projection(doc! { "_id": 1 }).await.map_err(failed)?.is_some())
}
