//! Views against models of plain maps, for random sequences of calls.

use std::collections::BTreeMap;

use domain::stream::BEFORE_FIRST;
use domain::text::CommentText;
use domain::{CommentId, PostId, UserId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{comment, post, user};
use crate::StoreError;
use crate::property::for_all;
use crate::views::{
    CommentRow, Counts, Edge, EdgeChange, EdgeField, EngagementLookup, EngagementRows, EngagementUpdate, PostRow,
    ReactionRow, RelationView, Views,
};

const POSTS: u32 = 3;
const COMMENTS: u32 = 5;
const USERS: u32 = 4;

/// A batch of one post: how far it goes, whether its author knew the present position, and its rows.
#[derive(Clone, Debug)]
struct Batch {
    on: u32,
    step: i64,
    is_stale: bool,
    comments: Vec<(u32, Option<String>, u64, i64)>,
    reactions: Vec<(u32, bool, u64)>,
}

fn batch() -> impl Strategy<Value = Batch> {
    let text = proptest::option::of("[a-zß–🎉]{1,8}");
    let comments = vec((0..COMMENTS, text, 1..6u64, 0..3i64), 0..4);
    let reactions = vec((0..USERS, any::<bool>(), 1..6u64), 0..4);
    (0..POSTS, 1..5i64, prop::bool::weighted(0.2), comments, reactions)
        .prop_map(|(on, step, is_stale, comments, reactions)| Batch { on, step, is_stale, comments, reactions })
}

#[derive(Default)]
struct Model {
    posts: BTreeMap<PostId, PostRow>,
    comments: BTreeMap<(PostId, CommentId), CommentRow>,
    reactions: BTreeMap<(PostId, UserId), ReactionRow>,
}

impl Model {
    fn update(&self, batch: &Batch) -> EngagementUpdate {
        let on = post(batch.on);
        let stored = self.posts.get(&on).copied().unwrap_or_default();
        let position = stored.position.max(0) + batch.step;
        let comments = batch.comments.iter().map(|(number, text, sequence, age)| CommentRow {
            comment: comment(*number),
            post: on,
            author: user(number % USERS),
            parent: None,
            text: text.as_deref().map(|text| CommentText::parse(text).unwrap()),
            edited_at: None,
            sequence: *sequence,
            created: position - age,
            position,
        });
        let reactions = (0..).zip(&batch.reactions).map(|(place, (by, liked, sequence))| ReactionRow {
            post: on,
            user: user(*by),
            liked: *liked,
            sequence: *sequence,
            // No two events are at the same place.
            position: position * 10 + place,
        });
        let row = PostRow { likes: position.unsigned_abs(), position, listed: position, ..stored };
        EngagementUpdate {
            post: on,
            expected_position: if batch.is_stale { stored.position - 1 } else { stored.position },
            row,
            comments: comments.collect(),
            reactions: reactions.collect(),
            versions: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    fn apply(&mut self, update: EngagementUpdate) {
        self.posts.insert(update.post, update.row);
        for row in update.comments {
            let stored = self.comments.entry((row.post, row.comment)).or_insert_with(|| row.clone());
            if row.sequence > stored.sequence {
                *stored = row;
            }
        }
        for row in update.reactions {
            let stored = self.reactions.entry((row.post, row.user)).or_insert(row);
            if row.sequence > stored.sequence {
                *stored = row;
            }
        }
    }

    fn comments_of(&self, on: PostId) -> impl DoubleEndedIterator<Item = &CommentRow> {
        self.comments.values().filter(move |row| row.post == on)
    }

    fn liked_by(&self, viewer: UserId, posts: &[PostId]) -> Vec<bool> {
        posts.iter().map(|on| self.reactions.get(&(*on, viewer)).is_some_and(|row| row.liked)).collect()
    }

    fn likes_of(&self, on: PostId) -> Vec<ReactionRow> {
        let mut likes: Vec<_> = self.reactions.values().filter(|row| row.post == on && row.liked).copied().collect();
        likes.sort_by_key(|row| std::cmp::Reverse(row.position));
        likes
    }
}

pub(crate) async fn engagement_is_what_the_model_says(views: &dyn Views) {
    for_all(vec(batch(), 1..25), async |generation, batches| {
        let mut model = Model::default();
        let posts: Vec<PostId> = (0..POSTS).map(post).collect();
        for (turn, batch) in (0..).zip(batches) {
            // Also between writes: an adapter may remember what was read.
            let viewer = user(turn % USERS);
            assert_eq!(views.liked(generation, viewer, &posts).await.unwrap(), model.liked_by(viewer, &posts));
            let update = model.update(&batch);
            match views.write_engagement(generation, vec![update.clone()]).await {
                Ok(()) => {
                    assert!(!batch.is_stale, "written from a position that is not the present one");
                    model.apply(update);
                }
                Err(StoreError::Overtaken(_)) => assert!(batch.is_stale, "refused from the present position"),
                Err(error) => panic!("{error}"),
            }
        }

        for &on in &posts {
            let row = model.posts.get(&on).copied().unwrap_or_default();
            assert_eq!(views.post_row(generation, on).await.unwrap(), row);
            let lookup = EngagementLookup {
                post: on,
                comments: (0..COMMENTS).map(comment).collect(),
                users: (0..USERS).map(user).collect(),
            };
            let expected = EngagementRows {
                post: row,
                comments: model.comments_of(on).cloned().collect(),
                reactions: model.reactions.values().filter(|row| row.post == on).copied().collect(),
            };
            assert_eq!(views.engagement_rows(generation, &[lookup]).await.unwrap(), [expected]);
            let shown: Vec<_> = model.comments_of(on).rev().filter(|row| row.text.is_some()).cloned().collect();
            assert_eq!(views.comments(generation, on, None, 100).await.unwrap(), shown);
            assert_eq!(views.likes(generation, on, None, 100).await.unwrap(), model.likes_of(on));
            for after in BEFORE_FIRST..10 {
                let mut changed = views.comments_changed(generation, on, after, 100).await.unwrap();
                changed.sort_by_key(|row| row.comment);
                let expected = model.comments_of(on).filter(|row| row.created > after || row.position > after);
                assert_eq!(changed, expected.cloned().collect::<Vec<_>>());
            }
        }
        for viewer in (0..USERS).map(user) {
            assert_eq!(views.liked(generation, viewer, &posts).await.unwrap(), model.liked_by(viewer, &posts));
        }
        let counts = |on| Counts::from(model.posts.get(on).copied().unwrap_or_default());
        let expected: Vec<Counts> = posts.iter().map(counts).collect();
        assert_eq!(views.counts(generation, &posts).await.unwrap(), expected);
    });
}

pub(crate) async fn edges_are_what_the_model_says(views: &dyn Views) {
    let what = prop_oneof![
        any::<bool>().prop_map(EdgeField::Following),
        any::<bool>().prop_map(EdgeField::Blocking),
        any::<bool>().prop_map(EdgeField::Muting),
    ];
    let change = (0..USERS, 0..USERS, what, 1..8u64);
    for_all(vec(vec(change, 0..6), 0..12), async |generation, calls| {
        let mut model: BTreeMap<(UserId, UserId), Edge> = BTreeMap::new();
        let people: Vec<UserId> = (0..USERS).map(user).collect();
        for (turn, call) in (0..).zip(calls) {
            // Also between writes: an adapter may remember what was read.
            let viewer = user(turn % USERS);
            let seen = views.relations(generation, viewer, &people).await.unwrap();
            assert_eq!(seen, people.iter().map(|other| relation(&model, viewer, *other)).collect::<Vec<_>>());
            let changes: Vec<EdgeChange> = call
                .into_iter()
                .map(|(from, to, what, sequence)| EdgeChange { from: user(from), to: user(to), what, sequence })
                .filter(|change| change.from != change.to)
                .collect();
            views.write_edges(generation, &changes).await.unwrap();
            for EdgeChange { from, to, what, sequence } in changes {
                let nothing = Edge { from, to, following: false, blocking: false, muting: false, sequence: 0 };
                let edge = model.entry((from, to)).or_insert(nothing);
                if sequence > edge.sequence {
                    edge.sequence = sequence;
                    match what {
                        EdgeField::Following(is) => edge.following = is,
                        EdgeField::Blocking(is) => edge.blocking = is,
                        EdgeField::Muting(is) => edge.muting = is,
                    }
                }
            }
        }

        let stored: Vec<Edge> = model.values().copied().collect();
        assert_eq!(views.scan_edges(generation, None, 1_000).await.unwrap(), stored);
        for &person in &people {
            let is = |from, to, what: fn(&Edge) -> bool| model.get(&(from, to)).is_some_and(what);
            let those = |is: &dyn Fn(UserId) -> bool| people.iter().copied().filter(|other| is(*other)).collect();
            let followers: Vec<UserId> = those(&|other| is(other, person, |edge| edge.following));
            assert_eq!(views.followers(generation, person, None, 100).await.unwrap(), followers);
            let following: Vec<UserId> = those(&|other| is(person, other, |edge| edge.following));
            assert_eq!(views.following(generation, person, None, 100).await.unwrap(), following);
            let mut blocked = views.blocked_with(generation, person).await.unwrap();
            blocked.sort();
            let blocking = |other| is(person, other, |edge| edge.blocking);
            let blocked_by = |other| is(other, person, |edge| edge.blocking);
            assert_eq!(blocked, those(&|other| blocking(other) || blocked_by(other)));
            let seen = views.relations(generation, person, &people).await.unwrap();
            assert_eq!(seen, people.iter().map(|other| relation(&model, person, *other)).collect::<Vec<_>>());
        }
    });
}

fn relation(model: &BTreeMap<(UserId, UserId), Edge>, viewer: UserId, other: UserId) -> RelationView {
    let (mine, theirs) = (model.get(&(viewer, other)), model.get(&(other, viewer)));
    RelationView {
        following: mine.is_some_and(|edge| edge.following),
        followed_by: theirs.is_some_and(|edge| edge.following),
        blocking: mine.is_some_and(|edge| edge.blocking),
        blocked_by: theirs.is_some_and(|edge| edge.blocking),
        muting: mine.is_some_and(|edge| edge.muting),
    }
}
