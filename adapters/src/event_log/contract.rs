//! What every [`EventLog`] promises. An adapter stamps the rules on itself with [`stamp`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::event::Schema;
use domain::stream::BEFORE_FIRST;
use domain::{CorrelationId, EventId, Lane, Position, Timestamp, Topic, UserId};
use futures::future::join_all;

use super::canary::Canary;
use super::{Attributes, EventLog, Logged, Record, partition_of};

pub(crate) mod membership;

/// Makes a module with a test for every rule. `$place` is an async function that answers, for a new place, what opens
/// the log there (again and again, as restarts do), and what the place must be outlived by.
macro_rules! stamp {
    ($name:ident, $place:path) => {
        $crate::event_log::contract::stamp! {
            $name, $place:
            records_come_back_as_they_were,
            a_record_is_in_the_partition_of_its_lane,
            positions_are_answered_in_the_order_of_the_records,
            the_order_of_a_lane_is_kept,
            reading_goes_on_where_it_was,
            an_empty_read_waits_no_longer_than_it_should,
            a_waiting_read_is_woken_by_its_own_partition,
            a_read_above_the_head_waits_for_what_is_above,
            the_head_is_the_newest_record,
            nothing_appears_at_or_below_what_was_read,
            a_restart_keeps_everything,
            canaries_fly_through,
        }
    };
    // Rules of this module, or of one inside it.
    ($name:ident, $place:path $(, $inside:ident)?: $($rule:ident,)+) => {
        mod $name {
            use $crate::event_log::contract$(::$inside)? as rules;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    let (open, _outlives) = $place().await;
                    rules::$rule(open).await;
                }
            )+
        }
    };
}
pub(crate) use stamp;

pub(crate) const AT_ONCE: Duration = Duration::ZERO;
/// Longer than anything takes: a wait of this length ends by what it waits for, or the test fails.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A record that no other equals.
pub(crate) fn record(topic: Topic, lane: &str) -> Record {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let at = Timestamp::from_millis(1_700_000_000_000 + number as i64);
    Record {
        topic,
        lane: Lane::new(lane),
        attributes: Attributes {
            id: EventId::from_parts(at, random),
            schema: Schema { kind: "post.published".to_owned(), version: 1 },
            subject: format!("post-{lane}"),
            sequence: 1,
            time: at,
            actor: UserId::from_parts(at, random),
            correlation: CorrelationId::from_parts(at, random),
            causation: None,
        },
        data: format!(r#"{{"number":{number}}}"#),
    }
}

/// All that is in a partition, by reads of at most `limit`.
pub(crate) async fn all_of(log: &dyn EventLog, topic: Topic, partition: u16, limit: usize) -> Vec<Logged> {
    let mut all: Vec<Logged> = Vec::new();
    loop {
        let after = all.last().map_or(BEFORE_FIRST, |logged| logged.position.offset);
        let page = log.read(topic, partition, after, limit, AT_ONCE).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn every_partition(log: &dyn EventLog) -> impl Iterator<Item = (Topic, u16)> + use<> {
    let partitions = log.partitions();
    Topic::ALL.into_iter().flat_map(move |topic| (0..partitions).map(move |partition| (topic, partition)))
}

fn records_of(page: &[Logged]) -> Vec<Record> {
    page.iter().map(|logged| logged.record.clone().unwrap()).collect()
}

/// Two lanes of different partitions.
fn lanes_apart(log: &dyn EventLog) -> (String, String) {
    let partition = |lane: &String| partition_of(&Lane::new(lane), log.partitions());
    let mut lanes = (0..).map(|number| format!("lane {number}"));
    let one = lanes.next().unwrap();
    let other = lanes.find(|lane| partition(lane) != partition(&one)).unwrap();
    (one, other)
}

pub(crate) async fn records_come_back_as_they_were(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let mut caused = record(Topic::Posts, "a lane — with more than letters");
    // The greatest there is; `EventId::MAX` is none, and an adapter that writes ids as text cannot read it back.
    caused.attributes.causation = Some(EventId::from_parts(Timestamp::MAX, [0xff; 10]));
    caused.attributes.sequence = i64::MAX as u64;
    caused.attributes.time = Timestamp::from_millis(-1);
    // A newer version's, or nobody's: it is carried all the same.
    let mut strange = record(Topic::Posts, caused.lane.as_str());
    strange.attributes.schema = Schema { kind: "post.levitated".to_owned(), version: u16::MAX };
    strange.attributes.subject = "nothing known".to_owned();
    strange.data = "{ not even JSON \u{1F98A}\0".to_owned();
    let records = vec![caused, strange, record(Topic::Posts, "a lane — with more than letters")];

    let positions = log.append(records.clone()).await.unwrap();
    let first = positions[0];
    let read = log.read(Topic::Posts, first.partition, BEFORE_FIRST, 10, AT_ONCE).await.unwrap();
    assert_eq!(records_of(&read), records);
    assert!(read.iter().all(|logged| logged.lane == records[0].lane));
    assert_eq!(read.iter().map(|logged| logged.position).collect::<Vec<_>>(), positions);
    assert!(log.append(Vec::new()).await.unwrap().is_empty());
}

pub(crate) async fn a_record_is_in_the_partition_of_its_lane(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    assert!(log.partitions() > 1, "rules about partitions need several");
    let mut expected: BTreeMap<(Topic, u16), Vec<Record>> = BTreeMap::new();
    for number in 0..40 {
        for topic in Topic::ALL {
            let record = record(topic, &number.to_string());
            let partition = partition_of(&record.lane, log.partitions());
            expected.entry((topic, partition)).or_default().push(record.clone());
            let position = log.append(vec![record]).await.unwrap()[0];
            assert_eq!((position.log, position.topic, position.partition), (log.id(), topic, partition));
        }
    }
    for (topic, partition) in every_partition(&*log) {
        let found = records_of(&all_of(&*log, topic, partition, 100).await);
        assert_eq!(found, expected.remove(&(topic, partition)).unwrap_or_default());
    }
    assert!(expected.is_empty());
}

pub(crate) async fn positions_are_answered_in_the_order_of_the_records(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let records: Vec<_> = (0..300).map(|n| record(Topic::ALL[n % 3], &(n % 7).to_string())).collect();
    let positions = log.append(records.clone()).await.unwrap();
    assert_eq!(positions.len(), records.len());
    for (record, position) in records.iter().zip(&positions) {
        let Position { topic, partition, offset, .. } = *position;
        let there = log.read(topic, partition, offset - 1, 1, AT_ONCE).await.unwrap();
        assert_eq!((there[0].position, there[0].record.as_ref()), (*position, Ok(record)));
    }
}

pub(crate) async fn the_order_of_a_lane_is_kept(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let lanes = ["one", "two", "three"];
    let mut appended = Vec::new();
    for length in [1, 30, 2, 60] {
        let records: Vec<_> = (0..length).map(|n| record(Topic::Users, lanes[n % 3])).collect();
        log.append(records.clone()).await.unwrap();
        appended.extend(records);
    }
    for lane in lanes.map(Lane::new) {
        let partition = partition_of(&lane, log.partitions());
        let mut found = records_of(&all_of(&*log, Topic::Users, partition, 7).await);
        found.retain(|record| record.lane == lane);
        let expected: Vec<_> = appended.iter().filter(|record| record.lane == lane).cloned().collect();
        assert_eq!(found, expected);
    }
}

pub(crate) async fn reading_goes_on_where_it_was(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let records: Vec<_> = (0..25).map(|_| record(Topic::Posts, "lane")).collect();
    let partition = log.append(records.clone()).await.unwrap()[0].partition;
    for limit in [1, 3, 24, 25, 26, usize::MAX] {
        assert_eq!(records_of(&all_of(&*log, Topic::Posts, partition, limit).await), records, "pages of {limit}");
    }
    let nothing = log.read(Topic::Posts, partition, BEFORE_FIRST, 0, LONG).await.unwrap();
    assert!(nothing.is_empty(), "whoever wants nothing need not wait for it");
}

pub(crate) async fn an_empty_read_waits_no_longer_than_it_should(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    for (topic, partition) in every_partition(&*log) {
        assert!(log.read(topic, partition, BEFORE_FIRST, 10, AT_ONCE).await.unwrap().is_empty());
    }
    let short = Duration::from_millis(1);
    assert!(log.read(Topic::Posts, 0, BEFORE_FIRST, 10, short).await.unwrap().is_empty());
    assert!(log.read(Topic::Posts, 0, i64::MAX, 10, short).await.unwrap().is_empty());
}

pub(crate) async fn a_waiting_read_is_woken_by_its_own_partition(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let (own, other) = lanes_apart(&*log);
    let partition = partition_of(&Lane::new(&own), log.partitions());
    let mut read = log.read(Topic::Posts, partition, BEFORE_FIRST, 10, LONG);
    assert!(futures::poll!(&mut read).is_pending());
    log.append(vec![record(Topic::Posts, &other), record(Topic::Users, &own)]).await.unwrap();
    assert!(futures::poll!(&mut read).is_pending(), "another partition's record has come out");

    let expected = record(Topic::Posts, &own);
    log.append(vec![expected.clone()]).await.unwrap();
    assert_eq!(records_of(&read.await.unwrap()), [expected]);
}

pub(crate) async fn a_read_above_the_head_waits_for_what_is_above(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let first = log.append(vec![record(Topic::Posts, "lane")]).await.unwrap()[0];
    let mut read = log.read(Topic::Posts, first.partition, first.offset, 10, LONG);
    assert!(futures::poll!(&mut read).is_pending());
    let second = record(Topic::Posts, "lane");
    log.append(vec![second.clone()]).await.unwrap();
    assert_eq!(records_of(&read.await.unwrap()), [second]);
}

pub(crate) async fn the_head_is_the_newest_record(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    for (topic, partition) in every_partition(&*log) {
        assert_eq!(log.head(topic, partition).await.unwrap(), BEFORE_FIRST);
    }
    let mut heads = BTreeMap::new();
    for number in 0..30 {
        for position in log.append(vec![record(Topic::Relations, &number.to_string())]).await.unwrap() {
            let before = heads.insert((position.topic, position.partition), position.offset);
            assert!(before < Some(position.offset), "offsets grow");
        }
        for (topic, partition) in every_partition(&*log) {
            let expected = heads.get(&(topic, partition)).copied().unwrap_or(BEFORE_FIRST);
            assert_eq!(log.head(topic, partition).await.unwrap(), expected);
        }
    }
}

/// W6, and the order of lanes, while many append at once.
pub(crate) async fn nothing_appears_at_or_below_what_was_read(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    const WRITERS: usize = 8;
    const APPENDS: usize = 40;
    let log = open().await;
    let write = |writer: usize| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut appended = Vec::new();
            for number in 0..APPENDS {
                // A lane of its own, and one that all share.
                let mut records = vec![record(Topic::Posts, &format!("writer {writer}")), record(Topic::Posts, "all")];
                records.rotate_left(number % 2);
                let positions = log.append(records.clone()).await.unwrap();
                appended.extend(positions.into_iter().zip(records));
            }
            appended
        })
    };
    // One that follows the log from the start misses what appears behind it.
    let follow = |partition: u16| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut seen: Vec<(Position, Record)> = Vec::new();
            loop {
                let after = seen.last().map_or(BEFORE_FIRST, |(position, _)| position.offset);
                let page = log.read(Topic::Posts, partition, after, 5, LONG).await.unwrap();
                assert!(!page.is_empty(), "nobody woke a reader, and there was something to read");
                for Logged { position, record, .. } in page {
                    let record = record.unwrap();
                    if record.data == "end" {
                        return seen;
                    }
                    assert!(seen.last().is_none_or(|(before, _)| before.offset < position.offset));
                    seen.push((position, record));
                }
            }
        })
    };
    let followers: Vec<_> = (0..log.partitions()).map(follow).collect();
    let appended = join_all((0..WRITERS).map(write)).await.into_iter().flat_map(Result::unwrap);
    let appended: Vec<_> = appended.collect();
    let mut unended: BTreeSet<_> = (0..log.partitions()).collect();
    for number in 0.. {
        let mut end = record(Topic::Posts, &format!("end {number}"));
        end.data = "end".to_owned();
        if unended.remove(&partition_of(&end.lane, log.partitions())) {
            log.append(vec![end]).await.unwrap();
        }
        if unended.is_empty() {
            break;
        }
    }
    let seen: BTreeMap<_, _> = join_all(followers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(seen.len(), WRITERS * APPENDS * 2);
    assert_eq!(seen, appended.iter().cloned().collect::<BTreeMap<_, _>>());
    for writer in 0..WRITERS {
        let lane = Lane::new(format!("writer {writer}"));
        let of_lane = |(_, record): &(Position, Record)| (record.lane == lane).then_some(record.attributes.id);
        let in_log: Vec<_> = seen.clone().into_iter().filter_map(|it| of_lane(&it)).collect();
        assert_eq!(in_log, appended.iter().filter_map(of_lane).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_restart_keeps_everything(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let (id, partitions) = (log.id(), log.partitions());
    log.append((0..50).map(|n| record(Topic::Posts, &n.to_string())).collect()).await.unwrap();
    let mut before = Vec::new();
    for (topic, partition) in every_partition(&*log) {
        before.push(all_of(&*log, topic, partition, 100).await);
    }
    drop(log);

    let log = open().await;
    assert_eq!((log.id(), log.partitions()), (id, partitions));
    let mut after = Vec::new();
    for (topic, partition) in every_partition(&*log) {
        let all = all_of(&*log, topic, partition, 100).await;
        let newest = all.last().map_or(BEFORE_FIRST, |logged| logged.position.offset);
        assert_eq!(log.head(topic, partition).await.unwrap(), newest);
        after.push(all);
    }
    assert_eq!(before, after);
    let next = log.append(vec![record(Topic::Posts, "0")]).await.unwrap()[0];
    let newest = after.iter().flatten().filter(|logged| logged.position.partition == next.partition);
    assert!(newest.map(|logged| logged.position.offset).max().unwrap() < next.offset);
}

pub(crate) async fn canaries_fly_through(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let place = Canary::partition(log.partitions());
    let events = log.append(vec![record(Topic::Posts, "lane")]).await.unwrap()[0];
    let mut after = log.head(place.topic, place.number).await.unwrap();
    // More than are kept where only some are.
    for number in 0..150 {
        let attributes = record(place.topic, "").attributes;
        let sent = Canary { id: attributes.id, sender: attributes.correlation };
        log.append(vec![sent.record(attributes.time)]).await.unwrap();
        let read = log.read(place.topic, place.number, after, 2, LONG).await.unwrap();
        assert_eq!(read.len(), 1, "canary {number}");
        assert_eq!(Canary::of(read[0].record.as_ref().unwrap()), sent);
        assert!(read[0].position.offset > after);
        after = read[0].position.offset;
    }
    assert_eq!(open().await.head(place.topic, place.number).await.unwrap(), after);
    assert_eq!(log.head(Topic::Posts, events.partition).await.unwrap(), events.offset);
    assert_eq!(all_of(log.as_ref(), Topic::Posts, events.partition, 10).await.len(), 1, "events stay");
}
