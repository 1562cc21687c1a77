//! What spans crates, over real HTTP against the real binary, one module per story.
//!
//! `HYBRID_LIVE_TEST_STORES` picks the mix of stores (`tests/mixes` says which scenarios are not for which), `HYBRID_LIVE_TEST_SEED` repeats a run, and
//! `HYBRID_LIVE_TEST_LONG` makes random tests run longer.

#![expect(clippy::print_stdout, reason = "libtest shows it where a test fails")]

mod bad_input;
mod commands;
mod community;
mod compose;
mod documents;
mod embedded_only;
mod faults;
mod feed;
mod feed_stream;
mod feed_stream_model;
mod fuzz;
mod home_model;
mod lifecycle;
mod live;
mod load;
mod operating;
mod processes;
mod profiles;
mod rate_limits;
mod reference;
mod roles;
mod sessions;
mod tour;

/// How many cases a property test has: `default`, or ten times as many in a long run.
pub(crate) fn cases(default: u32) -> u32 {
    if std::env::var_os("HYBRID_LIVE_TEST_LONG").is_some() { default * 10 } else { default }
}
