//! Documents and what is shown of posts.

use std::collections::HashMap;

use domain::{PostId, StreamId};
use futures::TryStreamExt as _;
use mongodb::bson::{self, Bson, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::outbox::Waiting;
use super::{OUTBOX_BYTES, Raw};
use crate::StoreError;
use crate::content::{Commit, CommitError, Committed, Document, PublicState, RecentCommand, Rendered, StoredPreview};
use crate::mongodb::{failed, int, is_duplicate, read};

/// How often a commit is tried anew that met an acknowledgement, and no other commit.
const TRIES: u32 = 16;

#[derive(Deserialize)]
struct Loaded {
    revision: u64,
    sequence: u64,
    state: String,
    private: Option<String>,
    #[serde(default)]
    recent_commands: Vec<RecentCommand>,
}

/// The document, if there is one.
pub(super) async fn load(documents: &Raw, stream: StreamId) -> Result<Option<Document>, StoreError> {
    let projection = doc! { "revision": 1, "sequence": 1, "state": 1, "private": 1, "recent_commands": 1 };
    let found = documents.find_one(doc! { "_id": stream.to_string() }).projection(projection).await.map_err(failed)?;
    let Some(found) = found else { return Ok(None) };
    let Loaded { revision, sequence, state, private, recent_commands } = read(&found)?;
    Ok(Some(Document { revision, sequence, state, private, recent_commands }))
}

/// What a commit came to, and whether its events are all that waits in the outbox.
type Done = (Committed, bool);

/// Changes a document.
pub(super) async fn commit(documents: &Raw, commit: &Commit) -> Result<Done, CommitError> {
    check(commit)?;
    let change = Change::of(commit)?;
    match (commit.expected_revision, commit.records.is_empty()) {
        (0, _) => create(documents, commit, change).await,
        (_, true) => keep_events(documents, commit, change).await,
        (_, false) => add_events(documents, commit, change).await,
    }
}

/// What a commit must be, whatever is stored.
fn check(commit: &Commit) -> Result<(), StoreError> {
    if commit.rendered.is_some() && !matches!(commit.stream, StreamId::Post(_)) {
        return Err(StoreError::Damaged(format!("{} is not a post and shows nothing", commit.stream)));
    }
    let sequences = commit.records.iter().map(|record| record.attributes.sequence);
    let first = sequences.clone().next().unwrap_or(1);
    let follow_each_other = first > 0 && sequences.zip(first..).all(|(sequence, expected)| sequence == expected);
    if follow_each_other { Ok(()) } else { Err(misnumbered(commit)) }
}

fn misnumbered(commit: &Commit) -> StoreError {
    StoreError::Damaged(format!("{} is not at the sequence of its events", commit.stream))
}

/// What a commit sets and pushes.
struct Change {
    set: bson::Document,
    waiting: Vec<Bson>,
    bytes: i64,
}

impl Change {
    fn of(commit: &Commit) -> Result<Self, StoreError> {
        let mut set = doc! { "state": &commit.state };
        if let Some(private) = &commit.private {
            set.insert("private", private);
        }
        if let Some(rendered) = &commit.rendered {
            set.insert("rendered", stored(&Shown::from(rendered))?);
        }
        if let Some(recent) = &commit.recent_commands {
            set.insert("recent_commands", stored(recent)?);
        }
        let waiting: Vec<_> = commit.records.iter().map(|record| Waiting::of(record, commit.at)).collect();
        let bytes = waiting.iter().map(|event| event.bytes).sum();
        let waiting = waiting.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Self { set, waiting, bytes })
    }
}

fn stored<T: Serialize>(value: &T) -> Result<Bson, StoreError> {
    bson::serialize_to_bson(value).map_err(|_| StoreError::Damaged("what is to be stored fits no document".to_owned()))
}

async fn create(documents: &Raw, commit: &Commit, change: Change) -> Result<Done, CommitError> {
    if commit.records.first().is_some_and(|record| record.attributes.sequence > 1) {
        // Whoever knows of earlier events has read a document; if it is there, this commit is of another revision.
        let there = documents.find_one(doc! { "_id": commit.stream.to_string() }).projection(doc! { "_id": 1 }).await;
        let there = there.map_err(|error| CommitError::Store(failed(error)))?;
        return Err(there.map_or_else(|| misnumbered(commit).into(), |_| CommitError::Conflict));
    }
    let sequence = commit.records.len() as u64;
    let mut document = doc! { "_id": commit.stream.to_string(), "revision": 1_i64, "sequence": int(sequence) };
    document.extend(change.set);
    if !change.waiting.is_empty() {
        document.insert("outbox", change.waiting);
        document.insert("outbox_since", commit.at.as_millis());
        document.insert("outbox_bytes", change.bytes);
    }
    match documents.clone_with_type().insert_one(document).await {
        Ok(_) => Ok(done(1, sequence, sequence > 0)),
        Err(error) if is_duplicate(&error) => Err(CommitError::Conflict),
        Err(error) => Err(failed(error).into()),
    }
}

/// Without events, nothing happens to the outbox.
async fn keep_events(documents: &Raw, commit: &Commit, change: Change) -> Result<Done, CommitError> {
    #[derive(Deserialize)]
    struct After {
        sequence: u64,
    }
    let guard = doc! { "_id": commit.stream.to_string(), "revision": int(commit.expected_revision) };
    let changed = documents
        .find_one_and_update(guard, doc! { "$set": change.set, "$inc": { "revision": 1_i64 } })
        .projection(doc! { "sequence": 1 })
        .return_document(ReturnDocument::After)
        .await
        .map_err(|error| CommitError::Store(failed(error)))?;
    let After { sequence } = read(&changed.ok_or(CommitError::Conflict)?)?;
    Ok(done(commit.expected_revision + 1, sequence, false))
}

fn done(revision: u64, sequence: u64, alone: bool) -> Done {
    (Committed { revision, sequence, position: None, whole_outbox: None }, alone)
}

async fn add_events(documents: &Raw, commit: &Commit, change: Change) -> Result<Done, CommitError> {
    let first = commit.records.first().map_or(1, |record| record.attributes.sequence);
    let (revision, before) = (commit.expected_revision, first - 1);
    let sequence = before + commit.records.len() as u64;
    let stream = commit.stream.to_string();
    let guard = doc! { "_id": &stream, "revision": int(revision), "sequence": int(before) };
    let mut into_empty = change.set.clone();
    into_empty.insert("outbox_since", commit.at.as_millis());
    let update = |set: bson::Document| {
        doc! {
            "$set": set,
            "$inc": { "revision": 1_i64, "sequence": int(sequence - before), "outbox_bytes": change.bytes },
            "$push": { "outbox": { "$each": &change.waiting } },
        }
    };
    for _ in 0..TRIES {
        // No operator sets a field only where there is none, so there are two updates, of which one can apply.
        let mut nothing_waits = guard.clone();
        nothing_waits.insert("outbox_since", Bson::Null);
        let mut something_waits = guard.clone();
        something_waits.insert("outbox_since", doc! { "$ne": Bson::Null });
        something_waits.insert("outbox_bytes", doc! { "$lt": OUTBOX_BYTES });
        for (guard, update, alone) in
            [(nothing_waits, update(into_empty.clone()), true), (something_waits, update(change.set.clone()), false)]
        {
            let updated = documents.update_one(guard, update).await;
            if updated.map_err(|error| CommitError::Store(failed(error)))?.matched_count > 0 {
                return Ok(done(revision + 1, sequence, alone));
            }
        }
        why_not(documents, commit, before).await?;
    }
    // Acknowledgements came and went between the two updates every time.
    Err(CommitError::Conflict)
}

/// Why neither update applied; nothing, where only the outbox has changed between them.
async fn why_not(documents: &Raw, commit: &Commit, before: u64) -> Result<(), CommitError> {
    #[derive(Deserialize)]
    struct Found {
        revision: u64,
        sequence: u64,
        #[serde(default)]
        outbox_bytes: i64,
    }
    let projection = doc! { "revision": 1, "sequence": 1, "outbox_bytes": 1 };
    let found = documents.find_one(doc! { "_id": commit.stream.to_string() }).projection(projection).await;
    let found = found.map_err(|error| CommitError::Store(failed(error)))?.ok_or(CommitError::Conflict)?;
    let found: Found = read(&found)?;
    if found.revision != commit.expected_revision {
        return Err(CommitError::Conflict);
    }
    if found.sequence != before {
        return Err(misnumbered(commit).into());
    }
    if found.outbox_bytes >= OUTBOX_BYTES {
        let why = format!("the log has not taken {} bytes of events of {} yet", found.outbox_bytes, commit.stream);
        return Err(StoreError::Unavailable(why).into());
    }
    Ok(())
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "_id")]
    stream: String,
    sequence: u64,
    state: String,
}

/// The states of many streams, in the order asked for.
pub(super) async fn states(documents: &Raw, streams: &[StreamId]) -> Result<Vec<Option<PublicState>>, StoreError> {
    let streams: Vec<String> = streams.iter().map(StreamId::to_string).collect();
    let found = readable::<State>(documents, &streams, doc! { "sequence": 1, "state": 1 }).await?;
    let mut states = HashMap::new();
    for State { stream, sequence, state } in found {
        states.insert(stream, PublicState { sequence, state });
    }
    Ok(streams.iter().map(|stream| states.get(stream).cloned()).collect())
}

/// What is shown of a post, as it is stored.
#[derive(Serialize, Deserialize)]
struct Shown {
    renderer: u16,
    html: String,
    preview: Option<String>,
}

impl From<&Rendered> for Shown {
    fn from(Rendered { renderer, html, preview }: &Rendered) -> Self {
        Self { renderer: *renderer, html: html.clone(), preview: preview.clone() }
    }
}

/// The previews of many posts, in the order asked for.
pub(super) async fn previews(documents: &Raw, posts: &[PostId]) -> Result<Vec<Option<StoredPreview>>, StoreError> {
    #[derive(Deserialize)]
    struct Found {
        #[serde(rename = "_id")]
        stream: String,
        sequence: u64,
        rendered: Option<Part>,
    }
    #[derive(Deserialize)]
    struct Part {
        preview: Option<String>,
    }
    let streams: Vec<String> = posts.iter().map(|post| StreamId::Post(*post).to_string()).collect();
    let found = readable::<Found>(documents, &streams, doc! { "sequence": 1, "rendered.preview": 1 }).await?;
    let mut previews = HashMap::new();
    for Found { stream, sequence, rendered } in found {
        previews.insert(stream, StoredPreview { sequence, preview: rendered.and_then(|part| part.preview) });
    }
    Ok(streams.iter().map(|stream| previews.get(stream).cloned()).collect())
}

/// What a post is shown as.
pub(super) async fn rendered(documents: &Raw, post: PostId) -> Result<Option<Rendered>, StoreError> {
    #[derive(Deserialize)]
    struct Found {
        rendered: Option<Shown>,
    }
    let stream = [StreamId::Post(post).to_string()];
    let found = readable::<Found>(documents, &stream, doc! { "rendered": 1 }).await?.pop();
    let shown = found.and_then(|found| found.rendered);
    Ok(shown.map(|Shown { renderer, html, preview }| Rendered { renderer, html, preview }))
}

/// The documents of streams, without those that cannot be read: one damaged document must not take a page along (R1).
async fn readable<T: DeserializeOwned>(
    documents: &Raw,
    streams: &[String],
    projection: bson::Document,
) -> Result<Vec<T>, StoreError> {
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    let filter = doc! { "_id": { "$in": streams } };
    let cursor = documents.find(filter).projection(projection).await.map_err(failed)?;
    let found: Vec<RawDocumentBuf> = cursor.try_collect().await.map_err(failed)?;
    let readable = |found: &RawDocumentBuf| {
        read(found).inspect_err(|error| tracing::error!(%error, "a damaged document is passed over")).ok()
    };
    Ok(found.iter().filter_map(readable).collect())
}

/// Documents in the order of their streams. A damaged one is an error: who scans wants to know.
pub(super) async fn scan(
    documents: &Raw,
    after: Option<StreamId>,
    limit: usize,
) -> Result<Vec<(StreamId, PublicState)>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let filter = after.map_or_else(bson::Document::new, |after| doc! { "_id": { "$gt": after.to_string() } });
    let cursor = documents
        .find(filter)
        .sort(doc! { "_id": 1 })
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .projection(doc! { "sequence": 1, "state": 1 })
        .await
        .map_err(failed)?;
    let found: Vec<RawDocumentBuf> = cursor.try_collect().await.map_err(failed)?;
    let found = found.iter().map(|found| {
        let State { stream, sequence, state } = read(found)?;
        let stream = stream.parse().map_err(|_| StoreError::Damaged(format!("`{stream}` is no stream")))?;
        Ok((stream, PublicState { sequence, state }))
    });
    found.collect()
}
