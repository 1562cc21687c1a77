//! A look into the stores of a system, through the same ports that the system itself uses: so it is the same in every
//! mix.

use std::collections::{BTreeMap, BTreeSet};

use adapters::checkpoints::Generation;
use adapters::content::Document;
use adapters::event_log::Logged;
use adapters::sqlite::Sharing;
use adapters::stores::{self, StoreUrls};
use adapters::timelines::{Order, Span};
use adapters::views::VersionRow;
use domain::stream::BEFORE_FIRST;
use domain::text::Username;
use domain::{Position, PostId, StreamId, Timestamp, Topic, UserId};
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::condition::{PATIENCE, eventually};
use crate::people::Person;

/// Documents, records and outboxes that are asked for at a time.
const PAGE: usize = 1_000;
/// Documents that are loaded at the same time.
const AT_ONCE: usize = 16;

/// The build of the read models that a system begins with, and that no scenario replaces.
const GENERATION: Generation = Generation::FIRST;

/// Open stores. What is in files is as it was written before this was opened, or a moment ago.
#[derive(Clone)]
pub struct Look {
    stores: stores::Stores,
}

/// How far everything is that commands write: unchanged means that a command had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The newest record of each partition.
    pub log: BTreeMap<(&'static str, u16), i64>,
    /// Events that wait for the log.
    pub waiting: usize,
    /// The revision of every document: each change of state or private part raises it.
    pub revisions: BTreeMap<String, u64>,
}

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it is.
    pub position: Position,
    /// The record key.
    pub lane: String,
    /// The type.
    pub kind: String,
    /// The stream.
    pub subject: String,
    /// Its number in the stream.
    pub sequence: u64,
    /// The data.
    pub data: String,
}

impl Look {
    /// Opens the stores. The log must be there already, or be a file that may be made.
    ///
    /// # Panics
    /// When one does not open.
    pub(crate) async fn open(urls: StoreUrls, partitions: u16) -> Self {
        // What is said live is listened to over HTTP, as people do.
        let urls = StoreUrls { cache: "none:".to_owned(), live: "memory:".to_owned(), ..urls };
        let stores = stores::open(&urls, partitions, Sharing::Shared).await.unwrap_or_else(|error| panic!("{error}"));
        Self { stores }
    }

    /// The stores themselves, to ask for what only one scenario wants to know.
    pub fn stores(&self) -> &stores::Stores {
        &self.stores
    }

    /// How far everything is that commands write.
    ///
    /// # Panics
    /// When a store fails.
    pub async fn heads(&self) -> Heads {
        let event_log = &self.stores.event_log;
        let partitions =
            Topic::ALL.into_iter().flat_map(|topic| (0..event_log.partitions()).map(move |at| (topic, at)));
        let head =
            async |(topic, at): (Topic, u16)| ((topic.name(), at), event_log.head(topic, at).await.expect("the head"));
        let log = join_all(partitions.map(head)).await.into_iter().collect();
        let documents = self.documents().await;
        let revisions = documents.into_iter().map(|(stream, document)| (stream.to_string(), document.revision));
        Heads { log, waiting: self.waiting().await, revisions: revisions.collect() }
    }

    /// Events that wait for the log; of very many, some.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn waiting(&self) -> usize {
        let end_of_time = Timestamp::from_millis((1 << 48) - 1);
        let outboxes = self.stores.content.pending_outboxes(end_of_time, PAGE).await.expect("outboxes");
        outboxes.iter().map(|outbox| outbox.records.len()).sum()
    }

    /// The heads once nothing waits for the log any more: until then, what is there still moves without any command.
    ///
    /// # Panics
    /// When it never is so.
    pub async fn settled(&self) -> Heads {
        eventually("the outbox is empty", async || match self.waiting().await {
            0 => Ok(()),
            waiting => Err(format!("{waiting} events wait")),
        })
        .await;
        self.heads().await
    }

    /// Every document, whole, in the order of streams.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn documents(&self) -> Vec<(StreamId, Document)> {
        let mut streams: Vec<StreamId> = Vec::new();
        loop {
            let page = self.stores.content.scan(streams.last().copied(), PAGE).await.expect("documents");
            if page.is_empty() {
                break;
            }
            streams.extend(page.into_iter().map(|(stream, _)| stream));
        }
        let load = |stream| async move {
            let document = self.stores.content.load(stream).await?;
            Ok::<_, adapters::StoreError>((stream, document.expect("documents do not go")))
        };
        futures::stream::iter(streams).map(load).buffered(AT_ONCE).try_collect().await.expect("documents")
    }

    /// The log's events whose type is `kind`, or all, partition by partition.
    ///
    /// # Panics
    /// When the log fails, or holds what cannot be read.
    pub async fn events(&self, kind: Option<&str>) -> Vec<Event> {
        let records = self.records().await.into_iter().map(Event::of);
        records.filter(|event| kind.is_none_or(|kind| event.kind == kind)).collect()
    }

    /// Who has claimed a user name; nobody, where it is no user name.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn owner(&self, name: &str) -> Option<String> {
        let name = Username::parse(name).ok()?;
        let owner = self.stores.content.username_owner(&name).await.expect("an owner or none");
        owner.map(|owner| owner.to_string())
    }

    /// How often an event of a type happened, once nothing waits for the log: one that is in it twice happened once.
    pub async fn happened(&self, kind: &str) -> usize {
        self.settled().await;
        let events = self.events(Some(kind)).await;
        events.into_iter().map(|event| (event.subject, event.sequence)).collect::<BTreeSet<_>>().len()
    }

    /// Whether somebody's home does not reach as far back as it might.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn is_trimmed(&self, owner: &Person) -> bool {
        let all = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };
        let owner = owner.id.parse().expect("an id");
        self.stores.timelines.home(GENERATION, owner, all, 1).await.expect("a home").mark != PostId::MIN
    }

    /// Which of the people are merged by their readers, by id.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn hot(&self, people: &[&Person]) -> Vec<String> {
        let ids: Vec<UserId> = people.iter().map(|person| person.id.parse().expect("an id")).collect();
        let hot = self.stores.views.hot(GENERATION, &ids).await.expect("authors");
        hot.iter().map(ToString::to_string).collect()
    }

    /// What a post or comment said, newest first.
    ///
    /// # Panics
    /// When the store fails, or there is no such stream.
    pub async fn versions(&self, stream: &str) -> Vec<VersionRow> {
        let stream = stream.parse().expect("a stream");
        self.stores.views.versions(GENERATION, stream, None, PAGE).await.expect("versions")
    }

    /// All that the log holds, partition by partition.
    ///
    /// # Panics
    /// When the log fails.
    pub async fn records(&self) -> Vec<Logged> {
        let log = &self.stores.event_log;
        let mut records = Vec::new();
        for topic in Topic::ALL {
            for partition in 0..log.partitions() {
                let head = log.head(topic, partition).await.expect("the head");
                let mut done = BEFORE_FIRST;
                while done < head {
                    let page = log.read(topic, partition, done, PAGE, PATIENCE).await.expect("records");
                    done = page.last().expect("the head is there").position.offset;
                    records.extend(page);
                }
            }
        }
        records
    }
}

impl Heads {
    /// Records in the log, where it has no gaps.
    pub fn events(&self) -> i64 {
        self.log.values().map(|head| head - BEFORE_FIRST).sum()
    }

    /// Documents of one kind of stream, such as `user`.
    pub fn documents(&self, kind: &str) -> usize {
        let is_of_kind = |stream: &&String| stream.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-'));
        self.revisions.keys().filter(is_of_kind).count()
    }
}

impl Event {
    fn of(logged: Logged) -> Self {
        let Logged { position, lane, record } = logged;
        let record = record.unwrap_or_else(|error| panic!("{position:?}: {error}"));
        Self {
            position,
            lane: lane.as_str().to_owned(),
            kind: record.attributes.schema.kind,
            subject: record.attributes.subject,
            sequence: record.attributes.sequence,
            data: record.data,
        }
    }
}
