//! Consistency tokens: read back, merged, bounded, and waited for (W7).

use std::sync::Arc;
use std::time::Duration;

use domain::event::Schema;
use domain::{CorrelationId, EventId, Lane, LogId, Position, PostId, StreamId, Timestamp, Topic, UserId};
use http::HeaderMap;
use proptest::prelude::*;
use tokio::sync::watch;

use crate::checkpoints::{Partition, Progress};
use crate::content::{Acknowledgement, Commit, Content, Published, SqliteContent};
use crate::event_log::{Attributes, Record};
use crate::http::consistency::{Consistency, HEADER, Token, wait};
use crate::http::problem::Code;
use crate::sqlite::{Database, Durability, TRUTH};

const LOG: LogId = LogId(7);
const OTHER_LOG: LogId = LogId(8);
const READS: &[(&str, &[Topic])] = &[("timelines", &[Topic::Posts, Topic::Relations]), ("engagement", &[Topic::Posts])];
/// Longer than any test waits for what will come.
const PATIENCE: Duration = Duration::from_secs(60);

fn at(topic: Topic, partition: u16, offset: i64) -> Position {
    Position { log: LOG, topic, partition, offset }
}

fn lane(name: &str) -> Lane {
    Lane::new(name)
}

fn post() -> PostId {
    PostId::from_parts(Timestamp::from_millis(1_700_000_000_000), [3; 10])
}

/// What projections have done: name, topic, partition, offset.
fn progress(done: &[(&str, Topic, u16, i64)]) -> Progress {
    let mut progress = Progress::default();
    for (name, topic, number, offset) in done {
        progress.positions.insert(((*name).to_owned(), Partition { topic: *topic, number: *number }), *offset);
    }
    progress
}

struct Truth {
    content: Arc<SqliteContent>,
    _directory: tempfile::TempDir,
}

impl Truth {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::open(&directory.path().join("truth.db"), &TRUTH, Durability::Process).unwrap();
        Self { content: Arc::new(SqliteContent::open(db, None).unwrap()), _directory: directory }
    }

    /// Writes the post's first event, which the log has not answered for.
    async fn write(&self) -> EventId {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let id = EventId::from_parts(now, [5; 10]);
        let attributes = Attributes {
            id,
            schema: Schema { kind: "post.published".to_owned(), version: 1 },
            subject: StreamId::Post(post()).to_string(),
            sequence: 1,
            time: now,
            actor: UserId::from_parts(now, [6; 10]),
            correlation: CorrelationId::from_parts(now, [7; 10]),
            causation: None,
        };
        let record = Record { topic: Topic::Posts, lane: Lane::post(post()), attributes, data: "{}".to_owned() };
        let commit = Commit {
            stream: StreamId::Post(post()),
            expected_revision: 0,
            state: "{}".to_owned(),
            private: None,
            rendered: None,
            records: vec![record],
            recent_commands: None,
            at: now,
        };
        self.content.commit(commit).await.unwrap();
        id
    }

    async fn publish(&self, event: EventId, position: Position) {
        let published = Published { sequence: 1, position };
        let acknowledgement = Acknowledgement { stream: StreamId::Post(post()), events: vec![event], published };
        self.content.acknowledge(vec![acknowledgement]).await.unwrap();
    }

    async fn wait(&self, token: &Token, progress: watch::Receiver<Progress>, limit: Duration) -> Consistency {
        wait(token, READS, progress, self.content.as_ref(), LOG, limit).await.unwrap()
    }

    /// The verdict on what is done already.
    async fn judge(&self, token: &Token, progress: Progress) -> Consistency {
        let (_sender, receiver) = watch::channel(progress);
        self.wait(token, receiver, Duration::ZERO).await
    }
}

fn unplaced() -> Token {
    Token::of_stream(StreamId::Post(post()), 1, Topic::Posts, Lane::post(post()))
}

#[tokio::test]
async fn what_is_passed_is_current_and_what_is_not_is_behind() {
    let truth = Truth::new();
    let token = Token::at(at(Topic::Posts, 3, 10), lane("a"));
    let both = |timelines, engagement| {
        progress(&[("timelines", Topic::Posts, 3, timelines), ("engagement", Topic::Posts, 3, engagement)])
    };
    assert_eq!(truth.judge(&token, both(10, 11)).await, Consistency::Current);
    assert_eq!(truth.judge(&token, both(9, 11)).await, Consistency::Behind, "every projection counts");
    assert_eq!(truth.judge(&token, both(10, 9)).await, Consistency::Behind);
    assert_eq!(truth.judge(&token, progress(&[("timelines", Topic::Posts, 3, 10)])).await, Consistency::Behind);
    let elsewhere = progress(&[("timelines", Topic::Posts, 2, 99), ("engagement", Topic::Relations, 3, 99)]);
    assert_eq!(truth.judge(&token, elsewhere).await, Consistency::Behind);
    // What the query does not read does not matter.
    let relations = Token::at(at(Topic::Relations, 0, 5), lane("a:b"));
    let seen = progress(&[("timelines", Topic::Relations, 0, 5)]);
    assert_eq!(truth.judge(&relations, seen).await, Consistency::Current, "engagement reads no relations");
    let users = Token::at(at(Topic::Users, 0, 5), lane("a"));
    assert_eq!(truth.judge(&users, Progress::default()).await, Consistency::Current);
    assert_eq!(truth.judge(&Token::default(), Progress::default()).await, Consistency::Current);
}

#[tokio::test]
async fn a_query_waits_for_progress() {
    let truth = Truth::new();
    let (sender, receiver) = watch::channel(Progress::default());
    let token = Token::at(at(Topic::Relations, 0, 5), lane("a:b"));
    let waiting = truth.wait(&token, receiver, PATIENCE);
    tokio::pin!(waiting);
    for offset in 0..5 {
        sender.send(progress(&[("timelines", Topic::Relations, 0, offset)])).unwrap();
        assert!(futures::poll!(waiting.as_mut()).is_pending(), "at {offset}");
    }
    sender.send(progress(&[("timelines", Topic::Relations, 0, 5)])).unwrap();
    assert_eq!(waiting.await, Consistency::Current);
}

#[tokio::test]
async fn waiting_is_bounded() {
    let truth = Truth::new();
    let (sender, receiver) = watch::channel(Progress::default());
    let limit = Duration::from_millis(20);
    let token = Token::at(at(Topic::Posts, 0, 5), lane("a"));
    assert_eq!(truth.wait(&token, receiver.clone(), limit).await, Consistency::Behind);
    assert_eq!(truth.wait(&unplaced(), receiver.clone(), limit).await, Consistency::Behind);
    // Whoever kept track of the progress has gone.
    drop(sender);
    assert_eq!(truth.wait(&token, receiver, PATIENCE).await, Consistency::Behind);
}

#[tokio::test]
async fn a_parked_lane_and_another_log_are_behind_at_once() {
    let truth = Truth::new();
    let mut seen = progress(&[("timelines", Topic::Posts, 3, 99), ("engagement", Topic::Posts, 3, 99)]);
    seen.parked.insert(("engagement".to_owned(), Partition { topic: Topic::Posts, number: 3 }), vec![lane("bad")]);
    let (_sender, receiver) = watch::channel(seen);
    let token = |log, offset, name| Token::at(Position { log, ..at(Topic::Posts, 3, offset) }, lane(name));
    for (token, expected) in [
        (token(LOG, 10, "good"), Consistency::Current),
        (token(LOG, 10, "bad"), Consistency::Behind),
        (token(LOG, 100, "bad"), Consistency::Behind),
        (token(OTHER_LOG, 10, "good"), Consistency::Behind),
    ] {
        assert_eq!(truth.wait(&token, receiver.clone(), PATIENCE).await, expected, "{token:?}");
    }
    // The same for an event whose place is not known.
    let mut seen = Progress::default();
    let partition = Partition { topic: Topic::Posts, number: 1 };
    seen.parked.insert(("timelines".to_owned(), partition), vec![Lane::post(post())]);
    let (_sender, receiver) = watch::channel(seen);
    assert_eq!(truth.wait(&unplaced(), receiver, PATIENCE).await, Consistency::Behind);
}

#[tokio::test]
async fn an_event_that_the_log_has_not_answered_for_is_waited_for_by_its_stream() {
    let truth = Truth::new();
    let event = truth.write().await;
    let done = |offset| progress(&[("timelines", Topic::Posts, 2, offset), ("engagement", Topic::Posts, 2, offset)]);
    assert_eq!(truth.judge(&unplaced(), done(99)).await, Consistency::Behind, "nobody knows where it is");
    let (sender, receiver) = watch::channel(done(3));
    let token = unplaced();
    let waiting = truth.wait(&token, receiver, PATIENCE);
    tokio::pin!(waiting);
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    truth.publish(event, at(Topic::Posts, 2, 4)).await;
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    sender.send(done(4)).unwrap();
    assert_eq!(waiting.await, Consistency::Current);
    let later = Token::of_stream(StreamId::Post(post()), 2, Topic::Posts, Lane::post(post()));
    assert_eq!(truth.judge(&later, done(99)).await, Consistency::Behind, "the second event is not published");
}

#[tokio::test]
async fn a_token_of_many_lanes_forgets_them_and_loses_nothing() {
    let truth = Truth::new();
    let mut token = Token::default();
    for number in 0..100 {
        token.merge(Token::at(at(Topic::Posts, 0, number), lane(&format!("lane {number}").replace(' ', "-"))));
    }
    assert_eq!(Token::parse(&token.to_string()), Ok(token.clone()));
    assert!(token.to_string().len() < 8 * 1024, "{} bytes", token.to_string().len());
    let done = |offset| progress(&[("timelines", Topic::Posts, 0, offset), ("engagement", Topic::Posts, 0, offset)]);
    assert_eq!(truth.judge(&token, done(98)).await, Consistency::Behind);
    assert_eq!(truth.judge(&token, done(99)).await, Consistency::Current);
    let mut parked = done(99);
    parked.parked.insert(("timelines".to_owned(), Partition { topic: Topic::Posts, number: 0 }), vec![lane("lane-1")]);
    assert_eq!(truth.judge(&token, parked).await, Consistency::Behind, "it may be one of the forgotten");
}

#[test]
fn headers_hold_any_number_of_tokens() {
    let first = Token::at(at(Topic::Posts, 1, 10), lane("a"));
    let later = Token::at(at(Topic::Posts, 1, 11), lane("a"));
    let other = Token::at(at(Topic::Posts, 1, 9), lane("b"));
    let mut headers = HeaderMap::new();
    assert_eq!(Token::from_headers(&headers), None);
    headers.append(HEADER, format!("{later} ,{first}, ").parse().unwrap());
    headers.append(HEADER, other.to_string().parse().unwrap());
    let mut merged = later;
    merged.merge(other);
    assert_eq!(Token::from_headers(&headers), Some(Ok(merged)));

    for bad in ["x", "AAAA", "8J+mgA", "\"\"", &"A".repeat(200_000)] {
        let mut headers = headers.clone();
        headers.append(HEADER, bad.parse().unwrap());
        let problem = Token::from_headers(&headers).unwrap().unwrap_err();
        assert_eq!(
            (problem.code, problem.field.as_deref()),
            (Code::InvalidField, Some("Consistency-Token")),
            "{bad:.10}"
        );
    }
}

#[test]
fn a_token_of_too_much_is_refused() {
    // Streams cannot be gathered by partition, so it is them that have to be bounded.
    let streams = |count: u8| {
        let mut token = Token::default();
        for number in 0..count {
            let post = PostId::from_parts(Timestamp::from_millis(1_700_000_000_000), [number; 10]);
            token.merge(Token::of_stream(StreamId::Post(post), 1, Topic::Posts, Lane::post(post)));
        }
        token
    };
    assert_eq!(Token::parse(&streams(200).to_string()), Ok(streams(200)));
    let mut headers = HeaderMap::new();
    for millis in 0..3 {
        let mut token = Token::default();
        for number in 0..200 {
            let post = PostId::from_parts(Timestamp::from_millis(1_700_000_000_000 + millis), [number; 10]);
            token.merge(Token::of_stream(StreamId::Post(post), 1, Topic::Posts, Lane::post(post)));
        }
        headers.append(HEADER, token.to_string().parse().unwrap());
    }
    assert!(Token::from_headers(&headers).unwrap().is_err());
}

fn tokens() -> impl Strategy<Value = Token> {
    let place =
        (0u64..3, 0usize..3, 0u16..3, -1i64..20, "[a-b]{1,2}").prop_map(|(log, topic, partition, offset, name)| {
            Token::at(Position { log: LogId(log), topic: Topic::ALL[topic], partition, offset }, lane(&name))
        });
    let stream = (0u8..4, 1u64..9).prop_map(|(post, sequence)| {
        let post = PostId::from_parts(Timestamp::from_millis(1), [post; 10]);
        Token::of_stream(StreamId::Post(post), sequence, Topic::Posts, Lane::post(post))
    });
    prop::collection::vec(prop_oneof![place, stream], 1..12).prop_map(|tokens| {
        let mut merged = Token::default();
        tokens.into_iter().for_each(|token| merged.merge(token));
        merged
    })
}

proptest! {
    #[test]
    fn tokens_read_back_and_merging_has_no_order(one in tokens(), other in tokens()) {
        prop_assert_eq!(Token::parse(&one.to_string()), Ok(one.clone()));
        let (mut forth, mut back) = (one.clone(), other.clone());
        forth.merge(other.clone());
        back.merge(one.clone());
        prop_assert_eq!(&forth, &back);
        let mut again = forth.clone();
        again.merge(one);
        prop_assert_eq!(again, forth);
    }

    #[test]
    fn no_text_is_a_crash(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for text in [text, BASE64_URL_SAFE_NO_PAD.encode(&bytes)] {
            if let Ok(token) = Token::parse(&text) {
                prop_assert_eq!(Token::parse(&token.to_string()), Ok(token));
            }
        }
    }
}
