//! Waiting for the stores that a process starts on.
//!
//! A server that does not answer is waited for, however long that takes: whoever starts all of a system at once need not
//! put it in order, and what is restarted while a server is away comes up by itself. All else that can be wrong with a
//! store is not mended by waiting, and ends the process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adapters::stores::{OpenStoresError, Opener, Port};
use tokio::sync::watch;

use crate::config::{Roles, ServerRole};
use crate::failure::Failure;
use crate::terminal;
use crate::wiring::PROJECTIONS;

/// The first pause; each further one is about twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often is told of the same store.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What a role opens before it begins. Commands and the relay begin with the truth alone: they publish to the log once
/// it is open, too, and administration waits for it and the checkpoints without holding up commands.
const OPENS: [(ServerRole, &[Port]); 5] = [
    (ServerRole::CommandApi, &[Port::Content]),
    (
        ServerRole::QueryApi,
        &[Port::Content, Port::EventLog, Port::Checkpoints, Port::Views, Port::Timelines, Port::Cache],
    ),
    (ServerRole::Streamer, &Port::ALL),
    (ServerRole::Relay, &[Port::Content, Port::EventLog]),
    // And what its projections write.
    (ServerRole::Projectors, &[Port::Content, Port::EventLog, Port::Checkpoints]),
];

/// What a command API opens afterwards: to publish at once, and for administration.
const ADMINISTRATION: [Port; 2] = [Port::EventLog, Port::Checkpoints];

/// What a process with these roles must open to be ready, in order.
pub(super) fn needed(roles: &Roles) -> Vec<Port> {
    let of_roles = OPENS.iter().filter(|(role, _)| roles.has(*role)).flat_map(|(_, ports)| *ports);
    let of_projections = PROJECTIONS.iter().filter(|known| roles.run(known.name)).flat_map(|known| known.ports);
    in_order(of_roles.chain(of_projections).copied().collect())
}

/// The same and what it opens besides.
pub(super) fn opened(roles: &Roles) -> Vec<Port> {
    let mut ports = needed(roles);
    if roles.has(ServerRole::CommandApi) {
        ports.extend(ADMINISTRATION);
    }
    in_order(ports)
}

fn in_order(mut ports: Vec<Port>) -> Vec<Port> {
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// See the module.
pub(super) struct Opening {
    pub(super) opener: Arc<Opener>,
    /// What is being waited for.
    awaited: watch::Sender<Option<Port>>,
    /// What is still to be said to the person at the terminal if there is something to wait for.
    notice: Mutex<Option<String>>,
}

impl Opening {
    /// With what can be opened, and what is said, once, if that takes a while.
    pub(super) fn new(opener: Opener, notice: String) -> Self {
        let notice = Mutex::new(Some(notice));
        Self { opener: Arc::new(opener), awaited: watch::Sender::new(None), notice }
    }

    /// From now on that is said, once, if there is something to wait for.
    pub(super) fn set_notice(&self, notice: String) {
        *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(notice);
    }

    /// What is to be said, unless it was said.
    pub(super) fn take_notice(&self) -> Option<String> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What is being waited for, kept up to date.
    pub(super) fn awaited(&self) -> watch::Receiver<Option<Port>> {
        self.awaited.subscribe()
    }

    /// Opens a store, as soon as it answers.
    ///
    /// # Errors
    /// What waiting does not mend.
    pub(super) async fn wait_for(&self, port: Port) -> Result<(), Failure> {
        self.until_it_answers(port, async || self.opener.open(port).await).await
    }

    /// Does what `begin` does with a store, again and again until the store answers.
    ///
    /// # Errors
    /// What waiting does not mend.
    pub(super) async fn until_it_answers<T>(
        &self,
        port: Port,
        begin: impl AsyncFn() -> Result<T, OpenStoresError>,
    ) -> Result<T, Failure> {
        self.awaited.send_replace(Some(port));
        let (mut pause, mut told) = (FIRST_PAUSE, None::<Instant>);
        loop {
            match begin().await {
                Ok(begun) => {
                    if told.is_some() {
                        tracing::info!(store = port.name(), "the store answers");
                    }
                    self.awaited.send_replace(None);
                    return Ok(begun);
                }
                Err(error) if error.may_pass() => {
                    if let Some(notice) = self.take_notice() {
                        terminal::say(&notice);
                    }
                    if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                        tracing::warn!(store = port.name(), "waiting, and trying again: {error}");
                        told = Some(Instant::now());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            // Those who have lost the same server do not come back all at once.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use adapters::StoreError;
    use adapters::sqlite::Sharing;

    use super::*;
    use crate::config::Config;

    fn ports_of(roles: &[ServerRole], projections: &[&str]) -> (Vec<Port>, Vec<Port>) {
        let mut config = Config { roles: roles.to_vec(), ..Config::default() };
        config.projections.only = projections.iter().map(|&name| name.to_owned()).collect();
        (needed(&config.roles()), opened(&config.roles()))
    }

    #[test]
    fn a_process_opens_what_its_roles_stand_on() {
        use Port::{Cache, Checkpoints, Content, EventLog, Timelines, Views};
        let commands = ports_of(&[ServerRole::CommandApi], &[]);
        assert_eq!(commands, (vec![Content], vec![Content, EventLog, Checkpoints]), "ready with the truth alone");
        let queries = ports_of(&[ServerRole::QueryApi], &[]).1;
        assert_eq!(queries, [Content, EventLog, Checkpoints, Views, Timelines, Cache], "nobody listens there");
        assert_eq!(ports_of(&[ServerRole::Streamer], &[]).1, Port::ALL);
        assert_eq!(ports_of(&[ServerRole::Relay], &[]).1, [Content, EventLog]);
        assert_eq!(ports_of(&[ServerRole::Projectors], &[]).1, Port::ALL);
        let profiles = ports_of(&[ServerRole::Projectors], &["profiles"]).1;
        assert_eq!(profiles, [Content, EventLog, Checkpoints, Views], "what its projections write");
        assert_eq!(ports_of(&[], &[]).1, Port::ALL);
    }

    /// An opening whose content is on a server, and what `answers` makes of the attempts to begin with it.
    async fn begin(answers: impl Fn(usize) -> Option<StoreError>) -> (Result<(), Failure>, usize) {
        let mut config = Config::default();
        config.stores.content = "mongodb://user:secret@nobody/truth".to_owned();
        let opening = Opening::new(Opener::new(config.store_urls(), 1, Sharing::Alone), "waits".to_owned());
        let attempts = AtomicUsize::new(0);
        let awaited = opening.awaited();
        let outcome = opening.until_it_answers(Port::Content, async || {
            assert_eq!(*awaited.borrow(), Some(Port::Content));
            match answers(attempts.fetch_add(1, Ordering::Relaxed)) {
                None => Ok(()),
                Some(error) => Err(opening.opener.failed(Port::Content, error)),
            }
        });
        let outcome = outcome.await;
        let waits = attempts.load(Ordering::Relaxed) > 1;
        assert_eq!(opening.take_notice().is_none(), waits, "who waits says so");
        (outcome, attempts.into_inner())
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_tried_again() {
        let away = |attempt| (attempt < 3).then(|| StoreError::Unavailable("nobody answers".to_owned()));
        assert_eq!(begin(away).await, (Ok(()), 4));
    }

    #[tokio::test]
    async fn what_waiting_does_not_mend_ends_it_and_says_nothing_secret() {
        let (outcome, attempts) = begin(|_| Some(StoreError::Unfit("another version".to_owned()))).await;
        let failure = outcome.expect_err("ends").to_string();
        assert!(failure.contains("content") && failure.contains("another version"), "{failure}");
        assert!(failure.contains("nobody") && !failure.contains("secret"), "{failure}");
        assert_eq!(attempts, 1);
    }
}
