//! From the log to the read models: the runtime that carries events to projections, and the projections.
//!
//! A new projection is one file here that implements [`Projection`], and a line where the binary lists them.

pub mod canaries;
pub mod engagement;
pub mod profiles;
pub mod projection;
pub mod runtime;
pub mod timelines;

mod caching;
mod giving_up;
mod telling;

pub use engagement::{Engagement, EngagementPorts};
pub use profiles::Profiles;
pub use projection::{ApplyError, Projection, Recorded};
pub use runtime::{Overview, PartitionStatus, Runtime, RuntimePorts, Settings, State};
pub use timelines::Timelines;

#[cfg(test)]
mod tests;
