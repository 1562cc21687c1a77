//! Whether the streams of this process hear anything.
//!
//! A process whose streams are deaf looks healthy: its stores answer, and nothing seems to happen. So it sends a
//! [canary] the way that all news takes, through the log, a projector and the publisher, and
//! is not ready unless it hears it. It listens as streams do, with a subscription that stays open: one that was opened
//! for the occasion would not tell of those that have died.

use std::sync::Arc;
use std::time::Duration;

use adapters::event_log::EventLog;
use adapters::event_log::canary;
use adapters::http::clock;
use adapters::live::{Channel, Delivery, Live, News, Subscription};
use domain::{CorrelationId, EventId};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long a canary may take.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long one is waited for before another is sent.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one that was heard counts: as often as somebody may ask, there are no more than this.
const HEARD: Duration = Duration::from_secs(5);
/// How long it counts that none was.
const MISSED: Duration = Duration::from_secs(1);

/// Sends canaries, and listens for them.
pub struct Canary {
    event_log: Arc<dyn EventLog>,
    live: Arc<dyn Live>,
    sender: CorrelationId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ear: Option<Box<dyn Subscription>>,
    /// When the last was waited for, and what came of it.
    last: Option<(Instant, Result<(), String>)>,
}

impl Canary {
    /// Of a process that hears through `live` what is written to `event_log`.
    pub fn new(event_log: Arc<dyn EventLog>, live: Arc<dyn Live>) -> Self {
        let sender = CorrelationId::from_parts(clock::now(), rand::random());
        Self { event_log, live, sender, state: Mutex::default() }
    }

    /// Whether one has been heard just now.
    ///
    /// # Errors
    /// Where it got lost, for people.
    pub async fn check(&self) -> Result<(), String> {
        // One at a time: who comes meanwhile is told the same.
        let mut state = self.state.lock().await;
        if let Some((at, outcome)) = &state.last
            && at.elapsed() < if outcome.is_ok() { HEARD } else { MISSED }
        {
            return outcome.clone();
        }
        let outcome = match timeout(PATIENCE, self.send(&mut state.ear)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!(
                "what was sent through the log was not heard within {} ms: streams may be deaf",
                PATIENCE.as_millis()
            )),
        };
        state.last = Some((Instant::now(), outcome.clone()));
        outcome
    }

    /// Sends one after the other until one is heard.
    async fn send(&self, ear: &mut Option<Box<dyn Subscription>>) -> Result<(), String> {
        let subscription = match ear {
            Some(subscription) => subscription,
            None => {
                let subscribed = self.live.subscribe(Channel::Canary(self.sender)).await;
                ear.insert(subscribed.map_err(|_| "nothing can be subscribed to".to_owned())?)
            }
        };
        let mut sent = Vec::new();
        loop {
            let now = clock::now();
            let canary = canary::Canary { id: EventId::from_parts(now, rand::random()), sender: self.sender };
            let appended = self.event_log.append(vec![canary.record(now)]).await;
            appended.map_err(|_| "nothing can be sent through the log".to_owned())?;
            sent.push(News::Canary { id: canary.id });
            // One may be lost where another process takes over from the one that handed them on.
            if let Ok(heard) = timeout(AGAIN, hear(subscription.as_mut(), &sent)).await {
                return heard;
            }
        }
    }
}

/// Waits for any of `sent`.
async fn hear(subscription: &mut dyn Subscription, sent: &[News]) -> Result<(), String> {
    loop {
        match subscription.next().await {
            Some(Delivery::Message(message)) if sent.contains(&message.news) => return Ok(()),
            // Late ones.
            Some(_) => {}
            None => return Err("nothing is published any more".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use adapters::event_log::SqliteEventLog;
    use adapters::live::{BroadcastLive, Message};
    use adapters::sqlite::{Database, Durability, TRUTH};
    use domain::stream::BEFORE_FIRST;
    use tokio::task::JoinHandle;

    use super::*;

    struct World {
        log: Arc<SqliteEventLog>,
        live: Arc<BroadcastLive>,
        canary: Arc<Canary>,
        _directory: tempfile::TempDir,
    }

    impl World {
        async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = Database::open(&directory.path().join("truth.db"), &TRUTH, Durability::Power).unwrap();
            let log = Arc::new(SqliteEventLog::open(file, 4).await.unwrap());
            let live = Arc::new(BroadcastLive::new(8));
            let canary = Arc::new(Canary::new(log.clone(), live.clone()));
            Self { log, live, canary, _directory: directory }
        }

        fn check(&self) -> JoinHandle<Result<(), String>> {
            let canary = Arc::clone(&self.canary);
            tokio::spawn(async move { canary.check().await })
        }

        /// The next record after `after`, once there is one.
        async fn sent(&self, after: i64) -> (i64, canary::Canary) {
            let place = canary::Canary::partition(4);
            let read = self.log.read(place.topic, place.number, after, 1, Duration::from_secs(60)).await.unwrap();
            (read[0].position.offset, canary::Canary::of(read[0].record.as_ref().unwrap()))
        }

        async fn newest(&self) -> i64 {
            let place = canary::Canary::partition(4);
            self.log.head(place.topic, place.number).await.unwrap()
        }

        async fn publish(&self, canary: canary::Canary) {
            let message = Message { position: 0, news: News::Canary { id: canary.id } };
            self.live.publish(Channel::Canary(canary.sender), vec![message]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn only_what_was_sent_just_now_counts() {
        let world = World::new().await;
        let checking = world.check();
        let (_, sent) = world.sent(BEFORE_FIRST).await;
        world.publish(canary::Canary { id: EventId::MAX, ..sent }).await;
        world.publish(canary::Canary { sender: CorrelationId::MAX, ..sent }).await;
        world.publish(sent).await;
        assert_eq!(checking.await.unwrap(), Ok(()));

        let newest = world.newest().await;
        assert_eq!(world.canary.check().await, Ok(()), "it counts for a while");
        assert_eq!(world.newest().await, newest, "and no other is sent");
    }

    #[tokio::test]
    async fn who_hears_nothing_says_so_and_asks_again() {
        let world = World::new().await;
        let missed = world.canary.check().await.unwrap_err();
        assert!(missed.contains("not heard"), "{missed}");
        let (_, late) = world.sent(BEFORE_FIRST).await;
        let newest = world.newest().await;
        assert!(newest > 0, "it was not left at one");
        assert_eq!(world.canary.check().await, Err(missed), "nobody is kept busy");

        // The same subscription hears again, and a late one is not taken for the present one.
        world.publish(late).await;
        world.canary.state.lock().await.last = None;
        let checking = world.check();
        let (_, sent) = world.sent(newest).await;
        assert!(!checking.is_finished(), "the late one was no answer");
        world.publish(sent).await;
        assert_eq!(checking.await.unwrap(), Ok(()));
    }
}
