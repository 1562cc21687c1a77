//! Many people who do one thing each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{Timestamp, UserId};

use crate::CLIENTS;
use crate::load::{self, Requests};
use crate::town::Issuer;

/// A request of somebody, without a body.
pub(crate) fn request(method: &str, path: &str, token: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
}

/// Somebody without an account: who may like and follow is the token's to say.
pub(crate) fn stranger(number: u64) -> UserId {
    let mut chance = [0; 10];
    chance[..8].copy_from_slice(&number.to_be_bytes());
    UserId::from_parts(Timestamp::from_millis(1_700_000_000_000), chance)
}

/// One request by each of many strangers.
struct Crowd {
    issuer: Issuer,
    path: String,
    next: Arc<AtomicU64>,
    crowd: u64,
}

/// `crowd` strangers each ask the server at `address` for `path` (PUT), as fast as it takes them.
pub(crate) async fn each_asks(address: SocketAddr, issuer: &Issuer, path: &str, crowd: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let one = |_| Crowd { issuer: issuer.clone(), path: path.to_owned(), next: Arc::clone(&next), crowd };
    let all = (0..CLIENTS.min(usize::try_from(crowd).unwrap_or(usize::MAX))).map(one).collect();
    // It ends when the crowd is through.
    let (round, _) = load::round(address, all, Duration::from_secs(3600)).await;
    assert_eq!(round.answers, crowd, "everybody is answered");
}

impl Requests for Crowd {
    fn next(&mut self, request: &mut Vec<u8>) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.crowd {
            return false;
        }
        request.extend_from_slice(&self::request("PUT", &self.path, &self.issuer.token(stranger(number))));
        true
    }
}
