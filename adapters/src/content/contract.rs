//! What every [`Content`] promises. An adapter stamps the rules on itself with [`stamp`]: all that hold anywhere, and
//! those of the place where its events go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::{CommentId, PostId, StreamId, Timestamp, UserId};

use super::{Commit, Committed, Content, Outbox, PublicState};
use crate::event_log::contract as log_contract;
use crate::event_log::{EventLog, Record};

pub(crate) mod claims;
pub(crate) mod documents;
pub(crate) mod model;
pub(crate) mod outboxes;
pub(crate) mod together;

/// Makes a module with a test for every rule. `$place` is an async function that answers, for a new place, what opens
/// the stores there (again and again, as restarts do), and what the place must be outlived by. `apart`: the log is
/// elsewhere, and events wait in outboxes; `together`: a commit writes the log as well.
macro_rules! stamp {
    ($name:ident, $place:path, apart) => {
        $crate::content::contract::stamp! {
            $name, $place:
            outboxes {
                events_wait_in_order,
                a_commit_says_whether_its_events_are_all_that_waits,
                acknowledged_events_leave_and_a_repeat_changes_nothing,
                published_never_moves_backwards,
                pending_outboxes_come_oldest_first,
                acknowledging_part_of_an_outbox_leaves_the_rest_pending,
                without_events_nothing_waits,
            }
        }
    };
    ($name:ident, $place:path, together) => {
        $crate::content::contract::stamp! {
            $name, $place:
            together {
                a_commit_is_in_the_log_and_in_no_outbox,
                a_refused_commit_leaves_nothing_in_the_log,
                a_commit_wakes_readers_of_the_log,
                streams_are_in_the_log_in_order,
            }
        }
    };
    ($name:ident, $place:path: $group:ident { $($rule:ident,)+ }) => {
        mod $name {
            $crate::content::contract::tests! { $place: $group { $($rule,)+ } }
            $crate::content::contract::tests! { $place: documents {
                nothing_is_absent,
                a_first_commit_makes_a_document,
                what_is_not_given_stays,
                states_are_those_of_the_last_commit,
                revisions_count_changes_and_sequences_count_events,
                a_commit_on_another_revision_has_no_effect,
                of_many_commits_on_one_revision_one_wins,
                deciding_again_after_a_conflict_loses_nothing,
                events_that_are_numbered_otherwise_are_refused,
                states_are_answered_as_asked_and_show_nothing_private,
                previews_are_answered_as_asked,
                what_is_shown_follows_the_newest_rendering,
                scanning_goes_through_all_in_the_order_of_their_texts,
                a_restart_keeps_everything,
            } }
            $crate::content::contract::tests! { $place: claims {
                a_command_is_claimed_once,
                of_many_claims_on_a_command_one_is_new,
                the_first_answer_stays,
                an_old_claim_is_as_if_it_were_not_there,
                old_claims_are_forgotten,
                a_name_has_one_owner,
                of_many_claims_on_a_name_one_succeeds,
                a_name_can_be_taken_over_from_nobody,
                a_person_has_one_key,
                of_many_first_keys_one_is_stored,
            } }
            $crate::content::contract::tests! { $place: model { it_is_as_the_model_says, } }
        }
    };
}
pub(crate) use stamp;

macro_rules! tests {
    ($place:path: $group:ident { $($rule:ident,)+ }) => {
        mod $group {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    let (open, _outlives) = $place().await;
                    $crate::content::contract::$group::$rule(open).await;
                }
            )+
        }
    };
}
pub(crate) use tests;

/// The store, and the log that its events belong into.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) content: Arc<dyn Content>,
    pub(crate) log: Arc<dyn EventLog>,
}

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn user(number: u16) -> UserId {
    UserId::from_parts(NOW, [number.to_be_bytes()[0], number.to_be_bytes()[1], 0, 0, 0, 0, 0, 0, 0, 0])
}

pub(crate) fn post(number: u16) -> PostId {
    PostId::from_bytes(*user(number).as_bytes())
}

fn comment(number: u16) -> CommentId {
    CommentId::from_bytes(*user(number).as_bytes())
}

/// `count` events of a stream, numbered on from `sequence`.
pub(crate) fn events(stream: StreamId, sequence: u64, count: usize) -> Vec<Record> {
    let (topic, lane) = match stream {
        StreamId::User(user) => (domain::Topic::Users, user.to_string()),
        StreamId::Relation(one, other) => (domain::Topic::Relations, format!("{one}:{other}")),
        StreamId::Post(post) | StreamId::Reaction(post, _) => (domain::Topic::Posts, post.to_string()),
        StreamId::Comment(_) => (domain::Topic::Posts, post(1).to_string()),
    };
    let event = |number: u64| {
        let mut record = log_contract::record(topic, &lane);
        record.attributes.subject = stream.to_string();
        record.attributes.sequence = sequence + number;
        record
    };
    (1..=count as u64).map(event).collect()
}

/// A commit of a new state with `records`.
pub(crate) fn commit(stream: StreamId, expected_revision: u64, records: Vec<Record>) -> Commit {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    Commit {
        stream,
        expected_revision,
        state: format!(r#"{{"state":{}}}"#, NUMBER.fetch_add(1, Ordering::Relaxed)),
        private: None,
        rendered: None,
        records,
        recent_commands: None,
        at: NOW,
    }
}

fn public(sequence: u64, commit: &Commit) -> Option<PublicState> {
    Some(PublicState { sequence, state: commit.state.clone() })
}

/// All of a stream's events that were kept for the log, wherever they are.
async fn events_of(stores: &Stores, stream: StreamId) -> Vec<Record> {
    let mut found = Vec::new();
    for topic in domain::Topic::ALL {
        for partition in 0..stores.log.partitions() {
            let all = log_contract::all_of(&*stores.log, topic, partition, 100).await;
            found.extend(all.into_iter().filter_map(|logged| logged.record.ok()));
        }
    }
    found.retain(|record| record.attributes.subject == stream.to_string());
    found.extend(stores.content.outbox(stream).await.unwrap());
    found
}

/// Everything that can be seen of a stream.
async fn all_of(stores: &Stores, stream: StreamId) -> impl PartialEq + std::fmt::Debug + use<> {
    let content = &stores.content;
    let rendered = match stream {
        StreamId::Post(post) => (content.rendered(post).await.unwrap(), content.previews(&[post]).await.unwrap()),
        _ => Default::default(),
    };
    (
        content.load(stream).await.unwrap(),
        content.published(stream).await.unwrap(),
        content.pending_outboxes(NOW.plus_millis(1), 10).await.unwrap(),
        events_of(stores, stream).await,
        rendered,
    )
}

async fn pending(stores: &Stores, before: Timestamp, limit: usize) -> Vec<Outbox> {
    stores.content.pending_outboxes(before, limit).await.unwrap()
}

async fn committed(stores: &Stores, commit: &Commit) -> Committed {
    stores.content.commit(commit.clone()).await.unwrap()
}
