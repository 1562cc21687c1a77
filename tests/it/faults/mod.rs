//! What breaks, and what holds all the same.

mod doubled;
mod flaky;
mod kill;
mod newer;
pub(crate) mod restarts;
mod services;
mod storm;
