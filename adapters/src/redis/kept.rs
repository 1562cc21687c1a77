//! A connection that is opened again whenever it is lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use redis::RedisError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::{Link, Server};
use crate::StoreError;

/// A link that says nothing is asked whether it is still there, this often.
const PINGS_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A link with what its user needs to know of it. Clones are the same one.
pub(crate) trait Connection: Clone + Send + Sync + 'static {
    /// What it is for, as it is told to operators: "the connection for …".
    const PURPOSE: &'static str;

    /// Connects.
    fn open(server: &Server) -> impl Future<Output = Result<Self, RedisError>> + Send;

    /// The link.
    fn link(&self) -> &Link;
}

/// A connection, while there is one. When this is dropped, the task that keeps it ends.
pub(crate) struct Kept<C> {
    server: Arc<Server>,
    state: watch::Receiver<State<C>>,
    /// Its end ends the task.
    _open: watch::Sender<()>,
}

enum State<C> {
    Up(C),
    Down(String),
}

impl<C: Connection> Kept<C> {
    /// Keeps a connection, from the `first` on or, if there is none yet and why, until there is one.
    pub(crate) fn keep(server: Arc<Server>, first: Result<C, String>) -> Self {
        let (open, is_open) = watch::channel(());
        let (up, state) = watch::channel(first.clone().map_or_else(State::Down, State::Up));
        tokio::spawn(keep(Arc::clone(&server), first.ok(), up, is_open));
        Self { server, state, _open: open }
    }

    /// The connection. Fails at once while there is none.
    pub(crate) fn present(&self) -> Result<C, StoreError> {
        match &*self.state.borrow() {
            State::Up(connection) => Ok(connection.clone()),
            State::Down(why) => Err(StoreError::Unavailable(format!("{} is not connected: {why}", self.server))),
        }
    }

    /// What a call's failure means to its caller. Whatever it was, a new connection (and in a cluster a new map of the
    /// slots) is the cure to be tried.
    pub(crate) fn failure(&self, connection: &C, error: &RedisError) -> StoreError {
        connection.link().give_up();
        StoreError::Unavailable(self.server.told(error))
    }
}

impl<C> fmt::Display for Kept<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.server, f)
    }
}

async fn keep<C: Connection>(
    server: Arc<Server>,
    mut present: Option<C>,
    state: watch::Sender<State<C>>,
    mut is_open: watch::Receiver<()>,
) {
    let end = ended(&mut is_open);
    let work = async {
        loop {
            if let Some(connection) = present.take() {
                let why = watched(&server, connection.link()).await;
                tracing::warn!(%server, why, "the connection for {} is lost", C::PURPOSE);
                state.send_replace(State::Down(why));
            }
            let mut pauses = Pauses::default();
            let connection = loop {
                match C::open(&server).await {
                    Ok(connection) => break connection,
                    Err(error) => state.send_replace(State::Down(server.told(&error))),
                };
                pauses.pause().await;
            };
            tracing::info!(%server, "the connection for {} is there again", C::PURPOSE);
            state.send_replace(State::Up(connection.clone()));
            present = Some(connection);
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

/// Returns once the sender is gone.
pub(crate) async fn ended(is_open: &mut watch::Receiver<()>) {
    // Nothing is ever sent: it is the sender's end that is waited for.
    while is_open.changed().await.is_ok() {}
}

/// When to ask whether a link is still there.
pub(crate) fn ticks() -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + PINGS_EVERY, PINGS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Growing pauses with jitter: processes that lost their server together do not come back together.
#[derive(Default)]
pub(crate) struct Pauses(u32);

impl Pauses {
    pub(crate) async fn pause(&mut self) {
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.0)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        let jitter = rand::rng().random_range(0.5..=1.0);
        sleep(pause.mul_f64(jitter)).await;
    }

    pub(crate) fn were_any(&self) -> bool {
        self.0 > 0
    }
}
