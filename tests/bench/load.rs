//! Closed-loop HTTP/1.1 clients that cost as little as they can: on a small machine they share it with what they
//! measure. One thread, raw sockets, no parsing but of what is needed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Longer than any answer that is measured.
const BUFFER: usize = 256 * 1024;

/// What a connection asks for next: writes a whole request; false when it has nothing more to ask.
pub(crate) trait Requests: Send + 'static {
    /// The next request, written into an empty buffer.
    fn next(&mut self, request: &mut Vec<u8>) -> bool;
}

/// The same request again and again.
#[derive(Clone, Debug)]
pub(crate) struct Same(pub(crate) Vec<u8>);

impl Requests for Same {
    fn next(&mut self, request: &mut Vec<u8>) -> bool {
        request.extend_from_slice(&self.0);
        true
    }
}

/// What a round came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Answers, all of them with a status of success.
    pub(crate) answers: u64,
    /// Bytes of their bodies.
    pub(crate) body_bytes: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

impl Round {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64()
    }
}

/// Lets each of `clients` ask over a connection of its own for `length`; gives them back for the next round.
pub(crate) async fn round<R: Requests>(server: SocketAddr, clients: Vec<R>, length: Duration) -> (Round, Vec<R>) {
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let mut sockets = Vec::new();
            for _ in &clients {
                let socket = TcpStream::connect(server).await.expect("connects");
                socket.set_nodelay(true).expect("an option");
                sockets.push(socket);
            }
            let start = Instant::now();
            let end = start + length;
            let running: Vec<_> = clients
                .into_iter()
                .zip(sockets)
                .map(|(client, socket)| tokio::task::spawn_local(ask(client, socket, end)))
                .collect();
            let mut total = Round { answers: 0, body_bytes: 0, took: Duration::ZERO };
            let mut clients = Vec::new();
            for client in running {
                let (answers, body_bytes, client) = client.await.expect("a client ends");
                total.answers += answers;
                total.body_bytes += body_bytes;
                clients.push(client);
            }
            total.took = start.elapsed();
            (total, clients)
        })
    });
    thread.await.expect("the clients end")
}

async fn ask<R: Requests>(mut requests: R, mut socket: TcpStream, end: Instant) -> (u64, u64, R) {
    let (mut answers, mut body_bytes) = (0, 0);
    let (mut request, mut buffer) = (Vec::with_capacity(1024), vec![0; BUFFER]);
    while Instant::now() < end {
        request.clear();
        if !requests.next(&mut request) {
            break;
        }
        socket.write_all(&request).await.expect("the server reads");
        body_bytes += answer(&mut socket, &mut buffer).await as u64;
        answers += 1;
    }
    (answers, body_bytes, requests)
}

/// Lets one client ask `count` times over one connection; answers how long it waited for each answer, in ascending
/// order.
pub(crate) async fn waits<R: Requests>(server: SocketAddr, requests: &mut R, count: usize) -> Vec<Duration> {
    let mut socket = TcpStream::connect(server).await.expect("connects");
    socket.set_nodelay(true).expect("an option");
    let (mut request, mut buffer) = (Vec::with_capacity(1024), vec![0; BUFFER]);
    let mut waits = Vec::with_capacity(count);
    while waits.len() < count {
        request.clear();
        assert!(requests.next(&mut request), "there is always more to ask");
        let asked = Instant::now();
        socket.write_all(&request).await.expect("the server reads");
        answer(&mut socket, &mut buffer).await;
        waits.push(asked.elapsed());
    }
    waits.sort_unstable();
    waits
}

/// Reads an answer of success to its end; answers how long its body is.
async fn answer(socket: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let (mut filled, mut whole) = (0, None);
    loop {
        let read = socket.read(&mut buffer[filled..]).await.expect("the server answers");
        assert!(read > 0, "the server hung up: {}", String::from_utf8_lossy(&buffer[..filled]));
        filled += read;
        if whole.is_none() {
            whole = head(&buffer[..filled]);
        }
        match whole {
            Some((head, body)) if filled == head + body => return body,
            Some((head, body)) => assert!(filled < head + body, "more than an answer"),
            None => {}
        }
    }
}

/// Where the head ends and how long the body is, once the head is there.
fn head(answer: &[u8]) -> Option<(usize, usize)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = &answer[..end];
    let succeeded = head.starts_with(b"HTTP/1.1 20");
    assert!(succeeded, "{}", String::from_utf8_lossy(answer));
    let length = head.split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(b"content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    let length = length.map_or(0, |text| {
        let text = std::str::from_utf8(text).expect("a number");
        text.trim().parse().expect("a number")
    });
    Some((end + 4, length))
}

/// Processor time that a process has used.
pub(crate) fn processor_time(process: u32) -> Duration {
    // Fields 14 and 15 of proc(5), counted behind the name in parentheses; a hundredth of a second each.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Memory that a process holds, in bytes.
pub(crate) fn resident_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}
