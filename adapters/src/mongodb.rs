//! What the MongoDB adapters share: the connection, the schema's version, and what errors mean.
//!
//! Nothing but atomic updates of single documents is asked of the server. Everything is written to a majority and read
//! from the primary, with what a majority has: what could still be undone is never published, and never answered. A
//! write that finds nothing to change waits for the majority as well, so that whoever reads after a refused
//! compare-and-set sees what it was refused for.

use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, deserialize_from_slice, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use mongodb::{Client, Database};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::StoreError;
use crate::url::StoreUrl;

mod schema;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use schema::Schema;

/// How long a call waits for a server that can answer it.
const SELECTION: Duration = Duration::from_secs(5);
/// The server's code for a key that is there already.
pub(crate) const DUPLICATE_KEY: i32 = 11000;
/// The server's codes for somebody who may not do this, or is not who they say.
const FORBIDDEN: [i32; 2] = [13, 18];
/// Statements of one command. The server takes a hundred thousand, and 48 MB.
const STATEMENTS: usize = 1000;

/// The database that a URL names: `mongodb://host,host/database?replicaSet=…`, with the options that MongoDB's
/// connection strings have. Connects when it is first used.
///
/// # Errors
/// The URL names no database, or its options are wrong.
pub(crate) async fn database(url: &StoreUrl) -> Result<Database, StoreError> {
    if url.name().is_empty() {
        return Err(StoreError::Unfit(format!("{url} names no database: add `/NAME`")));
    }
    for key in ["tlsCAFile", "tlsCertificateKeyFile"] {
        url.file(key).map_err(|error| StoreError::Unfit(format!("{url}: {error}")))?;
    }
    let options = ClientOptions::parse(url.for_driver().as_str()).await;
    let mut options =
        options.map_err(|error| StoreError::Unfit(format!("{url} is not a good URL: {}", guarded(url, &error))))?;
    options.app_name.get_or_insert_with(|| "hybrid-live".to_owned());
    options.server_selection_timeout.get_or_insert(SELECTION);
    options.connect_timeout.get_or_insert(SELECTION);
    options.write_concern = Some(WriteConcern::majority());
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let client = Client::with_options(options);
    let client =
        client.map_err(|error| StoreError::Unfit(format!("{url} cannot be used: {}", guarded(url, &error))))?;
    Ok(client.database(url.name()))
}

/// What a driver's error means to callers. Most may pass by themselves: no server that can be written to, a connection
/// that broke with the outcome unknown, a majority that did not answer in time.
pub(crate) fn failed(error: Error) -> StoreError {
    match &*error.kind {
        ErrorKind::BsonDeserialization(_) => StoreError::Damaged("what was read has another form".to_owned()),
        ErrorKind::Authentication { .. } => StoreError::Unfit(told(&error)),
        ErrorKind::Command(refused) if FORBIDDEN.contains(&refused.code) => StoreError::Unfit(told(&error)),
        _ => StoreError::Unavailable(told(&error)),
    }
}

/// Whether a write was refused because its unique key is there already.
pub(crate) fn is_duplicate(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        ErrorKind::InsertMany(error) => {
            error.write_concern_error.is_none()
                && error.write_errors.as_ref().is_some_and(|errors| errors.iter().all(|it| it.code == DUPLICATE_KEY))
        }
        _ => false,
    }
}

/// Reads one document as `T`. The message does not quote it: documents hold what people wrote, and secrets.
pub(crate) fn read<T: DeserializeOwned>(raw: &RawDocumentBuf) -> Result<T, StoreError> {
    deserialize_from_slice(raw.as_bytes()).map_err(|_| {
        let id = raw.get("_id").ok().flatten();
        let id = id.map_or_else(|| "a document".to_owned(), |id| format!("the document {id:?}"));
        StoreError::Damaged(format!("{id} has another form than this version writes"))
    })
}

/// Many updates of a collection, each `{q, u}`, in as few commands as they fit in; how many found their document. In
/// any order, and some may have been done when others fail: for what can be repeated.
pub(crate) async fn update_all(
    database: &Database,
    collection: &str,
    statements: &[Document],
) -> Result<u64, StoreError> {
    let mut matched = 0;
    for statements in statements.chunks(STATEMENTS) {
        let command = doc! {
            "update": collection, "updates": statements.to_vec(), "ordered": false, "writeConcern": { "w": "majority" },
        };
        let answer = database.run_command(command).await.map_err(failed)?;
        let answer: Updated = mongodb::bson::deserialize_from_document(answer)
            .map_err(|_| StoreError::Unavailable("the server's answer to an update is not readable".to_owned()))?;
        if let Some(refused) = answer.write_errors.first().or(answer.write_concern_error.as_ref()) {
            return Err(StoreError::Unavailable(format!("code {}: {}", refused.code, refused.errmsg)));
        }
        matched += answer.n;
    }
    Ok(matched)
}

/// What the server says of an `update` command.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Updated {
    n: u64,
    #[serde(default)]
    write_errors: Vec<Refused>,
    write_concern_error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    code: i32,
    #[serde(default)]
    errmsg: String,
}

/// A count as BSON has it. Beyond what fits, no document compares equal.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What the driver says, in one line.
fn told(error: &Error) -> String {
    error.kind.to_string().replace('\n', " ")
}

/// What the driver says of a URL, unless that has the URL's password in it.
fn guarded(url: &StoreUrl, error: &Error) -> String {
    let told = told(error);
    match url.password() {
        Some(password) if told.contains(password) || told.contains(&*url.for_driver()) => {
            "the driver cannot use it".to_owned()
        }
        _ => told,
    }
}
