//! Within which bounds lists are checked, and what is found without each rule.

use super::super::rows::Event::{Add, Delete, Edit};
use super::super::{Break, FILLED, MASTERS, ONWARD, PRESENT, TOLD, finds, holds, long};
use super::{Bounds, Logs};

const SHORT: Bounds = Bounds { logs: Logs::All(2, 2), readers: 1, late: 1, epochs: 1, lives: None, broken: None };
/// More than a list keeps, in another order than that of their ids, after one that is gone.
const CROWDED: Bounds = Bounds { logs: Logs::These(&[&[Add(3), Delete(3), Add(2), Add(1)]]), ..SHORT };
/// More than a list keeps; a deletion.
const FULL: Bounds = Bounds { logs: Logs::These(&[&[Add(1), Add(2), Add(3), Delete(3)]]), ..SHORT };
/// What is deleted comes again: from the log, and from those who are late.
const REPEATED: Bounds = Bounds { logs: Logs::These(&[&[Add(1), Delete(1), Add(1), Add(2)]]), ..SHORT };

#[test]
fn lists_are_the_masters() {
    holds(SHORT);
    for bounds in [CROWDED, FULL, REPEATED] {
        holds(bounds.clone());
        if long() {
            holds(Bounds { readers: 2, ..bounds });
        }
    }
    holds(Bounds { logs: Logs::These(&[&[Add(1), Delete(1)]]), epochs: 2, ..SHORT });
    holds(Bounds { logs: Logs::These(&[&[Add(1), Edit(1)]]), readers: 2, ..SHORT });
    if long() {
        holds(Bounds { logs: Logs::All(3, 3), ..SHORT });
        holds(Bounds { epochs: 2, ..SHORT });
    }
}

#[test]
fn a_hot_list_is_filled_at_last() {
    holds(Bounds { lives: Some((1, 1)), ..FULL });
    holds(Bounds { lives: Some((1, 1)), ..CROWDED });
}

#[test]
fn each_rule_is_needed() {
    let one = |log| Bounds { logs: Logs::These(log), ..SHORT };
    let storm = Bounds { lives: Some((0, 0)), ..one(&[&[Add(1), Add(2), Add(3)]]) };
    for (bounds, broken, property) in [
        (one(&[&[Add(1)]]), Break::NoLease, TOLD),
        (one(&[&[Add(1), Delete(1)]]), Break::NoVersions, ONWARD),
        (one(&[&[Add(1)]]), Break::NotToldAgain, TOLD),
        (one(&[&[Add(1), Edit(1)]]), Break::NotToldAgain, PRESENT),
        (one(&[&[Add(1)]]), Break::UpdateForgotten, PRESENT),
        (storm, Break::UpdateEndsLease, FILLED),
        (one(&[&[Add(1)]]), Break::EpochNotRaised, TOLD),
        (one(&[&[Add(1), Delete(1)]]), Break::DropKeepsLease, PRESENT),
        (one(&[&[Add(1)]]), Break::VersionAfterItems, MASTERS),
        (one(&[&[Add(1)]]), Break::NoDuplicateCheck, MASTERS),
        (CROWDED, Break::OverflowForgotten, TOLD),
        (one(&[&[Add(1), Edit(1), Add(2)]]), Break::AddedBeforeDropped, MASTERS),
        (one(&[&[Add(1), Edit(1), Delete(1)]]), Break::OvertakenNotTold, TOLD),
    ] {
        finds(Bounds { broken: Some(broken), ..bounds }, property);
    }
}
