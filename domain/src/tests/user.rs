//! Accounts come into being once; what they show may change as often as one likes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::person;
use super::story::{given, nothing, run};
use crate::aggregate::Rejection;
use crate::sealed::Sealed;
use crate::text::{Bio, DisplayName, Username};
use crate::user::{Command, Event, Names, Profile, ProfileEdited, Registered, User};

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

fn profile(display_name: &str, bio: &str) -> Profile {
    Profile { display_name: DisplayName::parse(display_name).expect("valid"), bio: Bio::parse(bio).expect("valid") }
}

fn edit(number: u8, display_name: &str, bio: &str) -> Command {
    Command::EditProfile { user: person(number), profile: profile(display_name, bio) }
}

fn edited(number: u8, display_name: &str, bio: &str) -> Event {
    Event::ProfileEdited(ProfileEdited { user: person(number), profile: Sealed::Open(profile(display_name, bio)) })
}

fn account(username: &str, display_name: &str, bio: &str) -> User {
    let Names { username, display_name } = names(username, display_name);
    User::Registered { username, display_name, bio: Bio::parse(bio).expect("valid") }
}

#[test]
fn a_new_account_has_its_names_and_no_bio() {
    nothing::<User>()
        .when(register(1, "ada", "Ada L."))
        .then([registered(1, "ada", "Ada L.")])
        .is(account("ada", "Ada L.", ""));
}

#[test]
fn a_profile_is_replaced_as_a_whole_and_the_user_name_stays() {
    given::<User>([registered(1, "ada", "Ada L.")])
        .when(edit(1, "Ada", "Analyst.\nMetaphysician."))
        .then([edited(1, "Ada", "Analyst.\nMetaphysician.")])
        .is(account("ada", "Ada", "Analyst.\nMetaphysician."))
        .when(edit(1, "Ada", ""))
        .then([edited(1, "Ada", "")])
        .is(account("ada", "Ada", ""));
}

#[test]
fn a_profile_that_says_so_already_is_not_edited() {
    given::<User>([registered(1, "ada", "Ada L.")])
        .when(edit(1, "Ada L.", ""))
        .then_nothing()
        .when(edit(1, "Ada L.", "Analyst."))
        .then([edited(1, "Ada L.", "Analyst.")])
        .when(edit(1, "Ada L.", "Analyst."))
        .then_nothing();
}

#[test]
fn nobody_has_no_profile() {
    nothing::<User>().when(edit(1, "Ada", "")).refused(Rejection::NotFound("user"));
}

/// Documents of accounts without a bio were written before there was any, and are compared with folded ones as text.
#[test]
fn a_state_without_a_bio_is_written_as_it_was_before_there_was_any() {
    let written = r#"{"status":"registered","username":"ada","display_name":"Ada L."}"#;
    let state: User = serde_json::from_str(written).expect("reads");
    assert_eq!(state, account("ada", "Ada L.", ""));
    assert_eq!(serde_json::to_string(&state).expect("serialises"), written);
}

#[test]
fn an_account_is_not_registered_twice() {
    given::<User>([registered(1, "ada", "Ada L.")])
        .when(register(1, "ada", "Ada L."))
        .refused(Rejection::AlreadyExists("user"))
        .when(register(1, "grace", "Grace H."))
        .refused(Rejection::AlreadyExists("user"))
        .is(account("ada", "Ada L.", ""));
}

proptest! {
    // Invariant: an account is registered at most once, and first; its user name is that event's for ever.
    #[test]
    fn whatever_is_wanted_of_an_account(wishes in vec((0..3u8, 0..3u8, any::<bool>()), 0..8)) {
        let command = |(name, bio, new): &(u8, u8, bool)| match new {
            true => register(1, &format!("user{name}"), "Somebody"),
            false => edit(1, &format!("Somebody {name}"), &"word ".repeat(usize::from(*bio))),
        };
        let commands: Vec<Command> = wishes.iter().map(command).collect();
        let is_edit = |command: &Command| matches!(command, Command::EditProfile { .. });
        let username = |user: &User| match user {
            User::Absent => None,
            User::Registered { username, .. } => Some(username.clone()),
        };
        let log = run::<User>(&commands, is_edit, |before, after, event| match event {
            Event::Registered(_) => assert_eq!(*before, User::Absent),
            Event::ProfileEdited(_) => assert_eq!(username(before), username(after)),
        });
        let registrations = log.iter().filter(|event| matches!(event, Event::Registered(_))).count();
        prop_assert_eq!(registrations, usize::from(!commands.iter().all(is_edit)));
    }
}
