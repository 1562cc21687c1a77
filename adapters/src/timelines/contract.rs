//! What every adapter of [`Timelines`](super::Timelines) must do. `stamp!(open)` makes a test of each rule; `open` is
//! an async function beside it that answers an empty store and what must outlive that.

use domain::{PostId, Timestamp, UserId};

use super::{AuthorEntry, Entry, Order, Span};
use crate::checkpoints::Generation;

pub(crate) mod authors;
pub(crate) mod homes;
pub(crate) mod model;

macro_rules! stamp {
    ($open:ident) => {
        $crate::timelines::contract::stamp! { $open:
            homes {
                a_home_that_nobody_wrote_is_complete_and_empty,
                one_post_goes_into_many_homes,
                homes_that_end_above_a_post_are_answered,
                a_home_tells_what_is_above_offsets,
                many_posts_go_into_one_home,
                spans_exclude_their_ends_and_have_an_order,
                a_post_stays_where_the_log_has_it_first,
                writing_again_changes_nothing,
                a_mark_only_rises,
                rows_at_or_below_the_mark_are_ignored,
                a_home_is_trimmed_above_the_limit_only,
                trimming_counts_above_the_mark,
                mark_and_rows_are_of_one_moment,
                generations_are_independent,
                homes_are_scanned_one_after_the_other,
            }
            authors {
                timelines_are_merged_without_the_deleted,
                an_author_who_is_named_twice_counts_once,
                spans_exclude_their_ends_and_have_an_order,
                a_merge_of_many_is_the_newest_of_all,
                imported_posts_are_merged_and_are_no_news,
                what_was_published_since_is_found_by_offset,
                a_row_never_goes_back_to_an_older_sequence,
                generations_are_independent,
                a_post_stays_where_the_log_has_it_first,
                timelines_are_scanned_one_after_the_other,
            }
            model {
                homes_are_what_the_model_says,
                merges_are_what_the_model_says,
            }
        }
    };
    ($open:ident: $($group:ident { $($rule:ident,)+ })+) => {
        $(
            mod $group {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $rule() {
                        let (timelines, _outlives) = super::$open().await;
                        $crate::timelines::contract::$group::$rule(&*timelines).await;
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

fn user(number: u32) -> UserId {
    UserId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10])
}

fn entry(number: u32) -> Entry {
    Entry { post: post(number), author: user(number % 7), partition: 3, offset: i64::from(number) * 10 }
}

fn entries(numbers: impl IntoIterator<Item = u32>) -> Vec<Entry> {
    numbers.into_iter().map(entry).collect()
}

fn published(author: u32, number: u32) -> AuthorEntry {
    AuthorEntry {
        author: user(author),
        post: post(number),
        deleted: false,
        imported: false,
        sequence: 1,
        partition: 3,
        offset: i64::from(number) * 10,
    }
}

fn listed(entry: AuthorEntry) -> Entry {
    Entry { post: entry.post, author: entry.author, partition: entry.partition, offset: entry.offset }
}

const ALL: Span = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };

fn span(above: u32, below: u32, order: Order) -> Span {
    Span { above: post(above), below: post(below), order }
}
