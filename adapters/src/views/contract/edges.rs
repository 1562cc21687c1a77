//! Who follows, blocks and mutes whom. T3: an edge never goes back to an older sequence. T4: who is hot stays so.

use domain::UserId;

use super::{ONE, OTHER, user, users};
use crate::views::{Edge, EdgeChange, EdgeField, EdgeList, RelationView, Views};

fn follows(from: u32, to: u32, sequence: u64) -> EdgeChange {
    EdgeChange { from: user(from), to: user(to), what: EdgeField::Following(true), sequence }
}

fn unfollows(from: u32, to: u32, sequence: u64) -> EdgeChange {
    EdgeChange { what: EdgeField::Following(false), ..follows(from, to, sequence) }
}

fn blocks(from: u32, to: u32, sequence: u64) -> EdgeChange {
    EdgeChange { what: EdgeField::Blocking(true), ..follows(from, to, sequence) }
}

fn unblocks(from: u32, to: u32, sequence: u64) -> EdgeChange {
    EdgeChange { what: EdgeField::Blocking(false), ..follows(from, to, sequence) }
}

fn mutes(from: u32, to: u32, sequence: u64) -> EdgeChange {
    EdgeChange { what: EdgeField::Muting(true), ..follows(from, to, sequence) }
}

fn unmutes(from: u32, to: u32, sequence: u64) -> EdgeChange {
    EdgeChange { what: EdgeField::Muting(false), ..follows(from, to, sequence) }
}

async fn relation(views: &dyn Views, viewer: u32, other: u32) -> RelationView {
    views.relations(ONE, user(viewer), &[user(other)]).await.unwrap()[0]
}

const NOTHING: RelationView =
    RelationView { following: false, followed_by: false, blocking: false, blocked_by: false, muting: false };

pub(crate) async fn directions_are_apart(views: &dyn Views) {
    let changes =
        [follows(1, 2, 1), follows(3, 1, 1), blocks(1, 4, 1), blocks(5, 1, 1), follows(6, 1, 1), follows(1, 6, 2)];
    views.write_edges(ONE, &changes).await.unwrap();
    views.write_edges(ONE, &[]).await.unwrap();

    let seen = views.relations(ONE, user(1), &users([6, 5, 9, 4, 3, 2])).await.unwrap();
    let expected = [
        RelationView { following: true, followed_by: true, ..NOTHING },
        RelationView { blocked_by: true, ..NOTHING },
        NOTHING,
        RelationView { blocking: true, ..NOTHING },
        RelationView { followed_by: true, ..NOTHING },
        RelationView { following: true, ..NOTHING },
    ];
    assert_eq!(seen, expected);
    assert_eq!(views.relations(ONE, user(1), &[]).await.unwrap(), []);
    assert_eq!(relation(views, 2, 1).await, RelationView { followed_by: true, ..NOTHING });
    assert_eq!(relation(views, 5, 1).await, RelationView { blocking: true, ..NOTHING });

    // Who is muted does not see it.
    views.write_edges(ONE, &[mutes(7, 1, 1)]).await.unwrap();
    assert_eq!(relation(views, 7, 1).await, RelationView { muting: true, ..NOTHING });
    assert_eq!(relation(views, 1, 7).await, NOTHING);
}

pub(crate) async fn each_part_of_a_direction_keeps_what_it_is(views: &dyn Views) {
    views.write_edges(ONE, &[follows(1, 2, 1), blocks(1, 2, 2)]).await.unwrap();
    assert_eq!(relation(views, 1, 2).await, RelationView { following: true, blocking: true, ..NOTHING });
    views.write_edges(ONE, &[unfollows(1, 2, 3)]).await.unwrap();
    assert_eq!(relation(views, 1, 2).await, RelationView { blocking: true, ..NOTHING });
    views.write_edges(ONE, &[mutes(1, 2, 4)]).await.unwrap();
    assert_eq!(relation(views, 1, 2).await, RelationView { blocking: true, muting: true, ..NOTHING });
    views.write_edges(ONE, &[unblocks(1, 2, 5), follows(1, 2, 6)]).await.unwrap();
    assert_eq!(relation(views, 1, 2).await, RelationView { following: true, muting: true, ..NOTHING });
    views.write_edges(ONE, &[unmutes(1, 2, 7)]).await.unwrap();
    assert_eq!(relation(views, 1, 2).await, RelationView { following: true, ..NOTHING });
}

pub(crate) async fn an_edge_never_goes_back_to_an_older_sequence(views: &dyn Views) {
    views.write_edges(ONE, &[unfollows(1, 2, 6)]).await.unwrap();
    let tombstone = Edge { from: user(1), to: user(2), following: false, blocking: false, muting: false, sequence: 6 };
    for late in [follows(1, 2, 5), follows(1, 2, 6), blocks(1, 2, 1), mutes(1, 2, 6)] {
        views.write_edges(ONE, &[late]).await.unwrap();
        assert_eq!(views.scan_edges(ONE, None, 10).await.unwrap(), [tombstone], "{late:?}");
    }
    assert_eq!(views.followers(ONE, user(2), None, 10).await.unwrap(), []);
    assert_eq!(views.following(ONE, user(1), None, 10).await.unwrap(), []);

    // The other direction has a sequence of its own, though the stream is the pair's.
    views.write_edges(ONE, &[follows(2, 1, 3)]).await.unwrap();
    assert_eq!(views.following(ONE, user(2), None, 10).await.unwrap(), users([1]));
    views.write_edges(ONE, &[follows(1, 2, 7)]).await.unwrap();
    assert_eq!(views.followers(ONE, user(2), None, 10).await.unwrap(), users([1]));
}

pub(crate) async fn followers_and_followed_are_paged_by_id(views: &dyn Views) {
    let mut changes: Vec<EdgeChange> = [9, 3, 7, 5, 1].into_iter().map(|from| follows(from, 100, 1)).collect();
    changes.extend([9, 3, 7, 5, 1].into_iter().map(|to| follows(200, to, 1)));
    changes.extend([
        unfollows(5, 100, 2),
        unfollows(200, 5, 2),
        blocks(6, 100, 1),
        blocks(200, 6, 1),
        follows(5, 300, 1),
    ]);
    views.write_edges(ONE, &changes).await.unwrap();

    let mut followers: Vec<UserId> = Vec::new();
    while let page @ [_, ..] = &views.followers(ONE, user(100), followers.last().copied(), 3).await.unwrap()[..] {
        assert!(page.len() <= 3 && followers.len() < 10);
        followers.extend(page);
    }
    assert_eq!(followers, users([1, 3, 7, 9]));
    let mut following: Vec<UserId> = Vec::new();
    while let page @ [_, ..] = &views.following(ONE, user(200), following.last().copied(), 3).await.unwrap()[..] {
        assert!(page.len() <= 3 && following.len() < 10);
        following.extend(page);
    }
    assert_eq!(following, users([1, 3, 7, 9]));
    // The place to go on from need not be anybody's any more.
    assert_eq!(views.followers(ONE, user(100), Some(user(4)), 1).await.unwrap(), users([7]));
}

pub(crate) async fn blocks_are_found_from_both_ends(views: &dyn Views) {
    let changes =
        [blocks(1, 2, 1), blocks(3, 1, 1), blocks(1, 4, 1), blocks(4, 1, 2), follows(5, 1, 1), blocks(6, 7, 1)];
    views.write_edges(ONE, &changes).await.unwrap();
    let blocked = async |who| {
        let mut blocked = views.blocked_with(ONE, user(who)).await.unwrap();
        blocked.sort();
        blocked
    };
    assert_eq!(blocked(1).await, users([2, 3, 4]));
    assert_eq!(blocked(2).await, users([1]));
    assert_eq!(blocked(5).await, []);

    // The last block between two keeps them apart, whoever's it is.
    views.write_edges(ONE, &[unblocks(1, 4, 3), unblocks(3, 1, 2)]).await.unwrap();
    assert_eq!(blocked(1).await, users([2, 4]));
    assert_eq!(blocked(3).await, []);
}

pub(crate) async fn stamps_are_never_the_same_again(views: &dyn Views) {
    let stamp = async |who| views.relations_stamp(ONE, user(who)).await.unwrap();
    assert_eq!((stamp(1).await, stamp(2).await), (0, 0));
    let mut seen = std::collections::BTreeSet::from([0]);
    for _ in 0..20 {
        views.renew_stamps(ONE, &users([1, 3])).await.unwrap();
        assert!(seen.insert(stamp(1).await) && seen.insert(stamp(3).await));
        let present = stamp(1).await;
        views.write_edges(ONE, &[follows(1, 9, 1)]).await.unwrap();
        assert_eq!(stamp(1).await, present, "it stays until it is renewed");
    }
    views.renew_stamps(ONE, &[]).await.unwrap();
    assert_eq!(stamp(2).await, 0, "others keep theirs");
    assert_eq!(views.relations_stamp(OTHER, user(1)).await.unwrap(), 0);
}

pub(crate) async fn whom_one_blocks_or_mutes_is_paged_newest_id_first(views: &dyn Views) {
    let mut changes: Vec<EdgeChange> = [4, 2, 8, 6].into_iter().map(|to| blocks(1, to, 1)).collect();
    changes.extend([5, 3, 8].into_iter().map(|to| mutes(1, to, 2)));
    changes.extend([unblocks(1, 4, 2), follows(1, 7, 1), blocks(9, 1, 1), mutes(9, 1, 2), mutes(2, 3, 1)]);
    views.write_edges(ONE, &changes).await.unwrap();
    for (list, expected) in [(EdgeList::Blocking, vec![8, 6, 2]), (EdgeList::Muting, vec![8, 5, 3])] {
        let mut found: Vec<UserId> = Vec::new();
        while let page @ [_, ..] = &views.edge_list(ONE, user(1), list, found.last().copied(), 2).await.unwrap()[..] {
            assert!(page.len() <= 2 && found.len() < 10);
            found.extend(page);
        }
        assert_eq!(found, users(expected), "{list:?}");
        assert_eq!(views.edge_list(OTHER, user(1), list, None, 10).await.unwrap(), []);
    }
}

pub(crate) async fn authors_stay_hot(views: &dyn Views) {
    assert_eq!(views.hot(ONE, &users([1, 2])).await.unwrap(), []);
    views.mark_hot(ONE, &users([2, 4, 6])).await.unwrap();
    views.mark_hot(ONE, &users([4, 8])).await.unwrap();
    views.mark_hot(ONE, &[]).await.unwrap();
    let mut hot = views.hot(ONE, &users([1, 2, 3, 4, 5])).await.unwrap();
    hot.sort();
    assert_eq!(hot, users([2, 4]));
    assert_eq!(views.hot(ONE, &[]).await.unwrap(), []);

    let changes =
        [follows(1, 2, 1), follows(1, 3, 1), follows(1, 4, 1), unfollows(1, 4, 2), follows(1, 8, 1), follows(6, 1, 1)];
    views.write_edges(ONE, &changes).await.unwrap();
    let mut followed = views.hot_followed(ONE, user(1)).await.unwrap();
    followed.sort();
    assert_eq!(followed, users([2, 8]));
    assert_eq!(views.hot_followed(ONE, user(2)).await.unwrap(), []);

    // An adapter may remember what was read.
    views.write_edges(ONE, &[unfollows(1, 8, 2), follows(2, 3, 2)]).await.unwrap();
    assert_eq!(views.hot_followed(ONE, user(1)).await.unwrap(), users([2]));
    assert_eq!(views.hot_followed(ONE, user(2)).await.unwrap(), []);
    views.mark_hot(ONE, &users([3])).await.unwrap();
    let mut followed = views.hot_followed(ONE, user(1)).await.unwrap();
    followed.sort();
    assert_eq!(followed, users([2, 3]));
    assert_eq!(views.hot_followed(ONE, user(2)).await.unwrap(), users([3]));
}

pub(crate) async fn generations_are_independent(views: &dyn Views) {
    views.write_edges(ONE, &[follows(1, 2, 5), blocks(3, 1, 1)]).await.unwrap();
    views.write_edges(OTHER, &[follows(1, 4, 1)]).await.unwrap();
    views.mark_hot(ONE, &users([2])).await.unwrap();
    views.mark_hot(OTHER, &users([2, 4])).await.unwrap();

    assert_eq!(views.following(OTHER, user(1), None, 10).await.unwrap(), users([4]));
    assert_eq!(views.followers(OTHER, user(2), None, 10).await.unwrap(), []);
    assert_eq!(views.blocked_with(OTHER, user(1)).await.unwrap(), []);
    assert_eq!(views.relations(OTHER, user(1), &users([2, 3])).await.unwrap(), [NOTHING; 2]);
    assert_eq!(views.hot_followed(OTHER, user(1)).await.unwrap(), users([4]));
    assert_eq!(views.hot(ONE, &users([2, 4])).await.unwrap(), users([2]));
    let edge = Edge { from: user(1), to: user(4), following: true, blocking: false, muting: false, sequence: 1 };
    assert_eq!(views.scan_edges(OTHER, None, 10).await.unwrap(), [edge]);
    assert_eq!(views.following(ONE, user(1), None, 10).await.unwrap(), users([2]));
}

pub(crate) async fn edges_are_scanned_in_the_order_of_their_keys(views: &dyn Views) {
    let changes: Vec<_> = [3, 1, 2].into_iter().flat_map(|from| [9, 7].map(|to| follows(from, to, 1))).collect();
    views.write_edges(ONE, &changes).await.unwrap();
    let mut scanned: Vec<(UserId, UserId)> = Vec::new();
    while let page @ [_, ..] = &views.scan_edges(ONE, scanned.last().copied(), 4).await.unwrap()[..] {
        assert!(page.len() <= 4 && scanned.len() < 20);
        scanned.extend(page.iter().map(|edge| (edge.from, edge.to)));
    }
    let expected = (1..=3).flat_map(|from| [7, 9].map(|to| (user(from), user(to))));
    assert_eq!(scanned, expected.collect::<Vec<_>>());
}
