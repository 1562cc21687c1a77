//! What the MongoDB adapters share: the connection, and what errors mean.
//!
//! Nothing but atomic updates of single documents is asked of the server. Everything is written to a majority and read
//! from the primary: a fill or a compare-and-set that read from a secondary could see what is no longer so.

use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use mongodb::{Client, Database};

use crate::StoreError;
use crate::url::StoreUrl;

/// How long a call waits for a server that can answer it.
const SELECTION: Duration = Duration::from_secs(5);
/// The server's code for a key that is there already.
const DUPLICATE_KEY: i32 = 11000;

/// The database that a URL names: `mongodb://host,host/database?replicaSet=…`, with the options that MongoDB's
/// connection strings have. Connects when it is first used.
///
/// # Errors
/// The URL names no database, or its options are wrong.
pub(crate) async fn database(url: &StoreUrl) -> Result<Database, StoreError> {
    if url.name().is_empty() {
        return Err(StoreError::Unfit(format!("{url} names no database: add `/NAME`")));
    }
    let options = ClientOptions::parse(url.for_driver().as_str()).await;
    let mut options =
        options.map_err(|error| StoreError::Unfit(format!("{url} is not a good URL: {}", told(&error))))?;
    options.app_name.get_or_insert_with(|| "hybrid-live".to_owned());
    options.server_selection_timeout.get_or_insert(SELECTION);
    options.connect_timeout.get_or_insert(SELECTION);
    options.write_concern = Some(WriteConcern::majority());
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let client = Client::with_options(options);
    let client = client.map_err(|error| StoreError::Unfit(format!("{url} cannot be used: {}", told(&error))))?;
    Ok(client.database(url.name()))
}

/// What a driver's error means to callers.
pub(crate) fn failed(error: Error) -> StoreError {
    match *error.kind {
        ErrorKind::BsonDeserialization(_) => StoreError::Damaged(told(&error)),
        _ => StoreError::Unavailable(told(&error)),
    }
}

/// Whether a write was refused because its unique key is there already.
pub(crate) fn is_duplicate(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// What the driver says, in one line.
fn told(error: &Error) -> String {
    error.kind.to_string().replace('\n', " ")
}
