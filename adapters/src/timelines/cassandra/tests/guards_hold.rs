//! The guards on the real server: whatever is written by whom, how often, in which order.

use std::collections::{BTreeMap, BTreeSet};

use domain::Timestamp;
use domain::stream::BEFORE_FIRST;
use futures::{StreamExt, TryStreamExt, future, stream};
use proptest::collection::vec;

use super::*;
use crate::property::for_all;
use crate::timelines::Order;

const ONE: Generation = Generation(1);
const ALL: Span = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };

fn post(number: u32) -> PostId {
    PostId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10])
}

fn user(number: u32) -> UserId {
    UserId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10])
}

fn entry(number: u32, offset: i64) -> Entry {
    Entry { post: post(number), author: user(number % 5), partition: 3, offset }
}

async fn own() -> Apart {
    Apart { inner: open_shared().await, first: own_generations() }
}

async fn entries(timelines: &Apart, owner: UserId) -> Vec<Entry> {
    timelines.home(ONE, owner, ALL, 10_000).await.unwrap().entries
}

/// T2 and the lesser offset: many writers at once, repeats and marks among them, come to what the model says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_come_to_the_same_in_any_order() {
    let timelines = own().await;
    let posts = vec((1..=12u32, BEFORE_FIRST..40i64), 1..40);
    for_all((posts, vec(1..=12u32, 0..4)), async |generation, (posts, marks)| {
        let owner = user(1);
        let writes = posts.iter().enumerate().map(|(index, (number, offset))| {
            let entry = entry(*number, *offset);
            let timelines = &timelines;
            async move {
                if index % 2 == 0 {
                    timelines.write_homes(generation, &[owner], entry).await.map(|_| ())
                } else {
                    timelines.fill_home(generation, owner, &[entry, entry]).await
                }
            }
        });
        let raises = marks.iter().map(|mark| timelines.raise_mark(generation, owner, post(*mark)));
        let both = future::try_join(future::try_join_all(writes), future::try_join_all(raises));
        both.await.unwrap();

        let mark = marks.iter().copied().max().map_or(PostId::MIN, post);
        let mut least: BTreeMap<PostId, Entry> = BTreeMap::new();
        for (number, offset) in &posts {
            let entry = entry(*number, *offset);
            let stored = least.entry(entry.post).or_insert(entry);
            stored.offset = stored.offset.min(entry.offset);
        }
        let expected: Vec<Entry> = least.into_values().rev().filter(|entry| entry.post > mark).collect();
        let read = timelines.home(generation, owner, ALL, 100).await.unwrap();
        assert_eq!(read, Home { mark, entries: expected.clone() });
        // Nothing is left below the mark either.
        let scanned = timelines.scan_homes(generation, None, 100).await.unwrap();
        assert_eq!(scanned, expected.into_iter().rev().map(|entry| (owner, entry)).collect::<Vec<_>>());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authors_come_to_the_same_in_any_order() {
    let timelines = own().await;
    for_all(vec((1..=6u32, 1..4u64, 0..40i64), 1..40), async |generation, rows| {
        let rows: Vec<AuthorEntry> = rows
            .into_iter()
            .map(|(number, sequence, offset)| AuthorEntry {
                author: user(1),
                post: post(number),
                deleted: sequence == 2,
                imported: number == 6 && sequence != 2,
                sequence,
                partition: 2,
                // One place in the log holds one event.
                offset: offset * 8 + i64::from(number),
            })
            .collect();
        let writes = rows.chunks(3).map(|some| timelines.write_authors(generation, some));
        future::try_join_all(writes).await.unwrap();

        let mut newest: BTreeMap<PostId, AuthorEntry> = BTreeMap::new();
        for row in rows {
            let stored = newest.entry(row.post).or_insert(row);
            if (row.sequence, -row.offset) > (stored.sequence, -stored.offset) {
                *stored = row;
            }
        }
        let stored: Vec<AuthorEntry> = newest.into_values().collect();
        assert_eq!(timelines.scan_authors(generation, None, 100).await.unwrap(), stored);
        for after in [-1, 80, 300] {
            let is_news = |row: &&AuthorEntry| !row.deleted && !row.imported && row.offset > after;
            let expected: BTreeSet<PostId> = stored.iter().filter(is_news).map(|row| row.post).collect();
            let found = timelines.authors_since(generation, &[user(1)], &[-1, -1, after], 100).await.unwrap();
            assert_eq!(found.len(), expected.len(), "each once");
            assert_eq!(found.iter().map(|entry| entry.post).collect::<BTreeSet<_>>(), expected);
        }
    });
}

/// The timestamp of a mark has fewer bits than the id: of two with one timestamp the greater value stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_greater_of_two_marks_with_one_timestamp_stays() {
    let timelines = own().await;
    let at = Timestamp::from_millis(1_700_000_000_000);
    let low = |last: u8| PostId::from_parts(at, [0, 0, 7, 0, 0, 0, 0, 0, 0, last]);
    assert_eq!(guards::mark(low(1)), guards::mark(low(200)));
    for (owner, order) in [(user(1), [1, 200]), (user(2), [200, 1])] {
        for last in order {
            timelines.raise_mark(ONE, owner, low(last)).await.unwrap();
        }
        assert_eq!(timelines.home(ONE, owner, ALL, 1).await.unwrap().mark, low(200));
    }
    // So it is with the greatest of all, or the second of these would not be answered.
    assert_eq!(
        timelines.write_homes(ONE, &[user(1), user(3)], Entry { post: low(200), ..entry(1, 1) }).await.unwrap(),
        [user(1)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_are_raised_at_once_come_to_the_greatest() {
    let timelines = own().await;
    let mut numbers: Vec<u32> = (1..=200).collect();
    numbers.sort_by_key(|number| number.wrapping_mul(2_654_435_761));
    timelines.fill_home(ONE, user(1), &(1..=210).map(|number| entry(number, 1)).collect::<Vec<_>>()).await.unwrap();
    let raises = numbers.iter().map(|number| timelines.raise_mark(ONE, user(1), post(*number)));
    future::try_join_all(raises).await.unwrap();
    let home = timelines.home(ONE, user(1), ALL, 1_000).await.unwrap();
    assert_eq!((home.mark, home.entries.len()), (post(200), 10));
}

/// T2 while everything goes on: what a reader sees is complete above the mark that it sees with it, and in the end every
/// post is in the home or below its mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_is_complete_above_its_mark_while_it_is_written_and_trimmed() {
    const POSTS: u32 = 600;
    let timelines = own().await;
    let owner = user(1);
    let written = Mutex::new(BTreeSet::new());
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let write = async {
        // In nearly the order of their ids, as a log has them.
        stream::iter(1..=POSTS)
            .map(async |number| {
                timelines.write_homes(ONE, &[owner], entry(number, 1)).await?;
                written.lock().unwrap().insert(post(number));
                Ok::<_, StoreError>(())
            })
            .buffer_unordered(16)
            .try_collect::<()>()
            .await
            .unwrap();
        is_done.store(true, Ordering::SeqCst);
    };
    let trim = async {
        while !is_done.load(Ordering::SeqCst) {
            timelines.trim(ONE, owner, 50, 30).await.unwrap();
        }
    };
    let read = async {
        let mut marks = Vec::new();
        while !is_done.load(Ordering::SeqCst) {
            let before: BTreeSet<PostId> = written.lock().unwrap().clone();
            let below = if marks.len() % 2 == 0 { PostId::MAX } else { post(POSTS + 1) };
            let home = timelines.home(ONE, owner, Span { below, ..ALL }, 10_000).await.unwrap();
            let read: BTreeSet<PostId> = home.entries.iter().map(|entry| entry.post).collect();
            let missing: Vec<_> = before.range(home.mark.just_above()..).filter(|post| !read.contains(post)).collect();
            assert_eq!(missing, Vec::<&PostId>::new(), "above {}", home.mark);
            marks.push(home.mark);
        }
        assert!(marks.is_sorted(), "the mark fell");
    };
    tokio::join!(write, trim, read);
    timelines.trim(ONE, owner, 50, 30).await.unwrap();
    let home = timelines.home(ONE, owner, ALL, 10_000).await.unwrap();
    assert!(home.mark > PostId::MIN && home.entries.len() <= 50);
    let expected: Vec<_> = (1..=POSTS).rev().map(post).filter(|post| *post > home.mark).collect();
    assert_eq!(home.entries.iter().map(|entry| entry.post).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_below_a_mark_stays_invisible() {
    let timelines = own().await;
    let owner = user(1);
    timelines.fill_home(ONE, owner, &(1..=20).map(|number| entry(number, 7)).collect::<Vec<_>>()).await.unwrap();
    timelines.trim(ONE, owner, 10, 5).await.unwrap();
    for offset in [BEFORE_FIRST, 0, 7, 1 << 45] {
        for number in [1, 14, 15] {
            assert_eq!(timelines.write_homes(ONE, &[owner], entry(number, offset)).await.unwrap(), [owner]);
        }
    }
    assert_eq!(entries(&timelines, owner).await.len(), 5);
    // The deletion is above every row, even of an import, whose row wins over all others.
    assert_eq!(timelines.scan_homes(ONE, None, 100).await.unwrap().len(), 5);
}

/// As after the deletion itself was forgotten: nothing keeps the row out but the mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_left_below_a_mark_are_not_read() {
    let timelines = own().await;
    let owner = user(1);
    timelines.fill_home(ONE, owner, &(1..=20).map(|number| entry(number, 7)).collect::<Vec<_>>()).await.unwrap();
    let mark = post(10);
    let values = (guards::mark(mark), of_post(mark), i64::from(timelines.shift(ONE).0), of_user(owner));
    statements::run(&timelines.inner.session, &timelines.inner.statements.set_mark, values).await.unwrap();
    assert_eq!(timelines.scan_homes(ONE, None, 100).await.unwrap().len(), 20);
    assert_eq!(entries(&timelines, owner).await.len(), 10);
    let oldest = Span { order: Order::OldestFirst, ..ALL };
    for limit in [1, 3, 9, 10, 11] {
        let home = timelines.home(ONE, owner, oldest, limit).await.unwrap();
        let expected: Vec<_> = (11..=20).map(|number| entry(number, 7)).take(limit).collect();
        assert_eq!(home, Home { mark, entries: expected }, "at most {limit}");
    }
    let since = timelines.home_since(ONE, owner, &[], 100).await.unwrap();
    assert_eq!((since.mark, since.entries.len()), (mark, 10));
    timelines.trim(ONE, owner, 10, 2).await.unwrap();
    assert_eq!(timelines.home(ONE, owner, ALL, 100).await.unwrap().mark, mark, "ten rows are not more than ten");
}

/// Whoever looked under a mark that hides the post must be told to look again, also where another process has raised the
/// mark after the fan-out had begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_was_raised_before_the_row_is_answered() {
    let timelines = own().await;
    let other = Apart { inner: open_shared().await, first: timelines.first };
    for number in 1..=30 {
        let owner = user(number);
        let gate = timelines.inner.writes.acquire_many(u32::try_from(WRITES).unwrap()).await.unwrap();
        let write = timelines.write_homes(ONE, std::slice::from_ref(&owner), entry(number, 1));
        let raise = async {
            // The write has come as far as it can without a turn.
            for _ in 0..3 {
                other.home(ONE, owner, ALL, 1).await.unwrap();
            }
            other.raise_mark(ONE, owner, post(number)).await.unwrap();
            assert_eq!(other.home(ONE, owner, ALL, 1).await.unwrap().mark, post(number));
            drop(gate);
        };
        let (without, ()) = tokio::join!(write, raise);
        assert_eq!(without.unwrap(), [owner]);
    }
}

/// Cassandra orders a `uuid` by its version first: that must be the order of ids, their bounds included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_have_their_own_order_in_cassandra() {
    let timelines = own().await;
    let owner = user(1);
    let mut posts: BTreeSet<PostId> = BTreeSet::new();
    for number in 0..40u64 {
        let at = Timestamp::from_millis(i64::try_from(number.wrapping_mul(0x9E37_79B9_7F4A) % (1 << 48)).unwrap());
        let random = std::array::from_fn(|index| (number as u8).wrapping_mul(37).rotate_left(index as u32));
        posts.extend([
            PostId::from_parts(at, random),
            PostId::from_parts(at, [0; 10]),
            PostId::from_parts(at, [0xff; 10]),
        ]);
    }
    let rows: Vec<Entry> = posts.iter().map(|post| Entry { post: *post, ..entry(1, 1) }).collect();
    timelines.fill_home(ONE, owner, &rows).await.unwrap();
    let ascending = Span { order: Order::OldestFirst, ..ALL };
    assert_eq!(timelines.home(ONE, owner, ascending, 1_000).await.unwrap().entries, rows);
    for (index, row) in rows.iter().enumerate() {
        let from = Span { above: row.post.just_below(), ..ascending };
        assert_eq!(timelines.home(ONE, owner, from, 1).await.unwrap().entries, [*row]);
        let behind = Span { above: row.post.just_above(), ..ascending };
        let next: Vec<Entry> = rows.get(index + 1).copied().into_iter().collect();
        assert_eq!(timelines.home(ONE, owner, behind, 1).await.unwrap().entries, next);
        let below = Span { below: row.post.just_above(), ..ALL };
        assert_eq!(timelines.home(ONE, owner, below, 1).await.unwrap().entries, [*row]);
    }
    let outermost = rows.len() - 1;
    timelines.raise_mark(ONE, owner, rows[outermost].post.just_below()).await.unwrap();
    assert_eq!(entries(&timelines, owner).await, [rows[outermost]]);
}
