//! The runtime and the projections on real embedded stores, and the counts' arithmetic under every kind of repetition.

mod counts;
mod fixture;
mod profiles;
mod running;
mod told;
