//! The server as a client meets it, over real sockets.

use std::net::Ipv4Addr;

use adapters::http::client_address::Peer;
use adapters::http::extract::Body;
use axum::Extension;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(router: Router, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let connections = Connections {
            most: config.limits.connections,
            head: Duration::from_secs(config.limits.header_seconds),
            shutdown: config.shutdown_time(),
        };
        let router = guarded(router, Unmatched::Unknown, &config);
        let task = tokio::spawn(serve(listener, watch::channel(router).1, connections, stop.clone()));
        Self { address, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    /// Sends one request on a connection of its own and reads to the end.
    async fn ask(&self, request: &str) -> (u16, Value) {
        let stream = self.connect().await;
        send(&stream, request).await;
        answer(&stream).await
    }
}

fn request(method: &str, path: &str, rest: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{rest}\r\n")
}

async fn send(stream: &TcpStream, text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        stream.writable().await.expect("is open");
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("does not write: {error}"),
        }
    }
}

/// What arrives until there are `enough` bytes or the server closes.
async fn receive(stream: &TcpStream, enough: usize) -> String {
    let mut text = Vec::new();
    while text.len() < enough {
        stream.readable().await.expect("is open");
        let mut buffer = [0; 4096];
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // Closed with something unread on its side.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("does not read: {error}"),
        }
    }
    String::from_utf8(text).expect("text")
}

/// Status and JSON of an answer after which the server closes.
async fn answer(stream: &TcpStream) -> (u16, Value) {
    let text = receive(stream, usize::MAX).await;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[derive(serde::Deserialize)]
struct Anything {
    #[expect(dead_code, reason = "only that it can be read matters")]
    text: String,
}

async fn takes_a_body(_: Body<Anything>) -> &'static str {
    "1"
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_again() {
    let (inside, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered, released) = (Arc::clone(&inside), Arc::clone(&go));
    let wait = get(move || {
        let (entered, released) = (Arc::clone(&entered), Arc::clone(&released));
        async move {
            entered.notify_one();
            released.notified().await;
            "done"
        }
    });
    let free = Router::new().route("/free", get(async || "free"));
    let server =
        Server::start(at_most(Arc::new(Semaphore::new(1)), Router::new().route("/wait", wait)).merge(free), |_| {})
            .await;
    let waiting = server.connect().await;
    send(&waiting, &request("GET", "/wait", "")).await;
    inside.notified().await;

    let (status, problem) = server.ask(&request("GET", "/wait", "")).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("overloaded")));
    // What is not bounded is not in its way.
    let free = server.connect().await;
    send(&free, &request("GET", "/free", "")).await;
    assert!(receive(&free, usize::MAX).await.ends_with("free"));

    go.notify_one();
    assert!(receive(&waiting, usize::MAX).await.ends_with("done"));
    let again = server.connect().await;
    send(&again, &request("GET", "/wait", "")).await;
    inside.notified().await;
    go.notify_one();
    assert!(receive(&again, usize::MAX).await.ends_with("done"));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let server = Server::start(Router::new().route("/here", get(|| async { "1" })), |_| {}).await;
    let (status, problem) = server.ask(&request("GET", "/nowhere", "")).await;
    assert_eq!((status, &problem["code"]), (404, &Value::from("not_found")));
    assert!(problem["trace_id"].is_string());
    let (status, problem) = server.ask(&request("POST", "/here", "")).await;
    assert_eq!((status, &problem["code"]), (405, &Value::from("method_not_allowed")));
    assert_eq!(server.ask(&request("GET", "/here", "")).await, (200, Value::from(1)));
}

#[tokio::test]
async fn handlers_know_who_is_at_the_other_end() {
    let whose = get(async |Extension(Peer(address)): Extension<Peer>| format!("\"{address}\""));
    let server = Server::start(Router::new().route("/whose", whose), |_| {}).await;
    assert_eq!(server.ask(&request("GET", "/whose", "")).await, (200, Value::from("127.0.0.1")));
}

#[tokio::test]
async fn a_panic_is_a_problem_and_says_nothing() {
    async fn panics() -> &'static str {
        panic!("the secret is 42")
    }
    let server = Server::start(Router::new().route("/panics", get(panics)), |_| {}).await;
    let (status, problem) = server.ask(&request("GET", "/panics", "")).await;
    assert_eq!((status, &problem["code"]), (500, &Value::from("internal")));
    assert!(!problem.to_string().contains("42"), "{problem}");
    assert_eq!(server.ask(&request("GET", "/panics", "")).await.0, 500, "the server goes on");
}

#[tokio::test]
async fn the_body_limit_is_the_configured_one() {
    let router = Router::new().route("/takes", post(takes_a_body));
    let server = Server::start(router, |config| config.limits.body_bytes = 64).await;
    let body = |length: usize| {
        let body = format!("{{\"text\":\"{}\"}}", "x".repeat(length - 11));
        let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        format!("{}{body}", request("POST", "/takes", &head))
    };
    assert_eq!(server.ask(&body(64)).await.0, 200);
    let (status, problem) = server.ask(&body(65)).await;
    assert_eq!((status, &problem["code"]), (413, &Value::from("body_too_large")));
}

#[tokio::test]
async fn a_request_without_an_answer_ends() {
    let never = get(std::future::pending::<&'static str>);
    let server = Server::start(Router::new().route("/never", never), |config| config.limits.request_seconds = 0).await;
    let (status, problem) = server.ask(&request("GET", "/never", "")).await;
    assert_eq!((status, &problem["code"]), (503, &Value::from("overloaded")));
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way_and_refuses_what_comes() {
    let (entered, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_entered, may_finish) = (Arc::clone(&entered), Arc::clone(&finish));
    let slow = get(move || async move {
        has_entered.notify_one();
        may_finish.notified().await;
        "1"
    });
    let server = Server::start(Router::new().route("/slow", slow), |_| {}).await;
    let under_way = server.connect().await;
    let idle = server.connect().await;
    let keep_alive = "GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";
    send(&under_way, keep_alive).await;
    entered.notified().await;

    server.stop.cancel();
    // The idle connection is closed at once, without an answer.
    assert_eq!(answer(&idle).await.0, 0);
    finish.notify_one();
    assert_eq!(answer(&under_way).await, (200, Value::from(1)));
    server.task.await.expect("ends");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_is_abandoned() {
    let entered = Arc::new(Notify::new());
    let has_entered = Arc::clone(&entered);
    let never = get(move || async move {
        has_entered.notify_one();
        std::future::pending::<&'static str>().await
    });
    let router = Router::new().route("/never", never);
    let server = Server::start(router, |config| config.limits.shutdown_seconds = 0).await;
    let stream = server.connect().await;
    send(&stream, &request("GET", "/never", "")).await;
    entered.notified().await;
    server.stop.cancel();
    server.task.await.expect("ends");
    assert_eq!(answer(&stream).await.0, 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let router = Router::new().route("/here", get(|| async { "1" }));
    let server = Server::start(router, |config| config.limits.connections = 1).await;
    let first = server.connect().await;
    send(&first, "GET /here HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(receive(&first, 15).await.starts_with("HTTP/1.1 200 OK"));
    // The first is still open: the second is not served until it goes.
    let second = server.connect().await;
    send(&second, &request("GET", "/here", "")).await;
    drop(first);
    assert_eq!(answer(&second).await, (200, Value::from(1)));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
    let address = first.local_addr().expect("an address");
    let refusal = bind(address).await.expect_err("taken").to_string();
    assert!(refusal.contains(&address.to_string()) && refusal.contains("--listen"), "{refusal}");
}

#[tokio::test]
async fn a_connection_is_answered_by_what_is_served_at_the_moment() {
    let config = Config::default();
    let (routers, router) = watch::channel(guarded(Router::new(), Unmatched::NotYet, &config));
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let connections = Connections { most: 10, head: Duration::from_secs(15), shutdown: Duration::from_secs(1) };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, router, connections, stop.clone()));
    let stream = TcpStream::connect(address).await.expect("connects");
    let request = "GET /late HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let head = async |enough: usize| {
        send(&stream, request).await;
        receive(&stream, enough).await
    };
    let put_off = head(1).await;
    assert!(put_off.starts_with("HTTP/1.1 503") && put_off.contains("retry-after: 1"), "{put_off}");
    let _ = routers.send_replace(guarded(
        Router::new().route("/late", get(|| async { "now" })),
        Unmatched::Unknown,
        &config,
    ));
    let served = head(1).await;
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    stop.cancel();
    task.await.expect("ends");
}
