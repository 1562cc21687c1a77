//! W4 and W5 between the calls of one claim: somebody else's claim, or account, comes in between.

use domain::text::Username;
use domain::{StreamId, Timestamp, UserId};
use tokio::task::JoinHandle;

use super::*;
use crate::content::contract::{NOW, commit, post, user};
use crate::content::{CLAIM_LIFE_MILLIS, StoredKey};
use crate::mongodb::testing::wire::Wire;

struct Stage {
    wire: Wire,
    sleeper: MongoContent,
    others: MongoContent,
    _place: Place,
}

async fn stage() -> Stage {
    let place = Place::new();
    MongoContent::migrate(&place.url()).await.unwrap();
    let others = MongoContent::open(&place.url()).await.unwrap();
    let wire = Wire::to(&place).await;
    let sleeper = MongoContent { database: wire.database().await };
    Stage { wire, sleeper, others, _place: place }
}

impl Stage {
    /// Lets so many calls of the sleeper through; the next one waits.
    async fn calls<T>(&mut self, operation: &mut JoinHandle<T>, count: usize) {
        for _ in 0..count {
            self.wire.settled(operation).await.ok().expect("a call").goes_on().await;
        }
    }

    /// Lets all through.
    async fn outcome<T>(&mut self, mut operation: JoinHandle<T>) -> T {
        loop {
            match self.wire.settled(&mut operation).await {
                Ok(held) => held.goes_on().await,
                Err(outcome) => return outcome,
            }
        }
    }
}

fn name() -> Username {
    Username::parse("ada").unwrap()
}

fn minutes(minutes: i64) -> Timestamp {
    NOW.plus_millis(minutes * 60_000)
}

async fn claims(content: &MongoContent, owner: UserId, now: i64) -> bool {
    content.claim_username(&name(), owner, minutes(now), minutes(now - 10)).await.unwrap()
}

async fn comes_into_being(content: &MongoContent, user: UserId) {
    content.commit(commit(StreamId::User(user), 0, Vec::new())).await.unwrap();
}

/// A claim on a name whose former claim has expired: it looks for the account, takes the name, looks again.
fn takes_over(stage: &Stage) -> JoinHandle<bool> {
    let sleeper = stage.sleeper.clone();
    tokio::spawn(async move { claims(&sleeper, user(2), 11).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_who_comes_into_being_at_any_step_of_a_claim_keeps_the_name() {
    // After the name was found, the account was not, and the name was taken.
    for calls in 0..=3 {
        let mut stage = stage().await;
        assert!(claims(&stage.others, user(1), 0).await);
        let mut claim = takes_over(&stage);
        stage.calls(&mut claim, calls).await;
        comes_into_being(&stage.others, user(1)).await;
        assert!(!stage.outcome(claim).await, "after {calls} calls");
        assert_eq!(stage.others.username_owner(&name()).await.unwrap(), Some(user(1)), "after {calls} calls");
        assert!(!claims(&stage.others, user(3), 1_000).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_was_made_again_is_not_taken_over() {
    for calls in 0..=2 {
        let mut stage = stage().await;
        assert!(claims(&stage.others, user(1), 0).await);
        let mut claim = takes_over(&stage);
        stage.calls(&mut claim, calls).await;
        assert!(claims(&stage.others, user(1), 10).await);
        assert!(!stage.outcome(claim).await, "after {calls} calls");
        assert_eq!(stage.others.username_owner(&name()).await.unwrap(), Some(user(1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_take_a_name_over_one_has_it() {
    for calls in 0..=3 {
        let mut stage = stage().await;
        assert!(claims(&stage.others, user(1), 0).await);
        let mut claim = takes_over(&stage);
        stage.calls(&mut claim, calls).await;
        let other_has_it = claims(&stage.others, user(3), 11).await;
        assert_ne!(stage.outcome(claim).await, other_has_it, "after {calls} calls");
        let owner = if other_has_it { user(3) } else { user(2) };
        assert_eq!(stage.others.username_owner(&name()).await.unwrap(), Some(owner));
    }
}

/// A registration that is tried again, whose claim somebody takes over at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_tries_again_too_late_is_told() {
    let mut stage = stage().await;
    assert!(claims(&stage.others, user(2), 0).await);
    let mut again = takes_over(&stage);
    stage.calls(&mut again, 1).await;
    assert!(claims(&stage.others, user(3), 11).await);
    assert!(!stage.outcome(again).await);
    assert_eq!(stage.others.username_owner(&name()).await.unwrap(), Some(user(3)));
}

fn claim(number: u16, at: Timestamp) -> CommandClaim {
    let (actor, key, stream) = ("one".to_owned(), "key".to_owned(), StreamId::Post(post(number)));
    CommandClaim { actor, key, digest: [number as u8; 32], stream, at }
}

/// W4: a claim that was made anew is not forgotten with the one before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_was_made_anew_is_not_forgotten() {
    let mut stage = stage().await;
    let next_day = NOW.plus_millis(CLAIM_LIFE_MILLIS + 1);
    assert_eq!(stage.others.claim_command(claim(1, NOW)).await.unwrap(), ClaimOutcome::New);
    let sleeper = stage.sleeper.clone();
    let mut forgets = tokio::spawn(async move { sleeper.forget_commands(NOW.plus_millis(1), 10).await.unwrap() });
    stage.calls(&mut forgets, 1).await;
    assert_eq!(stage.others.claim_command(claim(2, next_day)).await.unwrap(), ClaimOutcome::New);
    assert_eq!(stage.outcome(forgets).await, 0);
    let found = stage.others.claim_command(claim(3, next_day)).await.unwrap();
    assert_eq!(found, ClaimOutcome::Existing(claim(2, next_day), None));
}

/// W4: of two who find the same old claim, one claims it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_claim_is_renewed_once_whoever_sleeps() {
    for calls in 0..=1 {
        let mut stage = stage().await;
        let next_day = NOW.plus_millis(CLAIM_LIFE_MILLIS + 1);
        stage.others.claim_command(claim(1, NOW)).await.unwrap();
        let sleeper = stage.sleeper.clone();
        let mut claims = tokio::spawn(async move { sleeper.claim_command(claim(2, next_day)).await.unwrap() });
        stage.calls(&mut claims, calls).await;
        assert_eq!(stage.others.claim_command(claim(3, next_day)).await.unwrap(), ClaimOutcome::New);
        let answer = Answer { status: 201, body: "done".to_owned(), etag: None };
        stage.others.answer_command("one", "key", &answer).await.unwrap();
        let expected = ClaimOutcome::Existing(claim(3, next_day), Some(answer));
        assert_eq!(stage.outcome(claims).await, expected, "after {calls} calls");
    }
}

/// E2: a person's first key stays, whatever arrives later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_key_that_arrives_late_replaces_none() {
    let mut stage = stage().await;
    let sleeper = stage.sleeper.clone();
    let mut creates = tokio::spawn(async move { sleeper.create_key(user(1), vec![1]).await });
    let late = stage.wire.settled(&mut creates).await.ok().unwrap().gets_lost().await;
    assert!(matches!(stage.wire.settled(&mut creates).await, Err(Err(StoreError::Unavailable(_)))));
    let stored = stage.others.create_key(user(1), vec![2]).await.unwrap();
    late.arrives(&stage.others.database).await;
    assert_eq!(stored, StoredKey::Wrapped(vec![2]));
    assert_eq!(stage.others.key(user(1)).await.unwrap(), Some(stored));
}
