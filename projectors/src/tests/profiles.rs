//! The projection `profiles` on the embedded store: what it shows, and what it does about events that come again, come
//! closed, or are missing.

use std::sync::Arc;

use adapters::checkpoints::Generation;
use adapters::sqlite::{Database, Durability, READ_MODELS};
use adapters::views::{FollowList, ProfileRow, SqliteViews, Views};
use domain::relation::Pair;
use domain::sealed::{Sealed, SealedBox};
use domain::text::{Bio, DisplayName, Markdown, Username};
use domain::user::{Names, Profile, ProfileEdited, Registered};
use domain::{Event, LogId, Position, PostId, StreamId, UserId, post, relation, user};

use super::fixture::{envelope, id};
use crate::Profiles;
use crate::projection::{ApplyError, Projection as _, Recorded};

const GENERATION: Generation = Generation::FIRST;

struct World {
    views: Arc<dyn Views>,
    projection: Profiles,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let models = Database::open(&directory.path().join("models.db"), &READ_MODELS, Durability::Process).unwrap();
        let views: Arc<dyn Views> = Arc::new(SqliteViews::new(models));
        Self { projection: Profiles::new(Arc::clone(&views)), views, _directory: directory }
    }

    async fn apply(&self, events: &[Recorded]) {
        self.projection.apply(super::owner(GENERATION), events).await.expect("applies");
    }

    async fn profile(&self, user: UserId) -> Option<ProfileRow> {
        self.views.profiles(GENERATION, &[user]).await.unwrap().remove(0)
    }

    /// Display name and bio, then followers, followed and posts.
    async fn shown(&self, user: UserId) -> (Option<(String, String)>, [u64; 3]) {
        let Some(row) = self.profile(user).await else { return (None, [0; 3]) };
        let names = row.names.map(|names| (names.display_name.to_string(), names.bio.to_string()));
        (names, [row.followers, row.following, row.posts])
    }
}

fn recorded(offset: i64, sequence: u64, actor: UserId, event: impl Into<Event>) -> Recorded {
    let event = event.into();
    let position = Position { log: LogId(7), topic: event.topic(), partition: 0, offset };
    Recorded { position, envelope: envelope(event.stream(), sequence, actor, event) }
}

fn registered(offset: i64, user: UserId) -> Recorded {
    let names =
        Names { username: Username::parse("ada").unwrap(), display_name: DisplayName::parse("Ada L.").unwrap() };
    recorded(offset, 1, user, user::Event::Registered(Registered { user, names: Sealed::Open(names) }))
}

fn edited(offset: i64, sequence: u64, user: UserId, bio: &str) -> Recorded {
    let profile = Profile { display_name: DisplayName::parse("Ada").unwrap(), bio: Bio::parse(bio).unwrap() };
    let event = user::Event::ProfileEdited(ProfileEdited { user, profile: Sealed::Open(profile) });
    recorded(offset, sequence, user, event)
}

fn related(offset: i64, sequence: u64, from: u8, to: u8, event: fn(Pair) -> relation::Event) -> Recorded {
    let pair = Pair { from: id(from), to: id(to) };
    recorded(offset, sequence, pair.from, event(pair))
}

fn published(offset: i64, post: PostId, author: UserId) -> Recorded {
    let text = post::Text { title: None, markdown: Markdown::parse("words").unwrap() };
    let visibility = post::Visibility::Followers;
    let text = Sealed::Open(text);
    recorded(
        offset,
        1,
        author,
        post::Event::Published(post::Published { post, author, visibility, imported: false, text }),
    )
}

fn deleted(offset: i64, sequence: u64, post: PostId, author: UserId) -> Recorded {
    recorded(offset, sequence, author, post::Event::Deleted(post::Deleted { post, author }))
}

fn names(display_name: &str, bio: &str) -> Option<(String, String)> {
    Some((display_name.to_owned(), bio.to_owned()))
}

#[tokio::test]
async fn a_profile_is_what_the_account_the_follows_and_the_posts_make_of_it() {
    let world = World::new();
    let ada: UserId = id(1);
    world.apply(&[registered(0, ada), edited(1, 2, ada, "Analyst.")]).await;
    assert_eq!(world.shown(ada).await, (names("Ada", "Analyst."), [0, 0, 0]));
    world
        .apply(&[
            related(0, 1, 2, 1, relation::Event::Followed),
            related(1, 1, 3, 1, relation::Event::Followed),
            related(2, 2, 1, 3, relation::Event::Followed),
            related(3, 3, 3, 1, relation::Event::Muted),
        ])
        .await;
    world.apply(&[published(0, id(7), ada), published(1, id(8), ada), deleted(2, 3, id(7), ada)]).await;
    assert_eq!(world.shown(ada).await, (names("Ada", "Analyst."), [2, 1, 1]));
    // A block's decision ends the follow by an event of its own.
    world
        .apply(&[related(4, 4, 3, 1, relation::Event::Unfollowed), related(5, 5, 1, 3, relation::Event::Blocked)])
        .await;
    world.apply(&[edited(2, 3, ada, "")]).await;
    assert_eq!(world.shown(ada).await, (names("Ada", ""), [1, 1, 1]));
    let followers = world.views.newest_follows(GENERATION, FollowList::FollowersOf(ada), None, 10).await.unwrap();
    assert_eq!(followers.iter().map(|follow| follow.from).collect::<Vec<_>>(), [id(2)]);
}

#[tokio::test]
async fn c2_what_comes_again_changes_nothing() {
    let world = World::new();
    let ada: UserId = id(1);
    let batches = [
        vec![registered(0, ada), edited(1, 2, ada, "one"), edited(2, 3, ada, "two")],
        vec![
            related(0, 1, 2, 1, relation::Event::Followed),
            related(1, 2, 2, 1, relation::Event::Unfollowed),
            related(2, 3, 2, 1, relation::Event::Followed),
        ],
        vec![published(0, id(7), ada), deleted(1, 2, id(7), ada), published(2, id(8), ada)],
    ];
    for batch in &batches {
        world.apply(batch).await;
    }
    let expected = (names("Ada", "two"), [1, 0, 1]);
    assert_eq!(world.shown(ada).await, expected);
    for batch in &batches {
        world.apply(batch).await;
        for event in batch {
            world.apply(std::slice::from_ref(event)).await;
            assert_eq!(world.shown(ada).await, expected);
        }
    }
}

#[tokio::test]
async fn a_gap_in_an_accounts_stream_parks_its_lane() {
    let world = World::new();
    let ada: UserId = id(1);
    for batch in [vec![edited(4, 2, ada, "one")], vec![registered(3, ada), edited(4, 3, ada, "two")]] {
        let refused = world.projection.apply(super::owner(GENERATION), &batch).await;
        let Err(ApplyError::Permanent { offset: 4, reason }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("events are missing") && reason.contains(&StreamId::User(ada).to_string()), "{reason}");
    }
}

#[tokio::test]
async fn of_erased_people_nothing_is_shown_and_their_numbers_stay() {
    let world = World::new();
    let ada: UserId = id(1);
    let mut events = [registered(0, ada), edited(1, 2, ada, "Analyst.")];
    for event in &mut events {
        let (key, part) = event.envelope.event.sealed_part().expect("sealed");
        part.close(SealedBox { key, bytes: vec![1] });
    }
    world.apply(&[related(0, 1, 2, 1, relation::Event::Followed)]).await;
    world.apply(&events).await;
    assert_eq!(world.shown(ada).await, (None, [1, 0, 0]));
    assert_eq!(world.profile(ada).await.map(|row| row.sequence), Some(2));
}
