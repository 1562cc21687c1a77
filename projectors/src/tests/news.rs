//! What `timelines` tells open feeds: hints after the rows, and a new stamp for whoever's feed changed otherwise.

use std::sync::Arc;

use adapters::checkpoints::Generation;
use adapters::live::{BroadcastLive, Channel, Delivery, Live, Message, News, Subscription};
use adapters::sqlite::{Database, Durability, READ_MODELS};
use adapters::timelines::{Entry, SqliteTimelines, Timelines as TimelinesPort};
use adapters::views::{SqliteViews, Views};
use domain::post::Visibility;
use domain::relation::Pair;
use domain::stream::BEFORE_FIRST;
use domain::{Event, LogId, Position, PostId, StreamId, Topic, UserId, post, relation};
use futures::FutureExt as _;

use super::fixture::{beside, envelope, id, post_position};
use crate::projection::{Projection, Recorded};
use crate::timelines::{Limits, Timelines};

const ONE: Generation = Generation::FIRST;
const LIMITS: Limits = Limits { hot_author_followers: 2, trim_at: 100, trim_to: 80, trim_every: 32 };

struct World {
    views: Arc<SqliteViews>,
    timelines: Arc<SqliteTimelines>,
    live: Arc<BroadcastLive>,
    projection: Timelines,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let models = Database::open(&directory.path().join("models.db"), &READ_MODELS, Durability::Process).unwrap();
        let views = Arc::new(SqliteViews::new(Arc::clone(&models)));
        let timelines = Arc::new(SqliteTimelines::new(Arc::clone(&models)));
        let live = Arc::new(BroadcastLive::new(64));
        let (_, checkpoints) = beside(directory.path(), &models);
        let ports = (Arc::clone(&views) as _, Arc::clone(&timelines) as _, Arc::clone(&live) as _);
        let projection = Timelines::new(ports.0, ports.1, ports.2, checkpoints, LIMITS);
        Self { views, timelines, live, projection, _directory: directory }
    }

    async fn apply(&self, position: Position, stream: StreamId, sequence: u64, event: Event) {
        let envelope = envelope(stream, sequence, id(1), event);
        self.projection.apply(super::owner(ONE), &[Recorded { position, envelope }]).await.unwrap();
    }

    async fn publish(&self, author: UserId, post: u8, offset: i64, imported: bool) {
        let post: PostId = id(post);
        let text = post::Text { title: None, markdown: domain::text::Markdown::parse("words").unwrap() };
        let visibility = Visibility::Public;
        let published =
            post::Published { post, author, visibility, imported, text: domain::sealed::Sealed::Open(text) };
        self.apply(post_position(offset), StreamId::Post(post), 1, post::Event::Published(published).into()).await;
    }

    async fn relate(&self, event: fn(Pair) -> relation::Event, from: UserId, to: UserId, sequence: u64) {
        let position = Position { log: LogId(7), topic: Topic::Relations, partition: 0, offset: sequence as i64 };
        let event = event(Pair { from, to }).into();
        self.apply(position, StreamId::relation(from, to), sequence, event).await;
    }

    async fn stamp(&self, user: UserId) -> i64 {
        self.views.relations_stamp(ONE, user).await.unwrap()
    }

    async fn home(&self, owner: UserId) -> Vec<Entry> {
        self.timelines.home_since(ONE, owner, &[], 100).await.unwrap().entries
    }

    async fn listen(&self, channel: Channel) -> Box<dyn Subscription> {
        self.live.subscribe(channel).await.unwrap()
    }
}

/// What has arrived: posts and where they are.
fn told(subscription: &mut dyn Subscription) -> Vec<(PostId, i64)> {
    let mut told = Vec::new();
    while let Some(Some(delivery)) = subscription.next().now_or_never() {
        match delivery {
            Delivery::Message(Message { position, news: News::NewPost { post, .. } }) => told.push((post, position)),
            other => panic!("no news of a post: {other:?}"),
        }
    }
    told
}

#[tokio::test]
async fn followers_and_the_author_are_told_of_a_post() {
    let world = World::new();
    let [ada, ben, cleo] = [1, 2, 3].map(id::<UserId>);
    world.relate(relation::Event::Followed, ben, ada, 1).await;
    let mut of_ada = world.listen(Channel::Home(ada)).await;
    let mut of_ben = world.listen(Channel::Home(ben)).await;
    let mut of_cleo = world.listen(Channel::Home(cleo)).await;
    let mut of_author = world.listen(Channel::Author(ada)).await;
    world.publish(ada, 10, 4, false).await;
    assert_eq!(told(of_ada.as_mut()), [(id(10), 4)]);
    assert_eq!(told(of_ben.as_mut()), [(id(10), 4)]);
    assert_eq!(world.home(ben).await, [Entry { post: id(10), author: ada, partition: 0, offset: 4 }]);
    assert_eq!((told(of_cleo.as_mut()), told(of_author.as_mut())), (vec![], vec![]));
}

#[tokio::test]
async fn nobody_is_told_of_an_imported_post() {
    let world = World::new();
    let [ada, ben, cleo] = [1, 2, 3].map(id::<UserId>);
    world.relate(relation::Event::Followed, ben, ada, 1).await;
    let mut of_ben = world.listen(Channel::Home(ben)).await;
    world.publish(ada, 10, 4, true).await;
    world.relate(relation::Event::Followed, cleo, ada, 1).await;
    assert_eq!(told(of_ben.as_mut()), []);
    for owner in [ada, ben, cleo] {
        assert_eq!(world.home(owner).await, [], "there is no news");
        let stored = world.timelines.scan_homes(ONE, Some((owner, PostId::MIN)), 1).await.unwrap();
        let row = Entry { post: id(10), author: ada, partition: 0, offset: BEFORE_FIRST };
        assert_eq!(stored, [(owner, row)], "and yet it is there, fanned out or copied");
    }
}

#[tokio::test]
async fn posts_of_hot_authors_are_told_on_a_channel_of_theirs() {
    let world = World::new();
    let [ada, ben, cleo, dora] = [1, 2, 3, 4].map(id::<UserId>);
    for follower in [ben, cleo, dora] {
        world.relate(relation::Event::Followed, follower, ada, 1).await;
    }
    let mut of_author = world.listen(Channel::Author(ada)).await;
    let mut of_ada = world.listen(Channel::Home(ada)).await;
    // With this post she turns out to be hot; with the next she is.
    world.publish(ada, 10, 4, false).await;
    world.publish(ada, 11, 5, false).await;
    world.publish(ada, 12, 6, true).await;
    assert_eq!(told(of_author.as_mut()), [(id(10), 4), (id(11), 5)]);
    assert_eq!(told(of_ada.as_mut()), [(id(10), 4), (id(11), 5)], "her own home has her posts");
}

#[tokio::test]
async fn whose_relations_change_gets_another_stamp() {
    let world = World::new();
    let [ada, ben] = [1, 2].map(id::<UserId>);
    let events =
        [relation::Event::Followed, relation::Event::Unfollowed, relation::Event::Blocked, relation::Event::Unblocked];
    for (sequence, event) in (1..).zip(events) {
        let (of_ada, of_ben) = (world.stamp(ada).await, world.stamp(ben).await);
        world.relate(event, ben, ada, sequence).await;
        assert_ne!(world.stamp(ben).await, of_ben);
        assert_eq!(world.stamp(ada).await, of_ada, "whoever is followed by many is not disturbed by each");
    }
    let before = world.stamp(ben).await;
    world.publish(ada, 10, 4, false).await;
    assert_eq!(world.stamp(ben).await, before, "news change nothing");
}

/// A home that newer posts have filled does without a post that comes late; whoever watches it loads it afresh.
#[tokio::test]
async fn a_post_that_comes_too_late_for_a_home_changes_its_stamp() {
    let world = World::new();
    let [ada, ben, cleo] = [1, 2, 3].map(id::<UserId>);
    world.relate(relation::Event::Followed, ben, ada, 1).await;
    world.relate(relation::Event::Followed, cleo, ada, 1).await;
    world.timelines.raise_mark(ONE, ben, id(20)).await.unwrap();
    let (of_ben, of_cleo) = (world.stamp(ben).await, world.stamp(cleo).await);
    world.publish(ada, 10, 4, true).await;
    assert_eq!(world.stamp(ben).await, of_ben, "an old post that is imported belongs down there");
    world.publish(ada, 11, 5, false).await;
    assert_ne!(world.stamp(ben).await, of_ben);
    assert_eq!(world.stamp(cleo).await, of_cleo);
}
