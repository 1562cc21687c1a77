//! What every adapter of [`Cache`] must do. `stamp!(open)` makes a test of each rule; `open` is an async function that
//! takes [`Limits`] and answers a [`Tested`] cache with room for everything, and what must outlive it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{CommentId, LogId, PostId, Timestamp};

use super::{Cache, Comments, Item, Key, Limits, ListKey, Lookup, Space, Token, Value};
use crate::checkpoints::Generation;

mod lists;
mod model;
mod values;
mod world;

pub(crate) use lists::*;
pub(crate) use model::*;
pub(crate) use values::*;
pub(crate) use world::*;

macro_rules! stamp {
    ($open:path) => {
        $crate::cache::contract::stamp! { $open =>
            a_cold_key_is_leased_to_one,
            a_fill_takes_what_was_told_meanwhile,
            what_is_not_there_is_not_made_by_an_update,
            only_a_newer_value_replaces_another,
            who_is_late_fills_nothing,
            keys_and_spaces_are_apart,
            versions_are_compared_exactly,
            any_bytes_are_kept,
            batches_may_be_empty_or_huge,
            one_of_a_thousand_gets_the_lease,
            one_of_a_hundred_fills_counts,
            the_newest_of_many_updates_stays,
            values_end,
            previews_that_are_asked_for_live_on,
            leases_end,
            lists_end_unless_they_change,
            a_list_is_leased_and_filled,
            an_addition_has_its_place,
            lists_are_trimmed,
            what_was_added_meanwhile_is_in_the_fill,
            a_list_with_a_hole_is_not_made,
            dropping_a_list_ends_its_lease,
            one_of_a_thousand_gets_the_lease_of_a_list,
            large_lists_are_kept,
            every_call_does_what_the_model_says,
            what_is_found_is_the_masters,
        }
    };
    ($open:path => $($rule:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                $crate::cache::contract::$rule($open).await;
            }
        )+
    };
}
pub(crate) use stamp;

/// A cache that can be made to forget, as eviction and expiry do at any moment. (Lists are dropped for it.)
#[async_trait]
pub(crate) trait Tested: Cache {
    /// Nothing is under this key any more.
    async fn forget(&self, space: Space, key: Key);
}

/// Something that does come about, does so within this time, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Limits that nothing runs into.
pub(crate) fn long() -> Limits {
    const HOUR: Duration = Duration::from_secs(3_600);
    Limits { preview: HOUR, counts: HOUR, comments: HOUR, lease: HOUR, jitter_percent: 10, kept: 3 }
}

/// A space of one's own.
pub(crate) fn space() -> Space {
    Space { log: LogId(rand::random()), epoch: 0 }
}

pub(crate) fn post(number: u32) -> PostId {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&number.to_be_bytes());
    PostId::from_parts(Timestamp::from_millis(1), random)
}

pub(crate) fn preview(number: u32) -> Key {
    Key::Preview(post(number))
}

pub(crate) fn counts(number: u32) -> Key {
    Key::Counts(Generation(1), post(number))
}

pub(crate) fn list(number: u32) -> ListKey {
    ListKey(Generation(1), post(number))
}

pub(crate) fn value(version: i64, text: &str) -> Value {
    Value { version, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

/// The comment with this number; the greater, the newer.
pub(crate) fn item(number: u8, position: i64) -> Item {
    // Not the first of them, which share their bytes with the id's own version.
    let comment = CommentId::from_parts(Timestamp::from_millis(1), [0, 0, 0, 0, number, 0, 0, 0, 0, number]);
    Item { comment, position, bytes: Bytes::from(format!("comment {number}")) }
}

pub(crate) fn comments(version: i64, items: impl IntoIterator<Item = (u8, i64)>) -> Comments {
    Comments { version, items: items.into_iter().map(|(number, position)| item(number, position)).collect() }
}

pub(crate) async fn look_up(cache: &dyn Tested, space: Space, key: Key) -> Lookup<Value> {
    cache.look_up(space, &[key]).await.unwrap().remove(0)
}

pub(crate) async fn granted(cache: &dyn Tested, space: Space, key: Key) -> Token {
    match look_up(cache, space, key).await {
        Lookup::Granted(token) => token,
        other => panic!("no lease but {other:?}"),
    }
}

pub(crate) async fn fill(cache: &dyn Tested, space: Space, key: Key, token: Token, value: Value) -> bool {
    cache.fill(space, vec![(key, token, value)]).await.unwrap().remove(0)
}

pub(crate) async fn filled(cache: &dyn Tested, space: Space, key: Key, value: Value) {
    let token = granted(cache, space, key).await;
    assert!(fill(cache, space, key, token, value).await);
}

pub(crate) async fn list_granted(cache: &dyn Tested, space: Space, key: ListKey) -> Token {
    match cache.look_up_comments(space, key).await.unwrap() {
        Lookup::Granted(token) => token,
        other => panic!("no lease but {other:?}"),
    }
}

pub(crate) async fn list_filled(cache: &dyn Tested, space: Space, key: ListKey, list: Comments) {
    let token = list_granted(cache, space, key).await;
    assert!(cache.fill_comments(space, key, token, list).await.unwrap());
}

/// Waits until `is_so`.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("{what} did not come about"));
}

/// How many cases a random test has.
fn cases(default: u32) -> u32 {
    if std::env::var_os("HYBRID_LIVE_TEST_LONG").is_some() { default * 10 } else { default }
}
