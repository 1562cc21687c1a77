//! The conventions at the door, one file each.

mod auth;
mod consistency;
mod cursor;
mod extract;
mod problem;
mod tokens;
