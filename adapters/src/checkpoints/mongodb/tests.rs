//! The contract, and what only this adapter can be asked: what becomes of operations that end half-way.

use super::*;
use crate::checkpoints::contract;
use crate::mongodb::testing::Place as TestPlace;

mod model;
mod steps;

async fn open() -> (Arc<dyn Checkpoints>, Arc<dyn Checkpoints>, TestPlace) {
    let place = TestPlace::new();
    MongoCheckpoints::migrate(&place.url()).await.unwrap();
    // Connections of their own, as two processes have them.
    let one = MongoCheckpoints::open(&place.url()).await.unwrap();
    let other = MongoCheckpoints::open(&place.url()).await.unwrap();
    (Arc::new(one), Arc::new(other), place)
}

contract::stamp!(open);
