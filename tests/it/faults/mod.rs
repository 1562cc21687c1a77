//! What breaks, and what holds all the same.

mod doubled;
mod flaky;
mod kill;
mod newer;
mod restarts;
mod services;
mod storm;
