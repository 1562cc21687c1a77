//! K2: what `engagement` tells the cache, also when events are delivered again, and what it does when it cannot.

use std::sync::Arc;

use adapters::cache::{Cache, Comments, Key, Limits, ListKey, Lookup, MemoryCache, Shown, Space, load_previews};
use adapters::checkpoints::{Checkpoints as _, Epoch, Epochs, Generation, SqliteCheckpoints};
use adapters::content::{Commit, Content as _, Rendered, SqliteContent};
use adapters::decorated::{Around, Decorated};
use adapters::live::BroadcastLive;
use adapters::sqlite::{Database, Durability, READ_MODELS};
use adapters::views::{Counts, SqliteViews, Views as _};
use domain::post::{self, Visibility};
use domain::sealed::Sealed;
use domain::text::{CommentText, Markdown};
use domain::{CommentId, Event, LogId, PostId, StreamId, Timestamp, UserId, comment, reaction};

use super::fixture::{Cable, beside, envelope, id, post_position};
use crate::projection::{Projection as _, Recorded};
use crate::{Engagement, EngagementPorts};

const ONE: Generation = Generation::FIRST;
const POST: u8 = 1;
const ADA: u8 = 1;

struct World {
    content: Arc<SqliteContent>,
    views: Arc<SqliteViews>,
    cache: Arc<MemoryCache>,
    checkpoints: Arc<SqliteCheckpoints>,
    cable: Arc<Cable>,
    engagement: Engagement,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let models = Database::open(&directory.path().join("models.db"), &READ_MODELS, Durability::Process).unwrap();
        let (content, checkpoints) = beside(directory.path(), &models);
        let views = Arc::new(SqliteViews::new(models));
        let limits = Limits { kept: 2, ..Limits::default() };
        let (cache, cable) = (Arc::new(MemoryCache::new(limits, 1 << 20)), Arc::new(Cable::default()));
        let engagement = Engagement::new(EngagementPorts {
            content: Arc::clone(&content) as _,
            views: Arc::clone(&views) as _,
            cache: Arc::new(Decorated::new(Arc::clone(&cache), Arc::clone(&cable) as Arc<dyn Around>)),
            live: Arc::new(BroadcastLive::new(16)),
            checkpoints: Arc::clone(&checkpoints) as _,
        });
        Self { content, views, cache, checkpoints, cable, engagement, _directory: directory }
    }

    /// What a command makes of a post, which is ahead of the projection.
    async fn write(&self, revision: u64, preview: Option<&str>) {
        let preview = preview.map(|text| {
            format!(
                r#"{{"title":null,"text":"{text}","truncated":false,"visibility":"public","created_at":"2026-01-01T00:00:00Z","edited_at":null,"version":{}}}"#,
                revision + 1
            )
        });
        let record = adapters::event_log::Record {
            topic: domain::Topic::Posts,
            lane: domain::Lane::new("any"),
            attributes: adapters::event_log::Attributes {
                id: id(POST),
                schema: domain::event::Schema { kind: "test.happened".to_owned(), version: 1 },
                subject: StreamId::Post(id(POST)).to_string(),
                sequence: revision + 1,
                time: Timestamp::from_millis(1),
                actor: id(ADA),
                correlation: id(0),
                causation: None,
            },
            data: "{}".to_owned(),
        };
        let commit = Commit {
            stream: StreamId::Post(id(POST)),
            expected_revision: revision,
            state: "{}".to_owned(),
            private: None,
            rendered: Some(Rendered { renderer: 1, html: String::new(), preview }),
            records: vec![record],
            recent_commands: None,
            at: Timestamp::from_millis(1),
        };
        self.content.commit(commit).await.unwrap();
    }

    async fn apply(&self, events: &[(i64, StreamId, u64, Event)]) {
        let events: Vec<Recorded> = events
            .iter()
            .map(|(offset, stream, sequence, event)| Recorded {
                position: post_position(*offset),
                envelope: envelope(*stream, *sequence, id(ADA), event.clone()),
            })
            .collect();
        self.engagement.apply(super::owner(ONE), &events).await.expect("applies");
    }

    async fn space(&self) -> Space {
        Space { log: LogId(7), epoch: self.checkpoints.epochs().await.unwrap().cache }
    }

    async fn counts(&self) -> Option<Counts> {
        let key = [Key::Counts(ONE, id(POST))];
        let found = self.cache.values(self.space().await, &key).await.unwrap().remove(0);
        found.map(|value| Counts::try_from(&value).unwrap())
    }

    /// As a reader does it who finds nothing.
    async fn fill_counts(&self) {
        let (space, key) = (self.space().await, Key::Counts(ONE, id(POST)));
        let found = self.cache.look_up(space, &[key]).await.unwrap().remove(0);
        let Lookup::Granted(token) = found else { panic!("{found:?}") };
        let counts = self.views.counts(ONE, &[id(POST)]).await.unwrap()[0];
        assert_eq!(self.cache.fill(space, vec![(key, token, counts.into())]).await.unwrap(), [true]);
    }

    async fn text(&self) -> Option<(i64, String)> {
        let found = self.cache.values(self.space().await, &[Key::Preview(id(POST))]).await.unwrap().remove(0)?;
        let shown =
            Shown::of(&found).map_or(String::new(), |shown| String::from_utf8_lossy(shown.members()).into_owned());
        Some((
            found.version,
            shown.split(r#""text":""#).nth(1).unwrap_or_default().split('"').next().unwrap().to_owned(),
        ))
    }

    async fn comments(&self) -> Option<(i64, Vec<CommentId>)> {
        let list = self.cache.comments(self.space().await, ListKey(ONE, id(POST))).await.unwrap()?;
        Some((list.version, list.items.iter().map(|item| item.comment).collect()))
    }

    async fn fill_comments(&self) {
        let (space, key) = (self.space().await, ListKey(ONE, id(POST)));
        let found = self.cache.look_up_comments(space, key).await.unwrap();
        let Lookup::Granted(token) = found else { panic!("{found:?}") };
        let position = self.views.post_row(ONE, id(POST)).await.unwrap().listed;
        let rows = self.views.comments(ONE, id(POST), None, 2).await.unwrap();
        assert!(self.cache.fill_comments(space, key, token, Comments::of(position, &rows)).await.unwrap());
    }
}

fn liked(offset: i64, user: u8) -> (i64, StreamId, u64, Event) {
    let (post, user): (PostId, UserId) = (id(POST), id(user));
    (offset, StreamId::Reaction(post, user), 1, reaction::Event::Liked(reaction::Subject { post, user }).into())
}

fn of_post(offset: i64, sequence: u64) -> (i64, StreamId, u64, Event) {
    let (post, author): (PostId, UserId) = (id(POST), id(ADA));
    let text = || Sealed::Open(post::Text { title: None, markdown: Markdown::parse("words").unwrap() });
    let event = match sequence {
        1 => {
            let visibility = Visibility::Public;
            post::Event::Published(post::Published { post, author, visibility, imported: false, text: text() })
        }
        2 => post::Event::Edited(post::Edited { post, author, text: text() }),
        _ => post::Event::Deleted(post::Deleted { post, author }),
    };
    (offset, StreamId::Post(post), sequence, event.into())
}

fn commented(offset: i64, number: u8) -> (i64, StreamId, u64, Event) {
    let (comment, text): (CommentId, _) = (id(number), CommentText::parse("words").unwrap());
    let added = comment::Added { comment, post: id(POST), author: id(ADA), parent: None, text: Sealed::Open(text) };
    (offset, StreamId::Comment(comment), 1, comment::Event::Added(added).into())
}

fn uncommented(offset: i64, number: u8) -> (i64, StreamId, u64, Event) {
    let comment: CommentId = id(number);
    let deleted = comment::Deleted { comment, post: id(POST), author: id(ADA) };
    (offset, StreamId::Comment(comment), 2, comment::Event::Deleted(deleted).into())
}

#[tokio::test]
async fn counts_move_only_where_they_are_cached() {
    let world = World::new();
    world.apply(&[liked(1, 1)]).await;
    assert_eq!(world.counts().await, None, "a cold key does not begin at 1");
    world.fill_counts().await;
    world.apply(&[liked(2, 2), liked(3, 3)]).await;
    let now = Counts { likes: 3, comments: 0, position: 3 };
    assert_eq!(world.counts().await, Some(now));
    world.apply(&[liked(2, 2)]).await;
    world.apply(&[liked(2, 2), liked(3, 3)]).await;
    assert_eq!(world.counts().await, Some(now), "a redelivery changes nothing");
}

/// The process died between the rows and the cache: whoever goes on tells it.
#[tokio::test]
async fn what_the_rows_have_is_told_again() {
    let world = World::new();
    world.apply(&[commented(1, 1)]).await;
    world.fill_counts().await;
    world.fill_comments().await;
    let dead = Engagement::new(EngagementPorts {
        content: world.content.clone(),
        views: world.views.clone(),
        cache: Arc::new(adapters::cache::NoCache),
        live: Arc::new(BroadcastLive::new(1)),
        checkpoints: world.checkpoints.clone(),
    });
    let events = [liked(2, 1), commented(3, 2)];
    let recorded = events.clone().map(|(offset, stream, sequence, event)| Recorded {
        position: post_position(offset),
        envelope: envelope(stream, sequence, id(ADA), event),
    });
    dead.apply(super::owner(ONE), &recorded).await.expect("applies");
    assert_eq!(world.counts().await.unwrap().position, 1);
    world.apply(&events).await;
    assert_eq!(world.counts().await, Some(Counts { likes: 1, comments: 2, position: 3 }));
    assert_eq!(world.comments().await, Some((3, vec![id(2), id(1)])));
}

#[tokio::test]
async fn new_posts_are_cached_and_edits_and_deletions_reach_them() {
    let world = World::new();
    world.write(0, Some("first")).await;
    world.apply(&[of_post(1, 1)]).await;
    assert_eq!(world.text().await, Some((1, "first".to_owned())), "before anybody asks");
    world.write(1, Some("second")).await;
    world.apply(&[of_post(2, 2)]).await;
    assert_eq!(world.text().await, Some((2, "second".to_owned())));
    world.write(2, None).await;
    world.apply(&[of_post(3, 3)]).await;
    assert_eq!(world.text().await, Some((3, String::new())), "a tombstone, so that nothing older comes back");
    let late = load_previews(world.content.as_ref(), &[id(POST)]).await.unwrap();
    assert_eq!((late[0].version, late[0].bytes.len()), (3, 0));
}

#[tokio::test]
async fn lists_grow_where_they_are_cached_and_go_with_an_edit_or_a_deletion() {
    let world = World::new();
    world.apply(&[commented(1, 1)]).await;
    assert_eq!(world.comments().await, None);
    world.fill_comments().await;
    world.apply(&[commented(2, 2), commented(3, 3)]).await;
    assert_eq!(world.comments().await, Some((3, vec![id(3), id(2)])), "the newest two");
    world.apply(&[commented(4, 4), uncommented(5, 3)]).await;
    assert_eq!(world.comments().await, None);
    world.fill_comments().await;
    assert_eq!(world.comments().await, Some((5, vec![id(4), id(2)])));
}

#[tokio::test]
async fn a_cache_that_cannot_be_told_is_given_up() {
    let world = World::new();
    world.apply(&[liked(1, 1)]).await;
    world.fill_counts().await;
    let before = world.space().await;
    world.cable.cut(true);
    world.apply(&[liked(2, 2)]).await;
    assert_eq!(world.checkpoints.epochs().await.unwrap(), Epochs { cache: 1, live: 0 });
    assert_eq!(world.views.post_row(ONE, id(POST)).await.unwrap().likes, 2, "counts do not wait for it");
    world.cable.cut(false);
    assert_eq!(world.counts().await, None, "nobody reads what it holds");
    assert!(world.cache.values(before, &[Key::Counts(ONE, id(POST))]).await.unwrap()[0].is_some());
    world.fill_counts().await;
    world.apply(&[liked(3, 3)]).await;
    assert_eq!(world.counts().await.unwrap().likes, 3);

    // Another owner has given it up: the cache is told under the epoch of the moment.
    world.checkpoints.raise(Epoch::Cache).await.unwrap();
    world.fill_counts().await;
    world.apply(&[liked(4, 4)]).await;
    assert_eq!(world.counts().await.unwrap().likes, 4);
}
