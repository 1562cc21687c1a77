//! Following and blocking: one stream for both directions, each event changing one.

use proptest::collection::vec;
use proptest::prelude::*;

use super::person;
use super::story::{given, nothing, run};
use crate::aggregate::{Aggregate, Rejection};
use crate::relation::{Command, Direction, Event, Pair, Relation};

const FOLLOWING: Direction = Direction { following: true, blocking: false };
const BLOCKING: Direction = Direction { following: false, blocking: true };
const NEITHER: Direction = Direction { following: false, blocking: false };

/// From the lesser id to the greater.
fn up() -> Pair {
    Pair { from: person(1), to: person(2) }
}

/// From the greater id to the lesser.
fn down() -> Pair {
    Pair { from: person(2), to: person(1) }
}

fn relation(low_to_high: Direction, high_to_low: Direction) -> Relation {
    Relation { low_to_high, high_to_low }
}

#[test]
fn a_follow_is_one_way() {
    nothing::<Relation>().when(Command::Follow(up())).then([Event::Followed(up())]).is(relation(FOLLOWING, NEITHER));
    nothing::<Relation>()
        .when(Command::Follow(down()))
        .then([Event::Followed(down())])
        .is(relation(NEITHER, FOLLOWING));
}

#[test]
fn two_may_follow_each_other() {
    given::<Relation>([Event::Followed(up())])
        .when(Command::Follow(down()))
        .then([Event::Followed(down())])
        .is(relation(FOLLOWING, FOLLOWING));
}

#[test]
fn following_twice_is_following_once() {
    given::<Relation>([Event::Followed(up())]).when(Command::Follow(up())).then_nothing();
}

#[test]
fn an_unfollow_ends_ones_own_follow_only() {
    given::<Relation>([Event::Followed(up()), Event::Followed(down())])
        .when(Command::Unfollow(up()))
        .then([Event::Unfollowed(up())])
        .is(relation(NEITHER, FOLLOWING))
        .when(Command::Unfollow(up()))
        .then_nothing();
}

#[test]
fn nobody_follows_blocks_unfollows_or_unblocks_themselves() {
    let oneself = Pair { from: person(1), to: person(1) };
    nothing::<Relation>()
        .when(Command::Follow(oneself))
        .refused(Rejection::Oneself)
        .when(Command::Block(oneself))
        .refused(Rejection::Oneself)
        .when(Command::Unfollow(oneself))
        .refused(Rejection::Oneself)
        .when(Command::Unblock(oneself))
        .refused(Rejection::Oneself);
}

#[test]
fn a_block_between_strangers_is_one_event() {
    nothing::<Relation>().when(Command::Block(up())).then([Event::Blocked(up())]).is(relation(BLOCKING, NEITHER));
}

#[test]
fn a_block_first_ends_the_follows_of_both_each_by_its_own_event() {
    given::<Relation>([Event::Followed(up()), Event::Followed(down())])
        .when(Command::Block(up()))
        .then([Event::Unfollowed(up()), Event::Unfollowed(down()), Event::Blocked(up())])
        .is(relation(BLOCKING, NEITHER));
}

#[test]
fn a_block_ends_the_follow_of_the_one_who_is_blocked() {
    given::<Relation>([Event::Followed(down())])
        .when(Command::Block(up()))
        .then([Event::Unfollowed(down()), Event::Blocked(up())]);
}

#[test]
fn a_block_ends_the_follow_of_the_one_who_blocks() {
    given::<Relation>([Event::Followed(up())])
        .when(Command::Block(up()))
        .then([Event::Unfollowed(up()), Event::Blocked(up())]);
}

#[test]
fn blocking_twice_is_blocking_once() {
    given::<Relation>([Event::Blocked(up())]).when(Command::Block(up())).then_nothing();
}

#[test]
fn the_blocked_may_block_back() {
    given::<Relation>([Event::Blocked(up())])
        .when(Command::Block(down()))
        .then([Event::Blocked(down())])
        .is(relation(BLOCKING, BLOCKING));
}

#[test]
fn a_block_either_way_forbids_follows_both_ways() {
    given::<Relation>([Event::Blocked(up())])
        .when(Command::Follow(up()))
        .refused(Rejection::Blocked)
        .when(Command::Follow(down()))
        .refused(Rejection::Blocked);
}

#[test]
fn unfollowing_across_a_block_does_nothing() {
    given::<Relation>([Event::Blocked(up())])
        .when(Command::Unfollow(up()))
        .then_nothing()
        .when(Command::Unfollow(down()))
        .then_nothing();
}

#[test]
fn an_unblock_restores_no_follow() {
    given::<Relation>([Event::Followed(up()), Event::Unfollowed(up()), Event::Blocked(up())])
        .when(Command::Unblock(up()))
        .then([Event::Unblocked(up())])
        .is(relation(NEITHER, NEITHER))
        .when(Command::Unblock(up()))
        .then_nothing()
        .when(Command::Follow(up()))
        .then([Event::Followed(up())]);
}

#[test]
fn nobody_lifts_the_others_block() {
    given::<Relation>([Event::Blocked(up())])
        .when(Command::Unblock(down()))
        .then_nothing()
        .is(relation(BLOCKING, NEITHER))
        .when(Command::Follow(down()))
        .refused(Rejection::Blocked);
}

#[test]
fn follows_stay_forbidden_until_both_blocks_are_lifted() {
    given::<Relation>([Event::Blocked(up()), Event::Blocked(down()), Event::Unblocked(up())])
        .when(Command::Follow(down()))
        .refused(Rejection::Blocked)
        .when(Command::Unblock(down()))
        .then([Event::Unblocked(down())])
        .when(Command::Follow(down()))
        .then([Event::Followed(down())]);
}

fn command() -> impl Strategy<Value = Command> {
    let pair = prop_oneof![Just(up()), Just(down())];
    (pair, 0..4u8).prop_map(|(pair, what)| match what {
        0 => Command::Follow(pair),
        1 => Command::Unfollow(pair),
        2 => Command::Block(pair),
        _ => Command::Unblock(pair),
    })
}

proptest! {
    // Invariants, after every single event: where one blocks the other, neither follows; an event changes its own
    // direction only. Every command is idempotent.
    #[test]
    fn whatever_two_people_want_of_each_other(commands in vec(command(), 0..30)) {
        run::<Relation>(&commands, |_| true, |before, after, event| {
            let followed = after.direction(up()).following || after.direction(down()).following;
            assert!(!(after.is_blocked() && followed), "{after:?}");
            let other = if event.pair() == up() { down() } else { up() };
            assert_eq!(before.direction(other), after.direction(other), "{event:?} is about one direction");
        });
    }

    // Who of the two has the lesser id is an accident.
    #[test]
    fn both_directions_are_alike(commands in vec(command(), 0..20)) {
        let mirrored = |command: &Command| {
            let turn = |pair: &Pair| Pair { from: pair.to, to: pair.from };
            match command {
                Command::Follow(pair) => Command::Follow(turn(pair)),
                Command::Unfollow(pair) => Command::Unfollow(turn(pair)),
                Command::Block(pair) => Command::Block(turn(pair)),
                Command::Unblock(pair) => Command::Unblock(turn(pair)),
            }
        };
        let (mut state, mut mirror) = (Relation::default(), Relation::default());
        for command in &commands {
            let (there, back) = (state.decide(command), mirror.decide(&mirrored(command)));
            prop_assert_eq!(there.is_ok(), back.is_ok());
            there.into_iter().flatten().for_each(|event| state.evolve(&event, super::START));
            back.into_iter().flatten().for_each(|event| mirror.evolve(&event, super::START));
            prop_assert_eq!(state.low_to_high, mirror.high_to_low);
            prop_assert_eq!(state.high_to_low, mirror.low_to_high);
        }
    }
}
