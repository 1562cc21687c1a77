//! The conventions at the door, one file each.

mod auth;
mod conditional;
mod consistency;
mod cursor;
mod extract;
mod openapi;
mod problem;
mod tokens;
