//! Comments: rows that become tombstones.

use std::slice::from_ref;

use domain::stream::BEFORE_FIRST;

use super::{ONE, OTHER, added, comment, deleted, edited, post, update};
use crate::checkpoints::Generation;
use crate::views::{CommentRow, Views};

/// Writes the rows of one post as they are.
async fn write(views: &dyn Views, generation: Generation, number: u32, rows: &[CommentRow]) {
    let stored = views.post_row(generation, post(number)).await.unwrap();
    let position = rows.iter().map(|row| row.position).max().unwrap().max(stored.position);
    let mut update = update(number, position);
    update.expected_position = stored.position;
    update.comments = rows.to_vec();
    views.write_engagement(generation, vec![update]).await.unwrap();
}

/// The one row that there is.
async fn only(views: &dyn Views) -> CommentRow {
    let rows = views.scan_comments(ONE, None, 10).await.unwrap();
    assert_eq!(rows.len(), 1);
    rows[0].clone()
}

pub(crate) async fn an_older_comment_never_wins(views: &dyn Views) {
    let first = added(1, 2, 10);
    let second = edited(&first, "Said better", 20);
    let gone = deleted(&second, 30);
    write(views, ONE, 1, from_ref(&first)).await;
    assert_eq!(only(views).await, first);
    write(views, ONE, 1, from_ref(&second)).await;
    assert_eq!(only(views).await, second);
    write(views, ONE, 1, &[first.clone(), CommentRow { position: 25, ..second.clone() }]).await;
    assert_eq!(only(views).await, second);

    write(views, ONE, 1, from_ref(&gone)).await;
    write(views, ONE, 1, &[second, first]).await;
    assert_eq!(only(views).await, gone);
    assert_eq!(views.comments(ONE, post(1), None, 10).await.unwrap(), []);
}

pub(crate) async fn comments_are_paged_newest_first_without_the_deleted(views: &dyn Views) {
    let mut rows: Vec<CommentRow> = (1..=9).map(|number| added(1, number, i64::from(number))).collect();
    write(views, ONE, 1, &rows).await;
    write(views, ONE, 2, &[added(2, 50, 60)]).await;
    for gone in [1, 4, 5, 9] {
        rows[gone - 1] = deleted(&rows[gone - 1], 100);
    }
    rows[1] = edited(&rows[1], "Newer text, same place", 110);
    write(views, ONE, 1, &rows).await;

    let mut read = Vec::new();
    let mut before = None;
    loop {
        let page = views.comments(ONE, post(1), before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && read.len() < 20);
        before = Some(last.comment);
        read.extend(page);
    }
    let shown: Vec<CommentRow> = rows.iter().rev().filter(|row| row.text.is_some()).cloned().collect();
    assert_eq!(read, shown);
    // A cursor whose comment is gone still works: it is a place, not a row.
    let below_gone = views.comments(ONE, post(1), Some(comment(5)), 1).await.unwrap();
    assert_eq!(below_gone, rows[2..3]);
    assert_eq!(views.comments(ONE, post(1), None, 0).await.unwrap(), []);
}

pub(crate) async fn changed_comments_are_those_above_a_position(views: &dyn Views) {
    let mut rows: Vec<CommentRow> = (1..=6).map(|number| added(1, number, i64::from(number) * 10)).collect();
    rows[0] = edited(&rows[0], "Edited", 70);
    rows[1] = deleted(&rows[1], 80);
    write(views, ONE, 1, &rows).await;
    write(views, ONE, 2, &[added(2, 50, 90)]).await;

    let changed = async |after, limit| {
        let mut changed = views.comments_changed(ONE, post(1), after, limit).await.unwrap();
        changed.sort_by_key(|row| row.comment);
        changed
    };
    assert_eq!(changed(BEFORE_FIRST, 100).await, rows);
    assert_eq!(changed(30, 100).await, [&rows[..2], &rows[3..]].concat());
    assert_eq!(changed(70, 100).await, rows[1..2]);
    assert_eq!(changed(80, 100).await, []);
    assert_eq!(changed(30, 3).await.len(), 3);
}

pub(crate) async fn generations_are_independent(views: &dyn Views) {
    let one = added(1, 1, 10);
    let other = edited(&one, "In another build", 20);
    write(views, OTHER, 1, from_ref(&other)).await;
    write(views, ONE, 1, from_ref(&one)).await;
    for (generation, row) in [(ONE, one), (OTHER, other)] {
        let row = [row];
        assert_eq!(views.comments(generation, post(1), None, 10).await.unwrap(), row);
        assert_eq!(views.comments_changed(generation, post(1), 0, 10).await.unwrap(), row);
        assert_eq!(views.scan_comments(generation, None, 10).await.unwrap(), row);
    }
}

pub(crate) async fn comments_are_scanned_in_the_order_of_their_keys(views: &dyn Views) {
    let mut expected = Vec::new();
    for number in 1..=3 {
        let gone = deleted(&added(number, 7, 20), 30);
        let rows = [added(number, 2, 10), added(number, 4, 15), gone];
        write(views, ONE, number, &rows).await;
        expected.extend(rows);
    }
    let mut scanned: Vec<CommentRow> = Vec::new();
    loop {
        let after = scanned.last().map(|row| (row.post, row.comment));
        let page = views.scan_comments(ONE, after, 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2 && scanned.len() < 20);
        scanned.extend(page);
    }
    assert_eq!(scanned, expected);
}
