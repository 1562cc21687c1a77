//! Hands on [canaries](adapters::event_log::canary), from the log to whoever has sent them.
//!
//! One process of those that run projections does, as the group says. Where nobody can read the log, or publish, no canary
//! arrives, and those who keep streams know that they hear nothing. A canary that is lost on the way when the task moves is
//! no harm: there is another.

use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::event_log::canary::Canary;
use adapters::event_log::{EventLog, Membership};
use adapters::live::{Channel, Live, Message, News};
use futures::future::pending;
use tokio_util::sync::CancellationToken;

const GROUP: &str = "canaries";
/// Read at a time.
const AT_ONCE: usize = 64;
/// How long a read waits for one.
const WAIT: Duration = Duration::from_secs(1);
/// After a store's failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Hands them on until `stop`.
pub async fn hand_on(event_log: Arc<dyn EventLog>, live: Arc<dyn Live>, stop: CancellationToken) {
    let mut failing = false;
    while !stop.is_cancelled() {
        let failed = match event_log.join(GROUP, &[Canary::partition(event_log.partitions()).topic]).await {
            Ok(membership) => {
                let work = follow(event_log.as_ref(), membership.as_ref(), live.as_ref());
                let ended = stop.run_until_cancelled(work).await;
                membership.leave().await;
                ended.and_then(Result::err)
            }
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            // Once per failure, not every second.
            if !failing {
                tracing::warn!(%error, "canaries are not handed on for a while");
            }
            failing = true;
            stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }
}

/// Works while the partition is this member's, from what is new on; ends with a store's failure.
async fn follow(event_log: &dyn EventLog, membership: &dyn Membership, live: &dyn Live) -> Result<(), StoreError> {
    let place = Canary::partition(event_log.partitions());
    let mut assigned = membership.assigned();
    loop {
        if assigned.wait_for(|assigned| assigned.contains(&place)).await.is_err() {
            // Nothing will ever be assigned any more.
            return pending().await;
        }
        let mut after = event_log.head(place.topic, place.number).await?;
        while assigned.borrow().contains(&place) {
            for logged in membership.read(place, after, AT_ONCE, WAIT).await? {
                after = logged.position.offset;
                let Canary { id, sender } = match &logged.record {
                    Ok(record) => Canary::of(record),
                    Err(reason) => {
                        tracing::warn!(reason, "a canary cannot be read");
                        continue;
                    }
                };
                let message = Message { position: after, news: News::Canary { id } };
                live.publish(Channel::Canary(sender), vec![message]).await?;
            }
        }
    }
}
