//! All that posts and comments ever said.
//!
//! What is forgotten leaves a tombstone per version, without its text. A version is written only where there is none,
//! so a write that comes late, by an owner who was overtaken after the counts let it pass, finds the tombstone and
//! brings no text back. That there is one: whoever forgets a stream writes, in the same batch or one before it that is
//! done, every version that comes before the deletion in the lane.

use std::collections::HashSet;

use domain::text::Title;
use domain::{StreamId, Timestamp};
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde::Deserialize;

use super::schema::VERSIONS;
use super::store::{Statement, Store, id};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::mongodb::int;
use crate::views::{EngagementUpdate, VersionRow};

#[derive(Deserialize)]
struct VersionKey {
    stream: StreamId,
    sequence: u64,
}

#[derive(Deserialize)]
struct StoredVersion {
    key: VersionKey,
    at: DateTime,
    // Stored as it was checked once; checked again, so that damage is seen and not shown.
    title: Option<Title>,
    text: String,
}

impl From<StoredVersion> for VersionRow {
    fn from(StoredVersion { key, at, title, text }: StoredVersion) -> Self {
        let at = Timestamp::from_millis(at.timestamp_millis());
        Self { stream: key.stream, sequence: key.sequence, at, title, text }
    }
}

/// Everything that a stream said is between this key and the one with a sequence.
fn stream_key(Generation(generation): Generation, stream: StreamId) -> Document {
    doc! { "generation": i64::from(generation), "stream": stream.to_string() }
}

fn key(generation: Generation, stream: StreamId, sequence: u64) -> Document {
    let mut key = stream_key(generation, stream);
    key.insert("sequence", int(sequence));
    key
}

pub(super) async fn write(
    store: &Store,
    generation: Generation,
    updates: &[EngagementUpdate],
) -> Result<(), StoreError> {
    let forgotten: HashSet<StreamId> = updates.iter().flat_map(|update| &update.forgotten).copied().collect();
    // What an event said does not change: where there is a version, or its tombstone, there is nothing to write.
    let mut known: HashSet<(StreamId, u64)> = HashSet::new();
    let versions = updates.iter().flat_map(|update| &update.versions);
    let versions: Vec<Statement> = versions
        .filter(|version| known.insert((version.stream, version.sequence)))
        .map(|version| insert(generation, version, forgotten.contains(&version.stream)))
        .collect();
    store.write(VERSIONS, &versions).await?;
    let forget: Vec<Statement> = forgotten.into_iter().map(|stream| forget(generation, stream)).collect();
    store.write(VERSIONS, &forget).await?;
    Ok(())
}

fn insert(generation: Generation, version: &VersionRow, is_forgotten: bool) -> Statement {
    let VersionRow { stream, sequence, at, title, text } = version;
    let (title, text) = match is_forgotten {
        true => (Bson::Null, Bson::Null),
        false => (title.as_ref().map_or(Bson::Null, |title| title.as_str().into()), text.as_str().into()),
    };
    let at = DateTime::from_millis(at.as_millis());
    let insert = doc! { "at": at, "title": title, "text": text, "forgotten": is_forgotten };
    Statement::upsert(doc! { "key": key(generation, *stream, *sequence) }, doc! { "$setOnInsert": insert })
}

fn forget(generation: Generation, stream: StreamId) -> Statement {
    let all = doc! { "$gt": id(&stream_key(generation, stream)), "$lte": id(&key(generation, stream, u64::MAX)) };
    let gone = doc! { "title": Bson::Null, "text": Bson::Null, "forgotten": true };
    Statement::update_many(doc! { "_id": all, "forgotten": false }, doc! { "$set": gone })
}

pub(super) async fn newest(
    store: &Store,
    generation: Generation,
    stream: StreamId,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<VersionRow>, StoreError> {
    let before = id(&key(generation, stream, before.unwrap_or(u64::MAX)));
    let filter = doc! { "_id": { "$gt": id(&stream_key(generation, stream)), "$lt": before }, "forgotten": false };
    let found: Vec<StoredVersion> = store.page(VERSIONS, filter, doc! { "_id": -1 }, limit).await?;
    Ok(found.into_iter().map(VersionRow::from).collect())
}

pub(super) async fn scan(
    store: &Store,
    generation: Generation,
    after: Option<(StreamId, u64)>,
    limit: usize,
) -> Result<Vec<VersionRow>, StoreError> {
    let after = after.map(|(stream, sequence)| key(generation, stream, sequence));
    let found: Vec<StoredVersion> = store.scan(VERSIONS, generation, after, doc! { "forgotten": false }, limit).await?;
    Ok(found.into_iter().map(VersionRow::from).collect())
}
