//! Following, blocking and muting: one stream for both directions, each event changing one.

use proptest::collection::vec;
use proptest::prelude::*;

use super::person;
use super::story::{given, nothing, run};
use crate::aggregate::{Aggregate, Rejection};
use crate::relation::{Command, Direction, Event, Pair, Relation};

const FOLLOWING: Direction = Direction { following: true, ..NEITHER };
const BLOCKING: Direction = Direction { blocking: true, ..NEITHER };
const MUTING: Direction = Direction { muting: true, ..NEITHER };
const NEITHER: Direction = Direction { following: false, blocking: false, muting: false };

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
fn nobody_follows_blocks_or_mutes_themselves_or_takes_it_back() {
    let oneself = Pair { from: person(1), to: person(1) };
    nothing::<Relation>()
        .when(Command::Follow(oneself))
        .refused(Rejection::Oneself)
        .when(Command::Block(oneself))
        .refused(Rejection::Oneself)
        .when(Command::Unfollow(oneself))
        .refused(Rejection::Oneself)
        .when(Command::Unblock(oneself))
        .refused(Rejection::Oneself)
        .when(Command::Mute(oneself))
        .refused(Rejection::Oneself)
        .when(Command::Unmute(oneself))
        .refused(Rejection::Oneself);
}

#[test]
fn one_may_mute_whom_one_follows_and_goes_on_following() {
    given::<Relation>([Event::Followed(up())])
        .when(Command::Mute(up()))
        .then([Event::Muted(up())])
        .is(relation(Direction { muting: true, ..FOLLOWING }, NEITHER))
        .when(Command::Unmute(up()))
        .then([Event::Unmuted(up())])
        .is(relation(FOLLOWING, NEITHER));
}

#[test]
fn one_may_mute_a_stranger_and_follow_them_later() {
    nothing::<Relation>()
        .when(Command::Mute(down()))
        .then([Event::Muted(down())])
        .is(relation(NEITHER, MUTING))
        .when(Command::Follow(down()))
        .then([Event::Followed(down())])
        .is(relation(NEITHER, Direction { muting: true, ..FOLLOWING }));
}

#[test]
fn muting_twice_is_muting_once() {
    given::<Relation>([Event::Muted(up())]).when(Command::Mute(up())).then_nothing();
    nothing::<Relation>().when(Command::Unmute(up())).then_nothing();
    given::<Relation>([Event::Muted(up())]).when(Command::Unmute(down())).then_nothing();
}

#[test]
fn a_mute_and_a_block_do_not_touch_each_other() {
    given::<Relation>([Event::Muted(up())])
        .when(Command::Block(up()))
        .then([Event::Blocked(up())])
        .is(relation(Direction { muting: true, ..BLOCKING }, NEITHER))
        .when(Command::Unblock(up()))
        .then([Event::Unblocked(up())])
        .is(relation(MUTING, NEITHER));
    given::<Relation>([Event::Blocked(up())])
        .when(Command::Mute(up()))
        .then([Event::Muted(up())])
        .when(Command::Mute(down()))
        .then([Event::Muted(down())]);
}

/// Documents of pairs that mute nobody were written before one could, and are compared with folded ones as text.
#[test]
fn a_state_without_mutes_is_written_as_it_was_before_one_could_mute() {
    let written =
        r#"{"low_to_high":{"following":true,"blocking":false},"high_to_low":{"following":false,"blocking":true}}"#;
    let state: Relation = serde_json::from_str(written).expect("reads");
    assert_eq!(state, relation(FOLLOWING, BLOCKING));
    assert_eq!(serde_json::to_string(&state).expect("serialises"), written);
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
    (pair, 0..6u8).prop_map(|(pair, what)| match what {
        0 => Command::Follow(pair),
        1 => Command::Unfollow(pair),
        2 => Command::Block(pair),
        3 => Command::Unblock(pair),
        4 => Command::Mute(pair),
        _ => Command::Unmute(pair),
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
            if !matches!(event, Event::Muted(_) | Event::Unmuted(_)) {
                let pair = event.pair();
                assert_eq!(before.direction(pair).muting, after.direction(pair).muting, "{event:?} mutes nobody");
            }
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
                Command::Mute(pair) => Command::Mute(turn(pair)),
                Command::Unmute(pair) => Command::Unmute(turn(pair)),
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
