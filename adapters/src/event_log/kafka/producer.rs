//! Appending.
//!
//! Each lane of a call is a chain: a record is sent once the one before it is acknowledged, so whatever fails, a prefix
//! of the lane is there and never n+1 without n (W3). Lanes, and calls, go side by side, and travel together in batches.
//!
//! Idempotence alone would not give that: it orders what one producer sends to a partition, but a record that runs out
//! of time before it is sent is skipped, and what was queued behind it still goes. What it does give: a record that is
//! sent again because its answer was lost neither stands twice nor jumps the queue. After a record whose fate is unknown
//! the library begins a new epoch of the producer by itself; where it cannot (a fatal error), the producer is of no use
//! any more and another takes its place.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Lane, Topic};
use futures::StreamExt as _;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::connection::{Connection, Context, drop_elsewhere, failed};
use super::records;
use crate::StoreError;
use crate::event_log::{Record, partition_of};

/// Lanes of one call that go side by side.
const LANES: usize = 1000;

pub(super) struct Producer {
    connection: Arc<Connection>,
    current: Mutex<FutureProducer<Context>>,
}

/// Where a record goes.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u16,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

impl Producer {
    pub(super) fn new(connection: Arc<Connection>) -> Result<Self, StoreError> {
        let current = Mutex::new(made(&connection)?);
        Ok(Self { connection, current })
    }

    /// Appends and answers partition and offset of every record.
    pub(super) async fn append(&self, partitions: u16, records: &[Record]) -> Result<Vec<(u16, i64)>, StoreError> {
        let mut lanes: BTreeMap<(Topic, &Lane), Vec<usize>> = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            lanes.entry((record.topic, &record.lane)).or_default().push(index);
        }
        let broken = AtomicBool::new(false);
        let mut chains = Vec::with_capacity(lanes.len());
        for ((topic, lane), indices) in lanes {
            chains.push(self.append_lane(records, topic, partition_of(lane, partitions), indices, &broken));
        }
        // To the end also if one fails: once this has answered, nothing of it is under way any more.
        let chains: Vec<_> = futures::stream::iter(chains).buffer_unordered(LANES).collect().await;
        let mut places = vec![None; records.len()];
        for chain in chains {
            for (index, place) in chain? {
                places[index] = Some(place);
            }
        }
        let all: Option<Vec<_>> = places.into_iter().collect();
        all.ok_or_else(|| StoreError::Unavailable("kafka: not all records were sent".to_owned()))
    }

    /// Appends the records at `indices`, which are of one lane, one after the other.
    async fn append_lane(
        &self,
        records: &[Record],
        topic: Topic,
        partition: u16,
        indices: Vec<usize>,
        broken: &AtomicBool,
    ) -> Result<Vec<(usize, (u16, i64))>, StoreError> {
        let topic = self.connection.topic(topic);
        let mut places = Vec::with_capacity(indices.len());
        for index in indices {
            // The caller learns of one failure only, and has to come again anyway.
            if broken.load(Ordering::Relaxed) {
                break;
            }
            let Record { lane, attributes, data, .. } = &records[index];
            let outgoing = Outgoing { topic: &topic, partition, key: lane.as_str(), value: data };
            let appended = self.append_one(outgoing, records::headers(attributes)).await;
            broken.fetch_or(appended.is_err(), Ordering::Relaxed);
            places.push((index, (partition, appended?)));
        }
        Ok(places)
    }

    /// Appends one record and answers its offset.
    pub(super) async fn append_one(&self, outgoing: Outgoing<'_>, headers: OwnedHeaders) -> Result<i64, StoreError> {
        let producer = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Outgoing { topic, partition, key, value } = outgoing;
        // No timestamp of the event's own: old ones, as imports have, would make the servers begin a file for each.
        let record = FutureRecord::to(topic).partition(i32::from(partition)).key(key).payload(value).headers(headers);
        match producer.send(record, self.connection.timeout).await {
            Ok(delivery) if delivery.offset >= 0 => Ok(delivery.offset),
            // A repeat that the server knew to be one, but not of which record.
            Ok(_) => Err(StoreError::Unavailable("kafka: appended, but where is not known".to_owned())),
            Err((error, _)) => {
                if let Some((_, reason)) = producer.client().fatal_error() {
                    self.replace(&producer, &reason);
                }
                Err(failed(error))
            }
        }
    }

    fn replace(&self, broken: &FutureProducer<Context>, reason: &str) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.client().native_ptr() != broken.client().native_ptr() {
            return;
        }
        tracing::warn!(reason, "the producer of the log is of no use any more and is made anew");
        match made(&self.connection) {
            Ok(new) => drop_elsewhere(std::mem::replace(&mut *current, new)),
            Err(error) => tracing::error!(%error, "no new producer of the log"),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        drop_elsewhere(self.current.lock().unwrap_or_else(PoisonError::into_inner).clone());
    }
}

fn made(connection: &Connection) -> Result<FutureProducer<Context>, StoreError> {
    FutureProducer::from_config_and_context(&connection.appending(), connection.context.clone()).map_err(failed)
}
