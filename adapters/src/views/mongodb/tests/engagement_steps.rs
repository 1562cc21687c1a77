//! C1, C2, C3 for counts, rows and versions that are written apart: whoever ends where, and whoever takes over when, the
//! answers are those of a store that writes all in one transaction, and no text that was deleted is back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::text::CommentText;
use domain::{CommentId, PostId, StreamId, Timestamp, UserId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::open_own;
use super::world::{Apply, Turn, World, schedule};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::property::for_some;
use crate::sqlite::{Database, Durability, READ_MODELS};
use crate::views::{
    CommentRow, EngagementLookup, EngagementRows, EngagementUpdate, MongoViews, ReactionRow, SqliteViews, VersionRow,
    Views,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Liked(bool),
    Said,
    Deleted,
}

/// An event of a post's lane; `who` is the person or the comment.
#[derive(Clone, Copy, Debug)]
struct Event {
    on: PostId,
    who: u32,
    what: What,
    sequence: u64,
}

impl Event {
    fn user(&self) -> UserId {
        UserId::from_parts(Timestamp::from_millis(i64::from(self.who)), [0; 10])
    }

    fn comment(&self) -> CommentId {
        CommentId::from_parts(Timestamp::from_millis(i64::from(self.who)), *b"comment   ")
    }
}

fn post(number: u32) -> PostId {
    PostId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10])
}

/// Few posts, comments and people, so that they meet. Some events are in the log twice.
fn log() -> impl Strategy<Value = Vec<Event>> {
    let events = vec((0..2u32, 0..2u32, any::<bool>(), prop::bool::weighted(0.3)), 4..16);
    (events, vec(any::<(Index, Index)>(), 0..4)).prop_map(|(events, repeats)| {
        let mut log: Vec<Event> = Vec::new();
        let mut sequences: BTreeMap<(u32, u32, bool), u64> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        for (on, who, is_like, ends) in events {
            let key = (on, who, is_like);
            if gone.contains(&key) {
                continue;
            }
            let sequence = sequences.entry(key).or_default();
            *sequence += 1;
            let what = match is_like {
                true => What::Liked(*sequence % 2 == 1),
                false if ends && *sequence > 1 => What::Deleted,
                false => What::Said,
            };
            if what == What::Deleted {
                gone.insert(key);
            }
            // Comments have ids of their own, also in another post.
            let who = if is_like { who } else { who + 10 * on };
            log.push(Event { on: post(on), who, what, sequence: *sequence });
        }
        for (which, place) in repeats {
            let which = which.index(log.len());
            log.insert(which + 1 + place.index(log.len() - which), log[which]);
        }
        log
    })
}

/// What the projection `engagement` makes of a part of the log: it counts nothing up to the position of the counts.
async fn apply(
    views: &dyn Views,
    generation: Generation,
    log: &[Event],
    from: usize,
    to: usize,
) -> Result<(), StoreError> {
    let batch: Vec<(i64, Event)> =
        (0..).zip(log).skip(from).take(to - from).map(|(offset, event)| (offset, *event)).collect();
    let posts: BTreeSet<PostId> = batch.iter().map(|(_, event)| event.on).collect();
    let events = |on: PostId| batch.iter().filter(move |(_, event)| event.on == on);
    let lookup = |on: &PostId| EngagementLookup {
        post: *on,
        comments: events(*on).filter(|(_, event)| !is_like(event)).map(|(_, event)| event.comment()).collect(),
        users: events(*on).filter(|(_, event)| is_like(event)).map(|(_, event)| event.user()).collect(),
    };
    let lookups: Vec<EngagementLookup> = posts.iter().map(lookup).collect();
    let rows = views.engagement_rows(generation, &lookups).await?;
    let updates = posts.iter().zip(rows).map(|(on, rows)| update(*on, rows, events(*on)));
    views.write_engagement(generation, updates.collect()).await
}

fn is_like(event: &Event) -> bool {
    matches!(event.what, What::Liked(_))
}

fn update<'log>(
    on: PostId,
    rows: EngagementRows,
    events: impl Iterator<Item = &'log (i64, Event)>,
) -> EngagementUpdate {
    let expected_position = rows.post.position;
    let mut row = rows.post;
    let mut comments: BTreeMap<CommentId, CommentRow> =
        rows.comments.into_iter().map(|row| (row.comment, row)).collect();
    let mut reactions: BTreeMap<UserId, ReactionRow> = rows.reactions.into_iter().map(|row| (row.user, row)).collect();
    let mut versions = Vec::new();
    for (offset, event) in events {
        let (offset, is_new) = (*offset, *offset > expected_position);
        row.position = row.position.max(offset);
        row.listed = row.listed.max(offset);
        let stored = match is_like(event) {
            true => reactions.get(&event.user()).map_or(0, |row| row.sequence),
            false => comments.get(&event.comment()).map_or(0, |row| row.sequence),
        };
        assert!(event.sequence <= stored + 1, "{event:?} after {stored}: a row has gone back");
        let text = format!("text {}", event.sequence);
        if event.what == What::Said {
            let (stream, at) = (StreamId::Comment(event.comment()), Timestamp::from_millis(1));
            versions.push(VersionRow { stream, sequence: event.sequence, at, title: None, text: text.clone() });
        }
        if event.sequence <= stored {
            continue;
        }
        let text = (event.what == What::Said).then(|| CommentText::parse(&text).unwrap());
        match event.what {
            What::Liked(liked) => {
                // Counts read before the rows may lack what the rows have; such a batch is refused.
                if is_new {
                    row.likes = if liked { row.likes + 1 } else { row.likes.saturating_sub(1) };
                }
                let (user, sequence) = (event.user(), event.sequence);
                reactions.insert(user, ReactionRow { post: on, user, liked, sequence, position: offset });
            }
            What::Said | What::Deleted => {
                if is_new && event.sequence == 1 {
                    row.comments += 1;
                }
                if is_new && text.is_none() {
                    row.comments = row.comments.saturating_sub(1);
                }
                let created = comments.get(&event.comment()).map_or(offset, |row| row.created);
                let comment = CommentRow {
                    comment: event.comment(),
                    post: on,
                    author: UserId::MIN,
                    parent: None,
                    text,
                    edited_at: None,
                    sequence: event.sequence,
                    created,
                    position: offset,
                };
                comments.insert(event.comment(), comment);
            }
        }
    }
    let gone = comments.values().filter(|row| row.text.is_none());
    let forgotten = gone.map(|row| StreamId::Comment(row.comment)).collect();
    let (comments, reactions) = (comments.into_values().collect(), reactions.into_values().collect());
    EngagementUpdate { post: on, expected_position, row, comments, reactions, versions, forgotten }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_right_whoever_ends_and_takes_over_at_any_step() {
    let (views, _own) = open_own().await;
    let folder = TempDir::new().unwrap();
    let file = Database::open(&folder.path().join("views.db"), &READ_MODELS, Durability::Process).unwrap();
    let whole = SqliteViews::new(file);
    for_some(64, (log(), schedule()), async |generation, (log, schedule)| {
        for from in 0..log.len() {
            apply(&whole, generation, &log, from, from + 1).await.unwrap();
        }

        let length = log.len();
        let log = Arc::new(log);
        let one: Apply = Arc::new(move |views: MongoViews, turn: Turn| {
            let log = Arc::clone(&log);
            Box::pin(async move { apply(&views, generation, &log, turn.from, turn.to).await })
        });
        let mut world = World::new(views.clone(), vec![length], one);
        world.run(&schedule).await;
        world.finish().await;

        let posts = views.scan_posts(generation, None, 100).await.unwrap();
        assert_eq!(posts, whole.scan_posts(generation, None, 100).await.unwrap());
        let comments = views.scan_comments(generation, None, 100).await.unwrap();
        assert_eq!(comments, whole.scan_comments(generation, None, 100).await.unwrap());
        let reactions = views.scan_reactions(generation, None, 100).await.unwrap();
        assert_eq!(reactions, whole.scan_reactions(generation, None, 100).await.unwrap());
        let versions = views.scan_versions(generation, None, 100).await.unwrap();
        assert_eq!(versions, whole.scan_versions(generation, None, 100).await.unwrap());
        for (post, row) in posts {
            let likes = reactions.iter().filter(|row| row.post == post && row.liked).count() as u64;
            let shown = comments.iter().filter(|row| row.post == post && row.text.is_some()).count() as u64;
            assert_eq!((row.likes, row.comments, row.listed), (likes, shown, row.position), "C1");
        }
    });
}
