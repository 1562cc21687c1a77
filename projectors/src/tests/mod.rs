//! The runtime and the projections on real embedded stores, and the counts' arithmetic under every kind of repetition.

mod counts;
mod crashes;
mod fixture;
mod news;
mod operating;
mod profiles;
mod running;
mod told;
mod world;
