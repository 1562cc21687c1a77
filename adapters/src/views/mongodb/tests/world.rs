//! Workers of partitions that take over from each other at any step, as a test's random schedule wants it. A worker that
//! was overtaken goes on with what it was about until its write, or its checkpoint, is refused.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use mongodb::bson::RawDocumentBuf;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::MongoViews;
use super::gate::Gate;
use crate::StoreError;

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Happens {
    /// A worker's next call goes through.
    Step(Index),
    /// Somebody takes a partition over, and applies so many events at once.
    Take(Index, usize),
    /// A worker's process ends.
    Kill(Index),
    /// A worker's next write is under way for long, and has failed for the worker.
    Lose(Index),
    /// A write that was under way arrives.
    Arrive(Index),
}

pub(super) fn schedule() -> impl Strategy<Value = Vec<Happens>> {
    let index = any::<Index>;
    let happens = prop_oneof![
        24 => index().prop_map(Happens::Step),
        4 => (index(), 1..6usize).prop_map(|(partition, size)| Happens::Take(partition, size)),
        1 => index().prop_map(Happens::Kill),
        2 => index().prop_map(Happens::Lose),
        3 => index().prop_map(Happens::Arrive),
    ];
    proptest::collection::vec(happens, 20..160)
}

/// How far a partition is, and whose it is.
#[derive(Clone, Copy, Default)]
struct Checkpoint {
    epoch: u64,
    done: usize,
}

/// Who may apply what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) partition: usize,
    pub(super) epoch: u64,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Applies a part of a partition's log, as a projection does.
pub(super) type Apply =
    Arc<dyn Fn(MongoViews, Turn) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>> + Send + Sync>;

struct Worker {
    gate: Arc<Gate>,
    hears: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
    has_ended: bool,
}

impl Worker {
    /// Until it waits before its next call, or has ended.
    async fn settle(&mut self) {
        tokio::select! {
            biased;
            heard = self.hears.recv() => assert!(heard.is_some()),
            ended = &mut self.task => {
                ended.unwrap();
                self.has_ended = true;
            }
        }
    }
}

pub(super) struct World {
    views: MongoViews,
    lengths: Vec<usize>,
    apply: Apply,
    checkpoints: Arc<Mutex<Vec<Checkpoint>>>,
    workers: Vec<Worker>,
    late: Vec<RawDocumentBuf>,
}

impl World {
    /// Partitions with logs of these lengths.
    pub(super) fn new(views: MongoViews, lengths: Vec<usize>, apply: Apply) -> Self {
        let checkpoints = Arc::new(Mutex::new(vec![Checkpoint::default(); lengths.len()]));
        Self { views, lengths, apply, checkpoints, workers: Vec::new(), late: Vec::new() }
    }

    pub(super) async fn run(&mut self, schedule: &[Happens]) {
        for partition in 0..self.lengths.len() {
            self.take(partition, 3).await;
        }
        for happens in schedule {
            match happens {
                Happens::Step(which) => self.step(which, false).await,
                Happens::Lose(which) => self.step(which, true).await,
                Happens::Take(which, size) => self.take(which.index(self.lengths.len()), *size).await,
                Happens::Kill(which) => {
                    let Some(worker) = self.alive(which) else { continue };
                    worker.gate.close();
                    worker.settle().await;
                }
                Happens::Arrive(which) => {
                    if !self.late.is_empty() {
                        let command = self.late.swap_remove(which.index(self.late.len()));
                        self.arrive(command).await;
                    }
                }
            }
        }
    }

    /// Somebody applies all that is left; then whatever was under way arrives, and who was overtaken goes on.
    pub(super) async fn finish(mut self) {
        for partition in 0..self.lengths.len() {
            self.take(partition, 4).await;
            let last = self.workers.len() - 1;
            while !self.workers[last].has_ended {
                self.workers[last].gate.open_once();
                self.workers[last].settle().await;
            }
            let Checkpoint { done, .. } = self.checkpoints.lock().unwrap()[partition];
            assert_eq!(done, self.lengths[partition], "the last owner ends with the log");
        }
        for command in std::mem::take(&mut self.late) {
            self.arrive(command).await;
        }
        for mut worker in std::mem::take(&mut self.workers) {
            while !worker.has_ended {
                worker.gate.open_once();
                worker.settle().await;
            }
        }
    }

    fn alive(&mut self, which: &Index) -> Option<&mut Worker> {
        let mut alive: Vec<&mut Worker> = self.workers.iter_mut().filter(|worker| !worker.has_ended).collect();
        if alive.is_empty() { None } else { Some(alive.swap_remove(which.index(alive.len()))) }
    }

    async fn step(&mut self, which: &Index, is_lost: bool) {
        let Some(worker) = self.alive(which) else { return };
        if is_lost {
            worker.gate.lose_next_write();
        }
        worker.gate.open_once();
        worker.settle().await;
        let late = worker.gate.take_late();
        self.late.extend(late);
    }

    async fn arrive(&self, command: RawDocumentBuf) {
        self.views.store.database.run_raw_command(command).await.unwrap();
    }

    async fn take(&mut self, partition: usize, size: usize) {
        let epoch = {
            let mut checkpoints = self.checkpoints.lock().unwrap();
            checkpoints[partition].epoch += 1;
            checkpoints[partition].epoch
        };
        let (gate, hears) = Gate::new();
        let gate = Arc::new(gate);
        let mut views = self.views.clone();
        views.store.gate = Some(Arc::clone(&gate));
        let (apply, checkpoints) = (Arc::clone(&self.apply), Arc::clone(&self.checkpoints));
        let length = self.lengths[partition];
        let task = tokio::spawn(async move {
            loop {
                let from = checkpoints.lock().unwrap()[partition].done;
                if from == length {
                    return;
                }
                let to = (from + size).min(length);
                match apply(views.clone(), Turn { partition, epoch, from, to }).await {
                    Ok(()) => {
                        let checkpoint = &mut checkpoints.lock().unwrap()[partition];
                        if checkpoint.epoch != epoch {
                            return;
                        }
                        checkpoint.done = to;
                    }
                    Err(StoreError::Unavailable(why)) if why == "no answer" => {}
                    Err(StoreError::Unavailable(_) | StoreError::Overtaken(_)) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut worker = Worker { gate, hears, task, has_ended: false };
        worker.settle().await;
        self.workers.push(worker);
    }
}
