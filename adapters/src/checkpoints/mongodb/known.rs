//! What this process knows of all projections' progress, and of what operators want, without asking the server: its own
//! writes as they are answered, and what other processes have written, looked for about twenty times a second.
//!
//! What was looked up may be older than what was noted meanwhile. A partition's document counts its writes, so the
//! greater version is the newer; no clock is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Lane, Timestamp};
use futures::TryStreamExt as _;
use mongodb::bson::{RawDocumentBuf, doc};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Store;
use super::partitions::{Saved, Stored};
use crate::StoreError;
use crate::checkpoints::{Epochs, Generation, LaneRequest, Orders, Partition, Progress, RequestId};
use crate::mongodb::{failed, read};

/// How long another process's progress may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks may take one part in so many of the time: a slow server is asked less often.
const SHARE: u32 = 10;
/// Orders are looked for once in so many looks: operators are slower than workers.
const ORDERS_EVERY: u32 = 2;
/// The longest pause after a look that failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Progress of the serving generations, which those are, and what operators want.
#[derive(Default)]
pub(super) struct Known {
    progress: watch::Sender<Progress>,
    orders: watch::Sender<Orders>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    documents: HashMap<String, Document>,
    serving: HashMap<String, Generation>,
    epochs: Epochs,
    /// Own writes noted.
    notes: u64,
    /// Own writes of orders noted.
    order_notes: u64,
}

/// What is known of a partition's document.
struct Document {
    projection: String,
    generation: Generation,
    partition: Partition,
    born: String,
    version: i64,
    offset: Option<i64>,
    drains: u64,
    lanes: Vec<Lane>,
    /// The number of the own write that it was noted with; 0 for one that was looked up.
    noted: u64,
}

impl Document {
    fn of(stored: &Stored, noted: u64) -> Result<Self, StoreError> {
        Ok(Self {
            projection: stored.projection.clone(),
            generation: stored.generation(),
            partition: stored.place()?,
            born: stored.born.clone(),
            version: stored.version,
            offset: stored.offset,
            drains: stored.drains,
            lanes: stored.lanes.values().map(|parked| parked.lane.clone()).collect(),
            noted,
        })
    }
}

impl State {
    fn serving(&self, projection: &str) -> Generation {
        self.serving.get(projection).copied().unwrap_or(Generation::FIRST)
    }

    fn serves(&self, document: &Document) -> bool {
        self.serving(&document.projection) == document.generation
    }

    fn raise(&mut self, epochs: Epochs) {
        self.epochs.cache = self.epochs.cache.max(epochs.cache);
        self.epochs.live = self.epochs.live.max(epochs.live);
    }

    fn all(&self) -> Progress {
        let mut progress = Progress { epochs: self.epochs, ..Progress::default() };
        for document in self.documents.values().filter(|document| self.serves(document)) {
            let key = (document.projection.clone(), document.partition);
            if document.drains > 0 {
                *progress.drains.entry(document.projection.clone()).or_insert(0) += document.drains;
            }
            if !document.lanes.is_empty() {
                progress.parked.insert(key.clone(), document.lanes.clone());
            }
            if let Some(offset) = document.offset {
                progress.positions.insert(key, offset);
            }
        }
        progress
    }

    /// Brings one partition's part of `progress` up to date; whether that changes anything.
    fn show(&self, id: &str, progress: &mut Progress) -> bool {
        let Some(document) = self.documents.get(id).filter(|document| self.serves(document)) else { return false };
        let projection = &document.projection;
        let key = (projection.clone(), document.partition);
        let mut is_news = match document.offset {
            Some(offset) => progress.positions.insert(key.clone(), offset) != Some(offset),
            None => progress.positions.remove(&key).is_some(),
        };
        is_news |= match document.lanes.as_slice() {
            [] => progress.parked.remove(&key).is_some(),
            lanes if progress.parked.get(&key).is_some_and(|shown| shown == lanes) => false,
            lanes => progress.parked.insert(key, lanes.to_vec()) != Some(lanes.to_vec()),
        };
        let same = |other: &&Document| other.projection == *projection && other.generation == document.generation;
        let drains: u64 = self.documents.values().filter(same).map(|document| document.drains).sum();
        if progress.drains(projection) != drains {
            progress.drains.insert(projection.clone(), drains);
            is_news = true;
        }
        is_news
    }
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    pub(super) fn serving(&self, projection: &str) -> Generation {
        self.state().serving(projection)
    }

    /// Takes note of a partition's document as an own write has found or left it.
    pub(super) fn note(&self, stored: &Stored) {
        self.note_document(stored, true);
    }

    /// Takes note of a saved position. Lanes are as they were: their owner has just written, and notes what it does to
    /// them.
    pub(super) fn note_saved(&self, saved: &Saved) {
        match saved {
            Saved::Written(stored) => self.note_document(stored, false),
            Saved::Was(stored) => self.note_document(stored, true),
        }
    }

    fn note_document(&self, stored: &Stored, with_lanes: bool) {
        let mut state = self.state();
        state.notes += 1;
        // One that is damaged is said by whoever reads it for its own sake.
        let Ok(mut noted) = Document::of(stored, state.notes) else { return };
        if let Some(known) = state.documents.get_mut(&stored.id) {
            if known.born == noted.born && known.version > noted.version {
                return;
            }
            if !with_lanes && known.born == noted.born {
                noted.lanes = std::mem::take(&mut known.lanes);
            }
        }
        state.documents.insert(stored.id.clone(), noted);
        self.progress.send_if_modified(|progress| state.show(&stored.id, progress));
    }

    /// Takes note of epochs as they were read; they only rise.
    pub(super) fn note_epochs(&self, epochs: Epochs) {
        let mut state = self.state();
        state.raise(epochs);
        let epochs = state.epochs;
        self.progress.send_if_modified(|progress| std::mem::replace(&mut progress.epochs, epochs) != epochs);
    }

    pub(super) fn note_paused(&self, projection: String, since: Option<Timestamp>) {
        self.note_order(|orders| match since {
            Some(since) => orders.paused.insert(projection, since) != Some(since),
            None => orders.paused.remove(&projection).is_some(),
        });
    }

    pub(super) fn note_request(&self, request: LaneRequest) {
        self.note_order(|orders| {
            // It may have been looked up since it was stored.
            let is_news = orders.requests.iter().all(|known| known.id != request.id);
            if is_news {
                orders.requests.push(request);
                orders.requests.sort_by_key(|request| request.id);
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

    fn note_order(&self, change: impl FnOnce(&mut Orders) -> bool) {
        let mut state = self.state();
        state.order_notes += 1;
        self.orders.send_if_modified(change);
    }

    /// Takes over what the server says of partitions.
    pub(super) async fn look_at_partitions(&self, store: &Store) -> Result<(), StoreError> {
        // Before the look: what is noted from here on may be missing in what it sees.
        let notes = self.state().notes;
        let found = store.partitions().find(doc! {}).projection(doc! { "drops": 0 }).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        let mut seen = HashMap::new();
        for found in &found {
            let stored: Stored = read(found)?;
            seen.insert(stored.id.clone(), Document::of(&stored, 0)?);
        }
        // After the partitions, so that what is shown is never older than they are.
        let epochs = store.epochs().await?;
        let mut state = self.state();
        state.raise(epochs);
        for (id, known) in std::mem::take(&mut state.documents) {
            let keeps = match seen.get(&id) {
                Some(seen) if seen.born == known.born => known.version > seen.version,
                // Removed, or made again: unless that is what this process has just done.
                Some(_) | None => known.noted > notes,
            };
            if keeps {
                seen.insert(id, known);
            }
        }
        state.documents = seen;
        self.show_all(&state);
        Ok(())
    }

    /// Takes over what the server says operators want.
    pub(super) async fn look_at_orders(&self, store: &Store) -> Result<(), StoreError> {
        let notes = self.state().order_notes;
        let ((serving, paused), requests) = futures::try_join!(store.decisions(), store.requests())?;
        let mut state = self.state();
        if state.serving != serving {
            state.serving = serving;
            self.show_all(&state);
        }
        // Otherwise the next look will do.
        if state.order_notes == notes {
            self.show_orders(paused, requests);
        }
        Ok(())
    }

    fn show_orders(&self, paused: BTreeMap<String, Timestamp>, requests: Vec<LaneRequest>) {
        let wanted = Orders { paused, requests };
        self.orders.send_if_modified(|orders| {
            let is_news = *orders != wanted;
            *orders = wanted;
            is_news
        });
    }

    fn show_all(&self, state: &State) {
        let seen = state.all();
        self.progress.send_if_modified(|progress| {
            let is_news = *progress != seen;
            *progress = seen;
            is_news
        });
    }
}

/// The task that looks; dropping this ends it.
pub(super) struct Watcher {
    task: JoinHandle<()>,
}

impl Watcher {
    /// Loads what the server says, then keeps looking.
    pub(super) async fn start(known: Arc<Known>, store: Store) -> Result<Self, StoreError> {
        known.look_at_orders(&store).await?;
        known.look_at_partitions(&store).await?;
        Ok(Self { task: tokio::spawn(look(known, store)) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(known: Arc<Known>, store: Store) {
    let (mut looks, mut failures) = (0_u32, 0_u32);
    let mut pause = LOOK_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        let mut outcome = known.look_at_partitions(&store).await;
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(ORDERS_EVERY) && outcome.is_ok() {
            outcome = known.look_at_orders(&store).await;
        }
        pause = LOOK_EVERY.max(begun.elapsed() * SHARE).min(PATIENCE);
        match outcome {
            Ok(()) if failures > 0 => {
                failures = 0;
                tracing::info!("what other processes have done is known again");
            }
            Ok(()) => {}
            Err(error) => {
                // Said once, however long it lasts.
                if failures == 0 {
                    tracing::warn!(%error, "what other processes have done is not known");
                }
                failures = failures.saturating_add(1);
                pause = (LOOK_EVERY * failures.min(100)).min(PATIENCE);
            }
        }
    }
}
