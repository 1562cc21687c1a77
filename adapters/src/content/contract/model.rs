//! Any sequence of commits and acknowledgements, against a model that keeps everything in lists.

use std::collections::BTreeMap;

use domain::{EventId, LogId, Position, Topic};
use proptest::prelude::*;

use super::*;
use crate::content::{Acknowledgement, CommitError, Document, Published, Rendered, StoredPreview};
use crate::property;

#[derive(Clone, Debug)]
enum Step {
    Commit { stream: usize, lag: u64, events: usize, private: bool, shown: Option<bool>, at: i64 },
    Acknowledge { stream: usize, first: usize, count: usize, offset: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commit = (
        0..4usize,
        prop_oneof![4 => Just(0u64), 1 => 1..3u64],
        0..4usize,
        any::<bool>(),
        any::<Option<bool>>(),
        0..20i64,
    );
    let commit = commit.prop_map(|(stream, lag, events, private, shown, at)| Step::Commit {
        stream,
        lag,
        events,
        private,
        shown,
        at,
    });
    let acknowledge = (0..4usize, 0..3usize, 0..6usize, 0..50i64);
    let acknowledge =
        acknowledge.prop_map(|(stream, first, count, offset)| Step::Acknowledge { stream, first, count, offset });
    prop::collection::vec(prop_oneof![2 => commit, 1 => acknowledge], 0..25)
}

/// A stream as it should be.
#[derive(Clone, Debug, Default)]
struct Expected {
    document: Option<Document>,
    waiting: Vec<(i64, Record)>,
    published: Option<Published>,
    rendered: Option<Rendered>,
    events: Vec<Record>,
}

pub(crate) async fn it_is_as_the_model_says(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    property::for_all(steps(), async |case, steps| {
        // Streams of its own for every case; what is asked about all streams is looked through for them.
        let base = 10 * case.0 as u16;
        let streams = [
            StreamId::Post(post(base)),
            StreamId::Post(post(base + 1)),
            StreamId::User(user(base)),
            StreamId::relation(user(base), user(base + 1)),
        ];
        let mut model: BTreeMap<StreamId, Expected> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Commit { stream, lag, events: count, private, shown, at } => {
                    let stream = streams[stream];
                    let expected = model.entry(stream).or_default();
                    let (revision, sequence) =
                        expected.document.as_ref().map_or((0, 0), |document| (document.revision, document.sequence));
                    let mut commit = commit(stream, revision.wrapping_sub(lag), events(stream, sequence, count));
                    commit.at = NOW.plus_millis(at);
                    commit.private = private.then(|| format!("private {}", commit.state));
                    commit.rendered = shown.filter(|_| matches!(stream, StreamId::Post(_))).map(|shown| Rendered {
                        renderer: 1,
                        html: commit.state.clone(),
                        preview: shown.then(|| commit.state.clone()),
                    });
                    // One that is ahead of the document is no better than one that is behind it.
                    commit.expected_revision = commit.expected_revision.min(1 << 40);
                    let answer = stores.content.commit(commit.clone()).await;
                    if lag > 0 {
                        assert!(matches!(answer, Err(CommitError::Conflict)), "{answer:?}");
                    } else {
                        expected.commit(&commit, &answer.unwrap());
                    }
                }
                Step::Acknowledge { stream, first, count, offset } => {
                    let stream = streams[stream];
                    let expected = model.entry(stream).or_default();
                    let events = expected.events.iter().skip(first).take(count);
                    let Some(newest) = events.clone().next_back() else { continue };
                    let position = Position { log: LogId(1), topic: Topic::Posts, partition: 0, offset };
                    let acknowledgement = Acknowledgement {
                        stream,
                        events: events.map(|record| record.attributes.id).collect(),
                        published: Published { sequence: newest.attributes.sequence, position },
                    };
                    stores.content.acknowledge(vec![acknowledgement.clone()]).await.unwrap();
                    expected.acknowledge(&acknowledgement);
                }
            }
            compare(&stores, &streams, &model).await;
        }
        // Nothing waits for the cases that come after.
        for (stream, mut expected) in model {
            let Some(newest) = expected.events.last() else { continue };
            let position = Position { log: LogId(2), topic: Topic::Posts, partition: 0, offset: 0 };
            let acknowledgement = Acknowledgement {
                stream,
                events: expected.events.iter().map(|record| record.attributes.id).collect(),
                published: Published { sequence: newest.attributes.sequence, position },
            };
            stores.content.acknowledge(vec![acknowledgement.clone()]).await.unwrap();
            expected.acknowledge(&acknowledgement);
            compare(&stores, &[stream], &BTreeMap::from([(stream, expected)])).await;
        }
        assert_eq!(pending(&stores, NOW.plus_millis(1000), 1).await, []);
    });
}

impl Expected {
    fn commit(&mut self, commit: &Commit, committed: &Committed) {
        let before = self.document.clone();
        let document = Document {
            revision: commit.expected_revision + 1,
            sequence: before.as_ref().map_or(0, |document| document.sequence) + commit.records.len() as u64,
            state: commit.state.clone(),
            private: commit.private.clone().or(before.and_then(|document| document.private)),
            recent_commands: Vec::new(),
        };
        assert_eq!((committed.revision, committed.sequence), (document.revision, document.sequence));
        match committed.position {
            Some(position) => self.published = Some(Published { sequence: document.sequence, position }),
            None => {
                let at = commit.at.as_millis();
                self.waiting.extend(commit.records.iter().map(|record| (at, record.clone())));
            }
        }
        self.rendered = commit.rendered.clone().or(self.rendered.take());
        self.events.extend(commit.records.clone());
        self.document = Some(document);
    }

    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) {
        let left: &[EventId] = &acknowledgement.events;
        self.waiting.retain(|(_, record)| !left.contains(&record.attributes.id));
        if self.published.is_none_or(|published| published.sequence < acknowledgement.published.sequence) {
            self.published = Some(acknowledgement.published);
        }
    }
}

async fn compare(stores: &Stores, streams: &[StreamId], model: &BTreeMap<StreamId, Expected>) {
    let content = &stores.content;
    for stream in streams {
        let expected = model.get(stream).cloned().unwrap_or_default();
        assert_eq!(content.load(*stream).await.unwrap(), expected.document.clone());
        assert_eq!(content.published(*stream).await.unwrap(), expected.published);
        let waiting: Vec<_> = expected.waiting.into_iter().map(|(_, record)| record).collect();
        assert_eq!(content.outbox(*stream).await.unwrap(), waiting);
        if let StreamId::Post(post) = stream {
            assert_eq!(content.rendered(*post).await.unwrap(), expected.rendered);
            let preview = expected.rendered.and_then(|rendered| rendered.preview);
            let stored = expected.document.map(|document| StoredPreview { sequence: document.sequence, preview });
            assert_eq!(content.previews(&[*post]).await.unwrap(), [stored]);
        }
    }
    let state = |document: &Document| PublicState { sequence: document.sequence, state: document.state.clone() };
    let states = streams.iter().map(|stream| model.get(stream)?.document.as_ref().map(state));
    assert_eq!(content.states(streams).await.unwrap(), states.collect::<Vec<_>>());

    for before in [5, 15, 100] {
        let since = |expected: &Expected| expected.waiting.first().map(|(at, _)| *at);
        let mut expected: Vec<_> = model.iter().filter_map(|(stream, it)| Some((since(it)?, *stream, it))).collect();
        expected.retain(|(since, _, _)| *since < NOW.plus_millis(before).as_millis());
        expected.sort_by_key(|(since, stream, _)| (*since, stream.to_string()));
        let expected = expected.into_iter().map(|(_, stream, it)| (stream, it.waiting.iter().map(|it| &it.1)));
        let expected = expected.map(|(stream, records)| Outbox { stream, records: records.cloned().collect() });
        let mut found = pending(stores, NOW.plus_millis(before), usize::MAX).await;
        found.retain(|outbox| streams.contains(&outbox.stream));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}
