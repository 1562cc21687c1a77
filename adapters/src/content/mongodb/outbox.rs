//! Events that the log has not acknowledged, and up to where streams are published.

use domain::{EventId, Position, StreamId, Timestamp};
use futures::TryStreamExt as _;
use mongodb::Database;
use mongodb::bson::{self, RawDocumentBuf, doc};
use serde::{Deserialize, Serialize};

use super::{DOCUMENTS, Raw};
use crate::StoreError;
use crate::content::{Acknowledgement, Outbox, Published};
use crate::event_log::Record;
use crate::mongodb::{failed, int, read, update_all};

/// Outboxes that are fetched at once.
const FETCHED_AT_ONCE: u32 = 64;

/// An event in an outbox.
#[derive(Serialize, Deserialize)]
pub(super) struct Waiting {
    id: EventId,
    /// When it was recorded, in milliseconds: the relay counts from here.
    at: i64,
    /// What it takes up, about.
    pub(super) bytes: i64,
    record: Record,
}

impl Waiting {
    pub(super) fn of(record: &Record, at: Timestamp) -> Self {
        // Names and ids take some hundred.
        let bytes = i64::try_from(record.data.len() + record.lane.as_str().len()).unwrap_or(i64::MAX) + 600;
        Self { id: record.attributes.id, at: at.as_millis(), bytes, record: record.clone() }
    }
}

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "_id")]
    stream: String,
    #[serde(default)]
    outbox: Vec<Waiting>,
    outbox_since: Option<i64>,
}

impl Found {
    fn read(raw: &RawDocumentBuf) -> Result<(i64, Outbox), StoreError> {
        let Self { stream, outbox, outbox_since } = read(raw)?;
        let stream = stream.parse().map_err(|_| StoreError::Damaged(format!("`{stream}` is no stream")))?;
        let records = outbox.into_iter().map(|waiting| waiting.record).collect();
        Ok((outbox_since.unwrap_or(i64::MIN), Outbox { stream, records }))
    }
}

/// A stream's outbox, in order.
pub(super) async fn of(documents: &Raw, stream: StreamId) -> Result<Vec<Record>, StoreError> {
    let filter = doc! { "_id": stream.to_string() };
    let found = documents.find_one(filter).projection(doc! { "outbox": 1 }).await.map_err(failed)?;
    found.map_or_else(|| Ok(Vec::new()), |found| Ok(Found::read(&found)?.1.records))
}

/// Outboxes whose oldest event was recorded before `before`, oldest first.
pub(super) async fn pending(documents: &Raw, before: Timestamp, limit: usize) -> Result<Vec<Outbox>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    // No limit for the server: what cannot be read is passed over and does not count.
    let batch = u32::try_from(limit).unwrap_or(FETCHED_AT_ONCE).min(FETCHED_AT_ONCE);
    let mut found = documents
        .find(doc! { "outbox_since": { "$lt": before.as_millis() } })
        .sort(doc! { "outbox_since": 1 })
        .projection(doc! { "outbox": 1, "outbox_since": 1 })
        .batch_size(batch)
        .await
        .map_err(failed)?;
    let mut pending = Vec::new();
    while pending.len() < limit
        && let Some(raw) = found.try_next().await.map_err(failed)?
    {
        match Found::read(&raw) {
            Ok((_, outbox)) if outbox.records.is_empty() => nothing_waits(documents, outbox.stream).await?,
            Ok((since, outbox)) => pending.push((since, outbox)),
            // It stays where it is, and holds up no other stream.
            Err(error) => tracing::error!(%error, "an outbox cannot be published"),
        }
    }
    pending.sort_by_cached_key(|(since, outbox)| (*since, outbox.stream.to_string()));
    Ok(pending.into_iter().map(|(_, outbox)| outbox).collect())
}

/// Mends a document that says that something waits where nothing does.
async fn nothing_waits(documents: &Raw, stream: StreamId) -> Result<(), StoreError> {
    let empty = doc! { "_id": stream.to_string(), "outbox.0": { "$exists": false } };
    documents.update_one(empty, nothing_left()).await.map_err(failed)?;
    Ok(())
}

fn nothing_left() -> bson::Document {
    doc! { "$unset": { "outbox": "", "outbox_since": "", "outbox_bytes": "" } }
}

/// Takes acknowledged events out of their outboxes.
///
/// Nearly always all that waits is acknowledged, and one update per stream is all there is to do. Where others were
/// committed meanwhile, or have been acknowledged by somebody else, the rest is done step by step.
pub(super) async fn acknowledge(database: &Database, all: &[Acknowledgement]) -> Result<(), StoreError> {
    let whole: Vec<_> = all.iter().map(|it| Steps::of(it).empty_and_raise()).collect();
    if update_all(database, DOCUMENTS, &whole).await? == all.len() as u64 {
        return Ok(());
    }
    // Statements of one command have no order, and what has left an outbox is known to be somewhere.
    let raise: Vec<_> = all.iter().map(|it| Steps::of(it).raise).collect();
    update_all(database, DOCUMENTS, &raise).await?;
    let take_out = |it| {
        let Steps { empty, pull, .. } = Steps::of(it);
        [empty, pull]
    };
    let take_out: Vec<_> = all.iter().flat_map(take_out).collect();
    update_all(database, DOCUMENTS, &take_out).await?;
    move_since(&database.collection(DOCUMENTS), all).await
}

/// The updates that an acknowledgement may take. Each can be repeated.
struct Steps {
    all_are_acknowledged: bson::Document,
    is_news: bson::Document,
    published: bson::Document,
    /// Says up to where the stream is published, unless that is said already: an event that was published twice is
    /// where it was first.
    raise: bson::Document,
    /// Empties the outbox, if nothing else waits in it.
    empty: bson::Document,
    /// Takes the events out. Leaves `outbox_since` as it is, for it must not be missing.
    pull: bson::Document,
}

impl Steps {
    fn of(acknowledgement: &Acknowledgement) -> Self {
        let Acknowledgement { stream, events, published } = acknowledgement;
        let events: Vec<String> = events.iter().map(EventId::to_string).collect();
        let Published { sequence, position } = published;
        let published = doc! { "published": { "sequence": int(*sequence), "position": position.to_string() } };
        let stream = stream.to_string();
        let is_news = doc! {
            "_id": &stream,
            "$or": [
                { "published.sequence": { "$lt": int(*sequence) } },
                { "published.sequence": { "$exists": false } },
            ],
        };
        // Every one that waits is among them.
        let others = doc! { "$elemMatch": { "id": { "$nin": &events } } };
        let all_are_acknowledged = doc! { "outbox": { "$not": others } };
        let mut empty = doc! { "_id": &stream, "outbox.0": { "$exists": true } };
        empty.extend(all_are_acknowledged.clone());
        let some_wait = doc! { "_id": &stream, "outbox.0": { "$exists": true } };
        Self {
            all_are_acknowledged,
            raise: doc! { "q": is_news.clone(), "u": { "$set": published.clone() } },
            empty: doc! { "q": empty, "u": nothing_left() },
            pull: doc! { "q": some_wait, "u": { "$pull": { "outbox": { "id": { "$in": events } } } } },
            is_news,
            published,
        }
    }

    fn empty_and_raise(self) -> bson::Document {
        let mut filter = self.is_news;
        filter.extend(self.all_are_acknowledged);
        let mut update = nothing_left();
        update.insert("$set", self.published);
        doc! { "q": filter, "u": update }
    }
}

/// Makes `outbox_since` what it is once events have left: when the first that is left was recorded.
///
/// Each acknowledgement does so after its own events have left, so whoever takes the last ones out sees what is left.
/// A commit that comes in between changes the sequence, and an acknowledgement the first event: then it is looked at
/// again.
async fn move_since(documents: &Raw, all: &[Acknowledgement]) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    struct Left {
        #[serde(rename = "_id")]
        stream: String,
        sequence: u64,
        #[serde(default)]
        outbox: Vec<Event>,
        outbox_since: Option<i64>,
    }
    #[derive(Deserialize)]
    struct Event {
        id: EventId,
        at: i64,
        bytes: i64,
    }
    const LOOKS: u32 = 4;
    let mut streams: Vec<String> = all.iter().map(|it| it.stream.to_string()).collect();
    for _ in 0..LOOKS {
        if streams.is_empty() {
            return Ok(());
        }
        let filter = doc! { "_id": { "$in": &streams }, "outbox_since": { "$exists": true } };
        let projection = doc! { "sequence": 1, "outbox.id": 1, "outbox.at": 1, "outbox.bytes": 1, "outbox_since": 1 };
        let found = documents.find(filter).projection(projection).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        streams.clear();
        for left in &found {
            let Left { stream, sequence, outbox, outbox_since } = read(left)?;
            let (guard, update) = match outbox.first() {
                Some(first) if Some(first.at) == outbox_since => continue,
                Some(Event { id, at, .. }) => {
                    let bytes: i64 = outbox.iter().map(|event| event.bytes).sum();
                    (
                        doc! { "_id": &stream, "sequence": int(sequence), "outbox.0.id": id.to_string() },
                        doc! { "$set": { "outbox_since": at, "outbox_bytes": bytes } },
                    )
                }
                None => (doc! { "_id": &stream, "outbox.0": { "$exists": false } }, nothing_left()),
            };
            if documents.update_one(guard, update).await.map_err(failed)?.matched_count == 0 {
                streams.push(stream);
            }
        }
    }
    // It is older than it need be: the relay looks once too often, and mends it.
    Ok(())
}

/// Up to where a stream is in the log.
pub(super) async fn published(documents: &Raw, stream: StreamId) -> Result<Option<Published>, StoreError> {
    #[derive(Deserialize)]
    struct Found {
        published: Option<At>,
    }
    #[derive(Deserialize)]
    struct At {
        sequence: u64,
        position: String,
    }
    let filter = doc! { "_id": stream.to_string() };
    let found = documents.find_one(filter).projection(doc! { "published": 1 }).await.map_err(failed)?;
    let Some(found) = found else { return Ok(None) };
    let Some(At { sequence, position }) = read::<Found>(&found)?.published else { return Ok(None) };
    let position: Result<Position, _> = position.parse();
    let position = position.map_err(|_| StoreError::Damaged(format!("{stream} is published at no position")))?;
    Ok(Some(Published { sequence, position }))
}
