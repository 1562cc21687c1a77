//! Homes and their marks. T2: a home is complete above its mark, and the mark only rises.

use domain::PostId;
use domain::stream::BEFORE_FIRST;

use super::{ALL, ONE, OTHER, entries, entry, post, span, user};
use crate::timelines::{Entry, Home, Order, Timelines};

async fn home(timelines: &dyn Timelines, owner: u32) -> Home {
    timelines.home(ONE, user(owner), ALL, 10_000).await.unwrap()
}

pub(crate) async fn a_home_that_nobody_wrote_is_complete_and_empty(timelines: &dyn Timelines) {
    assert_eq!(home(timelines, 1).await, Home { mark: PostId::MIN, entries: Vec::new() });
    timelines.trim(ONE, user(1), 0, 0).await.unwrap();
    assert_eq!(home(timelines, 1).await, Home { mark: PostId::MIN, entries: Vec::new() });
}

pub(crate) async fn one_post_goes_into_many_homes(timelines: &dyn Timelines) {
    let owners: Vec<_> = (1..=500).map(user).collect();
    timelines.write_homes(ONE, &owners, entry(9)).await.unwrap();
    timelines.write_homes(ONE, &[], entry(10)).await.unwrap();
    for owner in [1, 250, 500] {
        assert_eq!(home(timelines, owner).await.entries, entries([9]));
    }
    assert_eq!(home(timelines, 501).await.entries, []);
}

pub(crate) async fn homes_that_end_above_a_post_are_answered(timelines: &dyn Timelines) {
    timelines.raise_mark(ONE, user(1), post(5)).await.unwrap();
    timelines.raise_mark(ONE, user(2), post(6)).await.unwrap();
    let owners = [user(1), user(2), user(3)];
    assert_eq!(timelines.write_homes(ONE, &owners, entry(7)).await.unwrap(), []);
    assert_eq!(timelines.write_homes(ONE, &owners, entry(6)).await.unwrap(), [user(2)]);
    assert_eq!(timelines.write_homes(ONE, &owners, entry(5)).await.unwrap(), [user(1), user(2)]);
    assert_eq!(timelines.write_homes(OTHER, &owners, entry(1)).await.unwrap(), []);
}

/// Which rows are news is a matter of where the log has them, not of how old they are.
pub(crate) async fn a_home_tells_what_is_above_offsets(timelines: &dyn Timelines) {
    let at = |number: u32, partition, offset| Entry { partition, offset, ..entry(number) };
    let rows = [at(9, 0, 4), at(8, 1, 7), at(7, 0, 6), at(6, 2, 0), at(5, 1, BEFORE_FIRST), at(4, 0, 5)];
    timelines.fill_home(ONE, user(1), &rows).await.unwrap();
    let since = async |after: &[i64], limit| timelines.home_since(ONE, user(1), after, limit).await.unwrap().entries;
    assert_eq!(since(&[4, 6, -1], 10).await, [rows[1], rows[2], rows[3], rows[5]]);
    assert_eq!(since(&[4, 6, -1], 2).await, [rows[1], rows[2]]);
    // A partition that is not named counts from the beginning; what is no news is above nothing.
    assert_eq!(since(&[6], 10).await, [rows[1], rows[3]]);
    assert_eq!(since(&[], 10).await, [rows[0], rows[1], rows[2], rows[3], rows[5]]);
    assert_eq!(since(&[6, 7, 0], 10).await, []);

    timelines.raise_mark(ONE, user(1), post(7)).await.unwrap();
    let home = timelines.home_since(ONE, user(1), &[], 10).await.unwrap();
    assert_eq!(home, Home { mark: post(7), entries: vec![rows[0], rows[1]] });
    let nobody = timelines.home_since(ONE, user(2), &[], 10).await.unwrap();
    assert_eq!(nobody, Home { mark: PostId::MIN, entries: Vec::new() });
}

pub(crate) async fn many_posts_go_into_one_home(timelines: &dyn Timelines) {
    timelines.fill_home(ONE, user(1), &entries([3, 9, 1, 7])).await.unwrap();
    timelines.fill_home(ONE, user(1), &[]).await.unwrap();
    assert_eq!(home(timelines, 1).await, Home { mark: PostId::MIN, entries: entries([9, 7, 3, 1]) });
    assert_eq!(home(timelines, 2).await.entries, []);
}

pub(crate) async fn spans_exclude_their_ends_and_have_an_order(timelines: &dyn Timelines) {
    timelines.fill_home(ONE, user(1), &entries(1..=9)).await.unwrap();
    let cases = [
        (span(3, 7, Order::NewestFirst), 10, vec![6, 5, 4]),
        (span(3, 7, Order::OldestFirst), 10, vec![4, 5, 6]),
        (span(3, 7, Order::NewestFirst), 2, vec![6, 5]),
        (span(3, 7, Order::OldestFirst), 2, vec![4, 5]),
        (span(3, 7, Order::OldestFirst), 0, vec![]),
        (span(3, 4, Order::NewestFirst), 10, vec![]),
        (span(7, 3, Order::NewestFirst), 10, vec![]),
        (ALL, 3, vec![9, 8, 7]),
    ];
    for (span, limit, expected) in cases {
        let read = timelines.home(ONE, user(1), span, limit).await.unwrap();
        assert_eq!(read.entries, entries(expected), "{span:?}, at most {limit}");
    }
}

pub(crate) async fn a_post_stays_where_the_log_has_it_first(timelines: &dyn Timelines) {
    let first = entry(5);
    let repeated = Entry { offset: first.offset + 100, ..first };
    // A new follower: the repeat is fanned out before the copy has come to the post, or after.
    timelines.write_homes(ONE, &[user(1)], repeated).await.unwrap();
    timelines.fill_home(ONE, user(1), &[first]).await.unwrap();
    assert_eq!(home(timelines, 1).await.entries, [first]);
    timelines.write_homes(ONE, &[user(1)], repeated).await.unwrap();
    assert_eq!(home(timelines, 1).await.entries, [first]);
}

pub(crate) async fn writing_again_changes_nothing(timelines: &dyn Timelines) {
    timelines.write_homes(ONE, &[user(1)], entry(5)).await.unwrap();
    timelines.fill_home(ONE, user(1), &entries([4, 6])).await.unwrap();
    timelines.raise_mark(ONE, user(1), post(2)).await.unwrap();
    let before = home(timelines, 1).await;

    timelines.write_homes(ONE, &[user(1)], entry(5)).await.unwrap();
    timelines.fill_home(ONE, user(1), &entries([4, 5, 6])).await.unwrap();
    timelines.raise_mark(ONE, user(1), post(2)).await.unwrap();
    assert_eq!(home(timelines, 1).await, before);

    // A repeat in the log is further on than the first, which the row keeps.
    let repeat = Entry { offset: 999, partition: 4, ..entry(5) };
    timelines.write_homes(ONE, &[user(1)], repeat).await.unwrap();
    timelines.fill_home(ONE, user(1), &[repeat]).await.unwrap();
    assert_eq!(home(timelines, 1).await, before);
}

pub(crate) async fn a_mark_only_rises(timelines: &dyn Timelines) {
    for (raised_to, mark) in [(5, 5), (3, 5), (5, 5), (8, 8), (1, 8)] {
        timelines.raise_mark(ONE, user(1), post(raised_to)).await.unwrap();
        assert_eq!(home(timelines, 1).await.mark, post(mark));
    }
    assert_eq!(home(timelines, 2).await.mark, PostId::MIN);
}

pub(crate) async fn rows_at_or_below_the_mark_are_ignored(timelines: &dyn Timelines) {
    timelines.fill_home(ONE, user(1), &entries(1..=9)).await.unwrap();
    timelines.raise_mark(ONE, user(1), post(5)).await.unwrap();
    let above = Home { mark: post(5), entries: entries([9, 8, 7, 6]) };
    assert_eq!(home(timelines, 1).await, above);

    // Written afterwards, too.
    timelines.write_homes(ONE, &[user(1)], entry(5)).await.unwrap();
    timelines.write_homes(ONE, &[user(1)], entry(2)).await.unwrap();
    timelines.fill_home(ONE, user(1), &entries([1, 4, 5])).await.unwrap();
    assert_eq!(home(timelines, 1).await, above);

    // A span that reaches below the mark ends at it, whichever end it is counted from.
    let oldest = timelines.home(ONE, user(1), span(1, 9, Order::OldestFirst), 2).await.unwrap();
    assert_eq!(oldest, Home { mark: post(5), entries: entries([6, 7]) });
    let below = timelines.home(ONE, user(1), span(1, 5, Order::NewestFirst), 9).await.unwrap();
    assert_eq!(below, Home { mark: post(5), entries: Vec::new() });

    timelines.fill_home(ONE, user(1), &entries([10])).await.unwrap();
    assert_eq!(home(timelines, 1).await.entries, entries([10, 9, 8, 7, 6]));
}

pub(crate) async fn a_home_is_trimmed_above_the_limit_only(timelines: &dyn Timelines) {
    timelines.fill_home(ONE, user(1), &entries(1..=10)).await.unwrap();
    timelines.trim(ONE, user(1), 10, 8).await.unwrap();
    assert_eq!(home(timelines, 1).await, Home { mark: PostId::MIN, entries: entries((1..=10).rev()) });

    timelines.write_homes(ONE, &[user(1)], entry(11)).await.unwrap();
    timelines.write_homes(ONE, &[user(2)], entry(11)).await.unwrap();
    timelines.trim(ONE, user(1), 10, 8).await.unwrap();
    // The newest eight stay above the mark, which is the newest that does not stay: no id falls between.
    let trimmed = Home { mark: post(3), entries: entries((4..=11).rev()) };
    assert_eq!(home(timelines, 1).await, trimmed);
    timelines.trim(ONE, user(1), 10, 8).await.unwrap();
    assert_eq!(home(timelines, 1).await, trimmed);
    assert_eq!(home(timelines, 2).await.entries, entries([11]));

    timelines.trim(ONE, user(1), 0, 0).await.unwrap();
    assert_eq!(home(timelines, 1).await, Home { mark: post(11), entries: Vec::new() });
}

pub(crate) async fn trimming_counts_above_the_mark(timelines: &dyn Timelines) {
    timelines.fill_home(ONE, user(1), &entries(1..=10)).await.unwrap();
    timelines.raise_mark(ONE, user(1), post(6)).await.unwrap();
    timelines.trim(ONE, user(1), 5, 2).await.unwrap();
    assert_eq!(home(timelines, 1).await, Home { mark: post(6), entries: entries([10, 9, 8, 7]) });
    timelines.trim(ONE, user(1), 3, 2).await.unwrap();
    assert_eq!(home(timelines, 1).await, Home { mark: post(8), entries: entries([10, 9]) });
}

pub(crate) async fn mark_and_rows_are_of_one_moment(timelines: &dyn Timelines) {
    const POSTS: u32 = 400;
    timelines.fill_home(ONE, user(1), &entries(1..=POSTS)).await.unwrap();
    let is_done = std::cell::Cell::new(false);
    let trim = async {
        for left in (0..POSTS).rev() {
            let left = usize::try_from(left).unwrap();
            timelines.trim(ONE, user(1), left, left).await.unwrap();
        }
        is_done.set(true);
    };
    let read = async {
        let mut marks = Vec::new();
        loop {
            let is_last = is_done.get();
            let read = home(timelines, 1).await;
            // Every post is in the home: whatever the mark, all above it must have been read with it.
            let expected = (1..=POSTS).rev().map(entry).filter(|entry| entry.post > read.mark);
            assert_eq!(read.entries, expected.collect::<Vec<_>>());
            marks.push(read.mark);
            if is_last {
                assert_eq!(read.entries, [], "all was trimmed");
                return marks;
            }
            tokio::task::yield_now().await;
        }
    };
    let ((), marks) = tokio::join!(trim, read);
    assert!(marks.is_sorted(), "the mark fell");
}

pub(crate) async fn generations_are_independent(timelines: &dyn Timelines) {
    timelines.fill_home(ONE, user(1), &entries(1..=9)).await.unwrap();
    timelines.fill_home(OTHER, user(1), &entries([5])).await.unwrap();
    timelines.raise_mark(ONE, user(1), post(2)).await.unwrap();
    timelines.trim(ONE, user(1), 4, 3).await.unwrap();
    timelines.write_homes(ONE, &[user(1)], entry(10)).await.unwrap();

    assert_eq!(home(timelines, 1).await, Home { mark: post(6), entries: entries([10, 9, 8, 7]) });
    let other = timelines.home(OTHER, user(1), ALL, 10).await.unwrap();
    assert_eq!(other, Home { mark: PostId::MIN, entries: entries([5]) });
    let scanned = timelines.scan_homes(OTHER, None, 10).await.unwrap();
    assert_eq!(scanned, [(user(1), entry(5))]);
}

pub(crate) async fn homes_are_scanned_one_after_the_other(timelines: &dyn Timelines) {
    for owner in [2, 1, 3] {
        timelines.fill_home(ONE, user(owner), &entries([8, 2, 5])).await.unwrap();
    }
    timelines.raise_mark(ONE, user(4), post(9)).await.unwrap();
    for limit in [1, 2, 3, 4, 9, 100] {
        let mut scanned = Vec::new();
        let mut after = None;
        loop {
            let page = timelines.scan_homes(ONE, after, limit).await.unwrap();
            let Some((owner, last)) = page.last().copied() else { break };
            assert!(page.len() <= limit && scanned.len() < 20);
            after = Some((owner, last.post));
            scanned.extend(page);
        }
        let rows_of_each = [2, 5, 8];
        let mut owners = Vec::new();
        for rows in scanned.chunks(rows_of_each.len()) {
            let owner = rows[0].0;
            assert_eq!(rows, rows_of_each.map(|number| (owner, entry(number))), "pages of {limit}");
            owners.push(owner);
        }
        owners.sort_unstable();
        assert_eq!(owners, (1..=3).map(user).collect::<Vec<_>>());
    }
    // A place where no row is, and one whose owner has none.
    let between = timelines.scan_homes(ONE, Some((user(2), post(3))), 1).await.unwrap();
    assert_eq!(between, [(user(2), entry(5))]);
    let beyond = timelines.scan_homes(ONE, Some((user(9), post(3))), 100).await.unwrap();
    assert!(beyond.iter().all(|(owner, _)| *owner != user(9)), "{beyond:?}");
}
