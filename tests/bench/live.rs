//! What is held open, and what many ask for at one moment: cold keys, streams, resumes.
//!
//! Against limits that are numbers: one load of a key, so many bytes for a stream, no event lost or doubled.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Person, Tokens};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Scale;
use crate::load::{self, Requests};
use crate::town::Town;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Who ask for a cold key at one moment, and how often they do.
    readers: usize,
    rounds: usize,
    /// Streams that are held open, and posts that they are of.
    streams: usize,
    watched: usize,
    /// Resumes, and who does them side by side.
    resumes: usize,
    watchers: usize,
}

/// As the table of targets has it.
pub(crate) const WHOLE: Sizes =
    Sizes { readers: 1_000, rounds: 5, streams: 20_000, watched: 500, resumes: 100_000, watchers: 32 };
/// Whether it still works.
pub(crate) const SMOKE: Sizes = Sizes { readers: 50, rounds: 1, streams: 100, watched: 10, resumes: 200, watchers: 4 };

/// KiB that a stream may take.
const PER_STREAM: f64 = 20.0;
/// Connections that are being made at one time.
const CONNECTING: usize = 128;

/// A number, and what it may be at most.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    most: f64,
    note: String,
}

/// Of open files, left for all else.
const SPARE: usize = 500;

/// Measures and prints.
pub(crate) async fn measure(mut sizes: Sizes) {
    sizes.streams = sizes.streams.min(open_files().saturating_sub(SPARE));
    let scale = Scale { users: 100, posts: 1_000, rounds: 1, round: Duration::ZERO };
    let mut town = Town::new(scale).await;
    let cold = cold_key(&mut town, sizes).await;
    let resumed = resumes(&town, sizes).await;
    let [held, told] = streams(&town, sizes).await;
    town.judge().await;
    print(&[cold, held, told, resumed]);
}

/// How many files this process may have open, and with it the server that it starts.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX)
}

/// Asks once.
struct Once(Option<Vec<u8>>);

impl Requests for Once {
    fn next(&mut self, request: &mut Vec<u8>) -> bool {
        self.0.take().is_some_and(|once| {
            request.extend_from_slice(&once);
            true
        })
    }
}

/// How often a key is loaded that nobody has read since the server started, and that all ask for at once.
async fn cold_key(town: &mut Town, sizes: Sizes) -> Figure {
    let author = town.people[0];
    let request = format!("GET /v1/users/{author}/posts?limit=1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes();
    let (mut worst, mut took) = (0.0_f64, Duration::ZERO);
    for _ in 0..sizes.rounds {
        assert!(town.server.terminate().await.success());
        town.server.start_again().await;
        let all = (0..sizes.readers).map(|_| Once(Some(request.clone()))).collect();
        let (round, _) = load::round(town.address(), all, Duration::from_secs(60)).await;
        assert_eq!(round.answers, sizes.readers as u64, "everybody is answered");
        // The post's preview, and its counts.
        worst = worst.max(metric(town, "hybrid_live_cache_loaded_total").await / 2.0);
        took = took.max(round.took);
    }
    Figure {
        name: "cold key, loads from its master",
        value: worst,
        unit: "",
        most: 1.0,
        note: format!(
            "{} readers at one moment, {} starts of the server; all were answered within {:.0} ms.",
            sizes.readers,
            sizes.rounds,
            took.as_secs_f64() * 1e3
        ),
    }
}

/// The sum of a metric of the server.
async fn metric(town: &Town, name: &str) -> f64 {
    let text = town.server.client().get("/metrics").await.expect(200).body;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// An open stream, read by hand: twenty thousand of them must not cost more than what is measured.
struct Stream {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Stream {
    async fn open(server: SocketAddr, post: &str, last_id: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(server).await.expect("connects");
        let last_id = last_id.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        let request = format!("GET /v1/posts/{post}/stream HTTP/1.1\r\nhost: 127.0.0.1\r\n{last_id}\r\n");
        socket.write_all(request.as_bytes()).await.expect("the server reads");
        let mut stream = Self { socket, buffer: Vec::new() };
        // What it begins with says that it has subscribed.
        while !stream.text().contains("\r\n\r\n") || !stream.text().contains("retry:") {
            stream.more().await;
        }
        assert!(stream.buffer.starts_with(b"HTTP/1.1 200"), "{}", stream.text());
        stream
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.buffer)
    }

    async fn more(&mut self) {
        let read = self.socket.read_buf(&mut self.buffer).await.expect("the server writes");
        assert!(read > 0, "the server hung up: {}", self.text());
    }

    async fn until(&mut self, what: &str) {
        while !self.text().contains(what) {
            self.more().await;
        }
        self.buffer = Vec::new();
    }

    /// What has been told in full: the last id, and the comments.
    fn told(&self) -> (Option<String>, Vec<String>) {
        let text = self.text();
        let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
        let (mut last, mut comments) = (None, Vec::new());
        for event in whole.split("\n\n") {
            let field = |name: &str| {
                let mut found = event.lines().filter_map(|line| line.strip_prefix(name));
                found.next().map(|value| value.trim_start().to_owned())
            };
            if field("event:").as_deref() == Some("NEW_COMMENT") {
                let data: Value = field("data:").and_then(|data| serde_json::from_str(&data).ok()).expect("JSON");
                comments.push(data["id"].as_str().expect("an id").to_owned());
            }
            assert_ne!(field("event:").as_deref(), Some("reset"), "nobody is away for so long");
            last = field("id:").or(last);
        }
        (last, comments)
    }
}

/// What an open stream costs, and how long it takes until all that watch a post are told.
async fn streams(town: &Town, sizes: Sizes) -> [Figure; 2] {
    let (server, process) = (town.address(), town.server.process_id());
    let posts: Arc<Vec<String>> = Arc::new(town.posts.iter().take(sizes.watched).cloned().collect());
    // What the first few need, all share.
    let first = Stream::open(server, &posts[0], None).await;
    let before = load::resident_memory(process);
    let (next, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut connecting = JoinSet::new();
    for _ in 0..CONNECTING {
        let (posts, next) = (Arc::clone(&posts), Arc::clone(&next));
        connecting.spawn(async move {
            let mut streams = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= sizes.streams {
                    return streams;
                }
                let post = number % posts.len();
                streams.push((post, Stream::open(server, &posts[post], None).await));
            }
        });
    }
    let streams: Vec<(usize, Stream)> = connecting.join_all().await.into_iter().flatten().collect();
    let opened = began.elapsed();
    let each = (load::resident_memory(process) - before) as f64 / 1024.0 / sizes.streams as f64;

    let watched = posts[0].clone();
    let ada = Person::register(&town.server.client(), "ada").await;
    let began = Instant::now();
    let comment = ada.comment(&watched, "to whom it may concern", &mut Tokens::default()).await;
    let mut count = 0;
    let mut streams = streams;
    for (_, stream) in streams.iter_mut().filter(|(post, _)| *post == 0) {
        stream.until(&comment).await;
        count += 1;
    }
    let told = began.elapsed().as_secs_f64() * 1e3;
    drop((first, streams));
    [
        Figure {
            name: "open streams, memory each",
            value: each,
            unit: "KiB",
            most: PER_STREAM,
            note: format!(
                "{} streams of {} posts on one process, opened in {:.1} s.",
                sizes.streams,
                posts.len(),
                opened.as_secs_f64()
            ),
        },
        Figure {
            name: "comment → its last watcher",
            value: told,
            unit: "ms",
            most: 1_000.0,
            note: format!("{count} watch that post, beside all the others."),
        },
    ]
}

/// How often something is missed or told twice by those who are cut off again and again while people comment.
async fn resumes(town: &Town, sizes: Sizes) -> Figure {
    let server = town.address();
    let writer = Person::register(&town.server.client(), "writer").await;
    let post = writer.publish("much to say about", &mut Tokens::default()).await.id;
    let path = format!("/v1/posts/{post}/comments");
    let began = Instant::now();
    let each = sizes.resumes.div_ceil(sizes.watchers);
    let mut watchers = JoinSet::new();
    for _ in 0..sizes.watchers {
        let post = post.clone();
        watchers.spawn(async move {
            let (mut last, mut seen) = (None, HashMap::<String, usize>::new());
            for _ in 0..each {
                let mut stream = Stream::open(server, &post, last.as_deref()).await;
                // Until something new has come, so that there is something to go on from.
                let (newest, comments) = loop {
                    let (newest, comments) = stream.told();
                    if newest.is_some() && (last.is_none() || !comments.is_empty()) {
                        break (newest, comments);
                    }
                    stream.more().await;
                };
                last = newest.or(last);
                for comment in comments {
                    *seen.entry(comment).or_default() += 1;
                }
            }
            (last, seen)
        });
    }
    let mut said = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < sizes.watchers {
        let comment = writer.client.post(&path, &json!({ "text": "as fast as can be" })).await.expect(201).text("id");
        said.push(comment);
        while let Some(done) = watchers.try_join_next() {
            seen.push(done.expect("a watcher ends"));
        }
    }
    let took = began.elapsed();
    let newest = said.last().cloned().unwrap_or_default();
    let mut wrong = 0;
    for (last, mut seen) in seen {
        let mut stream = Stream::open(server, &post, last.as_deref()).await;
        while !stream.told().1.contains(&newest) && !seen.contains_key(&newest) {
            stream.more().await;
        }
        for comment in stream.told().1 {
            *seen.entry(comment).or_default() += 1;
        }
        // Those who came later than the first comments have not missed them.
        let begin = said.iter().position(|comment| seen.contains_key(comment)).unwrap_or(0);
        wrong += said[begin..].iter().filter(|comment| seen.get(*comment) != Some(&1)).count();
    }
    Figure {
        name: "resumed streams, events lost or doubled",
        value: wrong as f64,
        unit: "",
        most: 0.0,
        note: format!(
            "{} resumes by {} watchers of a post with {} comments meanwhile, in {:.1} s: {:.0} resumes/s.",
            each * sizes.watchers,
            sizes.watchers,
            said.len(),
            took.as_secs_f64(),
            (each * sizes.watchers) as f64 / took.as_secs_f64()
        ),
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what the program is run for")]
fn print(figures: &[Figure]) {
    for Figure { name, value, unit, most, .. } in figures {
        println!("{}", json!({ "name": name, "value": value, "unit": unit, "limit": most }));
    }
    println!("\n| figure | value | at most |\n| --- | ---: | ---: |");
    for Figure { name, value, unit, most, .. } in figures {
        println!("| {name} | {value:.1} {unit} | {most:.0} {unit} |");
    }
    println!();
    for Figure { name, note, .. } in figures {
        println!("- {name}: {note}");
    }
}
