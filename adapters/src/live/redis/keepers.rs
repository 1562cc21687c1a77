//! The tasks that keep the two links: they open them again, and the one of the subscriptions does what its channels ask
//! for.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use redis::RedisError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::ANSWERS_WITHIN;
use super::channels::Channels;
use super::link::Link;
use super::server::Server;

/// A link that says nothing is asked whether it is still there, this often.
const PINGS_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What there is to publish on.
pub(super) enum Publishing {
    Up(Link),
    Down(String),
}

/// Keeps the link to publish on until the port is dropped.
pub(super) async fn keep_publishing(
    server: Arc<Server>,
    mut link: Link,
    state: watch::Sender<Publishing>,
    mut is_open: watch::Receiver<()>,
) {
    let end = ended(&mut is_open);
    let work = async {
        loop {
            let why = watched(&server, &link).await;
            tracing::warn!(%server, why, "the connection to publish live messages on is lost");
            state.send_replace(Publishing::Down(why));
            let mut pauses = Pauses::default();
            link = loop {
                match Link::open(&server, |_| true).await {
                    Ok(link) => break link,
                    Err(error) => state.send_replace(Publishing::Down(server.told(&error))),
                };
                pauses.pause().await;
            };
            tracing::info!(%server, "live messages can be published again");
            state.send_replace(Publishing::Up(link.clone()));
        }
    };
    tokio::select! {
        () = end => {}
        () = work => {}
    }
}

/// Returns why, once a link is of no use.
async fn watched(server: &Server, link: &Link) -> String {
    let mut ticks = ticks();
    loop {
        tokio::select! {
            () = link.broken() => return "the connection broke".to_owned(),
            _ = ticks.tick() => {}
        }
        if let Err(error) = link.ping().await {
            return server.told(&error);
        }
    }
}

/// A link whose confirmations and messages go to `channels`, which have no other from now on.
pub(super) async fn subscribing_link(server: &Server, channels: &Arc<Channels>) -> Result<Link, RedisError> {
    let number = channels.next_link();
    let receiver = Arc::clone(channels);
    Link::open(server, move |push| receiver.pushed(number, &push)).await
}

/// Keeps the link of all subscriptions until the port is dropped; then gives out what is under way, and ends them.
pub(super) async fn keep_subscribing(
    server: Arc<Server>,
    channels: Arc<Channels>,
    first: Link,
    mut is_open: watch::Receiver<()>,
) {
    let mut opened = Ok(first);
    let mut pauses = Pauses::default();
    loop {
        let why = match opened {
            Ok(link) => match subscribed(&server, &channels, &link, &mut is_open, &mut pauses).await {
                ControlFlow::Break(()) => break,
                ControlFlow::Continue(why) => why,
            },
            Err(error) => server.told(&error),
        };
        channels.lose_link(why);
        let again = async {
            pauses.pause().await;
            subscribing_link(&server, &channels).await
        };
        opened = tokio::select! {
            () = ended(&mut is_open) => break,
            opened = again => opened,
        };
    }
    channels.close();
}

/// Subscribes to all that is listened to, and then to what comes and goes, until the link breaks (and says why) or the
/// port is dropped.
async fn subscribed(
    server: &Server,
    channels: &Channels,
    link: &Link,
    is_open: &mut watch::Receiver<()>,
    pauses: &mut Pauses,
) -> ControlFlow<(), String> {
    let work = async {
        link.subscribe(&channels.all()).await?;
        if pauses.were_any() {
            tracing::info!(%server, "live messages arrive again");
        }
        *pauses = Pauses::default();
        channels.is_fine();
        let mut ticks = ticks();
        loop {
            tokio::select! {
                () = channels.changed() => {
                    let changes = channels.changes();
                    link.unsubscribe(&changes.unwanted).await?;
                    link.subscribe(&changes.wanted).await?;
                    if changes.has_joined() {
                        // A message before this answer may have been published before they came.
                        link.ping().await?;
                        channels.have_joined(&changes);
                    }
                }
                _ = ticks.tick() => link.ping().await?,
            }
        }
    };
    let why = tokio::select! {
        () = ended(is_open) => {
            // What was published before the port was dropped is on its way, if it has not come yet.
            let _ = timeout(ANSWERS_WITHIN, link.ping()).await;
            return ControlFlow::Break(());
        }
        () = link.broken() => "the connection broke".to_owned(),
        outcome = work => match outcome {
            Ok(never) => never,
            Err::<_, RedisError>(error) => server.told(&error),
        },
    };
    tracing::warn!(%server, why, "the connection of the live subscriptions is lost");
    ControlFlow::Continue(why)
}

async fn ended(is_open: &mut watch::Receiver<()>) {
    // Nothing is ever sent: it is the sender's end that is waited for.
    while is_open.changed().await.is_ok() {}
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + PINGS_EVERY, PINGS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Growing pauses with jitter: processes that lost their server together do not come back together.
#[derive(Default)]
struct Pauses(u32);

impl Pauses {
    async fn pause(&mut self) {
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.0)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        let jitter = rand::rng().random_range(0.5..=1.0);
        sleep(pause.mul_f64(jitter)).await;
    }

    fn were_any(&self) -> bool {
        self.0 > 0
    }
}
