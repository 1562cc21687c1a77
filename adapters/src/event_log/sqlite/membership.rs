//! A process's place among those that share the log's partitions.
//!
//! Who is alone at work on the file has all partitions and writes nothing. Otherwise members are rows of the log's file:
//! each renews its own about every second, and reads out of all rows, by one rule, what is its own. A row that was not
//! renewed in time counts for nothing. Two members may see different rows for a moment, and so one partition be at both:
//! the owner epoch decides then (P2).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Timestamp, Topic};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::SqliteEventLog;
use crate::StoreError;
use crate::checkpoints::Partition;
use crate::event_log::{EventLog, Logged, Membership};
use crate::http::clock;
use crate::sqlite::{Database, Sharing};

mod division;
#[cfg(test)]
mod tests;

use division::share_of;

/// How often a member looks who else is there.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a member renews its row.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long a row counts that is not renewed: several renewals may be late, behind a disk that is busy.
const LIFE: Duration = Duration::from_secs(5);

/// Joins a group in the way that fits the file.
pub(super) async fn join(
    log: &SqliteEventLog,
    group: &str,
    topics: &[Topic],
) -> Result<Box<dyn Membership>, StoreError> {
    match log.database().sharing() {
        Sharing::Alone | Sharing::Visiting => Ok(Box::new(SoleMember::new(log.clone(), topics))),
        Sharing::Shared => Ok(Box::new(Member::join(log.clone(), group, topics).await?)),
    }
}

/// The only member: everything is its own until it leaves.
struct SoleMember {
    log: SqliteEventLog,
    assigned: watch::Sender<BTreeSet<Partition>>,
}

impl SoleMember {
    fn new(log: SqliteEventLog, topics: &[Topic]) -> Self {
        let numbers = 0..log.partitions();
        let all = topics.iter().flat_map(|&topic| numbers.clone().map(move |number| Partition { topic, number }));
        Self { log, assigned: watch::Sender::new(all.collect()) }
    }
}

#[async_trait]
impl Membership for SoleMember {
    fn assigned(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.assigned.subscribe()
    }

    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        self.log.read(partition.topic, partition.number, after, limit, wait).await
    }

    async fn leave(&self) {
        self.assigned.send_replace(BTreeSet::new());
    }
}

/// One of several members. Dropping it ends the renewals and leaves the row to expire.
struct Member {
    log: SqliteEventLog,
    seat: Seat,
    assigned: Arc<watch::Sender<BTreeSet<Partition>>>,
    /// Renews the row; `None` once this has left.
    keeper: Mutex<Option<Keeper>>,
}

/// The task that renews the row. It ends when `stop` goes.
struct Keeper {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Member {
    async fn join(log: SqliteEventLog, group: &str, topics: &[Topic]) -> Result<Self, StoreError> {
        let topics = Topic::WITH_CANARIES.into_iter().filter(|topic| topics.contains(topic)).collect();
        let own = Row { member: rand::random(), topics };
        let db = Arc::clone(log.database());
        let seat = Seat { db, group: group.to_owned(), own, partitions: log.partitions() };
        let began = Instant::now();
        let assigned = Arc::new(watch::Sender::new(seat.share(&seat.renew().await?)));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(keep(seat.clone(), Arc::clone(&assigned), began, stopped));
        Ok(Self { log, seat, assigned, keeper: Mutex::new(Some(Keeper { stop, task })) })
    }
}

#[async_trait]
impl Membership for Member {
    fn assigned(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.assigned.subscribe()
    }

    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        self.log.read(partition.topic, partition.number, after, limit, wait).await
    }

    async fn leave(&self) {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Keeper { stop, task }) = keeper {
            drop(stop);
            // Waited for: a renewal under way would bring the row back. One that panicked renews no more either.
            let _ = task.await;
        }
        if let Err(error) = self.seat.give_up().await {
            tracing::warn!(group = self.seat.group, %error, "others wait until this process's place has expired");
        }
        self.assigned.send_replace(BTreeSet::new());
    }
}

/// A member as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    member: i64,
    topics: Vec<Topic>,
}

/// A member's row and where it is.
#[derive(Clone)]
struct Seat {
    db: Arc<Database>,
    group: String,
    own: Row,
    partitions: u16,
}

impl Seat {
    /// Writes the own row anew, takes away what has expired, and answers who is there.
    async fn renew(&self) -> Result<Vec<Row>, StoreError> {
        let (group, own) = (self.group.clone(), self.own.clone());
        let topics: Vec<&str> = own.topics.iter().map(|topic| topic.name()).collect();
        let topics = topics.join(" ");
        let renew = move |connection: &Connection| {
            // In here: the write may have waited in the queue.
            let now = clock::now();
            let (present, latest) = counting(now);
            let mut expired = connection.prepare_cached(
                "DELETE FROM group_members WHERE group_name = ?1 AND expires_at NOT BETWEEN ?2 AND ?3",
            )?;
            expired.execute((&group, present, latest))?;
            let mut renewed = connection.prepare_cached(
                "INSERT INTO group_members (group_name, member, topics, expires_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (group_name, member) DO UPDATE SET expires_at = excluded.expires_at",
            )?;
            renewed.execute((&group, own.member, &topics, now.plus_millis(LIFE.as_millis() as i64).as_millis()))?;
            members(connection, &group, now)
        };
        self.db.write(renew).await
    }

    /// Who is there.
    async fn look(&self) -> Result<Vec<Row>, StoreError> {
        self.db.read(|connection| members(connection, &self.group, clock::now())).await
    }

    async fn give_up(&self) -> Result<(), StoreError> {
        let (group, member) = (self.group.clone(), self.own.member);
        let give_up = move |connection: &Connection| {
            let sql = "DELETE FROM group_members WHERE group_name = ?1 AND member = ?2";
            connection.prepare_cached(sql)?.execute((group, member))?;
            Ok(())
        };
        self.db.write(give_up).await
    }

    fn is_among(&self, members: &[Row]) -> bool {
        members.iter().any(|row| row.member == self.own.member)
    }

    fn share(&self, members: &[Row]) -> BTreeSet<Partition> {
        share_of(self.own.member, members, self.partitions)
    }
}

/// The times of expiry that count at `now`. One further off than any row can be was written before the clock was set
/// back: its member, if it lives, will have renewed it in a moment.
fn counting(now: Timestamp) -> (i64, i64) {
    (now.as_millis() + 1, now.plus_millis(2 * LIFE.as_millis() as i64).as_millis())
}

fn members(connection: &Connection, group: &str, now: Timestamp) -> Result<Vec<Row>, StoreError> {
    let (present, latest) = counting(now);
    let mut statement = connection.prepare_cached(
        "SELECT member, topics FROM group_members WHERE group_name = ?1 AND expires_at BETWEEN ?2 AND ?3 ORDER BY member",
    )?;
    let rows = statement.query_map((group, present, latest), |row| {
        let topics: String = row.get(1)?;
        // A topic that only a newer version knows is none of ours.
        let topics = topics.split(' ').filter_map(|name| name.parse().ok()).collect();
        Ok(Row { member: row.get(0)?, topics })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps the row alive and the assignment up to date until it is `stopped`.
async fn keep(
    seat: Seat,
    assigned: Arc<watch::Sender<BTreeSet<Partition>>>,
    joined: Instant,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = joined;
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            _ = ticks.tick() => {}
        }
        let began = Instant::now();
        let mut is_due = began.duration_since(renewed) >= RENEW_EVERY;
        let mut seen = if is_due { seat.renew().await } else { seat.look().await };
        // Taken for dead, as after a long sleep: back to the others.
        if !is_due && matches!(&seen, Ok(members) if !seat.is_among(members)) {
            is_due = true;
            seen = seat.renew().await;
        }
        match seen {
            Ok(members) => {
                if is_due {
                    renewed = began;
                }
                tell(&assigned, seat.share(&members));
                failing = false;
            }
            Err(error) => {
                // Once per failure, not ten times a second.
                if !failing {
                    tracing::warn!(group = seat.group, %error, "cannot see who shares the log's partitions");
                }
                failing = true;
                // The others do not count with this member any more.
                if renewed.elapsed() >= LIFE {
                    tell(&assigned, BTreeSet::new());
                }
            }
        }
    }
}

fn tell(assigned: &watch::Sender<BTreeSet<Partition>>, share: BTreeSet<Partition>) {
    assigned.send_if_modified(|known| {
        let is_news = *known != share;
        *known = share;
        is_news
    });
}
