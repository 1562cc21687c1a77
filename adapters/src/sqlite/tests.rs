//! What every store that is built on [`Database`] relies on.

use std::sync::Mutex;
use std::sync::mpsc as channel;

use futures::FutureExt as _;
use futures::future::join_all;
use rusqlite::OptionalExtension as _;
use tempfile::TempDir;

use super::*;

const WORDS: Schema =
    Schema { application_id: 7, migrations: &["CREATE TABLE words (word TEXT NOT NULL, place INTEGER) STRICT;"] };

fn file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words.db");
    (directory, path)
}

fn open(path: &Path) -> Arc<Database> {
    Database::open(path, &WORDS, Durability::Process).unwrap()
}

fn say(word: &'static str) -> impl FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static {
    move |connection| {
        connection.execute("INSERT INTO words (word) VALUES (?1)", (word,))?;
        Ok(())
    }
}

fn words_in(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT word FROM words ORDER BY rowid")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

async fn words(db: &Database) -> Vec<String> {
    db.read(words_in).await.unwrap()
}

/// Waits until so many words are seen: what another process has committed is seen a little later.
async fn see(db: &Database, count: usize) {
    while words(db).await.len() < count {
        tokio::task::yield_now().await;
    }
    assert_eq!(words(db).await.len(), count);
}

/// Holds the writer up until it is told to go on, or this is dropped.
struct HeldUp(Option<channel::Sender<()>>);

impl HeldUp {
    async fn new(db: &Arc<Database>) -> Self {
        let (go_on, told) = channel::channel::<()>();
        let (holds, is_held) = oneshot::channel();
        let held = db.write(move |_| {
            let _ = holds.send(());
            let _ = told.recv();
            Ok(())
        });
        // Once it is in the queue, it runs whether or not anybody waits for it.
        assert!(held.now_or_never().is_none());
        is_held.await.unwrap();
        Self(Some(go_on))
    }

    fn go_on(mut self) {
        self.0 = None;
    }
}

#[tokio::test]
async fn writes_that_wait_share_one_commit() {
    let (_directory, path) = file();
    let db = open(&path);
    let happened = Arc::new(Mutex::new(Vec::new()));
    let held = HeldUp::new(&db).await;
    let write = |_: usize| {
        let (work, committed) = (happened.clone(), happened.clone());
        db.write_then(
            move |connection| {
                work.lock().unwrap().push("work");
                say("hello")(connection)
            },
            move |()| committed.lock().unwrap().push("committed"),
        )
    };
    let mut all = Box::pin(join_all((0..50).map(write)));
    assert!(futures::poll!(&mut all).is_pending());
    held.go_on();
    assert!(all.await.into_iter().all(|answer| answer.is_ok()));

    // `committed` is called after the commit that a write is in, so all fifty are in one.
    let expected = [["work"; 50], ["committed"; 50]].concat();
    assert_eq!(*happened.lock().unwrap(), expected);
    assert_eq!(words(&db).await.len(), 50);
}

#[tokio::test]
async fn a_write_that_fails_or_panics_is_undone_alone() {
    let (_directory, path) = file();
    let db = open(&path);
    let held = HeldUp::new(&db).await;
    let mut all = Box::pin(async {
        tokio::join!(
            db.write(say("before")),
            db.write(|connection| {
                say("failing")(connection)?;
                Err::<(), _>(StoreError::Overtaken("a guard".to_owned()))
            }),
            db.write(say("between")),
            db.write(|connection| -> Result<(), StoreError> {
                say("panicking")(connection)?;
                panic!("as the test wants")
            }),
            db.write(|connection| {
                say("violating")(connection)?;
                Ok(connection.execute("INSERT INTO words (word) VALUES (NULL)", [])?)
            }),
            db.write(say("after")),
        )
    });
    assert!(futures::poll!(&mut all).is_pending());
    held.go_on();
    let (before, failing, between, panicking, violating, after) = all.await;

    assert!(before.is_ok() && between.is_ok() && after.is_ok());
    assert!(matches!(failing, Err(StoreError::Overtaken(_))), "{failing:?}");
    assert!(matches!(panicking, Err(StoreError::Damaged(_))), "{panicking:?}");
    assert!(matches!(violating, Err(StoreError::Damaged(_))), "{violating:?}");
    assert_eq!(words(&db).await, ["before", "between", "after"]);
}

#[tokio::test]
async fn what_follows_a_commit_may_panic_and_the_writer_goes_on() {
    let (_directory, path) = file();
    let db = open(&path);
    db.write_then(say("first"), |()| panic!("as the test wants")).await.unwrap();
    db.write(say("second")).await.unwrap();
    assert_eq!(words(&db).await, ["first", "second"]);
}

#[tokio::test]
async fn a_commit_that_fails_fails_its_whole_group_and_no_other() {
    const FAMILY: Schema = Schema {
        application_id: 7,
        migrations: &["CREATE TABLE words (word TEXT PRIMARY KEY,
            root TEXT REFERENCES words DEFERRABLE INITIALLY DEFERRED) STRICT;"],
    };
    let (_directory, path) = file();
    let db = Database::open(&path, &FAMILY, Durability::Power).unwrap();
    let held = HeldUp::new(&db).await;
    let orphan = |connection: &Connection| {
        connection.execute("INSERT INTO words VALUES ('child', 'nobody')", [])?;
        Ok(())
    };
    let (told, was_told) = channel::channel();
    let mut both = Box::pin(async {
        tokio::join!(db.write_then(say("good"), move |()| told.send(()).unwrap()), db.write(orphan))
    });
    assert!(futures::poll!(&mut both).is_pending());
    held.go_on();
    let (good, orphan) = both.await;
    assert!(matches!(good, Err(StoreError::Unavailable(_))), "{good:?}");
    assert!(matches!(orphan, Err(StoreError::Unavailable(_))), "{orphan:?}");
    assert!(was_told.recv().is_err(), "told of a commit that was not");

    db.write(say("good")).await.unwrap();
    assert_eq!(words(&db).await, ["good"]);
}

#[tokio::test]
async fn a_write_whose_caller_has_gone_is_committed_and_told_of() {
    let (_directory, path) = file();
    let db = open(&path);
    let held = HeldUp::new(&db).await;
    let (told, was_told) = oneshot::channel();
    let write = db.write_then(say("heard"), move |()| told.send(()).unwrap());
    // Polled once, then dropped.
    assert!(write.now_or_never().is_none());
    held.go_on();
    was_told.await.unwrap();
    assert_eq!(words(&db).await, ["heard"]);
}

#[tokio::test]
async fn closing_waits_for_writes_under_way() {
    let (_directory, path) = file();
    let db = open(&path);
    let held = HeldUp::new(&db).await;
    assert!(db.write(say("late")).now_or_never().is_none());
    held.go_on();
    drop(db);
    assert!(!path.with_extension("db-wal").exists(), "the log of the file is not put in its place");
    assert_eq!(words(&open(&path)).await, ["late"]);
}

#[tokio::test]
async fn a_write_may_hold_the_last_handle() {
    let (_directory, path) = file();
    let db = open(&path);
    let held = HeldUp::new(&db).await;
    let (told, was_told) = oneshot::channel();
    let handle = db.clone();
    let write = async move {
        let work = move |connection: &Connection| {
            say("last")(connection)?;
            drop(handle);
            Ok(())
        };
        db.write_then(work, move |()| told.send(()).unwrap()).await
    };
    assert!(write.now_or_never().is_none());
    held.go_on();
    was_told.await.unwrap();
    assert_eq!(words(&open(&path)).await, ["last"]);
}

#[tokio::test]
async fn a_reader_sees_one_moment() {
    let (_directory, path) = file();
    let db = open(&path);
    db.write(say("old")).await.unwrap();
    let other = Connection::open(&path).unwrap();
    let seen = db.read(move |connection| {
        let before = words_in(connection)?;
        say("new")(&other)?;
        Ok((before, words_in(connection)?))
    });
    let (before, after) = seen.await.unwrap();
    assert_eq!(before, after);
    see(&db, 2).await;
}

#[tokio::test]
async fn readers_cannot_write_and_survive_panics_and_errors() {
    let (_directory, path) = file();
    let db = open(&path);
    for _ in 0..=readers::READERS {
        let panics =
            std::panic::AssertUnwindSafe(db.read(|_| -> Result<(), StoreError> { panic!("as the test wants") }));
        assert!(panics.catch_unwind().await.is_err());
        assert!(db.read(|connection| Ok(connection.execute("SELECT nothing", [])?)).await.is_err());
        // One that ends its moment itself is given back as it should be.
        assert!(db.read(|connection| Ok(connection.execute_batch("COMMIT")?)).await.is_ok());
    }
    for _ in 0..=readers::READERS {
        assert!(db.read(|connection| say("never")(connection)).await.is_err());
        assert_eq!(words(&db).await, [""; 0]);
    }
}

#[tokio::test]
async fn two_processes_share_a_file() {
    let (_directory, path) = file();
    let (one, other) = (open(&path), open(&path));
    let mut watch = one.watch().unwrap();
    assert_eq!(watch.look(words_in).unwrap(), Some(vec![]));
    assert_eq!(watch.look(words_in).unwrap(), None);

    other.write(say("from elsewhere")).await.unwrap();
    assert_eq!(watch.look(words_in).unwrap().unwrap(), ["from elsewhere"]);
    assert_eq!(watch.look(words_in).unwrap(), None);

    let writes = (0..100).flat_map(|_| [one.write(say("one")), other.write(say("other"))]);
    assert!(join_all(writes).await.into_iter().all(|answer| answer.is_ok()));
    for db in [&one, &other] {
        see(db, 201).await;
    }
}

#[tokio::test]
async fn of_a_shared_file_everybody_sees_what_anybody_has_committed() {
    let (_directory, path) = file();
    let shared = |_: usize| Database::open_as(&path, &WORDS, Durability::Process, Sharing::Shared).unwrap();
    let (ours, theirs) = (shared(0), shared(1));
    for count in 1..=200 {
        // A reader that stayed would be at this moment.
        assert_eq!(words(&ours).await.len(), count - 1);
        theirs.write(say("theirs")).await.unwrap();
        assert_eq!(words(&ours).await.len(), count);
    }
}

#[tokio::test]
async fn a_read_sees_every_write_that_was_answered_and_every_one_that_was_told_of() {
    let (_directory, path) = file();
    let (one, other) = (open(&path), open(&path));
    let mut watch = one.watch().unwrap();
    for count in 1..500 {
        one.write(say("here")).await.unwrap();
        assert_eq!(words(&one).await.len(), 2 * count - 1, "a reader stayed at an old moment");
        other.write(say("there")).await.unwrap();
        watch.look(|_| Ok(())).unwrap().unwrap();
        assert_eq!(words(&one).await.len(), 2 * count, "what was noticed is not seen");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_outlasts_a_commit_leaves_no_reader_behind_it() {
    let (_directory, path) = file();
    let db = open(&path);
    let (started, has_started) = oneshot::channel();
    let (go_on, may_go_on) = channel::channel::<()>();
    let slow = tokio::spawn({
        let db = Arc::clone(&db);
        async move {
            db.read(move |connection| {
                let seen = words_in(connection)?;
                let _ = started.send(());
                let _ = may_go_on.recv();
                Ok(seen)
            })
            .await
        }
    });
    has_started.await.unwrap();
    db.write(say("meanwhile")).await.unwrap();
    go_on.send(()).unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), [""; 0]);
    // The reader that was used last is used next.
    assert_eq!(words(&db).await, ["meanwhile"]);
}

#[tokio::test]
async fn readers_that_stay_do_not_keep_the_write_ahead_log_from_starting_over() {
    let (_directory, path) = file();
    let db = open(&path);
    for _ in 0..2_000 {
        words(&db).await;
        db.write(|connection| {
            connection.execute("UPDATE words SET word = word", [])?;
            Ok(connection.execute("INSERT INTO words (word) VALUES ('x')", []).map(|_| ())?)
        })
        .await
        .unwrap();
        db.write(|connection| Ok(connection.execute("DELETE FROM words", []).map(|_| ())?)).await.unwrap();
    }
    let log = path.with_extension("db-wal");
    // SQLite starts over beyond 1,000 pages of 4 KiB: without that, 4,000 commits come to several times as much.
    assert!(std::fs::metadata(&log).unwrap().len() < 10_000_000, "{}", std::fs::metadata(&log).unwrap().len());
}

#[test]
fn many_may_make_a_file_at_once() {
    for _ in 0..10 {
        let (_directory, path) = file();
        let together = std::sync::Barrier::new(8);
        let open = || {
            together.wait();
            Database::open(&path, &WORDS, Durability::Process).map(drop)
        };
        std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            for opened in opened {
                opened.join().unwrap().unwrap();
            }
        });
    }
}

#[test]
fn files_of_others_and_of_newer_programs_are_refused_and_left_alone() {
    let (_directory, path) = file();
    let refused = |schema: &Schema, why: &str| {
        let before = std::fs::read(&path).unwrap();
        let error = Database::open(&path, schema, Durability::Power).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "the file was changed");
    };
    drop(open(&path));
    refused(&Schema { application_id: 8, ..WORDS }, "another program");
    refused(&Schema { migrations: &[], ..WORDS }, "version 1");

    std::fs::remove_file(&path).unwrap();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE recipes (dish TEXT)").unwrap();
    drop(foreign);
    refused(&WORDS, "another program");

    std::fs::write(&path, "Dear diary, this is a text and not a database at all.".repeat(20)).unwrap();
    refused(&WORDS, "not a database");
}

#[tokio::test]
async fn migrations_happen_whole_or_not_at_all() {
    const FIRST: &str = WORDS.migrations[0];
    const BROKEN: Schema =
        Schema { application_id: 7, migrations: &[FIRST, "CREATE TABLE more (word TEXT); INSERT INTO nowhere;"] };
    const SECOND: Schema = Schema { application_id: 7, migrations: &[FIRST, "CREATE TABLE more (word TEXT);"] };
    let (_directory, path) = file();
    open(&path).write(say("kept")).await.unwrap();

    assert!(Database::open(&path, &BROKEN, Durability::Process).is_err());
    let db = open(&path);
    let find = "SELECT 1 FROM sqlite_schema WHERE name = 'more'";
    let more = db.read(|connection| Ok(connection.query_row(find, [], |row| row.get::<_, i64>(0)).optional()?)).await;
    assert_eq!(more.unwrap(), None);
    drop(db);

    let db = Database::open(&path, &SECOND, Durability::Process).unwrap();
    assert_eq!(words(&db).await, ["kept"]);
    db.read(|connection| Ok(connection.execute_batch("SELECT word FROM more")?)).await.unwrap();
    drop(db);
    assert!(Database::open(&path, &WORDS, Durability::Process).is_err(), "an older program must not write it");
}
