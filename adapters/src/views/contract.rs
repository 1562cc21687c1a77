//! What every adapter of [`Views`](super::Views) must do. `stamp!(open)` makes a test of each rule; `open` is an async
//! function beside it that answers an empty store and what must outlive that.

use domain::stream::BEFORE_FIRST;
use domain::text::CommentText;
use domain::{CommentId, PostId, Timestamp, UserId};

use super::{CommentRow, EngagementUpdate, PostRow, ReactionRow};
use crate::checkpoints::Generation;

pub(crate) mod comments;
pub(crate) mod counts;
pub(crate) mod edges;
pub(crate) mod model;
pub(crate) mod profiles;
pub(crate) mod versions;

macro_rules! stamp {
    ($open:ident) => {
        $crate::views::contract::stamp! { $open:
            counts {
                what_nobody_wrote_is_zero,
                rows_are_answered_in_the_order_asked_for,
                counts_change_only_from_the_expected_position,
                writing_again_changes_nothing,
                an_older_reaction_never_wins,
                numbers_are_as_the_viewer_sees_them,
                likes_are_paged_newest_first,
                generations_are_independent,
                posts_and_reactions_are_scanned_in_the_order_of_their_keys,
            }
            comments {
                an_older_comment_never_wins,
                comments_are_paged_newest_first_without_the_deleted,
                changed_comments_are_those_above_a_position,
                generations_are_independent,
                comments_are_scanned_in_the_order_of_their_keys,
            }
            edges {
                directions_are_apart,
                each_part_of_a_direction_keeps_what_it_is,
                an_edge_never_goes_back_to_an_older_sequence,
                followers_and_followed_are_paged_by_id,
                blocks_are_found_from_both_ends,
                stamps_are_never_the_same_again,
                whom_one_blocks_or_mutes_is_paged_newest_id_first,
                authors_stay_hot,
                generations_are_independent,
                edges_are_scanned_in_the_order_of_their_keys,
            }
            profiles {
                what_nobody_wrote_is_nothing,
                names_are_those_of_the_newest_event,
                people_are_found_by_user_name,
                numbers_change_with_what_they_count,
                a_repeat_and_a_late_event_change_nothing,
                follows_are_paged_newest_first,
                generations_are_independent,
                people_and_follows_are_scanned_in_the_order_of_their_keys,
                numbers_are_those_of_the_model_whatever_is_repeated,
            }
            versions {
                versions_are_paged_newest_first,
                a_version_is_written_once,
                what_is_gone_has_no_versions,
                versions_are_written_with_the_counts_or_not_at_all,
                generations_are_independent,
                versions_are_scanned_in_the_order_of_their_keys,
            }
            model {
                engagement_is_what_the_model_says,
                edges_are_what_the_model_says,
            }
        }
    };
    ($open:ident: $($group:ident { $($rule:ident,)+ })+) => {
        $(
            mod $group {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $rule() {
                        let (views, _outlives) = super::$open().await;
                        $crate::views::contract::$group::$rule(&*views).await;
                    }
                )+
            }
        )+
    };
}
pub(crate) use stamp;

const ONE: Generation = Generation(1);
const OTHER: Generation = Generation(2);

/// The greater the number, the newer the post.
fn post(number: u32) -> PostId {
    PostId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10])
}

/// The greater the number, the newer the comment.
fn comment(number: u32) -> CommentId {
    CommentId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10])
}

fn user(number: u32) -> UserId {
    UserId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10])
}

fn users(numbers: impl IntoIterator<Item = u32>) -> Vec<UserId> {
    numbers.into_iter().map(user).collect()
}

/// A first update of a post, up to `position`, with nothing in it yet.
fn update(number: u32, position: i64) -> EngagementUpdate {
    EngagementUpdate {
        post: post(number),
        expected_position: BEFORE_FIRST,
        row: PostRow { position, listed: position, ..PostRow::default() },
        comments: Vec::new(),
        reactions: Vec::new(),
        versions: Vec::new(),
        forgotten: Vec::new(),
    }
}

fn reaction(on: u32, by: u32, liked: bool, sequence: u64, position: i64) -> ReactionRow {
    ReactionRow { post: post(on), user: user(by), liked, sequence, position }
}

fn added(on: u32, number: u32, position: i64) -> CommentRow {
    CommentRow {
        comment: comment(number),
        post: post(on),
        author: user(number % 5),
        parent: number.is_multiple_of(2).then(|| comment(number - 1)),
        text: Some(CommentText::parse(&format!("Comment {number}\nof ‘post’ {on} 🎉")).unwrap()),
        edited_at: None,
        sequence: 1,
        created: position,
        position,
    }
}

fn edited(row: &CommentRow, text: &str, position: i64) -> CommentRow {
    CommentRow {
        text: Some(CommentText::parse(text).unwrap()),
        edited_at: Some(Timestamp::from_millis(position * 1_000)),
        sequence: row.sequence + 1,
        position,
        ..row.clone()
    }
}

fn deleted(row: &CommentRow, position: i64) -> CommentRow {
    CommentRow { text: None, sequence: row.sequence + 1, position, ..row.clone() }
}
