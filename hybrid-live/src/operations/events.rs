//! Reading the log as people do: filtered, in the order of time, as CloudEvents' structured JSON.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::codec::{Codec, OpenError};
use adapters::event_log::{EventLog, Logged, Record};
use domain::event::{SOURCE, SPEC_VERSION};
use domain::stream::BEFORE_FIRST;
use domain::{CorrelationId, EventId, Lane, Position, Timestamp, Topic, UserId};
use futures::future::select_all;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Records read from one partition at a time.
const PAGE: usize = 128;
/// How long the end of the log is waited at before it is looked at again.
const WAIT: Duration = Duration::from_secs(1);

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the first event of every partition.
    Beginning,
    /// At these positions, in their partitions only.
    Positions(Vec<Position>),
    /// At the events of this time and later.
    Time(Timestamp),
}

impl std::str::FromStr for Start {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(time) = text.parse() {
            return Ok(Self::Time(time));
        }
        let positions: Option<Vec<Position>> = text.split(',').map(|position| position.parse().ok()).collect();
        positions
            .map(Self::Positions)
            .ok_or("neither a position, such as 00f3a91c5be2d407-p3-128, nor an RFC 3339 time")
    }
}

/// Which events are shown. An empty list is no condition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Types, such as `post.published`.
    pub(crate) types: Vec<String>,
    /// Streams, in their text form.
    pub(crate) streams: Vec<String>,
    /// Topics.
    pub(crate) topics: Vec<Topic>,
}

impl Filter {
    fn wants(&self, logged: &Logged, since: Option<Timestamp>) -> bool {
        // What is damaged is shown wherever no condition speaks of what cannot be known.
        let Ok(Record { attributes, .. }) = &logged.record else {
            return self.types.is_empty() && self.streams.is_empty();
        };
        (self.types.is_empty() || self.types.contains(&attributes.schema.kind))
            && (self.streams.is_empty() || self.streams.contains(&attributes.subject))
            && since.is_none_or(|since| attributes.time >= since)
    }
}

/// An event as it is shown. Optional members are missing where the record is damaged.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EventLine {
    /// Where it is.
    pub(crate) position: Position,
    /// Its lane.
    pub(crate) lane: Lane,
    /// Why this version cannot read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unreadable: Option<String>,
    /// The event, in CloudEvents' structured form.
    #[serde(flatten)]
    #[schema(value_type = CloudEvent)]
    pub(crate) event: Option<CloudEvent>,
}

/// CloudEvents' structured form, also of events whose type is unknown here. In the document no member is required: of a
/// damaged record there is none.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CloudEvent {
    #[schema(required = false)]
    specversion: &'static str,
    #[schema(required = false)]
    id: EventId,
    #[schema(required = false)]
    source: &'static str,
    #[serde(rename = "type")]
    #[schema(required = false)]
    kind: String,
    #[schema(required = false)]
    subject: String,
    #[schema(required = false)]
    time: Timestamp,
    #[schema(required = false)]
    dataschema: String,
    #[schema(required = false)]
    sequence: u64,
    #[schema(required = false)]
    actor: UserId,
    #[schema(required = false)]
    correlationid: CorrelationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<EventId>,
    #[schema(required = false)]
    data: Value,
}

/// A record as it is shown; with `reveal`, what people wrote is opened.
pub(crate) async fn line(codec: &Codec, logged: Logged, reveal: bool) -> Result<EventLine, StoreError> {
    let Logged { position, lane, record } = logged;
    let record = match record {
        Ok(record) => record,
        Err(damage) => return Ok(EventLine { position, lane, unreadable: Some(damage), event: None }),
    };
    let parsed = codec.parse(&record);
    let Record { attributes, data, .. } = record;
    // What is no JSON is shown as the text that it is.
    let mut data = serde_json::from_str(&data).unwrap_or(Value::String(data));
    let unreadable = match parsed {
        Err(error) => Some(error.to_string()),
        Ok(mut envelope) if reveal => match codec.open(&mut envelope).await {
            Ok(()) => {
                let text = envelope.event.sealed_part().and_then(|(_, part)| part.plaintext());
                if let (Some(text), Some(sealed)) = (text, sealed_member(&mut data)) {
                    *sealed = serde_json::from_slice(&text).unwrap_or_default();
                }
                None
            }
            // It stays as it is, and is no fault.
            Err(OpenError::Erased) => None,
            Err(OpenError::Permanent(reason)) => Some(reason),
            Err(OpenError::Unavailable(error)) => return Err(error),
        },
        Ok(_) => None,
    };
    let event = CloudEvent {
        specversion: SPEC_VERSION,
        id: attributes.id,
        source: SOURCE,
        dataschema: attributes.schema.to_string(),
        kind: attributes.schema.kind,
        subject: attributes.subject,
        time: attributes.time,
        sequence: attributes.sequence,
        actor: attributes.actor,
        correlationid: attributes.correlation,
        causationid: attributes.causation,
        data,
    };
    Ok(EventLine { position, lane, unreadable, event: Some(event) })
}

/// The one member of an event's data that is sealed: an object of a key's owner and a box.
fn sealed_member(data: &mut Value) -> Option<&mut Value> {
    let is_sealed = |value: &Value| {
        value
            .as_object()
            .is_some_and(|object| object.len() == 2 && object.contains_key("key") && object.contains_key("box"))
    };
    data.as_object_mut()?.values_mut().find(|value| is_sealed(value))
}

/// Goes through the log: each partition in its order, and all of them merged by time as far as that allows.
pub(crate) struct Reader {
    log: Arc<dyn EventLog>,
    filter: Filter,
    since: Option<Timestamp>,
    partitions: Vec<Reading>,
}

/// One partition, as far as it is read.
struct Reading {
    topic: Topic,
    number: u16,
    /// The newest offset that was looked at.
    after: i64,
    /// Events that are wanted and not shown yet.
    waiting: VecDeque<Logged>,
    /// There was nothing more when it was last looked at.
    has_ended: bool,
}

impl Reading {
    fn new(topic: Topic, number: u16, after: i64) -> Self {
        Self { topic, number, after, waiting: VecDeque::new(), has_ended: false }
    }
}

impl Reader {
    /// # Errors
    /// The position is not of this log.
    pub(crate) fn new(log: Arc<dyn EventLog>, filter: Filter, from: &Start) -> Result<Self, String> {
        let mut reader = Self { partitions: Vec::new(), since: None, log, filter };
        let wanted = |topic: Topic| reader.filter.topics.is_empty() || reader.filter.topics.contains(&topic);
        match from {
            Start::Positions(positions) => {
                for &Position { log, topic, partition, offset } in positions {
                    if log != reader.log.id() {
                        return Err(format!("the position is of log {log}, and this is log {}", reader.log.id()));
                    }
                    let count = reader.log.partitions();
                    if partition >= count {
                        return Err(format!(
                            "the topic has {count} partitions, and there is none with number {partition}"
                        ));
                    }
                    if wanted(topic) {
                        let after = offset.saturating_sub(1).max(BEFORE_FIRST);
                        reader.partitions.push(Reading::new(topic, partition, after));
                    }
                }
            }
            Start::Beginning | Start::Time(_) => {
                for topic in Topic::ALL.into_iter().filter(|topic| wanted(*topic)) {
                    for number in 0..reader.log.partitions() {
                        reader.partitions.push(Reading::new(topic, number, BEFORE_FIRST));
                    }
                }
            }
        }
        if let Start::Time(time) = from {
            reader.since = Some(*time);
        }
        Ok(reader)
    }

    /// The next event; `None` at the log's present end, or after having passed over `budget` records.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) async fn next(&mut self, budget: &mut usize) -> Result<Option<Logged>, StoreError> {
        for reading in &mut self.partitions {
            while reading.waiting.is_empty() && !reading.has_ended && *budget > 0 {
                let Reading { topic, number, after, waiting, has_ended } = reading;
                let page = self.log.read(*topic, *number, *after, PAGE, Duration::ZERO).await?;
                *has_ended = page.is_empty();
                let Some(last) = page.last() else { break };
                *after = last.position.offset;
                let wanted = |logged: &Logged| self.filter.wants(logged, self.since);
                // What comes after a wanted one is looked at again by whoever goes on at `rest`: only what need not be
                // is paid for, so that each budget leads somewhere.
                *budget = budget.saturating_sub(page.iter().take_while(|logged| !wanted(logged)).count());
                waiting.extend(page.into_iter().filter(wanted));
            }
            if reading.waiting.is_empty() && !reading.has_ended {
                // There may be an older one where nobody has looked.
                return Ok(None);
            }
        }
        let first = |reading: &Reading| reading.waiting.front().map(when);
        let oldest =
            self.partitions.iter_mut().filter(|reading| !reading.waiting.is_empty()).min_by_key(|one| first(one));
        Ok(oldest.and_then(|reading| reading.waiting.pop_front()))
    }

    /// Waits for something new.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) async fn wait(&mut self) -> Result<(), StoreError> {
        for reading in &mut self.partitions {
            reading.has_ended = false;
        }
        let reads =
            self.partitions.iter().map(|reading| self.log.read(reading.topic, reading.number, reading.after, 1, WAIT));
        if self.partitions.is_empty() {
            tokio::time::sleep(WAIT).await;
            return Ok(());
        }
        let (first, _, _) = select_all(reads).await;
        first.map(drop)
    }

    /// Where to go on, for [`Start::Positions`].
    pub(crate) fn rest(&self) -> String {
        let next = |reading: &Reading| {
            let offset = reading.waiting.front().map_or(reading.after + 1, |logged| logged.position.offset);
            let Reading { topic, number, .. } = *reading;
            Position { log: self.log.id(), topic, partition: number, offset }.to_string()
        };
        self.partitions.iter().map(next).collect::<Vec<_>>().join(",")
    }
}

/// By time; what is damaged comes at once, so that it holds nothing up.
fn when(logged: &Logged) -> Timestamp {
    logged.record.as_ref().map_or(Timestamp::MIN, |record| record.attributes.time)
}
