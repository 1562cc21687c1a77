//! What a like asks of servers, by the bare drivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adapters::event_log::{Record, partition_of};
use domain::event::{SOURCE, SPEC_VERSION};
use domain::{EventId, StreamId, UserId};
use futures::TryStreamExt as _;
use mongodb::bson::{self, Document, RawDocumentBuf, doc};
use mongodb::options::{ClientOptions, IndexOptions, ReadConcern, WriteConcern};
use mongodb::{Collection, Database, IndexModel};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::City;
use crate::CLIENTS;

/// Where the limit writes: nobody else knows of it.
const OWN: &str = "bench.documents";
/// Events that are taken out of outboxes by one command.
const TAKEN_AT_ONCE: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Drivers, and places of their own on the servers.
pub(super) struct Commands {
    database: Database,
    producer: FutureProducer,
    topic: String,
    partitions: u16,
}

/// What one like reads and writes.
pub(super) struct Like {
    post: String,
    relation: String,
    reaction: String,
    document: RawDocumentBuf,
    event: EventId,
    headers: OwnedHeaders,
    record: Record,
}

impl Like {
    /// The one that left this document and this record.
    pub(super) fn new(stream: StreamId, author: UserId, state: &str, record: Record) -> Self {
        let StreamId::Reaction(post, user) = stream else { panic!("{stream} is no reaction") };
        let event = record.attributes.id;
        let at = record.attributes.time.as_millis();
        let waiting = doc! {
            "id": event.to_string(), "at": at, "bytes": 1000_i64,
            "record": bson::serialize_to_bson(&record).expect("a document"),
        };
        let document = doc! {
            "_id": stream.to_string(), "revision": 1_i64, "sequence": 1_i64, "state": state,
            "outbox": [waiting], "outbox_since": at, "outbox_bytes": 1000_i64,
        };
        Self {
            post: StreamId::Post(post).to_string(),
            relation: StreamId::relation(user, author).to_string(),
            reaction: stream.to_string(),
            document: RawDocumentBuf::try_from(&document).expect("a document"),
            event,
            headers: headers(&record),
            record,
        }
    }
}

fn headers(record: &Record) -> OwnedHeaders {
    let attributes = &record.attributes;
    let texts = [
        ("content-type", "application/json".to_owned()),
        ("ce_specversion", SPEC_VERSION.to_owned()),
        ("ce_id", attributes.id.to_string()),
        ("ce_type", attributes.schema.kind.clone()),
        ("ce_source", SOURCE.to_owned()),
        ("ce_subject", attributes.subject.clone()),
        ("ce_time", attributes.time.to_string()),
        ("ce_dataschema", attributes.schema.to_string()),
        ("ce_sequence", attributes.sequence.to_string()),
        ("ce_actor", attributes.actor.to_string()),
        ("ce_correlationid", attributes.correlation.to_string()),
    ];
    texts.iter().fold(OwnedHeaders::new(), |headers, (key, text)| headers.insert(Header { key, value: Some(text) }))
}

/// An event that the log has, as the outbox is told.
struct Acknowledged {
    reaction: String,
    event: EventId,
    partition: u16,
    offset: i64,
}

impl Commands {
    pub(super) async fn open(city: &City) -> Self {
        let urls = city.cluster.store_urls();
        let mut options = ClientOptions::parse(&urls.content).await.expect("a URL");
        options.write_concern = Some(WriteConcern::majority());
        options.read_concern = Some(ReadConcern::majority());
        let client = mongodb::Client::with_options(options).expect("a client");
        let database = client.default_database().expect("the URL names a database");
        let waiting = IndexModel::builder()
            .keys(doc! { "outbox_since": 1 })
            .options(IndexOptions::builder().sparse(true).build())
            .build();
        database.collection::<Document>(OWN).create_index(waiting).await.expect("an index");

        let place = urls.event_log.trim_start_matches("kafka://");
        let (brokers, prefix) = place.split_once('/').expect("brokers and a prefix");
        let prefix = prefix.split('?').next().unwrap_or_default();
        let topic = format!("{prefix}.bench");
        let partitions = city.look.stores().event_log.partitions();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let new = NewTopic::new(&topic, i32::from(partitions), TopicReplication::Fixed(1));
        admin.create_topics([&new], &AdminOptions::new()).await.expect("a topic");
        // As fast as it goes under the same promise.
        let producer = config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "0")
            .create()
            .expect("a producer");
        Self { database, producer, topic, partitions }
    }

    /// Does it for all of them, as many at a time as there are clients; answers how many per second.
    pub(super) async fn run(&self, likes: Vec<Like>) -> f64 {
        let count = likes.len();
        let likes = Arc::new(likes);
        let next = Arc::new(AtomicUsize::new(0));
        let (taken_out, queue) = mpsc::channel(TAKEN_AT_ONCE);
        let taking = tokio::spawn(take_out(self.database.clone(), queue));
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (likes, next, taken_out) = (Arc::clone(&likes), Arc::clone(&next), taken_out.clone());
            let one = One {
                truth: self.database.collection("content.documents"),
                own: self.database.collection(OWN),
                producer: self.producer.clone(),
                topic: self.topic.clone(),
                partitions: self.partitions,
            };
            clients.spawn(async move {
                while let Some(like) = likes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let acknowledged = one.like(like).await;
                    taken_out.send(acknowledged).await.expect("somebody takes them out");
                }
            });
        }
        clients.join_all().await;
        let took = start.elapsed();
        drop(taken_out);
        taking.await.expect("all are taken out");
        count as f64 / took.as_secs_f64()
    }
}

/// One at a time.
struct One {
    truth: Collection<RawDocumentBuf>,
    own: Collection<RawDocumentBuf>,
    producer: FutureProducer,
    topic: String,
    partitions: u16,
}

impl One {
    async fn like(&self, like: &Like) -> Acknowledged {
        let preview = doc! { "rendered.preview": 1 };
        let post = self.truth.find_one(doc! { "_id": &like.post }).projection(preview).await.expect("an answer");
        assert!(post.is_some(), "the post is there");
        let both = doc! { "_id": { "$in": [&like.relation, &like.reaction] } };
        let both = self.own.find(both).projection(doc! { "outbox": 0 }).await.expect("an answer");
        let both: Vec<RawDocumentBuf> = both.try_collect().await.expect("documents");
        assert!(both.is_empty(), "nobody has liked this yet");
        self.own.insert_one(&like.document).await.expect("durable");
        let partition = partition_of(&like.record.lane, self.partitions);
        let record = FutureRecord::to(&self.topic)
            .partition(i32::from(partition))
            .key(like.record.lane.as_str())
            .payload(&like.record.data)
            .headers(like.headers.clone());
        let delivery = self.producer.send(record, TIMEOUT).await.expect("acknowledged");
        Acknowledged { reaction: like.reaction.clone(), event: like.event, partition, offset: delivery.offset }
    }
}

/// Takes events out of outboxes, together with whatever others are acknowledged at the moment.
async fn take_out(database: Database, mut queue: mpsc::Receiver<Acknowledged>) {
    let mut group = Vec::new();
    while queue.recv_many(&mut group, TAKEN_AT_ONCE).await > 0 {
        let count = i64::try_from(group.len()).expect("few");
        let updates: Vec<Document> = group.drain(..).map(update).collect();
        let command = doc! { "update": OWN, "updates": updates, "ordered": false, "writeConcern": { "w": "majority" } };
        let answer = database.run_command(command).await.expect("an answer");
        let found = answer.get_i32("n").map(i64::from).or_else(|_| answer.get_i64("n"));
        assert_eq!(found.ok(), Some(count), "{answer}");
    }
}

fn update(Acknowledged { reaction, event, partition, offset }: Acknowledged) -> Document {
    let others = doc! { "$elemMatch": { "id": { "$nin": [event.to_string()] } } };
    let news = [doc! { "published.sequence": { "$lt": 1_i64 } }, doc! { "published.sequence": { "$exists": false } }];
    doc! {
        "q": { "_id": reaction, "$or": news, "outbox": { "$not": others } },
        "u": {
            "$set": { "published": { "sequence": 1_i64, "position": format!("bench:posts:{partition}:{offset}") } },
            "$unset": { "outbox": "", "outbox_since": "", "outbox_bytes": "" },
        },
    }
}
