//! The calls to the server: one `update` command for many documents, and pages that damaged documents drop out of.
//!
//! A command with many statements is no transaction: each statement is atomic for its one document, and after a crash
//! any of them may be done or not. Statements of one command are about different documents, so their order is nothing
//! that anybody relies on.

use std::fmt::Write as _;

use futures::TryStreamExt as _;
use mongodb::Database;
use mongodb::bson::{self, Bson, Document, RawArrayBuf, RawDocumentBuf, Uuid, doc, rawdoc};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::StoreError;
use crate::checkpoints::Generation;
use crate::mongodb::{DUPLICATE_KEY, failed, read};

/// Statements in one command.
const STATEMENTS: usize = 1_000;
/// Bytes of statements in one command: a message may have 48 MB.
const BYTES: usize = 8 << 20;

/// The database, as this adapter uses it.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) database: Database,
    /// Where tests let calls wait, fail, or come late.
    #[cfg(test)]
    pub(super) gate: Option<std::sync::Arc<super::tests::gate::Gate>>,
}

/// A change of one document, or of many.
#[derive(Clone)]
pub(super) struct Statement {
    query: Document,
    update: Document,
    upsert: bool,
    multi: bool,
}

impl Statement {
    /// Changes the document with the `key` in `query` that the rest of `query` holds for, if there is one.
    pub(super) fn update(query: Document, update: Document) -> Self {
        Self::of(query, update).0
    }

    /// The same, or makes the document.
    pub(super) fn upsert(query: Document, update: Document) -> Self {
        let (mut statement, key) = Self::of(query, update);
        let mut on_insert = statement.update.get_document("$setOnInsert").cloned().unwrap_or_default();
        on_insert.insert("key", key);
        statement.update.insert("$setOnInsert", on_insert);
        Self { upsert: true, ..statement }
    }

    /// Changes each document that `query` finds, one by one.
    pub(super) fn update_many(query: Document, update: Document) -> Self {
        Self { query, update, upsert: false, multi: true }
    }

    /// The key is found by its text.
    fn of(mut query: Document, update: Document) -> (Self, Option<Bson>) {
        let key = query.remove("key");
        if let Some(Bson::Document(key)) = &key {
            query.insert("_id", id(key));
        }
        (Self { query, update, upsert: false, multi: false }, key)
    }

    fn encode(&self) -> Result<RawDocumentBuf, StoreError> {
        let Self { query, update, upsert, multi } = self;
        let statement = doc! { "q": query, "u": update, "upsert": *upsert, "multi": *multi };
        RawDocumentBuf::try_from(&statement).map_err(|error| StoreError::Damaged(error.to_string()))
    }
}

/// What came of statements.
#[derive(Default)]
pub(super) struct Written {
    /// How many documents were found or made.
    pub(super) found: usize,
    /// Which statements would have made a document whose key is there already.
    pub(super) refused: Vec<usize>,
}

#[derive(Deserialize)]
struct Reply {
    n: i64,
    #[serde(default, rename = "writeErrors")]
    errors: Vec<WriteError>,
    #[serde(rename = "writeConcernError")]
    concern: Option<Bson>,
}

#[derive(Deserialize)]
struct WriteError {
    index: usize,
    code: i32,
    #[serde(default)]
    errmsg: String,
}

impl Store {
    pub(super) fn new(database: Database) -> Self {
        Self {
            database,
            #[cfg(test)]
            gate: None,
        }
    }

    /// Runs statements about different documents.
    pub(super) async fn write(&self, collection: &str, statements: &[Statement]) -> Result<Written, StoreError> {
        let mut written = Written::default();
        let mut done = 0;
        while done < statements.len() {
            let mut updates = RawArrayBuf::new();
            let (mut count, mut bytes) = (0, 0);
            for statement in &statements[done..] {
                let statement = statement.encode()?;
                bytes += statement.as_bytes().len();
                if count > 0 && (count == self.statements_per_command() || bytes > BYTES) {
                    break;
                }
                updates.push(statement);
                count += 1;
            }
            let reply = self.update(collection, updates).await?;
            written.found += usize::try_from(reply.n).unwrap_or_default();
            for error in reply.errors {
                if error.code != DUPLICATE_KEY {
                    return Err(StoreError::Unavailable(format!("{collection}: {}", error.errmsg)));
                }
                written.refused.push(done + error.index);
            }
            done += count;
        }
        Ok(written)
    }

    /// Runs upserts whose queries are a key and a guard. Where the guard refuses the document that is there, nothing
    /// changes. Answers how many documents were found or made.
    pub(super) async fn write_guarded(&self, collection: &str, upserts: &[Statement]) -> Result<usize, StoreError> {
        let written = self.write(collection, upserts).await?;
        if written.refused.is_empty() {
            return Ok(written.found);
        }
        // The server found none to change and then one in the way: its guard refuses, or it was made in between, and
        // then the guard has still to be asked. It is there for good now, so no insert is wanted any more.
        let again = written.refused.iter().filter_map(|place| upserts.get(*place));
        let again: Vec<Statement> = again.map(|upsert| Statement { upsert: false, ..upsert.clone() }).collect();
        Ok(written.found + self.write(collection, &again).await?.found)
    }

    async fn update(&self, collection: &str, updates: RawArrayBuf) -> Result<Reply, StoreError> {
        let command = rawdoc! {
            "update": collection,
            "updates": updates,
            "ordered": false,
            "writeConcern": { "w": "majority" },
        };
        #[cfg(test)]
        self.pass(Some(&command)).await?;
        let reply = self.database.run_raw_command(command).await.map_err(failed)?;
        let reply: Reply = bson::deserialize_from_document(reply).map_err(damaged)?;
        // Not on a majority yet, and perhaps never: the write is to be made again.
        match &reply.concern {
            Some(error) => Err(StoreError::Unavailable(error.to_string())),
            None => Ok(reply),
        }
    }

    /// All documents that a filter finds: one call for up to `at_most` of them.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        collection: &str,
        filter: Document,
        at_most: usize,
    ) -> Result<Vec<T>, StoreError> {
        #[cfg(test)]
        self.pass(None).await?;
        let documents = self.database.collection::<RawDocumentBuf>(collection);
        let found = documents.find(filter).batch_size(batch(at_most)).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        found.iter().map(read).collect()
    }

    /// The first `limit` documents that can be read. A damaged one drops out and the page is filled from further on
    /// (R1): what follows it must stay reachable.
    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        collection: &str,
        filter: Document,
        sort: Document,
        limit: usize,
    ) -> Result<Vec<T>, StoreError> {
        // To the server 0 is no limit.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let documents = self.database.collection::<RawDocumentBuf>(collection);
        let mut damaged = 0;
        loop {
            let wanted = limit.saturating_add(damaged);
            let find = documents.find(filter.clone()).sort(sort.clone());
            let find = find.limit(i64::try_from(wanted).unwrap_or(i64::MAX)).batch_size(batch(wanted));
            let found: Vec<RawDocumentBuf> = find.await.map_err(failed)?.try_collect().await.map_err(failed)?;
            let readable = found.iter().filter_map(|document| {
                read(document)
                    .inspect_err(|error| tracing::error!(%error, collection, "a damaged row is passed over"))
                    .ok()
            });
            let rows: Vec<T> = readable.take(limit).collect();
            if found.len() < wanted || rows.len() == limit {
                return Ok(rows);
            }
            damaged = found.len() - rows.len();
        }
    }

    /// Rows of a generation that a filter finds, in the order of their keys.
    pub(super) async fn scan<T: DeserializeOwned>(
        &self,
        collection: &str,
        Generation(generation): Generation,
        after: Option<Document>,
        mut filter: Document,
        limit: usize,
    ) -> Result<Vec<T>, StoreError> {
        let after = after.unwrap_or_else(|| doc! { "generation": i64::from(generation) });
        let end = doc! { "generation": i64::from(generation) + 1 };
        filter.insert("_id", doc! { "$gt": id(&after), "$lt": id(&end) });
        self.page(collection, filter, doc! { "_id": 1 }, limit).await
    }

    #[cfg(not(test))]
    fn statements_per_command(&self) -> usize {
        STATEMENTS
    }

    /// Behind a gate each document is a call of its own: a crash may fall between any two.
    #[cfg(test)]
    fn statements_per_command(&self) -> usize {
        if self.gate.is_some() { 1 } else { STATEMENTS }
    }

    #[cfg(test)]
    async fn pass(&self, command: Option<&RawDocumentBuf>) -> Result<(), StoreError> {
        match &self.gate {
            Some(gate) => gate.pass(&self.database, command).await,
            None => Ok(()),
        }
    }
}

/// One more than is asked for, so that the server closes the cursor with the first answer.
fn batch(rows: usize) -> u32 {
    const MOST: u32 = 10_000;
    u32::try_from(rows).unwrap_or(MOST).saturating_add(1).min(MOST)
}

pub(super) fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(error.to_string())
}

/// A key as a text that sorts as its parts do, and after that of a key with fewer parts.
///
/// A document could be an `_id`, too. A text is what every server of this protocol indexes alike, and what can be read.
pub(super) fn id(key: &Document) -> String {
    let mut text = String::new();
    for part in key.values() {
        // Writing to a text does not fail.
        let _ = match part {
            Bson::String(part) => write!(text, "{part}/"),
            Bson::Int64(part) => write!(text, "{part:020}/"),
            Bson::Binary(part) => write!(text, "{}/", part.to_uuid().map(|id| id.to_string()).unwrap_or_default()),
            other => write!(text, "{other}/"),
        };
    }
    text
}

/// Finds documents by their keys.
pub(super) fn any_of(keys: Vec<Document>) -> Document {
    doc! { "_id": { "$in": keys.iter().map(id).collect::<Vec<String>>() } }
}

/// An id as it is stored: the same sixteen bytes, in an order that is the id's.
pub(super) fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

/// Splits changes into rounds that follow each other, each with one change at most of a thing.
pub(super) fn rounds<T, K: Eq + std::hash::Hash>(
    changes: impl IntoIterator<Item = T>,
    thing: impl Fn(&T) -> K,
) -> Vec<Vec<T>> {
    let mut times = std::collections::HashMap::new();
    let mut rounds: Vec<Vec<T>> = Vec::new();
    for change in changes {
        let round: &mut usize = times.entry(thing(&change)).or_default();
        match rounds.get_mut(*round) {
            Some(round) => round.push(change),
            None => rounds.push(vec![change]),
        }
        *round += 1;
    }
    rounds
}
