//! The runtime and the projections on real embedded stores, and the counts' arithmetic under every kind of repetition.

mod cached;
mod counts;
mod crashes;
mod fixture;
mod news;
mod operating;
mod profiles;
mod running;
mod sharing;
mod told;
mod world;

use adapters::checkpoints::{Generation, Owner, OwnerEpoch, Partition};
use domain::Topic;

/// The first owner of some partition.
fn owner(generation: Generation) -> Owner {
    Owner { generation, partition: Partition { topic: Topic::Posts, number: 0 }, epoch: OwnerEpoch(1) }
}
