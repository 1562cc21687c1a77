//! What is made for embedded stores alone: it changes their files by hand. `tests/mixes` leaves it out of other mixes.

mod apart;
mod faults;
mod files;
mod openapi;
