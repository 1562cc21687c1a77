//! What breaks, and what holds all the same.

mod damage;
mod kill;
mod poison;
mod storm;
