//! The contract, and what only this adapter can be asked.

use domain::stream::BEFORE_FIRST;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::topics::Topics;
use super::*;
use crate::event_log::contract::{AT_ONCE, LONG, all_of, record};
use crate::event_log::partition_of;

mod secured;

/// The servers that tests share. Each test has topics of its own there.
fn servers() -> String {
    std::env::var("HYBRID_LIVE_TEST_KAFKA").expect("HYBRID_LIVE_TEST_KAFKA: run `eval \"$(tests/services/up)\"` first")
}

const OPTIONS: &str = "replication_factor=1&min_insync_replicas=1&session_timeout_ms=6000&heartbeat_interval_ms=200";

/// Topics of its own, which are deleted in the end.
struct Place {
    url: String,
}

impl Place {
    fn new() -> Self {
        let url = format!("{}/test-{:016x}", servers(), rand::random::<u64>());
        Self { url: format!("{url}?{OPTIONS}") }
    }

    fn url(&self) -> StoreUrl {
        StoreUrl::parse(&self.url).unwrap()
    }

    fn connection(&self) -> Arc<Connection> {
        Arc::new(Connection::new(&self.url()).unwrap())
    }

    async fn open(&self) -> KafkaEventLog {
        KafkaEventLog::open(&self.url()).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connection = self.connection();
        let mut names: Vec<String> = connection.log_topics(1).into_iter().map(|(name, _)| name).collect();
        names.push(connection.life_topic());
        let delete = async move {
            let admin: AdminClient<_> = connection.asking().create_with_context(connection.context.clone()).unwrap();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let _ = admin.delete_topics(&names, &AdminOptions::new()).await;
        };
        let deleted = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(delete);
        });
        deleted.join().unwrap();
    }
}

async fn place() -> (impl AsyncFn() -> Arc<dyn EventLog>, Arc<Place>) {
    let place = Arc::new(Place::new());
    KafkaEventLog::migrate(&place.url(), 4).await.unwrap();
    let outlives = Arc::clone(&place);
    (async move || Arc::new(place.open().await) as Arc<dyn EventLog>, outlives)
}

crate::event_log::contract::stamp!(contract, super::place);
crate::event_log::contract::membership::stamp!(membership_contract, super::place);

/// One raw message, made by nobody of ours.
async fn send_by_hand(
    connection: &Connection,
    topic: &str,
    partition: u16,
    key: Option<&str>,
    value: Option<&[u8]>,
    headers: OwnedHeaders,
) {
    let producer: FutureProducer<Context> =
        connection.appending().create_with_context(connection.context.clone()).unwrap();
    let mut record = FutureRecord::<str, [u8]>::to(topic).partition(i32::from(partition)).headers(headers);
    (record.key, record.payload) = (key, value);
    producer.send(record, LONG).await.unwrap();
}

fn unfit<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unfit(why)) => why,
        other => panic!("not unfit: {other:?}"),
    }
}

#[tokio::test]
async fn a_log_is_set_up_once_however_many_do_it() {
    let place = Place::new();
    let why = unfit(KafkaEventLog::open(&place.url()).await);
    assert!(why.contains("hybrid-live migrate"), "{why}");
    assert!(matches!(KafkaEventLog::migrate(&place.url(), 0).await, Err(StoreError::Unfit(_))));

    let (url, other) = (place.url(), place.url());
    let both = tokio::join!(KafkaEventLog::migrate(&url, 3), KafkaEventLog::migrate(&other, 5));
    let (one, other) = (both.0.unwrap(), both.1.unwrap());
    assert!(one.from == 0 || other.from == 0);
    assert_eq!((one.to, other.to), (2, 2));
    let log = place.open().await;
    assert!([3, 5].contains(&log.partitions()), "{}", log.partitions());
    log.append((0..50).map(|number| record(Topic::Posts, &number.to_string())).collect()).await.unwrap();

    let again = KafkaEventLog::migrate(&place.url(), 9).await.unwrap();
    assert_eq!(again, Migration { from: 2, to: 2 });
    let reopened = place.open().await;
    assert_eq!((reopened.id(), reopened.partitions()), (log.id(), log.partitions()));
}

#[tokio::test]
async fn a_newer_log_is_left_alone() {
    let place = Place::new();
    KafkaEventLog::migrate(&place.url(), 1).await.unwrap();
    let newer =
        br#"{"log":"0000000000000001","partitions":1,"partitioner":"crc32","version":3,"complete":true,"more":1}"#;
    let connection = place.connection();
    send_by_hand(&connection, &connection.life_topic(), 0, None, Some(newer), OwnedHeaders::new()).await;
    for why in [unfit(KafkaEventLog::open(&place.url()).await), unfit(KafkaEventLog::migrate(&place.url(), 1).await)] {
        assert!(why.contains("version 3"), "{why}");
    }
}

#[tokio::test]
async fn a_log_from_before_canaries_gets_their_topic() {
    let place = Place::new();
    let (connection, topics) = (place.connection(), Topics::new(&place.connection()).unwrap());
    topics.create(&connection.life_topic(), 1).await.unwrap();
    for topic in Topic::ALL {
        topics.create(&connection.topic(topic), 2).await.unwrap();
    }
    let old = br#"{"log":"0000000000000001","partitions":2,"partitioner":"crc32","version":1,"complete":true}"#;
    send_by_hand(&connection, &connection.life_topic(), 0, None, Some(old), OwnedHeaders::new()).await;

    let why = unfit(KafkaEventLog::open(&place.url()).await);
    assert!(why.contains("hybrid-live migrate"), "{why}");
    assert_eq!(KafkaEventLog::migrate(&place.url(), 9).await.unwrap(), Migration { from: 1, to: 2 });
    let log = place.open().await;
    assert_eq!((log.id(), log.partitions()), (LogId(1), 2));
    assert_eq!(log.head(Topic::Canaries, 1).await.unwrap(), BEFORE_FIRST);
}

#[tokio::test]
async fn a_topic_that_would_lose_events_is_refused() {
    let place = Place::new();
    KafkaEventLog::migrate(&place.url(), 2).await.unwrap();
    let connection = place.connection();
    let admin: AdminClient<_> = connection.asking().create_with_context(connection.context.clone()).unwrap();
    let topic = connection.topic(Topic::Relations);
    let refused = async |wanted: &[&str]| {
        // The servers take a moment to show what was changed.
        let told = async {
            loop {
                if let Err(StoreError::Unfit(why)) = KafkaEventLog::open(&place.url()).await
                    && wanted.iter().all(|wanted| why.contains(wanted))
                {
                    return why;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, told).await.unwrap_or_else(|_| panic!("no word of {wanted:?}"))
    };
    let settings = [
        ("retention.ms", "1000"),
        ("retention.bytes", "1000000"),
        ("cleanup.policy", "compact"),
        ("unclean.leader.election.enable", "true"),
        ("min.insync.replicas", "2"),
        ("max.message.bytes", "1000"),
    ];
    for (key, value) in settings {
        // Whatever is not named falls back to the servers' own settings.
        let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set(key, value);
        admin.alter_configs([&change], &AdminOptions::new()).await.unwrap();
        let why = refused(&[&topic, &format!("{key}={value}"), "wanted"]).await;
        assert!(!why.contains(&connection.topic(Topic::Posts)), "{why}");
    }
    admin.create_partitions([&NewPartitions::new(&topic, 3)], &AdminOptions::new()).await.unwrap();
    refused(&["has 3 partitions, and the log has 2"]).await;
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    refused(&[&format!("{topic} is missing")]).await;
    // Setting up again does not hide the loss.
    let why = unfit(KafkaEventLog::migrate(&place.url(), 2).await);
    assert!(why.contains("is missing"), "{why}");
}

#[tokio::test]
async fn too_few_brokers_are_told_of() {
    let place = Place::new();
    let url = StoreUrl::parse(place.url.split('?').next().unwrap()).unwrap();
    let why = unfit(KafkaEventLog::migrate(&url, 2).await);
    assert!(why.contains("too few") && why.contains("`replication_factor`"), "{why}");
    KafkaEventLog::migrate(&place.url(), 2).await.unwrap();
    let why = unfit(KafkaEventLog::open(&url).await);
    assert!(why.contains("has 1 replicas, and at least 3 are wanted"), "{why}");
}

#[tokio::test]
async fn servers_that_are_not_there_are_unavailable() {
    // Bound and not listening to the protocol: nobody else answers there meanwhile.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for server in [silent.local_addr().unwrap().to_string(), "127.0.0.1:1".to_owned()] {
        let url = StoreUrl::parse(&format!("kafka://ada:secret@{server}?timeout_ms=1000")).unwrap();
        for result in [KafkaEventLog::open(&url).await.map(drop), KafkaEventLog::migrate(&url, 1).await.map(drop)] {
            match result {
                Err(StoreError::Unavailable(why)) => assert!(!why.contains("secret"), "{why}"),
                other => panic!("not unavailable: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn urls_are_read_strictly_and_nothing_secret_is_shown() {
    let wrong = |query: &str| {
        let url = StoreUrl::parse(&format!("kafka://ada:secret@one:1/name?{query}")).unwrap();
        unfit(Connection::new(&url).map(|_| ()))
    };
    let cases = [
        ("spede=1", "spede"),
        ("sasl=GSSAPI", "`sasl`"),
        ("min_insync_replicas=0", "min_insync_replicas"),
        ("replication_factor=1&min_insync_replicas=2", "min_insync_replicas"),
        ("timeout_ms=5", "timeout_ms"),
        ("session_timeout_ms=6000&heartbeat_interval_ms=5000", "heartbeat_interval_ms"),
        ("tls_ca_file=x", "tls"),
    ];
    for (query, named) in cases {
        let why = wrong(query);
        assert!(why.contains(named) && !why.contains("secret"), "{query}: {why}");
    }
    let url = |text: &str| StoreUrl::parse(text).unwrap();
    assert!(Connection::new(&url("kafka://ada@one")).is_err());
    assert!(Connection::new(&url("kafka://one?sasl=PLAIN")).is_err());
    assert!(Connection::new(&url("kafka://one/a b")).is_err());
    let connection = Connection::new(&url("kafka://ada:secret@one,two:2/pre?tls=true&sasl=PLAIN")).unwrap();
    assert_eq!(connection.to_string(), "kafka://ada@one,two:2/pre");
    assert_eq!(connection.topic(Topic::Posts), "pre.hybrid-live.posts");
    let config = connection.appending();
    let setting = |key: &str| config.get(key).unwrap_or_default().to_owned();
    assert_eq!((setting("security.protocol"), setting("sasl.mechanism")), ("sasl_ssl".into(), "PLAIN".into()));
    let plain = Connection::new(&url("kafka://one")).unwrap();
    assert_eq!(plain.topic(Topic::Users), "hybrid-live.users");
    // The library takes all of it, and so has what it needs for it.
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let connection = Connection::new(&url(&format!("kafka://ada:secret@127.0.0.1:1?tls=true&sasl={mechanism}")));
        let connection = connection.unwrap();
        for config in [connection.appending(), connection.reading(), connection.joining("group")] {
            let client = config.create_with_context::<_, BaseConsumer<_>>(connection.context.clone());
            assert!(client.is_ok(), "{mechanism}: {:?}", client.err());
        }
    }
}

#[tokio::test]
async fn a_damaged_record_is_told_of_and_stops_nothing() {
    let place = Place::new();
    KafkaEventLog::migrate(&place.url(), 1).await.unwrap();
    let (log, connection) = (place.open().await, place.connection());
    let topic = connection.topic(Topic::Posts);
    let good = record(Topic::Posts, "lane");
    let headers = |changed: &str, value: Option<&[u8]>| {
        let whole = records::headers(&good.attributes);
        let others = whole.iter().filter(|header| header.key != changed);
        let others = others.fold(OwnedHeaders::new(), OwnedHeaders::insert);
        if value.is_some() { others.insert(Header { key: changed, value }) } else { others }
    };
    let (key, data) = (Some("lane"), Some(good.data.as_bytes()));
    let damaged = [
        (None, data, headers("", None), "no key"),
        (key, None, headers("", None), "no data"),
        (key, Some(&b"\xff"[..]), headers("", None), "the data"),
        (key, data, headers("ce_id", None), "ce_id"),
        (key, data, headers("ce_actor", Some(b"ada")), "ce_actor"),
        (key, data, headers("ce_sequence", Some(b"-1")), "ce_sequence"),
        (key, data, headers("ce_type", Some(b"post.deleted")), "ce_type"),
        (key, data, headers("ce_specversion", Some(b"0.3")), "ce_specversion"),
        (key, data, headers("ce_time", Some(b"\xff")), "ce_time"),
        (key, data, headers("", None).insert(Header { key: "ce_subject", value: Some("other") }), "ce_subject"),
    ];
    for (key, data, headers, _) in &damaged {
        send_by_hand(&connection, &topic, 0, *key, *data, headers.clone()).await;
    }
    // Headers that nobody knows are others' business.
    send_by_hand(&connection, &topic, 0, key, data, headers("traceparent", Some(b"\xff"))).await;
    log.append(vec![good.clone()]).await.unwrap();
    let read = all_of(&log, Topic::Posts, 0, 100).await;
    assert_eq!(read.len(), damaged.len() + 2);
    for (logged, (key, _, _, named)) in read.iter().zip(&damaged) {
        let wrong = logged.record.as_ref().unwrap_err();
        assert!(wrong.starts_with(named), "{wrong}");
        assert_eq!(logged.lane.as_str(), key.unwrap_or_default());
    }
    assert!(read[damaged.len()..].iter().all(|logged| logged.record.as_ref() == Ok(&good)));
}

#[tokio::test]
async fn one_read_takes_little_into_memory() {
    let place = Place::new();
    KafkaEventLog::migrate(&place.url(), 1).await.unwrap();
    let log = place.open().await;
    let large = |number: usize| Record { data: "x".repeat(100_000), ..record(Topic::Posts, &number.to_string()) };
    log.append((0..100).map(large).collect()).await.unwrap();
    let read = log.read(Topic::Posts, 0, BEFORE_FIRST, 1000, AT_ONCE).await.unwrap();
    let bytes: usize = read.iter().map(|logged| logged.record.as_ref().unwrap().data.len()).sum();
    assert!(bytes > 0 && bytes <= 4 * 1024 * 1024 + 100_000, "{bytes} bytes");
    assert_eq!(all_of(&log, Topic::Posts, 0, 1000).await.len(), 100);
    let too_large = Record { data: "x".repeat(connection::MAX_RECORD_BYTES), ..record(Topic::Posts, "lane") };
    assert!(matches!(log.append(vec![too_large]).await, Err(StoreError::Unfit(_))));
}

#[tokio::test]
async fn a_partition_that_is_not_there_is_no_empty_one() {
    let (open, _outlives) = place().await;
    let log = open().await;
    assert!(log.read(Topic::Posts, 4, BEFORE_FIRST, 1, LONG).await.is_err());
    assert!(log.head(Topic::Posts, 4).await.is_err());
    let member = log.join("group", &[Topic::Posts]).await.unwrap();
    let nowhere = Partition { topic: Topic::Posts, number: 4 };
    assert!(member.read(nowhere, BEFORE_FIRST, 1, LONG).await.is_err());
}

/// Many more readers than there are clients for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_wait_keep_nobody_from_reading() {
    let (open, _outlives) = place().await;
    let (log, other) = (open().await, open().await);
    let expected = record(Topic::Users, "lane");
    let partition = partition_of(&expected.lane, 4);
    let waiting = (0..40).map(|_| log.read(Topic::Users, partition, BEFORE_FIRST, 1, LONG));
    let mut waiting: Vec<_> = waiting.collect();
    for read in &mut waiting {
        assert!(futures::poll!(read).is_pending());
    }
    log.append(vec![record(Topic::Posts, "lane")]).await.unwrap();
    assert_eq!(all_of(&*log, Topic::Posts, partition, 10).await.len(), 1);
    other.append(vec![expected.clone()]).await.unwrap();
    for read in futures::future::join_all(waiting).await {
        assert_eq!(read.unwrap()[0].record.as_ref(), Ok(&expected));
    }
}

/// Servers that fail on demand.
fn failing_servers() -> (MockCluster<'static, DefaultProducerContext>, Arc<Connection>) {
    let servers = MockCluster::new(1).unwrap();
    let url = format!("kafka://{}?timeout_ms=10000", servers.bootstrap_servers());
    let connection = Arc::new(Connection::new(&StoreUrl::parse(&url).unwrap()).unwrap());
    servers.create_topic(&connection.topic(Topic::Posts), 1, 1).unwrap();
    (servers, connection)
}

/// W3.
#[tokio::test]
async fn what_follows_a_failed_record_in_its_lane_is_not_sent() {
    let (servers, connection) = failing_servers();
    let producer = Producer::new(Arc::clone(&connection)).unwrap();
    let lane: Vec<_> = (0..5).map(|_| record(Topic::Posts, "lane")).collect();
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD];
    servers.request_errors(RDKafkaApiKey::Produce, &errors);
    assert!(producer.append(1, &lane).await.is_err());
    // Again, as whoever publishes does.
    let places = producer.append(1, &lane).await.unwrap();
    assert_eq!(places, [1, 2, 3, 4, 5].map(|offset| (0, offset)), "only the first was there");
}

#[tokio::test]
async fn a_producer_that_is_of_no_use_any_more_is_made_anew() {
    let (servers, connection) = failing_servers();
    let fatal = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED];
    servers.request_errors(RDKafkaApiKey::InitProducerId, &fatal);
    let producer = Producer::new(Arc::clone(&connection)).unwrap();
    assert!(producer.append(1, &[record(Topic::Posts, "lane")]).await.is_err());
    assert_eq!(producer.append(1, &[record(Topic::Posts, "lane")]).await.unwrap(), [(0, 0)]);
}
