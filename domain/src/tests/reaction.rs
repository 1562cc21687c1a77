//! Liking twice is liking once.

use proptest::collection::vec;
use proptest::prelude::*;

use super::story::{given, nothing, run};
use super::{person, post};
use crate::reaction::{Command, Event, Reaction, Subject};

fn subject() -> Subject {
    Subject { post: post(1), user: person(1) }
}

#[test]
fn a_like_is_recorded_once() {
    nothing::<Reaction>()
        .when(Command::Like(subject()))
        .then([Event::Liked(subject())])
        .is(Reaction { liked: true })
        .when(Command::Like(subject()))
        .then_nothing()
        .is(Reaction { liked: true });
}

#[test]
fn an_unlike_takes_the_like_back_once() {
    given::<Reaction>([Event::Liked(subject())])
        .when(Command::Unlike(subject()))
        .then([Event::Unliked(subject())])
        .is(Reaction { liked: false })
        .when(Command::Unlike(subject()))
        .then_nothing();
}

#[test]
fn what_was_never_liked_is_not_unliked() {
    nothing::<Reaction>().when(Command::Unlike(subject())).then_nothing().is(Reaction { liked: false });
}

#[test]
fn who_took_a_like_back_may_like_again() {
    given::<Reaction>([Event::Liked(subject()), Event::Unliked(subject())])
        .when(Command::Like(subject()))
        .then([Event::Liked(subject())]);
}

proptest! {
    // Invariants: likes and unlikes alternate, beginning with a like; every command is idempotent.
    #[test]
    fn whatever_is_wanted_of_a_reaction(likes in vec(any::<bool>(), 0..20)) {
        let command = |like: &bool| if *like { Command::Like(subject()) } else { Command::Unlike(subject()) };
        let commands: Vec<Command> = likes.iter().map(command).collect();
        let log = run::<Reaction>(&commands, |_| true, |before, after, _| assert_ne!(before.liked, after.liked));
        for (number, event) in log.iter().enumerate() {
            prop_assert_eq!(*event, if number % 2 == 0 { Event::Liked(subject()) } else { Event::Unliked(subject()) });
        }
    }
}
