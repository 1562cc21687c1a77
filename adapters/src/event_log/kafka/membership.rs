//! A process's place among those that share the log's partitions.
//!
//! Two clients. One is the member of the group: the group assigns it partitions, and it reads none of them, nor commits
//! anything. The other reads, wherever it is told to go on. So a change of the group never moves what is read, and what
//! projections remember is all that says where they are.
//!
//! Members are dynamic. A static one would keep its partitions while its process restarts, and nobody would work on them
//! meanwhile; work that moves costs little, since the next owner goes on at the stored position.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::Topic;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{oneshot, watch};

use super::Shared;
use super::connection::Context;
use super::cursor::{Cursor, reader};
use crate::StoreError;
use crate::checkpoints::Partition;
use crate::event_log::{Logged, Membership};

/// How long the member's thread waits for the group's word before it looks whether it is wanted for something else.
const TURN: Duration = Duration::from_millis(50);
/// Turns before a client that could not be made, or has failed for good, is made anew.
const TURNS_BETWEEN_CLIENTS: u32 = 20;

type Slot = Arc<tokio::sync::Mutex<Option<Cursor>>>;

pub(super) struct Member {
    // Dropped before the other, so that its thread is the last to hold the clients and ends them.
    held: Arc<Held>,
    orders: Sender<oneshot::Sender<()>>,
}

struct Held {
    log: Arc<Shared>,
    assigned: watch::Sender<BTreeSet<Partition>>,
    reader: Arc<BaseConsumer<Context>>,
    slots: Mutex<HashMap<Partition, Slot>>,
}

impl Member {
    pub(super) fn join(log: Arc<Shared>, group: &str, topics: &[Topic]) -> Result<Self, StoreError> {
        let reader = reader(&log.connection)?;
        let held = Held { log, assigned: watch::Sender::default(), reader, slots: Mutex::default() };
        let held = Arc::new(held);
        let (orders, received) = std::sync::mpsc::channel();
        let turns = Turns { held: Arc::clone(&held), group: group.to_owned(), topics: topics.to_vec(), client: None };
        std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || turns.run(&received))
            .map_err(|error| StoreError::Unavailable(format!("no thread for a member of a group: {error}")))?;
        Ok(Self { held, orders })
    }
}

#[async_trait]
impl Membership for Member {
    fn assigned(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.held.assigned.subscribe()
    }

    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        let is_assigned = self.held.assigned.borrow().contains(&partition);
        // Of what is another's by now, and where nothing but what is there counts, there is no place worth keeping.
        if !is_assigned || wait.is_zero() {
            return self.held.log.read(partition, after, limit, wait).await;
        }
        self.held.log.heads.of(partition)?;
        let slot =
            Arc::clone(self.held.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(partition).or_default());
        let mut cursor = slot.lock().await;
        let cursor = cursor.get_or_insert_with(|| {
            Cursor::new(
                Arc::clone(&self.held.reader),
                self.held.log.source(partition),
                self.held.log.connection.timeout,
            )
        });
        match cursor.read(after, limit, wait).await {
            // There may be no such offset yet.
            Err(StoreError::Damaged(damage)) => {
                if after < self.held.log.head(partition).await? {
                    return Err(StoreError::Damaged(damage));
                }
                self.held.log.read(partition, after, limit, wait).await
            }
            read => read,
        }
    }

    async fn leave(&self) {
        self.held.assigned.send_replace(BTreeSet::new());
        let (done, left) = oneshot::channel();
        if self.orders.send(done).is_ok() {
            let _ = tokio::time::timeout(self.held.log.connection.timeout, left).await;
        }
    }
}

/// What the member's thread does.
struct Turns {
    held: Arc<Held>,
    group: String,
    topics: Vec<Topic>,
    client: Option<BaseConsumer<Assignments>>,
}

impl Turns {
    fn run(mut self, orders: &Receiver<oneshot::Sender<()>>) {
        let (mut is_member, mut wait) = (true, 0_u32);
        loop {
            // With a client, that is what this thread waits on.
            let order = if self.client.is_some() {
                orders.try_recv()
            } else {
                orders.recv_timeout(TURN).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                })
            };
            match order {
                Ok(done) => {
                    is_member = false;
                    self.end_client();
                    let _ = done.send(());
                }
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {}
            }
            if is_member && self.client.is_none() && wait == 0 {
                self.client = self.new_client();
                wait = TURNS_BETWEEN_CLIENTS;
            }
            wait = wait.saturating_sub(1);
            if let Some(client) = &self.client {
                // Changes of the assignment are told inside. Whatever else is there, is of no use to us.
                drop(client.poll(TURN));
                if let Some((_, reason)) = client.client().fatal_error() {
                    tracing::warn!(reason, group = self.group, "the place in the group is lost");
                    self.end_client();
                }
            }
            while self.held.reader.poll(Duration::ZERO).is_some() {}
            self.give_up_others();
        }
        self.end_client();
    }

    fn new_client(&self) -> Option<BaseConsumer<Assignments>> {
        let connection = &self.held.log.connection;
        let names: Vec<_> = self.topics.iter().map(|topic| (connection.topic(*topic), *topic)).collect();
        let context = Assignments {
            context: connection.context.clone(),
            names: names.clone(),
            assigned: self.held.assigned.clone(),
        };
        let client = connection.joining(&self.group).create_with_context::<_, BaseConsumer<_>>(context);
        let joined = client.and_then(|client| {
            client.subscribe(&names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>())?;
            Ok(client)
        });
        joined.inspect_err(|error| tracing::warn!(%error, group = self.group, "no place in the group")).ok()
    }

    /// Leaves the group. Others take over at once.
    fn end_client(&mut self) {
        drop(self.client.take());
        self.held.assigned.send_replace(BTreeSet::new());
    }

    /// Reads on in nothing that is another's by now.
    fn give_up_others(&self) {
        let assigned = self.held.assigned.borrow().clone();
        let slots = self.held.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, slot) in slots.iter().filter(|(partition, _)| !assigned.contains(partition)) {
            // One that is in use is given up at another turn.
            if let Ok(mut cursor) = slot.try_lock() {
                *cursor = None;
            }
        }
    }
}

/// Keeps what is assigned up to date.
struct Assignments {
    context: Context,
    names: Vec<(String, Topic)>,
    assigned: watch::Sender<BTreeSet<Partition>>,
}

impl Assignments {
    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let partition = |name: &str, number: i32| {
            let (_, topic) = self.names.iter().find(|(other, _)| other == name)?;
            Some(Partition { topic: *topic, number: u16::try_from(number).ok()? })
        };
        list.elements().iter().filter_map(|element| partition(element.topic(), element.partition())).collect()
    }
}

impl ClientContext for Assignments {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for Assignments {
    fn rebalance(&self, client: &BaseConsumer<Self>, change: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = self.partitions(list);
        let changed = if change == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // From anywhere, so that nobody is asked where; and paused, so that nothing is read.
            let taken = list
                .set_all_offsets(Offset::Offset(0))
                .and_then(|()| client.incremental_assign(list))
                .and_then(|()| client.pause(list));
            self.assigned.send_modify(|assigned| assigned.extend(partitions));
            taken
        } else {
            // Told before the group hears that we have let go.
            self.assigned.send_modify(|assigned| assigned.retain(|partition| !partitions.contains(partition)));
            client.incremental_unassign(list)
        };
        if let Err(error) = changed {
            tracing::warn!(%error, "a change of the group's assignment failed");
        }
    }
}
