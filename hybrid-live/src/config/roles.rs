//! What a process does: everything, or some of the roles of a system that is divided over several processes.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A part of the system that can be a process of its own, any number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerRole {
    /// Commands and administration
    CommandApi,
    /// Queries
    QueryApi,
    /// Event streams
    Streamer,
    /// Brings to the log what its writer could not, and forgets what has expired
    Relay,
    /// Makes the read models
    Projectors,
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No variant is hidden from the command line.
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// The roles of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    given: Vec<ServerRole>,
    /// Names of the projections, where these are not all.
    projections: Vec<String>,
}

impl Roles {
    pub(super) fn new(given: &[ServerRole], projections: &[String]) -> Self {
        Self { given: given.to_vec(), projections: projections.to_vec() }
    }

    /// Whether this process serves everything, so that no other is needed beside it.
    pub(crate) fn are_all(&self) -> bool {
        ServerRole::value_variants().iter().all(|role| self.has(*role)) && self.projections.is_empty()
    }

    /// Whether this is one of them. Without any given, all are.
    pub(crate) fn has(&self, role: ServerRole) -> bool {
        self.given.is_empty() || self.given.contains(&role)
    }

    /// Whether it runs this projection.
    pub(crate) fn run(&self, projection: &str) -> bool {
        self.has(ServerRole::Projectors)
            && (self.projections.is_empty() || self.projections.iter().any(|name| name == projection))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = if self.given.is_empty() {
            ServerRole::value_variants().iter().map(ToString::to_string).collect()
        } else {
            self.given.iter().map(ToString::to_string).collect()
        };
        f.write_str(&names.join(", "))?;
        if self.projections.is_empty() { Ok(()) } else { write!(f, " ({})", self.projections.join(", ")) }
    }
}
