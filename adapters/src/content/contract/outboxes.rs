//! Where the log is elsewhere: events wait, and leave in order.

use domain::{EventId, LogId, Position, Topic};

use super::*;
use crate::content::{Acknowledgement, Published};

fn at(millis: i64) -> Timestamp {
    NOW.plus_millis(millis)
}

fn stream(number: u16) -> StreamId {
    StreamId::Post(post(number))
}

fn published(sequence: u64, offset: i64) -> Published {
    let position = Position { log: LogId(u64::MAX - 1), topic: Topic::Posts, partition: 3, offset };
    Published { sequence, position }
}

fn acknowledgement(stream: StreamId, records: &[Record], published: Published) -> Acknowledgement {
    let events: Vec<EventId> = records.iter().map(|record| record.attributes.id).collect();
    Acknowledgement { stream, events, published }
}

async fn acknowledge(stores: &Stores, stream: StreamId, records: &[Record], published: Published) {
    stores.content.acknowledge(vec![acknowledgement(stream, records, published)]).await.unwrap();
}

pub(crate) async fn events_wait_in_order(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let (one, other) = (events(stream(1), 0, 12), events(stream(2), 0, 1));
    for (revision, range) in [(0, 0..2), (1, 2..3), (2, 3..12)] {
        let done = committed(&stores, &commit(stream(1), revision, one[range].to_vec())).await;
        assert_eq!(done.position, None);
    }
    committed(&stores, &commit(stream(2), 0, other.clone())).await;
    assert_eq!(stores.content.outbox(stream(1)).await.unwrap(), one);
    assert_eq!(stores.content.outbox(stream(2)).await.unwrap(), other);
    assert_eq!(stores.content.published(stream(1)).await.unwrap(), None);
    assert_eq!(stores.log.head(Topic::Posts, 0).await.unwrap(), domain::stream::BEFORE_FIRST);
}

/// W3: who takes them for all and is wrong, puts them before what waits.
pub(crate) async fn a_commit_says_whether_its_events_are_all_that_waits(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let all = events(stream(1), 0, 7);
    let commit_of = async |revision, records: &[Record]| {
        let done = committed(&stores, &commit(stream(1), revision, records.to_vec())).await;
        assert_eq!((done.revision, done.position), (revision + 1, None));
        done.whole_outbox
    };
    assert_eq!(commit_of(0, &all[..2]).await.as_deref(), Some(&all[..2]));
    assert_eq!(commit_of(1, &all[2..3]).await, None, "the first two are there");
    assert_eq!(commit_of(2, &[]).await, None, "it has none");
    acknowledge(&stores, stream(1), &all[..2], published(2, 1)).await;
    assert_eq!(commit_of(3, &all[3..4]).await, None, "the third is there");
    acknowledge(&stores, stream(1), &all[2..4], published(4, 3)).await;
    assert_eq!(commit_of(4, &all[4..6]).await.as_deref(), Some(&all[4..6]));
    acknowledge(&stores, stream(1), &all[4..6], published(6, 5)).await;
    assert_eq!(commit_of(5, &[]).await, None, "nothing waits");
    assert_eq!(commit_of(6, &all[6..]).await.as_deref(), Some(&all[6..]));
    assert_eq!(stores.content.outbox(stream(1)).await.unwrap(), all[6..]);
}

pub(crate) async fn acknowledged_events_leave_and_a_repeat_changes_nothing(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let (one, other) = (events(stream(1), 0, 3), events(stream(2), 0, 2));
    committed(&stores, &commit(stream(1), 0, one.clone())).await;
    committed(&stores, &commit(stream(2), 0, other.clone())).await;
    let revision = async |number| stores.content.load(stream(number)).await.unwrap().unwrap().revision;
    for _ in 0..2 {
        let both = vec![
            acknowledgement(stream(1), &one[..2], published(2, 40)),
            acknowledgement(stream(2), &other, published(2, 41)),
            // Nobody's, and somebody else's event: both are passed over.
            acknowledgement(stream(9), &one[2..], published(1, 42)),
        ];
        stores.content.acknowledge(both).await.unwrap();
        assert_eq!(stores.content.outbox(stream(1)).await.unwrap(), one[2..]);
        assert_eq!(stores.content.outbox(stream(2)).await.unwrap(), []);
        assert_eq!(stores.content.published(stream(1)).await.unwrap(), Some(published(2, 40)));
        assert_eq!(stores.content.published(stream(2)).await.unwrap(), Some(published(2, 41)));
        assert_eq!(stores.content.published(stream(9)).await.unwrap(), None);
        assert_eq!((revision(1).await, revision(2).await), (1, 1), "a decision that is under way need not be repeated");
    }
    assert_eq!(stores.content.load(stream(9)).await.unwrap(), None);
    // The document goes on where it was.
    let more = events(stream(1), 3, 1);
    committed(&stores, &commit(stream(1), 1, more.clone())).await;
    assert_eq!(stores.content.outbox(stream(1)).await.unwrap(), [&one[2..], &more].concat());
    assert_eq!(stores.content.published(stream(1)).await.unwrap(), Some(published(2, 40)));
}

pub(crate) async fn published_never_moves_backwards(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let one = events(stream(1), 0, 5);
    committed(&stores, &commit(stream(1), 0, one.clone())).await;
    acknowledge(&stores, stream(1), &one[..3], published(3, 30)).await;
    // A second publisher of the same events is late, or has published one of them again.
    for late in [published(1, 5), published(2, 900), published(3, 901)] {
        acknowledge(&stores, stream(1), &one[..late.sequence as usize], late).await;
        assert_eq!(stores.content.published(stream(1)).await.unwrap(), Some(published(3, 30)));
        assert_eq!(stores.content.outbox(stream(1)).await.unwrap(), one[3..]);
    }
    // An offset of another life of the log may well be lower.
    acknowledge(&stores, stream(1), &one[3..], published(5, 0)).await;
    assert_eq!(stores.content.published(stream(1)).await.unwrap(), Some(published(5, 0)));
}

pub(crate) async fn pending_outboxes_come_oldest_first(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let mut outboxes = Vec::new();
    for (number, since) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        let records = events(stream(number), 0, 2);
        // What comes later does not make it younger.
        committed(&stores, &Commit { at: at(since), ..commit(stream(number), 0, records[..1].to_vec()) }).await;
        committed(&stores, &Commit { at: at(100), ..commit(stream(number), 1, records[1..].to_vec()) }).await;
        outboxes.push((since, Outbox { stream: stream(number), records }));
    }
    outboxes.sort_by_key(|(since, _)| *since);
    let outboxes: Vec<_> = outboxes.into_iter().map(|(_, outbox)| outbox).collect();
    assert_eq!(pending(&stores, at(1000), 10).await, outboxes);
    assert_eq!(pending(&stores, at(1000), 2).await, outboxes[..2]);
    assert_eq!(pending(&stores, at(1000), 0).await, []);
    assert_eq!(pending(&stores, at(30), 10).await, outboxes[..2], "what is as old as that is not before it");
    assert_eq!(pending(&stores, at(31), 10).await, outboxes[..3]);
    assert_eq!(pending(&stores, at(10), 10).await, []);
}

pub(crate) async fn acknowledging_part_of_an_outbox_leaves_the_rest_pending(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let records = events(stream(1), 0, 3);
    for (revision, since) in [(0, 10), (1, 20), (2, 30)] {
        let one = vec![records[revision].clone()];
        committed(&stores, &Commit { at: at(since), ..commit(stream(1), revision as u64, one) }).await;
    }
    acknowledge(&stores, stream(1), &records[..1], published(1, 1)).await;
    assert_eq!(pending(&stores, at(20), 10).await, [], "the oldest that is left is from 20");
    let rest = Outbox { stream: stream(1), records: records[1..].to_vec() };
    assert_eq!(pending(&stores, at(21), 10).await, [rest]);
    acknowledge(&stores, stream(1), &records, published(3, 3)).await;
    assert_eq!(pending(&stores, at(1000), 10).await, []);

    let next = events(stream(1), 3, 1);
    committed(&stores, &Commit { at: at(50), ..commit(stream(1), 3, next.clone()) }).await;
    assert_eq!(pending(&stores, at(50), 10).await, []);
    assert_eq!(pending(&stores, at(51), 10).await, [Outbox { stream: stream(1), records: next }]);
}

pub(crate) async fn without_events_nothing_waits(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    committed(&stores, &commit(stream(1), 0, vec![])).await;
    committed(&stores, &commit(stream(1), 1, vec![])).await;
    assert_eq!(pending(&stores, at(1000), 10).await, []);
    assert_eq!(stores.content.outbox(stream(1)).await.unwrap(), []);
}
