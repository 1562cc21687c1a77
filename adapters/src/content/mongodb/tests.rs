//! The contract, and what only this adapter can be asked: what becomes of operations that end half-way.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::content::contract::Stores;
use crate::event_log::SqliteEventLog;
use crate::mongodb::testing::Place;
use crate::sqlite::{Durability, TRUTH};

mod claim_steps;
mod outbox_steps;
mod secured;

async fn place() -> (impl AsyncFn() -> Stores, (Arc<Place>, Arc<TempDir>)) {
    let (place, directory) = (Arc::new(Place::new()), Arc::new(tempfile::tempdir().unwrap()));
    MongoContent::migrate(&place.url()).await.unwrap();
    let open = {
        let (place, directory) = (Arc::clone(&place), Arc::clone(&directory));
        async move || {
            let path = directory.path().join("log.db");
            let file = crate::sqlite::Database::open(&path, &TRUTH, Durability::Process).unwrap();
            Stores {
                content: Arc::new(MongoContent::open(&place.url()).await.unwrap()),
                log: Arc::new(SqliteEventLog::open(file, 4).await.unwrap()),
            }
        }
    };
    (open, (place, directory))
}

crate::content::contract::stamp!(contract, super::super::place, apart);
