//! Asking the server to stop: once for a clean end, twice for an end at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// What the shell reports of a program that a second signal ended.
const ENDED_BY_SIGNAL: i32 = 130;

/// The signals; they are caught from here on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to catch SIGINT and SIGTERM.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn catch() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("signals cannot be caught: {error}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the first, cancels `stop`, and ends the process on the second.
    pub(super) async fn stop(mut self, stop: CancellationToken) {
        self.next().await;
        tracing::info!("stopping; a second signal ends at once");
        stop.cancel();
        self.next().await;
        std::process::exit(ENDED_BY_SIGNAL);
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
