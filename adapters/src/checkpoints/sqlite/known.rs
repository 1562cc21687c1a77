//! What this process knows of all projections' progress, and of what operators want, without asking the files: its own
//! writes as they are committed, and what other processes have written, looked for about ten times a second.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::{Lane, Position, Timestamp};
use rusqlite::{Connection, Row};
use tokio::sync::watch;

use super::operating;
use super::rows::{Unparked, topic_at};
use crate::StoreError;
use crate::checkpoints::{Build, Epoch, Epochs, Generation, LaneRequest, Orders, Partition, Progress, RequestId};
use crate::sqlite::values::Unsigned;
use crate::sqlite::{Database, Watch};

/// How long another process's progress may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Progress of the serving generations, which those are, and what operators want.
#[derive(Debug, Default)]
pub(super) struct Known {
    progress: watch::Sender<Progress>,
    /// Changes under the lock of `progress` only.
    orders: watch::Sender<Orders>,
    /// Own writes taken note of. Changes under the lock of `progress` only.
    notes: AtomicU64,
    /// Changes under the lock of `progress` only.
    serving: RwLock<HashMap<String, Generation>>,
}

impl Known {
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn serving(&self, projection: &str) -> Generation {
        let serving = self.serving.read().unwrap_or_else(PoisonError::into_inner);
        serving.get(projection).copied().unwrap_or(Generation::FIRST)
    }

    pub(super) fn note_position(&self, build: Build, position: Position) {
        let partition = Partition { topic: position.topic, number: position.partition };
        self.note(build, |progress| {
            let done = progress.positions.entry((build.projection.to_owned(), partition)).or_insert(i64::MIN);
            // The file may have been looked at since the commit, and have been further on.
            let is_news = position.offset > *done;
            *done = position.offset.max(*done);
            is_news
        });
    }

    pub(super) fn note_parked(&self, build: Build, partition: Partition, lane: Lane) {
        self.note(build, |progress| {
            let lanes = progress.parked.entry((build.projection.to_owned(), partition)).or_default();
            let is_news = !lanes.contains(&lane);
            if is_news {
                lanes.push(lane);
            }
            is_news
        });
    }

    pub(super) fn note_unparked(&self, build: Build, partition: Partition, lane: &Lane, unparked: Unparked) {
        self.note(build, |progress| {
            let mut is_news = false;
            if let Some(drains) = unparked.drains {
                let known = progress.drains.entry(build.projection.to_owned()).or_insert(0);
                is_news = drains > *known;
                *known = drains.max(*known);
            }
            let key = (build.projection.to_owned(), partition);
            if unparked.closed
                && let Some(lanes) = progress.parked.get_mut(&key)
            {
                let before = lanes.len();
                lanes.retain(|parked| parked != lane);
                is_news |= lanes.len() < before;
                if lanes.is_empty() {
                    progress.parked.remove(&key);
                }
            }
            is_news
        });
    }

    pub(super) fn note_epoch(&self, epoch: Epoch, number: u64) {
        self.progress.send_if_modified(|progress| {
            self.notes.fetch_add(1, Ordering::Release);
            let known = progress.epochs.of(epoch);
            let is_news = number > *known;
            *known = number.max(*known);
            is_news
        });
    }

    pub(super) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    pub(super) fn note_paused(&self, projection: String, since: Option<Timestamp>) {
        self.note_order(|orders| match since {
            Some(since) => orders.paused.insert(projection, since) != Some(since),
            None => orders.paused.remove(&projection).is_some(),
        });
    }

    pub(super) fn note_request(&self, request: LaneRequest) {
        self.note_order(|orders| {
            // The file may have been looked at since the commit, and the request be known from there.
            let is_news = orders.requests.iter().all(|known| known.id != request.id);
            if is_news {
                orders.requests.push(request);
            }
            is_news
        });
    }

    pub(super) fn note_request_ended(&self, request: RequestId) {
        self.note_order(|orders| {
            let before = orders.requests.len();
            orders.requests.retain(|known| known.id != request);
            orders.requests.len() < before
        });
    }

    /// Takes note of an own write that is committed.
    fn note_order(&self, change: impl FnOnce(&mut Orders) -> bool) {
        self.progress.send_if_modified(|_| {
            self.notes.fetch_add(1, Ordering::Release);
            self.orders.send_if_modified(change);
            false
        });
    }

    /// Takes note of an own write that is committed, if it is of a generation that serves.
    fn note(&self, build: Build, change: impl FnOnce(&mut Progress) -> bool) {
        self.progress.send_if_modified(|progress| {
            self.notes.fetch_add(1, Ordering::Release);
            self.serving(build.projection) == build.generation && change(progress)
        });
    }

    /// Puts what the files say in place of what is known, if they say anything new.
    pub(super) fn look_at(&self, files: &mut Files) -> Result<(), StoreError> {
        loop {
            // Before the look: what is noted from here on may be missing in what it sees.
            let notes = self.notes.load(Ordering::Acquire);
            files.look()?;
            // What was noted may be taken back by somebody else already, and then the file looks as it did before.
            if !files.has_news && files.notes == notes {
                return Ok(());
            }
            let seen = files.progress();
            self.progress.send_if_modified(|progress| {
                if self.notes.load(Ordering::Acquire) != notes {
                    return false;
                }
                (files.has_news, files.notes) = (false, notes);
                let serving = files.serving.clone();
                *self.serving.write().unwrap_or_else(PoisonError::into_inner) = serving;
                let wanted = files.orders();
                self.orders.send_if_modified(|orders| {
                    let is_news = *orders != wanted;
                    *orders = wanted;
                    is_news
                });
                let is_news = *progress != seen;
                *progress = seen;
                is_news
            });
        }
    }
}

/// The two files and what was last seen in them.
pub(super) struct Files {
    read_models: Watch,
    truth: Watch,
    serving: HashMap<String, Generation>,
    paused: BTreeMap<String, Timestamp>,
    rows: Rows,
    /// Something was seen that is not taken over yet: also when a look after it failed.
    has_news: bool,
    /// Own writes that were noted when it was last taken over.
    notes: u64,
}

/// What the read models' file says of every build of every projection.
#[derive(Default)]
struct Rows {
    positions: Vec<(OfBuild, i64)>,
    parked: Vec<(OfBuild, Lane)>,
    drains: Vec<(String, Generation, u64)>,
    requests: Vec<LaneRequest>,
    epochs: Epochs,
}

struct OfBuild {
    projection: String,
    generation: Generation,
    partition: Partition,
}

impl Files {
    pub(super) fn open(read_models: &Database, truth: &Database) -> Result<Self, StoreError> {
        let (read_models, truth) = (read_models.watch()?, truth.watch()?);
        let (serving, paused, rows) = (HashMap::new(), BTreeMap::new(), Rows::default());
        Ok(Self { read_models, truth, serving, paused, rows, has_news: true, notes: 0 })
    }

    fn look(&mut self) -> Result<(), StoreError> {
        let truth = self.truth.look(|connection| {
            let mut statement = connection.prepare_cached("SELECT projection, generation FROM serving_generations")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, Generation(row.get(1)?))))?;
            let serving = rows.collect::<Result<_, _>>()?;
            let mut statement = connection.prepare_cached("SELECT projection, since FROM paused_projections")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, Timestamp::from_millis(row.get(1)?))))?;
            Ok((serving, rows.collect::<Result<_, _>>()?))
        })?;
        if let Some((serving, paused)) = truth {
            // The truth changes with every command, and these hardly ever.
            self.has_news |= self.serving != serving || self.paused != paused;
            (self.serving, self.paused) = (serving, paused);
        }
        if let Some(rows) = self.read_models.look(Rows::read)? {
            self.rows = rows;
            self.has_news = true;
        }
        Ok(())
    }

    /// What was seen of what operators want.
    fn orders(&self) -> Orders {
        Orders { paused: self.paused.clone(), requests: self.rows.requests.clone() }
    }

    /// What was seen of the generations that serve.
    fn progress(&self) -> Progress {
        let serving = |projection: &str| self.serving.get(projection).copied().unwrap_or(Generation::FIRST);
        let serves = |of: &OfBuild| serving(&of.projection) == of.generation;
        let mut progress = Progress::default();
        for (of, offset) in self.rows.positions.iter().filter(|(of, _)| serves(of)) {
            progress.positions.insert((of.projection.clone(), of.partition), *offset);
        }
        for (of, lane) in self.rows.parked.iter().filter(|(of, _)| serves(of)) {
            progress.parked.entry((of.projection.clone(), of.partition)).or_default().push(lane.clone());
        }
        for (projection, generation, drains) in &self.rows.drains {
            if serving(projection) == *generation {
                progress.drains.insert(projection.clone(), *drains);
            }
        }
        progress.epochs = self.rows.epochs;
        progress
    }
}

impl Rows {
    /// At one moment: a lane is parked, or an epoch raised, before the checkpoint passes the event, and must be seen so.
    fn read(connection: &Connection) -> Result<Self, StoreError> {
        let mut positions = connection.prepare_cached(
            r#"SELECT generation, projection, topic, partition, "offset" FROM checkpoints
            WHERE "offset" IS NOT NULL"#,
        )?;
        let mut parked =
            connection.prepare_cached("SELECT generation, projection, topic, partition, lane FROM parked_lanes")?;
        let mut drains = connection.prepare_cached("SELECT projection, generation, drains FROM drains")?;
        let positions = positions.query_map([], |row| Ok((of_build(row)?, row.get(4)?)))?;
        let parked = parked.query_map([], |row| Ok((of_build(row)?, Lane::new(row.get::<_, String>(4)?))))?;
        let drains = drains
            .query_map([], |row| Ok((row.get(0)?, Generation(row.get(1)?), row.get::<_, Unsigned>(2)?.0)))?
            .collect::<Result<_, _>>()?;
        let (positions, parked) = (positions.collect::<Result<_, _>>()?, parked.collect::<Result<_, _>>()?);
        Ok(Self {
            positions,
            parked,
            drains,
            requests: operating::requests(connection)?,
            epochs: operating::epochs(connection)?,
        })
    }
}

fn of_build(row: &Row<'_>) -> rusqlite::Result<OfBuild> {
    Ok(OfBuild {
        generation: Generation(row.get(0)?),
        projection: row.get(1)?,
        partition: Partition { topic: topic_at(row, 2)?, number: row.get(3)? },
    })
}

/// The thread that looks at the files; dropping this ends it.
#[derive(Debug)]
pub(super) struct Watcher {
    /// Never sent to: the thread waits for it to be dropped.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Loads what the files say, then keeps looking. A thread and not a task: it blocks, and needs no runtime.
    pub(super) fn start(known: Arc<Known>, read_models: &Database, truth: &Database) -> Result<Self, StoreError> {
        let mut files = Files::open(read_models, truth)?;
        known.look_at(&mut files)?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || look_until(&stopped, &known, files))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn look_until(stopped: &Receiver<()>, known: &Known, mut files: Files) {
    while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = known.look_at(&mut files) {
            tracing::warn!(%error, "what other processes have done is not known");
        }
    }
}
