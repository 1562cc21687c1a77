//! Stories over the router and the write path, on real SQLite stores, one file per area.

mod accounts;
mod bad_input;
mod comments;
mod consistency;
mod faults;
mod given_times;
mod likes;
mod once;
mod outbox;
mod passwords;
mod posts;
mod relations;
mod roles;
mod sessions;
mod world;
