//! The protocol of the cache, checked exhaustively within small bounds.
//!
//! Around one key there is what is around it in life: the master; the projector that writes the master, tells the cache
//! and saves its checkpoint, and can be killed or overtaken between any two steps (who is overtaken sleeps, and takes its
//! next steps whenever it likes, as a late message does); readers that look up, load and fill, each when it likes;
//! other projectors that give the cache up; expiry, eviction and restarts at any moment. What a call does to the key is
//! asked of [`cell`](super::cell) itself, so that it is the code that is checked and not a copy.
//!
//! Readers that merely find something have no state of their own: what they see is what the cell holds. So what is said
//! of cells here is said of all readers, at all times, in the epoch before the present one, too: some read on there for a
//! while. A *room* is the key in one epoch. `seen` is the newest checkpoint that somebody can have seen together with
//! this epoch, and so the least that must be found there from then on (W7).
//!
//! A server that comes back with older data has another run id, and so all its keys have other names: it is nothing but
//! empty.
//!
//! # That a hot key is filled at last
//!
//! [`LEASE`] says that no lease ends but in its own fill, by expiry, or by a deletion (in lists also by additions out of
//! order, more than a list keeps, while one reader loads). In bounded runs there are finitely many of these; [`FILLED`] says
//! that the key needs one load and one more for each of them, however much is written meanwhile, and that there is a value
//! when nothing can happen any more. So every such run ends, and with a value. That is the claim in life, too: a key that is
//! read all the time is filled once a single load is faster than its lease. Of fairness it needs only that who has a
//! lease goes on or dies, and that leases end.
//!
//! # Whether the checks can fail
//!
//! Each [`Break`] takes one rule away, and the checker must find what it was for.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, HasDiscoveries, Model};

mod lists;
mod rows;
mod values;

/// K1, about what.
const MASTERS: &str = "K1: what is found is the master's at its version";
/// K1, about when.
const ONWARD: &str = "K1: nothing that is found goes back";
/// K2 as a reader with a token sees it.
const TOLD: &str = "W7: nothing is found that is older than a checkpoint seen with its epoch";
/// K2 at rest.
const PRESENT: &str = "K2: once all is told, what lives is the master's present";
/// K3 and K4: nobody is robbed of a lease, so nobody loads beside its holder.
const LEASE: &str = "K4: a lease ends in its own fill, by expiry or by a deletion";
/// K3: updates do not keep a key from being filled.
const FILLED: &str = "K3: a hot key is filled at last";

/// One rule of the protocol that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// Any fill counts that meets nothing newer.
    NoLease,
    /// Whoever finds a lease gets it.
    LeaseForAll,
    /// Updates do not look at versions.
    NoVersions,
    /// An update that finds a lease takes its place.
    UpdateReplacesLease,
    /// An update that finds a lease leaves no trace.
    UpdateForgotten,
    /// An update that finds a lease ends it.
    UpdateEndsLease,
    /// What the master has already is not told again after a crash.
    NotToldAgain,
    /// The cache cannot be reached, and the checkpoint is saved all the same.
    EpochNotRaised,
    /// It is raised, but after the checkpoint.
    EpochRaisedLate,
    /// The cache is told in the epoch that was the present one before the master was written.
    EpochReadEarly,
    /// A reader sees a checkpoint beside an older epoch.
    EpochSeenEarly,
    /// A server that comes back with older data is believed.
    OldDataBelieved,
    /// A deletion drops the list, but leaves a lease.
    DropKeepsLease,
    /// A list's version is read after its items.
    VersionAfterItems,
    /// A comment is put in as often as it is told of.
    NoDuplicateCheck,
    /// That additions were too many to wait with the lease is not remembered.
    OverflowForgotten,
    /// Of a batch that has both, the additions are told before the list is dropped.
    AddedBeforeDropped,
    /// Of what the master has moved on from, nothing is told.
    OvertakenNotTold,
}

/// Visits every state, and fails with a path to one in which a property does not hold.
fn holds<M>(model: M)
where
    M: Model + Debug + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let name = format!("{model:?}");
    let checked = model.checker().spawn_bfs().join();
    println!("{name}: {} states, {} steps deep", checked.unique_state_count(), checked.max_depth());
    checked.assert_properties();
}

/// Finds a path to a state in which `property` does not hold.
fn finds<M>(model: M, property: &'static str)
where
    M: Model + Debug + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let name = format!("{model:?}");
    let checked = model.checker().finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property]))).spawn_bfs().join();
    let Some(path) = checked.discovery(property) else {
        panic!("{name}: {property} holds in all {} states", checked.unique_state_count())
    };
    println!("{name}: not \"{property}\", after {:?}", path.into_actions());
}

/// Whether bounds may be wider than in every run.
fn long() -> bool {
    std::env::var_os("HYBRID_LIVE_TEST_LONG").is_some()
}
