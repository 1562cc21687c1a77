//! Who somebody is: passwords, sessions with rotating refresh tokens, and the cookies that carry tokens for the page.
//!
//! Access tokens are signed and stored nowhere (`adapters::http::tokens`). Everything here is in the `private` part of
//! the user's document: it is never in an event.

pub mod passwords;
pub(crate) mod private;
pub(crate) mod refresh;
pub mod roles;
pub(crate) mod sessions;
