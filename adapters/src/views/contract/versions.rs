//! What posts and comments said. C2: a repeat changes nothing, and brings back nothing that is gone.

use domain::text::Title;
use domain::{StreamId, Timestamp};

use super::{ONE, OTHER, comment, post, update};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::views::{EngagementUpdate, PostRow, VersionRow, Views};

fn of_post(number: u32) -> StreamId {
    StreamId::Post(post(number))
}

fn of_comment(number: u32) -> StreamId {
    StreamId::Comment(comment(number))
}

fn version(stream: StreamId, sequence: u64) -> VersionRow {
    let title = matches!(stream, StreamId::Post(_)).then(|| Title::parse(&format!("Title {sequence} 🎉")).unwrap());
    let at = Timestamp::from_millis(i64::try_from(sequence).unwrap() * 1_000);
    VersionRow { stream, sequence, at, title, text: format!("text {sequence}\nof ‘{stream}’") }
}

/// Writes into the lane of a post, from position to position.
async fn write(views: &dyn Views, on: u32, position: i64, versions: &[VersionRow], forgotten: &[StreamId]) {
    let update = EngagementUpdate {
        expected_position: position - 1,
        row: PostRow { position, listed: position, ..PostRow::default() },
        versions: versions.to_vec(),
        forgotten: forgotten.to_vec(),
        ..update(on, position)
    };
    views.write_engagement(ONE, vec![update]).await.unwrap();
}

async fn all(views: &dyn Views, stream: StreamId) -> Vec<VersionRow> {
    views.versions(ONE, stream, None, 100).await.unwrap()
}

pub(crate) async fn versions_are_paged_newest_first(views: &dyn Views) {
    let versions: Vec<VersionRow> = (1..=5).map(|sequence| version(of_post(1), sequence)).collect();
    write(views, 1, 0, &versions[..3], &[]).await;
    write(views, 1, 1, &versions[3..], &[]).await;
    write(views, 2, 0, &[version(of_post(2), 1), version(of_comment(1), 1)], &[]).await;
    let mut found: Vec<VersionRow> = Vec::new();
    let place = |found: &[VersionRow]| found.last().map(|row| row.sequence);
    while let page @ [_, ..] = &views.versions(ONE, of_post(1), place(&found), 2).await.unwrap()[..] {
        assert!(page.len() <= 2 && found.len() < 10);
        found.extend_from_slice(page);
    }
    found.reverse();
    assert_eq!(found, versions);
    assert_eq!(views.versions(ONE, of_post(1), Some(u64::MAX), 10).await.unwrap().len(), 5);
    // A post and a comment with the same id are two things all the same.
    assert_eq!(all(views, of_comment(1)).await, [version(of_comment(1), 1)]);
    assert_eq!(all(views, of_post(3)).await, []);
}

pub(crate) async fn a_version_is_written_once(views: &dyn Views) {
    write(views, 1, 0, &[version(of_post(1), 1)], &[]).await;
    let again = VersionRow { text: "something else".to_owned(), ..version(of_post(1), 1) };
    write(views, 1, 1, &[again, version(of_post(1), 2)], &[]).await;
    assert_eq!(all(views, of_post(1)).await, [version(of_post(1), 2), version(of_post(1), 1)]);
}

pub(crate) async fn what_is_gone_has_no_versions(views: &dyn Views) {
    write(views, 1, 0, &[version(of_post(1), 1), version(of_comment(2), 1), version(of_comment(3), 1)], &[]).await;
    write(views, 1, 1, &[], &[of_comment(2)]).await;
    assert_eq!(all(views, of_comment(2)).await, []);
    assert_eq!(all(views, of_comment(3)).await.len(), 1);
    assert_eq!(all(views, of_post(1)).await.len(), 1);
    // Of what comes and goes in one batch, nothing is left.
    write(views, 1, 2, &[version(of_comment(4), 1)], &[of_comment(4), of_post(1)]).await;
    assert_eq!(all(views, of_comment(4)).await, []);
    assert_eq!(all(views, of_post(1)).await, []);
}

pub(crate) async fn versions_are_written_with_the_counts_or_not_at_all(views: &dyn Views) {
    write(views, 1, 0, &[version(of_post(1), 1)], &[]).await;
    write(views, 1, 1, &[], &[of_post(1)]).await;
    let late = EngagementUpdate { versions: vec![version(of_post(1), 1)], ..update(1, 5) };
    let refused = views.write_engagement(ONE, vec![late]).await;
    assert!(matches!(refused, Err(StoreError::Overtaken(_))), "{refused:?}");
    assert_eq!(all(views, of_post(1)).await, []);
}

pub(crate) async fn generations_are_independent(views: &dyn Views) {
    write(views, 1, 0, &[version(of_post(1), 1)], &[]).await;
    assert_eq!(views.versions(OTHER, of_post(1), None, 10).await.unwrap(), []);
    let gone = EngagementUpdate { forgotten: vec![of_post(1)], ..update(1, 0) };
    views.write_engagement(OTHER, vec![gone]).await.unwrap();
    assert_eq!(all(views, of_post(1)).await.len(), 1);
}

pub(crate) async fn versions_are_scanned_in_the_order_of_their_keys(views: &dyn Views) {
    let streams = [of_comment(1), of_comment(2), of_post(1), of_post(2)];
    let expected: Vec<VersionRow> =
        streams.into_iter().flat_map(|stream| [version(stream, 1), version(stream, 2)]).collect();
    let reversed: Vec<VersionRow> = expected.iter().rev().cloned().collect();
    write(views, 1, 0, &reversed, &[]).await;
    let mut scanned: Vec<VersionRow> = Vec::new();
    let place = |scanned: &[VersionRow]| scanned.last().map(|row| (row.stream, row.sequence));
    while let page @ [_, ..] = &views.scan_versions(ONE, place(&scanned), 3).await.unwrap()[..] {
        assert!(page.len() <= 3 && scanned.len() < 20);
        scanned.extend_from_slice(page);
    }
    assert_eq!(scanned, expected);
    assert_eq!(views.scan_versions(Generation(77), None, 10).await.unwrap(), []);
}
