//! What must hold of the connection and of schemas, whatever store they are of.

use std::time::Duration;

use mongodb::bson::doc;

use super::testing::Place;
use super::*;
use crate::stores::Migration;

const SCHEMA: Schema = Schema { store: "things", version: 2 };

#[tokio::test]
async fn a_schema_is_brought_up_to_date_once_and_by_two_at_once() {
    let place = Place::new();
    let unfit = SCHEMA.open(&place.url()).await.unwrap_err();
    assert!(matches!(&unfit, StoreError::Unfit(why) if why.contains("hybrid-live migrate")), "{unfit}");

    let url = place.url();
    let migrate = async || {
        let (database, from) = SCHEMA.begin(&url).await.unwrap();
        SCHEMA.finish(&database, from).await.unwrap()
    };
    for migration in futures::future::join_all((0..8).map(|_| migrate())).await {
        assert_eq!(migration.to, 2);
    }
    assert_eq!(migrate().await, Migration { from: 2, to: 2 });
    SCHEMA.open(&url).await.unwrap();

    // Another store in the same database has its own.
    let other = Schema { store: "others", ..SCHEMA };
    assert!(matches!(other.open(&url).await, Err(StoreError::Unfit(_))));
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let place = Place::new();
    let newer = Schema { version: 3, ..SCHEMA };
    let (database, from) = newer.begin(&place.url()).await.unwrap();
    newer.finish(&database, from).await.unwrap();
    for refused in [SCHEMA.open(&place.url()).await.err(), SCHEMA.begin(&place.url()).await.err()] {
        assert!(matches!(&refused, Some(StoreError::Unfit(why)) if why.contains("version 3")), "{refused:?}");
    }
    // Also by one that had begun before it was there.
    SCHEMA.finish(&database, 0).await.unwrap();
    newer.open(&place.url()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable() {
    let url = StoreUrl::parse("mongodb://ada:secret@127.0.0.1:9/db?serverSelectionTimeoutMS=50").unwrap();
    let error = SCHEMA.open(&url).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn urls_that_cannot_be_used_are_refused_without_their_secrets() {
    for url in [
        "mongodb://ada:secret@127.0.0.1:9",
        "mongodb://ada:secret@127.0.0.1:9/db?spede=1",
        "mongodb://ada:secret@127.0.0.1:9/db?tls=maybe",
        "mongodb://ada:secret@127.0.0.1:hundred/db",
        "mongodb://ada:secret@127.0.0.1:9/d$b",
        "mongodb://ada:secret@127.0.0.1:9/db?authMechanism=secret",
        "mongodb://:secret@127.0.0.1:9/db",
    ] {
        let url = StoreUrl::parse(url).unwrap();
        let refused = tokio::time::timeout(Duration::from_secs(30), database(&url)).await.unwrap();
        let Err(error) = refused else { panic!("{url} is taken") };
        assert!(matches!(error, StoreError::Unfit(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn many_updates_say_how_many_found_something_and_what_was_refused() {
    let place = Place::new();
    let database = place.database().await;
    let statement = |id: i64, upsert: bool| {
        doc! { "q": { "_id": id }, "u": { "$inc": { "times": 1 } }, "upsert": upsert }
    };
    let all: Vec<_> = (0..1500).map(|id| statement(id, id % 2 == 0)).collect();
    assert_eq!(update_all(&database, "things", &all).await.unwrap(), 750);
    assert_eq!(update_all(&database, "things", &[]).await.unwrap(), 0);
    let refused = [doc! { "q": { "_id": 0 }, "u": { "$push": { "times": 1 } } }];
    assert!(update_all(&database, "things", &refused).await.is_err());
}
