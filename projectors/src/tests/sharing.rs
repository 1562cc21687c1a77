//! Several processes share the partitions: what moves, what is fenced, and that nothing is lost or doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adapters::checkpoints::{Checkpoints, Generation, Partition};
use adapters::event_log::{EventLog, Record, partition_of};
use domain::event::Schema;
use domain::reference::Reference;
use domain::relation::Pair;
use domain::stream::BEFORE_FIRST;
use domain::{Event, Lane, StreamId, Topic, UserId, reaction, relation};
use rand::RngExt;

use super::fixture::{envelope, id};
use super::world::{FOREVER, Probe, Scripted, World, post};
use crate::projection::Projection;
use crate::runtime::Runtime;
use crate::{Engagement, Profiles};

const PARTITIONS: u16 = 4;
const FIRST: Partition = Partition { topic: Topic::Posts, number: 0 };
/// Nobody comes back in a test's time.
const NEVER: Duration = Duration::from_secs(3600);

async fn is_here(runtime: &Runtime, expected: bool) {
    let reached = async {
        while runtime.status().await.unwrap()[0].is_here != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FOREVER, reached).await.expect("has the partition, or not");
}

fn as_projections(probe: &Arc<Probe>) -> Vec<Arc<dyn Projection>> {
    vec![Arc::clone(probe) as Arc<dyn Projection>]
}

/// One that sleeps in the middle of a batch while another takes over; its group goes on to name it, as it does for a
/// while with a process that cannot be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_zombie_that_wakes_is_fenced_and_applies_nothing_more() {
    let world = World::new(1).await;
    let (asleep, awake) = (Arc::new(Probe::default()), Arc::new(Probe::default()));
    asleep.holds.send_replace(true);
    world.append(post(1), 1..=3).await;
    let group = Scripted::group(&world, [FIRST]);
    let zombie = world.run(Arc::clone(&group) as Arc<dyn EventLog>, as_projections(&asleep), NEVER).await;
    asleep.begun.subscribe().wait_for(|begun| *begun > 0).await.unwrap();

    let successor = world.run(Scripted::group(&world, [FIRST]), as_projections(&awake), NEVER).await;
    world.append(post(1), 4..=6).await;
    world.caught_up().await;
    assert_eq!(awake.of(post(1)), (1..=6).collect::<Vec<_>>());

    asleep.holds.send_replace(false);
    is_here(&zombie, false).await;
    world.append(post(1), 7..=9).await;
    world.caught_up().await;
    assert_eq!(asleep.of(post(1)), [1, 2, 3], "only what it was at");
    assert_eq!(awake.of(post(1)), (1..=9).collect::<Vec<_>>());
    // What a process without the partition tells is what the other has stored.
    assert_eq!(zombie.status().await.unwrap()[0].position, 8);

    // The group notices, too: the zombie has nothing to do any more, and ends at once.
    group.assigned.send_replace(BTreeSet::new());
    zombie.stop().await;
    assert!(successor.status().await.unwrap()[0].is_here);
    successor.stop().await;
    assert_eq!(asleep.of(post(1)), [1, 2, 3]);
}

/// Two that are both told to have a partition take it from each other; the log is applied whole all the same, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_two_who_both_have_a_partition_lose_nothing() {
    let world = World::new(1).await;
    let probe = Arc::new(Probe::default());
    let group = Scripted::group(&world, [FIRST]);
    let truce = Duration::from_millis(2);
    let one = world.run(Arc::clone(&group) as Arc<dyn EventLog>, as_projections(&probe), truce).await;
    let other = world.run(group, as_projections(&probe), truce).await;
    for sequence in 1..=60 {
        world.append(post(1), [sequence]).await;
        world.caught_up().await;
    }
    one.stop().await;
    other.stop().await;
    assert_eq!(firsts(&probe.of(post(1))), (1..=60).collect::<Vec<_>>());
}

/// The sequences in the order in which they were first applied.
fn firsts(applied: &[u64]) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    applied.iter().copied().filter(|sequence| seen.insert(*sequence)).collect()
}

/// What an older version does not know.
fn without_unlikes(record: &mut Record) {
    if record.attributes.schema.kind == "reaction.unliked" {
        record.attributes.schema = Schema { kind: "reaction.laughed".to_owned(), version: 1 };
    }
}

/// P4 in a rolling upgrade: an old version and a new one share the partitions, and a newer writer is at work already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_what_an_older_version_cannot_read_waits_and_is_drained_by_the_newer() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) =
        (World::beside(directory.path(), PARTITIONS).await, World::beside(directory.path(), PARTITIONS).await);
    let probe = Arc::new(Probe::default());
    let truce = Duration::from_millis(5);
    let older = old.run(Scripted::version(&old, without_unlikes), as_projections(&probe), truce).await;
    let posts = 0..12;
    let partitions: BTreeSet<u16> =
        posts.clone().map(|number| partition_of(&Lane::post(post(number)), PARTITIONS)).collect();
    assert_eq!(partitions.len(), usize::from(PARTITIONS), "every partition has something to park");
    for number in posts.clone() {
        new.append(post(number), 1..=4).await;
    }
    old.caught_up().await;
    assert_eq!(old.parked().await.len(), posts.len(), "every lane waits behind the second event");
    for number in posts.clone() {
        assert_eq!(probe.of(post(number)), [1]);
    }

    // The new version has some of the partitions, and drains what waits there; the old one keeps the rest waiting.
    let newer = new.run(Arc::clone(&new.event_log) as Arc<dyn EventLog>, as_projections(&probe), truce).await;
    let drained = async {
        while new.parked().await.len() == posts.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FOREVER, drained).await.expect("the newer version drains");
    for number in posts.clone() {
        new.append(post(number), 5..=6).await;
    }
    new.caught_up().await;

    older.stop().await;
    let drained = async {
        while !new.parked().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FOREVER, drained).await.expect("the newer version takes over and drains");
    for number in posts {
        new.append(post(number), [7]).await;
        new.caught_up().await;
        assert_eq!(firsts(&probe.of(post(number))), (1..=7).collect::<Vec<_>>(), "P3, over both versions");
    }
    newer.stop().await;
}

/// A process on the same files, with real projections.
async fn process(directory: &Path) -> (World, Runtime) {
    let world = World::beside(directory, PARTITIONS).await;
    let views = world.views();
    let projections: Vec<Arc<dyn Projection>> = vec![Arc::new(world.engagement()), Arc::new(Profiles::new(views))];
    let log = Arc::clone(&world.event_log) as Arc<dyn EventLog>;
    let runtime = world.run(log, projections, Duration::from_millis(20)).await;
    (world, runtime)
}

/// Likes and follows that begin and end, some of them in the log twice.
struct Writer {
    world: World,
    sequences: BTreeMap<StreamId, u64>,
}

impl Writer {
    async fn write(&mut self, count: usize) {
        let mut records = Vec::new();
        for _ in 0..count {
            let (actor, event): (UserId, fn(UserId, bool, u8) -> Event) = if rand::random() {
                (id(rand::rng().random_range(0..9)), |user, begins, number| {
                    let subject = reaction::Subject { post: post(number), user };
                    if begins { reaction::Event::Liked(subject) } else { reaction::Event::Unliked(subject) }.into()
                })
            } else {
                // Whoever acts has the lesser number, so that a pair's stream is about one direction.
                (id(rand::rng().random_range(0..9)), |user, begins, number| {
                    let pair = Pair { from: user, to: id(number + 9) };
                    if begins { relation::Event::Followed(pair) } else { relation::Event::Unfollowed(pair) }.into()
                })
            };
            let number = rand::rng().random_range(0..9);
            let stream = event(actor, true, number).stream();
            let sequence = self.sequences.entry(stream).or_default();
            *sequence += 1;
            let event = event(actor, *sequence % 2 == 1, number);
            let record = self.world.codec.seal(envelope(stream, *sequence, actor, event)).await.unwrap();
            records.extend(std::iter::repeat_n(record, if rand::random_ratio(1, 8) { 2 } else { 1 }));
        }
        self.world.event_log.append(records).await.unwrap();
    }

    async fn model(&self) -> Reference {
        let mut model = Reference::default();
        for topic in [Topic::Posts, Topic::Relations] {
            for partition in 0..PARTITIONS {
                let all = self.world.event_log.read(topic, partition, BEFORE_FIRST, usize::MAX, Duration::ZERO);
                for logged in all.await.unwrap() {
                    let envelope = self.world.codec.parse(&logged.record.unwrap()).unwrap();
                    model.apply(&envelope, logged.position.offset).unwrap();
                }
            }
        }
        model
    }

    /// Waits for the projections, then compares what they counted with the log.
    async fn compare(&self) {
        self.world.caught_up_with(Engagement::NAME, &[Topic::Posts]).await;
        self.world.caught_up_with(Profiles::NAME, &[Topic::Posts, Topic::Relations, Topic::Users]).await;
        let (model, views) = (self.model().await, self.world.views());
        for number in 0..9 {
            let row = views.post_row(Generation::FIRST, post(number)).await.unwrap();
            assert_eq!(row.likes, model.likes(post(number)).len() as u64, "likes of post {number}");
        }
        for number in 0..18 {
            let row = views.profiles(Generation::FIRST, &[id(number)]).await.unwrap().remove(0);
            let shown = row.map_or((0, 0), |row| (row.followers, row.following));
            let expected = model.profile(id(number));
            assert_eq!(shown, (expected.followers, expected.following), "person {number}");
        }
    }
}

/// C1, C2, P1, P2 over processes that come, go and are killed in the middle of their batches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_lose_nothing_and_double_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer { world: World::beside(directory.path(), PARTITIONS).await, sequences: BTreeMap::new() };
    let mut processes = vec![process(directory.path()).await, process(directory.path()).await];
    for round in 0..3 {
        let before = writer.world.checkpoints.progress().borrow().positions.clone();
        writer.write(400).await;
        // Some of it is applied, and not all.
        let mut progress = writer.world.checkpoints.progress();
        let moved = progress.wait_for(|progress| progress.positions != before);
        tokio::time::timeout(FOREVER, moved).await.expect("the processes are at work").unwrap();
        let (_world, victim) = processes.remove(0);
        if round == 1 {
            victim.stop().await
        } else {
            victim.kill().await
        }
        processes.push(process(directory.path()).await);
        writer.write(100).await;
        writer.compare().await;
    }
    for (_world, runtime) in processes {
        runtime.stop().await;
    }
}
