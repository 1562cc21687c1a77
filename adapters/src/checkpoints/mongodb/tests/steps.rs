//! P1, P2, P3 and P4 between the writes of one operation: processes end there, sleep there while others own the partition, and
//! send what arrives when nobody expects it any more. At every step, what can be seen of the partition is what it is if
//! each operation happens whole and at one moment, if at all; and each answers what was true at that moment.

use std::sync::Arc;

use domain::{Lane, Timestamp};
use mongodb::bson::doc;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::task::JoinHandle;

use super::super::partitions::key_of;
use super::super::{Known, MongoCheckpoints, Place, QUEUES, Store, Watcher};
use super::model::{Answer, Model, Operation, Seen, reason};
use crate::StoreError;
use crate::checkpoints::contract::at;
use crate::checkpoints::{Build, Checkpoints, Generation, LaneOrder, Outcome, OwnerEpoch, Partition};
use crate::mongodb::testing::Place as TestPlace;
use crate::mongodb::testing::wire::{Held, Late, Wire};
use crate::property::for_some;

const PARTITION: Partition = Partition { topic: domain::Topic::Posts, number: 3 };
const PROCESSES: usize = 4;

fn build(generation: Generation) -> Build {
    Build { projection: "timelines", generation }
}

/// Every other offset is of one lane.
fn lane(number: i64) -> Lane {
    Lane::new(["a", "b"][usize::from(number % 2 == 1)])
}

#[derive(Clone, Debug)]
enum Happens {
    /// A process's next call goes through; one that is idle begins something.
    Goes(usize, Wish),
    /// A process's next call is not heard of, as far as it knows: it is done, or arrives later. It tries again.
    Fails(usize, bool),
    /// A process ends.
    Ends(usize),
    /// A call arrives that was taken for lost.
    Arrives(Index),
}

/// What a process wants to do, as far as what there is allows it.
#[derive(Clone, Debug)]
struct Wish {
    what: usize,
    lane: i64,
    from: i64,
    count: usize,
    is_overtaken: bool,
}

fn schedule() -> impl Strategy<Value = Vec<Happens>> {
    let wish = (0..23usize, 0..2i64, 0..4i64, 1..5usize, prop::bool::weighted(0.05));
    let wish = wish.prop_map(|(what, lane, from, count, is_overtaken)| Wish { what, lane, from, count, is_overtaken });
    let process = || 0..PROCESSES;
    let happens = prop_oneof![
        24 => (process(), wish).prop_map(|(process, wish)| Happens::Goes(process, wish)),
        2 => (process(), any::<bool>()).prop_map(|(process, arrives)| Happens::Fails(process, arrives)),
        1 => process().prop_map(Happens::Ends),
        1 => any::<Index>().prop_map(Happens::Arrives),
    ];
    proptest::collection::vec(happens, 40..140)
}

/// A store, each call of which is held.
async fn held(place: &TestPlace) -> (Wire, Arc<MongoCheckpoints>) {
    let wire = Wire::to(place).await;
    let (known, store) = (Arc::default(), |database| Store { database, logs: Arc::default() });
    // What it knows of others comes by another way, and holds nobody up.
    let watcher = Watcher::start(Arc::clone(&known), store(place.database().await)).await.unwrap();
    let (known, store): (Arc<Known>, _) = (known, store(wire.database().await));
    let checkpoints = MongoCheckpoints { known, store, _watcher: watcher };
    (wire, Arc::new(checkpoints))
}

async fn place() -> (TestPlace, MongoCheckpoints) {
    let place = TestPlace::new();
    MongoCheckpoints::migrate(&place.url()).await.unwrap();
    let checkpoints = MongoCheckpoints::open(&place.url()).await.unwrap();
    (place, checkpoints)
}

async fn run(
    checkpoints: Arc<MongoCheckpoints>,
    build: Build,
    epoch: OwnerEpoch,
    operation: Operation,
) -> Result<Answer, StoreError> {
    let done = |()| Answer::Done;
    Ok(match &operation {
        Operation::Take => Answer::Taken(checkpoints.take(build, PARTITION).await?),
        Operation::Save(offset) => done(checkpoints.save(build, epoch, at(PARTITION, *offset)).await?),
        Operation::Park(lane, offsets) => {
            done(checkpoints.park(build, epoch, PARTITION, lane, offsets, &reason(lane)).await?)
        }
        Operation::Unpark(lane, up_to) => {
            Answer::Closed(checkpoints.unpark(build, epoch, PARTITION, lane, *up_to).await?)
        }
        Operation::Drop(lane, up_to, at) => {
            Answer::Closed(checkpoints.drop_parked(build, epoch, PARTITION, lane, *up_to, *at).await?)
        }
        Operation::NoteDrains(lane, unfinished, why) => {
            done(checkpoints.note_drains(build, epoch, PARTITION, lane, *unfinished, *why).await?)
        }
        Operation::Settle(starts) => done(checkpoints.settle(build, epoch, PARTITION, *starts).await?),
        Operation::BeginTrial(until, careful_until) => {
            done(checkpoints.begin_trial(build, epoch, PARTITION, *until, *careful_until).await?)
        }
        Operation::ParkedOffsets(lane, limit) => {
            Answer::Offsets(checkpoints.parked_offsets(build, PARTITION, lane, *limit).await?)
        }
        Operation::Dropped => Answer::Dropped(checkpoints.dropped(build, 1000).await?),
    })
}

/// An operation that has begun and not ended.
struct Running {
    operation: Operation,
    epoch: OwnerEpoch,
    task: JoinHandle<Result<Answer, StoreError>>,
    held: Held,
    progress: Progress,
}

/// How far an operation is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// What it has answered, if it has happened; and what it could have answered, had it happened where it changes
    /// nothing.
    happened: Option<Answer>,
    possible: Vec<Answer>,
    failed: bool,
}

struct Process {
    wire: Wire,
    checkpoints: Arc<MongoCheckpoints>,
    running: Option<Running>,
}

struct LateCall {
    call: Late,
    operation: Operation,
    epoch: OwnerEpoch,
    /// How often the partition had changed when it was sent.
    changes: usize,
    /// The queue that it goes on with, if it parks behind what already waits.
    queue: Option<Queue>,
}

/// A queue's incarnation and its end.
type Queue = (i64, i64);

struct World<'a> {
    processes: Vec<Process>,
    observer: &'a MongoCheckpoints,
    build: Build,
    model: Model,
    changes: usize,
    late: Vec<LateCall>,
}

impl World<'_> {
    async fn see(&self) -> Seen {
        let Some(stored) = self.observer.store.partition(&Place::of(self.build, PARTITION)).await.unwrap() else {
            return Model::new(PARTITION).seen;
        };
        let mut waiting = std::collections::BTreeMap::new();
        for parked in stored.parked_lanes() {
            let offsets = self.observer.parked_offsets(self.build, PARTITION, &parked.lane, 1000).await.unwrap();
            waiting.insert(parked.lane, offsets);
        }
        Seen { taken: stored.taken().unwrap(), drains: stored.drains, waiting }
    }

    /// What an operation that may happen now has changed, if anything; it must be what it does.
    async fn look(&mut self, operation: &Operation, epoch: OwnerEpoch, progress: &mut Progress) {
        let seen = self.see().await;
        if seen == self.model.seen {
            return;
        }
        let (after, answer) = self.model.after(operation, epoch);
        assert!(progress.happened.is_none(), "{operation:?} happens a second time, and makes {seen:?}");
        assert_eq!(seen, after.seen, "{operation:?} of {epoch:?} happens to {:?}", self.model);
        progress.happened = Some(answer);
        self.model = after;
        self.changes += 1;
        self.note_what_is_possible();
    }

    fn note_what_is_possible(&mut self) {
        for running in self.processes.iter_mut().filter_map(|process| process.running.as_mut()) {
            running.progress.note(&self.model, &running.operation, running.epoch);
        }
    }

    async fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Goes(process, wish) => match self.processes[process].running.take() {
                Some(running) => self.step(process, running, None).await,
                None => {
                    if let Some((operation, epoch)) = self.operation(&wish) {
                        self.begin(process, operation, epoch).await;
                    }
                }
            },
            Happens::Fails(process, arrives) => {
                if let Some(running) = self.processes[process].running.take() {
                    self.step(process, running, Some(arrives)).await;
                }
            }
            Happens::Ends(process) => {
                if let Some(running) = self.processes[process].running.take() {
                    running.task.abort();
                }
            }
            Happens::Arrives(which) => {
                if !self.late.is_empty() {
                    let late = self.late.swap_remove(which.index(self.late.len()));
                    self.arrives(late).await;
                }
            }
        }
    }

    /// What a worker does that has such a wish, where things are as they are.
    fn operation(&self, wish: &Wish) -> Option<(Operation, OwnerEpoch)> {
        let lane = lane(wish.lane);
        let waiting = self.model.seen.waiting.get(&lane);
        let (count, from) = (i64::try_from(wish.count).unwrap(), wish.from);
        let present = self.model.epoch();
        let epoch = OwnerEpoch(present.0 - u64::from(wish.is_overtaken && present.0 > 0));
        let somewhere = waiting.map_or(from, |waiting| waiting[usize::try_from(from).unwrap().min(waiting.len() - 1)]);
        let now = Timestamp::from_millis(1_700_000_000_000 + self.changes as i64);
        let operation = match wish.what {
            0..=1 => Operation::Take,
            2..=4 => Operation::Save(self.model.seen.taken.position.map_or(0, |at| at.offset) + from - 1),
            5..=9 => {
                // A lane's events are parked without a gap, and one call after the other.
                let first = waiting.and_then(|waiting| waiting.last()).map_or(2 * from, |last| last - 2 * (from - 1));
                let first = first.max(0) / 2 * 2 + wish.lane;
                let parks = |running: &Running| {
                    matches!(&running.operation, Operation::Park(parked, _) if *parked == lane)
                        && running.epoch == epoch
                };
                if self.processes.iter().filter_map(|process| process.running.as_ref()).any(parks) {
                    return None;
                }
                Operation::Park(lane, (0..count).map(|number| first + 2 * number).collect())
            }
            10..=13 => Operation::Unpark(lane, somewhere),
            14..=15 => Operation::Drop(lane, somewhere, now),
            16 => Operation::NoteDrains(lane, wish.count as u32, (from == 0).then_some("another")),
            17 => Operation::Settle(wish.count as u32 - 1),
            18..=19 => Operation::BeginTrial(100 + from / 2, 200 + count / 2),
            20..=21 => Operation::ParkedOffsets(lane, wish.count),
            _ => Operation::Dropped,
        };
        Some((operation, epoch))
    }

    async fn begin(&mut self, process: usize, operation: Operation, epoch: OwnerEpoch) {
        let Process { wire, checkpoints, .. } = &mut self.processes[process];
        let mut task = tokio::spawn(run(Arc::clone(checkpoints), self.build, epoch, operation.clone()));
        let mut progress = Progress::default();
        progress.note(&self.model, &operation, epoch);
        match wire.settled(&mut task).await {
            Ok(held) => {
                self.processes[process].running = Some(Running { operation, epoch, task, held, progress });
            }
            Err(outcome) => progress.ended(&operation, outcome),
        }
    }

    /// Lets a call through, or takes it away from its sender: then it is done all the same, or arrives later.
    async fn step(&mut self, process: usize, running: Running, lost: Option<bool>) {
        let Running { operation, epoch, mut task, held, mut progress } = running;
        let is_write = held.is_write();
        match lost {
            None => held.goes_on().await,
            Some(false) => held.goes_unheard().await,
            Some(true) => {
                let call = held.gets_lost().await;
                if is_write {
                    let (operation, changes, queue) = (operation.clone(), self.changes, self.queue(&operation).await);
                    self.late.push(LateCall { call, operation, epoch, changes, queue });
                }
            }
        }
        progress.failed |= lost.is_some();
        if is_write {
            self.look(&operation, epoch, &mut progress).await;
        }
        match self.processes[process].wire.settled(&mut task).await {
            Ok(held) => {
                progress.note(&self.model, &operation, epoch);
                self.processes[process].running = Some(Running { operation, epoch, task, held, progress });
            }
            Err(Err(StoreError::Unavailable(_))) if progress.failed => {
                Box::pin(self.begin(process, operation, epoch)).await;
            }
            Err(outcome) => progress.ended(&operation, outcome),
        }
    }

    async fn queue(&self, operation: &Operation) -> Option<Queue> {
        let Operation::Park(lane, _) = operation else { return None };
        let stored = self.observer.store.partition(&Place::of(self.build, PARTITION)).await.unwrap()?;
        let parked = stored.lanes.get(&key_of(lane))?;
        Some((parked.incarnation, parked.last))
    }

    async fn arrives(&mut self, late: LateCall) {
        let LateCall { call, operation, epoch, changes, queue } = late;
        // What comes behind a queue's end may come as long as that is its end: its events have gone nowhere else.
        let has_its_place = queue.is_some() && self.queue(&operation).await == queue;
        call.arrives(&self.observer.store.database).await;
        // What has once been parked, noted or begun is not so again, once it went on.
        let is_void = match operation {
            Operation::Park(..) => changes < self.changes && !has_its_place,
            Operation::NoteDrains(..) | Operation::BeginTrial(..) => changes < self.changes,
            _ => false,
        };
        if is_void {
            assert_eq!(self.see().await, self.model.seen, "{operation:?} of {epoch:?} arrived late");
        } else {
            self.look(&operation, epoch, &mut Progress::default()).await;
        }
    }

    /// All come to their ends, and all arrives. Then another process finds all of it, and nothing else.
    async fn finish(mut self) {
        for process in 0..self.processes.len() {
            while let Some(running) = self.processes[process].running.take() {
                self.step(process, running, None).await;
            }
        }
        while let Some(late) = self.late.pop() {
            self.arrives(late).await;
        }
        let (after, found) = self.model.after(&Operation::Take, OwnerEpoch(0));
        assert_eq!(found, Answer::Taken(self.observer.take(self.build, PARTITION).await.unwrap()));
        assert_eq!(self.observer.dropped(self.build, 1000).await.unwrap(), after.dropped());
        assert_eq!(self.see().await, after.seen);
        // Nothing is left behind of what was once parked, or nearly.
        let epoch = after.epoch();
        for (lane, waiting) in &after.seen.waiting {
            let last = waiting[waiting.len() - 1];
            assert!(self.observer.unpark(self.build, epoch, PARTITION, lane, last).await.unwrap());
        }
        self.observer.take(self.build, PARTITION).await.unwrap();
        let entries = doc! { "partition": Place::of(self.build, PARTITION).id };
        assert_eq!(self.observer.store.collection(QUEUES).count_documents(entries).await.unwrap(), 0);
    }
}

impl Progress {
    /// What the operation could answer as things are now.
    fn note(&mut self, model: &Model, operation: &Operation, epoch: OwnerEpoch) {
        let (after, answer) = model.after(operation, epoch);
        if after.seen == model.seen {
            self.possible.push(answer);
        }
    }

    fn ended(self, operation: &Operation, outcome: Result<Answer, StoreError>) {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(StoreError::Overtaken(_)) => Answer::Overtaken,
            Err(error) => panic!("{operation:?}: {error}"),
        };
        match self.happened {
            // It could be told what had become of it by the time it tried again.
            Some(happened) => assert!(answer == happened || self.failed, "{operation:?}: {answer:?}, not {happened:?}"),
            None => {
                assert!(self.possible.contains(&answer), "{operation:?}: {answer:?}, not any of {:?}", self.possible)
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_happen_whole_whoever_ends_or_sleeps_at_any_step() {
    let (place, observer) = place().await;
    for_some(32, schedule(), async |generation, schedule| {
        let mut processes = Vec::new();
        for _ in 0..PROCESSES {
            let (wire, checkpoints) = held(&place).await;
            wire.run_backwards(generation.0 % 2 == 0);
            processes.push(Process { wire, checkpoints, running: None });
        }
        let build = build(generation);
        // The model counts epochs from 0, which nobody ever has.
        observer.store.begin(&Place::of(build, PARTITION), OwnerEpoch(0)).await.unwrap();
        let (model, first) = Model::new(PARTITION).after(&Operation::Take, OwnerEpoch(0));
        assert_eq!(first, Answer::Taken(observer.take(build, PARTITION).await.unwrap()));
        let mut world = World { processes, observer: &observer, build, model, changes: 0, late: Vec::new() };
        world.begin(0, Operation::Take, OwnerEpoch(0)).await;
        for next in schedule {
            world.happens(next).await;
        }
        world.finish().await;
    });
}

/// Parks, as far as the sender knows in vain: the call that would have done it comes late.
async fn parks_in_vain(place: &TestPlace, epoch: OwnerEpoch, lane: &Lane, offsets: &[i64]) -> Late {
    let (mut wire, checkpoints) = held(place).await;
    let park = Operation::Park(lane.clone(), offsets.to_vec());
    let mut task = tokio::spawn(run(checkpoints, build(Generation::FIRST), epoch, park));
    let late = loop {
        let held = wire.settled(&mut task).await.ok().unwrap();
        if held.is_of("findAndModify") {
            break held.gets_lost().await;
        }
        held.goes_on().await;
    };
    assert!(matches!(wire.settled(&mut task).await, Err(Err(StoreError::Unavailable(_)))));
    late
}

/// P4: one parks a lane in vain, and does it again; all of it is applied and leaves. The first call arrives now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_was_drained_is_not_parked_again_by_what_comes_late() {
    let (place, observer) = place().await;
    let (build, a) = (build(Generation::FIRST), lane(0));
    let epoch = observer.take(build, PARTITION).await.unwrap().epoch;
    let late = parks_in_vain(&place, epoch, &a, &[2, 4]).await;
    observer.park(build, epoch, PARTITION, &a, &[2, 4], "stopped").await.unwrap();
    assert!(observer.unpark(build, epoch, PARTITION, &a, 4).await.unwrap());
    observer.save(build, epoch, at(PARTITION, 4)).await.unwrap();
    late.arrives(&observer.store.database).await;
    assert_eq!(observer.parked(build).await.unwrap(), []);
    assert_eq!(observer.parked_offsets(build, PARTITION, &a, 10).await.unwrap(), [0i64; 0]);
}

/// P3: what waits is counted once, and a queue's end does not go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_parked_is_not_parked_again_by_what_comes_late() {
    let (place, observer) = place().await;
    let (build, a) = (build(Generation::FIRST), lane(0));
    let epoch = observer.take(build, PARTITION).await.unwrap().epoch;
    observer.park(build, epoch, PARTITION, &a, &[2], "stopped").await.unwrap();
    let late = parks_in_vain(&place, epoch, &a, &[4]).await;
    observer.park(build, epoch, PARTITION, &a, &[4, 6], "stopped").await.unwrap();
    let parked = observer.parked(build).await.unwrap();
    late.arrives(&observer.store.database).await;
    assert_eq!(observer.parked(build).await.unwrap(), parked);
    assert_eq!(observer.parked_offsets(build, PARTITION, &a, 10).await.unwrap(), [2, 4, 6]);
}

/// A request is taken up at most once, also by one that sleeps between finding itself the owner and taking it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_taken_up_once_whoever_sleeps() {
    let (place, observer) = place().await;
    let (mut wire, checkpoints) = held(&place).await;
    let (build, a) = (build(Generation::FIRST), lane(0));
    let epoch = observer.take(build, PARTITION).await.unwrap().epoch;
    observer.park(build, epoch, PARTITION, &a, &[2, 4], "stopped").await.unwrap();
    for sleeper_is_first in [true, false] {
        let now = Timestamp::from_millis(1);
        let former = observer.take(build, PARTITION).await.unwrap().epoch;
        let request = observer.request(build, PARTITION, &a, LaneOrder::Retry, now).await.unwrap().unwrap();
        let sleeper = Arc::clone(&checkpoints);
        let begin = async move { sleeper.begin_request(build, former, PARTITION, request).await };
        let mut task = tokio::spawn(begin);
        wire.settled(&mut task).await.ok().unwrap().goes_on().await;
        let held = wire.settled(&mut task).await.ok().unwrap();
        let owner = observer.take(build, PARTITION).await.unwrap().epoch;
        if sleeper_is_first {
            held.goes_on().await;
            assert!(wire.settled(&mut task).await.err().unwrap().unwrap());
            assert!(!observer.begin_request(build, owner, PARTITION, request).await.unwrap());
            observer.end_request(build, owner, PARTITION, request, Outcome::Interrupted).await.unwrap();
        } else {
            assert!(observer.begin_request(build, owner, PARTITION, request).await.unwrap());
            held.goes_on().await;
            assert!(!wire.settled(&mut task).await.err().unwrap().unwrap());
            observer.end_request(build, owner, PARTITION, request, Outcome::Parked).await.unwrap();
        }
        let ended = observer.outcome(request).await.unwrap();
        let refused = observer.end_request(build, former, PARTITION, request, Outcome::Drained).await;
        assert!(matches!(refused, Err(StoreError::Overtaken(_))), "{refused:?}");
        assert_eq!(observer.outcome(request).await.unwrap(), ended);
    }
}

/// A request that is taken back at the moment when somebody takes it up is done, or it is not: never half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_taken_back_or_taken_up() {
    let (place, observer) = place().await;
    let (mut wire, checkpoints) = held(&place).await;
    let (build, a) = (build(Generation::FIRST), lane(0));
    let epoch = observer.take(build, PARTITION).await.unwrap().epoch;
    observer.park(build, epoch, PARTITION, &a, &[2, 4], "stopped").await.unwrap();
    for is_taken_up in [true, false] {
        let now = Timestamp::from_millis(1);
        let request = observer.request(build, PARTITION, &a, LaneOrder::Retry, now).await.unwrap().unwrap();
        let other = Arc::clone(&checkpoints);
        let mut task = tokio::spawn(async move { other.withdraw_request(request).await });
        let held = wire.settled(&mut task).await.ok().unwrap();
        if is_taken_up {
            assert!(observer.begin_request(build, epoch, PARTITION, request).await.unwrap());
        }
        held.goes_on().await;
        assert_eq!(wire.settled(&mut task).await.err().unwrap().unwrap(), !is_taken_up);
        assert!(!observer.begin_request(build, epoch, PARTITION, request).await.unwrap());
    }
}
