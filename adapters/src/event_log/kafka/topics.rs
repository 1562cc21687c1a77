//! The log's topics on the servers: making them, and refusing those that would lose events.
//!
//! Canaries are no events: what is of use for a moment need not be kept for ever, nor is it looked at how long it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Topic;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;

use super::Shared;
use super::connection::{Connection, Context, MAX_RECORD_BYTES, answered, drop_elsewhere, failed, unanswered};
use crate::StoreError;

/// What every topic must say, whatever the servers' own settings are. A copy that lacks acknowledged records never
/// becomes the log.
const SETTINGS: [(&str, &str); 3] = [
    ("cleanup.policy", "delete"),
    ("unclean.leader.election.enable", "false"),
    ("message.timestamp.type", "CreateTime"),
];
/// What every topic with events must say: nothing of them ever goes away.
const KEPT: [(&str, &str); 2] = [("retention.ms", "-1"), ("retention.bytes", "-1")];
/// How canaries go away: after an hour.
const FORGOTTEN: [(&str, &str); 2] = [("retention.ms", "3600000"), ("segment.ms", "3600000")];
const MIN_INSYNC: &str = "min.insync.replicas";
const MAX_MESSAGE: &str = "max.message.bytes";
/// A batch with one record of the greatest size, with room for what the servers add.
const MAX_MESSAGE_BYTES: usize = 2 * MAX_RECORD_BYTES;

impl Connection {
    /// Every topic of the log, and its partitions.
    pub(super) fn log_topics(&self, partitions: u16) -> Vec<(String, u16)> {
        Topic::WITH_CANARIES.into_iter().map(|topic| (self.topic(topic), partitions)).collect()
    }

    fn is_of_canaries(&self, name: &str) -> bool {
        name == self.topic(Topic::Canaries)
    }
}

/// What asks and changes.
pub(super) struct Topics {
    connection: Arc<Connection>,
    admin: Option<AdminClient<Context>>,
    client: Arc<BaseConsumer<Context>>,
}

/// A topic as the servers have it.
struct Found {
    partitions: usize,
    /// Of the partition that has the fewest.
    replicas: usize,
    /// Whether every partition has somebody who takes records.
    led: bool,
}

impl Topics {
    pub(super) fn new(connection: &Arc<Connection>) -> Result<Self, StoreError> {
        let admin = connection.asking().create_with_context::<_, AdminClient<_>>(connection.context.clone());
        let client = connection.asking().create_with_context::<_, BaseConsumer<_>>(connection.context.clone());
        Ok(Self {
            connection: Arc::clone(connection),
            admin: Some(admin.map_err(failed)?),
            client: Arc::new(client.map_err(failed)?),
        })
    }

    /// A client that can be asked.
    pub(super) fn client(&self) -> Arc<BaseConsumer<Context>> {
        Arc::clone(&self.client)
    }

    /// Whether a topic is there.
    pub(super) async fn exists(&self, name: &str) -> Result<bool, StoreError> {
        self.found(name).await.map(|found| found.is_some())
    }

    /// Makes a topic, unless there is one of that name, and waits until it takes records.
    pub(super) async fn create(&self, name: &str, partitions: u16) -> Result<(), StoreError> {
        if self.exists(name).await? {
            return Ok(());
        }
        let replication_factor = self.connection.replication_factor;
        let brokers = self.brokers().await?;
        if brokers < usize::from(replication_factor) {
            return Err(StoreError::Unfit(format!(
                "{} has {brokers} brokers, too few for topics with replication_factor={replication_factor}: set the \
                 option `replication_factor` (and `min_insync_replicas`) of the log's URL to what there is",
                self.connection
            )));
        }
        let (min_insync, largest) = (self.connection.min_insync_replicas.to_string(), MAX_MESSAGE_BYTES.to_string());
        let copies = TopicReplication::Fixed(i32::from(replication_factor));
        let topic = NewTopic::new(name, i32::from(partitions), copies);
        let stay = if self.connection.is_of_canaries(name) { FORGOTTEN } else { KEPT };
        let topic = SETTINGS.iter().chain(&stay).fold(topic, |topic, (key, value)| topic.set(key, value));
        let topic = topic.set(MIN_INSYNC, &min_insync).set(MAX_MESSAGE, &largest);
        let created = self.admin()?.create_topics([&topic], &self.options()).await.map_err(failed)?;
        for created in created {
            match created {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, RDKafkaErrorCode::InvalidReplicationFactor)) => {
                    return Err(StoreError::Unfit(format!(
                        "{name} cannot have replication_factor={replication_factor}: there are too few brokers"
                    )));
                }
                Err((name, code)) => return Err(answered(&name, code)),
            }
        }
        let deadline = Instant::now() + self.connection.timeout.max(Duration::from_secs(15));
        while !self.found(name).await?.is_some_and(|found| found.led) {
            if Instant::now() > deadline {
                return Err(StoreError::Unavailable(format!("kafka: {name} was made, and has no leader yet")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Refuses topics that are not as they must be, and names all that is wrong with them.
    pub(super) async fn check(&self, topics: &[(String, u16)]) -> Result<(), StoreError> {
        let mut wrong = Vec::new();
        for (name, partitions) in topics {
            match self.found(name).await? {
                None => wrong.push(format!("{name} is missing, and with it the events that it had")),
                Some(found) => {
                    if found.partitions != usize::from(*partitions) {
                        let there = found.partitions;
                        wrong.push(format!("{name} has {there} partitions, and the log has {partitions}"));
                    }
                    self.check_copies(name, found.replicas, &mut wrong).await?;
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(StoreError::Unfit(wrong.join("; "))) }
    }

    async fn check_copies(&self, name: &str, replicas: usize, wrong: &mut Vec<String>) -> Result<(), StoreError> {
        let Connection { replication_factor, min_insync_replicas, .. } = *self.connection;
        if replicas < usize::from(replication_factor) {
            wrong.push(format!("{name} has {replicas} replicas, and at least {replication_factor} are wanted"));
        }
        let described = self.admin()?.describe_configs([&ResourceSpecifier::Topic(name)], &self.options()).await;
        let described = described.map_err(failed)?.into_iter().next();
        let described = match described {
            Some(Ok(described)) => described,
            Some(Err(code)) => return Err(answered(&format!("settings of {name}"), code)),
            None => return Err(StoreError::Unavailable(format!("kafka: no settings of {name}"))),
        };
        let setting = |key: &str| described.get(key).and_then(|entry| entry.value.as_deref()).unwrap_or("not set");
        let kept: &[_] = if self.connection.is_of_canaries(name) { &[] } else { &KEPT };
        for (key, wanted) in SETTINGS.iter().chain(kept) {
            let found = setting(key);
            if found != *wanted {
                wrong.push(format!("{name} has {key}={found}, and {key}={wanted} is wanted"));
            }
        }
        let min_insync = setting(MIN_INSYNC);
        let copies = usize::from(min_insync_replicas)..=replicas;
        if !min_insync.parse().is_ok_and(|min_insync: usize| copies.contains(&min_insync)) {
            wrong.push(format!(
                "{name} has {MIN_INSYNC}={min_insync}, and from {min_insync_replicas} to {replicas} are wanted"
            ));
        }
        let largest = setting(MAX_MESSAGE);
        if !largest.parse().is_ok_and(|largest: usize| largest >= MAX_MESSAGE_BYTES) {
            wrong.push(format!("{name} has {MAX_MESSAGE}={largest}, and at least {MAX_MESSAGE_BYTES} is wanted"));
        }
        Ok(())
    }

    async fn found(&self, name: &str) -> Result<Option<Found>, StoreError> {
        let (client, connection, name) = (self.client(), Arc::clone(&self.connection), name.to_owned());
        let ask = move || {
            let metadata = client.fetch_metadata(Some(&name), connection.timeout);
            let metadata = metadata.map_err(|error| unanswered(&client, &connection, error))?;
            // What the client tells beside is heard here.
            while client.poll(Duration::ZERO).is_some() {}
            let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
            match topic.error().map(RDKafkaErrorCode::from) {
                None | Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
                Some(code) => return Err(answered(&name, code)),
            }
            let partitions = topic.partitions();
            Ok(Some(Found {
                partitions: partitions.len(),
                replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default(),
                led: !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0),
            }))
        };
        Shared::blocking(ask).await
    }

    async fn brokers(&self) -> Result<usize, StoreError> {
        let (client, connection) = (self.client(), Arc::clone(&self.connection));
        let life = connection.life_topic();
        let ask = move || {
            let metadata = client.fetch_metadata(Some(&life), connection.timeout).map_err(failed)?;
            Ok(metadata.brokers().len())
        };
        Shared::blocking(ask).await
    }

    fn admin(&self) -> Result<&AdminClient<Context>, StoreError> {
        self.admin.as_ref().ok_or_else(|| StoreError::Unavailable("kafka: closed".to_owned()))
    }

    fn options(&self) -> AdminOptions {
        let timeout = Some(self.connection.timeout);
        AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        drop_elsewhere((self.admin.take(), self.client()));
    }
}
