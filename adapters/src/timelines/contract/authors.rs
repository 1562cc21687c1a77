//! Authors' own timelines and their merge.

use domain::PostId;
use domain::stream::BEFORE_FIRST;

use super::{ALL, ONE, OTHER, listed, post, published, span, user};
use crate::timelines::{AuthorEntry, Entry, Order, Timelines};

fn deleted(entry: AuthorEntry) -> AuthorEntry {
    AuthorEntry { deleted: true, sequence: entry.sequence + 1, offset: entry.offset + 1, ..entry }
}

async fn posts(timelines: &dyn Timelines, authors: &[u32]) -> Vec<PostId> {
    let authors: Vec<_> = authors.iter().copied().map(user).collect();
    let entries = timelines.authors(ONE, &authors, ALL, 10_000).await.unwrap();
    entries.into_iter().map(|entry| entry.post).collect()
}

fn numbered(numbers: &[u32]) -> Vec<PostId> {
    numbers.iter().copied().map(post).collect()
}

pub(crate) async fn timelines_are_merged_without_the_deleted(timelines: &dyn Timelines) {
    let rows = [published(1, 2), published(1, 6), published(2, 4), published(3, 9), published(2, 8)];
    timelines.write_authors(ONE, &rows).await.unwrap();
    timelines.write_authors(ONE, &[]).await.unwrap();
    let merged = timelines.authors(ONE, &[user(1), user(2)], ALL, 10).await.unwrap();
    assert_eq!(merged, [rows[4], rows[1], rows[2], rows[0]].map(listed));

    timelines.write_authors(ONE, &[deleted(published(1, 6))]).await.unwrap();
    assert_eq!(posts(timelines, &[1, 2]).await, numbered(&[8, 4, 2]));
    assert_eq!(posts(timelines, &[]).await, []);
    assert_eq!(posts(timelines, &[4]).await, []);

    // The deleted do not count towards the limit either.
    timelines.write_authors(ONE, &[deleted(published(2, 8))]).await.unwrap();
    let newest: Vec<Entry> = timelines.authors(ONE, &[user(1), user(2)], ALL, 1).await.unwrap();
    assert_eq!(newest, [listed(published(2, 4))]);
}

pub(crate) async fn an_author_who_is_named_twice_counts_once(timelines: &dyn Timelines) {
    let rows = [published(1, 1), published(1, 2), published(1, 3), published(2, 4)];
    timelines.write_authors(ONE, &rows).await.unwrap();
    assert_eq!(posts(timelines, &[1, 2, 1]).await, numbered(&[4, 3, 2, 1]));
    let merged = timelines.authors(ONE, &[user(1), user(1)], ALL, 3).await.unwrap();
    assert_eq!(merged.iter().map(|entry| entry.post).collect::<Vec<_>>(), numbered(&[3, 2, 1]));
}

pub(crate) async fn spans_exclude_their_ends_and_have_an_order(timelines: &dyn Timelines) {
    let rows: Vec<_> = (1..=9).map(|number| published(number % 3, number)).collect();
    timelines.write_authors(ONE, &rows).await.unwrap();
    let authors = [user(0), user(1), user(2)];
    let cases = [
        (span(3, 7, Order::NewestFirst), 10, vec![6, 5, 4]),
        (span(3, 7, Order::OldestFirst), 10, vec![4, 5, 6]),
        (span(3, 7, Order::NewestFirst), 2, vec![6, 5]),
        (span(3, 7, Order::OldestFirst), 2, vec![4, 5]),
        (span(3, 7, Order::OldestFirst), 0, vec![]),
        (span(3, 4, Order::NewestFirst), 10, vec![]),
        (ALL, 3, vec![9, 8, 7]),
    ];
    for (span, limit, expected) in cases {
        let read = timelines.authors(ONE, &authors, span, limit).await.unwrap();
        let read: Vec<_> = read.into_iter().map(|entry| entry.post).collect();
        assert_eq!(read, numbered(&expected), "{span:?}, at most {limit}");
    }
}

pub(crate) async fn a_merge_of_many_is_the_newest_of_all(timelines: &dyn Timelines) {
    const AUTHORS: u32 = 700;
    // Each author has an old post and a new one; the newest of all are of authors from everywhere in the list.
    let rows: Vec<_> = (0..AUTHORS)
        .flat_map(|author| [published(author, author), published(author, 10_000 + (author * 331) % AUTHORS)])
        .collect();
    timelines.write_authors(ONE, &rows).await.unwrap();
    let authors: Vec<_> = (0..AUTHORS).map(user).collect();
    for limit in [1, 20, 699, 701, 2_000] {
        let mut newest: Vec<_> = rows.iter().copied().map(listed).collect();
        newest.sort_by_key(|entry| std::cmp::Reverse(entry.post));
        newest.truncate(limit);
        assert_eq!(timelines.authors(ONE, &authors, ALL, limit).await.unwrap(), newest);

        let oldest_first = super::Span { order: Order::OldestFirst, ..ALL };
        let mut oldest: Vec<_> = rows.iter().copied().map(listed).collect();
        oldest.sort_by_key(|entry| entry.post);
        oldest.truncate(limit);
        assert_eq!(timelines.authors(ONE, &authors, oldest_first, limit).await.unwrap(), oldest);
    }
}

pub(crate) async fn imported_posts_are_merged_and_are_no_news(timelines: &dyn Timelines) {
    let imported = AuthorEntry { imported: true, ..published(1, 3) };
    timelines.write_authors(ONE, &[imported, published(1, 5)]).await.unwrap();
    let merged = timelines.authors(ONE, &[user(1)], ALL, 10).await.unwrap();
    assert_eq!(merged, [listed(published(1, 5)), Entry { offset: BEFORE_FIRST, ..listed(imported) }]);
    assert_eq!(timelines.authors_since(ONE, &[user(1)], &[], 10).await.unwrap(), [listed(published(1, 5))]);
    // Where the log has it stays known.
    assert_eq!(timelines.scan_authors(ONE, None, 10).await.unwrap(), [imported, published(1, 5)]);
}

pub(crate) async fn what_was_published_since_is_found_by_offset(timelines: &dyn Timelines) {
    let at = |author, number, partition, offset| AuthorEntry { partition, offset, ..published(author, number) };
    let rows = [at(1, 1, 0, 9), at(1, 2, 1, 3), at(1, 3, 0, 10), at(2, 4, 0, 12), at(2, 5, 2, 0), at(3, 6, 0, 20)];
    timelines.write_authors(ONE, &rows).await.unwrap();
    timelines.write_authors(ONE, &[deleted(at(2, 7, 0, 13)), at(2, 7, 0, 13)]).await.unwrap();
    let since = async |authors: &[u32], after: &[i64]| {
        let authors: Vec<_> = authors.iter().copied().map(user).collect();
        let mut found = timelines.authors_since(ONE, &authors, after, 10).await.unwrap();
        found.sort_by_key(|entry| entry.post);
        found.into_iter().map(|entry| entry.post).collect::<Vec<_>>()
    };
    assert_eq!(since(&[1, 2, 1], &[9, 2, -1]).await, numbered(&[2, 3, 4, 5]));
    assert_eq!(since(&[1, 2], &[10, 3, 0]).await, numbered(&[4]));
    assert_eq!(since(&[1, 2], &[12]).await, numbered(&[2, 5]));
    assert_eq!(since(&[1, 2, 3], &[]).await, numbered(&[1, 2, 3, 4, 5, 6]));
    assert_eq!(since(&[], &[]).await, []);
    let few = timelines.authors_since(ONE, &[user(1), user(2), user(3)], &[], 4).await.unwrap();
    assert_eq!(few.len(), 4);
    assert_eq!(timelines.authors_since(OTHER, &[user(1)], &[], 4).await.unwrap(), []);

    // More authors than one look takes.
    let crowd: Vec<_> = (0..700).map(|number| at(100 + number, 1_000 + number, 0, i64::from(number))).collect();
    timelines.write_authors(ONE, &crowd).await.unwrap();
    let authors: Vec<_> = crowd.iter().map(|row| row.author).collect();
    assert_eq!(timelines.authors_since(ONE, &authors, &[99], 1_000).await.unwrap().len(), 600);
    assert_eq!(timelines.authors_since(ONE, &authors, &[99], 300).await.unwrap().len(), 300);
}

pub(crate) async fn a_row_never_goes_back_to_an_older_sequence(timelines: &dyn Timelines) {
    let first = published(1, 5);
    let gone = deleted(first);
    timelines.write_authors(ONE, &[first, gone]).await.unwrap();
    let stored = |rows: Vec<AuthorEntry>| assert_eq!(rows, [gone]);
    stored(timelines.scan_authors(ONE, None, 10).await.unwrap());

    // Neither the old event nor a repeat of the newest, from elsewhere in the log, changes the row.
    let repeat = AuthorEntry { partition: 5, offset: 999, ..gone };
    timelines.write_authors(ONE, &[first, repeat]).await.unwrap();
    stored(timelines.scan_authors(ONE, None, 10).await.unwrap());
    assert_eq!(posts(timelines, &[1]).await, []);

    // The deletion may come first: its row is the tombstone that the publication finds.
    let late = published(1, 6);
    timelines.write_authors(ONE, &[deleted(late)]).await.unwrap();
    timelines.write_authors(ONE, &[late]).await.unwrap();
    assert_eq!(timelines.scan_authors(ONE, None, 10).await.unwrap(), [gone, deleted(late)]);
}

pub(crate) async fn generations_are_independent(timelines: &dyn Timelines) {
    timelines.write_authors(ONE, &[published(1, 5), deleted(published(1, 6))]).await.unwrap();
    timelines.write_authors(OTHER, &[published(1, 6)]).await.unwrap();
    assert_eq!(posts(timelines, &[1]).await, numbered(&[5]));
    let other = timelines.authors(OTHER, &[user(1)], ALL, 10).await.unwrap();
    assert_eq!(other, [listed(published(1, 6))]);
    assert_eq!(timelines.scan_authors(OTHER, None, 10).await.unwrap(), [published(1, 6)]);
}

pub(crate) async fn timelines_are_scanned_one_after_the_other(timelines: &dyn Timelines) {
    let rows = [published(1, 4), published(1, 7), deleted(published(2, 1)), published(2, 3), published(3, 2)];
    let mut shuffled = rows;
    shuffled.reverse();
    timelines.write_authors(ONE, &shuffled).await.unwrap();
    for limit in [1, 2, 4, 5, 100] {
        let mut scanned: Vec<AuthorEntry> = Vec::new();
        let mut after = None;
        loop {
            let page = timelines.scan_authors(ONE, after, limit).await.unwrap();
            let Some(last) = page.last().copied() else { break };
            assert!(page.len() <= limit && scanned.len() < 20);
            after = Some((last.author, last.post));
            scanned.extend(page);
        }
        let mut authors: Vec<_> = scanned.iter().map(|row| row.author).collect();
        authors.dedup();
        assert_eq!(authors.len(), 3, "the rows of one author are together");
        // Of one author they are by post: sorting by author alone leaves that as it is.
        scanned.sort_by_key(|row| row.author);
        assert_eq!(scanned, rows, "pages of {limit}");
    }
    let point = timelines.scan_authors(ONE, Some((user(1), post(7).just_below())), 1).await.unwrap();
    assert_eq!(point, [rows[1]]);
}

pub(crate) async fn a_post_stays_where_the_log_has_it_first(timelines: &dyn Timelines) {
    let first = published(1, 5);
    let repeat = AuthorEntry { offset: first.offset + 100, ..first };
    for order in [[first, repeat], [repeat, first]] {
        for row in order {
            timelines.write_authors(ONE, &[row]).await.unwrap();
        }
        assert_eq!(timelines.scan_authors(ONE, None, 10).await.unwrap(), [first]);
        // One post, and no news above where it is.
        assert_eq!(timelines.authors_since(ONE, &[user(1)], &[], 10).await.unwrap(), [listed(first)]);
        let after = [-1, -1, -1, first.offset];
        assert_eq!(timelines.authors_since(ONE, &[user(1)], &after, 10).await.unwrap(), []);
    }
    timelines.write_authors(OTHER, &[repeat]).await.unwrap();
    timelines.write_authors(OTHER, &[first]).await.unwrap();
    assert_eq!(timelines.scan_authors(OTHER, None, 10).await.unwrap(), [first]);
}
