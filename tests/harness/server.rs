//! A system that is one process, in a directory of its own.

use std::ops::Deref;
use std::process::ExitStatus;

use crate::client::Client;
use crate::people::Person;
use crate::process::Process;
use crate::stores::Stores;
use crate::system::{Setup, System};

/// A server and its data. It is killed when this goes, and its log is shown if a test is failing.
#[derive(Debug)]
pub struct Server {
    process: Process,
    system: System,
}

impl Server {
    /// A server with the run's stores and default settings.
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// A server that is set up like this.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(setup: Setup) -> Self {
        let mut server = Self::prepare(setup);
        server.start_again().await;
        server
    }

    /// A server that has not been started, nor its stores made.
    ///
    /// # Panics
    /// When there is no place for it.
    pub fn prepare(setup: Setup) -> Self {
        let system = System::new(&setup);
        Self { process: Process::new(system.directory(), &["serve"], "server.log"), system }
    }

    /// Starts it (again), on the same data and port. It serves when this returns.
    ///
    /// # Panics
    /// When it runs already, or does not start.
    pub async fn start_again(&mut self) {
        self.system.migrate().await;
        self.process.start().await;
    }

    /// Kills it as `kill -9` does: nothing that is not on disk survives. Waits until it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.ended().await
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Panics
    /// When it does not run.
    pub fn ask_to_end(&self) {
        self.process.ask_to_end();
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// The process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Where it serves.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Somebody who is not logged in. Each call is another HTTP client with connections of its own.
    pub fn client(&self) -> Client {
        Client::new(&self.process.base())
    }

    /// Registers people and logs them in.
    pub async fn people<const N: usize>(&self, usernames: [&str; N]) -> [Person; N] {
        Person::register_all(&self.client(), usernames).await
    }

    /// Runs `verify`, which must find no difference. Where nothing runs and no file tells that nobody else does either,
    /// `verify` is asked to run the projections.
    pub async fn verify(&self) {
        let alone = self.system.stores() == Stores::Cluster && !self.process.is_running();
        let arguments: &[&str] = if alone { &["verify", "--run-projections"] } else { &["verify"] };
        let _ = self.run(arguments).await.expect(0);
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Whatever can be done with its data, whether it runs or not.
impl Deref for Server {
    type Target = System;

    fn deref(&self) -> &System {
        &self.system
    }
}
