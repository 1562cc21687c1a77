//! Counts and reactions. C1: counts equal the rows; C2: a repeat changes nothing; C3: a row's position never falls.

use domain::stream::BEFORE_FIRST;

use super::{ONE, OTHER, added, comment, post, reaction, update, user, users};
use crate::StoreError;
use crate::views::{Counts, EngagementLookup, EngagementRows, EngagementUpdate, PostRow, Views};

fn lookup(number: u32) -> EngagementLookup {
    EngagementLookup { post: post(number), comments: Vec::new(), users: Vec::new() }
}

/// A post with these people's likes, in this order, from offset 100 on.
async fn like(views: &dyn Views, number: u32, by: impl IntoIterator<Item = u32>) {
    let reactions: Vec<_> = (100..).zip(by).map(|(position, by)| reaction(number, by, true, 1, position)).collect();
    let position = reactions.last().map_or(BEFORE_FIRST, |row| row.position);
    let mut update = update(number, position);
    update.row.likes = u64::try_from(reactions.len()).unwrap();
    update.reactions = reactions;
    views.write_engagement(ONE, vec![update]).await.unwrap();
}

async fn is_overtaken(views: &dyn Views, updates: Vec<EngagementUpdate>) {
    let refused = views.write_engagement(ONE, updates).await;
    assert!(matches!(refused, Err(StoreError::Overtaken(_))), "{refused:?}");
}

pub(crate) async fn what_nobody_wrote_is_zero(views: &dyn Views) {
    let nothing = PostRow::default();
    assert_eq!((nothing.position, nothing.listed, nothing.changed), (BEFORE_FIRST, BEFORE_FIRST, BEFORE_FIRST));
    assert_eq!(views.post_row(ONE, post(1)).await.unwrap(), nothing);
    let asked = EngagementLookup { post: post(1), comments: vec![comment(1)], users: users([1]) };
    assert_eq!(views.engagement_rows(ONE, &[asked]).await.unwrap(), [EngagementRows::default()]);
    assert_eq!(views.engagement_rows(ONE, &[]).await.unwrap(), []);
    assert_eq!(views.counts(ONE, &[post(1)]).await.unwrap(), [Counts::from(nothing)]);
    assert_eq!(views.liked(ONE, user(1), &[post(1)]).await.unwrap(), [false]);
    assert_eq!(views.counts(ONE, &[]).await.unwrap(), []);
    assert!(views.liked(ONE, user(1), &[]).await.unwrap().is_empty());
    assert_eq!(views.likes(ONE, post(1), None, 10).await.unwrap(), []);
    assert_eq!(views.comments(ONE, post(1), None, 10).await.unwrap(), []);
    assert_eq!(views.comments_changed(ONE, post(1), BEFORE_FIRST, 10).await.unwrap(), []);
    views.write_engagement(ONE, Vec::new()).await.unwrap();
}

pub(crate) async fn rows_are_answered_in_the_order_asked_for(views: &dyn Views) {
    let mut updates = Vec::new();
    for number in 1..=3 {
        let mut update = update(number, 40);
        update.row =
            PostRow { likes: 2, comments: 2, position: 40, listed: 39, sequence: 7, changed: 31, deleted: number == 2 };
        update.comments = vec![added(number, 1, 10), added(number, 2, 20)];
        update.reactions = vec![reaction(number, 1, true, 1, 30), reaction(number, 2, false, 2, 40)];
        updates.push(update);
    }
    views.write_engagement(ONE, updates.clone()).await.unwrap();

    let asked = [
        EngagementLookup { post: post(3), comments: vec![comment(2), comment(9), comment(1)], users: users([2]) },
        lookup(4),
        lookup(2),
        EngagementLookup { post: post(1), comments: vec![comment(1)], users: users([9, 2, 1]) },
    ];
    let expected = [
        EngagementRows {
            post: updates[2].row,
            comments: vec![added(3, 2, 20), added(3, 1, 10)],
            reactions: vec![reaction(3, 2, false, 2, 40)],
        },
        EngagementRows::default(),
        EngagementRows { post: updates[1].row, ..EngagementRows::default() },
        EngagementRows {
            post: updates[0].row,
            comments: vec![added(1, 1, 10)],
            reactions: vec![reaction(1, 2, false, 2, 40), reaction(1, 1, true, 1, 30)],
        },
    ];
    assert_eq!(views.engagement_rows(ONE, &asked).await.unwrap(), expected);
    assert_eq!(views.post_row(ONE, post(2)).await.unwrap(), updates[1].row);
}

pub(crate) async fn counts_change_only_from_the_expected_position(views: &dyn Views) {
    let mut first = update(1, 10);
    first.row.likes = 1;
    first.reactions = vec![reaction(1, 1, true, 1, 10)];
    views.write_engagement(ONE, vec![first.clone()]).await.unwrap();

    // Another writer has been here: from nothing, from before, and from a position that never was.
    for expected_position in [BEFORE_FIRST, 9, 11] {
        let mut late = update(1, 20);
        late.expected_position = expected_position;
        late.row.likes = 99;
        late.reactions = vec![reaction(1, 2, true, 1, 20)];
        is_overtaken(views, vec![late]).await;
    }
    // A post without a row is at no position.
    is_overtaken(views, vec![EngagementUpdate { expected_position: 5, ..update(2, 6) }]).await;
    // C3: back is no way to go.
    is_overtaken(views, vec![EngagementUpdate { expected_position: 10, ..update(1, 9) }]).await;

    assert_eq!(views.post_row(ONE, post(1)).await.unwrap(), first.row);
    assert_eq!(views.post_row(ONE, post(2)).await.unwrap(), PostRow::default());
    assert_eq!(views.likes(ONE, post(1), None, 10).await.unwrap(), first.reactions);

    let mut second = update(1, 20);
    second.expected_position = 10;
    second.row.likes = 2;
    second.reactions = vec![reaction(1, 2, true, 1, 20)];
    views.write_engagement(ONE, vec![second.clone()]).await.unwrap();
    assert_eq!(views.post_row(ONE, post(1)).await.unwrap(), second.row);
}

pub(crate) async fn writing_again_changes_nothing(views: &dyn Views) {
    let mut batch = update(1, 30);
    batch.row.likes = 1;
    batch.row.comments = 1;
    batch.comments = vec![added(1, 1, 20)];
    batch.reactions = vec![reaction(1, 1, true, 1, 30)];
    views.write_engagement(ONE, vec![batch.clone()]).await.unwrap();

    // What a delivery of the same events computes: the counts have them already.
    batch.expected_position = 30;
    views.write_engagement(ONE, vec![batch.clone(), batch.clone()]).await.unwrap();
    assert_eq!(views.post_row(ONE, post(1)).await.unwrap(), batch.row);
    assert_eq!(views.comments(ONE, post(1), None, 10).await.unwrap(), batch.comments);
    assert_eq!(views.likes(ONE, post(1), None, 10).await.unwrap(), batch.reactions);
}

pub(crate) async fn an_older_reaction_never_wins(views: &dyn Views) {
    let withdrawn = reaction(1, 1, false, 4, 40);
    let mut update = update(1, 40);
    update.reactions = vec![withdrawn];
    views.write_engagement(ONE, vec![update.clone()]).await.unwrap();

    update.expected_position = 40;
    update.reactions = vec![reaction(1, 1, true, 3, 30), reaction(1, 1, true, 4, 40)];
    views.write_engagement(ONE, vec![update.clone()]).await.unwrap();
    assert_eq!(views.scan_reactions(ONE, None, 10).await.unwrap(), [withdrawn]);
    assert_eq!(views.likes(ONE, post(1), None, 10).await.unwrap(), []);

    let liked_again = reaction(1, 1, true, 5, 50);
    update.reactions = vec![liked_again];
    views.write_engagement(ONE, vec![update]).await.unwrap();
    assert_eq!(views.likes(ONE, post(1), None, 10).await.unwrap(), [liked_again]);
}

pub(crate) async fn numbers_are_as_the_viewer_sees_them(views: &dyn Views) {
    like(views, 1, [1, 2]).await;
    like(views, 2, [2]).await;
    let mut withdrawn = update(3, 10);
    withdrawn.row.likes = 1;
    withdrawn.row.comments = 5;
    withdrawn.reactions = vec![reaction(3, 1, false, 2, 10), reaction(3, 7, true, 1, 9)];
    views.write_engagement(ONE, vec![withdrawn]).await.unwrap();

    let posts = [post(3), post(1), post(9), post(2), post(1)];
    let counts = views.counts(ONE, &posts).await.unwrap();
    let rows = futures::future::try_join_all(posts.map(|post| views.post_row(ONE, post))).await.unwrap();
    assert_eq!(counts, rows.into_iter().map(Counts::from).collect::<Vec<_>>());
    let numbers: Vec<(u64, u64)> = counts.iter().map(|counts| (counts.likes, counts.comments)).collect();
    assert_eq!(numbers, [(1, 5), (2, 0), (0, 0), (1, 0), (2, 0)]);
    let by_one = views.liked(ONE, user(1), &posts).await.unwrap();
    assert_eq!(by_one, [false, true, false, false, true]);
    let by_two = views.liked(ONE, user(2), &posts).await.unwrap();
    assert_eq!(by_two, [false, true, false, true, true]);
    assert_eq!(views.liked(ONE, user(8), &posts).await.unwrap(), [false; 5]);
}

pub(crate) async fn likes_are_paged_newest_first(views: &dyn Views) {
    like(views, 1, [5, 3, 4, 1, 2]).await;
    like(views, 2, [9]).await;
    let mut withdrawn = update(1, 200);
    withdrawn.expected_position = 104;
    withdrawn.reactions = vec![reaction(1, 4, false, 2, 200)];
    views.write_engagement(ONE, vec![withdrawn]).await.unwrap();

    let mut read = Vec::new();
    let mut before = None;
    loop {
        let page = views.likes(ONE, post(1), before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && read.len() < 10);
        before = Some(last.position);
        read.extend(page.into_iter().map(|row| (row.user, row.position)));
    }
    assert_eq!(read, [(user(2), 104), (user(1), 103), (user(3), 101), (user(5), 100)]);
}

pub(crate) async fn generations_are_independent(views: &dyn Views) {
    like(views, 1, [1, 2]).await;
    let mut update = update(1, 7);
    update.row.likes = 1;
    update.reactions = vec![reaction(1, 3, true, 1, 7)];
    views.write_engagement(OTHER, vec![update.clone()]).await.unwrap();

    assert_eq!(views.post_row(OTHER, post(1)).await.unwrap(), update.row);
    assert_eq!(views.likes(OTHER, post(1), None, 10).await.unwrap(), update.reactions);
    assert_eq!(views.scan_posts(OTHER, None, 10).await.unwrap(), [(post(1), update.row)]);
    assert_eq!(views.scan_reactions(OTHER, None, 10).await.unwrap(), update.reactions);
    assert_eq!(views.counts(OTHER, &[post(1)]).await.unwrap(), [Counts { likes: 1, comments: 0, position: 7 }]);
    assert_eq!(views.liked(OTHER, user(1), &[post(1)]).await.unwrap(), [false]);
    let asked = EngagementLookup { users: users([1, 3]), ..lookup(1) };
    assert_eq!(views.engagement_rows(OTHER, &[asked]).await.unwrap()[0].reactions, update.reactions);

    assert_eq!(views.counts(ONE, &[post(1)]).await.unwrap(), [Counts { likes: 2, comments: 0, position: 101 }]);
    assert_eq!(views.liked(ONE, user(1), &[post(1)]).await.unwrap(), [true]);
    assert_eq!(views.likes(ONE, post(1), None, 10).await.unwrap().len(), 2);
}

pub(crate) async fn posts_and_reactions_are_scanned_in_the_order_of_their_keys(views: &dyn Views) {
    for number in [2, 3, 1] {
        like(views, number, [9, 4, 6]).await;
    }
    let mut posts = Vec::new();
    while let page @ [_, ..] = &views.scan_posts(ONE, posts.last().copied(), 2).await.unwrap()[..] {
        assert!(page.len() <= 2 && posts.len() < 10 && page.iter().all(|(_, row)| row.likes == 3));
        posts.extend(page.iter().map(|(post, _)| *post));
    }
    assert_eq!(posts, [post(1), post(2), post(3)]);

    let mut reactions = Vec::new();
    while let page @ [_, ..] = &views.scan_reactions(ONE, reactions.last().copied(), 2).await.unwrap()[..] {
        assert!(page.len() <= 2 && reactions.len() < 20);
        reactions.extend(page.iter().map(|row| (row.post, row.user)));
    }
    let expected = (1..=3).flat_map(|number| [4, 6, 9].map(|by| (post(number), user(by))));
    assert_eq!(reactions, expected.collect::<Vec<_>>());
}
