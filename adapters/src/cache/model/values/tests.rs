//! Within which bounds values are checked, and what is found without each rule.

use super::super::{Break, FILLED, LEASE, ONWARD, PRESENT, TOLD, finds, holds, long};
use super::{Bounds, Kind};

const COUNTS: Bounds =
    Bounds { kind: Kind::Counts, log: &[1, 1, 2], readers: 2, late: 1, epochs: 1, lives: None, broken: None };
const PREVIEW: Bounds = Bounds { kind: Kind::Preview, log: &[1, 2, 1, 3], ..COUNTS };

#[test]
fn counts_are_the_masters() {
    holds(COUNTS);
    holds(Bounds { log: &[1, 2], readers: 1, epochs: 2, ..COUNTS });
    if long() {
        holds(Bounds { log: &[1, 2], epochs: 2, ..COUNTS });
        holds(Bounds { log: &[1, 2, 3, 3], late: 2, ..COUNTS });
    }
}

#[test]
fn previews_are_the_masters_and_what_is_deleted_stays_so() {
    holds(Bounds { readers: 1, ..PREVIEW });
    holds(Bounds { log: &[1, 2], readers: 1, late: 0, epochs: 2, ..PREVIEW });
    if long() {
        holds(Bounds { log: &[1, 2, 1], ..PREVIEW });
        holds(Bounds { log: &[1, 2], epochs: 2, ..PREVIEW });
    }
}

#[test]
fn a_hot_key_is_filled_at_last() {
    holds(Bounds { lives: Some((2, 1)), ..COUNTS });
    holds(Bounds { readers: 1, lives: Some((1, 1)), ..PREVIEW });
}

#[test]
fn each_rule_is_needed() {
    let two_epochs = Bounds { log: &[1, 2], readers: 1, epochs: 2, ..COUNTS };
    for (bounds, broken, property) in [
        (COUNTS, Break::NoLease, TOLD),
        (COUNTS, Break::NoLease, ONWARD),
        (COUNTS, Break::LeaseForAll, LEASE),
        (COUNTS, Break::NoVersions, ONWARD),
        (COUNTS, Break::NoVersions, PRESENT),
        (COUNTS, Break::NotToldAgain, TOLD),
        (COUNTS, Break::NotToldAgain, PRESENT),
        (COUNTS, Break::UpdateReplacesLease, PRESENT),
        (COUNTS, Break::UpdateForgotten, PRESENT),
        (COUNTS, Break::UpdateEndsLease, LEASE),
        (Bounds { lives: Some((0, 0)), ..COUNTS }, Break::UpdateEndsLease, FILLED),
        (COUNTS, Break::EpochNotRaised, PRESENT),
        (COUNTS, Break::OldDataBelieved, PRESENT),
        (two_epochs, Break::EpochRaisedLate, TOLD),
        (two_epochs, Break::EpochReadEarly, PRESENT),
        (two_epochs, Break::EpochSeenEarly, TOLD),
        (PREVIEW, Break::NoLease, TOLD),
        (PREVIEW, Break::UpdateReplacesLease, PRESENT),
    ] {
        finds(Bounds { broken: Some(broken), ..bounds }, property);
    }
}
