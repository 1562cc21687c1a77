//! The task that keeps the link of all subscriptions: it opens it again, and does what its channels ask for.

use std::ops::ControlFlow;
use std::sync::Arc;

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::timeout;

use super::channels::Channels;
use crate::redis::{ANSWERS_WITHIN, Link, Pauses, Server, ended, ticks};

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
