//! The conventions at the door, one file each.

mod auth;
mod client_address;
mod conditional;
mod consistency;
mod cursor;
mod extract;
mod openapi;
mod problem;
mod rate_limits;
mod tokens;
