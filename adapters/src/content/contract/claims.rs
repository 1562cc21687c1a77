//! Claims on commands and names, and people's keys.

use domain::text::Username;
use futures::future::join_all;

use super::*;
use crate::content::{Answer, CLAIM_LIFE_MILLIS, ClaimOutcome, CommandClaim, StoredKey};

fn claim(actor: &str, key: &str, number: u16, at: Timestamp) -> CommandClaim {
    let (actor, key) = (actor.to_owned(), key.to_owned());
    CommandClaim { actor, key, digest: [number as u8; 32], stream: StreamId::Reaction(post(number), user(number)), at }
}

fn answer(body: &str) -> Answer {
    Answer { status: 201, body: body.to_owned(), etag: None }
}

fn name(name: &str) -> Username {
    Username::parse(name).unwrap()
}

/// W4
pub(crate) async fn a_command_is_claimed_once(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    let first = claim("one", "key", 1, NOW);
    assert_eq!(content.claim_command(first.clone()).await.unwrap(), ClaimOutcome::New);
    // Another body, later, for another stream: what was claimed stays.
    let again = content.claim_command(claim("one", "key", 2, NOW.plus_millis(5))).await.unwrap();
    assert_eq!(again, ClaimOutcome::Existing(first, None));
    for others in [claim("other", "key", 3, NOW), claim("one", "other key", 4, NOW)] {
        assert_eq!(content.claim_command(others).await.unwrap(), ClaimOutcome::New);
    }
}

/// W4
pub(crate) async fn of_many_claims_on_a_command_one_is_new(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    for at in [NOW, NOW.plus_millis(CLAIM_LIFE_MILLIS + 1)] {
        let attempt = |number| {
            let content = Arc::clone(&content);
            tokio::spawn(async move { content.claim_command(claim("one", "key", number, at)).await.unwrap() })
        };
        let outcomes = join_all((0..20).map(attempt)).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        let new = outcomes.iter().position(|outcome| *outcome == ClaimOutcome::New).unwrap();
        let existing = ClaimOutcome::Existing(claim("one", "key", new as u16, at), None);
        let lost = outcomes.iter().filter(|outcome| **outcome == existing).count();
        assert_eq!(lost, 19, "{outcomes:?}");
    }
}

/// W4
pub(crate) async fn the_first_answer_stays(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    let first = claim("one", "key", 1, NOW);
    // Nobody has claimed it: there is nothing to record an answer with.
    content.answer_command("one", "key", &answer("too early")).await.unwrap();
    assert_eq!(content.claim_command(first.clone()).await.unwrap(), ClaimOutcome::New);
    let given = Answer { etag: Some("\"1\"".to_owned()), ..answer("the first") };
    content.answer_command("one", "key", &given).await.unwrap();
    content.answer_command("one", "key", &answer("the second")).await.unwrap();
    content.answer_command("other", "key", &answer("somebody else's")).await.unwrap();
    let again = content.claim_command(first.clone()).await.unwrap();
    assert_eq!(again, ClaimOutcome::Existing(first, Some(given)));
}

pub(crate) async fn an_old_claim_is_as_if_it_were_not_there(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    let first = claim("one", "key", 1, NOW);
    content.claim_command(first.clone()).await.unwrap();
    content.answer_command("one", "key", &answer("old")).await.unwrap();
    let last_day = claim("one", "key", 2, NOW.plus_millis(CLAIM_LIFE_MILLIS));
    let outcome = content.claim_command(last_day).await.unwrap();
    assert_eq!(outcome, ClaimOutcome::Existing(first, Some(answer("old"))));

    let next_day = claim("one", "key", 3, NOW.plus_millis(CLAIM_LIFE_MILLIS + 1));
    assert_eq!(content.claim_command(next_day.clone()).await.unwrap(), ClaimOutcome::New);
    let again = content.claim_command(next_day.clone()).await.unwrap();
    assert_eq!(again, ClaimOutcome::Existing(next_day, None));
}

pub(crate) async fn old_claims_are_forgotten(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    for number in 0..10u16 {
        content.claim_command(claim("one", &number.to_string(), number, NOW.plus_millis(number.into()))).await.unwrap();
    }
    let before = NOW.plus_millis(5);
    assert_eq!(content.forget_commands(before, 3).await.unwrap(), 3);
    assert_eq!(content.forget_commands(before, 3).await.unwrap(), 2);
    assert_eq!(content.forget_commands(before, 3).await.unwrap(), 0);
    for number in 0..10u16 {
        let outcome = content.claim_command(claim("one", &number.to_string(), 99, NOW)).await.unwrap();
        assert_eq!(outcome == ClaimOutcome::New, number < 5, "claim {number}");
    }
}

/// W5
pub(crate) async fn a_name_has_one_owner(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    assert_eq!(content.username_owner(&name("alice")).await.unwrap(), None);
    assert!(content.claim_username(&name("alice"), user(1), NOW, NOW.plus_millis(-1000)).await.unwrap());
    assert!(!content.claim_username(&name("alice"), user(2), NOW, NOW.plus_millis(-1000)).await.unwrap());
    assert!(content.claim_username(&name("alice"), user(1), NOW, NOW.plus_millis(-1000)).await.unwrap(), "a repeat");
    assert!(content.claim_username(&name("bob"), user(2), NOW, NOW.plus_millis(-1000)).await.unwrap());
    assert_eq!(content.username_owner(&name("ALICE")).await.unwrap(), Some(user(1)));
    assert_eq!(content.username_owner(&name("bob")).await.unwrap(), Some(user(2)));
}

/// W5
pub(crate) async fn of_many_claims_on_a_name_one_succeeds(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    // The second time all take it over from somebody who never came into being.
    for (first, now) in [(0, NOW), (100, NOW.plus_millis(10_000))] {
        let attempt = |number| {
            let content = Arc::clone(&content);
            tokio::spawn(async move {
                let expired = now.plus_millis(-1000);
                content.claim_username(&name("alice"), user(first + number), now, expired).await.unwrap()
            })
        };
        let claimed = join_all((0..20).map(attempt)).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(claimed.iter().filter(|claimed| **claimed).count(), 1);
        let winner = first + claimed.iter().position(|claimed| *claimed).unwrap() as u16;
        assert_eq!(content.username_owner(&name("alice")).await.unwrap(), Some(user(winner)));
    }
}

/// W5
pub(crate) async fn a_name_can_be_taken_over_from_nobody(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let content = &stores.content;
    let minutes = |minutes: i64| NOW.plus_millis(minutes * 60_000);
    let claim = async |owner, now: i64| {
        content.claim_username(&name("alice"), user(owner), minutes(now), minutes(now - 10)).await.unwrap()
    };
    assert!(claim(1, 0).await);
    assert!(!claim(2, 10).await, "it expires after ten minutes, not with them");
    // A registration that is tried again has its ten minutes from then.
    assert!(claim(1, 5).await);
    assert!(!claim(2, 15).await);
    assert!(claim(2, 16).await);
    assert!(!claim(1, 17).await, "the former owner was too slow");
    assert_eq!(content.username_owner(&name("alice")).await.unwrap(), Some(user(2)));

    // From somebody who is there nobody takes anything.
    committed(&stores, &commit(StreamId::User(user(2)), 0, vec![])).await;
    assert!(!claim(3, 1_000_000).await);
    assert_eq!(content.username_owner(&name("alice")).await.unwrap(), Some(user(2)));
}

pub(crate) async fn a_person_has_one_key(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    assert_eq!(content.key(user(1)).await.unwrap(), None);
    assert_eq!(content.create_key(user(1), vec![0, 1, 255]).await.unwrap(), StoredKey::Wrapped(vec![0, 1, 255]));
    assert_eq!(content.create_key(user(1), vec![9]).await.unwrap(), StoredKey::Wrapped(vec![0, 1, 255]));
    assert_eq!(content.key(user(1)).await.unwrap(), Some(StoredKey::Wrapped(vec![0, 1, 255])));
    assert_eq!(content.key(user(2)).await.unwrap(), None);
}

pub(crate) async fn of_many_first_keys_one_is_stored(open: impl AsyncFn() -> Stores) {
    let Stores { content, .. } = open().await;
    let attempt = |number: u8| {
        let content = Arc::clone(&content);
        tokio::spawn(async move { content.create_key(user(1), vec![number; 72]).await.unwrap() })
    };
    let keys = join_all((0..20).map(attempt)).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let stored = content.key(user(1)).await.unwrap().unwrap();
    assert!(keys.iter().all(|key| *key == stored), "{keys:?}");
}
