//! The contract, and what is true of this adapter beyond it.

use std::path::Path;
use std::time::Duration;

use domain::{LogId, Topic};
use tempfile::TempDir;

use super::*;
use crate::checkpoints::contract;
use crate::sqlite::{Durability, READ_MODELS, Sharing, TRUTH};

struct Files {
    read_models: Arc<Database>,
    truth: Arc<Database>,
}

impl Files {
    fn open(folder: &Path) -> Self {
        let read_models =
            Database::open_as(&folder.join("read_models.db"), &READ_MODELS, Durability::Process, Sharing::Shared)
                .unwrap();
        let truth = Database::open_as(&folder.join("truth.db"), &TRUTH, Durability::Power, Sharing::Shared).unwrap();
        Self { read_models, truth }
    }

    fn checkpoints(&self) -> SqliteCheckpoints {
        SqliteCheckpoints::open(Arc::clone(&self.read_models), Arc::clone(&self.truth)).unwrap()
    }

    async fn switch(&self, generation: u32) {
        let switch = "INSERT INTO serving_generations (projection, generation) VALUES ('timelines', ?1)
            ON CONFLICT (projection) DO UPDATE SET generation = excluded.generation";
        self.truth.write(move |connection| Ok(connection.execute(switch, [generation])?)).await.unwrap();
    }
}

async fn open() -> (Arc<dyn Checkpoints>, Arc<dyn Checkpoints>, TempDir) {
    let folder = TempDir::new().unwrap();
    // Handles of their own, as two processes have them.
    let [one, other] = [(); 2].map(|()| Files::open(folder.path()).checkpoints());
    (Arc::new(one), Arc::new(other), folder)
}

contract::stamp!(open);

const FIRST: Build = Build { projection: "timelines", generation: Generation::FIRST };
const SECOND: Build = Build { projection: "timelines", generation: Generation(2) };
const PLACE: Partition = Partition { topic: Topic::Posts, number: 0 };

fn at(offset: i64) -> Position {
    Position { log: LogId(7), topic: PLACE.topic, partition: PLACE.number, offset }
}

async fn until(progress: &mut watch::Receiver<Progress>, is_so: impl FnMut(&Progress) -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), progress.wait_for(is_so)).await;
    waited.expect("the progress that was waited for").expect("the port is open");
}

/// The pointer is one write to the truth; after it, another generation's progress is what counts.
#[tokio::test]
async fn a_switch_of_generations_is_noticed() {
    let folder = TempDir::new().unwrap();
    let files = Files::open(folder.path());
    let checkpoints = files.checkpoints();
    let first = checkpoints.take(FIRST, PLACE).await.unwrap().epoch;
    let second = checkpoints.take(SECOND, PLACE).await.unwrap().epoch;
    checkpoints.save(FIRST, first, at(20)).await.unwrap();
    checkpoints.save(SECOND, second, at(10)).await.unwrap();
    checkpoints.park(SECOND, second, PLACE, &Lane::new("a"), &[9], "stopped").await.unwrap();
    let mut progress = checkpoints.progress();
    assert!(progress.borrow().has_passed("timelines", PLACE, 20));

    files.switch(2).await;
    until(&mut progress, |progress| !progress.has_passed("timelines", PLACE, 20)).await;
    assert_eq!(checkpoints.serving("timelines").await.unwrap(), Generation(2));
    assert_eq!(checkpoints.serving("engagement").await.unwrap(), Generation::FIRST);
    assert!(progress.borrow().has_passed("timelines", PLACE, 10));
    assert!(progress.borrow().is_parked("timelines", PLACE, &Lane::new("a")));

    // The one that no longer serves goes on, unseen, and can be switched back to.
    checkpoints.save(FIRST, first, at(30)).await.unwrap();
    assert!(!progress.borrow().has_passed("timelines", PLACE, 11));
    files.switch(1).await;
    until(&mut progress, |progress| progress.has_passed("timelines", PLACE, 30)).await;
    assert!(!progress.borrow().is_parked("timelines", PLACE, &Lane::new("a")));
}

/// A start does not begin with nothing known: what is done is done, without waiting for the first look.
#[tokio::test]
async fn what_is_stored_is_known_from_the_start() {
    let folder = TempDir::new().unwrap();
    {
        let files = Files::open(folder.path());
        let checkpoints = files.checkpoints();
        let epoch = checkpoints.take(SECOND, PLACE).await.unwrap().epoch;
        checkpoints.save(SECOND, epoch, at(10)).await.unwrap();
        checkpoints.park(SECOND, epoch, PLACE, &Lane::new("a"), &[9], "stopped").await.unwrap();
        files.switch(2).await;
    }
    let checkpoints = Files::open(folder.path()).checkpoints();
    let progress = checkpoints.progress();
    assert!(progress.borrow().has_passed("timelines", PLACE, 10));
    assert!(progress.borrow().is_parked("timelines", PLACE, &Lane::new("a")));
    assert_eq!(checkpoints.serving("timelines").await.unwrap(), Generation(2));
}

/// Own writes and looks at the files meet in the same watch, and what was looked up may be older than what was noted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_never_falls_while_the_files_are_looked_at() {
    const SAVES: i64 = 1_500;
    let folder = TempDir::new().unwrap();
    let files = Files::open(folder.path());
    let checkpoints = files.checkpoints();
    let looked = known::Files::open(&files.read_models, &files.truth).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let looks = std::thread::spawn({
        let (known, stop, mut looked) = (Arc::clone(&checkpoints.known), Arc::clone(&stop), looked);
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                known.look_at(&mut looked).unwrap();
            }
        }
    });
    let epoch = checkpoints.take(FIRST, PLACE).await.unwrap().epoch;
    let progress = checkpoints.progress();
    for offset in 0..SAVES {
        checkpoints.save(FIRST, epoch, at(offset)).await.unwrap();
        let lane = Lane::new("a");
        checkpoints.park(FIRST, epoch, PLACE, &lane, &[offset], "stopped").await.unwrap();
        assert!(progress.borrow().is_parked("timelines", PLACE, &lane), "the lane was forgotten");
        checkpoints.unpark(FIRST, epoch, PLACE, &lane, offset).await.unwrap();
        assert!(!progress.borrow().is_parked("timelines", PLACE, &lane), "the lane is shown as parked again");
        assert!(progress.borrow().has_passed("timelines", PLACE, offset), "the progress fell");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    looks.join().unwrap();
}

/// The files are as they were at the last look, and what was noted since is not so any more.
#[tokio::test]
async fn what_is_noted_and_taken_back_by_another_between_two_looks_is_not_known_for_ever() {
    let folder = TempDir::new().unwrap();
    let (ours, theirs) = (Files::open(folder.path()), Files::open(folder.path()).checkpoints());
    let known = known::Known::default();
    let mut looked = known::Files::open(&ours.read_models, &ours.truth).unwrap();
    known.look_at(&mut looked).unwrap();
    let (at, wanted) = (Timestamp::from_millis(1), known.orders());
    assert!(theirs.set_paused("timelines", true, at).await.unwrap());
    known.note_paused("timelines".to_owned(), Some(at));
    assert!(wanted.borrow().paused.contains_key("timelines"));
    assert!(theirs.set_paused("timelines", false, at).await.unwrap());
    known.look_at(&mut looked).unwrap();
    assert!(wanted.borrow().paused.is_empty());
}

/// Version 1 did not know which posts were imported, so what it made of the log is made again.
#[tokio::test]
async fn read_models_of_version_1_are_built_again_where_they_lack_something() {
    let folder = TempDir::new().unwrap();
    let first = crate::sqlite::Schema { migrations: &READ_MODELS.migrations[..1], ..READ_MODELS };
    let path = folder.path().join("read_models.db");
    let old = Database::open(&path, &first, Durability::Process).unwrap();
    old.write(|connection| {
        Ok(connection.execute_batch(
            r#"INSERT INTO checkpoints VALUES (1, 'timelines', 'hybrid-live.posts', 0, 7, '0000000000000007', 41);
            INSERT INTO checkpoints VALUES (1, 'another', 'hybrid-live.posts', 0, 3, '0000000000000007', 41);
            INSERT INTO author_posts VALUES (1, x'01', x'02', 0, 1, 0, 41);
            INSERT INTO homes VALUES (1, x'01', x'02', x'01', 0, 41);"#,
        )?)
    })
    .await
    .unwrap();
    drop(old);
    let files = Files::open(folder.path());
    let checkpoints = files.checkpoints();
    assert_eq!(checkpoints.take(FIRST, PLACE).await.unwrap().position, None);
    let kept = checkpoints.take(Build { projection: "another", ..FIRST }, PLACE).await.unwrap();
    assert_eq!(kept.position, Some(at(41)));
    let rows = "SELECT (SELECT count(*) FROM homes) + (SELECT count(*) FROM author_posts)";
    let rows =
        files.read_models.read(|connection| Ok(connection.query_row(rows, [], |row| row.get::<_, i64>(0))?)).await;
    assert_eq!(rows.unwrap(), 0);
}

/// A file of version 1 keeps its checkpoints, and nobody is suspected for what was not counted then.
#[tokio::test]
async fn a_file_from_before_starts_were_counted_goes_on() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("read_models.db");
    let first_version = crate::sqlite::Schema { migrations: &READ_MODELS.migrations[..1], ..READ_MODELS };
    let old = Database::open(&path, &first_version, Durability::Process).unwrap();
    let log = LogId(7).to_string();
    old.write(move |connection| {
        let insert = "INSERT INTO checkpoints VALUES (1, 'another', ?1, 0, 3, ?2, 41)";
        connection.execute(insert, [PLACE.topic.name(), &log])?;
        let park = "INSERT INTO parked_lanes VALUES (1, 'another', ?1, 0, 'a', 'stopped')";
        connection.execute(park, [PLACE.topic.name()])?;
        let wait = "INSERT INTO parked_events VALUES (1, 'another', ?1, 0, 'a', 40)";
        Ok(connection.execute(wait, [PLACE.topic.name()])?)
    })
    .await
    .unwrap();
    drop(old);
    let build = Build { projection: "another", generation: Generation::FIRST };
    let taken = Files::open(folder.path()).checkpoints().take(build, PLACE).await.unwrap();
    assert_eq!((taken.epoch, taken.position), (OwnerEpoch(4), Some(at(41))));
    assert_eq!(taken.suspicion, crate::checkpoints::Suspicion { starts: 1, careful_until: None, trial: None });
    assert_eq!((taken.parked.len(), taken.parked[0].unfinished_drains), (1, 0));
}
