//! Waiting for something to be so.

use std::time::{Duration, Instant};

/// Only to fail by: what takes longer than this on a busy machine will not happen any more.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often to look.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok`; panics with the last answer once patience is over.
///
/// # Panics
/// When it is never so.
pub async fn eventually<T, E, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(INTERVAL);
    loop {
        looks.tick().await;
        match ask().await {
            Ok(answer) => return answer,
            Err(why) => assert!(Instant::now() < deadline, "{what}: still not so: {why}"),
        }
    }
}
