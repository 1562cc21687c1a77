//! Which version of its schema a store has: one document per store in the collection `schema`.
//!
//! Every step of a migration can be repeated and done by two at once (indexes that are there are not made again), and
//! the version is raised after the steps, never lowered. So there is no lock that a killed migration could leave behind.

use mongodb::Database;
use mongodb::bson::{RawDocumentBuf, doc};
use serde::Deserialize;

use super::{database, failed, is_duplicate, read};
use crate::StoreError;
use crate::stores::Migration;
use crate::url::StoreUrl;

const COLLECTION: &str = "schema";

/// A store's schema as this version needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    /// Its name in the collection: that of the port.
    pub(crate) store: &'static str,
    /// The version that this program reads and writes.
    pub(crate) version: u32,
}

#[derive(Deserialize)]
struct Stored {
    version: u32,
}

impl Schema {
    /// The database, which has this version.
    ///
    /// # Errors
    /// It has another, or cannot be reached.
    pub(crate) async fn open(&self, url: &StoreUrl) -> Result<Database, StoreError> {
        let database = database(url).await?;
        let there = self.stored(&database).await.map_err(|error| with_manner(url, error))?;
        if there == self.version {
            return Ok(database);
        }
        self.refuse_newer(url, there)?;
        let (store, wanted) = (self.store, self.version);
        let is = if there == 0 { "is not set up".to_owned() } else { format!("has schema version {there}") };
        Err(StoreError::Unfit(format!("{url} {is} for {store}, {wanted} is needed: run `hybrid-live migrate`")))
    }

    /// The database and the version that it has, 0 for none. What follows brings it up to date and ends with
    /// [`Self::finish`].
    ///
    /// # Errors
    /// It is newer than this program.
    pub(crate) async fn begin(&self, url: &StoreUrl) -> Result<(Database, u32), StoreError> {
        let database = database(url).await?;
        let there = self.stored(&database).await.map_err(|error| with_manner(url, error))?;
        self.refuse_newer(url, there)?;
        Ok((database, there))
    }

    /// Records that the database has this version now.
    pub(crate) async fn finish(&self, database: &Database, from: u32) -> Result<Migration, StoreError> {
        let versions = database.collection::<RawDocumentBuf>(COLLECTION);
        loop {
            let raise = doc! { "$max": { "version": i64::from(self.version) } };
            match versions.update_one(doc! { "_id": self.store }, raise).upsert(true).await {
                Ok(_) => return Ok(Migration { from, to: self.version }),
                // Two began with nothing: the other has made the document.
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    async fn stored(&self, database: &Database) -> Result<u32, StoreError> {
        let versions = database.collection::<RawDocumentBuf>(COLLECTION);
        let found = versions.find_one(doc! { "_id": self.store }).await.map_err(failed)?;
        found.map_or(Ok(0), |found| Ok(read::<Stored>(&found)?.version))
    }

    fn refuse_newer(&self, url: &StoreUrl, there: u32) -> Result<(), StoreError> {
        let (store, known) = (self.store, self.version);
        if there <= known {
            return Ok(());
        }
        Err(StoreError::Unfit(format!("{url} has schema version {there} for {store}, this program knows {known}")))
    }
}

/// With a word of how connections are made, for whoever wonders why the server ends them: it does not say.
fn with_manner(url: &StoreUrl, error: StoreError) -> StoreError {
    let wants_tls = ["tls", "ssl"].iter().find_map(|key| url.option(key)) == Some("true");
    match error {
        StoreError::Unavailable(why) if !wants_tls && url.scheme() == "mongodb" => {
            StoreError::Unavailable(format!("{why}; connections are made without TLS"))
        }
        other => other,
    }
}
