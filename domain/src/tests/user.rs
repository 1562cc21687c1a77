//! Accounts come into being once.

use proptest::collection::vec;
use proptest::prelude::*;

use super::person;
use super::story::{given, nothing, run};
use crate::aggregate::Rejection;
use crate::sealed::Sealed;
use crate::text::{DisplayName, Username};
use crate::user::{Command, Event, Names, Registered, User};

fn names(username: &str, display_name: &str) -> Names {
    Names {
        username: Username::parse(username).expect("valid"),
        display_name: DisplayName::parse(display_name).expect("valid"),
    }
}

fn register(number: u8, username: &str, display_name: &str) -> Command {
    let Names { username, display_name } = names(username, display_name);
    Command::Register { user: person(number), username, display_name }
}

fn registered(number: u8, username: &str, display_name: &str) -> Event {
    Event::Registered(Registered { user: person(number), names: Sealed::Open(names(username, display_name)) })
}

#[test]
fn a_new_account_has_its_names() {
    let Names { username, display_name } = names("ada", "Ada L.");
    nothing::<User>()
        .when(register(1, "ada", "Ada L."))
        .then([registered(1, "ada", "Ada L.")])
        .is(User::Registered { username, display_name });
}

#[test]
fn an_account_is_not_registered_twice() {
    let Names { username, display_name } = names("ada", "Ada L.");
    given::<User>([registered(1, "ada", "Ada L.")])
        .when(register(1, "ada", "Ada L."))
        .refused(Rejection::AlreadyExists("user"))
        .when(register(1, "grace", "Grace H."))
        .refused(Rejection::AlreadyExists("user"))
        .is(User::Registered { username, display_name });
}

proptest! {
    // Invariant: an account is registered at most once, and its names are those of that one event.
    #[test]
    fn whatever_is_wanted_of_an_account(names in vec(0..3u8, 0..6)) {
        let commands: Vec<Command> = names.iter().map(|name| register(1, &format!("user{name}"), "Somebody")).collect();
        let log = run::<User>(&commands, |_| false, |before, _, _| assert_eq!(*before, User::Absent));
        prop_assert_eq!(log.len(), usize::from(!commands.is_empty()));
    }
}
