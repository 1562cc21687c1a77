//! "home feed, embedded": a page of twenty hydrated posts, warm.

use std::net::SocketAddr;
use std::process::Stdio;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::load::{self, Round, Same};
use crate::report::{Figure, Target};
use crate::town::Town;
use crate::{CLIENTS, Scale};

const POSTS: usize = 20;

/// Measures it.
pub(crate) async fn measure(town: &Town, scale: Scale) -> Figure {
    let mut readers = Vec::new();
    for &person in &town.people {
        let page = town.client(person).get("/v1/feed?limit=20").await.expect(200);
        if page.json()["items"].as_array().is_some_and(|items| items.len() == POSTS) {
            readers.push(Same(request("/v1/feed?limit=20", &town.token(person))));
        }
        if readers.len() == CLIENTS {
            break;
        }
    }
    assert!(!readers.is_empty(), "nobody has {POSTS} posts in their feed: seed more");
    let clients: Vec<Same> = readers.iter().cycle().take(CLIENTS).cloned().collect();

    // Warm, and the mean size of a page.
    let (warm, mut clients) = load::round(town.address(), clients, scale.round).await;
    let bytes = warm.body_bytes / warm.answers;
    let (mut constant, address) = start_constant(bytes).await;
    let constant_process = constant.id().expect("it runs");
    let same = request("/v1/feed?limit=20", &town.token(town.people[0]));
    let (_, mut same) = load::round(address, vec![Same(same); CLIENTS], scale.round / 2).await;

    let (mut rounds, mut limits) = (Vec::new(), Vec::new());
    let before = (load::processor_time(town.server.process_id()), load::processor_time(constant_process));
    for _ in 0..scale.rounds {
        let (limit, again) = load::round(address, same, scale.round).await;
        same = again;
        limits.push(limit);
        let (round, again) = load::round(town.address(), clients, scale.round).await;
        clients = again;
        rounds.push(round);
    }
    let used = load::processor_time(town.server.process_id()) - before.0;
    let used_by_constant = load::processor_time(constant_process) - before.1;
    constant.kill().await.expect("it ends");
    let each = |used: std::time::Duration, rounds: &[Round]| {
        used.as_secs_f64() * 1e6 / rounds.iter().map(|round| round.answers).sum::<u64>() as f64
    };
    Figure {
        name: "home feed, embedded",
        unit: "requests/s",
        limit_is: format!("an axum handler in a process of its own that sends a constant body of {bytes} bytes"),
        processor_micros: (each(used, &rounds), Some(each(used_by_constant, &limits))),
        values: rounds.iter().map(Round::rate).collect(),
        limits: limits.iter().map(Round::rate).collect(),
        target: Target::Rate(0.5),
        notes: vec![format!("{} people's feeds, {POSTS} hydrated posts each, access tokens verified.", readers.len())],
    }
}

fn request(path: &str, token: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\nauthorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}

async fn start_constant(bytes: u64) -> (Child, SocketAddr) {
    let this = std::env::current_exe().expect("this program has a path");
    let mut child = tokio::process::Command::new(this)
        .args(["--constant", &bytes.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let said = child.stdout.take().expect("its output");
    let line = BufReader::new(said).lines().next_line().await.expect("a line").expect("an address");
    (child, line.parse().expect("an address"))
}

/// Serves a constant body of so many bytes on a free port, which it prints.
#[expect(clippy::print_stdout, reason = "that is how the parent learns the address")]
pub(crate) async fn serve_constant(bytes: usize) {
    let body = Bytes::from(vec![b'x'; bytes]);
    let handler = move || {
        let body = body.clone();
        async move { ([("content-type", "application/json")], body) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, Router::new().route("/v1/feed", get(handler))).await.expect("it serves");
}
