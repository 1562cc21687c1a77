//! "like command, embedded": 64 clients, each like durable before it is acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use harness::{Person, TruthFiles, id_bytes};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tokio::sync::{mpsc, oneshot};

use crate::load::{self, Requests, Round};
use crate::report::{Figure, Target};
use crate::town::Town;
use crate::{CLIENTS, Scale};

const DOCUMENT: &str = "stream, revision, sequence, state, private, recent_commands, published_sequence, published_log, \
                        published_place, outbox_since";
const EVENT: &str =
    "place, lane, event_id, type, version, subject, sequence, time, actor, correlation_id, causation_id, data";
/// Writes that share a commit, at most.
const GROUP: usize = 256;

/// Somebody who likes one post after the other, each once.
pub(crate) struct Liker {
    token: String,
    posts: Arc<Vec<String>>,
    first: usize,
    liked: usize,
}

impl Liker {
    /// The `number`th of all: each begins with another post.
    pub(crate) fn new(number: usize, token: String, posts: &Arc<Vec<String>>) -> Self {
        Self { token, posts: Arc::clone(posts), first: number * posts.len() / CLIENTS, liked: 0 }
    }
}

impl Requests for Liker {
    fn next(&mut self, request: &mut Vec<u8>) -> bool {
        if self.liked == self.posts.len() {
            return false;
        }
        let post = &self.posts[(self.first + self.liked) % self.posts.len()];
        self.liked += 1;
        for part in [
            "PUT /v1/posts/",
            post,
            "/like HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ",
            &self.token,
            "\r\n\r\n",
        ] {
            request.extend_from_slice(part.as_bytes());
        }
        true
    }
}

/// What one like writes: its document and its event, as the server wrote them.
type Rows = (Vec<Value>, Vec<Value>);

/// Measures it.
pub(crate) async fn measure(town: &Town, scale: Scale) -> Figure {
    let before = town.counted_likes();
    let posts = Arc::new(town.posts.clone());
    let client = town.server.client();
    let names: Vec<String> = (0..CLIENTS).map(|number| format!("liker_{number}")).collect();
    let likers = futures::future::join_all(names.iter().map(|name| Person::register(&client, name))).await;
    let mut likers: Vec<Liker> = likers
        .iter()
        .enumerate()
        .map(|(number, person)| Liker::new(number, town.token(person.id.parse().expect("an id")), &posts))
        .collect();

    // The limit writes into a copy of the same file, so that its trees are as deep.
    let copy = tempfile::tempdir_in(town.server.directory()).expect("a directory");
    let copy = copy.path().join("bare.db");
    let files = town.server.files();
    // It only reads, and SQLite takes it for a write all the same.
    TruthFiles::changing(&files.content).execute_batch(&format!("VACUUM INTO '{}'", copy.display())).expect("a copy");
    let mut newest = newest_place(&files.event_log());
    let (_, again) = load::round(town.address(), likers, scale.round / 2).await;
    likers = again;
    write_bare(&copy, new_rows(town, &mut newest)).await;

    let (mut rounds, mut limits, mut acknowledged) = (Vec::new(), Vec::new(), 0);
    let used_before = load::processor_time(town.server.process_id());
    for _ in 0..scale.rounds {
        let (round, again) = load::round(town.address(), likers, scale.round).await;
        likers = again;
        let rows = new_rows(town, &mut newest);
        assert_eq!(rows.len() as u64, round.answers, "every acknowledged like is in the log");
        acknowledged += round.answers;
        rounds.push(round);
        limits.push(write_bare(&copy, rows).await);
    }
    let used = load::processor_time(town.server.process_id()) - used_before;
    town.judge().await;
    let liked: u64 = likers.iter().map(|liker| liker.liked as u64).sum();
    assert_eq!(town.counted_likes(), before + liked, "every acknowledged like is counted once");
    Figure {
        name: "like command, embedded",
        unit: "commands/s",
        limit_is: "bare SQLite, one writer that commits what 64 producers wait for in groups, synchronous=FULL, the \
                   very rows that the server wrote (document and event), into a copy of its file"
            .to_owned(),
        processor_micros: (used.as_secs_f64() * 1e6 / acknowledged as f64, None),
        values: rounds.iter().map(Round::rate).collect(),
        limits,
        target: Target::Rate(0.5),
        notes: vec![format!(
            "{liked} likes, all counted, verify found no difference; the projections ran meanwhile and their time is in \
             the processor time."
        )],
    }
}

/// A partition's newest place: the place is topic, partition and offset in one number.
type Newest = std::collections::HashMap<i64, i64>;

fn newest_place(log: &Connection) -> Newest {
    let mut query = log.prepare("SELECT place >> 44, max(place) FROM events GROUP BY place >> 44").expect("SQL");
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("places")
}

/// The rows of the likes since the last call.
fn new_rows(town: &Town, newest: &mut Newest) -> Vec<Rows> {
    let file = town.server.files().content();
    let now = newest_place(&file);
    let mut events = file
        .prepare(&format!("SELECT {EVENT} FROM events WHERE place > ?1 AND place <= ?2 AND type = 'reaction.liked'"))
        .expect("SQL");
    let mut document = file.prepare(&format!("SELECT {DOCUMENT} FROM documents WHERE stream = ?1")).expect("SQL");
    let whole = |row: &rusqlite::Row<'_>, columns: usize| (0..columns).map(|column| row.get(column)).collect();
    let mut rows = Vec::new();
    for (partition, end) in &now {
        let start = newest.get(partition).copied().unwrap_or(*partition << 44);
        let found = events.query_map([start, *end], |row| whole(row, 12)).expect("rows");
        for event in found.collect::<Result<Vec<Vec<Value>>, _>>().expect("events") {
            let Value::Text(subject) = &event[5] else { panic!("a subject is a text") };
            let ids = subject.strip_prefix("reaction-").expect("a reaction").split_at(36);
            let stream = [vec![3], id_bytes(ids.0), id_bytes(&ids.1[1..])].concat();
            rows.push((document.query_row([stream], |row| whole(row, 10)).expect("a document"), event));
        }
    }
    // As they came in, and not one partition after the other.
    rows.sort_by_key(|(_, event)| time(event));
    *newest = now;
    rows
}

fn time(event: &[Value]) -> i64 {
    match event[7] {
        Value::Integer(time) => time,
        _ => panic!("a time is a number"),
    }
}

/// Writes the rows as fast as SQLite can do it for 64 who wait; answers how many per second.
async fn write_bare(path: &Path, rows: Vec<Rows>) -> f64 {
    let (jobs, queue) = mpsc::channel::<(Rows, oneshot::Sender<()>)>(1024);
    let connection = Connection::open(path).expect("the copy opens");
    for (name, value) in
        [("journal_mode", "WAL"), ("synchronous", "FULL"), ("cache_size", "-8192"), ("temp_store", "MEMORY")]
    {
        connection.pragma_update(None, name, value).expect("a pragma");
    }
    let writer = std::thread::spawn(move || write_in_groups(&connection, queue));
    let count = rows.len();
    let rows = Arc::new(rows);
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut producers = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (rows, next, jobs) = (Arc::clone(&rows), Arc::clone(&next), jobs.clone());
        producers.spawn(async move {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (reply, done) = oneshot::channel();
                jobs.send((row.clone(), reply)).await.expect("the writer runs");
                done.await.expect("the writer answers");
            }
        });
    }
    producers.join_all().await;
    let took = start.elapsed();
    drop(jobs);
    writer.join().expect("the writer ends");
    count as f64 / took.as_secs_f64()
}

fn write_in_groups(connection: &Connection, mut queue: mpsc::Receiver<(Rows, oneshot::Sender<()>)>) {
    let marks = |columns: usize| vec!["?"; columns].join(", ");
    let mut document =
        connection.prepare(&format!("INSERT INTO documents ({DOCUMENT}) VALUES ({})", marks(10))).expect("SQL");
    let mut event = connection.prepare(&format!("INSERT INTO events ({EVENT}) VALUES ({})", marks(12))).expect("SQL");
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            match queue.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        for ((document_row, event_row), _) in &group {
            document.execute(params_from_iter(document_row)).expect("a document");
            event.execute(params_from_iter(event_row)).expect("an event");
        }
        connection.execute_batch("COMMIT").expect("durable");
        for (_, reply) in group {
            // Whoever does not wait any more has nothing to be told.
            let _ = reply.send(());
        }
    }
}
