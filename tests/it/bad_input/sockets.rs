//! What is not even HTTP.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::House;

/// Whatever comes over the socket: the answer, if there is one, says whose fault it is.
#[tokio::test]
async fn what_is_not_http() {
    let house = House::new().await;
    let before = house.server.settled().await;
    let post = "POST /v1/accounts HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let long = format!("GET /v1/feed HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(2_000_000));
    let path = format!("GET /v1/{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET /v1/me HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    let requests: Vec<Vec<u8>> = [
        "nonsense\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /v1/me HTTP/9.9\r\n\r\n".to_owned(),
        "GET /v1/me HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n".to_owned(),
        "GET http://[::1/v1/me HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "GET /v1/me HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        format!("{post}content-length: -1\r\n\r\n{{}}"),
        format!("{post}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"),
        format!("{post}content-length: 99999999999999999999\r\n\r\n{{}}"),
        format!("{post}content-length: 100\r\n\r\n{{\"username\":"),
        format!("{post}transfer-encoding: chunked\r\n\r\nnonsense\r\n"),
        format!("{post}transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n5\r\n{{\"use"),
        format!("{post}content-length: 2\r\nexpect: nonsense\r\n\r\n{{}}"),
        long,
        path,
        many,
    ]
    .map(String::into_bytes)
    .into_iter()
    .chain([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), vec![0; 100], vec![0xff; 10_000]])
    .collect();
    for request in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", house.server.port())).await.expect("connects");
        // The server may answer and hang up before it has read everything.
        let _ = socket.write_all(&request).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(harness::PATIENCE, socket.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{shown}: it hangs");
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned);
        let fault = status.as_deref().is_none_or(|status| status.starts_with('4'));
        assert!(fault, "{shown}: {}", String::from_utf8_lossy(&answer));
        assert_eq!(house.server.heads().await, before, "{shown}: it had an effect");
    }
    house.stands().await;
}
