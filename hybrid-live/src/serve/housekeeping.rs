//! What is done now and then so that the truth does not grow with what is no longer of use.

use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::content::{CLAIM_LIFE_MILLIS, Content};
use adapters::http::clock;
use domain::Timestamp;
use tokio_util::sync::CancellationToken;

use super::metrics;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Between two counts of what waits.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Claims removed in one write: commands wait behind it.
const AT_ONCE: usize = 500;
/// Writes in one round, at most.
const WRITES: usize = 200;

/// Counts the streams that wait for the log, until `stop`.
pub(super) async fn count_outboxes(content: Arc<dyn Content>, log_shares_transactions: bool, stop: CancellationToken) {
    loop {
        metrics::record_outboxes(content.as_ref(), log_shares_transactions).await;
        if stop.run_until_cancelled(tokio::time::sleep(COUNT_EVERY)).await.is_none() {
            return;
        }
    }
}

/// Forgets expired `Idempotency-Key`s until `stop`.
pub(super) async fn forget_commands(content: Arc<dyn Content>, stop: CancellationToken) {
    loop {
        let expired = clock::now().plus_millis(-CLAIM_LIFE_MILLIS);
        match stop.run_until_cancelled(forget_expired(content.as_ref(), expired)).await {
            Some(Ok(0)) => {}
            Some(Ok(forgotten)) => tracing::info!(forgotten, "expired idempotency keys are forgotten"),
            Some(Err(error)) => tracing::warn!(%error, "expired idempotency keys stay for now"),
            None => return,
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

async fn forget_expired(content: &dyn Content, expired: Timestamp) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    for _ in 0..WRITES {
        let count = content.forget_commands(expired, AT_ONCE).await?;
        forgotten += count;
        if count < AT_ONCE {
            break;
        }
    }
    Ok(forgotten)
}
