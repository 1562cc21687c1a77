//! Where a commit writes the log as well.

use domain::Topic;
use domain::stream::BEFORE_FIRST;

use super::*;
use crate::content::{CommitError, Published};
use crate::event_log::contract::{AT_ONCE, LONG};
use crate::event_log::partition_of;

fn a_post() -> StreamId {
    StreamId::Post(post(1))
}

pub(crate) async fn a_commit_is_in_the_log_and_in_no_outbox(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let records = events(a_post(), 0, 3);
    let done = committed(&stores, &commit(a_post(), 0, records.clone())).await;
    let position = done.position.unwrap();
    let partition = partition_of(&records[0].lane, stores.log.partitions());
    assert_eq!((position.log, position.topic, position.partition), (stores.log.id(), Topic::Posts, partition));
    let logged = stores.log.read(Topic::Posts, partition, BEFORE_FIRST, 10, AT_ONCE).await.unwrap();
    assert_eq!(logged.last().unwrap().position, position, "it is the last record's");
    let logged: Vec<_> = logged.into_iter().map(|logged| logged.record.unwrap()).collect();
    assert_eq!(logged, records);

    let published = Some(Published { sequence: 3, position });
    assert_eq!(stores.content.published(a_post()).await.unwrap(), published);
    assert_eq!(stores.content.outbox(a_post()).await.unwrap(), []);
    assert_eq!(pending(&stores, Timestamp::from_millis(i64::MAX), 10).await, []);

    // Without events nothing is published, and nothing changes about what is.
    assert_eq!(committed(&stores, &commit(a_post(), 1, vec![])).await.position, None);
    assert_eq!(stores.content.published(a_post()).await.unwrap(), published);
    let position = committed(&stores, &commit(a_post(), 2, events(a_post(), 3, 1))).await.position.unwrap();
    assert_eq!(stores.content.published(a_post()).await.unwrap(), Some(Published { sequence: 4, position }));
}

pub(crate) async fn a_refused_commit_leaves_nothing_in_the_log(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let first = committed(&stores, &commit(a_post(), 0, events(a_post(), 0, 1))).await.position.unwrap();
    let refused = stores.content.commit(commit(a_post(), 0, events(a_post(), 0, 1))).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    assert_eq!(stores.log.head(first.topic, first.partition).await.unwrap(), first.offset);
    let above = stores.log.read(first.topic, first.partition, first.offset, 10, AT_ONCE).await.unwrap();
    assert_eq!(above, []);
}

pub(crate) async fn a_commit_wakes_readers_of_the_log(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let records = events(a_post(), 0, 1);
    let partition = partition_of(&records[0].lane, stores.log.partitions());
    let mut read = stores.log.read(Topic::Posts, partition, BEFORE_FIRST, 10, LONG);
    assert!(futures::poll!(&mut read).is_pending());
    committed(&stores, &commit(a_post(), 0, records.clone())).await;
    assert_eq!(read.await.unwrap()[0].record.as_ref(), Ok(&records[0]));
}

/// W3
pub(crate) async fn streams_are_in_the_log_in_order(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let write = |number: u16| {
        let stores = stores.clone();
        tokio::spawn(async move {
            // All in one lane, and each in a stream of its own.
            let stream = StreamId::Reaction(post(1), user(number));
            for revision in 0..10 {
                let events = events(stream, revision * 2, 2);
                let done = committed(&stores, &commit(stream, revision, events)).await;
                let published = stores.content.published(stream).await.unwrap().unwrap();
                assert_eq!((published.sequence, Some(published.position)), (done.sequence, done.position));
            }
        })
    };
    for written in futures::future::join_all((0..10).map(write)).await {
        written.unwrap();
    }
    for number in 0..10 {
        let found = events_of(&stores, StreamId::Reaction(post(1), user(number))).await;
        let sequences: Vec<_> = found.iter().map(|record| record.attributes.sequence).collect();
        assert_eq!(sequences, (1..=20).collect::<Vec<_>>());
    }
}
