//! A system of several processes, each with some of the roles, on the same settings and stores.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;

use crate::client::{Client, Places};
use crate::process::Process;
use crate::system::{Setup, System};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes commands.
    CommandApi,
    /// Answers queries.
    QueryApi,
    /// Keeps streams.
    Streamer,
    /// Brings to the log what commands have left in outboxes.
    Relay,
    /// Makes the read models.
    Projectors,
}

impl Role {
    /// As the command line knows it.
    fn name(self) -> &'static str {
        match self {
            Self::CommandApi => "command-api",
            Self::QueryApi => "query-api",
            Self::Streamer => "streamer",
            Self::Relay => "relay",
            Self::Projectors => "projectors",
        }
    }
}

/// Processes by name, and what they share. They are killed when this goes, and what each said last is shown if a test is
/// failing.
#[derive(Debug)]
pub struct Cluster {
    processes: BTreeMap<String, Member>,
    system: System,
}

#[derive(Debug)]
struct Member {
    roles: Vec<Role>,
    process: Process,
}

impl Cluster {
    /// A system whose stores are made, without any process yet.
    pub async fn new(setup: &Setup) -> Self {
        let system = System::new(setup);
        system.migrate().await;
        Self { processes: BTreeMap::new(), system }
    }

    /// The same with so many processes of each role, called `command-api-1` and so on.
    pub async fn with(setup: &Setup, counts: &[(Role, usize)]) -> Self {
        let mut cluster = Self::new(setup).await;
        for &(role, count) in counts {
            for number in 1..=count {
                cluster.start(&format!("{}-{number}", role.name()), &[role]).await;
            }
        }
        cluster
    }

    /// Starts one more process. It serves when this returns.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(&mut self, name: &str, roles: &[Role]) {
        let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        let arguments = ["serve", "--role", &names.join(",")];
        let mut process = Process::new(self.system.directory(), &arguments, &format!("{name}.log"));
        process.start().await;
        self.processes.insert(name.to_owned(), Member { roles: roles.to_vec(), process });
    }

    /// Starts a process again that was killed, on the same port.
    ///
    /// # Panics
    /// When it runs, or does not start.
    pub async fn start_again(&mut self, name: &str) {
        self.process_mut(name).start().await;
    }

    /// Starts a process again that has ended, on the same port. It is alive when this returns, and may be waiting for
    /// stores.
    ///
    /// # Panics
    /// When it runs, or ends at once.
    pub async fn begin_again(&mut self, name: &str) {
        self.process_mut(name).begin().await;
    }

    /// Kills a process as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&mut self, name: &str) {
        self.process_mut(name).kill().await;
    }

    /// Asks a process to end (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// When it does not run, or does not end well.
    pub async fn terminate(&mut self, name: &str) {
        let process = self.process_mut(name);
        process.ask_to_end();
        let status = process.ended().await;
        assert!(status.success(), "{name} ends with 0: {status}");
    }

    /// Stops a process as `SIGSTOP` does: its connections stay, and nobody answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self, name: &str) {
        self.process(name).pause();
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self, name: &str) {
        self.process(name).resume();
    }

    /// Somebody who is not logged in, and asks all processes in turn, each for what it does. The processes are those
    /// that were ever started.
    pub fn client(&self) -> Client {
        let of = |role| {
            let members = self.processes.values().filter(|member| member.roles.contains(&role));
            members.map(|member| member.process.base()).collect()
        };
        Client::of(Places::new(of(Role::CommandApi), of(Role::QueryApi), of(Role::Streamer)))
    }

    /// Somebody who asks one process alone.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn client_of(&self, name: &str) -> Client {
        Client::new(&self.process(name).base())
    }

    /// All that a process has said.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn log(&self, name: &str) -> String {
        self.process(name).log()
    }

    /// Where a process serves.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn address_of(&self, name: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.process(name).port()))
    }

    /// The id that a process has for the machine.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process_id(&self, name: &str) -> u32 {
        self.process(name).id()
    }

    fn process(&self, name: &str) -> &Process {
        &self.processes.get(name).unwrap_or_else(|| panic!("no process is called {name}")).process
    }

    fn process_mut(&mut self, name: &str) -> &mut Process {
        &mut self.processes.get_mut(name).unwrap_or_else(|| panic!("no process is called {name}")).process
    }
}

/// Whatever can be done with its data, whoever runs.
impl Deref for Cluster {
    type Target = System;

    fn deref(&self) -> &System {
        &self.system
    }
}
